"""The center's door before a session begins: who is let in late, who is told what, and who is waited for."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest

from myim_server.center import Center
from myim_server.node import Node
from myim_wire.center_handshake import CenterClient
from myim_wire.errors import ErrorCode, ReportedError
from myim_wire.messages import QOS1, Command, encode_message
from tests.server.running import Person, RawTerminal, make_person, online, start_node, wait_until

LIMITS = {"max_handshakes_per_address": 3, "max_connections": 40, "handshake_seconds": 5}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    running = start_node(tmp_path, center=LIMITS, tokens={"poll_seconds": 0.1})
    yield running
    running.stop()


@pytest.fixture
def center(node: Node) -> Center:
    assert node.center is not None
    return node.center


def fetch(terminal: RawTerminal) -> bytes:
    return encode_message(Command.OFFLINE_FETCH, QOS1, terminal.person.user, 0, terminal.name())


def told_to(terminal: RawTerminal) -> ErrorCode:
    """Why the center refused the terminal's first record."""
    with pytest.raises(ReportedError) as refused:
        while True:
            terminal._read_once()
    return ErrorCode(refused.value.code)


def greeting(person: Person, number: int = 1) -> bytes:
    return CenterClient(person.token, person.session_key, person.terminal_private, os.urandom(32), os.urandom(32), number).connect()


def dial(center: Center) -> socket.socket:
    return socket.create_connection(("127.0.0.1", center.server_port), timeout=10)


def words(connection: socket.socket) -> ErrorCode:
    """The error flight that comes."""
    data = connection.recv(100)
    assert len(data) == 8 and data[4:6] == b"\x01\xff"
    return ErrorCode(int.from_bytes(data[6:], "big"))


def test_nobody_comes_online_under_ticket_keys_that_were_dropped_between_the_flights(node: Node) -> None:
    witness, waiting = online(node, make_person(node, "bob")), RawTerminal(node, make_person(node, "alice"))
    node.tickets.drop_all()
    node._refresh(node.tickets)
    assert witness.goodbye().content
    waiting.say(fetch(waiting))
    assert told_to(waiting) == ErrorCode.TOKEN_INVALID


def test_nobody_comes_online_at_a_center_that_began_to_drain_between_the_flights(node: Node, center: Center) -> None:
    waiting = RawTerminal(node, make_person(node, "alice"))
    center.is_draining = True
    waiting.say(fetch(waiting))
    assert told_to(waiting) == ErrorCode.DRAINING


def test_what_became_of_a_token_is_told_to_none_but_who_holds_its_session_key(node: Node, center: Center) -> None:
    assert node.store is not None
    alice = make_person(node, "alice")
    phone = online(node, alice, 7)
    thief = replace(alice, session_key=os.urandom(32))
    for number in (3, 9):
        connection = dial(center)
        connection.sendall(greeting(thief, number))
        assert words(connection) == ErrorCode.BAD_HANDSHAKE
    node.store.accounts.raise_generation(alice.user)
    assert phone.goodbye().content  # the poll has come
    for person, code in ((thief, ErrorCode.BAD_HANDSHAKE), (alice, ErrorCode.TOKEN_REVOKED)):
        connection = dial(center)
        connection.sendall(greeting(person, 8))
        assert words(connection) == code


def test_who_is_told_busy_is_not_waited_for_and_keeps_nobody_out(node: Node, center: Center) -> None:
    alice = make_person(node, "alice")
    held = [dial(center) for _ in range(3)]
    wait_until(lambda: center.handshakes_running == 3)
    refused = [dial(center) for _ in range(120)]
    for connection in refused:
        assert words(connection) == ErrorCode.BUSY
    assert len(center._connections) == 3
    for connection in held + refused:
        connection.close()
    wait_until(lambda: not center.handshakes_running)
    assert online(node, alice).fetch() == 0


def test_who_is_waited_for_after_the_last_word_still_has_its_place(center: Center) -> None:
    ended = [dial(center) for _ in range(3)]
    for connection in ended:
        connection.sendall(b"\0\0\0\x02\x07\x07")
        assert words(connection) == ErrorCode.UNSUPPORTED_VERSION
    assert center.handshakes_running == 3
    late = dial(center)
    assert words(late) == ErrorCode.BUSY
    for connection in ended:
        connection.close()
    wait_until(lambda: not center.handshakes_running)


def incoming() -> tuple[socket.socket, Any]:
    """Both ends of a connection; the second as a StreamServer would be given it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname(), timeout=10)
        return near, listener.accept()[0]


def test_an_ipv6_host_has_the_places_of_one_address_whatever_addresses_of_its_64_it_picks(center: Center) -> None:
    ends = [incoming() for _ in range(5)]
    hosts = ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3", "2001:db8::4", "2001:db8:0:1::1"]
    served = [gevent.spawn(center._serve, far, (host, 5)) for (_, far), host in zip(ends, hosts, strict=True)]
    assert words(ends[3][0]) == ErrorCode.BUSY
    wait_until(lambda: center.handshakes_running == 4)
    for near, _ in ends:
        near.close()
    gevent.joinall(served, timeout=10, raise_error=True)
