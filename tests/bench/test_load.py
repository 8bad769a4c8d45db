"""The load test's parts are tried on one node: users of locust talk, failures are told. Figures are never asserted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from bench.cluster_load import Load, print_table, run_locust
from bench.servers import Node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "node")
    node.start()
    yield node
    node.stop()


def test_users_of_locust_register_talk_leave_and_return_without_a_failure(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accounts = node.mint(12, "load")
    result = run_locust(tmp_path, accounts, f"127.0.0.1:{node.login_port}", 12, 6, 0.1, [Load("node", node.pid)])
    counts = {row["name"]: row["num_requests"] for row in result.rows}
    assert result.failures == 0
    assert counts["connect"] == 12
    assert min(counts["settle"], counts["arrive"], counts["return"]) > 0
    print_table(result, 6)
    said = capsys.readouterr().out
    assert all(word in said for word in ("settle", "p99 ms", "failures", "node", "locust (the users)"))


def test_a_node_that_dies_under_the_load_makes_it_fail(node: Node, tmp_path: Path) -> None:
    accounts = node.mint(4, "load")
    address = f"127.0.0.1:{node.login_port}"
    run = gevent.spawn(run_locust, tmp_path, accounts, address, 4, 6, 0.1, [Load("node", node.pid)], patience=1.0)
    gevent.spawn_later(3, node.kill)
    assert run.get(timeout=120).failures > 0
