"""The sender's rules, pure: the window, *first*, refusals, retries, time-outs, and a center of chance that checks them all at once."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myim_client.sending import ANSWER_SECONDS, LIFE_US, WINDOW, WINDOW_BYTES, Outgoing, Sending
from myim_wire.errors import ErrorCode

A, B = 1, 2


def sending_of(*targets: int, body: bytes = b"x") -> Sending:
    sending = Sending()
    for index, target in enumerate(targets):
        sending.add(Outgoing(64 * (index + 1), target, body, enqueued=index))
    return sending


def taken(sending: Sending, now: float = 0.0) -> list[tuple[int, bool]]:
    return [(item.time // 64, is_first) for item, is_first in sending.take(now)]


def test_only_the_earliest_to_each_target_is_flagged_first() -> None:
    assert taken(sending_of(A, B, A, A, B)) == [(1, True), (2, True), (3, False), (4, False), (5, False)]


def test_a_message_is_first_again_once_all_before_it_are_settled() -> None:
    sending = sending_of(A, A)
    taken(sending)
    sending.settled(64)
    sending.settled(128)
    sending.add(Outgoing(192, A, b"", 0))
    assert taken(sending) == [(3, True)]


def test_the_window_is_64_messages() -> None:
    sending = sending_of(*[A] * 100)
    assert len(taken(sending)) == WINDOW
    assert taken(sending) == []
    sending.settled(64)
    assert taken(sending) == [(65, False)]


def test_the_window_is_a_mebibyte_of_bodies() -> None:
    sending = sending_of(*[A] * 40, body=bytes(32768))
    assert len(taken(sending)) == WINDOW_BYTES // 32768
    sending.settled(64)
    assert len(taken(sending)) == 1


def test_a_retryable_refusal_waits_for_the_answers_of_all_behind_it() -> None:
    sending = sending_of(A, A, A)
    taken(sending)
    assert sending.refused(64, ErrorCode.STORE_UNAVAILABLE, 100, 0.0, 0.5) is None
    sending.refused(128, ErrorCode.OUT_OF_ORDER, 0, 0.0, 0.5)
    assert taken(sending, 60.0) == []
    sending.refused(192, ErrorCode.OUT_OF_ORDER, 0, 0.0, 0.5)
    assert taken(sending, 0.05) == []
    assert taken(sending, 60.0) == [(1, True), (2, False), (3, False)]


def test_a_retryable_refusal_waits_for_what_stands_before_it() -> None:
    sending = sending_of(A, A)
    taken(sending)
    sending.refused(128, ErrorCode.OUT_OF_ORDER, 0, 0.0, 0.5)
    assert taken(sending, 60.0) == []
    sending.settled(64)
    assert taken(sending, 60.0) == [(2, True)]


def test_a_held_lane_does_not_hold_up_other_targets() -> None:
    sending = sending_of(A, B)
    taken(sending)
    sending.refused(64, ErrorCode.STORE_UNAVAILABLE, 5000, 0.0, 0.5)
    sending.add(Outgoing(192, A, b"", 0))
    sending.add(Outgoing(256, B, b"", 0))
    assert taken(sending, 1.0) == [(4, False)]
    assert taken(sending, 60.0) == [(1, True), (3, False)]


def test_what_was_not_sent_yet_keeps_its_place_behind_the_refused() -> None:
    sending = sending_of(*[A] * 70)
    taken(sending)
    for number in range(1, 65):
        sending.refused(64 * number, ErrorCode.STORE_UNAVAILABLE, 0, 0.0, 0.5)
    assert [number for number, _ in taken(sending, 60.0)] == list(range(1, 65))


@pytest.mark.parametrize("code", [ErrorCode.SLOW_DOWN, ErrorCode.BUSY])
def test_slow_down_and_busy_stop_all_lanes_for_as_long_as_they_say(code: ErrorCode) -> None:
    sending = sending_of(A)
    taken(sending)
    sending.refused(64, code, 2000, 0.0, 0.5)
    sending.add(Outgoing(128, B, b"", 0))
    assert taken(sending, 1.4) == []
    assert sending.deadline(1.4) is not None
    assert sorted(taken(sending, 3.1)) == [(1, True), (2, True)]


@pytest.mark.parametrize(
    "code",
    [ErrorCode.NOT_ALLOWED, ErrorCode.TOO_LARGE, ErrorCode.ID_CONFLICT, ErrorCode.BAD_TIME, ErrorCode.RECIPIENT_FULL, 64, 999],
)
def test_any_other_refusal_is_the_messages_end_and_those_behind_go_on(code: int) -> None:
    sending = sending_of(A, A)
    taken(sending)
    ended = sending.refused(64, code, 0, 0.0, 0.5)
    assert ended is not None and ended.time == 64
    sending.refused(128, ErrorCode.OUT_OF_ORDER, 0, 0.0, 0.5)
    assert taken(sending, 0.0) == [(2, True)]


def test_repeated_refusals_wait_longer_but_never_for_ever() -> None:
    sending = sending_of(A)
    now, waits = 0.0, []
    for _ in range(12):
        assert taken(sending, now)
        sending.refused(64, ErrorCode.STORE_UNAVAILABLE, 0, now, 0.5)
        deadline = sending.deadline(now)
        assert deadline is not None
        waits.append(round(deadline - now, 6))
        now = deadline
    assert waits == sorted(waits)
    assert waits[0] < 1 and waits[-1] == 10.0


def test_a_late_answer_to_nothing_changes_nothing() -> None:
    sending = sending_of(A)
    taken(sending)
    assert sending.settled(4096) is None
    assert sending.refused(4096, ErrorCode.NOT_ALLOWED, 0, 0.0, 0.5) is None
    sending.settled(64)
    assert sending.settled(64) is None
    assert len(sending) == sending.in_flight == sending.bytes_unsettled == 0


def test_a_new_session_begins_with_everything_unsettled_in_order() -> None:
    sending = sending_of(A, B, A)
    taken(sending)
    sending.refused(64, ErrorCode.STORE_UNAVAILABLE, 60_000, 0.0, 0.5)
    sending.settled(128)
    sending.restart()
    assert taken(sending, 0.0) == [(1, True), (3, False)]
    assert sending.resent == 2


def test_a_message_unanswered_for_15_seconds_is_overdue() -> None:
    sending = sending_of(A)
    assert not sending.is_overdue(1000.0)
    taken(sending, 5.0)
    assert sending.deadline(5.0) == 5.0 + ANSWER_SECONDS
    assert not sending.is_overdue(19.9)
    assert sending.is_overdue(20.0)
    sending.settled(64)
    assert not sending.is_overdue(1000.0)


def test_after_seven_days_a_message_is_unknown() -> None:
    sending = sending_of(A, A)
    taken(sending)
    assert sending.expired(LIFE_US - 1) == []
    assert [item.time for item in sending.expired(LIFE_US)] == [64]
    assert len(sending) == 1 and sending.in_flight == 1


class Center:
    """Takes or refuses by chance, as [P-8.4] lets it, and checks what reaches it: exact flags, order, the window."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.is_taking: dict[int, bool] = {}
        self.owned: dict[int, int] = {}
        self.settled: dict[int, list[int]] = {A: [], B: []}
        self.answers: list[tuple[int, int]] = []

    def receive(self, item: Outgoing, is_first: bool, unsettled: list[Outgoing]) -> None:
        earlier = [other.time for other in unsettled if other.target == item.target and other.time < item.time]
        assert is_first == (not earlier), "flag first is not exact"
        if is_first:
            self.is_taking[item.target] = True
        if not self.is_taking.get(item.target):
            self.answers.append((item.time, ErrorCode.OUT_OF_ORDER))
        elif self.chance.random() < 0.3:
            self.is_taking[item.target] = False
            self.answers.append((item.time, self.chance.choice([ErrorCode.STORE_UNAVAILABLE, ErrorCode.SLOW_DOWN])))
        elif item.time not in self.owned:
            self.owned[item.time] = item.target

    def settle_some(self, sending: Sending) -> None:
        for time in sorted(self.owned):
            if self.chance.random() < 0.5:
                break
            target = self.owned.pop(time)
            self.settled[target].append(time)
            sending.settled(time)

    def answer_some(self, sending: Sending, now: float) -> None:
        while self.answers and self.chance.random() < 0.7:
            time, code = self.answers.pop(0)
            sending.refused(time, code, 0, now, self.chance.random())


@settings(max_examples=200, deadline=None)
@given(st.integers(), st.lists(st.sampled_from([A, B]), min_size=1, max_size=30), st.integers(0, 3))
def test_whatever_a_center_refuses_all_are_settled_once_and_in_order(seed: int, targets: list[int], new_sessions: int) -> None:
    chance = random.Random(seed)
    sending, center, now = sending_of(*targets), Center(chance), 0.0
    for turn in range(2000):
        if not len(sending):
            break
        now += 1.0
        for item, is_first in sending.take(now):
            center.receive(item, is_first, list(sending.unsettled()))
        assert sending.in_flight <= WINDOW
        center.answer_some(sending, now)
        center.settle_some(sending)
        if turn % 7 == 6 and new_sessions:
            new_sessions -= 1
            sending.restart()
            center.answers.clear()
            center.is_taking.clear()
    assert len(sending) == 0, "something is stuck"
    expected = {target: [64 * (i + 1) for i, t in enumerate(targets) if t == target] for target in (A, B)}
    assert center.settled == expected
