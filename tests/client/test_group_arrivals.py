"""A terminal's numbers, pure: gaps, fetches, positions, standings; and a world of losses that checks all of it at once."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myim_client.group_arrivals import BOUNDS, STALLED_SECONDS, Bounds, GroupArrivals
from tests.client.group_world import ACTIONS, TEAM, World, run, standing


def member(position: int = 0, number: int | None = None, bounds: Bounds = BOUNDS) -> GroupArrivals[int]:
    """A terminal that knows its position and has been told the group's number in this session."""
    arrivals: GroupArrivals[int] = GroupArrivals([(TEAM, position, True)], bounds=bounds)
    arrivals.restart()
    arrivals.told(standing(position if number is None else number, cursor=position))
    assert arrivals.all_told() == []
    return arrivals


def push(arrivals: GroupArrivals[int], *numbers: int) -> list[int]:
    return [item for number in numbers for item in arrivals.arrived(TEAM, number, number, 1, 0.0)]


def done(arrivals: GroupArrivals[int], *numbers: int) -> None:
    arrivals.moved(arrivals.plan([(TEAM, number) for number in numbers]))


def test_numbers_in_their_order_are_handed_out_at_once_and_nothing_is_asked() -> None:
    arrivals = member()
    assert push(arrivals, 1, 2, 3) == [1, 2, 3]
    assert arrivals.fetches(0.0) == []


def test_what_is_beyond_a_gap_is_not_shown_but_fetched() -> None:
    arrivals = member()
    assert push(arrivals, 1, 3, 4) == [1]
    ((group, after, serial),) = arrivals.fetches(0.0)
    assert (group, after) == (TEAM, 1)
    assert push(arrivals, 2, 3, 4) == [2, 3, 4]
    assert arrivals.fetched(TEAM, serial, 4, 4, 0.0) == []
    assert arrivals.fetches(9.0) == []


def test_only_a_fetches_end_passes_over_what_is_gone() -> None:
    arrivals = member(position=2, number=9)
    ((_, after, serial),) = arrivals.fetches(0.0)
    assert after == 2
    assert push(arrivals, 3, 6, 8) == [3]
    assert arrivals.fetched(TEAM, serial, 8, 9, 0.0) == [6, 8]
    assert arrivals.fetches(0.0)[0].after == 8


def test_a_push_that_comes_during_a_fetch_is_handed_out_behind_it() -> None:
    arrivals = member(number=2)
    serial = arrivals.fetches(0.0)[0].serial
    assert push(arrivals, 3, 4, 1, 2) == [1, 2, 3, 4]
    assert arrivals.fetched(TEAM, serial, 2, 2, 0.0) == []
    assert arrivals.fetches(0.0) == []


def test_a_push_beyond_what_a_fetch_read_makes_it_fetch_again() -> None:
    arrivals = member(number=2)
    serial = arrivals.fetches(0.0)[0].serial
    push(arrivals, 1, 2, 5)
    assert arrivals.fetched(TEAM, serial, 2, 2, 0.0) == []
    assert arrivals.fetches(0.0)[0].after == 2


def test_a_number_that_never_was_is_asked_for_once_and_not_for_ever() -> None:
    arrivals = member(number=1)
    push(arrivals, 1, 1_000_000)
    serial = arrivals.fetches(0.0)[0].serial
    assert arrivals.fetched(TEAM, serial, 1, 1, 0.0) == []
    assert arrivals.fetches(1_000.0) == []


def test_the_position_follows_what_is_done_and_not_what_is_handed_out() -> None:
    arrivals = member()
    push(arrivals, 1, 2, 3)
    assert arrivals.confirmations(0.0, is_at_once=True) == []
    done(arrivals, 2)
    assert (arrivals.position(TEAM), arrivals.confirmations(0.0, is_at_once=True)) == (0, [])
    done(arrivals, 1)
    assert (arrivals.position(TEAM), arrivals.confirmations(0.0, is_at_once=True)) == (2, [(TEAM, 2)])


def test_a_plan_changes_nothing_until_it_is_kept() -> None:
    arrivals = member()
    push(arrivals, 1, 2, 3)
    (move,) = arrivals.plan([(TEAM, 1), (TEAM, 3)])
    assert (move.position, move.done, arrivals.position(TEAM)) == (1, (1, 3), 0)
    assert arrivals.plan([(TEAM, 1)])[0].position == 1


