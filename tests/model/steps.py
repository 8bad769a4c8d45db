"""Every step a world may take from a state, each with its label and with its place in the fair order.

What lives here: which steps there are, and when. What must not: what a step does inside the centers (turn.py), the search (search.py).

A label is (rank, text, *arguments). Ranks below FAULT are things that happen by themselves; the step of lowest rank is the fair one, and
following the fair steps from any state must lead to rest (search.py). A fault costs one of the state's faults.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.model.faults import Faults, time_out, time_outs
from tests.model.machines import FOREIGN, YOUNG
from tests.model.making import FAULT, FREE, Label, Step, StepMaker
from tests.model.symmetry import distinct
from tests.model.turn import Turn
from tests.model.world import (
    CENTERS,
    CONFIRM,
    FAULTS,
    INBOX,
    INSERT,
    LANE,
    LINK,
    LISTING,
    OPS,
    READ,
    ROWS,
    STRANGER,
    UNREAD,
    S,
    Settings,
    State,
    T,
    called,
    insert_into,
    page_of,
    show,
    unsettled,
)

_LOOKING = 1


class Steps:
    """The steps of one world."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rules = settings.rules
        self._maker = StepMaker(settings)
        self._make = self._maker.make
        self._faults = Faults(settings, self._maker)

    @property
    def last_label(self) -> Label:
        """The step that was made last, or in which a Violation was raised."""
        return self._maker.last_label

    def of(self, state: State) -> Iterator[Step]:
        """All steps from a state. A Violation may be raised while a step is made; last_label names that step."""
        if not state[FAULTS] and any(target[2] for target in state[T]):
            # What is on its way to the target now arrives for certain, and nothing else depends on when: one order stands for all.
            yield from self._target(state, is_showing_alone=True)
            return
        yield from self._sender(state)
        yield from self._target(state)
        yield from self._centers(state)
        yield from self._links(state)
        yield from self._store(state)
        if state[FAULTS]:
            yield from self._faults.of(state)

    def impatient(self, state: State) -> Iterator[Step]:
        """Time-outs that no fault has to pay for: what rest is reached by where nothing else would happen."""
        for center, label, event in time_outs(state):
            if event in self.settings.patience:
                yield from self._make(state, label, time_out, center, event, is_free=True)

    # ------------------------------------------------------------------ the sender

    def _sender(self, state: State) -> Iterator[Step]:
        sent, _, place, replies, resend = state[S]
        if place < 0:
            for center in distinct(state):
                yield from self._make(state, (11, "S connects to {}", called(center)), self._sender_connects, center)
            return
        if replies:
            yield from self._make(state, (6, "S reads {}", replies[0]), self._sender_reads)
        elif resend:
            yield from self._make(state, (8, "S sends again, from m{} on", resend), self._sender_retries)
        if sent < self.settings.messages and not resend:
            yield from self._make(state, (12, "S sends m{}", sent + 1), self._sender_sends)

    def _sender_connects(self, turn: Turn, center: int) -> None:
        sent, outcomes, _, _, _ = turn.parts[S]
        turn.parts[S] = (sent, outcomes, center, (), 0)
        again = tuple(unsettled(turn.parts[S], 1, self.rules)) if self.rules.is_resent else ()
        turn.parts[UNREAD + center] = again
        turn.lane(center, "sender_moved")

    def _sender_reads(self, turn: Turn) -> None:
        sent, outcomes, place, replies, resend = turn.parts[S]
        (kind, value, names), *rest = replies
        if kind == "settle":
            outcomes = tuple(value if name in names and not known else known for name, known in enumerate(outcomes, 1))
        else:
            refused = [name for name in names if not outcomes[name - 1]]
            resend = min([*refused, resend or min(refused)]) if refused else resend
        turn.parts[S] = (sent, outcomes, place, tuple(rest), resend)

    def _sender_retries(self, turn: Turn) -> None:
        sent, outcomes, place, replies, resend = turn.parts[S]
        turn.parts[UNREAD + place] += tuple(unsettled(turn.parts[S], resend, self.rules))
        turn.parts[S] = (sent, outcomes, place, replies, 0)

    def _sender_sends(self, turn: Turn) -> None:
        sent, outcomes, place, replies, resend = turn.parts[S]
        is_first = all(outcomes[:sent]) or not self.rules.is_first_exact
        turn.parts[S] = (sent + 1, outcomes, place, replies, resend)
        turn.parts[UNREAD + place] += ((sent + 1, is_first),)

    # ------------------------------------------------------------------ the target

    def _target(self, state: State, is_showing_alone: bool = False) -> Iterator[Step]:
        for terminal, (_, place, incoming, receipts) in enumerate(state[T]):
            if is_showing_alone and not incoming:
                continue
            if place < 0:
                for center in distinct(state):
                    yield from self._make(
                        state, (10, "T{} connects to {} and fetches", terminal, called(center)), self._target_connects, terminal, center
                    )
                continue
            if incoming:
                yield from self._make(state, (2, "T{} shows m{}", terminal, incoming[0]), self._target_shows, terminal)
                if is_showing_alone:
                    return
            if receipts:
                yield from self._make(state, (3, "receipts of T{} come in: {}", terminal, receipts), self._target_confirms, terminal)

    def _target_connects(self, turn: Turn, terminal: int, center: int) -> None:
        turn.orphan(center, terminal)
        turn.set_target(terminal, (turn.parts[T][terminal][0], center, (), ()))
        if not self.rules.is_listed_before_read:
            turn.begin((LISTING, -1, terminal, (), 0))
        turn.inbox(center, "connect", terminal)

    def _listed(self, turn: Turn, one: Any) -> None:
        turn.end(one)

    def _target_shows(self, turn: Turn, terminal: int) -> None:
        shown, place, incoming, receipts = turn.parts[T][terminal]
        target = (shown, place, incoming[1:], receipts)
        turn.set_target(terminal, show(target, turn.parts[T], incoming[0], self.rules.is_seen_remembered))

    def _target_confirms(self, turn: Turn, terminal: int) -> None:
        shown, place, incoming, receipts = turn.parts[T][terminal]
        turn.set_target(terminal, (shown, place, incoming, ()))
        turn.inbox(place, "receipt", terminal, receipts)

    # ------------------------------------------------------------------ the centers

    def _centers(self, state: State) -> Iterator[Step]:
        for center in CENTERS:
            unread, lane = state[UNREAD + center], state[LANE + center]
            if unread:
                yield from self._make(state, (7, "{} takes {}", called(center), unread[:1]), self._takes, center, 1)
                run = next((rank for rank, (_, is_first) in enumerate(unread) if rank and is_first), len(unread))
                if self.settings.batched and run > 1:
                    yield from self._make(state, (57, "{} takes {}", called(center), unread[:run]), self._takes, center, run)
            if unread is not None and state[S][2] != center:
                yield from self._make(state, (1, "{} notices that S is gone", called(center)), self._sender_gone, center, False)
                if lane is not None:
                    yield from self._make(state, (51, "{} hears that S is elsewhere", called(center)), self._sender_gone, center, True)
            if lane is not None and lane[0] == _LOOKING:
                yield from self._finds(state, center)
            for inbox in state[INBOX + center]:
                if state[T][inbox[0]][1] != center and self.settings.is_target_noticed:
                    label = (1, "{} notices that T{} is gone", called(center), inbox[0])
                    yield from self._make(state, label, self._target_gone, center, inbox[0])
            if state[ROWS] and state[INBOX + center] and self.rules.is_swept:
                step = self._make(state, (13 if self._is_calm(state) else 63, "{} sweeps", called(center)), self._sweeps, center)
                if self.settings.sweeps or self._is_calm(state):
                    yield from step

    def _is_calm(self, state: State) -> bool:
        """Nothing is on its way: only then must a sweep help."""
        return not (any(state[LINK : LINK + 9]) or state[OPS] or any(target[2] or target[3] for target in state[T]))

    def _takes(self, turn: Turn, center: int, most: int) -> None:
        unread = turn.parts[UNREAD + center]
        turn.parts[UNREAD + center] = unread[most:]
        fresh = max(turn.attempts_of(center), default=-1) + 1 if turn.parts[LANE + center] is None else 0
        turn.lane(center, "take", fresh, tuple(name for name, _ in unread[:most]), unread[0][1], age=YOUNG)

    def _sender_gone(self, turn: Turn, center: int, is_elsewhere: bool) -> None:
        turn.parts[UNREAD + center] = None
        if is_elsewhere:
            turn.lane(center, "sender_moved")
        turn.lane(center, "forget_idle")

    def _target_gone(self, turn: Turn, center: int, terminal: int) -> None:
        turn.orphan(center, terminal)
        turn.inbox(center, "remove", terminal)

    def _finds(self, state: State, center: int) -> Iterator[Step]:
        listed = [target[1] for rank, target in enumerate(state[T]) if target[1] >= 0 and (LISTING, -1, rank, (), 0) not in state[OPS]]
        right = listed[-1] if listed else None
        yield from self._make(state, (9, "{} looks T up: right, {}", called(center), called(right)), self._found, center, right)
        if self.settings.directory == "any" or (self.settings.directory == "fault" and state[FAULTS]):
            is_fault = self.settings.directory == "fault"
            has_letters = bool(state[LANE + center][3])  # else it only looks up whom to poke, which needs an inbox
            for wrong in [None, *distinct(state)]:
                if wrong != right and (wrong is None or has_letters or state[INBOX + wrong]):
                    label = (FAULT + 1 if is_fault else FREE, "{} looks T up: wrong, {}", called(center), called(wrong))
                    yield from self._make(state, label, self._found, center, wrong)

    def _links(self, state: State) -> Iterator[Step]:
        for source in CENTERS:
            for to in CENTERS:
                if state[LINK + 3 * source + to]:
                    message = state[LINK + 3 * source + to][0]
                    label = (0, "{} hears of {}: {} {} {}", called(to), called(source), *message)
                    yield from self._make(state, label, self._delivers, source, to)

    def _found(self, turn: Turn, center: int, place: int | None) -> None:
        turn.lane(center, "found", place, age=YOUNG)

    def _sweeps(self, turn: Turn, center: int) -> None:
        turn.inbox(center, "sweep")

    def _delivers(self, turn: Turn, source: int, to: int) -> None:
        message, *rest = turn.parts[LINK + 3 * source + to]
        turn.parts[LINK + 3 * source + to] = tuple(rest)
        turn.arrive(source, to, message)

    # ------------------------------------------------------------------ the store

    def _store(self, state: State) -> Iterator[Step]:
        previous = None
        for one in state[OPS]:
            if one == previous:
                continue
            previous = one
            if one[0] == INSERT or one[0] == STRANGER:
                if one[4] == 0:
                    yield from self._make(state, (4, "the store commits {}", one[3]), self._inserts, one, False)
                    if one[0] == STRANGER or not self.rules.is_accepted_rising:
                        yield from self._make(
                            state, (54, "the store commits {} under a lower accepted time", one[3]), self._inserts, one, True
                        )
                else:
                    yield from self._make(state, (5, "{} learns that {} is stored", called(one[1]), one[3]), self._stored, one)
            elif one[0] == READ:
                if one[3] == 0:
                    yield from self._make(state, (4, "the store is read for T{} at {}", one[2], called(one[1])), self._reads, one)
                else:
                    yield from self._make(state, (5, "{} gets rows {} for T{}", called(one[1]), one[4], one[2]), self._read, one)
            elif one[0] == CONFIRM:
                yield from self._confirms(state, one)
            else:
                yield from self._make(state, (4, "the directory lists T{}", one[2]), self._listed, one)

    def _inserts(self, turn: Turn, one: Any, at_front: bool) -> None:
        parts = turn.parts
        remembered = {(name, twin) for center in CENTERS for inbox in parts[INBOX + center] for name, twin, _ in inbox[4]}
        remembered.update(row for op in parts[OPS] if op[0] == READ for row in op[4])
        parts[ROWS] = insert_into(parts[ROWS], one[3], remembered, self.rules, at_front)
        turn.end(one, (*one[:4], 1) if one[1] >= 0 else None)

    def _stored(self, turn: Turn, one: Any) -> None:
        turn.end(one)
        turn.lane(one[1], "stored", one[2], one[3])

    def _reads(self, turn: Turn, one: Any) -> None:
        inbox = next(inbox for inbox in turn.parts[INBOX + one[1]] if inbox[0] == one[2])
        rows, is_more = page_of(turn.parts[ROWS], inbox[4], self.settings.window, self.rules.is_page_after_last)
        turn.end(one, (*one[:3], 1, rows, is_more))

    def _read(self, turn: Turn, one: Any) -> None:
        turn.end(one)
        turn.inbox(one[1], "read_done", one[2], one[4], one[5])

    def _confirms(self, state: State, one: Any) -> Iterator[Step]:
        phase = one[4]
        if phase == 0:
            yield from self._make(state, (4, "the store deletes {}", one[3]), self._deletes, one)
        elif phase == 1 and not self.rules.is_deletion_one_transaction:
            yield from self._make(state, (4, "the store keeps the receipts of {}", one[3]), self._keeps, one)
        else:
            yield from self._make(state, (5, "{} learns that {} is deleted", called(one[1]), one[3]), self._deleted, one)

    def _deletes(self, turn: Turn, one: Any) -> None:
        rows = turn.parts[ROWS]
        turn.parts[ROWS] = tuple(row for row in rows if row[0] not in one[3])
        if self.rules.is_deletion_one_transaction:
            turn.keep_receipts(tuple({name for name, _ in rows if name in one[3] and name != FOREIGN}))
        turn.end(one, (*one[:4], 1) if one[1] >= 0 else None)

    def _keeps(self, turn: Turn, one: Any) -> None:
        turn.keep_receipts(tuple(name for name in one[3] if name != FOREIGN))
        turn.end(one, (*one[:4], 2))

    def _deleted(self, turn: Turn, one: Any) -> None:
        turn.end(one)
        turn.inbox(one[1], "confirmed", one[2], one[3])
