"""How much a terminal may ask and send, counted with a clock in hand."""

import random
from typing import Any

import pytest

from myim_server.chat.lane import Lane, Letter, Patience
from myim_server.pace import Limits, Pace
from myim_server.refusals import SessionRefused
from myim_wire.errors import ErrorCode
from myim_wire.messages import Message


@pytest.fixture
def pace() -> Pace:
    return Pace(Limits(unsettled=10, unsettled_bytes=100_000, requests_per_second=10, messages_per_second=100))


def asked(pace: Pace, count: int, now: float) -> int:
    """How many of so many requests are allowed."""
    return [pace.is_asking_too_much(now) for _ in range(count)].count(False)


def sent(pace: Pace, count: int, now: float) -> int:
    return [pace.is_sending_too_fast(1, now) for _ in range(count)].count(False)


def test_two_seconds_worth_may_come_at_once_and_then_the_rate(pace: Pace) -> None:
    assert asked(pace, 30, 1000.0) == 20
    assert asked(pace, 30, 1001.0) == 10
    assert asked(pace, 30, 1060.0) == 20
    assert sent(pace, 250, 2000.0) == 200
    assert sent(pace, 150, 2001.0) == 100


def test_messages_between_requests_take_nothing_from_their_pace_nor_the_other_way_round(pace: Pace) -> None:
    now = 1000.0
    for _ in range(2000):
        now += 0.1
        assert not pace.is_sending_too_fast(9, now - 0.001)
        assert not pace.is_asking_too_much(now)


def test_what_was_refused_is_not_held_against_a_terminal(pace: Pace) -> None:
    assert (asked(pace, 100, 1000.0), sent(pace, 300, 1000.0)) == (20, 200)
    assert asked(pace, 1, 1000.2) == 1
    assert sent(pace, 20, 1000.2) == 20


def test_who_never_slows_down_is_closed(pace: Pace) -> None:
    with pytest.raises(SessionRefused) as refused:
        asked(pace, 1000, 1000.0)
    assert refused.value.code == ErrorCode.SLOW_DOWN


def test_a_terminal_that_was_told_to_slow_down_now_and_then_is_borne_for_ever(pace: Pace) -> None:
    for second in range(1000):
        assert asked(pace, 11, 1000.0 + second) in (10, 11)
    for second in range(1000):
        assert sent(pace, 101, 3000.0 + second) in (100, 101)


def test_receipts_and_replies_are_borne_at_the_pace_of_messages_and_a_flood_of_them_ends_the_session(pace: Pace) -> None:
    for tenth in range(1000):
        for _ in range(9):
            pace.count_unanswered(1000.0 + tenth / 10)
    with pytest.raises(SessionRefused) as refused:
        for _ in range(20_000):
            pace.count_unanswered(1100.0)
    assert refused.value.code == ErrorCode.SLOW_DOWN


def test_twenty_unknown_commands_a_minute_are_borne(pace: Pace) -> None:
    for minute in range(3):
        for _ in range(20):
            pace.count_unknown(1000.0 + 61 * minute)
    with pytest.raises(SessionRefused) as refused:
        pace.count_unknown(1000.0 + 61 * 2)
    assert refused.value.code == ErrorCode.UNKNOWN_COMMAND


def lane_with(count: int, size: int, first: int = 0) -> Lane:
    lane = Lane(1, 0, 2, Patience())
    lane.queue = {time: Letter(time, bytes(size), 1, 1, 0.0) for time in range(first, first + count)}
    return lane


def coming(*times: int, size: int = 1) -> list[Message]:
    return [Message(2, 1, 1, 2, time, bytes(size)) for time in times]


@pytest.mark.parametrize(("held", "fresh", "is_too_much"), [(9, 1, False), (10, 1, True), (5, 6, True), (0, 11, True)])
def test_unsettled_messages_are_limited_in_number(pace: Pace, held: int, fresh: int, is_too_much: bool) -> None:
    lane = lane_with(held, 1)
    assert pace.is_too_much_unsettled({2: lane}, lane, coming(*range(100, 100 + fresh))) is is_too_much


@pytest.mark.parametrize(("size", "is_too_much"), [(10_000, False), (10_001, True)])
def test_unsettled_messages_are_limited_in_bytes_with_those_that_come(pace: Pace, size: int, is_too_much: bool) -> None:
    lane = lane_with(4, 22_500)
    assert pace.is_too_much_unsettled({2: lane}, lane, coming(100, size=size)) is is_too_much


def test_all_lanes_of_a_terminal_count_together(pace: Pace) -> None:
    lanes = {2: lane_with(5, 1), 3: lane_with(5, 1)}
    assert pace.is_too_much_unsettled(lanes, lanes[2], coming(100))


def test_what_is_owned_already_may_come_again(pace: Pace) -> None:
    lane = lane_with(10, 10_000)
    assert not pace.is_too_much_unsettled({2: lane}, lane, coming(*range(10), size=10_000))
    assert pace.is_too_much_unsettled({2: lane}, lane, coming(*range(11), size=10_000))


class WalkedOnce(dict[int, Lane]):
    """Lanes that may be walked through once."""

    walks = 0

    def values(self) -> Any:
        self.walks += 1
        assert self.walks == 1, "all lanes were looked at again"
        return super().values()


def test_counting_what_is_unsettled_does_not_walk_through_all_lanes_each_time(pace: Pace) -> None:
    lanes = WalkedOnce({target: lane_with(0, 1) for target in range(1000)})
    for target in range(1000):
        assert not pace.is_too_much_unsettled(lanes, lanes[target], coming(100))
    for target in range(11):
        assert pace.is_too_much_unsettled(lanes, lanes[target], coming(100)) is (target == 10)
        lanes[target].queue = lane_with(1, 1).queue


def test_what_is_counted_of_many_lanes_is_what_is_there() -> None:
    chance = random.Random(7)
    pace = Pace(Limits(unsettled=40, unsettled_bytes=1_048_576))
    lanes = {target: lane_with(chance.randrange(3), 1) for target in range(1, 20)}
    outcomes = set()
    for time in range(1000, 9000, 4):
        lane = lanes[chance.choice(list(lanes))]
        run = coming(*range(time, time + chance.randrange(1, 4)))
        is_too_much = sum(len(one.queue) for one in lanes.values()) + len(run) > 40
        pace._slow_downs = 0.0
        assert pace.is_too_much_unsettled(lanes, lane, run) is is_too_much
        outcomes.add((is_too_much, len(lanes) == 1))
        if not is_too_much:
            lane.queue |= {message.time: Letter(message.time, b"x", 1, 1, 0.0) for message in run}
        if chance.random() < 0.1:
            lanes[chance.choice(list(lanes))].queue.clear()
        if chance.random() < 0.02:  # lanes come and go; idle ones alone go
            lanes = {target: one for target, one in lanes.items() if one.queue or one is lane}
        elif chance.random() < 0.05:
            lanes.setdefault(chance.randrange(1, 20), lane_with(0, 1))
        if chance.random() < 0.005:
            for one in lanes.values():
                one.queue.clear()
            lanes = {1: lane}
    assert outcomes >= {(False, False), (False, True), (True, False)}
