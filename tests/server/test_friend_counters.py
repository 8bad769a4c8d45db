"""What a center counts of friends, it counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_server.node import Node
from tests.server.friend_terminals import make_people
from tests.server.running import start_node, wait_until


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = start_node(tmp_path / "data")
    yield node
    node.stop()


def test_changes_between_users_and_what_is_pushed_of_them_are_counted(node: Node) -> None:
    alice, bob = make_people(node, "alice", "bob")
    metrics = node.metrics
    before = metrics.friend_changes, metrics.friend_pushes
    alice.befriend(bob)
    wait_until(lambda: metrics.friend_changes == before[0] + 2)  # asked, accepted
    wait_until(lambda: metrics.friend_pushes > before[1])
