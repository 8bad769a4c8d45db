"""What may go wrong in a world of a group, each time at the cost of one fault: connections, processes, centers, links, the store, claims.

What lives here: the faults and when they can make a difference. What must not: what happens by itself (steps.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.model.groups.machines import position_of
from tests.model.groups.postings import PostingTurn
from tests.model.groups.words import Words
from tests.model.groups.world import (
    AGAIN,
    CENTERS,
    LEFT,
    LINKS,
    NOWHERE,
    OPS,
    PLACES,
    STORE,
    TERMINALS,
    Op,
    Settings,
    State,
    called,
    named,
    terminal_named,
)
from tests.model.making import FAULT, Step

ANSWERED = ("post", "fetch", "standing", "describe", "members")


class Faults:
    """The faults of one world. Kinds: "break", "restart", "new file" (of a terminal), "crash" (of a center), "lost push", "lost news" (of a
    change), "store" (it fails), "late" (a post), "cut short" (between two transactions), "claim again", "claim early", "killed janitor"."""

    def __init__(self, settings: Settings, make: Callable[..., Iterator[Step]], is_known: Callable[[Op], bool]) -> None:
        self._is_known = is_known
        self._settings = settings
        self._kinds = settings.kinds
        self._make = make

    def of(self, state: State) -> Iterator[Step]:
        """Every fault that may happen in a state and can make a difference."""
        yield from self._of_terminals(state)
        yield from self._of_centers(state)
        yield from self._of_store(state)
        yield from self._of_claims(state)

    def _fault(self, state: State, label: tuple[Any, ...], act: Callable[..., None], *arguments: Any) -> Iterator[Step]:
        yield from self._make(state, (FAULT, *label), _costs_one, act, arguments)

    def _of_terminals(self, state: State) -> Iterator[Step]:
        for rank, terminal in enumerate(state[TERMINALS]):
            name = terminal_named(self._settings, rank)
            if "break" in self._kinds and terminal.place >= 0:
                yield from self._fault(state, ("the connection of {} breaks", name), PostingTurn.breaks, rank)
            if "restart" in self._kinds:
                yield from self._fault(state, ("{} crashes, and starts again", name), _restarts, rank)
            if "new file" in self._kinds:
                yield from self._fault(state, ("{} crashes, and starts with an empty file", name), _starts_anew, rank)

    def _of_centers(self, state: State) -> Iterator[Step]:
        for at in PLACES:
            if "crash" in self._kinds:
                yield from self._fault(state, ("{} crashes", called(at)), PostingTurn.crashes, at, False)
                label = ("{} crashes; what it asked of the store still happens", called(at))
                yield from self._fault(state, label, PostingTurn.crashes, at, True)
            if state[LINKS][at] and ("lost push" if state[LINKS][at][0][0] == "posted" else "lost news") in self._kinds:
                yield from self._fault(state, ("what {} sent is lost: {}", called(at), Words(state[LINKS][at][0])), _loses, at)

    def _of_store(self, state: State) -> Iterator[Step]:
        for op in dict.fromkeys(state[OPS]):
            if "store" in self._kinds and op.kind in ANSWERED and op.center >= 0:
                yield from self._fault(state, ("the store fails {} at {}", op.kind, called(op.center)), PostingTurn.fail, op)
            if "killed janitor" in self._kinds and op.kind == "purge":
                yield from self._fault(state, ("a janitor is killed",), PostingTurn.drop, op)
            if "cut short" in self._kinds and op.phase and op.kind in ("claim", "leave") and not self._is_known(op):
                label = ("what {} asked of the store is cut short: {}", called(op.center), op.kind)
                yield from self._fault(state, label, PostingTurn.drop, op)
        for at in PLACES:
            waiting = state[CENTERS][at].waiting
            if waiting and ("store" in self._kinds or "late" in self._kinds):
                names = ", ".join(named(item[1]) for item in waiting)
                for most in range(1, len(waiting) + 1) if "store" in self._kinds else ():
                    names = ", ".join(named(item[1]) for item in waiting[:most])
                    yield from self._fault(state, ("the store fails {} for {}", names, called(at)), _fails_before, at, False, most)
                label = ("{} for {} takes too long; it still happens", names, called(at))
                yield from self._fault(state, label, _fails_before, at, True, 9)

    def _of_claims(self, state: State) -> Iterator[Step]:
        number = state[STORE].number
        for rank, terminal in enumerate(state[TERMINALS]):
            user = terminal.user
            if "claim again" in self._kinds:
                for again in range(1, position_of(terminal.arrivals) + 1):
                    label = ("a confirmation of {} up to {} comes again", terminal_named(self._settings, rank), again)
                    yield from self._fault(state, label, PostingTurn.claim, NOWHERE, user, again)
            if "claim early" in self._kinds:
                claim = Op("claim", NOWHERE, user, (number + 1,), 0, ())
                label = ("{} confirms {}, which is not posted", terminal_named(self._settings, rank), number + 1)
                yield from self._fault(state, label, PostingTurn.run_whole, claim)


def _costs_one(turn: PostingTurn, act: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    left = turn.parts[LEFT]
    turn.parts[LEFT] = left._replace(faults=left.faults - 1)
    act(turn, *arguments)


def _restarts(turn: PostingTurn, rank: int) -> None:
    terminal = turn.terminal(rank)
    if terminal.place >= 0:
        turn.breaks(rank)
    turn.forgets(rank, terminal.kept, terminal.last)


def _starts_anew(turn: PostingTurn, rank: int) -> None:
    """What the user had confirmed before is not to be shown again by the new one."""
    terminal = turn.terminal(rank)
    if terminal.place >= 0:
        turn.breaks(rank)
    member = turn.store.members[terminal.user]
    turn.forgets(rank, -1, turn.store.number if member is None else member.cursor)


def _loses(turn: PostingTurn, source: int) -> None:
    links = list(turn.parts[LINKS])
    links[source] = links[source][1:]
    turn.parts[LINKS] = tuple(links)


def _fails_before(turn: PostingTurn, at: int, is_late: bool, most: int) -> None:
    """The store does not take what waits, or takes it after the senders were told that it did not (and then the center gives it out)."""
    items = turn.take_waiting(at, most)
    for item in items:
        turn.refuse(at, item, AGAIN)
    if is_late and items:
        turn.add(Op("post", at, NOWHERE, items, 0, ()))
