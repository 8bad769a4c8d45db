"""A whole cluster as `scripts/run_cluster.sh` makes it: people behind different endpoints talk while parts of it die,
are drained and come back."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_client import Client, Disconnected, MessageArrived
from tests.scenarios.cluster_town import Cluster, processes_of
from tests.scenarios.town import take, wait_until

CENTERS = ["center-1", "center-2", "center-3"]
NODES = ["login", *CENTERS, "endpoint-1", "endpoint-2"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.do("up", "--centers", "3", "--endpoints", "2")
        yield made
    finally:
        made.close()
    assert not made.directory.exists()
    assert processes_of(made.directory) == []


@pytest.fixture(scope="module")
def people(cluster: Cluster) -> tuple[Client, Client]:
    return cluster.register("alice", "endpoint-1.login"), cluster.register("bob", "endpoint-2.login")


def talk(sender: Client, target: Client, text: str) -> None:
    """A message goes through, and is shown once."""
    handle = sender.send(target.name, text)
    assert [event.text for event in take(target, MessageArrived)] == [text]
    handle.wait(20)


def center_of(cluster: Cluster, users: int = 1) -> str:
    """A center that holds at least so many sessions."""
    found = [node for node, count in cluster.sessions(CENTERS).items() if count >= users]
    assert found, cluster.run("status")[1]
    return found[0]


def test_every_node_runs_and_is_linked_to_all_it_should_be(cluster: Cluster) -> None:
    told = cluster.do("status")
    for node, links in {"login": 3, "center-1": 7, "center-2": 7, "center-3": 7, "endpoint-1": 6, "endpoint-2": 6}.items():
        (line,) = [line for line in told.splitlines() if line.startswith(node)]
        assert f"{links} of {links} links" in line
    rows = [json.loads(line) for line in cluster.admin("center-1", "links", "--json").splitlines()]
    assert sorted(row["role"] for row in rows) == ["center"] * 2 + ["endpoint"] * 4 + ["login"]
    assert all(row["state"] == "up" and row["is_tls"] and not row["last_error"] for row in rows)


def test_up_again_says_that_it_runs_and_another_cluster_is_refused(cluster: Cluster) -> None:
    assert "runs already (3 centers, 2 endpoints, links tls, found through Hazelcast)" in cluster.do("up")
    code, output = cluster.run("up", "--centers", "2")
    assert (code, "holds another cluster" in output) == (1, True)
    code, output = cluster.run("logs", "center-9")
    assert (code, "there is no node center-9; there are login, center-1" in output) == (1, True)


def test_no_cluster_is_made_in_a_directory_of_other_things_or_that_mariadb_cannot_take(tmp_path: Path) -> None:
    other = Cluster(tmp_path)
    other.directory.mkdir()
    (other.directory / "letter.txt").write_text("dear")
    code, output = other.run("up")
    assert (code, "holds other things than a cluster" in output) == (1, True)
    assert [file.name for file in other.directory.iterdir()] == ["letter.txt"]
    code, output = Cluster(tmp_path / "two words").run("up")
    assert (code, "no path with spaces" in output) == (1, True)


def test_people_behind_two_endpoints_talk(cluster: Cluster, people: tuple[Client, Client]) -> None:
    alice, bob = people
    talk(alice, bob, "hello bob")
    talk(bob, alice, "hello alice")
    assert sum(cluster.status(node)["terminals"] for node in ("endpoint-1", "endpoint-2")) == 2


def test_nobody_is_away_for_long_and_nothing_is_lost_while_a_center_is_drained(cluster: Cluster, people: tuple[Client, Client]) -> None:
    alice, bob = people
    node = center_of(cluster)
    texts = [f"while it is drained {number}" for number in range(200)]
    alice.send_many(("bob", text) for text in texts[:100])
    began = time.monotonic()
    assert "sessions sent to other servers" in cluster.do("drain", node)
    alice.send_many(("bob", text) for text in texts[100:])
    wait_until(lambda: alice.is_online and bob.is_online and cluster.sessions([node]) == {node: 0}, 10)
    assert time.monotonic() - began < 8  # a command's start and the drain's own seconds included
    assert [event.text for event in take(bob, MessageArrived, 200)] == texts
    wait_until(lambda: not alice.unsettled)
    assert "takes sessions again" in cluster.do("drain", node, "--undo")
    wait_until(lambda: "draining" not in cluster.do("status"))


def test_people_go_on_when_their_center_and_hazelcast_are_killed(cluster: Cluster, people: tuple[Client, Client]) -> None:
    alice, bob = people
    node = center_of(cluster)
    cluster.do("kill", node)
    pid = int((cluster.directory / "hazelcast" / "member.pid").read_text())
    assert f"pid {pid}," in cluster.run("status")[1]
    os.kill(pid, signal.SIGKILL)
    talk(alice, bob, "after the kill")
    talk(bob, alice, "and back")
    code, told = cluster.run("status")
    assert code == 3
    assert [line.split()[0] for line in told.splitlines() if "DEAD" in line or "stopped" in line] == ["hazelcast", node]
    assert "Up after" in cluster.do("up")
    assert cluster.run("status")[0] == 0
    talk(alice, bob, "when it is back")


def test_a_revoked_endpoint_is_cut_off_and_its_terminals_come_by_another_way(cluster: Cluster, people: tuple[Client, Client]) -> None:
    alice, bob = people
    assert "revoked" in cluster.admin("center-2", "revoke-endpoint", "endpoint-1")
    wait_until(lambda: cluster.status("endpoint-1")["links"] == 0)
    wait_until(lambda: alice.is_online and bob.is_online and not cluster.status("endpoint-1")["terminals"])
    talk(alice, bob, "by another way")
    wait_until(lambda: str(cluster.status("endpoint-1")["node"]) not in json.dumps(cluster.status("login")["servers"]), 30)
    cluster.do("kill", "endpoint-1")
    assert "endpoint-1 was revoked and stays out" in cluster.do("up")
    assert cluster.status("endpoint-1")["links"] == 0
    cluster.admin("center-2", "admit-endpoint", cluster.status("endpoint-1")["fingerprint"], "--name", "endpoint-1")
    wait_until(lambda: cluster.status("endpoint-1")["links"] == 6, 30)


def test_nobody_notices_that_all_centers_are_restarted_one_by_one(cluster: Cluster, people: tuple[Client, Client]) -> None:
    alice, bob = people
    for number, node in enumerate(CENTERS):
        cluster.do("kill", node, "TERM")
        talk(alice, bob, f"without the {number}th")
        wait_until(lambda node=node: cluster.run("status")[1].find(f"{node}     DEAD") >= 0, 30)  # type: ignore[misc]
        cluster.do("up")
    talk(bob, alice, "all are new")
    assert not [event for event in alice.take(0.1) if isinstance(event, Disconnected) and event.is_final]


def test_what_a_node_says_is_shown_by_its_name(cluster: Cluster) -> None:
    assert "node_started" in cluster.do("logs", "center-1")
    assert cluster.do("logs").count("==>") == len(NODES)
