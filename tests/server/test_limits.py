"""What one terminal, one user and one mailbox may have: a code for whoever wants more, and nothing out of order because of it."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from myim_server.node import Node
from myim_wire.errors import ErrorCode
from myim_wire.messages import (
    ERROR,
    FIRST,
    PING_ASK,
    QOS1,
    REPLY,
    Command,
    Message,
    decode_error,
    encode_message,
    encode_pairs,
    split_trailer,
)
from tests.server.running import Person, RawTerminal, add_terminal, make_person, online, start_node, wait_until

RECEIVED, STORED = b"\x01", b"\x02"


@contextmanager
def running(directory: Path, **sections: Mapping[str, Any]) -> Iterator[tuple[Node, list[Person]]]:
    """A node with these limits, and four users."""
    node = start_node(directory, **sections)
    try:
        yield node, [make_person(node, name) for name in ("alice", "bob", "carol", "dave")]
    finally:
        node.stop()


def refusal(reply: Message) -> tuple[ErrorCode, bool]:
    """(code, whether it says when to retry)."""
    told = decode_error(reply.content)
    return ErrorCode(told.code), bool(told.retry_ms)


def wait(milliseconds: int | None) -> None:
    """As long as the center asked for."""
    due = time.monotonic() + (milliseconds or 0) / 1000
    wait_until(lambda: time.monotonic() >= due)


def drain(terminal: RawTerminal, count: int) -> list[int]:
    """The times of so many messages, each confirmed."""
    seen = []
    for _ in range(count):
        got = terminal.next_message()
        seen.append(got.time)
        terminal.confirm((got.user, got.time))
    return seen


def run(terminal: RawTerminal, target: Person, names: list[int], body: bytes = b"x") -> None:
    """Messages of these times in one record, the earliest flagged first."""
    user = terminal.person.user
    flags = [QOS1 | FIRST] + [QOS1] * (len(names) - 1)
    terminal.say(
        *(encode_message(Command.USER_MESSAGE, flag, user, target.user, named, body) for flag, named in zip(flags, names, strict=True))
    )


@pytest.mark.parametrize("limit", [{"offline_rows_per_user": 5}, {"offline_bytes_per_user": 500}])
def test_beyond_the_targets_quota_a_message_and_all_behind_it_are_refused_and_taken_in_order_when_there_is_room(
    tmp_path: Path, limit: dict[str, int]
) -> None:
    with running(tmp_path, delivery=limit) as (node, (alice, bob, *_)):
        a = online(node, alice)
        names = [a.name() for _ in range(9)]
        run(a, bob, names, bytes(100))
        replies = [a.settling_of(named) for named in names]
        stored = [reply.content for reply in replies].count(STORED)
        assert stored == 5
        assert [refusal(reply)[0] for reply in replies[5:]] == [ErrorCode.RECIPIENT_FULL] * 4
        late = a.write(bob.user, b"behind the refused", is_first=False)
        assert refusal(a.settling_of(late))[0] == ErrorCode.OUT_OF_ORDER
        b = online(node, bob)
        assert drain(b, 5) == names[:5]
        assert node.store is not None
        offline = node.store.offline
        wait_until(lambda: not offline.targets_with_rows([bob.user]))
        run(a, bob, [*names[5:], late], bytes(100))
        assert drain(b, 5) == [*names[5:], late]
        assert [a.settling_of(named).content for named in [*names[5:], late]] == [RECEIVED] * 5
        a.close()
        b.close()


def test_with_too_many_unsettled_the_rest_is_told_to_slow_down_and_taken_in_order_later(tmp_path: Path) -> None:
    with running(tmp_path, delivery={"unsettled_per_terminal": 10}) as (node, (alice, bob, *_)):
        a, b = online(node, alice), online(node, bob)
        names = [a.name() for _ in range(13)]
        run(a, bob, names[:10])
        for named in names[10:]:
            a.write(bob.user, b"x", is_first=False, time=named)
            assert refusal(a.settling_of(named)) == (ErrorCode.SLOW_DOWN, True)
        assert drain(b, 10) == names[:10]
        for named in names[:10]:
            assert a.settling_of(named).content == RECEIVED
        run(a, bob, names[10:])
        assert drain(b, 3) == names[10:]
        a.close()
        b.close()


def test_all_unsettled_may_be_sent_again_at_a_new_session(tmp_path: Path) -> None:
    with running(tmp_path, delivery={"unsettled_per_terminal": 10, "unsettled_bytes_per_terminal": 10_000}) as (node, (alice, bob, *_)):
        a, b = online(node, alice), online(node, bob)
        names = [a.name() for _ in range(10)]
        run(a, bob, names, bytes(1000))
        for _ in names:
            b.next_message()
        again = online(node, alice, 2)
        run(again, bob, names, bytes(1000))
        assert drain(b, 10) == names
        assert [again.settling_of(named).content for named in names] == [RECEIVED] * 10
        for terminal in (a, b, again):
            terminal.close()


def test_with_too_many_bytes_unsettled_the_rest_is_told_to_slow_down(tmp_path: Path) -> None:
    with running(tmp_path, delivery={"unsettled_bytes_per_terminal": 100_000}) as (node, (alice, bob, *_)):
        a, b = online(node, alice), online(node, bob)
        names = [a.write(bob.user, bytes(32_768), is_first=i == 0) for i in range(4)]
        assert refusal(a.settling_of(names[3])) == (ErrorCode.SLOW_DOWN, True)
        assert drain(b, 3) == names[:3]
        a.close()
        b.close()


def test_the_window_of_unconfirmed_rows_is_kept_and_moves_with_every_receipt(tmp_path: Path) -> None:
    with running(tmp_path, delivery={"unconfirmed_rows": 4, "page_rows": 3}) as (node, (alice, bob, *_)):
        a = online(node, alice)
        names = [a.write(bob.user, b"x", is_first=i == 0) for i in range(10)]
        for named in names:
            assert a.settling_of(named).content == STORED
        b = RawTerminal(node, bob)
        b.say(encode_message(Command.OFFLINE_FETCH, QOS1, bob.user, 0, b.name()))
        seen = [b.next_message().time for _ in range(4)]
        b.say(PING_ASK)
        b.wait_for(lambda message: message.command == Command.PING)
        a.ask(Command.SERVERS)
        b.poll()
        assert b.inbox == []
        for named in names:
            b.confirm((alice.user, named))
            if len(seen) < 10:
                seen.append(b.next_message().time)
        assert seen == names
        assert b.wait_for(lambda message: message.command == Command.OFFLINE_FETCH).content == (10).to_bytes(4, "big")
        a.close()
        b.close()


def test_an_idle_lane_makes_room_for_another_and_too_many_busy_ones_close(tmp_path: Path) -> None:
    with running(tmp_path, delivery={"lanes_per_session": 2}) as (node, (alice, bob, carol, dave)):
        a = online(node, alice)
        for target in (bob, carol, dave, bob):
            assert a.settling_of(a.write(target.user, b"to an absent user")).content == STORED
        b, c = online(node, bob), online(node, carol)
        assert len(drain(b, 2) + drain(c, 1)) == 3
        names = [a.write(target.user, b"kept busy") for target in (bob, carol)]
        assert [terminal.next_message().time for terminal in (b, c)] == names
        a.write(dave.user, b"one too many")
        assert refusal(a.goodbye())[0] == ErrorCode.SLOW_DOWN
        again = online(node, alice, 2)
        b.confirm((alice.user, names[0]))
        assert again.settling_of(names[0]).content == RECEIVED
        for terminal in (a, b, c, again):
            terminal.close()


def test_the_oldest_session_of_a_user_with_too_many_ends_as_busy_not_as_replaced_which_would_stop_that_terminal(tmp_path: Path) -> None:
    with running(tmp_path, center={"sessions_per_user": 2}) as (node, (alice, *_)):
        phone, laptop = online(node, alice), online(node, add_terminal(node, alice.user, bytes(range(32))))
        tablet = online(node, add_terminal(node, alice.user, bytes(range(1, 33))))
        assert refusal(phone.goodbye())[0] == ErrorCode.BUSY
        assert laptop.ask(Command.SERVERS).content and tablet.ask(Command.SERVERS).content
        for terminal in (phone, laptop, tablet):
            terminal.close()


def test_too_many_requests_are_told_to_slow_down_and_then_closed(tmp_path: Path) -> None:
    limits = {"requests_per_second": 10, "messages_per_second": 10_000}
    with running(tmp_path, center=limits) as (node, (alice, bob, *_)):
        a = online(node, alice)
        assert not any(a.ask(Command.SERVERS).flags & 0x20 for _ in range(15))
        refused = [reply for reply in (a.ask(Command.SERVERS) for _ in range(30)) if reply.flags & 0x20]
        assert refused and refusal(refused[0]) == (ErrorCode.SLOW_DOWN, True)
        a.say(*(encode_message(Command.USER_MESSAGE, 0, alice.user, bob.user, a.name(), b"x") for _ in range(50)))
        wait(decode_error(refused[-1].content).retry_ms)
        assert not any(a.ask(Command.SERVERS).flags & 0x20 for _ in range(5))
        with pytest.raises((EOFError, ConnectionError)):
            while True:
                a.say(*(encode_message(Command.SERVERS, QOS1, alice.user, 0, a.name()) for _ in range(50)))
                a._read_once()
        assert refusal(a.goodbye())[0] == ErrorCode.SLOW_DOWN
        a.close()


def test_one_renewal_of_a_token_is_under_way_at_a_time(tmp_path: Path) -> None:
    with running(tmp_path) as (node, (alice, *_)):
        a = online(node, alice)
        names = [a.name() for _ in range(5)]
        a.say(*(encode_message(Command.TOKEN, QOS1, alice.user, 0, named) for named in names))
        answers = {named: a.wait_for(lambda message, named=named: message.time == named) for named in names}  # type: ignore[misc]
        assert not answers[names[0]].flags & ERROR
        assert {refusal(answers[named]) for named in names[1:]} == {(ErrorCode.SLOW_DOWN, True)}
        assert not a.ask(Command.TOKEN).flags & ERROR
        a.close()


def test_floods_of_pings_and_of_rekeys_end_the_session(tmp_path: Path) -> None:
    with running(tmp_path, center={"messages_per_second": 100, "requests_per_second": 10}) as (node, (alice, bob, *_)):
        a, b = online(node, alice), online(node, bob)
        a.say(*[PING_ASK] * 190)
        for _ in range(190):
            a.wait_for(lambda message: message.command == Command.PING)
        a.say(*[PING_ASK] * 200)
        assert refusal(a.goodbye())[0] == ErrorCode.SLOW_DOWN
        with pytest.raises((EOFError, ConnectionError)):
            for _ in range(40):
                b.socket.sendall(b.connection.start_rekey(os.urandom(32)))
                b.wait_for(lambda message: message.command == Command.REKEY)
                b.socket.sendall(b.connection.finish_rekey())
        assert refusal(b.goodbye())[0] == ErrorCode.SLOW_DOWN
        a.close()
        b.close()


@pytest.mark.parametrize("fault", ["another slot", "another user", "too long"])
def test_what_follows_a_message_of_wrong_form_is_refused_until_one_is_flagged_first(tmp_path: Path, fault: str) -> None:
    with running(tmp_path) as (node, (alice, bob, *_)):
        a, b = online(node, alice), online(node, bob)
        run(a, bob, [a.name()])
        drain(b, 1)
        bad, behind = a.name(), a.name()
        sent = bad ^ 1 if fault == "another slot" else bad
        user = alice.user ^ 1 if fault == "another user" else alice.user
        body = bytes(32_769) if fault == "too long" else b"x"
        a.say(
            encode_message(Command.USER_MESSAGE, QOS1, user, bob.user, sent, body),
            encode_message(Command.USER_MESSAGE, QOS1, alice.user, bob.user, behind, b"x"),
        )
        assert refusal(a.settling_of(sent))[0] in (ErrorCode.BAD_TIME, ErrorCode.BAD_COMMAND, ErrorCode.TOO_LARGE)
        assert refusal(a.settling_of(behind))[0] == ErrorCode.OUT_OF_ORDER
        run(a, bob, [behind])
        assert drain(b, 1) == [behind]
        a.close()
        b.close()


def test_too_many_messages_a_second_are_told_to_slow_down_and_none_is_lost(tmp_path: Path) -> None:
    with running(tmp_path, center={"messages_per_second": 20}) as (node, (alice, bob, *_)):
        a, b = online(node, alice), online(node, bob)
        names = [a.name() for _ in range(60)]
        run(a, bob, names[:30])
        assert drain(b, 30) == names[:30]
        run(a, bob, names[30:])
        replies = [a.settling_of(named) for named in names[30:]]
        assert {refusal(reply) for reply in replies} == {(ErrorCode.SLOW_DOWN, True)}
        for first in (30, 40, 50):
            wait(decode_error(replies[0].content).retry_ms)
            run(a, bob, names[first : first + 10])
            assert drain(b, 10) == names[first : first + 10]
        a.close()
        b.close()


def test_two_hundred_messages_of_the_longest_body_come_in_records_within_the_cap(tmp_path: Path) -> None:
    with running(tmp_path) as (node, (alice, bob, *_)):
        a = online(node, alice)
        names: list[int] = []
        for _ in range(10):
            page = [a.write(bob.user, len(names).to_bytes(4, "big") + bytes(32_764), is_first=not names and not i) for i in range(20)]
            for named in page:
                assert a.settling_of(named).content == STORED
            names += page
        b = RawTerminal(node, bob)
        b.say(encode_message(Command.OFFLINE_FETCH, QOS1, bob.user, 0, b.name()))
        for named in names:
            got = b.next_message()
            assert (got.time, len(split_trailer(got.content)[0])) == (named, 32_768)
            b.confirm((alice.user, named))
        a.close()
        b.close()


def test_a_run_that_fits_message_by_message_and_repeats_what_is_settled_gets_one_answer_for_each(tmp_path: Path) -> None:
    with running(tmp_path, delivery={"unsettled_per_terminal": 30}) as (node, (alice, bob, *_)):
        a, b = online(node, alice), online(node, bob)
        names = [a.name() for _ in range(40)]
        run(a, bob, names[:25])
        assert drain(b, 25) == names[:25]
        for named in names[:25]:
            assert a.settling_of(named).content == RECEIVED
        run(a, bob, names)  # what is settled may come again; with what is new it is not too much
        assert drain(b, 15) == names[25:]
        assert [a.settling_of(named).content for named in names] == [RECEIVED] * 40
        a.say(PING_ASK)
        a.wait_for(lambda message: message.command == Command.PING)
        assert not [message for message in a.inbox if message.command == Command.USER_MESSAGE]
        a.close()
        b.close()


def test_floods_of_receipts_and_of_replies_end_the_session(tmp_path: Path) -> None:
    with running(tmp_path, center={"messages_per_second": 100}) as (node, (alice, bob, *_)):
        a, b = online(node, alice), online(node, bob)
        receipt = encode_message(Command.RECEIPT, 0, alice.user, 0, 0, encode_pairs(1, [(bob.user, 64)]))
        reply = encode_message(Command.RECEIPT, REPLY, 0, bob.user, 64)
        for terminal, flood in ((a, receipt), (b, reply)):
            with suppress(OSError):
                for _ in range(50):
                    terminal.say(*[flood] * 500)
            assert refusal(terminal.goodbye())[0] == ErrorCode.SLOW_DOWN
            terminal.close()


def test_sixteen_fetches_may_wait_for_their_answer(tmp_path: Path) -> None:
    with running(tmp_path) as (node, (alice, *_)):
        a = RawTerminal(node, alice)
        names = [a.name() for _ in range(17)]
        a.say(*(encode_message(Command.OFFLINE_FETCH, QOS1, alice.user, 0, named) for named in names))
        replies = {named: a.wait_for(lambda message, named=named: message.time == named) for named in names}  # type: ignore[misc]
        assert not [named for named in names[:16] if replies[named].flags & ERROR]
        assert refusal(replies[names[16]]) == (ErrorCode.SLOW_DOWN, True)
        a.close()
