"""The login center's door: what it answers to good and bad input."""

import os
import random
import struct
import time
from collections.abc import Callable

import pytest

from myim_server.login import LoginCenter
from myim_server.metrics import Metrics
from myim_server.refusals import RequestRefused, StoreUnavailable
from myim_wire.errors import ErrorCode
from myim_wire.flights import encode_flight
from myim_wire.frames import encode_frame
from myim_wire.login_flights import CREDENTIALS, SERVERS_ASK, TERMINAL, Granted, Refused, ServersListed
from myim_wire.login_handshake import LoginClient
from tests.login.door import GRANT, SERVERS, Decisions, connections, error_flight, hello
from tests.login.terminal import Terminal, Wire
from tests.store.mariadb import wait_until


def test_a_login_is_granted_what_the_accounts_grant(center: LoginCenter, decisions: Decisions, metrics: Metrics) -> None:
    terminal = Terminal(center.server_port)
    assert terminal.log_in("alice", "correct horse") == Granted(GRANT)
    ((asked, address, now),) = decisions.asked
    assert (asked.op, asked.name, asked.password, asked.terminal) == ("login", "alice", "correct horse", "desk")
    assert (asked.terminal_public_key, asked.fingerprint) == (terminal.client().terminal_public, terminal.fingerprint)
    assert (address, now) == ("127.0.0.1", 1_000)
    assert metrics.logins == 1


def test_a_registration_reaches_the_accounts_as_one(center: LoginCenter, decisions: Decisions, metrics: Metrics) -> None:
    assert isinstance(Terminal(center.server_port).register("alice", "correct horse"), Granted)
    assert decisions.asked[0][0].op == "register"
    assert (metrics.logins, metrics.registrations) == (1, 1)


def test_the_server_list_is_told_before_login(center: LoginCenter, decisions: Decisions) -> None:
    wire, client = Terminal(center.server_port).greeted()
    wire.send(client.ask_servers())
    assert client.receive(wire.flight()) == [ServersListed(tuple(SERVERS))]
    assert wire.rest() == b""
    assert decisions.asked == []


REFUSALS = [
    (RequestRefused(ErrorCode.LOGIN_FAILED), ErrorCode.LOGIN_FAILED, 0),
    (RequestRefused(ErrorCode.THROTTLED, retry_ms=1_500), ErrorCode.THROTTLED, 1_500),
    (RequestRefused(ErrorCode.BUSY, retry_ms=1_000), ErrorCode.BUSY, 1_000),
    (RequestRefused(ErrorCode.NAME_TAKEN, "x", field="name"), ErrorCode.NAME_TAKEN, 0),
    (StoreUnavailable("cause", 700), ErrorCode.STORE_UNAVAILABLE, 700),
    (RequestRefused(ErrorCode.THROTTLED, retry_ms=1 << 40), ErrorCode.THROTTLED, 0xFFFFFFFF),
]


@pytest.mark.parametrize(("raised", "code", "retry_ms"), REFUSALS)
def test_a_refusal_travels_sealed_with_its_code_and_wait(
    center: LoginCenter, decisions: Decisions, metrics: Metrics, raised: RequestRefused, code: ErrorCode, retry_ms: int
) -> None:
    decisions.answer = raised
    assert Terminal(center.server_port).log_in("alice", "correct horse") == Refused(code, retry_ms)
    assert metrics.handshakes_failed == {code.name: 1}