def test_the_position_passes_over_what_is_gone_only_after_what_came_with_it_was_shown() -> None:
    arrivals = member(number=9)
    push(arrivals, 4)
    arrivals.fetched(TEAM, arrivals.fetches(0.0)[0].serial, 9, 9, 0.0)
    assert arrivals.position(TEAM) == 9  # nothing was left of it
    arrivals.take_moved()
    push(arrivals, 10)
    arrivals.behind(TEAM, 20)
    serial = arrivals.fetches(0.0)[0].serial
    assert arrivals.fetched(TEAM, serial, 20, 20, 0.0) == []
    assert (arrivals.position(TEAM), arrivals.take_moved()) == (9, {})
    done(arrivals, 10)
    assert arrivals.position(TEAM) == 20


def test_what_was_done_out_of_turn_is_not_handed_out_again_after_a_restart() -> None:
    arrivals: GroupArrivals[int] = GroupArrivals([(TEAM, 1, True)], [(TEAM, 3)])
    assert push(arrivals, 2, 3, 4) == [2, 4]
    done(arrivals, 2)
    assert arrivals.position(TEAM) == 3


def test_a_position_that_moves_by_itself_is_told_to_be_kept() -> None:
    arrivals = member(number=5)
    arrivals.fetched(TEAM, arrivals.fetches(0.0)[0].serial, 5, 5, 0.0)
    assert arrivals.take_moved() == {TEAM: 5}
    assert arrivals.take_moved() == {}


def test_confirmations_are_gathered_and_only_the_latest_of_a_group_goes_out() -> None:
    arrivals = member()
    push(arrivals, 1, 2, 3)
    done(arrivals, 1)
    assert arrivals.confirmations(10.0) == []
    done(arrivals, 2)
    deadline = arrivals.deadline(10.05)
    assert deadline is not None and deadline <= 10.2
    assert arrivals.confirmations(deadline) == [(TEAM, 2)]
    assert arrivals.confirmations(20.0) == []


def test_while_something_waits_for_the_application_the_reader_looks_often() -> None:
    arrivals = member()
    assert arrivals.deadline(5.0) is None
    push(arrivals, 1)
    deadline = arrivals.deadline(5.0)
    assert deadline is not None and deadline <= 5.1


# standings


def test_a_new_terminal_begins_at_the_members_cursor() -> None:
    arrivals: GroupArrivals[int] = GroupArrivals()
    arrivals.told(standing(number=9, cursor=7, joined=3))
    assert (arrivals.position(TEAM), arrivals.take_moved()) == (7, {TEAM: 7})
    assert arrivals.fetches(0.0)[0].after == 7


def test_a_membership_that_begins_during_the_session_is_shown_from_its_beginning() -> None:
    arrivals: GroupArrivals[int] = GroupArrivals()
    arrivals.all_told()
    arrivals.told(standing(number=9, cursor=8, joined=6))
    assert arrivals.fetches(0.0)[0].after == 6


def test_a_group_with_more_than_is_known_is_fetched_and_one_with_less_confirmed_again() -> None:
    arrivals: GroupArrivals[int] = GroupArrivals([(1, 5, True), (2, 5, True), (3, 5, True)])
    arrivals.restart()
    for group, number, cursor in ((1, 8, 5), (2, 5, 3), (3, 5, 5)):
        arrivals.told(standing(number, cursor, group=group))
    arrivals.all_told()
    assert [(fetch.group, fetch.after) for fetch in arrivals.fetches(0.0)] == [(1, 5)]
    assert arrivals.confirmations(0.0, is_at_once=True) == [(2, 5)]


def test_a_new_membership_raises_the_position_and_an_old_one_never_lowers_it() -> None:
    arrivals = member(position=5)
    push(arrivals, 6, 7)
    arrivals.told(standing(number=20, cursor=20, joined=20))
    assert arrivals.position(TEAM) == 20
    done(arrivals, 6, 7)
    arrivals.told(standing(number=20, cursor=3, joined=3))
    assert arrivals.position(TEAM) == 20
    assert push(arrivals, 8, 20, 21) == [21]


