"""What may go wrong: connections, links, centers, patience, the store. Each step of this file costs a fault.

What lives here: the faults of a world and when they can make a difference. What must not: what happens by itself (steps.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.model.machines import ANCIENT, LOST, OLD
from tests.model.making import FAULT, Label, Step, StepMaker
from tests.model.symmetry import is_untouched
from tests.model.turn import Turn
from tests.model.world import CENTERS, CONFIRM, INBOX, INSERT, LANE, LINK, OPS, READ, S, Settings, State, T, called

_OPEN, _ENDING = 2, 3
_MARK = (LOST, 0, ())


class Faults:
    """The faults of one world."""

    def __init__(self, settings: Settings, maker: StepMaker) -> None:
        self._kinds = settings.kinds
        self._is_late_on_links = settings.late_on_links
        self._make = maker.make

    def of(self, state: State) -> Iterator[Step]:
        """Every fault that may happen in a state and can make a difference."""
        yield from self._of_terminals(state)
        yield from self._of_centers(state)
        for center, label, event in time_outs(state):
            if ("owner" if event == "lane" else "target") + " waits too long" in self._kinds:
                yield from self._make(state, label, time_out, center, event)
        if "owner gives up" in self._kinds:
            yield from self._give_ups(state)
        for operation in state[OPS]:
            if operation[1] >= 0:
                yield from self._of_store(state, operation)

    def _give_ups(self, state: State) -> Iterator[Step]:
        for center in CENTERS:
            lane = state[LANE + center]
            if lane is not None and lane[3]:
                yield from self._make(state, (FAULT, "{} has owned something for too long", called(center)), _gives_up, center)

    def _of_terminals(self, state: State) -> Iterator[Step]:
        if "sender breaks" in self._kinds and state[S][2] >= 0:
            yield from self._make(state, (FAULT, "the connection of S breaks"), _sender_breaks)
        for terminal, (_, place, _, _) in enumerate(state[T]):
            if "target breaks" in self._kinds and place >= 0:
                yield from self._make(state, (FAULT, "the connection of T{} breaks", terminal), _target_breaks, terminal)

    def _of_centers(self, state: State) -> Iterator[Step]:
        for center in CENTERS:
            if "crash" in self._kinds and not is_untouched(state, center):
                yield from self._make(state, (FAULT, "{} crashes", called(center)), _crashes, center)
            for other in range(center) if "cut" in self._kinds else ():
                yield from self._cuts(state, center, other)

    def _cuts(self, state: State, one: int, other: int) -> Iterator[Step]:
        there, back = state[LINK + 3 * one + other], state[LINK + 3 * other + one]
        if _MARK in there or _MARK in back or not (there or back or _is_relied_on(state, one, other) or _is_relied_on(state, other, one)):
            return
        names = (called(one), called(other))
        yield from self._make(state, (FAULT, "the link {}-{} is cut", *names), _cut, one, other, False, False)
        if self._is_late_on_links and there:
            yield from self._make(state, (FAULT, "the link {}-{} is cut; what {0} sent still comes", *names), _cut, one, other, False, True)
        if self._is_late_on_links and back:
            yield from self._make(state, (FAULT, "the link {}-{} is cut; what {1} sent still comes", *names), _cut, one, other, True, False)

    def _of_store(self, state: State, one: Any) -> Iterator[Step]:
        kind, center = one[0], called(one[1])
        if kind == READ:
            if "read fails" in self._kinds and one[3] == 0:
                yield from self._make(state, (FAULT, "reading for T{} at {} fails", one[2], center), _read_fails, one)
            return
        when = "after" if one[4] else "before"
        if kind == INSERT and "insert fails" in self._kinds:
            yield from self._make(state, (FAULT, "storing {} for {} fails {} its commit", one[3], center, when), _insert_fails, one)
        elif kind == CONFIRM and "confirm fails" in self._kinds:
            yield from self._make(state, (FAULT, "deleting {} for {} fails {} its commit", one[3], center, when), _confirm_fails, one)


def time_outs(state: State) -> Iterator[tuple[int, Label, str]]:
    """Where patience may end: center, label, and "lane" or "inbox"."""
    for center in CENTERS:
        lane = state[LANE + center]
        if lane is not None and lane[3] and lane[0] in (_OPEN, _ENDING):
            yield center, (FAULT, "{} has waited too long for {}", called(center), called(lane[2])), "lane"
        if any(inbox[3] is not None and (inbox[3][3] is not None or inbox[3][4]) for inbox in state[INBOX + center]):
            yield center, (FAULT, "a lane has waited too long at {}", called(center)), "inbox"


def time_out(turn: Turn, center: int, event: str) -> None:
    """One center's patience ends on one side."""
    act: Callable[..., None] = turn.lane if event == "lane" else turn.inbox
    act(center, "tick", age=OLD)


def _gives_up(turn: Turn, center: int) -> None:
    turn.lane(center, "tick", age=ANCIENT)


def _is_relied_on(state: State, owner: int, at: int) -> bool:
    """A link that carries nothing and that nobody relies on may be cut without any difference."""
    lane = state[LANE + owner]
    return (lane is not None and lane[2] == at) or any(inbox[3] is not None and inbox[3][0] == owner for inbox in state[INBOX + at])


def _sender_breaks(turn: Turn) -> None:
    sent, outcomes, _, _, _ = turn.parts[S]
    turn.parts[S] = (sent, outcomes, -1, (), 0)


def _target_breaks(turn: Turn, terminal: int) -> None:
    turn.set_target(terminal, (turn.parts[T][terminal][0], -1, (), ()))


def _crashes(turn: Turn, center: int) -> None:
    turn.crash(center)


def _cut(turn: Turn, one: int, other: int, is_kept_to_one: bool, is_kept_to_other: bool) -> None:
    turn.cut(one, other, is_kept_to_one, is_kept_to_other)


def _insert_fails(turn: Turn, one: Any) -> None:
    turn.end(one, None if one[4] else (INSERT, -1, 0, one[3], 0))
    turn.lane(one[1], "store_failed", one[2])


def _read_fails(turn: Turn, one: Any) -> None:
    turn.end(one)
    turn.inbox(one[1], "read_failed", one[2])


def _confirm_fails(turn: Turn, one: Any) -> None:
    turn.end(one, None if one[4] else (CONFIRM, -1, 0, one[3], 0))
    turn.inbox(one[1], "confirm_failed", one[2], one[3])