FIRST_BYTES = [
    ("a length of 0", bytes(4), ErrorCode.BAD_FRAME),
    ("a length of 4097", struct.pack(">I", 4097), ErrorCode.BAD_FRAME),
    ("a length of 0xFFFFFFFF", b"\xff" * 4, ErrorCode.BAD_FRAME),
    ("a length that is negative if signed", b"\x80\0\0\0", ErrorCode.BAD_FRAME),
    ("a frame of 4096 bytes that is no hello", encode_frame(hello(extra=bytes(4096 - 67))), ErrorCode.BAD_HANDSHAKE),
    ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ErrorCode.BAD_FRAME),
    ("a TLS ClientHello", bytes.fromhex("160301020001") + bytes(512), ErrorCode.BAD_FRAME),
    ("an SSH banner", b"SSH-2.0-OpenSSH_9.2\r\n", ErrorCode.BAD_FRAME),
    ("SMB", bytes.fromhex("00000085ff534d4272") + bytes(128), ErrorCode.UNSUPPORTED_VERSION),
    ("version 0", encode_frame(hello(version=0)), ErrorCode.UNSUPPORTED_VERSION),
    ("version 2", encode_frame(hello(version=2)), ErrorCode.UNSUPPORTED_VERSION),
    ("version 255", encode_frame(hello(version=255)), ErrorCode.UNSUPPORTED_VERSION),
    ("one byte", encode_frame(b"\x01"), ErrorCode.BAD_HANDSHAKE),
    ("an unknown suite", encode_frame(hello(suite=2)), ErrorCode.BAD_HANDSHAKE),
    ("a hello too short", encode_frame(hello()[:-1]), ErrorCode.BAD_HANDSHAKE),
    ("a hello too long", encode_frame(hello(extra=b"\0")), ErrorCode.BAD_HANDSHAKE),
    ("an ephemeral of zeros", encode_frame(hello(ephemeral=bytes(32))), ErrorCode.BAD_HANDSHAKE),
    ("an error flight", error_flight(3), ErrorCode.BAD_HANDSHAKE),
    ("a center's CONNECT", encode_frame(hello(kind=0x11)), ErrorCode.BAD_HANDSHAKE),
    ("a PING before the handshake", encode_frame(b"\x03\x01\x01"), ErrorCode.UNSUPPORTED_VERSION),
    ("flight 2 from the terminal", encode_frame(hello(kind=2)), ErrorCode.BAD_HANDSHAKE),
    ("the terminal's flight first", encode_frame(hello(kind=3)), ErrorCode.BAD_HANDSHAKE),
    ("credentials first", encode_frame(hello(kind=5)), ErrorCode.BAD_HANDSHAKE),
]


@pytest.mark.parametrize(("what", "data", "code"), FIRST_BYTES, ids=[what for what, _, _ in FIRST_BYTES])
def test_a_bad_first_flight_is_answered_by_one_error_flight_and_a_close_within_a_second(
    center: LoginCenter, metrics: Metrics, decisions: Decisions, what: str, data: bytes, code: ErrorCode
) -> None:
    wire = Terminal(center.server_port).connect()
    wire.send(data)
    began = time.monotonic()
    assert wire.rest() == error_flight(code)
    assert time.monotonic() - began < 2
    assert metrics.handshakes_failed == {code.name: 1}
    assert decisions.asked == []


def test_a_terminal_that_sent_more_than_was_read_still_learns_why_it_was_closed(center: LoginCenter) -> None:
    for _ in range(10):
        wire = Terminal(center.server_port).connect()
        wire.send(bytes(4) + os.urandom(40_000))
        received = iter(lambda: wire.connection.recv(4096), b"")  # noqa: B023  # raises if the connection was reset
        assert b"".join(received) == error_flight(ErrorCode.BAD_FRAME)


def _second_hello(wire: Wire, client: LoginClient) -> None:
    wire.send(encode_frame(hello()))


def _garbage_record(wire: Wire, client: LoginClient) -> None:
    wire.send(encode_frame(os.urandom(100)))


def _short_record(wire: Wire, client: LoginClient) -> None:
    wire.send(encode_frame(b"x" * 15))


def _too_long_a_frame(wire: Wire, client: LoginClient) -> None:
    wire.send(struct.pack(">I", 4097))


def _ping(wire: Wire, client: LoginClient) -> None:
    wire.send(encode_frame(b"\x03\x01\x01"))


@pytest.mark.parametrize("is_certified", [False, True])
@pytest.mark.parametrize(
    ("act", "code"),
    [
        (_second_hello, ErrorCode.BAD_RECORD),
        (_garbage_record, ErrorCode.BAD_RECORD),
        (_short_record, ErrorCode.BAD_RECORD),
        (_ping, ErrorCode.BAD_RECORD),
        (_too_long_a_frame, ErrorCode.BAD_FRAME),
    ],
)
def test_anything_but_the_due_flight_ends_the_handshake(
    center: LoginCenter, decisions: Decisions, is_certified: bool, act: Callable[[Wire, LoginClient], None], code: ErrorCode
) -> None:
    terminal = Terminal(center.server_port)
    wire, client = terminal.certified() if is_certified else terminal.greeted()
    act(wire, client)
    assert wire.rest() == error_flight(code)
    assert decisions.asked == []


