"""The life of a center connection [P-2], [P-5], [P-6]: its table, its endings, rekeying; rows 16, 27, 31, 32 of reliability §4."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.bodies import ErrorContent, decode_error
from myim_wire.connection import TRANSITIONS, Connection, Event, State
from myim_wire.errors import ErrorCode, LocalProtocolError, ProtocolError, RemoteProtocolError, ReportedError
from myim_wire.flights import encode_error_flight
from myim_wire.frames import encode_frame
from myim_wire.messages import ERROR, PING_ANSWER, PING_ASK, QOS1, REPLY, Command, Message, encode_message
from myim_wire.records import HARD_LIMIT_RECORDS, SOFT_LIMIT_RECORDS
from tests.wire.fixed import SESSION_KEY, TERMINAL_PUBLIC, fixed, new_center_client, new_connections

ASK, ANSWER = Message(1, 1, 0, 0, 0, b""), Message(1, 0, 0, 0, 0, b"")


def refused(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(RemoteProtocolError) as caught:
        call()
    return caught.value.code


def open_pair() -> tuple[Connection, Connection]:
    """(terminal, center) with records flowing both ways."""
    terminal, center = new_connections()
    assert center.receive_data(terminal.seal(PING_ASK)) == [ASK]
    assert terminal.receive_data(center.seal(PING_ANSWER)) == [ANSWER]
    return terminal, center


def rekey(terminal: Connection, center: Connection, number: int = 1) -> None:
    center.receive_data(terminal.start_rekey(fixed(f"terminal {number}")))
    terminal.receive_data(center.answer_rekey(fixed(f"center {number}")))
    center.receive_data(terminal.finish_rekey())


def test_the_table_leads_from_every_state_to_closed_and_never_back() -> None:
    reachable = {state: {after for (before, _), after in TRANSITIONS.items() if before is state} for state in State}
    for _ in State:
        for state, after in reachable.items():
            reachable[state] = after | {further for step in after for further in reachable[step]}
    assert all(State.CLOSED in reachable[state] for state in State if state is not State.CLOSED)
    assert all(state not in reachable[state] for state in State) and not reachable[State.CLOSED]
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_a_session_begins_at_the_center_with_the_first_record_of_the_terminal() -> None:
    terminal, center = new_connections()
    assert (terminal.state, center.state) == (State.OPEN, State.PROVING)
    with pytest.raises(LocalProtocolError):
        center.seal(PING_ASK)
    assert center.receive_data(terminal.seal(PING_ASK)) == [ASK]
    assert center.is_open


@pytest.mark.parametrize("moment", [State.HANDSHAKE, State.ACCEPTING, State.PROVING])
def test_a_command_before_the_session_ends_it(moment: State) -> None:
    center, client = Connection.for_center(), new_center_client()
    if moment is not State.HANDSHAKE:
        center.receive_data(client.connect())
    if moment is State.PROVING:
        center.accept(SESSION_KEY, TERMINAL_PUBLIC, fixed("n"), fixed("e"))
    assert center.state is moment
    command = encode_frame(encode_message(Command.LOOKUP, QOS1, 1, 0, 64, b"\x80"))
    assert refused(lambda: center.receive_data(command)) in (ErrorCode.UNSUPPORTED_VERSION, ErrorCode.BAD_HANDSHAKE, ErrorCode.BAD_RECORD)
    assert center.refuse(ErrorCode.BAD_HANDSHAKE) == encode_error_flight(ErrorCode.BAD_HANDSHAKE) and center.state is State.CLOSED
    assert center.refuse(ErrorCode.BAD_HANDSHAKE) == b""


def test_a_second_connect_in_a_session_is_a_bad_record() -> None:
    _, center = open_pair()
    assert refused(lambda: center.receive_data(new_center_client(2).connect())) == ErrorCode.BAD_RECORD


def test_after_a_breach_the_center_says_why_under_its_own_key_and_hears_nothing() -> None:
    terminal, center = open_pair()
    assert refused(lambda: center.receive_data(encode_frame(bytes(40)))) == ErrorCode.BAD_RECORD
    assert center.receive_data(terminal.seal(PING_ASK)) == []
    (goodbye,) = terminal.receive_data(center.refuse(ErrorCode.BAD_RECORD, "bad record", 5))
    assert goodbye[:5] == (Command.GOODBYE, ERROR, 0, 0, 0)
    assert decode_error(goodbye.content) == ErrorContent(ErrorCode.BAD_RECORD, "bad record", 5)
    assert terminal.is_peer_closed and center.state is State.CLOSED and center.refuse(ErrorCode.INTERNAL) == b""


def test_an_empty_record_ends_its_direction_and_what_follows_is_ignored() -> None:
    terminal, center = open_pair()
    ending = terminal.seal(PING_ANSWER) + terminal.close()
    assert center.receive_data(ending + b"\xff\xff\xff\xff whatever") == [ANSWER]
    assert center.is_peer_closed and center.state is State.PEER_CLOSED
    assert center.receive_data(b"more") == []
    assert terminal.receive_data(center.seal(PING_ASK) + center.close()) == [ASK]
    assert (terminal.state, center.state) == (State.CLOSED, State.CLOSED)
    with pytest.raises(LocalProtocolError):
        terminal.seal(PING_ASK)
    assert terminal.close() == b""


def test_a_center_that_said_goodbye_hears_nothing_more() -> None:
    terminal, center = open_pair()
    center.refuse(ErrorCode.DRAINING)
    assert center.receive_data(terminal.seal(PING_ASK)) == [] and center.state is State.CLOSING


def test_an_empty_plaintext_is_not_sealed_by_accident() -> None:
    with pytest.raises(LocalProtocolError):
        open_pair()[0].seal(b"")


def test_the_cap_rises_with_the_first_record_even_within_one_read() -> None:
    terminal, center = new_connections()
    large = encode_message(Command.USER_MESSAGE, QOS1, 1, 2, 64, bytes(30_000))
    messages = center.receive_data(terminal.seal(PING_ASK) + terminal.seal(large))
    assert [len(message.content) for message in messages] == [0, 30_000]


def test_a_first_record_over_4096_bytes_is_not_sealed_and_not_taken() -> None:
    terminal, center = new_connections()
    with pytest.raises(LocalProtocolError):
        terminal.seal(encode_message(Command.USER_MESSAGE, QOS1, 1, 2, 64, bytes(5000)))
    assert refused(lambda: center.receive_data((4097).to_bytes(4, "big"))) == ErrorCode.BAD_FRAME


def test_a_terminal_hears_why_a_center_refused_it_after_the_answer() -> None:
    terminal, center = new_connections()
    with pytest.raises(ReportedError) as caught:
        terminal.receive_data(center.refuse(ErrorCode.STALE_CONNECTION))
    assert caught.value.code == ErrorCode.STALE_CONNECTION


def test_a_wrong_binder_ends_the_connection() -> None:
    center, client = Connection.for_center(), new_center_client()
    center.receive_data(client.connect())
    assert refused(lambda: center.accept(fixed("another session key"), TERMINAL_PUBLIC, fixed("n"), fixed("e"))) == ErrorCode.BAD_HANDSHAKE
    assert center.state is State.FAILED


def test_what_a_center_never_sends_ends_the_connection_at_the_terminal() -> None:
    terminal, center = open_pair()
    assert refused(lambda: terminal.receive_data(center.seal(encode_message(Command.LOOKUP, 0, 1, 0, 64)))) == ErrorCode.BAD_COMMAND
    terminal, center = open_pair()
    first = encode_message(Command.USER_MESSAGE, 0x10, 1, 2, 64)
    assert refused(lambda: terminal.receive_data(center.seal(first))) == ErrorCode.BAD_FRAME
    assert center.receive_data(terminal.seal(first)) != []


def test_messages_flow_through_rekeys_in_any_overlap_the_page_allows() -> None:
    terminal, center = open_pair()
    for number in range(1, 4):
        offer = terminal.start_rekey(fixed(f"t{number}")) + terminal.seal(PING_ASK)
        assert [message.command for message in center.receive_data(offer)] == [Command.REKEY, Command.PING]
        reply = center.seal(PING_ASK) + center.answer_rekey(fixed(f"c{number}")) + center.seal(PING_ANSWER)
        assert [message.command for message in terminal.receive_data(reply)] == [Command.PING, Command.REKEY, Command.PING]
        done = terminal.seal(PING_ASK) + terminal.finish_rekey() + terminal.seal(PING_ANSWER)
        assert [message.command for message in center.receive_data(done)] == [Command.PING, Command.REKEY, Command.PING]
        assert not terminal.is_rekeying and not center.is_rekeying


def test_a_record_under_the_old_key_after_a_rekey_does_not_open() -> None:
    terminal, center = open_pair()
    sealing, opening = terminal._sealing, terminal._opening
    rekey(terminal, center)
    assert sealing is not None and terminal._sealing is not sealing and terminal._opening is not opening
    assert refused(lambda: center.receive_data(sealing.seal(PING_ASK))) == ErrorCode.BAD_RECORD


def test_a_center_may_ask_for_a_rekey() -> None:
    terminal, center = open_pair()
    assert terminal.receive_data(center.ask_rekey()) == [Message(Command.REKEY, 0, 0, 0, 0, b"")]
    rekey(terminal, center)
    assert center.receive_data(terminal.seal(PING_ASK)) == [ASK]


KEY = bytes(range(1, 33))


@pytest.mark.parametrize(("steps", "flags", "content"), [
    ((), 0, b""), ((), 0, bytes(31)), ((), 0, bytes(33)), ((), REPLY, KEY), ((), REPLY, b""), (("offer",), 0, KEY), (("offer",), 0, b""),
    (("offer", "answer"), 0, KEY), (("offer", "answer"), REPLY, KEY), (("offer", "answer", "done"), 0, b""),
])  # fmt: skip
def test_a_rekey_out_of_order_ends_the_session_at_the_center(steps: tuple[str, ...], flags: int, content: bytes) -> None:
    terminal, center = open_pair()
    for step in steps:
        if step == "offer":
            center.receive_data(terminal.start_rekey(fixed("t")))
        elif step == "answer":
            terminal.receive_data(center.answer_rekey(fixed("c")))
        else:
            center.receive_data(terminal.finish_rekey())
    message = encode_message(Command.REKEY, flags, 0, 0, 0, content)
    assert refused(lambda: center.receive_data(terminal.seal(message))) == ErrorCode.BAD_COMMAND


@pytest.mark.parametrize(("is_offered", "flags", "content"), [
    (False, REPLY, KEY), (False, 0, KEY), (True, REPLY, b""), (True, REPLY, bytes(31)), (True, REPLY, bytes(32)), (True, 0, KEY),
])  # fmt: skip
def test_a_rekey_out_of_order_ends_the_session_at_the_terminal(is_offered: bool, flags: int, content: bytes) -> None:
    terminal, center = open_pair()
    if is_offered:
        terminal.start_rekey(fixed("t"))
    message = encode_message(Command.REKEY, flags, 0, 0, 0, content)
    assert refused(lambda: terminal.receive_data(center.seal(message))) == ErrorCode.BAD_COMMAND


def test_rekeying_out_of_order_is_refused_to_the_caller() -> None:
    terminal, center = open_pair()
    calls: list[Callable[[], bytes]] = [
        partial(center.answer_rekey, KEY), terminal.finish_rekey, partial(center.start_rekey, KEY), partial(terminal.answer_rekey, KEY),
        partial(Connection.for_center().answer_rekey, KEY),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(LocalProtocolError):
            call()
    terminal.start_rekey(KEY)
    with pytest.raises(LocalProtocolError):
        terminal.start_rekey(KEY)
    with pytest.raises(LocalProtocolError):
        terminal.finish_rekey()


def test_a_rekey_is_due_at_a_soft_limit_and_not_while_one_runs() -> None:
    terminal, center = open_pair()
    assert [end.is_rekey_due for end in (terminal, center, Connection.for_center())] == [False] * 3
    assert terminal._sealing is not None
    terminal._sealing.records = SOFT_LIMIT_RECORDS
    center._opening.records = SOFT_LIMIT_RECORDS
    assert [end.is_rekey_due for end in (terminal, center)] == [True, True]
    center.receive_data(terminal.start_rekey(KEY))
    assert [end.is_rekey_due for end in (terminal, center)] == [False, False]


def test_a_key_that_is_used_up_ends_the_connection() -> None:
    _, center = open_pair()
    assert center._sealing is not None
    center._opening.records = center._sealing.records = HARD_LIMIT_RECORDS
    assert refused(lambda: center.receive_data(encode_frame(bytes(40)))) == ErrorCode.REKEY_REQUIRED
    assert center.refuse(ErrorCode.REKEY_REQUIRED) == b"" and center.state is State.CLOSED


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=10), st.booleans())
def test_any_bytes_at_any_moment_give_only_protocol_errors(pieces: list[bytes], is_sealed: bool) -> None:
    terminal, center = open_pair()
    for piece in pieces:
        try:
            center.receive_data(terminal.seal(piece) if is_sealed else piece)
        except ProtocolError:
            assert center.state is State.FAILED
