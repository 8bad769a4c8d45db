"""Drives the code that runs (chat/lane.py, chat/inbox.py) from frozen states: (frozen state, event) -> (frozen state, frozen actions).

What lives here: freezing and thawing of one center's lane and of its inboxes, and a memo of their answers. What must not: the world
around them (world.py). Why a memo: both machines are pure, so each (state, event) needs to run only once however often the search meets
it.

Time is abstract: every remembered moment is 0, and an event happens at YOUNG (nothing has waited), at OLD (everything has waited too
long for its way), or at ANCIENT (too long for any answer). Messages are numbered 1, 2, …; FOREIGN is a message of another sender that is
only ever a row.

    lane     (state, attempt, center, queue, waiting, is_taking, refused_code, last, again, settled, is_poke_due) or None
    inbox    (terminal, is_reading, is_read_wanted, bound, handed, confirming);  bound = (owner, attempt, is_covered, held, unconfirmed)
    or None
    inboxes  tuple of inbox, the last active last
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from myim_server.chat import inbox as inbox_module
from myim_server.chat import lane as lane_module
from myim_server.chat.inbox import BoundLane, Inbox, Window
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.lane import Lane, LaneState, Letter, Patience
from myim_server.chat.lanes import Lanes
from myim_wire.errors import ErrorCode

YOUNG, OLD, ANCIENT = 0.0, 6.0, 100.0
SENDER, TARGET, OTHER = 1, 2, 3
SLOT = 1
SENDER_KEY = SENDER << 6 | SLOT
FOREIGN = 8

OPEN, FOLLOW, END, RECEIVED, RETURNED, POKE, ANSWER, LOST = "open", "follow", "end", "received", "returned", "poke", "answer", "lost"

Frozen = Any
Names = tuple[int, ...]


class FakeRow(NamedTuple):
    """A row as Inbox.read_done wants it."""

    id: int
    user: int
    time: int
    body: bytes
    qos: int = 1


def time_of(name: int) -> int:
    return name << 6 | (SLOT if name != FOREIGN else 2)


def name_of(time: int) -> int:
    return time >> 6


def pair_of(name: int) -> tuple[int, int]:
    return (OTHER if name == FOREIGN else SENDER, time_of(name))


def letter_of(name: int) -> Letter:
    return Letter(time_of(name), b"%d" % name, name, 0, 0.0)


def _names(times: Iterable[int]) -> Names:
    return tuple(time >> 6 for time in times)


class LaneMachine:
    """One center's lane from SENDER to TARGET, and the Lanes around it."""

    def __init__(self, lane_class: type[Lane] = Lane) -> None:
        self._lane_class = lane_class
        self._memo: dict[tuple[Any, ...], tuple[Frozen, tuple[Any, ...]]] = {}

    def run(self, frozen: Frozen, age: float, event: str, *arguments: Any) -> tuple[Frozen, tuple[Any, ...]]:
        key = (frozen, age, event, arguments)
        known = self._memo.get(key)
        if known is None:
            known = self._memo[key] = self._run(frozen, age, event, arguments)
        return known

    def _run(self, frozen: Frozen, age: float, event: str, arguments: tuple[Any, ...]) -> tuple[Frozen, tuple[Any, ...]]:
        lanes = Lanes(Patience())
        if frozen is not None:
            lanes.of_terminal(SENDER, SLOT)[TARGET] = self._thaw(frozen)
        act: Callable[..., list[lane_module.Action]] = getattr(self, "_" + event)
        actions = act(lanes, age, *arguments)
        lane = lanes.get(SENDER, SLOT, TARGET)
        return (None if lane is None else _freeze_lane(lane)), tuple(_freeze_lane_actions(actions))

    def _thaw(self, frozen: Frozen) -> Lane:
        state, attempt, center, queue, waiting, is_taking, code, last, again, settled, is_poke_due = frozen
        lane = self._lane_class(SENDER, SLOT, TARGET, Patience(), attempt)
        lane.state, lane.center = LaneState(state), center
        lane.queue = {time_of(name): letter_of(name) for name in queue}
        lane.waiting = {time_of(name) for name in waiting}
        lane.is_taking, lane.is_poke_due = is_taking, is_poke_due
        if not is_taking:
            lane.refused_code = ErrorCode(code)
        lane.last_time = time_of(last) if last else 0
        lane.again = frozenset(map(time_of, again))
        lane.settled = {time_of(name): outcome for name, outcome in settled}
        return lane

    def _take(self, lanes: Lanes, age: float, fresh_attempt: int, names: Names, is_first: bool) -> list[lane_module.Action]:
        lane = lanes.get(SENDER, SLOT, TARGET)
        if lane is None:
            lane = lanes.of_terminal(SENDER, SLOT)[TARGET] = self._lane_class(SENDER, SLOT, TARGET, Patience(), fresh_attempt)
        return lane.take([letter_of(name) for name in names], is_first, age)

    def _sender_moved(self, lanes: Lanes, age: float) -> list[lane_module.Action]:
        return lanes.sender_moved(SENDER, SLOT, age)

    def _forget_idle(self, lanes: Lanes, age: float) -> list[lane_module.Action]:
        return lanes.forget_idle(SENDER, SLOT, age)

    def _lost(self, lanes: Lanes, age: float, center: int) -> list[lane_module.Action]:
        return [action for lane in lanes.towards(center) for action in lane.lost(center, age)]

    def _tick(self, lanes: Lanes, age: float) -> list[lane_module.Action]:
        return [action for lane in lanes for action in lane.tick(age)]

    def _found(self, lanes: Lanes, age: float, center: int | None) -> list[lane_module.Action]:
        lane = lanes.get(SENDER, SLOT, TARGET)
        return [] if lane is None else lane.found(lane.attempt, center, age)

    def _received(self, lanes: Lanes, age: float, attempt: int, names: Names) -> list[lane_module.Action]:
        lane = lanes.get(SENDER, SLOT, TARGET)
        return [] if lane is None else lane.received(attempt, [time_of(name) for name in names], age)

    def _returned(self, lanes: Lanes, age: float, attempt: int, names: Names) -> list[lane_module.Action]:
        lane = lanes.get(SENDER, SLOT, TARGET)
        return [] if lane is None else lane.returned(attempt, [time_of(name) for name in names], age)

    def _stored(self, lanes: Lanes, age: float, attempt: int, names: Names) -> list[lane_module.Action]:
        lane = lanes.get(SENDER, SLOT, TARGET)
        return [] if lane is None else lane.stored(attempt, [(time_of(name), None) for name in names], age)

    def _store_failed(self, lanes: Lanes, age: float, attempt: int) -> list[lane_module.Action]:
        lane = lanes.get(SENDER, SLOT, TARGET)
        return [] if lane is None else lane.store_failed(attempt, age)