def test_of_a_membership_that_began_within_what_is_in_hand_the_rest_still_counts() -> None:
    arrivals = member(position=5)
    push(arrivals, 6, 7, 8)
    arrivals.told(standing(number=8, cursor=6, joined=6))
    assert arrivals.position(TEAM) == 6
    done(arrivals, 7, 8)
    assert arrivals.position(TEAM) == 8


def test_a_group_that_is_not_told_is_left_and_its_position_is_kept() -> None:
    arrivals: GroupArrivals[int] = GroupArrivals([(TEAM, 5, True), (2, 1, False)])
    arrivals.restart()
    assert arrivals.all_told() == [TEAM]
    assert not arrivals.is_member(TEAM)
    assert arrivals.all_told() == []
    arrivals.told(standing(number=8, cursor=8))
    assert arrivals.position(TEAM) == 5


def test_the_session_is_caught_up_once_all_that_was_owed_was_handed_out() -> None:
    arrivals: GroupArrivals[int] = GroupArrivals([(TEAM, 0, True)])
    arrivals.restart()
    arrivals.told(standing(number=3))
    assert not arrivals.is_caught_up
    arrivals.all_told()
    assert not arrivals.is_caught_up
    serial = arrivals.fetches(0.0)[0].serial
    push(arrivals, 1, 2)
    arrivals.fetched(TEAM, serial, 2, 3, 0.0)
    assert not arrivals.is_caught_up
    push(arrivals, 3)
    assert arrivals.is_caught_up


def test_who_has_all_and_is_told_to_be_behind_confirms_again() -> None:
    arrivals = member(position=5)
    arrivals.behind(TEAM, 5)
    assert arrivals.fetches(0.0) == []
    assert arrivals.confirmations(0.0, is_at_once=True) == [(TEAM, 5)]
    arrivals.behind(TEAM, 6)
    assert arrivals.fetches(0.0)[0].after == 5


# fetches


def test_a_new_session_voids_the_fetches_under_way() -> None:
    arrivals = member(number=5)
    serial = arrivals.fetches(0.0)[0].serial
    push(arrivals, 1, 3)
    arrivals.restart()
    assert arrivals.fetches(0.0) == []
    arrivals.told(standing(number=5))
    (again,) = arrivals.fetches(0.0)
    assert (again.after, again.serial != serial) == (1, True)
    assert arrivals.fetched(TEAM, serial, 5, 5, 0.0) == []
    assert push(arrivals, 2) == [2]


def test_at_most_four_fetches_are_under_way_and_the_others_follow() -> None:
    arrivals: GroupArrivals[int] = GroupArrivals()
    for group in range(1, 7):
        arrivals.told(standing(number=1, group=group))
    asked = arrivals.fetches(0.0)
    assert [fetch.group for fetch in asked] == [1, 2, 3, 4]
    assert arrivals.fetches(0.0) == []
    arrivals.fetched(2, asked[1].serial, 1, 1, 0.0)
    arrivals.left(3)
    assert [fetch.group for fetch in arrivals.fetches(0.0)] == [5, 6]


def test_a_refused_fetch_is_asked_for_again_later_each_time() -> None:
    arrivals = member(number=5)
    now, waits = 0.0, []
    for _ in range(9):
        (fetch,) = arrivals.fetches(now)
        arrivals.refused(TEAM, fetch.serial, 0, now)
        deadline = arrivals.deadline(now)
        assert deadline is not None and arrivals.fetches(deadline - 0.01) == []
        waits.append(deadline - now)
        now = deadline
    assert waits == sorted(waits) and waits[-1] == 30.0
    arrivals.refused(TEAM, arrivals.fetches(now)[0].serial, 50_000, now)
    assert arrivals.fetches(now + 49.9) == []


def test_a_refused_fetch_is_asked_for_again_though_part_of_what_it_was_for_came_by_itself() -> None:
    arrivals = member()
    assert push(arrivals, 2) == []
    (fetch,) = arrivals.fetches(0.0)
    arrivals.refused(TEAM, fetch.serial, 0, 0.0)
    assert push(arrivals, 1) == [1]
    (again,) = arrivals.fetches(9.0)
    assert again.after == 1


