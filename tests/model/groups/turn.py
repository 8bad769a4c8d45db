"""One step in the making: the parts of a state, and operations of the store that begin, happen, and become known.

What lives here: the accessors, and the order in which one step's doings are done. What must not: what follows when something is known
(terminals.py, halls.py for rooms, postings.py for posts), which steps there are (steps.py).

What is not slow in a world is done in the step that asks for it, in the order in which it is asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.model.groups.promises import check_books, check_commit, check_confirmed, check_removed
from tests.model.groups.transactions import parts_of
from tests.model.groups.world import CENTERS, NOWHERE, OPS, SHOWN, STORE, TERMINALS, Frozen, Op, Settings, State, Store, Terminal

Item = tuple[int, int, int, int]  # (user, post, attempt, lane)
UNANSWERED = frozenset({"claim", "purge"})  # nobody waits for what these give


class Lane(NamedTuple):
    """A lane at a center: its name there, the terminal whose it is, and whether that session still is."""

    name: int
    terminal: int
    is_current: bool
    frozen: Frozen


class Center(NamedTuple):
    """What a center remembers. waiting: posts that wait for the store; untold: terminals whose standings could not be read."""

    room: Frozen = None
    lanes: tuple[Lane, ...] = ()
    waiting: tuple[Item, ...] = ()
    untold: tuple[int, ...] = ()


class Turn:
    """One step on the way from a state to the next."""

    def __init__(self, state: State, settings: Settings) -> None:
        self.before = state
        self.parts = list(state)
        self.settings = settings
        self.rules = settings.rules
        self._todo: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    # ------------------------------------------------------------------ the parts

    @property
    def store(self) -> Store:
        store: Store = self.parts[STORE]
        return store

    def terminal(self, rank: int) -> Terminal:
        terminal: Terminal = self.parts[TERMINALS][rank]
        return terminal

    def set_terminal(self, rank: int, terminal: Terminal) -> None:
        terminals = self.parts[TERMINALS]
        self.parts[TERMINALS] = (*terminals[:rank], terminal, *terminals[rank + 1 :])

    def center(self, at: int) -> Center:
        center: Center = self.parts[CENTERS][at]
        return center

    def set_center(self, at: int, **values: Any) -> None:
        centers = self.parts[CENTERS]
        self.parts[CENTERS] = (*centers[:at], centers[at]._replace(**values), *centers[at + 1 :])

    def sessions(self, at: int, user: int | None = None) -> tuple[tuple[int, int], ...]:
        """(user, terminal) of the sessions at a center."""
        found = ((one.user, rank) for rank, one in enumerate(self.parts[TERMINALS]) if one.place == at)
        return tuple(one for one in found if user is None or one[0] == user)

    def later(self, act: Callable[..., None], *arguments: Any) -> None:
        """Do it in this step, behind what was asked before."""
        self._todo.append((act, arguments))

    def done(self) -> State:
        """The new state, when all is done that this step does."""
        while self._todo:
            act, arguments = self._todo.popleft()
            act(*arguments)
        self.tidy()
        if self.store is not self.before[STORE] or self.parts[SHOWN] is not self.before[SHOWN]:
            check_confirmed(self.store, self.parts[SHOWN])
        return tuple(self.parts)

    def tidy(self) -> None:
        """Names that mean nothing are made the same in all states."""

    # ------------------------------------------------------------------ the store

    def begin(self, kind: str, center: int, who: int, *args: Any) -> None:
        """An operation of the store is asked for."""
        op = Op(kind, center, who, args, 0, ())
        if kind in self.settings.lazy:
            self.add(op)
        elif kind in self.settings.slow:
            self.run(op, is_new=True)
        else:
            self.later(self.run_whole, op)

    def run_whole(self, op: Op) -> None:
        """All of an operation happens, and its center learns of it."""
        for part in parts_of(self.rules, op.kind):
            op = self._after(op, part)
        self.learn(op, is_new=True)

    def run(self, op: Op, is_new: bool = False) -> None:
        """One part of an operation happens."""
        if not is_new:
            self.drop(op)
        parts = parts_of(self.rules, op.kind)
        after = self._after(op, parts[op.phase])
        if after.phase < len(parts) or (after.center >= 0 and op.kind not in UNANSWERED):
            self.add(after)

    def _after(self, op: Op, part: Callable[..., Any]) -> Op:
        before = self.store
        self.parts[STORE], local = part(before, op)
        if self.store is not before:
            self._check(before, self.store)
        return op._replace(phase=op.phase + 1, local=local)

    def _check(self, before: Store, after: Store) -> None:
        check_removed(before, after, self.parts[SHOWN])
        check_commit(before, after)
        if self.settings.is_audited:
            check_books(after)

    def add(self, op: Op) -> None:
        self.parts[OPS] = tuple(sorted((*self.parts[OPS], op)))

    def drop(self, op: Op) -> None:
        rest = list(self.parts[OPS])
        rest.remove(op)
        self.parts[OPS] = tuple(rest)

    def orphan(self, op: Op) -> None:
        """Nobody waits for it any more, and it may still happen."""
        self.drop(op)
        self.add(op._replace(center=NOWHERE))

    def learn(self, op: Op, is_new: bool = False) -> None:
        """A center is given what the store said."""
        if not is_new:
            self.drop(op)
        if op.center >= 0 and op.kind not in UNANSWERED:
            getattr(self, "_learn_" + op.kind)(op)

    def fail(self, op: Op) -> None:
        """A center is told that the store could not; whether it did all the same is not said."""
        self.drop(op)
        getattr(self, "_fail_" + op.kind)(op)
