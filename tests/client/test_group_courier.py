"""A courier's groups without a socket: what time alone makes it do, what is asked again, how much an application is given."""

from __future__ import annotations

import pytest

from myim_client import GroupMessageArrived
from myim_client.arrivals import MAX_WAITING_UNPROMISED
from myim_client.courier import SessionEnded
from myim_client.group_arrivals import BOUNDS, STALLED_SECONDS
from myim_client.group_courier import RETRY_SECONDS
from myim_wire.bodies import decode_pairs, encode_error_content
from myim_wire.errors import ErrorCode
from myim_wire.group_contents import GroupFetched, GroupPage, GroupsTold, Standing, decode_group_fetch
from myim_wire.messages import ERROR, QOS1, Command, Message, decode_messages, encode_group_delivery
from tests.client.desk import Desk
from tests.client.scene import group_state
from tests.client.scripted_center import YOU

TEAM = 900


def told(*standings: Standing) -> Message:
    return Message(Command.GROUP, 0, 0, 0, 0, GroupsTold(standings, True).encode())


def post(number: int, group: int = TEAM) -> Message:
    return decode_messages(encode_group_delivery(QOS1 if number else 0, YOU, group, 64, number, 1, b"x", (1, 1, 1)))[0]


def events(desk: Desk) -> list[GroupMessageArrived]:
    return [event for event in desk.inbox.take(0, 10_000) if isinstance(event, GroupMessageArrived)]


def done(desk: Desk, *posts: GroupMessageArrived) -> None:
    with desk.profile.transaction():
        desk.courier.show(posts)


def test_a_confirmation_leaves_at_most_200_ms_after_its_commit_though_nothing_comes(desk: Desk) -> None:
    desk.hear(0.0, told(Standing(TEAM, 1, 0, 0, 0)), post(1))
    desk.due(0.0)
    now = desk.courier.deadline(0.0)  # the reader slept until then
    assert now <= 0.1
    done(desk, *events(desk))
    assert all(message.command != Command.RECEIPT for message in desk.due(now))
    later = desk.courier.deadline(now)
    assert later - now <= 0.1
    (receipt,) = desk.due(later)
    assert decode_pairs(receipt.content) == (2, [(TEAM, 1)])


def test_a_fetch_that_brings_nothing_for_20_seconds_ends_the_session(desk: Desk) -> None:
    desk.hear(1.0, told(Standing(TEAM, 1, 5, 0, 0)))
    desk.due(1.0)
    desk.courier.tick(1.0 + STALLED_SECONDS - 0.1)
    with pytest.raises(SessionEnded, match="do not come"):
        desk.courier.tick(1.0 + STALLED_SECONDS)


def test_a_list_that_is_refused_for_now_is_asked_for_again(desk: Desk) -> None:
    desk.due(0.0)
    desk.hear(1.0, told(Standing(TEAM, 1, 0, 0, 0)))
    (question,) = desk.due(1.0)
    desk.hear(1.0, desk.reply_to(question, encode_error_content(ErrorCode.STORE_UNAVAILABLE, "not now"), ERROR))
    assert desk.due(1.0 + RETRY_SECONDS - 0.1) == []
    assert desk.courier.deadline(1.0 + RETRY_SECONDS - 0.1) <= 1.0 + RETRY_SECONDS
    (question,) = desk.due(1.0 + RETRY_SECONDS)
    desk.hear(9.0, desk.reply_to(question, GroupPage((group_state(TEAM),), False).encode()))
    assert [state.group for state in desk.courier.groups.known()] == [TEAM]
    assert desk.due(100.0) == []


def test_a_center_that_serves_no_groups_is_not_asked_again(desk: Desk) -> None:
    desk.due(0.0)
    desk.hear(1.0, post(1))
    (question,) = desk.due(1.0)
    desk.hear(1.0, desk.reply_to(question, encode_error_content(ErrorCode.UNKNOWN_COMMAND, "no"), ERROR))
    assert desk.due(1000.0) == []


def test_an_application_that_takes_nothing_is_given_no_more_than_it_may_hold_and_later_all(desk: Desk) -> None:
    desk.hear(1.0, told(Standing(TEAM, 1, 0, 0, 0)))
    desk.due(1.0)
    desk.hear(1.0, *(post(number) for number in range(1, BOUNDS.waiting + 6)))
    assert len(desk.inbox) >= BOUNDS.waiting and desk.due(2.0) == []
    waiting = events(desk)
    assert len(waiting) == BOUNDS.waiting
    done(desk, *waiting[:10])
    (fetch,) = desk.due(3.0)
    assert (fetch.command, decode_group_fetch(fetch.content)) == (Command.OFFLINE_FETCH, BOUNDS.waiting)
    last = BOUNDS.waiting + 5
    desk.hear(3.0, *(post(number) for number in range(BOUNDS.waiting + 1, last + 1)))
    desk.hear(3.0, desk.reply_to(fetch, GroupFetched(last, last).encode()))
    assert [event.number for event in events(desk)] == list(range(BOUNDS.waiting + 1, last + 1))


def test_qos_0_that_nobody_takes_is_dropped(desk: Desk) -> None:
    desk.hear(0.0)
    desk.inbox.take(0, 9)
    for _ in range(MAX_WAITING_UNPROMISED + 3):
        desk.hear(1.0, post(0))
    assert (len(desk.inbox), desk.courier.groups.dropped) == (MAX_WAITING_UNPROMISED, 3)


def test_an_event_of_a_later_release_is_counted_and_ignored(desk: Desk) -> None:
    desk.hear(1.0, Message(Command.GROUP, 0, 0, TEAM, 0, b"\x81\xa5event\xa6danced"))
    assert desk.courier.ignored == 1
