"""The courier without a socket: what time alone makes it do, with every clock in the test's hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from myim_client import MessageSettled, OutcomeKind, PasswordNeeded
from myim_client.arrivals import MAX_WAITING_UNPROMISED
from myim_client.courier import SessionEnded
from myim_client.profile import DAY_US
from myim_client.sending import ANSWER_SECONDS
from myim_wire.bodies import encode_error_content, encode_trailer
from myim_wire.contents import RenewedToken, Server
from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.messages import ERROR, PING_ASK, QOS1, REPLY, Command, Message, decode_messages, slot_of
from myim_wire.packing import pack_map
from myim_wire.presence_contents import SetPresence
from tests.client.desk import Desk
from tests.client.scripted_center import ME, SLOT, YOU


def commands(messages: list[Message]) -> list[int]:
    return [message.command for message in messages]


def test_how_one_is_to_be_seen_goes_out_in_one_record_with_the_fetch_that_makes_one_seen(desk: Desk) -> None:
    desk.courier.set_presence(SetPresence("invisible"))
    desk.courier.end("lost")
    desk.courier.begin("here", 1.0)
    first, *others = desk.courier.due(1.0)  # what is one of these is never parted into records
    assert commands(decode_messages(first)) == [Command.PRESENCE, Command.OFFLINE_FETCH]
    assert commands(decode_messages(b"".join(others))) == [Command.SERVERS, Command.FRIENDS]


def test_a_session_begins_with_the_fetch_and_then_the_unsettled(desk: Desk) -> None:
    desk.send()
    assert commands(desk.due(0.0)) == [Command.OFFLINE_FETCH, Command.SERVERS, Command.FRIENDS, Command.USER_MESSAGE]
    assert desk.due(0.0) == []


def test_a_message_unanswered_for_15_seconds_ends_the_session(desk: Desk) -> None:
    desk.send()
    desk.due(1.0)
    desk.courier.tick(1.0 + ANSWER_SECONDS - 0.1)
    with pytest.raises(SessionEnded, match="not answered"):
        desk.courier.tick(1.0 + ANSWER_SECONDS)


def test_a_silent_center_is_asked_once_and_then_given_up(desk: Desk) -> None:
    desk.due(0.0)
    desk.courier.tick(39.9)
    assert desk.due(39.9) == []
    desk.courier.tick(40.0)
    desk.courier.tick(41.0)
    assert b"".join(desk.courier.due(41.0)) == PING_ASK
    with pytest.raises(SessionEnded, match="silent"):
        desk.courier.tick(55.0)


def test_any_sign_of_life_counts(desk: Desk) -> None:
    desk.due(0.0)
    desk.courier.tick(40.0)
    desk.hear(50.0, Message(Command.PING, 0, 0, 0, 0, b""))
    desk.courier.tick(56.0)
    desk.courier.tick(89.0)


def test_a_message_kept_for_seven_days_is_reported_as_unknown(desk: Desk) -> None:
    time = desk.send()
    desk.now_us += 7 * DAY_US
    desk.courier.keep_house(1000.0)
    events = [event for event in desk.inbox.take(0, 9) if isinstance(event, MessageSettled)]
    assert [(event.time, event.outcome.kind) for event in events] == [(time, OutcomeKind.UNKNOWN)]


def test_a_token_is_renewed_at_half_its_life_and_asked_for_once(desk: Desk) -> None:
    desk.due(0.0)
    desk.now_us = DAY_US * 50
    desk.courier.tick(1.0)
    desk.courier.tick(2.0)
    (question,) = desk.due(2.0)
    assert question.command == Command.TOKEN
    desk.hear(2.0, desk.reply_to(question, RenewedToken(b"new", bytes(32), 5_000_000, 5_000_000 + DAY_US).encode()))
    account = desk.profile.account()
    assert (account.token, account.renew_at, account.expires_at) == (b"new", desk.now_us + DAY_US // 2, desk.now_us + DAY_US)


def test_a_renewal_that_was_lost_with_its_session_is_asked_for_again(desk: Desk) -> None:
    desk.now_us = DAY_US * 50
    desk.courier.tick(1.0)
    desk.due(1.0)
    desk.courier.end("lost")
    desk.courier.begin("here", 2.0)
    desk.courier.tick(3.0)
    assert Command.TOKEN in commands(desk.due(3.0))


def test_a_refused_renewal_asks_for_the_password_and_waits_an_hour(desk: Desk) -> None:
    desk.due(0.0)
    desk.now_us = DAY_US * 50
    desk.courier.tick(1.0)
    (question,) = desk.due(1.0)
    desk.hear(1.0, desk.reply_to(question, encode_error_content(ErrorCode.RENEWAL_REFUSED, "no"), ERROR))
    assert any(isinstance(event, PasswordNeeded) for event in desk.inbox.take(0, 9))
    for now in range(30, 3600, 30):
        desk.hear(float(now), Message(Command.PING, 0, 0, 0, 0, b""))
        desk.courier.tick(float(now))
    assert desk.due(3599.0) == []
    desk.courier.tick(3601.0)
    assert commands(desk.due(3601.0)) == [Command.TOKEN]


@pytest.mark.parametrize(
    "message",
    [
        Message(Command.USER_MESSAGE, QOS1, YOU, ME, 64, b"shorter than 24"),
        Message(Command.USER_MESSAGE, QOS1 | REPLY, ME, YOU, 64, b"\x03"),
        Message(Command.USER_MESSAGE, QOS1 | REPLY | ERROR, ME, YOU, 64, b"\xc1"),
        Message(Command.RECEIPT, QOS1, 0, ME, 64, b"\x03" + bytes(15)),
        Message(Command.GOODBYE, ERROR, 0, 0, 0, b"\x80"),
        Message(Command.SERVERS, 0, 0, 0, 0, b"\xff"),
        Message(Command.GROUP_MESSAGE, QOS1, YOU, 9, 64, bytes(40)),
        Message(Command.GROUP_MESSAGE, QOS1 | REPLY, ME, 9, 64, b"\x02"),
        Message(Command.GROUP, 0, 0, 9, 0, b"\xff"),
    ],
    ids=["trailer", "settling", "refusal", "receipt", "goodbye", "servers", "post", "numbered settling", "push"],
)
def test_what_no_center_may_send_is_a_breach_and_nothing_else(desk: Desk, message: Message) -> None:
    with pytest.raises(RemoteProtocolError):
        desk.hear(1.0, message)


def test_a_push_about_friends_of_a_kind_not_known_here_is_counted_and_ignored(desk: Desk) -> None:
    content = pack_map({"event": "waved", "version": 1, "user": YOU})
    desk.hear(1.0, Message(Command.FRIEND_CHANGE, 0, 0, 0, 0, content))
    assert desk.courier.ignored == 1


@pytest.mark.parametrize("command", [Command.SIGNATURE, Command.FRIENDS, 0x7F])
def test_what_a_later_release_may_send_is_counted_and_ignored(desk: Desk, command: int) -> None:
    desk.hear(1.0, Message(command, QOS1, YOU, ME, 64, bytes(40)))
    assert desk.courier.ignored == 1
    assert all(not isinstance(event, MessageSettled) for event in desk.inbox.take(0, 9))


def test_replies_to_nothing_are_ignored(desk: Desk) -> None:
    answer = Message(Command.LOOKUP, QOS1 | REPLY, ME, 0, 4096, b"\x80")
    settling = Message(Command.USER_MESSAGE, QOS1 | REPLY, ME, YOU, 4096, b"\x01")
    desk.hear(1.0, answer, settling)
    assert desk.courier.ignored == 1


def test_a_password_login_while_running_sends_and_shows_nothing_again(desk: Desk) -> None:
    settled, stored, unsettled = (desk.send() for _ in range(3))
    desk.due(0.0)
    desk.hear(1.0, *(Message(Command.USER_MESSAGE, QOS1 | REPLY, ME, YOU, time, bytes([how])) for time, how in ((settled, 1), (stored, 2))))
    desk.profile.log_in(desk.profile.account())
    desk.courier.take_account()
    desk.courier.begin("there", 2.0)
    assert [message.time for message in desk.due(2.0) if message.command == Command.USER_MESSAGE] == [unsettled]
    assert [event.time for event in desk.inbox.take(0, 9) if isinstance(event, MessageSettled)] == [settled, stored]


def test_another_slot_of_a_login_while_running_makes_what_is_unsettled_unknown(desk: Desk) -> None:
    time = desk.send()
    desk.profile.log_in(replace(desk.profile.account(), slot=SLOT + 1))
    desk.courier.take_account()
    events = [event for event in desk.inbox.take(0, 9) if isinstance(event, MessageSettled)]
    assert [(event.time, event.outcome.kind) for event in events] == [(time, OutcomeKind.UNKNOWN)]
    assert slot_of(desk.send()) == SLOT + 1


def test_an_application_that_takes_nothing_is_spared_what_nobody_promised(desk: Desk) -> None:
    desk.hear(0.0)
    desk.inbox.take(0, 9)

    def arrive(first: int, count: int, qos: int) -> None:
        for named in range(first, first + count):
            desk.hear(1.0, Message(Command.USER_MESSAGE, qos, YOU, ME, named * 64, b"x" + encode_trailer(1, named, 1)))

    arrive(1, MAX_WAITING_UNPROMISED + 5, 0)
    assert (len(desk.inbox), desk.courier.arrivals.dropped) == (MAX_WAITING_UNPROMISED, 5)
    arrive(5000, 3, QOS1)
    assert len(desk.inbox) == MAX_WAITING_UNPROMISED + 3
    desk.inbox.take(0, 10)
    arrive(6000, 2, 0)
    assert (len(desk.inbox), desk.courier.arrivals.dropped) == (MAX_WAITING_UNPROMISED - 5, 5)


def test_what_was_shown_long_ago_is_forgotten_by_a_client_that_runs_for_ever(desk: Desk) -> None:
    with desk.profile.transaction():
        desk.profile.keep_seen([(YOU, 64)], desk.now_us)
    desk.now_us += 39 * DAY_US
    desk.courier.keep_house(1000.0)
    assert desk.profile.is_seen(YOU, 64)
    desk.now_us += 2 * DAY_US
    desk.courier.keep_house(2000.0)
    assert not desk.profile.is_seen(YOU, 64)


@pytest.mark.parametrize(("retry_ms", "seconds"), [(None, 30), (90_000, 90)])
def test_a_renewal_that_cannot_be_made_just_now_is_asked_for_again_without_a_word(desk: Desk, retry_ms: int | None, seconds: int) -> None:
    desk.due(0.0)
    desk.now_us = DAY_US * 50
    desk.courier.tick(1.0)
    (question,) = desk.due(1.0)
    desk.hear(1.0, desk.reply_to(question, encode_error_content(ErrorCode.STORE_UNAVAILABLE, "not now", retry_ms), ERROR))
    assert not any(isinstance(event, PasswordNeeded) for event in desk.inbox.take(0, 9))
    desk.hear(seconds - 1.0, Message(Command.PING, 0, 0, 0, 0, b""))
    desk.courier.tick(float(seconds))
    assert desk.due(float(seconds)) == []
    desk.courier.tick(seconds + 1.0)
    assert commands(desk.due(seconds + 1.0)) == [Command.TOKEN]


def test_a_server_list_that_was_put_off_gives_way_to_that_of_a_later_login(desk: Desk) -> None:
    older, newer = (Server(node, "center", "127.0.0.1", 7401, 0, 0, False) for node in (1, 2))
    desk.courier.take_servers((older,))
    desk.profile.log_in(replace(desk.profile.account(), servers=(newer,)))
    desk.profile.keep_later()
    assert desk.profile.account().servers == (newer,)
