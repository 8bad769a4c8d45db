"""The target's state machine, one promise at a time (docs/delivery.md D-10 to D-18); tests/model searches their combinations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from myim_server.chat.inbox import Action, Caught, Confirm, HandLetters, HandRows, Inbox, Read, Received, Returned, Window
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.lane import Letter

SENDER, SLOT, TARGET, OWNER, OTHER_OWNER = 5, 3, 9, 77, 78
KEY = SENDER << 6 | SLOT
M1, M2, M3 = ((number << 6) | SLOT for number in (1, 2, 3))


class StoredRow(NamedTuple):
    id: int
    user: int
    time: int
    body: bytes = b"x"
    qos: int = 1


def letters(*times: int) -> list[Letter]:
    return [Letter(time, b"x", time, time, 0.0) for time in times]


def rows(*times: int) -> list[StoredRow]:
    return [StoredRow(time, SENDER, time) for time in times]


def fetched(window: Window | None = None, slot: int = 1) -> Inbox:
    """A session that has fetched, and met the end of what was stored."""
    inbox = Inbox(TARGET, slot, window or Window())
    inbox.fetch()
    inbox.read_done([], False, 0.0)
    return inbox


def opened(*times: int) -> Inbox:
    """A session that was handed these in a lane of OWNER, attempt 1."""
    inbox = fetched()
    inbox.open(OWNER, KEY, 1, letters(*times), 0.0)
    inbox.read_done([], False, 0.0)
    return inbox


def handed(actions: Sequence[Action]) -> list[int]:
    return [one.time for action in actions if isinstance(action, HandLetters) for one in action.letters]


def test_nothing_is_read_for_a_session_that_has_not_fetched() -> None:
    inbox = Inbox(TARGET, 1, Window())
    assert inbox.want_read() == []
    assert inbox.fetch() == [Read(inbox)]


def test_the_fetch_is_answered_after_the_read_that_began_with_it_met_the_end() -> None:
    inbox = Inbox(TARGET, 1, Window())
    inbox.fetch()
    hand, read = inbox.read_done(rows(M1), True, 0.0)
    assert isinstance(hand, HandRows) and read == Read(inbox)
    assert inbox.read_done(rows(M2), False, 0.0)[-1] == Caught(inbox, 2)


def test_a_fetch_during_a_read_is_answered_by_the_next_one() -> None:
    inbox = fetched()
    inbox.want_read()
    inbox.fetch()
    assert inbox.read_done([], False, 0.0) == [Read(inbox)]
    assert inbox.read_done([], False, 0.0) == [Caught(inbox, 0)]


def test_an_opening_message_waits_for_a_read_begun_after_it_came() -> None:
    inbox = fetched()
    assert inbox.open(OWNER, KEY, 1, letters(M2), 0.0) == [Read(inbox)]
    hand, direct = inbox.read_done(rows(M1), False, 0.0)
    assert isinstance(hand, HandRows) and handed([direct]) == [M2]


def test_an_opening_during_a_read_waits_for_the_next_read() -> None:
    inbox = fetched()
    inbox.want_read()
    assert inbox.open(OWNER, KEY, 1, letters(M1), 0.0) == []
    assert inbox.read_done([], False, 0.0) == [Read(inbox)]
    assert handed(inbox.read_done([], False, 0.0)) == [M1]


def test_an_opening_waits_on_until_a_read_has_met_the_end() -> None:
    inbox = fetched()
    inbox.open(OWNER, KEY, 1, letters(M3), 0.0)
    assert handed(inbox.read_done(rows(M1), True, 0.0)) == []
    assert handed(inbox.read_done(rows(M2), False, 0.0)) == [M3]


def test_what_follows_needs_no_read_and_what_follows_a_held_one_is_held_with_it() -> None:
    inbox = fetched()
    inbox.open(OWNER, KEY, 1, letters(M1), 0.0)
    assert inbox.follow(OWNER, KEY, 1, letters(M2), 0.0) == []
    assert handed(inbox.read_done([], False, 0.0)) == [M1, M2]
    assert handed(inbox.follow(OWNER, KEY, 1, letters(M3), 0.0)) == [M3]


def test_what_follows_in_another_attempt_or_of_another_owner_is_returned() -> None:
    inbox = opened(M1)
    assert inbox.follow(OWNER, KEY, 2, letters(M2), 0.0) == [Returned(OWNER, KEY, TARGET, 2, [M2])]
    assert inbox.follow(OTHER_OWNER, KEY, 1, letters(M2), 0.0) == [Returned(OTHER_OWNER, KEY, TARGET, 1, [M2])]


def test_a_receipt_goes_to_the_owner_once() -> None:
    inbox = opened(M1, M2)
    assert inbox.receipt([(SENDER, M1), (SENDER, M2)]) == ([Received(OWNER, KEY, TARGET, 1, [M1, M2])], 0)
    assert inbox.receipt([(SENDER, M1)]) == ([], 1)


def test_the_end_of_a_session_gives_everything_back_that_was_not_confirmed() -> None:
    inbox = opened(M1, M2)
    inbox.receipt([(SENDER, M1)])
    assert inbox.close() == [Returned(OWNER, KEY, TARGET, 1, [M2])]
    assert inbox.read_done(rows(M1), False, 0.0) == [] and inbox.read_failed() == []


def test_the_owner_may_end_its_attempt_and_gets_the_rest_back() -> None:
    inbox = opened(M1, M2)
    assert inbox.end(OWNER, KEY, 2) == [] and inbox.end(OTHER_OWNER, KEY, 1) == []
    assert inbox.end(OWNER, KEY, 1) == [Returned(OWNER, KEY, TARGET, 1, [M1, M2])]


def test_a_second_owner_takes_the_lane_over_and_the_first_gets_its_letters_back() -> None:
    inbox = opened(M1)
    assert inbox.open(OTHER_OWNER, KEY, 1, letters(M1, M2), 0.0) == [Returned(OWNER, KEY, TARGET, 1, [M1]), Read(inbox)]


def test_a_lane_is_returned_whole_when_a_message_waits_too_long() -> None:
    inbox = opened(M1)
    inbox.follow(OWNER, KEY, 1, letters(M2), 3.0)
    assert inbox.tick(3.9) == []
    assert inbox.tick(4.0) == [Returned(OWNER, KEY, TARGET, 1, [M1, M2])]
    assert inbox.follow(OWNER, KEY, 1, letters(M3), 4.0) == [Returned(OWNER, KEY, TARGET, 1, [M3])]


def test_an_opening_that_waits_too_long_for_its_read_is_returned() -> None:
    inbox = fetched()
    inbox.open(OWNER, KEY, 1, letters(M1), 0.0)
    assert inbox.tick(4.0) == [Returned(OWNER, KEY, TARGET, 1, [M1])]
    assert handed(inbox.read_done([], False, 5.0)) == []


def test_a_failed_read_returns_what_waited_for_it() -> None:
    inbox = fetched()
    inbox.open(OWNER, KEY, 1, letters(M1), 0.0)
    assert inbox.read_failed() == [Returned(OWNER, KEY, TARGET, 1, [M1])]
    assert inbox.is_read_wanted, "the sweep tries again"


def test_a_lost_link_takes_its_lanes_with_it_unanswered() -> None:
    inbox = opened(M1)
    inbox.lost(OWNER)
    assert inbox.close() == []


def test_rows_are_confirmed_once_even_when_a_receipt_names_them_twice() -> None:
    inbox = fetched()
    inbox.want_read()
    inbox.read_done(rows(M1), False, 0.0)
    assert inbox.receipt([(SENDER, M1), (SENDER, M1)]) == ([Confirm(inbox, [(SENDER, M1)])], 0)
    assert inbox.receipt([(SENDER, M1)]) == ([], 0)


def test_a_full_window_reads_on_only_after_receipts() -> None:
    inbox = Inbox(TARGET, 1, Window(rows=2))
    inbox.fetch()
    assert len(inbox.read_done(rows(M1, M2), True, 0.0)) == 1
    actions, _ = inbox.receipt([(SENDER, M1)])
    assert actions == [Confirm(inbox, [(SENDER, M1)]), Read(inbox)]


def test_a_row_stays_handed_until_its_deletion_is_committed() -> None:
    inbox = fetched()
    inbox.want_read()
    inbox.read_done(rows(M1), False, 0.0)
    inbox.receipt([(SENDER, M1)])
    inbox.want_read()
    assert inbox.read_done(rows(M1), False, 0.0) == [], "the read saw it before it was deleted"
    inbox.confirmed([(SENDER, M1)])
    assert inbox.handed == {} and inbox.names == {}


def test_a_failed_deletion_is_asked_for_again_by_the_sweep() -> None:
    inbox = fetched()
    inbox.want_read()
    inbox.read_done(rows(M1), False, 0.0)
    inbox.receipt([(SENDER, M1)])
    assert inbox.retry_confirm() == []
    inbox.confirm_failed([(SENDER, M1)])
    assert inbox.retry_confirm() == [Confirm(inbox, [(SENDER, M1)])]


def test_a_late_twin_of_a_deleted_row_is_handed_and_confirmed_like_the_first() -> None:
    inbox = fetched()
    inbox.want_read()
    inbox.read_done([StoredRow(1, SENDER, M1)], False, 0.0)
    inbox.want_read()
    assert len(inbox.read_done([StoredRow(2, SENDER, M1)], False, 0.0)) == 1
    assert inbox.unconfirmed_rows == 1
    assert inbox.receipt([(SENDER, M1)])[0] == [Confirm(inbox, [(SENDER, M1)])]
    assert inbox.unconfirmed_rows == inbox.unconfirmed_bytes == 0


def test_qos_0_rows_are_handed_and_never_counted_as_unconfirmed() -> None:
    inbox = fetched()
    inbox.want_read()
    (hand,) = inbox.read_done([StoredRow(1, SENDER, M1, qos=0)], False, 0.0)
    assert isinstance(hand, HandRows) and inbox.unconfirmed_rows == 0 and inbox.handed == {}


def test_without_a_session_everything_goes_back() -> None:
    inboxes = Inboxes()
    assert inboxes.open(OWNER, KEY, TARGET, 1, letters(M1), 0.0) == [Returned(OWNER, KEY, TARGET, 1, [M1])]
    assert inboxes.follow(OWNER, KEY, TARGET, 1, letters(M2), 0.0) == [Returned(OWNER, KEY, TARGET, 1, [M2])]


def test_a_lane_is_opened_to_the_session_that_was_active_last() -> None:
    inboxes, first, second = Inboxes(), fetched(slot=1), fetched(slot=2)
    inboxes.add(first)
    inboxes.add(second)
    first.last_active = 1.0
    assert inboxes.open(OWNER, KEY, TARGET, 1, letters(M1), 0.0) == [Read(first)]
    second.last_active = 2.0
    assert inboxes.open(OWNER, KEY, TARGET, 2, letters(M1), 0.0) == [Read(second)]
    assert KEY not in first.lanes


def test_moving_one_owners_lane_to_another_session_leaves_the_lane_of_another_owner_alone() -> None:
    inboxes, first, second = Inboxes(), fetched(slot=1), fetched(slot=2)
    inboxes.add(first)
    inboxes.add(second)
    first.last_active = 1.0
    inboxes.open(OWNER, KEY, TARGET, 1, letters(M1), 0.0)
    inboxes.open(OTHER_OWNER, KEY, TARGET, 1, letters(M1, M2), 0.0)  # takes the lane over in the first session
    second.last_active = 2.0
    inboxes.open(OWNER, KEY, TARGET, 2, letters(M1), 0.0)
    assert first.lanes[KEY].owner == OTHER_OWNER


def test_a_removed_session_gives_its_lanes_back_and_is_bound_no_more() -> None:
    inboxes, inbox = Inboxes(), fetched()
    inboxes.add(inbox)
    inboxes.open(OWNER, KEY, TARGET, 1, letters(M1), 0.0)
    assert inboxes.remove(inbox) == [Returned(OWNER, KEY, TARGET, 1, [M1])]
    assert inboxes.bound == {} and inboxes.users == {} and inboxes.remove(inbox) == []
