"""Two people of whatever node a file of tests runs; three centers as values, for tests of what passes between them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_server.node import Node
from tests.server.running import Person, make_person
from tests.server.three_centers import FakeCenter, Town


@pytest.fixture
def alice(node: Node) -> Person:
    return make_person(node, "alice")


@pytest.fixture
def bob(node: Node) -> Person:
    return make_person(node, "bob")


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path)
    yield town
    town.close()


@pytest.fixture
def one(town: Town) -> FakeCenter:
    return town.centers[1]


@pytest.fixture
def two(town: Town) -> FakeCenter:
    return town.centers[2]


@pytest.fixture
def three(town: Town) -> FakeCenter:
    return town.centers[3]
