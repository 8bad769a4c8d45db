"""Terminals that do not read, do not write, write too slowly, vanish, or come and go: what the center does, and what it holds for them."""

import gc
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from myim_server.center import Center
from myim_server.node import Node
from myim_server.sessions import Session
from myim_wire.center_handshake import CenterClient
from myim_wire.errors import ErrorCode, ReportedError
from myim_wire.frames import encode_frame
from myim_wire.messages import PING_ANSWER, PING_ASK, QOS1, Command, Message, decode_error, encode_message, split_trailer
from tests.server.running import Person, RawTerminal, make_person, online, start_node, stuff, wait_until

BOUND = 262_144
RECEIVED, STORED = b"\x01", b"\x02"
LIMITS = {
    "outbound_bytes": BOUND,
    "slow_reader_seconds": 30,
    "frame_seconds": 0.3,
    "idle_ping_seconds": 0.4,
    "idle_close_seconds": 1.2,
    "max_handshakes_per_address": 4,
    "handshake_seconds": 5,
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    running = start_node(Path(tmp_path_factory.mktemp("node")), center=LIMITS | {"idle_ping_seconds": 30, "idle_close_seconds": 75})
    yield running
    running.stop()


@pytest.fixture(scope="module")
def people(node: Node) -> Callable[[], Person]:
    count = iter(range(10_000))
    return lambda: make_person(node, f"user{next(count)}")


def session_of(node: Node, person: Person) -> Session | None:
    assert node.router is not None
    party = node.router.parties.get(person.user << 6 | person.slot)
    return None if party is None else party.session


def flood(sender: RawTerminal, target: Person, body: bytes, in_one_record: int = 1) -> None:
    """A record of QoS 0 messages."""
    user = sender.person.user
    sender.say(*(encode_message(Command.USER_MESSAGE, 0, user, target.user, sender.name(), body) for _ in range(in_one_record)))
    gevent.sleep(0)


def flood_until_closing(node: Node, sender: RawTerminal, target: Person, body: bytes, in_one_record: int) -> int:
    """Flood until the target's session is ending; the most bytes the center held for it meanwhile."""
    session = session_of(node, target)
    assert session is not None
    most = 0
    for _ in range(20_000_000 // (in_one_record * len(body))):
        flood(sender, target, body, in_one_record)
        most = max(most, session.waiting_bytes)
        if session.is_closing or session.is_over:
            return most
    raise AssertionError("the center holds on to a terminal that does not read")


def is_promised(message: Message) -> bool:
    """Whether it is a message that expects a receipt."""
    return message.command == Command.USER_MESSAGE and message.flags & 0x43 == QOS1


def look_until(center: Center, is_so: Callable[[], object], meanwhile: Callable[[], None] = lambda: None) -> None:
    """Have the center look after its sessions until the condition holds; it does so every two seconds anyhow."""

    def look() -> object:
        center.look_after()
        meanwhile()
        return is_so()

    wait_until(look)


@pytest.mark.parametrize(("size", "in_one_record"), [(32_768, 1), (1000, 60)])
def test_a_terminal_that_never_reads_is_cut_costs_a_bounded_buffer_and_loses_nothing(
    node: Node, people: Callable[[], Person], size: int, in_one_record: int
) -> None:
    sender, target, other_sender, other_target = people(), people(), people(), people()
    a, b, c, d = (online(node, person) for person in (sender, target, other_sender, other_target))
    b.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    names = [a.write(target.user, f"number {i}".encode(), is_first=i == 0) for i in range(20)]
    most = flood_until_closing(node, a, target, bytes(size), in_one_record)
    assert 0 < most <= BOUND + 2 * 65_536
    named = c.write(other_target.user, b"we are not disturbed")
    assert d.next_message().time == named
    d.confirm((other_sender.user, named))
    assert c.settling_of(named).content == RECEIVED
    assert [a.settling_of(name).content for name in names] == [STORED] * 20
    wait_until(lambda: session_of(node, target) is None)
    again = RawTerminal(node, target, 2)
    again.fetch()
    assert [again.wait_for(is_promised).time for _ in names] == names  # what of the flood came after the cut is there, too
    for terminal in (a, b, c, d, again):
        terminal.close()


def test_a_terminal_that_reads_again_in_time_is_told_that_it_was_too_slow(node: Node, people: Callable[[], Person]) -> None:
    sender, target = people(), people()
    a, b = online(node, sender), online(node, target)
    flood_until_closing(node, a, target, bytes(32_768), 1)
    assert decode_error(b.goodbye().content).code == ErrorCode.TOO_SLOW
    for terminal in (a, b):
        terminal.close()


def test_a_terminal_that_reads_nothing_for_the_configured_time_is_cut_below_the_bound(tmp_path: Path) -> None:
    node = start_node(tmp_path, center={"outbound_bytes": 1 << 30, "slow_reader_seconds": 0.5})
    a, b = online(node, make_person(node, "alice")), online(node, make_person(node, "bob"))
    stuff(node, a, b.person)
    wait_until(lambda: session_of(node, b.person) is None)
    for terminal in (a, b):
        terminal.close()
    node.stop()


def test_a_slow_reader_gets_every_byte_in_order(node: Node, people: Callable[[], Person]) -> None:
    sender, target = people(), people()
    a, b = online(node, sender), online(node, target)
    session = session_of(node, target)
    assert session is not None
    sent = stuff(node, a, target, lambda sent: struct.pack(">I", sent))
    got = [int.from_bytes(split_trailer(b.next_message().content)[0][:4], "big") for _ in range(sent)]
    assert got == list(range(sent))
    wait_until(lambda: session.waiting_bytes == 0)
    for terminal in (a, b):
        terminal.close()


def test_a_half_closed_terminal_gets_what_waits_for_it_and_the_empty_record(node: Node, people: Callable[[], Person]) -> None:
    sender, target = people(), people()
    a, b = online(node, sender), online(node, target)
    sent = stuff(node, a, target)
    b.socket.shutdown(socket.SHUT_WR)
    wait_until(lambda: session_of(node, target) is None)
    for _ in range(sent):
        b.next_message()
    with pytest.raises(EOFError):
        b.next_message()
    assert b.connection.is_peer_closed
    for terminal in (a, b):
        terminal.close()


def test_a_terminal_that_breaks_the_protocol_and_half_closes_at_once_is_told_why(node: Node, people: Callable[[], Person]) -> None:
    b = online(node, people())
    b.socket.sendall(encode_frame(bytes(40)))
    b.socket.shutdown(socket.SHUT_WR)
    assert decode_error(b.goodbye().content).code == ErrorCode.BAD_RECORD
    b.close()


def test_one_byte_per_write_is_as_good_as_any(node: Node, people: Callable[[], Person]) -> None:
    sender, target = people(), people()
    a, b = online(node, sender), online(node, target)
    a.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in a.connection.seal(encode_message(Command.USER_MESSAGE, 0x11, sender.user, target.user, a.name(), b"byte by byte")):
        a.socket.sendall(bytes((byte,)))
        gevent.sleep(0)
    assert split_trailer(b.next_message().content)[0] == b"byte by byte"
    for terminal in (a, b):
        terminal.close()


def test_a_frame_that_takes_too_long_is_told_timeout(node: Node, people: Callable[[], Person]) -> None:
    a = online(node, people())
    assert node.center is not None
    center, session = node.center, session_of(node, a.person)
    assert session is not None
    a.socket.sendall(a.connection.seal(PING_ASK)[:7])
    look_until(center, lambda: session.is_closing)
    assert decode_error(a.goodbye().content).code == ErrorCode.TIMEOUT
    a.close()


def test_frames_that_come_in_time_are_not_late_however_they_are_cut(node: Node, people: Callable[[], Person]) -> None:
    a = online(node, people())
    assert node.center is not None
    center, session = node.center, session_of(node, a.person)
    assert session is not None
    rest = b""
    end = time.monotonic() + 4 * LIMITS["frame_seconds"]
    while time.monotonic() < end:
        frame = a.connection.seal(PING_ASK)
        a.socket.sendall(rest + frame[:9])
        rest = frame[9:]
        center.look_after()
        gevent.sleep(0)
        while len(a.inbox) > 100:
            a.inbox.pop()
        a.poll()
    assert not session.is_closing
    a.close()


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Node]:
    running = start_node(tmp_path, center=LIMITS)
    yield running
    running.stop()


def test_an_idle_terminal_is_pinged_once_and_stays_as_long_as_it_answers(impatient: Node) -> None:
    a = online(impatient, make_person(impatient, "alice"))
    center, session = impatient.center, session_of(impatient, a.person)
    assert center is not None and session is not None
    for _ in range(4):
        began = session.last_heard
        look_until(center, lambda: a.inbox, a.poll)
        assert time.monotonic() - began >= LIMITS["idle_ping_seconds"]
        center.look_after()
        a.say(PING_ANSWER)
        assert [message.command for message in a.inbox] == [Command.PING]
        a.inbox.clear()
        wait_until(lambda began=began: session.last_heard > began)  # type: ignore[misc]
    assert not session.is_closing
    a.close()


@pytest.mark.parametrize("reads", [True, False])
def test_a_terminal_that_is_silent_or_gone_without_a_word_is_found(impatient: Node, reads: bool) -> None:
    a = online(impatient, make_person(impatient, "alice"))
    center = impatient.center
    assert center is not None
    look_until(center, lambda: session_of(impatient, a.person) is None)
    if reads:
        assert decode_error(a.goodbye().content).code == ErrorCode.IDLE
    a.close()


def dial(node: Node) -> socket.socket:
    assert node.center is not None
    return socket.create_connection(("127.0.0.1", node.center.server_port), timeout=5)


def connect_flight(person: Person, number: int) -> bytes:
    return CenterClient(person.token, person.session_key, person.terminal_private, os.urandom(32), os.urandom(32), number).connect()


def test_no_more_than_so_many_handshakes_of_one_address_run_at_once(node: Node, people: Callable[[], Person]) -> None:
    waiting = [dial(node) for _ in range(4)]
    with pytest.raises(ReportedError, match="BUSY"):
        RawTerminal(node, people())
    waiting.pop().close()
    wait_until(lambda: node.center is not None and node.center.handshakes_running == 3)
    online(node, people()).close()
    for connection in waiting:
        connection.close()
    wait_until(lambda: node.center is not None and node.center.handshakes_running == 0)


def test_a_full_center_serves_the_next_when_one_has_gone(tmp_path: Path) -> None:
    node = start_node(tmp_path, center={"max_connections": 2})
    alice, bob, carol = (make_person(node, name) for name in ("alice", "bob", "carol"))
    a, b = online(node, alice), online(node, bob)
    third = gevent.spawn(online, node, carol)
    assert a.ask(Command.SERVERS).content and b.ask(Command.SERVERS).content
    assert not third.ready()
    b.close()
    c = third.get(timeout=10)
    for terminal in (a, c):
        terminal.close()
    node.stop()


def come_and_go(node: Node, person: Person, stage: int, number: int) -> None:
    """Connect, get so far, and vanish; every other time by a reset."""
    flight = connect_flight(person, number)
    connection = dial(node)
    if number % 2:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if stage == 1:
        connection.sendall(flight[: len(flight) // 2])
    if stage >= 2:
        connection.sendall(flight)
    if stage >= 3:
        connection.recv(65536)
    connection.close()
    if stage == 4:
        online(node, person, number).close()


def held(node: Node) -> tuple[int, int, int, int, int]:
    """Sessions, greenlets, descriptors, parties, sender terminals: what a center may hold for somebody who is gone."""
    assert node.router is not None
    gc.collect()
    objects = gc.get_objects()
    sessions = sum(isinstance(one, Session) for one in objects)
    greenlets = sum(isinstance(one, gevent.Greenlet) and not one.dead for one in objects)
    return sessions, greenlets, len(os.listdir("/proc/self/fd")), len(node.router.parties), len(node.router.lanes.terminals)


def test_a_flood_of_connections_that_come_and_go_at_every_stage_leaves_nothing_behind(node: Node, people: Callable[[], Person]) -> None:
    crowd = [people() for _ in range(4)]
    for stage in range(5):
        come_and_go(node, crowd[0], stage, 1 + stage)
    wait_until(lambda: held(node)[0] == 0 == held(node)[3])
    before = held(node)
    for number in range(10, 90):
        floods = [gevent.spawn(come_and_go, node, person, (number + i) % 5, number) for i, person in enumerate(crowd)]
        gevent.joinall(floods, timeout=30, raise_error=True)
    wait_until(lambda: all(now <= then for now, then in zip(held(node), before, strict=True)))
    assert node.center is not None and node.center.handshakes_running == 0


def test_what_a_sender_left_behind_is_forgotten_when_it_is_settled(node: Node, people: Callable[[], Person]) -> None:
    sender, target = people(), people()
    a, b = online(node, sender), online(node, target)
    named = a.write(target.user, b"goodbye")
    b.next_message()
    a.close()
    wait_until(lambda: session_of(node, sender) is None)
    assert node.router is not None
    lanes = node.router.lanes
    assert lanes.get(sender.user, sender.slot, target.user) is not None
    b.confirm((sender.user, named))
    wait_until(lambda: sender.user << 6 | sender.slot not in lanes.terminals)
    b.close()
