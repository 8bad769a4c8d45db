"""Every step a world of a group may take from a state, each with its label and its place in the fair order.

What lives here: which steps there are, and when; the search's view of a world. What must not: what a step does (postings.py and below),
faults (faults.py), the search (tests/model/search.py).

A label is (rank, text, *arguments), as in tests/model/steps.py: the step of lowest rank below FREE is the fair one, and following the fair
steps from any state must lead to rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.model.groups.faults import Faults
from tests.model.groups.machines import ArrivalsMachine, LaneMachine, RoomMachine, is_waiting, is_wanting
from tests.model.groups.postings import PostingTurn
from tests.model.groups.promises import check_rest
from tests.model.groups.transactions import parts_of
from tests.model.groups.turn import Center
from tests.model.groups.words import Words
from tests.model.groups.world import (
    AGAIN,
    AUTHORS,
    CENTERS,
    LEFT,
    LINKS,
    NOWHERE,
    OPS,
    PLACES,
    SENT,
    STORE,
    TERMINALS,
    UNHEARD,
    UNSENT,
    Left,
    Op,
    Settings,
    State,
    Terminal,
    bit,
    called,
    empty_store,
    named,
    terminal_named,
)
from tests.model.making import FREE, Label, Step

_EVENTS = {"joined": "joins", "left": "leaves", "removed": "is removed"}
SHOWS, CONFIRMS, READS, LEARNS, COMMITS, HEARS, ASKS, RESENDS, POSTS, CONNECTS, TIDIES = 1, 2, 3, 4, 5, 6, 7, 8, 12, 20, 40


class GroupSteps:
    """The steps of one world, as a space to be searched."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.last_label: Label = ()
        self._arrivals = ArrivalsMachine(settings.rules.arrivals)
        self._rooms = RoomMachine(settings.rules.rooms)
        self._lanes = LaneMachine(settings.rules.lane)
        self._faults = Faults(settings, self._make, self._is_known)
        self._names = [terminal_named(settings, rank) for rank in range(len(settings.homes))]

    # ------------------------------------------------------------------ the space

    def first(self) -> State:
        """Everybody who is to be is connected and told, and nothing is on its way."""
        fresh = self._arrivals.fresh(-1, False)
        terminals = tuple(Terminal(user, fresh, -1, 0, NOWHERE, (), (), 0, False) for user, _, _ in self.settings.homes)
        state: State = (
            empty_store(self.settings),
            terminals,
            tuple((UNSENT,) * count for count in self.settings.posts),
            (0,) * len(self.settings.members),
            tuple(Center() for _ in PLACES),
            ((), ()),
            (),
            Left(self.settings.faults, self.settings.expiries, self.settings.sweeps, 0),
        )
        for rank, (_, places, is_connected) in enumerate(self.settings.homes):
            if is_connected:
                turn = self._turn(state)
                turn.connects(rank, places[0])
                state = turn.done()
        while own := [step for step in self._by_themselves(state, is_posting=False) if step[0][0] < POSTS]:
            state = min(own, key=lambda step: step[0][0])[1]
        return state

    def of(self, state: State) -> Iterator[Step]:
        """All steps from a state."""
        is_calm = True
        for step in self._by_themselves(state):
            is_calm = False
            yield step
        if is_calm:
            yield from self._tidies(state)
        yield from self._unasked(state)
        if state[LEFT].faults:
            yield from self._faults.of(state)

    def impatient(self, state: State) -> Iterator[Step]:
        return iter(())

    def canonical(self, state: State) -> State:
        return state

    def are_twins(self, one: State, other: State) -> bool:
        return one == other

    def check_rest(self, state: State) -> None:
        check_rest(state, self.settings)

    # ------------------------------------------------------------------ making one

    def _turn(self, state: State) -> PostingTurn:
        return PostingTurn(state, self.settings, self._arrivals, self._rooms, self._lanes)

    def _may_purge(self, state: State) -> bool:
        op = Op("purge", NOWHERE, NOWHERE, (), 0, ())
        return bool(parts_of(self.settings.rules, "purge")[0](state[STORE], op)[1])

    def _is_known(self, op: Op) -> bool:
        """Whether only its center is still to learn of it."""
        return op.phase == len(parts_of(self.settings.rules, op.kind))

    def _make(self, state: State, label: Label, act: Callable[..., None], *arguments: Any) -> Iterator[Step]:
        self.last_label = label
        turn = self._turn(state)
        act(turn, *arguments)
        after = turn.done()
        if after != state:
            yield label, after

    # ------------------------------------------------------------------ what happens by itself

    def _by_themselves(self, state: State, is_posting: bool = True) -> Iterator[Step]:
        yield from self._terminals(state)
        if is_posting:
            yield from self._authors(state)
        yield from self._centers(state)
        for op in dict.fromkeys(state[OPS]):
            yield from self._make(state, *self._goes_on(op))

    def _terminals(self, state: State) -> Iterator[Step]:
        for rank, terminal in enumerate(state[TERMINALS]):
            name = self._names[rank]
            if terminal.inbox:
                number = terminal.inbox[0][0]
                text = "{} shows {} and keeps its position" if number > 0 else "{} keeps the position that goes with {}"
                if number > 0 and not self.settings.rules.is_position_kept_with_showing:
                    text = "{} shows {}"
                yield from self._make(state, (SHOWS, text, name, abs(number)), PostingTurn.shows, rank)
            if terminal.place < 0:
                for at in self.settings.homes[rank][1]:
                    yield from self._make(state, (CONNECTS, "{} connects to {}", name, called(at)), PostingTurn.connects, rank, at)
                continue
            if terminal.downlink:
                label = (READS, "{} reads {}", name, Words(terminal.downlink[0]))
                yield from self._make(state, label, PostingTurn.reads, rank)
            if terminal.arrivals[3] and "confirm" in self.settings.slow:
                yield from self._make(state, (CONFIRMS, "{} confirms {}", name, terminal.arrivals[3]), PostingTurn.confirms, rank)
            if is_wanting(terminal.arrivals):
                yield from self._make(state, (ASKS, "{} fetches, after a while", name), PostingTurn.fetches_later, rank)
            if terminal.is_asking and not any(op.kind == "describe" and op.who == rank for op in state[OPS]):
                yield from self._make(state, (ASKS, "{} asks again what the group is", name), PostingTurn.asks_again, rank)

    def _authors(self, state: State) -> Iterator[Step]:
        for user, outcomes in enumerate(state[AUTHORS]):
            rank = next((rank for rank, one in enumerate(state[TERMINALS]) if one.user == user), None)
            if rank is None or state[TERMINALS][rank].place < 0:
                continue
            name = self._names[rank]
            if any(outcome >= UNHEARD for outcome in outcomes):
                yield from self._make(state, (HEARS, "{} hears what became of its posts", name), PostingTurn.hears, user)
            if AGAIN in outcomes:
                if SENT not in outcomes and max(outcomes) < UNHEARD:
                    yield from self._make(state, (RESENDS, "{} sends again what was refused", name), PostingTurn.sends_again, rank)
            elif UNSENT in outcomes:
                label = (POSTS, "{} posts p{}", name, outcomes.index(UNSENT) + 1)
                yield from self._make(state, label, PostingTurn.posts, rank)

    def _centers(self, state: State) -> Iterator[Step]:
        for at in PLACES:
            waiting = state[CENTERS][at].waiting
            if waiting and not self._is_busy(state, at):
                names = ", ".join(named(item[1]) for item in waiting)
                yield from self._make(state, (COMMITS, "{} commits {}", called(at), names), PostingTurn.commits, at)
            if is_waiting(state[CENTERS][at].room):
                waits: Label = (ASKS, "{} waits no longer for what is missing", called(at))
                yield from self._make(state, waits, PostingTurn.waits_no_longer, at)
            if state[LINKS][at]:
                label = (HEARS, "{} hears of {}: {}", called(1 - at), called(at), Words(state[LINKS][at][0]))
                yield from self._make(state, label, PostingTurn.delivers, at)

    def _is_busy(self, state: State, at: int) -> bool:
        """One batch at a time (G-11)."""
        return self.settings.rules.is_one_batch_at_a_time and any(op.kind == "post" and op.center == at for op in state[OPS])

    def _goes_on(self, op: Op) -> tuple[Label, Callable[..., None], Op]:
        if self._is_known(op):
            return (LEARNS, "{} learns {}", called(op.center), Words(op, self._names)), PostingTurn.learn, op
        part = f", part {op.phase + 1}" if len(parts_of(self.settings.rules, op.kind)) > 1 else ""
        return (COMMITS, "the store, for {}: {}{}", called(op.center), Words(op, self._names), part), PostingTurn.run, op

    # ------------------------------------------------------------------ what happens when nothing else does, or unasked

    def _tidies(self, state: State) -> Iterator[Step]:
        if self.settings.rules.is_swept:
            for at in PLACES:
                yield from self._make(state, (TIDIES, "{} sweeps", called(at)), PostingTurn.sweeps, at, True)
        if self.settings.rules.is_looked_round:
            for at in PLACES:
                yield from self._make(state, (TIDIES, "{} looks after its members", called(at)), PostingTurn.looks_round, at, True)
        yield from self._make(state, (TIDIES + 1, "the janitor purges"), PostingTurn.run_whole, Op("purge", NOWHERE, NOWHERE, (), 0, ()))

    def _unasked(self, state: State) -> Iterator[Step]:
        left, anytime = state[LEFT], self.settings.anytime
        if left.changed < len(self.settings.changes):
            event, user, at = self.settings.changes[left.changed]
            yield from self._make(state, (FREE, "U{} {}, by way of {}", user + 1, _EVENTS[event], called(at)), _changes, event, user, at)
        for at in PLACES if left.sweeps else ():
            if "sweep" in anytime and self.settings.rules.is_swept:
                yield from self._make(state, (FREE, "{} begins to sweep", called(at)), _sweeps, PostingTurn.sweeps, at)
            if "round" in anytime and self.settings.rules.is_looked_round:
                label = (FREE, "{} begins to look after its members", called(at))
                yield from self._make(state, label, _sweeps, PostingTurn.looks_round, at)
        if "purge" in anytime and sum(op.kind == "purge" for op in state[OPS]) < self.settings.janitors and self._may_purge(state):
            yield from self._make(state, (FREE, "a janitor decides"), PostingTurn.begin, "purge", NOWHERE, NOWHERE)
        if left.expiries and state[STORE].rows:
            yield from self._make(state, (FREE, "{} expires, and is removed", state[STORE].rows[0].number), _expires)


def _changes(turn: PostingTurn, event: str, user: int, at: int) -> None:
    left = turn.parts[LEFT]
    turn.parts[LEFT] = left._replace(changed=left.changed + 1)
    turn.begin("join" if event == "joined" else "leave", at, user, event)


def _sweeps(turn: PostingTurn, sweep: Callable[..., None], at: int) -> None:
    left = turn.parts[LEFT]
    turn.parts[LEFT] = left._replace(sweeps=left.sweeps - 1)
    sweep(turn, at, False)


def _expires(turn: PostingTurn) -> None:
    left = turn.parts[LEFT]
    turn.parts[LEFT] = left._replace(expiries=left.expiries - 1)
    store = turn.store
    turn.parts[STORE] = store._replace(rows=store.rows[1:], expired=store.expired | bit(store.rows[0].number))