def _freeze_lane(lane: Lane) -> Frozen:
    is_away = lane.state is LaneState.OPEN or lane.state is LaneState.ENDING
    return (
        int(lane.state),
        lane.attempt,
        lane.center if is_away else -1,
        _names(lane.queue),
        tuple(sorted(_names(lane.waiting))) if lane.state is LaneState.ENDING else (),
        lane.is_taking,
        0 if lane.is_taking else int(lane.refused_code),
        name_of(lane.last_time),
        tuple(sorted(_names(lane.again))),
        tuple(sorted((name_of(time), outcome) for time, outcome in lane.settled.items())),
        lane.is_poke_due,
    )


def _freeze_lane_actions(actions: list[lane_module.Action]) -> Iterable[tuple[Any, ...]]:
    for action in actions:
        if isinstance(action, lane_module.Forward):
            yield (
                OPEN if action.is_opening else FOLLOW,
                action.lane.center,
                action.attempt,
                _names(letter.time for letter in action.letters),
            )
        elif isinstance(action, lane_module.End):
            yield END, action.center, action.attempt, ()
        elif isinstance(action, lane_module.Store):
            yield "store", action.attempt, _names(letter.time for letter in action.letters)
        elif isinstance(action, lane_module.Settle):
            yield "settle", action.outcome, _names(action.times)
        elif isinstance(action, lane_module.Refuse):
            yield "refuse", int(action.code), _names(action.times)
        elif isinstance(action, lane_module.Poke):
            yield POKE, action.center, 0, ()
        elif isinstance(action, lane_module.CutOff):
            yield "cut_off", action.center


