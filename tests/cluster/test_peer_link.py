"""One link's life after its handshake: order, bounds, silence, and what a peer gets that breaks the rules of batches."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import gevent
import pytest

from cluster.peer_link import MAX_MESSAGE_BYTES, LinkLimits, PeerLink
from myim_wire.errors import ErrorCode, LocalProtocolError
from myim_wire.link_batches import (
    CONSUMED,
    GOODBYE,
    HEARTBEAT,
    HEARTBEAT_ANSWER,
    MAX_BATCH_BYTES,
    decode_own,
    encode_own,
)
from tests.cluster.nodes import Making, Node, join, wait_until
from tests.cluster.raw_peer import RawPeer

QUICK = (0.1, 0.6)  # seconds between heartbeats, and of silence


@pytest.fixture(params=["plain", "tls"])
def pair(make: Making, request: pytest.FixtureRequest) -> tuple[Node, RawPeer]:
    """A node, and a peer that speaks by hand."""
    node = make(security=request.param)
    return node, attach(node)


def attach(node: Node) -> RawPeer:
    peer = RawPeer(node).prove()
    assert peer.other is not None
    if peer.other.is_tls:
        peer.secure()
    peer.hear_until(HEARTBEAT)
    wait_until(lambda: node.mesh.link(peer.id))
    return peer


def link_of(node: Node, peer: RawPeer) -> PeerLink:
    link = node.mesh.link(peer.id)
    assert link is not None
    return link


def is_down(node: Node, peer: RawPeer) -> bool:
    return node.life[-1] == ("down", peer.id) and node.mesh.link(peer.id) is None


# ---------------------------------------------------------------------- order and batches


@pytest.mark.parametrize("security", ["plain", "tls"])
def test_everything_arrives_once_and_in_order_whatever_its_size(make: Making, security: str) -> None:
    one, two = make(security=security), make(security=security)
    link, _ = join(one, two)
    sizes = [0, 1, 100, 16_000, 17_000, 65_530, 65_536, 70_000, 200_000, MAX_MESSAGE_BYTES - 1] * 3
    messages = [b"\x10" + os.urandom(size) for size in sizes]
    for number, message in enumerate(messages):
        assert link.send_urgent(message) if number % 2 else link.send(message)
    wait_until(lambda: [message for _, message in two.told] == messages)
    wait_until(lambda: link.status().queued_bytes == 0)


@pytest.mark.parametrize("size", [0, MAX_MESSAGE_BYTES + 1])
def test_a_message_that_no_batch_can_hold_is_the_callers_fault_and_ends_nothing(make: Making, size: int) -> None:
    link, back = join(make(), make())
    with pytest.raises(LocalProtocolError):
        link.send(bytes(size))
    assert link.is_open and back.is_open


def test_what_is_sent_in_one_turn_is_one_batch(pair: tuple[Node, RawPeer]) -> None:
    node, peer = pair
    link = link_of(node, peer)
    sent = [b"\x10%d" % number for number in range(100)]
    taken = peer.decoder.consumed
    for message in sent:
        link.send(message)
    assert peer.hear()
    assert [message for message in peer.heard if message[0] == 0x10] == sent
    assert peer.decoder.consumed - taken == sum(4 + len(message) for message in sent)


def test_a_flood_is_taken_in_pieces_so_that_others_have_their_turn(make: Making) -> None:
    node = make()
    peer, friend = attach(node), make()
    link, _ = join(friend, node)
    takes: list[tuple[int, int]] = []
    node.on_take = lambda link, messages: takes.append((link.peer.node, len(messages)))
    peer.say(*[b"\x10"] * 20_000)
    wait_until(lambda: takes)
    link.send(b"\x10in between")
    wait_until(lambda: len(node.told) == 20_001)
    assert max(count for _, count in takes) <= 256
    assert [message for sender, message in node.told if sender == peer.id] == [b"\x10"] * 20_000


# ---------------------------------------------------------------------- bounds


def test_a_peer_that_does_not_consume_gets_a_window_and_the_rest_waits_bounded(make: Making) -> None:
    limits = LinkLimits(window_bytes=131_072, queue_bytes=65_536, urgent_bytes=262_144)
    node = make(limits=limits)
    peer = attach(node)
    link = link_of(node, peer)
    message = b"\x10" + bytes(995)
    sent = 0
    while link.send(message) or flushed(link):
        sent += 1
        assert sent < 1000
    status = link.status()
    assert status.unconsumed_bytes <= 131_072 and 65_536 < status.queued_bytes < 65_536 + 1000
    urgent = 0
    while link.send_urgent(message):
        urgent += 1
    assert urgent > 150 and not link.send_urgent(message) and link.is_open
    while peer.decoder.consumed < status.unconsumed_bytes:
        assert peer.hear()
    assert peer.decoder.consumed <= 131_072
    peer.say(encode_own(CONSUMED, peer.decoder.consumed))
    wait_until(lambda: link.status().queued_bytes < status.queued_bytes + urgent * 1000)
    assert peer.hear()


def test_what_a_full_socket_did_not_take_goes_out_as_soon_as_there_is_room(make: Making) -> None:
    node = make(limits=LinkLimits(window_bytes=64 << 20, queue_bytes=64 << 20))
    peer = attach(node)
    link = link_of(node, peer)
    before, message = peer.decoder.consumed, b"\x10" + bytes(99_999)
    for _ in range(200):
        link.send(message)
    wait_until(lambda: link._socket.unsent)
    with gevent.Timeout(4.0):  # before the next heartbeat
        while peer.decoder.consumed < before + 200 * 100_004:
            assert peer.hear()
    assert [heard for heard in peer.heard if heard[0] == 0x10] == [message] * 200


def test_a_trickle_that_nobody_consumes_is_bounded_too(make: Making) -> None:
    node = make(limits=LinkLimits(window_bytes=65_536, queue_bytes=65_536))
    peer = attach(node)
    link = link_of(node, peer)
    sent = 0
    while link.send(b"\x10" + bytes(995)):
        gevent.sleep(0)
        sent += 1
    assert 120 < sent < 140 and link.status().unconsumed_bytes <= 65_536


def flushed(link: PeerLink) -> bool:
    """Let what the window allows go out; whether something did."""
    before = link.status().queued_bytes
    for _ in range(20):
        gevent.sleep(0)
    return link.status().queued_bytes < before


def test_what_the_peer_consumed_is_told_to_it_soon(pair: tuple[Node, RawPeer]) -> None:
    _, peer = pair
    peer.say(*[b"\x10" + bytes(995)] * 40)
    assert decode_own(peer.hear_until(CONSUMED)) == (CONSUMED, peer.encoder.produced)


def test_a_window_that_closed_opens_again_and_nothing_is_lost(make: Making) -> None:
    limits = LinkLimits(window_bytes=65_536, queue_bytes=1 << 22)
    one, two = make(limits=limits), make(limits=limits)
    link, _ = join(one, two)
    messages = [b"\x10" + number.to_bytes(4, "big") + bytes(number % 2000) for number in range(3000)]
    for message in messages:
        assert link.send(message)
    wait_until(lambda: len(two.told) == 3000)
    assert [message for _, message in two.told] == messages


# ---------------------------------------------------------------------- the rules of batches


def raised_consumed(peer: RawPeer) -> bytes:
    return peer.encoder.encode([encode_own(CONSUMED, 1 << 40)])


FAULTS = {
    "garbage": lambda peer: os.urandom(200),
    "an oversize frame at its header": lambda peer: (MAX_BATCH_BYTES + 1).to_bytes(4, "big"),
    "a frame of 4 GiB": lambda peer: b"\xff\xff\xff\xff",
    "a frame of nothing": lambda peer: bytes(4),
    "an empty message": lambda peer: peer.encoder.encode([b""]),
    "an own message of no known kind": lambda peer: peer.encoder.encode([b"\x09"]),
    "an own message cut short": lambda peer: peer.encoder.encode([b"\x01\x00"]),
    "more consumed than was sent": raised_consumed,
    "an answer that nobody asked for": lambda peer: peer.encoder.encode([encode_own(HEARTBEAT_ANSWER, 7)]),
    "more heartbeats than it reads answers": lambda peer: peer.encoder.encode([encode_own(HEARTBEAT, 7)] * 5000),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_breach_ends_the_link_with_a_reason_and_what_follows_is_not_heard(pair: tuple[Node, RawPeer], fault: object) -> None:
    node, peer = pair
    bad: bytes = fault(peer)  # type: ignore[operator]
    peer.say_bytes(bad + peer.encoder.encode([b"\x10after"]))
    assert [message[0] for message in peer.hear_out()] == [GOODBYE]
    wait_until(lambda: is_down(node, peer))
    assert node.told == []


@pytest.mark.parametrize("how", ["doubled", "replayed later", "swapped", "dropped", "a bit flipped"])
def test_on_a_plain_link_nothing_but_the_next_batch_is_believed(make: Making, how: str) -> None:
    node = make()
    peer = attach(node)
    first, second, third = (peer.encoder.encode([b"\x10%d" % number]) for number in range(3))
    data, good = {
        "doubled": (first + first, [b"\x100"]),
        "replayed later": (first + second + first, [b"\x100", b"\x101"]),
        "swapped": (second + first, []),
        "dropped": (first + third, [b"\x100"]),
        "a bit flipped": (first + second[:-1] + bytes([second[-1] ^ 1]), [b"\x100"]),
    }[how]
    for frame in (data,):
        peer.say_bytes(frame)
    assert [decode_own(message)[1] for message in peer.hear_out()] == [ErrorCode.BAD_RECORD]
    wait_until(lambda: is_down(node, peer))
    assert [message for _, message in node.told] in (good, [])


@pytest.mark.parametrize("bit", range(0, 8 * 40, 7))
def test_under_tls_a_bit_flipped_on_the_way_ends_the_link(make: Making, bit: int) -> None:
    node = make(security="tls")
    peer = attach(node)
    sealed = bytearray(peer.tls.seal(peer.encoder.encode([b"\x10hello"])))
    sealed[bit // 8 % len(sealed)] ^= 1 << bit % 8
    peer.socket.sendall(bytes(sealed) + peer.tls.seal(peer.encoder.encode([b"\x10more"])) + bytes(65_536))
    wait_until(lambda: is_down(node, peer))
    assert node.told == []


def test_a_link_of_an_hour_ago_says_nothing_on_a_new_one(make: Making) -> None:
    node = make()
    old = attach(node)
    recorded = old.encoder.encode([b"\x10old"])
    old.socket.close()
    wait_until(lambda: is_down(node, old))
    peer = RawPeer(node, old.identity).prove()
    peer.say_bytes(recorded)
    peer.hear_out()
    wait_until(lambda: is_down(node, peer))
    assert node.told == []


def test_a_fault_of_ours_while_messages_are_taken_ends_that_link_alone(make: Making) -> None:
    node, friend = make(), make()
    kept, _ = join(friend, node)
    peer = attach(node)

    def fail(link: PeerLink, messages: object) -> None:
        if link.peer.node == peer.id:
            raise ZeroDivisionError

    node.on_take = fail
    peer.say(b"\x10x")
    assert peer.hear_out() == [encode_own(GOODBYE, ErrorCode.INTERNAL)]
    wait_until(lambda: ("down", peer.id) in node.life)
    assert kept.is_open and friend.mesh.send(node.id, b"\x10y")


def test_a_goodbye_ends_the_link_after_what_came_before_it(pair: tuple[Node, RawPeer]) -> None:
    node, peer = pair
    link = link_of(node, peer)
    peer.say(*[b"\x10last words"] * 600, encode_own(GOODBYE, ErrorCode.DRAINING))
    wait_until(lambda: is_down(node, peer))
    assert len(node.told) == 600
    assert link.last_error == "the peer said goodbye: DRAINING"


def test_a_closed_link_takes_nothing_more_and_may_be_closed_again(make: Making) -> None:
    node, other = make(), make()
    link, back = join(node, other)
    other.members = []
    link.send(b"\x10void")
    link.close(ErrorCode.SHUTDOWN, "a test")
    assert not link.is_open and not link.send(b"\x10") and not link.send_urgent(b"\x10")
    link.close(ErrorCode.INTERNAL)
    link.cut("again")
    wait_until(lambda: not back.is_open)
    assert (link.last_error, back.last_error) == ("a test", "the peer said goodbye: SHUTDOWN")
    assert link.status().queued_bytes == 0 and link.status().state == "down"


# ---------------------------------------------------------------------- silence


def test_heartbeats_are_answered_and_timed(make: Making) -> None:
    one, two = make(beats=QUICK), make(beats=QUICK)
    link, back = join(one, two)
    wait_until(lambda: link.rtt_ms > 0 and back.rtt_ms > 0)
    assert link.status().rtt_ms < 1000
    since = link.last_heard
    wait_until(lambda: link.last_heard > since + 1.0)
    assert link.is_open and back.is_open


@pytest.fixture
def quiet(make: Making) -> Iterator[tuple[Node, RawPeer, PeerLink]]:
    """A node with little patience, a peer that does what the test says, and a good link that has to stay."""
    node, friend = make(beats=QUICK), make(beats=QUICK)
    kept, _ = join(friend, node)
    peer = attach(node)
    yield node, peer, link_of(node, peer)
    assert kept.is_open


def test_a_peer_that_falls_silent_is_cut_in_time(quiet: tuple[Node, RawPeer, PeerLink]) -> None:
    node, peer, link = quiet
    wait_until(lambda: is_down(node, peer), seconds=2.0)
    assert link.last_error == "silent for too long"


def test_a_peer_that_speaks_and_hears_nothing_is_cut_in_time(quiet: tuple[Node, RawPeer, PeerLink]) -> None:
    node, peer, link = quiet

    def is_cut() -> bool:
        if link.is_open:
            try:
                peer.say(encode_own(HEARTBEAT, 1))  # it would go on for ever
            except OSError:
                pass
        return is_down(node, peer)

    wait_until(is_cut, seconds=3.0)
    assert link.last_error == "answers nothing"


def test_a_peer_that_stops_reading_in_the_middle_of_a_frame_is_cut_in_time(make: Making) -> None:
    node, friend = make(beats=QUICK, limits=LinkLimits(window_bytes=64 << 20, queue_bytes=64 << 20)), make(beats=QUICK)
    kept, _ = join(friend, node)
    peer = attach(node)
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link = link_of(node, peer)
    for _ in range(400):
        link.send(b"\x10" + bytes(100_000))
    wait_until(lambda: link._socket.unsent)

    def is_cut() -> bool:
        if link.is_open:
            try:
                peer.say(b"\x10I am here")
            except OSError:
                pass
        return is_down(node, peer)

    wait_until(is_cut, seconds=4.0)
    assert link.last_error == "takes nothing"
    assert kept.is_open


def test_who_slept_cuts_nobody_when_it_wakes(make: Making) -> None:
    node, other = make(), make()
    link, _ = join(node, other)
    wait_until(lambda: not link._asked)
    link.look_after(link.last_heard, 12.0, was_stopped=False)  # from here on nothing is heard
    link.beat()
    link.look_after(link.last_heard + 1000, 12.0, was_stopped=True)
    link.look_after(link.last_heard + 1, 12.0, was_stopped=False)
    wait_until(lambda: not link._asked)  # the answers that came meanwhile are as good
    assert link.is_open
    link.look_after(link.last_heard + 11, 12.0, was_stopped=False)
    assert link.is_open
    link.look_after(link.last_heard + 13, 12.0, was_stopped=False)
    assert not link.is_open


def test_a_probe_is_answered_by_the_living_and_by_nobody_else(quiet: tuple[Node, RawPeer, PeerLink]) -> None:
    node, _, dead = quiet
    (alive,) = (link for link in node.mesh._all() if link is not dead)
    assert alive.probe(5.0)
    assert not dead.probe(0.05)
    waiting = gevent.spawn(dead.probe, 60.0)
    gevent.sleep(0)
    dead.cut("a test")
    assert waiting.get(timeout=5) is False
