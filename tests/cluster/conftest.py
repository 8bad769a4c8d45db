"""What the cluster's tests share: one Hazelcast member for all that only use it, and one apiece for those that mistreat it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.hazelcast_member import Member


@pytest.fixture(scope="session")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    """A member that everybody leaves running."""
    made = Member(tmp_path_factory.mktemp("hazelcast"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def own_member(tmp_path: Path) -> Iterator[Member]:
    """A member to be killed, stopped and restarted."""
    made = Member(tmp_path)
    made.start()
    yield made
    made.stop()
