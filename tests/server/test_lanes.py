"""The owner's state machine, one promise at a time (docs/delivery.md D-1 to D-9); tests/model searches their combinations."""

from __future__ import annotations

from myim_server.chat.lane import (
    RECEIVED,
    STORED,
    Action,
    CutOff,
    End,
    Forward,
    Lane,
    LaneState,
    Letter,
    LookUp,
    Patience,
    Poke,
    Refuse,
    Settle,
    Store,
)
from myim_server.chat.lanes import Lanes
from myim_wire.errors import ErrorCode

USER, SLOT, TARGET, CENTER = 5, 3, 9, 77
M1, M2, M3 = ((number << 6) | SLOT for number in (1, 2, 3))


def letter(time: int, body: bytes = b"x", arrived: float = 0.0) -> Letter:
    return Letter(time, body, time, time, arrived)


def fresh() -> Lane:
    return Lane(USER, SLOT, TARGET, Patience())


def opened(*times: int) -> Lane:
    """A lane whose letters are on their way to CENTER."""
    lane = fresh()
    lane.take([letter(time) for time in times], True, 0.0)
    lane.found(lane.attempt, CENTER, 0.0)
    return lane


def storing(*times: int) -> Lane:
    """A lane whose letters are being stored."""
    lane = fresh()
    lane.take([letter(time) for time in times], True, 0.0)
    lane.found(lane.attempt, None, 0.0)
    return lane


def times(action: Action) -> list[int]:
    return [one.time for one in action.letters] if isinstance(action, Forward | Store) else []


def test_the_first_message_is_looked_up_before_it_goes_anywhere() -> None:
    lane = fresh()
    assert lane.take([letter(M1)], True, 0.0) == [LookUp(lane, lane.attempt)]


def test_the_way_that_was_found_is_opened_with_all_that_is_unsettled() -> None:
    lane = fresh()
    lane.take([letter(M1)], True, 0.0)
    lane.take([letter(M2)], False, 0.0)
    (forward,) = lane.found(lane.attempt, CENTER, 0.0)
    assert isinstance(forward, Forward) and forward.is_opening and times(forward) == [M1, M2]


def test_later_messages_follow_in_the_open_lane() -> None:
    lane = opened(M1)
    (forward,) = lane.take([letter(M2)], False, 0.0)
    assert isinstance(forward, Forward) and not forward.is_opening and times(forward) == [M2]


def test_the_sender_is_told_received_for_a_receipt_and_only_once() -> None:
    lane = opened(M1)
    assert lane.received(lane.attempt, [M1], 0.0) == [Settle(lane, [M1], RECEIVED)]
    assert lane.received(lane.attempt, [M1], 0.0) == []


def test_nobody_found_means_stored_and_the_sender_hears_only_after_the_commit() -> None:
    lane = fresh()
    lane.take([letter(M1)], True, 0.0)
    (store,) = lane.found(lane.attempt, None, 0.0)
    assert isinstance(store, Store)
    assert lane.stored(lane.attempt, [(M1, None)], 0.0)[0] == Settle(lane, [M1], STORED)


def test_after_storing_the_target_is_looked_up_again_and_poked() -> None:
    lane = storing(M1)
    assert lane.stored(lane.attempt, [(M1, None)], 0.0)[-1] == LookUp(lane, lane.attempt)
    assert lane.found(lane.attempt, CENTER, 0.0) == [Poke(lane, CENTER)]
    assert lane.state is LaneState.REST


def test_what_comes_while_the_store_works_waits_for_its_commit() -> None:
    lane = storing(M1)
    assert lane.take([letter(M2)], False, 0.0) == []
    assert not [action for action in lane.stored(lane.attempt, [(M1, None)], 0.0) if isinstance(action, Store)]


def test_an_old_return_is_stored_whole_and_only_after_all_is_answered() -> None:
    lane = opened(M1, M2)
    assert lane.returned(lane.attempt, [M1], 100.0) == []
    (store,) = lane.returned(lane.attempt, [M2], 100.0)
    assert isinstance(store, Store) and times(store) == [M1, M2]


