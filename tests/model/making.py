"""Makes one step: runs what happens in a turn of its own, and gives its label with the state after it.

What lives here: the twin step where a message's age makes a difference, the price of a fault, the machines and their memo. What must not:
which steps there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.model.machines import OLD, YOUNG, InboxMachine, LaneMachine
from tests.model.turn import Turn
from tests.model.world import FAULTS, Settings, State

FAULT = 100  # ranks from here on are faults, and cost one
FREE = 50  # ranks from here on are not fair: unasked, but no fault

Label = tuple[Any, ...]
Step = tuple[Label, State]


class StepMaker:
    """Makes steps of one world. A Violation may be raised while a step is made; last_label names that step."""

    def __init__(self, settings: Settings) -> None:
        self.last_label: Label = ()
        self._settings = settings
        self._lanes = LaneMachine(settings.rules.lane)
        self._inboxes = InboxMachine(settings.window, settings.rules.inbox, settings.rules.inboxes)

    def make(self, state: State, label: Label, act: Callable[..., None], *arguments: Any, is_free: bool = False) -> Iterator[Step]:
        """The step; and its twin where it matters whether what waits is old (then it is stored) or young (then a center is tried again)."""
        self.last_label = label
        rank = label[0]
        old, is_age_asked = self._turn(state, OLD, rank >= FAULT and not is_free, act, arguments)
        if old != state:
            yield label, old
        if is_age_asked:
            young, _ = self._turn(state, YOUNG, rank >= FAULT and not is_free, act, arguments)
            if young != old:
                yield (rank + FREE if rank < FREE else rank, label[1] + "; what waited is young, and is tried again", *label[2:]), young

    def _turn(self, state: State, age: float, is_fault: bool, act: Callable[..., None], arguments: tuple[Any, ...]) -> tuple[State, bool]:
        turn = Turn(state, age, self._settings, self._lanes, self._inboxes)
        if is_fault:
            turn.parts[FAULTS] -= 1
        act(turn, *arguments)
        return turn.done(), turn.is_age_asked