def test_a_fetch_that_brings_nothing_on_is_not_asked_again_at_once() -> None:
    arrivals = member(number=5)
    arrivals.fetched(TEAM, arrivals.fetches(0.0)[0].serial, 0, 5, 0.0)
    assert arrivals.fetches(0.0) == []
    assert len(arrivals.fetches(1.0)) == 1


def test_a_fetch_of_which_nothing_comes_is_stalled() -> None:
    arrivals = member(number=5)
    arrivals.fetches(0.0)
    assert not arrivals.is_stalled(STALLED_SECONDS - 1)
    arrivals.arrived(TEAM, 1, 1, 1, 15.0)
    assert not arrivals.is_stalled(15.0 + STALLED_SECONDS - 1)
    assert arrivals.is_stalled(15.0 + STALLED_SECONDS)
    assert arrivals.deadline(15.0) is not None


def test_an_application_that_takes_nothing_is_given_no_more_and_fetches_it_later() -> None:
    arrivals = member(bounds=BOUNDS._replace(waiting=3))
    assert push(arrivals, 1, 2, 3, 4, 5) == [1, 2, 3]
    assert arrivals.fetches(0.0) == []
    done(arrivals, 1)
    assert arrivals.fetches(0.0)[0].after == 3


def test_where_a_fetch_brings_more_than_is_kept_its_end_does_not_pass_over_the_rest() -> None:
    arrivals = member(number=9, bounds=BOUNDS._replace(early=2))
    serial = arrivals.fetches(0.0)[0].serial
    assert push(arrivals, 2, 4, 6, 8) == []
    assert arrivals.fetched(TEAM, serial, 9, 9, 0.0) == [2, 4]
    (again,) = arrivals.fetches(0.0)
    assert again.after == 5
    push(arrivals, 6, 8)
    assert arrivals.fetched(TEAM, again.serial, 9, 9, 0.0) == [8]


@settings(max_examples=400, deadline=None)
@given(st.integers(), st.lists(st.sampled_from(ACTIONS), max_size=120))
def test_whatever_is_lost_numbers_are_shown_once_in_order_and_none_is_passed_over_but_what_is_gone(seed: int, actions: list[str]) -> None:
    run(World(random.Random(seed)), actions)


class ShowsWhatIsBeyondAGap(GroupArrivals[int]):
    def arrived(self, name: int, number: int, item: int, size: int, now: float) -> list[int]:
        group = self._groups[name]
        if number > group.reached:
            group.reached = number - 1
        return super().arrived(name, number, item, size, now)


class ForgetsWhatFoundNoRoom(GroupArrivals[int]):
    def fetched(self, name: int, serial: int, up_to: int, number: int, now: float) -> list[int]:
        self._groups[name].lost_from = None
        return super().fetched(name, serial, up_to, number, now)


class ConfirmsWhatIsHandedOut(GroupArrivals[int]):
    def arrived(self, name: int, number: int, item: int, size: int, now: float) -> list[int]:
        handed = super().arrived(name, number, item, size, now)
        self._confirm[name] = self._groups[name].reached
        return handed


class TakesAnyEndForItsOwn(GroupArrivals[int]):
    def fetched(self, name: int, serial: int, up_to: int, number: int, now: float) -> list[int]:
        return super().fetched(name, self._groups[name].fetch, up_to, number, now)

    def restart(self) -> None:
        fetches = {name: group.fetch for name, group in self._groups.items()}
        super().restart()
        for name, fetch in fetches.items():
            self._groups[name].fetch = fetch


class ForgetsWhatWasDoneOutOfTurn(GroupArrivals[int]):
    def __init__(self, positions: Iterable[tuple[int, int, bool]], beyond: Iterable[tuple[int, int]], bounds: Bounds) -> None:
        super().__init__(positions, (), bounds)


MUTANTS = [ShowsWhatIsBeyondAGap, ForgetsWhatFoundNoRoom, ConfirmsWhatIsHandedOut, TakesAnyEndForItsOwn, ForgetsWhatWasDoneOutOfTurn]


@pytest.mark.parametrize("kind", MUTANTS)
def test_a_terminal_that_leaves_out_a_rule_would_be_found(kind: type[GroupArrivals[int]]) -> None:
    with pytest.raises(AssertionError):
        for seed in range(500):
            chance = random.Random(seed)
            run(World(chance, kind), chance.choices(ACTIONS, k=120))
