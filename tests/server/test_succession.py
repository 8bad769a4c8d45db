"""Pushes of several centers reach a room in the order of their numbers, as far as they come soon (docs/groups.md, G-16)."""

from __future__ import annotations

from collections.abc import Callable

from myim_server.chat.rooms import Push, Rooms
from myim_server.chat.succession import HELD_SECONDS, Succession
from myim_server.store.group_values import Standing

GROUP, OTHER, ALICE = 7, 8, 1


class Stage:
    """A room with one member, and a clock that strikes when the test says so."""

    def __init__(self) -> None:
        self.given: list[bytes] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.rooms = Rooms(lambda user: [self.given.append], lambda group, users, done: None)
        self.succession = Succession(self.rooms, lambda seconds, call: self.timers.append((seconds, call)))
        self.come()

    def come(self) -> None:
        self.rooms.register(ALICE, [Standing(group, 1, 0, 0, 0) for group in (GROUP, OTHER)])

    def push(self, *numbers: int, group: int = GROUP) -> None:
        self.succession.push(Push(group, 1, [(number, b"%d " % number) for number in numbers]))

    def strike(self) -> None:
        timers, self.timers = self.timers, []
        for seconds, call in timers:
            assert seconds == HELD_SECONDS
            call()

    @property
    def seen(self) -> str:
        return b"".join(self.given).decode().strip()


def test_what_comes_in_order_is_given_at_once() -> None:
    stage = Stage()
    for numbers in ((41,), (42, 43), (44,)):
        stage.push(*numbers)
    assert (stage.seen, stage.timers) == ("41 42 43 44", [])


def test_what_comes_too_early_waits_for_what_is_below_it() -> None:
    stage = Stage()
    stage.push(1)
    stage.push(6)
    stage.push(4, 5)
    stage.push(3)
    assert stage.seen == "1"
    stage.push(2)
    assert stage.seen == "1 2 3 4 5 6"
    stage.strike()
    stage.push(7)
    assert stage.seen == "1 2 3 4 5 6 7"


def test_what_does_not_come_in_time_is_not_waited_for_and_given_when_it_comes() -> None:
    stage = Stage()
    stage.push(1)
    stage.push(3)
    stage.push(5)
    stage.strike()
    assert stage.seen == "1 3 5"
    stage.push(6)
    stage.push(2)
    stage.push(4)
    assert (stage.seen, stage.timers) == ("1 3 5 6 2 4", [])


def test_a_timer_of_a_gap_that_was_filled_does_not_end_the_wait_for_the_next() -> None:
    stage = Stage()
    stage.push(1)
    stage.push(3)
    (_, late), = stage.timers
    stage.push(2)
    stage.push(5)
    late()
    assert stage.seen == "1 2 3"
    stage.strike()
    assert stage.seen == "1 2 3 5"


def test_groups_do_not_wait_for_each_other_and_what_has_no_number_for_nothing() -> None:
    stage = Stage()
    stage.push(1)
    stage.push(3)
    stage.push(9, group=OTHER)
    stage.push(0)
    assert stage.seen == "1 9 0"


def test_more_than_a_moments_worth_is_not_kept() -> None:
    stage = Stage()
    stage.push(1)
    for number in range(3, 3 + 65):
        stage.push(number)
    assert stage.seen.split() == ["1", *map(str, range(3, 3 + 65))]
    stage.push(3 + 66)
    assert stage.seen.endswith("67")


def test_a_group_whose_last_member_left_begins_anew() -> None:
    stage = Stage()
    stage.push(1)
    stage.push(3)
    stage.rooms.left(ALICE)
    stage.push(4)
    stage.come()
    stage.push(50)
    stage.strike()
    stage.push(51)
    assert stage.seen == "1 50 51"
