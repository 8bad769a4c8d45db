"""Two linked centers in one process: one is drained, by its operator or by the other's, or stopped; nobody loses a message."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
import structlog

from myim_server.config_sections import Address, ClusterSection, LinksSection
from myim_server.control import ControlRefused, ask
from myim_server.node import Node
from myim_wire.contents import decode_servers
from myim_wire.errors import ErrorCode, ReportedError
from myim_wire.messages import Command, decode_error
from tests.server.front import Front, links_of
from tests.server.running import Person, RawTerminal, config, make_person, online, wait_until

SHARED_STORE = "myim.db"


def start_center(directory: Path, name: str, *peers: Address, **sections: Any) -> Node:
    """A started center of its own data directory; all share a store and a secret."""
    store = {"url": f"sqlite:///{directory / SHARED_STORE}"}
    plain = config(directory / name, node={"roles": ("center",)}, store=store, tokens={"poll_seconds": 0.2}, **sections)
    links = LinksSection(listen=Address("127.0.0.1", 0), peers=peers)
    node = Node(plain.model_copy(update={"links": links, "cluster": ClusterSection(secret_file=str(directory / "cluster.secret"))}))
    node.build()
    node.start()
    return node


class Two:
    """Two linked centers."""

    def __init__(self, directory: Path, **sections: Any) -> None:
        self.directories = directory / "first", directory / "second"
        self.first = start_center(directory, "first", **sections)
        host, _, port = self.first.addresses()["links"].rpartition(":")
        self.second = start_center(directory, "second", Address(host, int(port)), **sections)
        wait_until(lambda: all(len(links_of(node).membership.servers()) == 2 for node in (self.first, self.second)))

    def stop(self) -> None:
        self.first.stop()
        self.second.stop()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    made = Two(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def node(two: Two) -> Node:
    """The first of the two: people are made at it."""
    return two.first


def test_terminals_of_a_drained_center_learn_of_it_before_they_are_sent_away(two: Two, alice: Person) -> None:
    terminal = online(two.first, alice)
    assert ask(two.directories[0], "drain") == "1 sessions sent to other servers"
    goodbye = terminal.goodbye()
    assert decode_error(goodbye.content).code == ErrorCode.DRAINING
    lists = [decode_servers(message.content) for message in terminal.inbox if message.command == Command.SERVERS]
    assert [(server.node, server.draining) for server in lists[-1]] == [(two.second.node_id, False), (two.first.node_id, True)]
    with pytest.raises(ReportedError) as refused:
        RawTerminal(two.first, alice, 2)
    assert refused.value.code == ErrorCode.DRAINING
    online(two.second, alice, 3).close()


def test_a_center_that_was_drained_takes_sessions_again_when_it_is_told_so(two: Two, alice: Person) -> None:
    ask(two.directories[0], "drain")
    assert ask(two.directories[0], "drain", undo=True) == "this node takes sessions again"
    online(two.first, alice).close()
    wait_until(lambda: not any(server["draining"] for server in two.second.status()["servers"]))


def test_a_center_drains_when_another_is_asked_to_tell_it(two: Two, alice: Person) -> None:
    terminal = online(two.first, alice)
    assert ask(two.directories[1], "drain", node=two.first.node_id) == f"node {two.first.node_id} was told"
    assert decode_error(terminal.goodbye().content).code == ErrorCode.DRAINING
    with pytest.raises(ControlRefused, match="node 5 is not linked"):
        ask(two.directories[1], "drain", node=5)


def test_the_last_center_that_takes_sessions_refuses_to_be_drained(two: Two, alice: Person) -> None:
    ask(two.directories[0], "drain")
    wait_until(lambda: any(server["draining"] for server in two.second.status()["servers"]))
    with pytest.raises(ControlRefused, match="no other server"):
        ask(two.directories[1], "drain")
    online(two.second, alice).close()


def test_endpoints_are_no_place_to_drain_to_without_a_center_behind_them(two: Two, alice: Person) -> None:
    front = Front(two.second)
    front.admit()
    front.start()
    front.wait_linked()
    wait_until(lambda: any(server["role"] == "endpoint" for server in two.second.status()["servers"]))
    assert links_of(two.second).has_other_servers
    ask(two.directories[0], "drain")
    wait_until(lambda: any(server["draining"] for server in two.second.status()["servers"]))
    with pytest.raises(ControlRefused, match="no other server"):
        ask(two.directories[1], "drain")
    front.terminal(alice).close()
    front.stop()


def test_workers_behind_one_address_are_no_place_to_drain_to_for_each_other(tmp_path: Path) -> None:
    two = Two(tmp_path, center={"advertise": "127.0.0.1:7401"})
    with pytest.raises(ControlRefused, match="no other server"):
        ask(two.directories[0], "drain")
    two.stop()


def test_the_last_center_does_not_drain_when_another_tells_it_to_either(two: Two, alice: Person) -> None:
    ask(two.directories[0], "drain")
    wait_until(lambda: any(server["draining"] for server in two.second.status()["servers"]))
    with structlog.testing.capture_logs() as logged:
        ask(two.directories[0], "drain", node=two.second.node_id)
        wait_until(lambda: any(line["event"] in ("drain_refused", "node_draining") for line in logged))
    assert [line["event"] for line in logged if "drain" in line["event"]] == ["drain_refused"]
    online(two.second, alice).close()


def test_many_sessions_are_sent_away_one_after_the_other_within_seconds(two: Two) -> None:
    people = [make_person(two.first, f"person{number}") for number in range(60)]
    terminals = [online(two.first, person) for person in people]
    began = time.monotonic()
    draining = gevent.spawn(ask, two.directories[0], "drain")
    ended = []
    for terminal in terminals:
        terminal.goodbye()
        ended.append(time.monotonic() - began)
    assert draining.get(timeout=10) == "60 sessions sent to other servers"
    assert max(ended) < 5
    assert max(ended) - min(ended) > 0.5  # not all at once


def test_what_a_stopping_center_took_is_stored_or_answered_before_it_ends(two: Two, alice: Person, bob: Person) -> None:
    sender, target = online(two.first, alice), online(two.first, bob)
    named = sender.write(bob.user, b"on the way")  # bob's application never confirms
    target.next_message()
    two.first.stop()
    assert decode_error(sender.goodbye().content).code == ErrorCode.DRAINING
    assert two.second.store is not None
    assert two.second.store.offline.targets_with_rows([bob.user])
    again = RawTerminal(two.second, bob, 2)
    again.fetch()
    assert again.next_message().time == named


def test_a_center_that_stops_sends_its_terminals_to_the_other(two: Two, alice: Person) -> None:
    terminal = online(two.first, alice)
    two.first.stop()
    assert decode_error(terminal.goodbye().content).code == ErrorCode.DRAINING


def test_a_node_that_runs_alone_refuses_to_be_drained(tmp_path: Path) -> None:
    alone = Node(config(tmp_path / "alone"))
    alone.build()
    alone.start()
    with pytest.raises(ControlRefused, match="runs alone"):
        ask(tmp_path / "alone", "drain")
    assert ask(tmp_path / "alone", "links") == []
    assert ask(tmp_path / "alone", "status")["roles"] == ["login", "center"]
    alone.stop()