class InboxMachine:
    """One center's live sessions of TARGET, in Inboxes."""

    def __init__(self, window: Window, inbox_class: type[Inbox] = Inbox, inboxes_class: type[Inboxes] = Inboxes) -> None:
        self._window = window
        self._inbox_class = inbox_class
        self._inboxes_class = inboxes_class
        self._memo: dict[tuple[Any, ...], tuple[Frozen, tuple[Any, ...]]] = {}

    def run(self, frozen: Frozen, age: float, event: str, *arguments: Any) -> tuple[Frozen, tuple[Any, ...]]:
        key = (frozen, age, event, arguments)
        known = self._memo.get(key)
        if known is None:
            known = self._memo[key] = self._run(frozen, age, event, arguments)
        return known

    def _run(self, frozen: Frozen, age: float, event: str, arguments: tuple[Any, ...]) -> tuple[Frozen, tuple[Any, ...]]:
        inboxes = self._inboxes_class()
        for rank, one in enumerate(frozen):
            inbox = self._thaw(one)
            inbox.last_active = float(rank)
            inboxes.add(inbox)
            for lane in inbox.lanes.values():
                inboxes.bound[(lane.owner, SENDER_KEY, TARGET)] = inbox
        act: Callable[..., Iterable[inbox_module.Action]] = getattr(self, "_" + event)
        actions = list(act(inboxes, age, *arguments))
        ranked = sorted(inboxes.of(TARGET), key=lambda inbox: inbox.last_active)
        return tuple(_freeze_inbox(inbox) for inbox in ranked), tuple(_freeze_inbox_actions(actions))

    def _thaw(self, frozen: Frozen) -> Inbox:
        terminal, is_reading, is_read_wanted, bound, handed, confirming = frozen
        inbox = self._inbox_class(TARGET, terminal, self._window)
        inbox.is_fetching, inbox.is_reading, inbox.is_read_wanted = True, is_reading, is_read_wanted
        if bound is not None:
            owner, attempt, is_covered, held, unconfirmed = bound
            lane = BoundLane(owner, SENDER_KEY, attempt, [letter_of(name) for name in held or ()], 0.0)
            if held is None:
                lane.held = None
            lane.unconfirmed = {time_of(name): 0.0 for name in unconfirmed}
            inbox.lanes[SENDER_KEY] = lane
            if is_covered:
                inbox.reading_for.append(lane)
        for name, twin, is_acknowledged in handed:
            row_id = name << 3 | twin
            inbox.handed[row_id] = (*pair_of(name), -1 if is_acknowledged else 1)
            inbox.names[pair_of(name)] = row_id
            if not is_acknowledged:
                inbox.unconfirmed_rows += 1
                inbox.unconfirmed_bytes += 1
        inbox.confirming = {pair_of(name) for name in confirming}
        return inbox

    def _inbox(self, inboxes: Inboxes, terminal: int) -> Inbox:
        return next(inbox for inbox in inboxes.of(TARGET) if inbox.slot == terminal)

    def _connect(self, inboxes: Inboxes, age: float, terminal: int) -> list[inbox_module.Action]:
        actions: list[inbox_module.Action] = []
        for old in [inbox for inbox in inboxes.of(TARGET) if inbox.slot == terminal]:
            actions += inboxes.remove(old)
        inbox = self._inbox_class(TARGET, terminal, self._window)
        inbox.last_active = OLD
        inboxes.add(inbox)
        return actions + inbox.fetch()

    def _remove(self, inboxes: Inboxes, age: float, terminal: int) -> list[inbox_module.Action]:
        return inboxes.remove(self._inbox(inboxes, terminal))

    def _open(self, inboxes: Inboxes, age: float, owner: int, attempt: int, names: Names) -> list[inbox_module.Action]:
        return inboxes.open(owner, SENDER_KEY, TARGET, attempt, [letter_of(name) for name in names], 0.0)

    def _follow(self, inboxes: Inboxes, age: float, owner: int, attempt: int, names: Names) -> list[inbox_module.Action]:
        return inboxes.follow(owner, SENDER_KEY, TARGET, attempt, [letter_of(name) for name in names], 0.0)

    def _end(self, inboxes: Inboxes, age: float, owner: int, attempt: int, names: Names) -> list[inbox_module.Action]:
        return inboxes.end(owner, SENDER_KEY, TARGET, attempt)

    def _lost(self, inboxes: Inboxes, age: float, owner: int) -> list[inbox_module.Action]:
        inboxes.lost(owner)
        return []

    def _tick(self, inboxes: Inboxes, age: float) -> list[inbox_module.Action]:
        actions = [action for inbox in inboxes for action in inbox.tick(age)]
        for key in list(inboxes.bound):
            inboxes.forget_ended(key)
        return actions

    def _poke(self, inboxes: Inboxes, age: float) -> Iterable[inbox_module.Action]:
        return [action for inbox in inboxes.of(TARGET) for action in inbox.want_read()]

    def _sweep(self, inboxes: Inboxes, age: float) -> Iterable[inbox_module.Action]:
        return [action for inbox in inboxes.of(TARGET) for action in (*inbox.want_read(), *inbox.retry_confirm())]

    def _receipt(self, inboxes: Inboxes, age: float, terminal: int, names: Names) -> list[inbox_module.Action]:
        inbox = self._inbox(inboxes, terminal)
        inbox.last_active = OLD
        return inbox.receipt([pair_of(name) for name in names])[0]

    def _read_done(
        self, inboxes: Inboxes, age: float, terminal: int, rows: tuple[tuple[int, int], ...], is_more: bool
    ) -> list[inbox_module.Action]:
        page = [FakeRow(name << 3 | twin, *pair_of(name), b"x") for name, twin in rows]
        return self._inbox(inboxes, terminal).read_done(page, is_more, 0.0)

    def _read_failed(self, inboxes: Inboxes, age: float, terminal: int) -> list[inbox_module.Action]:
        return self._inbox(inboxes, terminal).read_failed()

    def _confirmed(self, inboxes: Inboxes, age: float, terminal: int, names: Names) -> list[inbox_module.Action]:
        return self._inbox(inboxes, terminal).confirmed([pair_of(name) for name in names])

    def _confirm_failed(self, inboxes: Inboxes, age: float, terminal: int, names: Names) -> list[inbox_module.Action]:
        self._inbox(inboxes, terminal).confirm_failed([pair_of(name) for name in names])
        return []