def test_a_young_return_is_tried_at_a_center_again() -> None:
    lane = opened(M1)
    assert lane.returned(lane.attempt, [M1], 0.0) == [LookUp(lane, lane.attempt)]


def test_answers_to_an_attempt_that_is_over_change_nothing() -> None:
    lane = opened(M1)
    past = lane.attempt
    lane.returned(past, [M1], 0.0)
    assert lane.received(past, [M1], 0.0) == [] and lane.returned(past, [M1], 0.0) == []
    assert lane.found(past, CENTER, 0.0) == [] and list(lane.queue) == [M1]


def test_a_lost_link_starts_the_lane_again_at_the_earliest_unsettled() -> None:
    lane = opened(M1, M2)
    lane.received(lane.attempt, [M1], 0.0)
    (store,) = lane.lost(CENTER, 100.0)
    assert isinstance(store, Store) and times(store) == [M2]
    assert lane.lost(CENTER, 100.0) == []


def test_a_center_that_does_not_answer_in_time_is_cut_off() -> None:
    lane = opened(M1)
    assert lane.tick(4.9) == []
    cut_off, store = lane.tick(5.0)
    assert cut_off == CutOff(lane, lane.attempt - 1, CENTER) and isinstance(store, Store)


def test_a_directory_that_does_not_answer_in_time_has_found_nobody() -> None:
    lane = fresh()
    lane.take([letter(M1)], True, 0.0)
    assert lane.tick(1.9) == []
    assert isinstance(lane.tick(2.0)[0], Store)


def test_a_new_session_of_the_sender_ends_the_open_lane() -> None:
    idle, busy = opened(M1), opened(M1)
    idle.received(idle.attempt, [M1], 0.0)
    assert idle.sender_moved(0.0) == [End(idle, idle.attempt, CENTER)] and idle.state is LaneState.REST
    assert busy.sender_moved(0.0) == [End(busy, busy.attempt, CENTER)] and busy.state is LaneState.ENDING


def test_the_end_of_a_lane_waits_for_every_answer() -> None:
    lane = opened(M1, M2)
    lane.sender_moved(0.0)
    assert lane.received(lane.attempt, [M1], 0.0) == [Settle(lane, [M1], RECEIVED)]
    assert lane.returned(lane.attempt, [M2], 0.0) == [LookUp(lane, lane.attempt)]


def test_without_first_nothing_is_taken_behind_what_this_center_never_had() -> None:
    lane = fresh()
    assert lane.take([letter(M2)], False, 0.0) == [Refuse(lane, [M2], ErrorCode.OUT_OF_ORDER)]


def test_a_failing_store_refuses_all_and_all_behind_until_one_is_first() -> None:
    lane = storing(M1, M2)
    assert lane.store_failed(lane.attempt, 0.0) == [Refuse(lane, [M1, M2], ErrorCode.STORE_UNAVAILABLE)]
    assert lane.take([letter(M3)], False, 0.0) == [Refuse(lane, [M3], ErrorCode.STORE_UNAVAILABLE)]
    assert lane.take([letter(M1), letter(M2), letter(M3)], True, 0.0) == [LookUp(lane, lane.attempt)]


def test_a_resend_joins_what_is_owned_and_is_answered_at_once_if_settled() -> None:
    lane = opened(M1, M2)
    lane.received(lane.attempt, [M1], 0.0)
    assert lane.take([letter(M1), letter(M2)], True, 0.0) == [Settle(lane, [M1], RECEIVED)]
    assert list(lane.queue) == [M2]


def test_the_same_name_with_another_body_is_a_conflict_and_the_first_stays() -> None:
    lane = opened(M1)
    assert lane.take([letter(M1, b"y")], True, 0.0) == [Refuse(lane, [M1], ErrorCode.ID_CONFLICT)]
    assert lane.queue[M1].body == b"x"


