"""What must not stop links from being made: a fault of who hears of them, strangers who sit at the door."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import gevent
import pytest

from cluster.peer_link import PeerLink
from tests.cluster.nodes import Node, join, wait_until

STRANGER = "127.0.0.2"


class Faulty(Node):
    """Fails once when it hears of what it is told to fail at."""

    fails_at = ""

    def came_up(self, link: PeerLink) -> None:
        self._fail("came_up")
        super().came_up(link)

    def went_down(self, link: PeerLink) -> None:
        self._fail("went_down")
        super().went_down(link)

    def _fail(self, what: str) -> None:
        if self.fails_at == what:
            self.fails_at = ""
            raise KeyError("a bug, for the test")


@pytest.fixture
def pair() -> Iterator[tuple[Faulty, Node]]:
    one, other = Faulty(), Node()
    yield one, other
    one.mesh.stop()
    other.mesh.stop()


def test_a_fault_when_a_link_comes_up_does_not_end_the_dialling(pair: tuple[Faulty, Node]) -> None:
    one, other = pair
    one.fails_at = "came_up"
    one.knows(other)
    wait_until(lambda: ("up", other.id) in one.life)


def test_a_fault_when_a_link_ends_does_not_end_the_dialling(pair: tuple[Faulty, Node]) -> None:
    one, other = pair
    join(one, other)
    one.fails_at = "went_down"
    one.mesh.cut(other.id, "a test")
    wait_until(lambda: not one.fails_at and one.life.count(("up", other.id)) == 2)


def test_silent_connections_of_a_stranger_keep_nobody_out(pair: tuple[Faulty, Node]) -> None:
    one, other = pair
    silent = [socket.create_connection(other.mesh.address, source_address=(STRANGER, 0)) for _ in range(100)]
    gevent.sleep(0)
    one.knows(other)
    wait_until(lambda: ("up", other.id) in one.life, seconds=4.0)  # less than a silent one is given
    for connection in silent:
        connection.close()