def _freeze_inbox(inbox: Inbox) -> Frozen:
    lane = inbox.lanes.get(SENDER_KEY)
    bound = None
    if lane is not None:
        held = None if lane.held is None else _names(letter.time for letter in lane.held)
        is_covered = inbox.is_reading and any(one is lane for one in inbox.reading_for)
        bound = (lane.owner, lane.attempt, is_covered, held, _names(lane.unconfirmed))
    handed = tuple(sorted((row_id >> 3, row_id & 7, size < 0) for row_id, (_, _, size) in inbox.handed.items()))
    assert sorted(inbox.names.values()) == sorted(inbox.handed), "names and handed tell different stories"
    assert inbox.unconfirmed_rows == sum(not is_acknowledged for _, _, is_acknowledged in handed), "the window is miscounted"
    confirming = tuple(sorted(name_of(time) for _, time in inbox.confirming))
    return inbox.slot, inbox.is_reading, inbox.is_read_wanted, bound, handed, confirming


def _freeze_inbox_actions(actions: list[inbox_module.Action]) -> Iterable[tuple[Any, ...]]:
    for action in actions:
        if isinstance(action, inbox_module.HandLetters):
            yield "hand", action.inbox.slot, _names(letter.time for letter in action.letters)
        elif isinstance(action, inbox_module.HandRows):
            yield "hand", action.inbox.slot, _names(row.time for row in action.rows)
        elif isinstance(action, inbox_module.Read):
            yield "read", action.inbox.slot
        elif isinstance(action, inbox_module.Confirm):
            yield "confirm", action.inbox.slot, tuple(sorted(name_of(time) for _, time in action.names))
        elif isinstance(action, inbox_module.Received):
            yield RECEIVED, action.owner, action.attempt, _names(action.times)
        elif isinstance(action, inbox_module.Returned):
            yield RETURNED, action.owner, action.attempt, _names(action.times)