def test_a_falling_name_is_refused_and_all_behind_it() -> None:
    lane = opened(M2)
    assert lane.take([letter(M1), letter(M3)], False, 0.0) == [
        Refuse(lane, [M1], ErrorCode.BAD_TIME),
        Refuse(lane, [M3], ErrorCode.OUT_OF_ORDER),
    ]


def test_what_was_refused_below_what_is_settled_is_taken_again_once_and_in_order() -> None:
    lane = opened(M1, M2, M3)
    lane.received(lane.attempt, [M3], 0.0)
    assert lane.tick(100.0)[-1] == Refuse(lane, [M1, M2], ErrorCode.STORE_UNAVAILABLE)
    assert lane.take([letter(M1), letter(M2), letter(M3)], True, 100.0) == [Settle(lane, [M3], RECEIVED), LookUp(lane, lane.attempt)]
    assert list(lane.queue) == [M1, M2] and lane.last_time == M3
    lane.found(lane.attempt, CENTER, 100.0)
    lane.received(lane.attempt, [M1, M2], 100.0)
    lane.settled.clear()
    assert lane.take([letter(M1)], False, 100.0) == [Refuse(lane, [M1], ErrorCode.BAD_TIME)]


def test_what_was_refused_below_what_is_settled_is_not_taken_in_falling_order() -> None:
    lane = opened(M1, M2, M3)
    lane.received(lane.attempt, [M3], 0.0)
    lane.tick(100.0)
    assert lane.take([letter(M2), letter(M1)], True, 100.0)[0] == Refuse(lane, [M1], ErrorCode.BAD_TIME)
    assert list(lane.queue) == [M2]


def test_what_the_store_took_before_a_refusal_is_settled_and_the_rest_refused() -> None:
    lane = storing(M1, M2, M3)
    actions = lane.stored(lane.attempt, [(M1, None), (M2, ErrorCode.RECIPIENT_FULL), (M3, ErrorCode.RECIPIENT_FULL)], 0.0)
    assert actions[:2] == [Settle(lane, [M1], STORED), Refuse(lane, [M2, M3], ErrorCode.RECIPIENT_FULL)]
    assert lane.take([letter(M1)], True, 0.0) == [Settle(lane, [M1], STORED)], "the settled one is remembered"


def test_the_memory_of_settled_names_is_bounded() -> None:
    lane = opened(M1)
    for number in range(2, 2000):
        lane.take([letter(number << 6 | SLOT)], False, 0.0)
        lane.received(lane.attempt, [number << 6 | SLOT], 0.0)
    assert 256 <= len(lane.settled) <= 320


def test_an_idle_lane_is_forgotten_with_its_session_and_a_busy_one_stays() -> None:
    lanes = Lanes(Patience())
    idle, busy = lanes.lane(USER, SLOT, TARGET), lanes.lane(USER, SLOT, TARGET + 1)
    busy.take([letter(M1)], True, 0.0)
    assert lanes.forget_idle(USER, SLOT, 0.0) == []
    assert list(lanes) == [busy] and idle.is_idle
    anew = lanes.lane(USER, SLOT, TARGET)
    assert anew.attempt not in (idle.attempt, busy.attempt), "answers to its past must not reach it"


def test_whatever_a_lane_is_doing_a_message_without_an_answer_for_9_seconds_is_refused() -> None:
    for lane in (opened(M1), storing(M1)):
        attempt, was_open = lane.attempt, lane.state is LaneState.OPEN
        actions = lane.tick(9.0)
        assert actions == ([End(lane, attempt, CENTER)] if was_open else []) + [Refuse(lane, [M1], ErrorCode.STORE_UNAVAILABLE)]
        assert lane.is_idle and lane.stored(attempt, [(M1, None)], 9.1) == [] and lane.received(attempt, [M1], 9.1) == []
        assert lane.take([letter(M1)], True, 9.2), "and may be sent again"
