"""The center handshake and tokens [P-5], [P-4.13]: bit flips, orders, reflections, replays, stolen keys."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.center_handshake import CenterClient, TrafficKeys, accept, parse_connect
from myim_wire.connection import Connection, State
from myim_wire.errors import ErrorCode, LocalProtocolError, ProtocolError, RemoteProtocolError, ReportedError
from myim_wire.flights import encode_error_flight
from myim_wire.frames import FrameDecoder
from myim_wire.key_schedule import KeyPair
from myim_wire.messages import PING_ASK
from myim_wire.tokens import TOKEN_BYTES, Ticket, TicketKey, key_id_of, open_ticket, seal_ticket
from tests.wire.fixed import (
    SESSION_KEY,
    TERMINAL_PRIVATE,
    TERMINAL_PUBLIC,
    TICKET,
    TICKET_KEY,
    TOKEN,
    fixed,
    new_center_client,
    new_connections,
)  # fmt: skip
from tests.wire.recording import open_recorded_session
from tests.wire.test_vectors import load

VECTOR = load("center")
CONNECT, ACCEPT = bytes.fromhex(VECTOR["flight1"]), bytes.fromhex(VECTOR["flight2"])


def refused(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(RemoteProtocolError) as caught:
        call()
    return caught.value.code


def serve(content: bytes, ephemeral: str = "center ephemeral") -> tuple[bytes, TrafficKeys]:
    """What a center does with flight 1: take apart, open the token, answer."""
    connect = parse_connect(content)
    ticket = open_ticket(connect.token, TICKET_KEY)
    return accept(connect, ticket.session_key, ticket.terminal_public, fixed("center nonce"), fixed(ephemeral))


def is_session(connection: Connection, data: bytes) -> bool:
    try:
        connection.receive_data(data)
    except ProtocolError:
        return False
    return connection.state in (State.ACCEPTING, State.OPEN)


def test_every_flipped_bit_of_connect_is_refused() -> None:
    frame = bytes.fromhex(VECTOR["frame1"])
    for bit in range(8 * len(frame)):
        altered = bytearray(frame)
        altered[bit // 8] ^= 1 << bit % 8
        try:
            contents = FrameDecoder().feed(bytes(altered))
            answered = [serve(content) for content in contents]
        except ProtocolError as error:
            assert error.code in (ErrorCode.BAD_FRAME, ErrorCode.BAD_HANDSHAKE, ErrorCode.TOKEN_INVALID, ErrorCode.UNSUPPORTED_VERSION)
        else:
            assert answered == [], bit
    assert serve(CONNECT)[0][4:] == ACCEPT


def test_every_flipped_bit_of_accept_is_refused() -> None:
    frame = bytes.fromhex(VECTOR["frame2"])
    for bit in range(8 * len(frame)):
        altered = bytearray(frame)
        altered[bit // 8] ^= 1 << bit % 8
        assert not is_session(Connection.for_terminal(new_center_client()), bytes(altered)), bit
    assert is_session(Connection.for_terminal(new_center_client()), frame)


def test_of_all_flight_sequences_only_connect_and_records_are_a_session() -> None:
    unknown = b"\x01\x77what"
    opened = set()
    for length in range(1, 5):
        for sequence in itertools.product(("connect", "accept", "record", "unknown"), repeat=length):
            terminal, _ = new_connections()
            kinds = {"connect": CONNECT, "accept": ACCEPT, "unknown": unknown}
            center = Connection.for_center()
            try:
                for kind in sequence:
                    content = kinds.get(kind) or terminal.seal(PING_ASK)[4:]
                    center.receive_data(len(content).to_bytes(4, "big") + content)
                    if center.state is State.ACCEPTING:
                        center.accept(SESSION_KEY, TERMINAL_PUBLIC, fixed("center nonce"), fixed("center ephemeral"))
            except ProtocolError:
                assert center.state is State.FAILED
                continue
            if center.state is State.OPEN:
                opened.add(sequence)
    assert opened == {("connect", *["record"] * count) for count in (1, 2, 3)}


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_told_apart(version: int) -> None:
    assert refused(lambda: serve(bytes([version]) + CONNECT[1:])) == ErrorCode.UNSUPPORTED_VERSION
    assert refused(lambda: new_center_client().accept(bytes([version]) + ACCEPT[1:])) == ErrorCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize("content", [b"\x01", b"\x01\x11", CONNECT[:4], CONNECT[:-1], CONNECT + b"\x00", b"\x01\x12" + CONNECT[2:],
    CONNECT[:2] + b"\x02" + CONNECT[3:], CONNECT[:3] + b"\x00\x00" + CONNECT[5:], CONNECT[:3] + b"\xff\xff" + CONNECT[5:]])  # fmt: skip
def test_a_connect_of_another_form_is_a_bad_handshake(content: bytes) -> None:
    assert refused(lambda: serve(content)) == ErrorCode.BAD_HANDSHAKE


def test_a_reflected_or_worthless_ephemeral_is_a_bad_handshake() -> None:
    client = CenterClient(TOKEN, SESSION_KEY, TERMINAL_PRIVATE, fixed("n"), fixed("center ephemeral"), 1)
    assert refused(lambda: serve(client.connect()[4:])) == ErrorCode.BAD_HANDSHAKE
    own = KeyPair(fixed("center client ephemeral")).public
    for ephemeral in (own, TERMINAL_PUBLIC, bytes(32)):
        assert refused(partial(new_center_client().accept, ACCEPT[:35] + ephemeral + ACCEPT[67:])) == ErrorCode.BAD_HANDSHAKE
    assert refused(lambda: new_center_client().accept(CONNECT)) == ErrorCode.BAD_HANDSHAKE


def test_a_terminal_without_the_session_key_or_the_terminal_key_gets_no_session() -> None:
    stolen_token = CenterClient(TOKEN, fixed("guess"), TERMINAL_PRIVATE, fixed("n"), fixed("e"), 1)
    assert refused(lambda: serve(stolen_token.connect()[4:])) == ErrorCode.BAD_HANDSHAKE
    stolen_both = CenterClient(TOKEN, SESSION_KEY, fixed("another terminal"), fixed("n"), fixed("e"), 1)
    frame, _ = serve(stolen_both.connect()[4:])
    assert refused(lambda: stolen_both.accept(frame[4:])) == ErrorCode.BAD_HANDSHAKE


def test_a_center_without_the_session_key_is_found_out() -> None:
    connect = parse_connect(CONNECT)
    with pytest.raises(RemoteProtocolError):
        accept(connect, fixed("guess"), TERMINAL_PUBLIC, fixed("n"), fixed("e"))
    assert refused(lambda: new_center_client().accept(ACCEPT[:-32] + bytes(32))) == ErrorCode.BAD_HANDSHAKE


def test_a_replayed_connection_opens_nothing_at_a_center_with_another_ephemeral() -> None:
    terminal, _ = new_connections()
    first = terminal.seal(PING_ASK)
    center = Connection.for_center()
    center.receive_data(len(CONNECT).to_bytes(4, "big") + CONNECT)
    center.accept(SESSION_KEY, TERMINAL_PUBLIC, fixed("center nonce"), fixed("a fresh ephemeral"))
    assert refused(lambda: center.receive_data(first)) == ErrorCode.BAD_RECORD
    assert center.refuse(ErrorCode.BAD_RECORD) == encode_error_flight(ErrorCode.BAD_RECORD)


@pytest.mark.parametrize("code", [ErrorCode.TOKEN_EXPIRED, ErrorCode.STALE_CONNECTION, ErrorCode.DRAINING])
def test_a_refusal_before_the_session_is_the_reason_the_center_gave(code: ErrorCode) -> None:
    with pytest.raises(ReportedError) as caught:
        new_center_client().accept(encode_error_flight(code)[4:])
    assert caught.value.code == code


def test_connection_number_0_is_refused() -> None:
    at = len(CONNECT) - 40
    assert CONNECT[at : at + 8] != bytes(8)
    assert refused(lambda: parse_connect(CONNECT[:at] + bytes(8) + CONNECT[at + 8 :])) is ErrorCode.BAD_HANDSHAKE


@pytest.mark.parametrize(("token", "number"), [(b"", 1), (bytes(1025), 1), (TOKEN, 0), (TOKEN, 2**64)])
def test_a_connect_that_no_center_takes_is_not_written(token: bytes, number: int) -> None:
    with pytest.raises(LocalProtocolError):
        CenterClient(token, SESSION_KEY, TERMINAL_PRIVATE, fixed("n"), fixed("e"), number)


def test_a_recorded_session_and_all_keys_that_last_open_nothing_but_the_ephemeral_key_does() -> None:
    frames = [bytes.fromhex(VECTOR[name]) for name in ("frame1", "frame2", "first_t2c_frame")]
    assert open_recorded_session(frames, [TERMINAL_PRIVATE, TICKET_KEY.key], TERMINAL_PUBLIC, SESSION_KEY) is None
    for ephemeral in ("center ephemeral",):
        assert open_recorded_session(frames, [TERMINAL_PRIVATE, fixed(ephemeral)], TERMINAL_PUBLIC, SESSION_KEY) == PING_ASK
    assert open_recorded_session(frames, [fixed("center client ephemeral"), TERMINAL_PRIVATE], TERMINAL_PUBLIC, SESSION_KEY) == PING_ASK


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x01\x11\x01\x00\x8a", b"\x01\x12\x01"]))
def test_any_bytes_as_a_flight_give_only_protocol_errors(data: bytes, prefix: bytes) -> None:
    with pytest.raises(ProtocolError):
        serve(prefix + data)
    with pytest.raises(ProtocolError):
        new_center_client().accept(prefix + data)


def test_every_flipped_bit_and_every_other_length_of_a_token_is_invalid() -> None:
    for bit in range(8 * TOKEN_BYTES):
        altered = bytearray(TOKEN)
        altered[bit // 8] ^= 1 << bit % 8
        assert refused(partial(open_ticket, bytes(altered), TICKET_KEY)) == ErrorCode.TOKEN_INVALID
    for token in (b"", TOKEN[:-1], TOKEN + b"\x00"):
        assert refused(partial(key_id_of, token)) == ErrorCode.TOKEN_INVALID
    assert refused(lambda: open_ticket(TOKEN, TicketKey(TICKET_KEY.key_id, fixed("another")))) == ErrorCode.TOKEN_INVALID
    assert refused(lambda: open_ticket(TOKEN, TicketKey(1, TICKET_KEY.key))) == ErrorCode.TOKEN_INVALID


U32, U64, KEY = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32)


@given(st.builds(Ticket, U64, st.integers(0, 255), KEY, KEY, U32, U32, U64, U64, U64), U32)
def test_a_ticket_is_opened_as_it_was_sealed(ticket: Ticket, key_id: int) -> None:
    key = TicketKey(key_id, fixed("k"))
    token = seal_ticket(ticket, key, bytes(12))
    assert key_id_of(token) == key_id and open_ticket(token, key) == ticket


@pytest.mark.parametrize(("name", "value"), [
    ("user", -1), ("user", 2**64), ("slot", 256), ("terminal_public", bytes(31)), ("session_key", bytes(33)), ("user_generation", 2**32),
    ("terminal_generation", -1), ("authenticated", 2**64), ("issued", -1), ("expires", 2**64),
])  # fmt: skip
def test_a_ticket_that_does_not_fit_is_not_sealed(name: str, value: object) -> None:
    with pytest.raises(LocalProtocolError):
        seal_ticket(dataclasses.replace(TICKET, **{name: value}), TICKET_KEY, bytes(12))  # type: ignore[arg-type]


def test_keys_do_not_print() -> None:
    connect = parse_connect(CONNECT)
    printed = repr([TICKET, TICKET_KEY, serve(CONNECT)[1], connect])
    assert repr(connect.token) not in printed and repr(connect.binder) not in printed
    assert repr(SESSION_KEY) not in printed and repr(TICKET_KEY.key) not in printed and VECTOR["exporter"] not in printed
