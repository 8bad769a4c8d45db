"""A peer that proved the cluster secret and then lies or talks nonsense: it gets nothing through, and nobody else is disturbed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest

from cluster.identity import make_identity
from cluster.mesh import Member, MeshLinkManager, MeshSettings
from cluster.peer_link import PeerLink
from myim_server.control import ask
from myim_server.keys import open_cluster_secret
from myim_server.node import Node
from myim_wire import peer_messages as wire
from myim_wire.messages import Command
from tests.server.running import Person, make_person, online, wait_until
from tests.server.test_drain import Two

NONSENSE = {
    "an empty opening": bytes([wire.OPEN]),
    "an opening cut short": wire.encode_open((1, 0, 1, 1), 2, 3, [(64, 1, b"body")])[:-1],
    "more letters than told": wire.encode_open((1, 0, 1, 1), 2, 3, [(64, 1, b"body")]) + b"x",
    "a letter of another slot": wire.encode_open((1, 0, 1, 1), 2, 3, [(65, 1, b"body")]),
    "an opening without letters": wire.encode_open((1, 0, 1, 1), 2, 3, []),
    "a slot beyond 63 that would be another user's": wire.encode_open((1, 64, 1, 1), 2, 3, [(64, 1, b"body")]),
    "a letter that is too long": wire.encode_open((1, 0, 1, 1), 2, 3, [(64, 1, bytes(32_769))]),
    "a following without a head": bytes([wire.FOLLOW]) + bytes(10),
    "an end with half a number": wire.encode_lane(wire.END, 1, 0, 2, 3) + b"x",
    "an answer of a slot beyond 63": wire.encode_lane(wire.RECEIVED, 1, 64, 2, 3, [64]),
    "a poke of nobody": bytes([wire.POKE]),
    "half a session that came": wire.encode_came([wire.Came(1, 0, 1, 1, 1)])[:-1],
    "a copy without a letter": wire.encode_copy((1, 0, 1, 1), 2, 2, (64, 1, b""))[:-18],
    "a whisper without a letter": wire.encode_once((1, 0, 1, 1), 2, 3, (64, 1, b""))[:-18],
    "half a terminal with receipts": wire.encode_receipts([(1, 1)])[:-1],
    "a drain of the third kind": bytes([wire.DRAIN, 2]),
    "a question without a number": bytes([wire.ASK, 1]),
    "a question for half a user": wire.encode_ask(1, [1])[:-1],
    "an answer of half a place": wire.encode_places(1, {1: [(1, 1, 1, 1)]})[:-1],
}


class Hostile:
    """A peer with the cluster's secret that says what a test wants."""

    def __init__(self, two: Two, node: Node) -> None:
        secret = open_cluster_secret(two.directories[0].parent / "cluster.secret")
        self.node = node
        self.heard: list[bytes] = []
        self.ends = 0
        address = node.addresses()["links"]
        self.mesh = MeshLinkManager(MeshSettings(None), make_identity(os.urandom(32)), secret, self, lambda: [Member(address)])
        self.mesh.build()
        self.mesh.start()
        wait_until(lambda: self.mesh.linked())

    def came_up(self, link: PeerLink) -> None: ...

    def went_down(self, link: PeerLink) -> None:
        self.ends += 1

    def take(self, link: PeerLink, messages: Sequence[bytes]) -> None:
        self.heard += messages

    def say(self, message: bytes) -> None:
        assert self.mesh.send(self.node.node_id, message)

    def returned(self) -> list[Sequence[int]]:
        return [wire.decode_lane(message)[4] for message in self.heard if message[0] == wire.RETURNED]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    made = Two(tmp_path_factory.mktemp("two"))
    yield made
    made.stop()


@pytest.fixture
def node(two: Two) -> Node:
    """People are made at the first of the two."""
    return two.first


@pytest.fixture
def alice(node: Node) -> Person:
    """Somebody new for each test, since the centers stay."""
    return make_person(node, "alice" + os.urandom(4).hex())


@pytest.fixture
def bob(node: Node) -> Person:
    return make_person(node, "bob" + os.urandom(4).hex())


@pytest.fixture
def hostile(two: Two, node: Node) -> Iterator[Hostile]:
    made = Hostile(two, node)
    yield made
    made.mesh.stop()


def test_letters_in_the_name_of_somebody_at_another_center_go_back(two: Two, hostile: Hostile, alice: Person, bob: Person) -> None:
    hers, his = online(two.second, alice), online(two.first, bob)
    refused = two.first.metrics.claims_refused
    for slot_time in (1, 2):
        time = slot_time << 6 | alice.slot
        hostile.say(wire.encode_open((alice.user, alice.slot, 1, 1), bob.user, slot_time, [(time, 1, b"I am alice")]))
        hostile.say(wire.encode_copy((alice.user, alice.slot, 1, 1), bob.user, bob.user, (time, 1, b"I am alice")))
        hostile.say(wire.encode_once((alice.user, alice.slot, 1, 1), bob.user, 1, (time, 1, b"I am alice")))
    wait_until(lambda: two.first.metrics.claims_refused >= refused + 2)
    wait_until(lambda: len(hostile.returned()) == 2)
    hers.write(bob.user, b"I am really alice")
    message = his.wait_for(lambda one: one.command == Command.USER_MESSAGE)
    assert message.content[:-24] == b"I am really alice"
    hers.close()
    his.close()


def test_letters_in_the_name_of_somebody_here_go_back(two: Two, hostile: Hostile, alice: Person, bob: Person) -> None:
    hers, his = online(two.first, alice), online(two.first, bob)
    refused = two.first.metrics.claims_refused
    hostile.say(wire.encode_open((alice.user, alice.slot, 1, 1), bob.user, 1, [(64 | alice.slot, 1, b"I am alice")]))
    wait_until(lambda: two.first.metrics.claims_refused == refused + 1)
    assert not [one for one in his.inbox if one.command == Command.USER_MESSAGE]
    hers.close()
    his.close()


def test_an_answer_of_a_stranger_settles_nothing(two: Two, hostile: Hostile, alice: Person, bob: Person) -> None:
    hers, his = online(two.first, alice), online(two.second, bob)
    time = hers.write(bob.user, b"for bob alone")
    his.wait_for(lambda one: one.command == Command.USER_MESSAGE)
    lane = two.first.router.lanes.get(alice.user, alice.slot, bob.user) if two.first.router else None
    assert lane is not None
    for kind in (wire.RECEIVED, wire.RETURNED):
        hostile.say(wire.encode_lane(kind, alice.user, alice.slot, bob.user, lane.attempt, [time]))
    hostile.say(wire.encode_ask(77, [alice.user]))
    wait_until(lambda: any(message[0] == wire.PLACES for message in hostile.heard))  # so all before it was taken
    assert list(lane.queue) == [time]
    his.confirm((alice.user, time))
    assert hers.settling_of(time).content == b"\x01"
    hers.close()
    his.close()


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_ends_the_link_that_brought_it_and_no_other(two: Two, hostile: Hostile, what: str) -> None:
    faults = two.first.metrics.peer_faults
    hostile.say(NONSENSE[what])
    wait_until(lambda: hostile.ends >= 1)
    assert two.first.metrics.peer_faults == faults + 1
    links = ask(two.directories[0], "links")
    assert [link["state"] for link in links if link["node"] == two.second.node_id] == ["up"]
