"""One step in the making: a thawed list of a state's parts, in which the machines' actions are carried out as the router does.

What lives here: sending over links, replies, what a loss or a crash does, and the making of a new canonical state. What must not: which
steps there are (steps.py), rules of delivery.

A link that was cut holds the mark LOST in both directions. Until a center has come to its mark it believes in the old link, and what it
sends is lost; what it sends afterwards goes by the new link, and the other comes to its own mark first. Calls from a center to itself are
carried out at once, in their order.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from myim_wire.errors import ErrorCode
from tests.model.machines import ANSWER, END, FOLLOW, LOST, OLD, OPEN, POKE, RECEIVED, RETURNED, YOUNG, InboxMachine, LaneMachine
from tests.model.world import (
    CENTERS,
    CONFIRM,
    INBOX,
    INSERT,
    KEPT,
    LANE,
    LINK,
    OPS,
    READ,
    ROWS,
    UNREAD,
    S,
    Settings,
    State,
    T,
    Violation,
    bit,
    check_always,
    shown_by_anyone,
)

_RETRYABLE = {int(code) for code in (ErrorCode.STORE_UNAVAILABLE, ErrorCode.SLOW_DOWN, ErrorCode.BUSY, ErrorCode.OUT_OF_ORDER)}
_MARK = (LOST, 0, ())
_FROM_OWNER, _TO_OWNER = (OPEN, FOLLOW, END), (RECEIVED, RETURNED)


class Turn:
    """One step on the way from a state to the next."""

    __slots__ = ("parts", "age", "is_age_asked", "_settings", "_lanes", "_inboxes", "_local", "_is_busy")

    def __init__(self, state: State, age: float, settings: Settings, lanes: LaneMachine, inboxes: InboxMachine) -> None:
        self.parts = list(state)
        self.age = age
        self.is_age_asked = False  # whether the other age would have made a difference
        self._settings = settings
        self._lanes = lanes
        self._inboxes = inboxes
        self._local: deque[tuple[int, tuple[Any, ...]]] = deque()
        self._is_busy = False

    # ------------------------------------------------------------------ the two machines

    def lane(self, center: int, event: str, *arguments: Any, age: float | None = None) -> None:
        """Let the lane of a center meet an event, and carry out what it wants."""
        parts = self.parts
        frozen = parts[LANE + center]
        if age is None:
            age = self.age
            other = self._lanes.run(frozen, OLD if age == YOUNG else YOUNG, event, *arguments)
            answer = self._lanes.run(frozen, age, event, *arguments)
            self.is_age_asked = self.is_age_asked or other != answer
        else:
            answer = self._lanes.run(frozen, age, event, *arguments)
        parts[LANE + center], actions = answer
        for action in actions:
            self._do_for_owner(center, action)
        self._drain()

    def inbox(self, center: int, event: str, *arguments: Any, age: float = YOUNG) -> None:
        """Let the inboxes of a center meet an event, and carry out what they want."""
        parts = self.parts
        parts[INBOX + center], actions = self._inboxes.run(parts[INBOX + center], age, event, *arguments)
        for action in actions:
            self._do_for_target(center, action)
        self._drain()

    def _do_for_owner(self, center: int, action: tuple[Any, ...]) -> None:
        kind = action[0]
        if kind in (OPEN, FOLLOW, END, POKE):
            self.send(center, action[1], (kind, action[2], action[3]))
        elif kind == "store":
            self.begin((INSERT, center, action[1], action[2], 0))
        elif kind == "settle":
            self._check_settled(action[1], action[2])
            self.answer(center, action)
        elif kind == "refuse":
            if action[1] not in _RETRYABLE:
                raise Violation(f"an honest sender is refused for good: {ErrorCode(action[1]).name}")
            self.answer(center, action)
        elif kind == "cut_off":
            self.cut_off(center, action[1])

    def _check_settled(self, outcome: int, names: tuple[int, ...]) -> None:
        shown = shown_by_anyone(self.parts[T])
        stored = {name for name, _ in self.parts[ROWS]} if outcome == 2 else set()
        for name in names:
            if not shown & bit(name) and name not in stored:
                raise Violation(f"m{name} is settled as {'stored' if outcome == 2 else 'received'}, but it is not")

    def _do_for_target(self, center: int, action: tuple[Any, ...]) -> None:
        kind = action[0]
        if kind == "hand":
            _, terminal, names = action
            shown, place, incoming, receipts = self.parts[T][terminal]
            if place == center:  # else the session is gone, and only this center does not know
                self.set_target(terminal, (shown, place, incoming + names, receipts))
        elif kind == "read":
            self.begin((READ, center, action[1], 0, (), False))
        elif kind == "confirm":
            self.begin((CONFIRM, center, action[1], action[2], 0))
        else:
            self.send(center, action[1], (kind, action[2], action[3]))

    # ------------------------------------------------------------------ links

    def send(self, source: int, to: int, message: tuple[Any, ...]) -> None:
        if source == to:
            self._local.append((source, message))
        elif _MARK not in self.parts[LINK + 3 * to + source]:
            self.parts[LINK + 3 * source + to] += (message,)

    def _drain(self) -> None:
        if self._is_busy:
            return
        self._is_busy = True
        while self._local:
            center, message = self._local.popleft()
            self.arrive(center, center, message)
        self._is_busy = False

    def arrive(self, source: int, to: int, message: tuple[Any, ...]) -> None:
        """A message of another center, or of its own, comes to a center."""
        kind, attempt, names = message
        if kind in (OPEN, FOLLOW, END):
            self.inbox(to, kind, source, attempt, names)
        elif kind in _TO_OWNER:
            self.lane(to, kind, attempt, names)
        elif kind == POKE:
            self.inbox(to, kind)
        elif kind == LOST:
            self.lose(source, to)
        elif kind == ANSWER and self.parts[S][2] == to:
            self.reply(names)

    def lose(self, source: int, at: int) -> None:
        """A center learns that its link to source is gone."""
        self.inbox(at, "lost", source)
        self.lane(at, "lost", source)

    def cut(self, one: int, other: int, is_kept_to_one: bool, is_kept_to_other: bool) -> None:
        for source, to, is_kept in ((one, other, is_kept_to_other), (other, one, is_kept_to_one)):
            held = self.parts[LINK + 3 * source + to]
            self.parts[LINK + 3 * source + to] = (*held, _MARK) if is_kept else (_MARK,)

    def cut_off(self, center: int, other: int) -> None:
        """The owner itself ends the link: it knows at once, the other learns."""
        if center != other:
            self.cut(center, other, False, self._settings.late_on_links)
            self.parts[LINK + 3 * other + center] = ()
        self.lose(other, center)

    def crash(self, center: int) -> None:
        """All that a center remembers is gone; it starts again, empty."""
        parts = self.parts
        for other in CENTERS:
            if other != center:
                self.cut(center, other, False, False)
                parts[LINK + 3 * other + center] = ()
        parts[LANE + center], parts[INBOX + center], parts[UNREAD + center] = None, (), None
        sent, outcomes, place, _, resend = parts[S]
        if place == center:
            parts[S] = (sent, outcomes, -1, (), resend)
        for terminal, (shown, where, _, _) in enumerate(parts[T]):
            if where == center:
                self.set_target(terminal, (shown, -1, (), ()))
        self.orphan(center, None)

    # ------------------------------------------------------------------ sender, target, store

    def answer(self, center: int, answer: tuple[Any, ...]) -> None:
        """Answers go to the sender's present session, wherever it is [D-2]."""
        place = self.parts[S][2]
        if place == center:
            self.reply(answer)
        elif place >= 0 and self.parts[UNREAD + center] is None and self._settings.rules.is_answer_forwarded:
            self.send(center, place, (ANSWER, 0, answer))

    def reply(self, answer: tuple[Any, ...]) -> None:
        sent, outcomes, place, replies, resend = self.parts[S]
        self.parts[S] = (sent, outcomes, place, (*replies, answer), resend)

    def set_target(self, terminal: int, target: Any) -> None:
        targets = self.parts[T]
        self.parts[T] = (*targets[:terminal], target, *targets[terminal + 1 :])

    def begin(self, operation: tuple[Any, ...]) -> None:
        self.parts[OPS] = tuple(sorted((*self.parts[OPS], operation)))

    def end(self, operation: tuple[Any, ...], successor: tuple[Any, ...] | None = None) -> None:
        rest = list(self.parts[OPS])
        rest.remove(operation)
        if successor is not None:
            rest.append(successor)
        self.parts[OPS] = tuple(sorted(rest))

    def orphan(self, center: int, terminal: int | None) -> None:
        """Nobody waits any more for what a center (or one of its inboxes) asked of the store; writes may still take effect."""
        kept = []
        for operation in self.parts[OPS]:
            if operation[1] != center or (terminal is not None and (operation[0] == INSERT or operation[2] != terminal)):
                kept.append(operation)
            elif operation[0] != READ and operation[-1] == 0:
                kept.append((operation[0], -1, 0, operation[3], 0))
        self.parts[OPS] = tuple(sorted(set(kept)))

    def keep_receipts(self, names: tuple[int, ...]) -> None:
        for name in names:
            self.parts[KEPT] |= bit(name)

    # ------------------------------------------------------------------ the new state

    def done(self) -> State:
        check_always(self.parts)
        for owner in CENTERS:
            self._forget(owner)
            self._renumber(owner)
        return tuple(self.parts)

    def _forget(self, owner: int) -> None:
        """Answers to attempts that were given up change nothing any more (attempts only rise): they need not arrive."""
        parts = self.parts
        lane = parts[LANE + owner]
        if lane is not None and parts[UNREAD + owner] is None and not lane[3] and lane[0] in (0, 2):
            self.lane(owner, "forget_idle")  # a lane without session and without anything to do is dropped at once
            lane = parts[LANE + owner]
        present = -1 if lane is None else lane[1]
        for at in (LINK + owner, LINK + 3 + owner, LINK + 6 + owner):
            if parts[at]:
                parts[at] = tuple(one for one in parts[at] if one[1] == present or (one[0] != RECEIVED and one[0] != RETURNED))

    def attempts_of(self, owner: int) -> set[int]:
        """Every attempt of an owner that anyone still speaks of."""
        parts = self.parts
        found: set[int] = set()
        if parts[LANE + owner] is not None:
            found.add(parts[LANE + owner][1])
        for other in CENTERS:
            for kind, attempt, _ in parts[LINK + 3 * owner + other]:
                if kind in _FROM_OWNER:
                    found.add(attempt)
            for kind, attempt, _ in parts[LINK + 3 * other + owner]:
                if kind in _TO_OWNER:
                    found.add(attempt)
            for inbox in parts[INBOX + other]:
                if inbox[3] is not None and inbox[3][0] == owner:
                    found.add(inbox[3][1])
        for one in parts[OPS]:
            if one[0] == INSERT and one[1] == owner:
                found.add(one[2])
        return found

    def _renumber(self, owner: int) -> None:
        """Attempts are only ever compared for being the same: name them 0, 1, … in their order."""
        found = self.attempts_of(owner)
        if not found or max(found) == len(found) - 1:
            return
        new = {attempt: rank for rank, attempt in enumerate(sorted(found))}
        parts = self.parts
        lane = parts[LANE + owner]
        if lane is not None:
            parts[LANE + owner] = (lane[0], new[lane[1]], *lane[2:])
        for other in CENTERS:
            for at, kinds in ((LINK + 3 * owner + other, _FROM_OWNER), (LINK + 3 * other + owner, _TO_OWNER)):
                if parts[at] and other != owner:
                    parts[at] = tuple((kind, new[number] if kind in kinds else number, names) for kind, number, names in parts[at])
            inboxes = parts[INBOX + other]
            if any(inbox[3] is not None and inbox[3][0] == owner for inbox in inboxes):
                parts[INBOX + other] = tuple(
                    (*inbox[:3], (owner, new[inbox[3][1]], *inbox[3][2:]), *inbox[4:])
                    if inbox[3] is not None and inbox[3][0] == owner
                    else inbox
                    for inbox in inboxes
                )
        parts[OPS] = tuple(
            sorted((INSERT, owner, new[one[2]], *one[3:]) if one[0] == INSERT and one[1] == owner else one for one in parts[OPS])
        )
