"""The exhaustive search: every state of a world breadth first, every promise in each, and from each the fair way to rest.

What lives here: the search, its result, the trace that is printed. What must not: anything about delivery.

Coming to rest: of every state one step is the fair one (steps.py). Fair steps lead from states of the search to states of the search, so
each state needs only its one arrow looked at: following the arrows must end where the promises of rest hold, and never go round.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from tests.model.making import FREE, Label, Step
from tests.model.steps import Steps
from tests.model.symmetry import are_twins, canonical
from tests.model.world import Settings, State, Violation, check_rest, initial


class Space(Protocol):
    """What is searched. A Violation may be raised while a step is made; last_label names that step."""

    @property
    def last_label(self) -> Label: ...
    def first(self) -> State: ...
    def of(self, state: State) -> Iterator[Step]:
        """All steps from a state."""
        ...

    def impatient(self, state: State) -> Iterator[Step]:
        """Steps that come before rest where nothing else would happen."""
        ...

    def canonical(self, state: State) -> State:
        """The twin that stands for all states that differ only in names."""
        ...

    def are_twins(self, one: State, other: State) -> bool: ...
    def check_rest(self, state: State) -> None:
        """Raise Violation where a promise of rest is broken."""
        ...


class _Delivery(Steps):
    """The steps of point-to-point delivery, as a space."""

    def first(self) -> State:
        return initial(self.settings)

    def canonical(self, state: State) -> State:
        return canonical(state)

    def are_twins(self, one: State, other: State) -> bool:
        return are_twins(one, other)

    def check_rest(self, state: State) -> None:
        check_rest(state, self.settings)


class Found(NamedTuple):
    """What a search saw: violation is None, or the broken promise and then the way to it, line by line."""

    states: int
    depth: int
    seconds: float
    resting: int
    is_complete: bool
    violation: str | None


def explore(settings: Settings, most_states: int | None = None, played: Sequence[str] = ()) -> Found:
    """Search a world of point-to-point delivery."""
    return search(_Delivery(settings), most_states, played)


def search(steps: Space, most_states: int | None = None, played: Sequence[str] = ()) -> Found:
    """Search a whole space, or its first most_states states; played: how the steps begin that lead to where the search begins."""
    begun = time.monotonic()
    first = steps.first()
    for text in played:
        first = next(after for label, after in steps.of(first) if _text(label).startswith(text))
    parents: dict[State, State | None] = {first: None}
    fair: dict[State, State | None] = {}
    layer, depth, is_complete = [first], 0, True
    try:
        while layer:
            depth += 1
            following: list[State] = []
            for state in layer:
                _expand(steps, state, parents, fair, following)
            if most_states is not None and len(parents) >= most_states:
                is_complete = not following
                break
            layer = following
        resting = _all_come_to_rest(steps, fair)
        violation = None
    except _Broken as broken:
        violation, resting = _trace(steps, first, parents, broken), 0
    return Found(len(parents), depth, time.monotonic() - begun, resting, is_complete, violation)


class _Broken(Exception):
    """A promise broken in a step from a state, or at the end of the fair way `after` it."""

    def __init__(self, why: str, state: State, is_in_step: bool, after: list[State]) -> None:
        super().__init__(why)
        self.why, self.state, self.is_in_step, self.after = why, state, is_in_step, after


def _expand(
    steps: Space, state: State, parents: dict[State, State | None], fair: dict[State, State | None], following: list[State]
) -> None:
    best, lowest = None, FREE
    try:
        for label, raw in steps.of(state):
            after = steps.canonical(raw)
            if after not in parents:
                parents[after] = state
                following.append(after)
            if label[0] < lowest:
                best, lowest = after, label[0]
    except Violation as violation:
        raise _Broken(str(violation), state, True, []) from None
    fair[state] = best


def _fair_step(steps: Space, state: State, fair: dict[State, State | None]) -> State | None:
    """The fair successor; where nothing would happen by itself, a time-out comes before rest."""
    if state not in fair:
        own = [step for step in steps.of(state) if step[0][0] < FREE]
        fair[state] = steps.canonical(min(own, key=lambda step: step[0][0])[1]) if own else None
    following = fair[state]
    if following is None:
        following = next((steps.canonical(after) for _, after in steps.impatient(state)), None)
    return following


def _all_come_to_rest(steps: Space, fair: dict[State, State | None]) -> int:
    calm: set[State] = set()
    resting = 0
    for start in list(fair):
        way: list[State] = []
        on_way: set[State] = set()
        state = start
        while state not in calm:
            if state in on_way:
                raise _Broken("goes round for ever, and never comes to rest", start, False, way[1:])
            way.append(state)
            on_way.add(state)
            try:
                following = _fair_step(steps, state, fair)
                if following is None:
                    steps.check_rest(state)
                    resting += 1
                    break
            except Violation as violation:
                raise _Broken(str(violation), start, False, way[1:]) from None
            state = following
        calm.update(on_way)
    return resting


def _trace(steps: Space, first: State, parents: dict[State, State | None], broken: _Broken) -> str:
    """The way from the beginning to the broken promise, one line for each step; centers keep their names on it."""
    way = [broken.state]
    while (before := parents.get(way[0])) is not None:
        way.insert(0, before)
    lines = [broken.why]
    state = first
    for after in way[1:] + broken.after:
        label, state = _step_to(steps, state, after)
        lines.append(f"{len(lines):4} {_text(label)}")
    if broken.is_in_step:
        lines.append(f"{len(lines):4} {_text(_breaking_step(steps, state))}")
    return "\n".join(lines)


def _step_to(steps: Space, state: State, twin: State) -> tuple[Label, State]:
    """The step from a state to one whose canonical twin is given."""
    for maker in (steps.of, steps.impatient):
        try:
            for label, after in maker(state):
                if steps.are_twins(after, twin):
                    return label, after
        except Violation:
            continue
    raise AssertionError("a step of the search cannot be made again")


def _breaking_step(steps: Space, state: State) -> Label:
    for maker in (steps.of, steps.impatient):
        try:
            list(maker(state))
        except Violation:
            return steps.last_label
    raise AssertionError("a broken promise does not break again")


def _text(label: Label) -> str:
    return str(label[1]).format(*label[2:])