SEALED_WRONG = [
    (is_certified, kind)
    for is_certified, due in ((False, {TERMINAL, SERVERS_ASK}), (True, {CREDENTIALS}))
    for kind in (0, 1, 2, 3, 4, 5, 6, 7, 8, 0x0F, 0x11, 0x55, 0xFF)
    if kind not in due
]


@pytest.mark.parametrize(("is_certified", "kind"), SEALED_WRONG)
def test_a_flight_that_is_sealed_well_but_not_due_ends_the_handshake(
    center: LoginCenter, decisions: Decisions, is_certified: bool, kind: int
) -> None:
    terminal = Terminal(center.server_port)
    wire, client = terminal.certified() if is_certified else terminal.greeted()
    wire.send(client._seal(encode_flight(kind, bytes(96))))
    assert wire.rest() == error_flight(ErrorCode.BAD_HANDSHAKE)
    assert decisions.asked == []


def test_a_recorded_flight_of_credentials_is_worth_nothing_in_another_handshake(center: LoginCenter, decisions: Decisions) -> None:
    terminal = Terminal(center.server_port)
    _, recorded = terminal.certified()
    wire, _ = terminal.certified()
    wire.send(recorded.credentials("login", "alice", "correct horse"))
    assert wire.rest() == error_flight(ErrorCode.BAD_RECORD)
    assert decisions.asked == []


def test_the_same_nonce_on_two_connections_harms_nothing(center: LoginCenter) -> None:
    terminal = Terminal(center.server_port)
    for _ in range(2):
        wire = terminal.connect()
        wire.send(encode_frame(hello(nonce=bytes(32))))
        assert len(wire.flight()) == 163


def test_a_login_cut_at_every_byte_gives_the_same_grant(center: LoginCenter) -> None:
    terminal = Terminal(center.server_port)
    wire, client = terminal.connect(), terminal.client()
    for step in (client.hello, client.present_terminal, lambda: client.credentials("login", "alice", "correct horse")):
        for byte in step():
            wire.send(bytes((byte,)))
        events = client.receive(wire.flight())
    assert events == [Granted(GRANT)]


def test_flights_after_the_credentials_are_ignored(center: LoginCenter) -> None:
    terminal = Terminal(center.server_port)
    wire, client = terminal.certified()
    wire.send(client.credentials("login", "alice", "correct horse") + encode_frame(os.urandom(50)) + os.urandom(7))
    assert client.receive(wire.flight()) == [Granted(GRANT)]
    assert wire.rest() == b""


def test_a_terminal_that_half_closes_after_its_credentials_gets_its_grant(center: LoginCenter) -> None:
    terminal = Terminal(center.server_port)
    wire, client = terminal.certified()
    wire.send(client.credentials("login", "alice", "correct horse"))
    wire.connection.shutdown(1)
    assert client.receive(wire.flight()) == [Granted(GRANT)]


def test_random_bytes_only_ever_end_in_an_error_flight_and_a_close(center: LoginCenter) -> None:
    chance = random.Random(20261123)
    codes = {error_flight(code) for code in (ErrorCode.BAD_FRAME, ErrorCode.BAD_HANDSHAKE, ErrorCode.UNSUPPORTED_VERSION)}
    for _ in range(200):
        wire = Terminal(center.server_port).connect()
        data = chance.randbytes(chance.randrange(4, 400))
        if chance.random() < 0.5:
            data = encode_frame(data)
        wire.send(data)
        wire.connection.shutdown(1)
        assert wire.rest() in codes
        wire.close()
    wait_until(lambda: connections(center) == 0)


def test_a_fault_inside_is_told_as_internal_and_the_next_login_works(center: LoginCenter, decisions: Decisions, metrics: Metrics) -> None:
    decisions.answer = ZeroDivisionError("a bug")
    wire, client = Terminal(center.server_port).certified()
    wire.send(client.credentials("login", "alice", "correct horse"))
    assert wire.rest() == error_flight(ErrorCode.INTERNAL)
    assert metrics.handshakes_failed == {"INTERNAL": 1}
    decisions.answer = GRANT
    assert isinstance(Terminal(center.server_port).log_in("alice", "correct horse"), Granted)
