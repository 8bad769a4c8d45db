"""Two people of whatever node a file of tests runs."""

import pytest

from myim_server.node import Node
from tests.server.running import Person, make_person


@pytest.fixture
def alice(node: Node) -> Person:
    return make_person(node, "alice")


@pytest.fixture
def bob(node: Node) -> Person:
    return make_person(node, "bob")
