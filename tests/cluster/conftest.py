"""What the cluster's tests share: one Hazelcast member for all that only use it, one for those that mistreat it, nodes with links."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.hazelcast_member import Member
from tests.cluster.nodes import Making, Node


@pytest.fixture(scope="session")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    """A member that everybody leaves running."""
    made = Member(tmp_path_factory.mktemp("hazelcast"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def mistreated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    """The member behind `own_member`."""
    made = Member(tmp_path_factory.mktemp("hazelcast"))
    yield made
    made.stop()


@pytest.fixture
def own_member(mistreated: Member) -> Member:
    """A member to be killed, stopped and restarted; runs at the beginning of each test."""
    mistreated.start()
    return mistreated


@pytest.fixture
def make() -> Iterator[Making]:
    """Makes nodes that have links and nothing else."""
    made: list[Node] = []

    def make(**parts: Any) -> Node:
        made.append(Node(**parts))
        return made[-1]

    yield make
    for node in made:
        node.mesh.stop()
