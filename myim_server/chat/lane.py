"""The owner's side of delivery: one lane per sender terminal and target (docs/delivery.md, rules D-1 to D-9).

What lives here: the state machine that owns a QoS 1 message from the moment its center took it until it is settled. What must not:
clocks, sockets, the store, the directory. Time and outcomes come in as arguments, actions go out as lists, and `router` carries them out
in their order. The exhaustive search in tests/model drives this very code.

One lane in pictures (REST: nothing to do; every arrow is one method):

    REST --take--> LOOKING --found(center)--> OPEN --returned / lost / sender_moved--> ENDING --all answered--+
      ^               |  ^                      | received: settled                                          |
      |               |  +----------------------+------------------------------------------------------------+
      |               +--found(None), or tried too long--> STORING --stored--> LOOKING (to poke) --> REST
      |                                                       +--failed: everything unsettled is refused--+
      +---------------------------------------------------------------------------------------------------+

What goes another way than the unsettled before it can overtake it: all goes one way, and a change waits for all answers.
"""

from __future__ import annotations

import enum
import zlib
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from myim_wire.errors import ErrorCode

RECEIVED = 1
STORED = 2
_RETRYABLE = frozenset({ErrorCode.STORE_UNAVAILABLE, ErrorCode.SLOW_DOWN, ErrorCode.BUSY, ErrorCode.OUT_OF_ORDER})
_SETTLED_REMEMBERED = 256  # as many as a terminal may have unsettled [P-8.5], so every resend is answered at once


class LaneState(enum.IntEnum):
    """Where the unsettled messages of a lane are."""

    REST = 0
    LOOKING = 1
    OPEN = 2
    ENDING = 3
    STORING = 4


_OPEN = LaneState.OPEN  # a look-up in the enum's class costs more than the comparison
_new = tuple.__new__  # makes a NamedTuple at half the price, on the hot path


class Letter(NamedTuple):
    """A QoS 1 message in the hands of its owner: time names it, accepted and message_id are this center's, arrived is monotonic seconds."""

    time: int
    body: bytes
    message_id: int
    accepted: int
    arrived: float


class LookUp(NamedTuple):
    """Ask the directory where the target is; answer with Lane.found(attempt, ...)."""

    lane: Lane
    attempt: int


class Forward(NamedTuple):
    """Send letters (not to be changed) to lane.center. is_opening: it binds the lane to the present session, and reads the store first."""

    lane: Lane
    attempt: int
    letters: Sequence[Letter]
    is_opening: bool


class End(NamedTuple):
    """Tell a center that this attempt is over; it answers for all it still has of it."""

    lane: Lane
    attempt: int
    center: int


class Store(NamedTuple):
    """Store letters durably; answer with Lane.stored(attempt, outcomes) or Lane.store_failed(attempt)."""

    lane: Lane
    attempt: int
    letters: list[Letter]


class Settle(NamedTuple):
    """Tell the sender's present session what became of these messages: RECEIVED or STORED."""

    lane: Lane
    times: list[int]
    outcome: int


class Refuse(NamedTuple):
    """Tell the sender's present session that these messages were not taken, and why."""

    lane: Lane
    times: list[int]
    code: ErrorCode


class Poke(NamedTuple):
    """Hint to a center that its user has rows in the store."""

    lane: Lane
    center: int


class CutOff(NamedTuple):
    """A center did not answer this attempt in time: end the link to it, whatever it still holds is void."""

    lane: Lane
    attempt: int
    center: int


Action = LookUp | Forward | End | Store | Settle | Refuse | Poke | CutOff


class Patience(NamedTuple):
    """Seconds the owner gives: one attempt, a message to be tried at a center again, the directory, any answer at all."""

    attempt_seconds: float = 5.0
    retry_within_seconds: float = 1.0
    look_up_seconds: float = 2.0
    answer_seconds: float = 9.0


class Lane:
    """One sender terminal's messages to one target, at the center that owns them.

    `queue` holds the unsettled letters in the order they came, by time. `attempt` numbers the ways that were tried; an answer that names
    another attempt than the present one is too late and changes nothing.
    """

    __slots__ = (
        "user", "slot", "target", "key", "bound_inbox", "state", "attempt", "center", "queue", "waiting", "is_taking", "refused_code",
        "last_time", "again", "settled", "since", "is_poke_due", "patience",
    )  # fmt: skip

    def __init__(self, user: int, slot: int, target: int, patience: Patience, first_attempt: int = 0) -> None:
        self.user, self.slot, self.target = user, slot, target
        self.key = user << 6 | slot
        self.bound_inbox: object = None  # the router's note: where the present attempt is bound, if that is at this very center
        self.patience = patience
        self.state = LaneState.REST
        self.attempt, self.center = first_attempt, 0
        self.queue: dict[int, Letter] = {}
        self.waiting: set[int] = set()
        self.is_taking = False
        self.refused_code = ErrorCode.OUT_OF_ORDER
        self.last_time = 0
        self.again: frozenset[int] = frozenset()  # refused below what is settled: no new names, and taken again all the same
        self.settled: dict[int, int] = {}
        self.since = 0.0
        self.is_poke_due = False

    # ------------------------------------------------------------------ from the sender

    def take(self, letters: Sequence[Letter], is_first: bool, now: float) -> list[Action]:
        """Take letters that came one behind the other; is_first is the flag of the first of them [P-8.4]."""
        if not self.is_taking:
            if not is_first:
                return [Refuse(self, [letter.time for letter in letters], self.refused_code)]
            self.is_taking = True
        last_time = self.last_time
        for letter in letters:
            time = letter[0]
            if time <= last_time:
                return self._take_with_repeats(letters, now)
            last_time = time
        queue = self.queue
        for letter in letters:
            queue[letter[0]] = letter
        self.last_time = last_time
        if self.state is _OPEN:
            return [_new(Forward, (self, self.attempt, letters, False))]
        if self.state is LaneState.REST:
            return self._look(now)
        return []

    def _take_with_repeats(self, letters: Sequence[Letter], now: float) -> list[Action]:
        """Rare twin of take: some letters repeat what is owned or settled, or fall in time."""
        actions: list[Action] = []
        fresh: list[Letter] = []
        for position, letter in enumerate(letters):
            owned = self.queue.get(letter.time)
            if owned is not None:
                if owned.body != letter.body:
                    actions.append(Refuse(self, [letter.time], ErrorCode.ID_CONFLICT))
            elif letter.time in self.settled:
                actions.append(self._settle_again(letter))
            elif letter.time > self.last_time or (letter.time in self.again and letter.time > max(self.queue, default=0)):
                self.queue[letter.time] = letter
                self.last_time = max(letter.time, self.last_time)
                self.again = frozenset(time for time in self.again if time > letter.time)
                fresh.append(letter)
            else:
                actions.append(Refuse(self, [letter.time], ErrorCode.BAD_TIME))
                behind = [late.time for late in letters[position + 1 :]]
                if behind:
                    actions.append(Refuse(self, behind, ErrorCode.OUT_OF_ORDER))
                self._close(ErrorCode.OUT_OF_ORDER)
                break
        if fresh and self.state is LaneState.OPEN:
            actions.append(Forward(self, self.attempt, fresh, False))
        elif self.queue and self.state is LaneState.REST:
            actions += self._look(now)
        return actions

    def _settle_again(self, letter: Letter) -> Action:
        """The answer to a repeat of what is settled; other content under the name of what is stored is refused."""
        outcome = self.settled[letter.time]
        if outcome != RECEIVED and outcome != _stored_as(letter.body):
            return Refuse(self, [letter.time], ErrorCode.ID_CONFLICT)
        return Settle(self, [letter.time], outcome & 3)

    def refuse(self, times: list[int], code: ErrorCode) -> list[Action]:
        """Refuse letters before they are taken (a limit); all behind them is refused until one flagged first."""
        self._close(code)
        return [Refuse(self, times, code)]

    def sender_moved(self, now: float) -> list[Action]:
        """The sender has a new session, here or elsewhere: what it stored through others must be read before the lane goes on."""
        if self.state is not LaneState.OPEN:
            return []
        end = End(self, self.attempt, self.center)
        if not self.queue:
            self.state = LaneState.REST
            return [end]
        self.state = LaneState.ENDING
        self.waiting = set(self.queue)
        return [end]

    # ------------------------------------------------------------------ from directory and centers

    def found(self, attempt: int, center: int | None, now: float) -> list[Action]:
        """The directory answered: a center, or None for nobody, no answer in time, or nonsense."""
        if attempt != self.attempt or self.state is not LaneState.LOOKING:
            return []
        actions: list[Action] = []
        if self.is_poke_due and center is not None and not self.queue:
            actions.append(Poke(self, center))
        self.is_poke_due = False
        if not self.queue:
            self.state = LaneState.REST
        elif center is None:
            actions += self._store()
        else:
            self.state = LaneState.OPEN
            self.center = center
            self.since = now
            actions.append(Forward(self, self.attempt, list(self.queue.values()), True))
        return actions

    def received(self, attempt: int, times: Iterable[int], now: float) -> list[Action]:
        """The target's application has these."""
        state = self.state
        if attempt != self.attempt or not (state is _OPEN or state is LaneState.ENDING):
            return []
        pop, settled = self.queue.pop, self.settled
        done: list[int] = []
        for time in times:
            if pop(time, None) is not None:
                done.append(time)
                settled[time] = RECEIVED
        if len(settled) > _SETTLED_REMEMBERED + 64:
            self._forget_old_settlings()
        actions: list[Action] = [_new(Settle, (self, done, RECEIVED))] if done else []
        if state is not _OPEN:
            self.waiting.difference_update(done)
            if not self.waiting:
                actions += self._restart(now)
        return actions

    def returned(self, attempt: int, times: Iterable[int], now: float, is_absent: bool = False) -> list[Action]:
        """The target's center gives these back; is_absent: it would give back any other of this sender's, so they are stored at once."""
        if attempt != self.attempt or not self._is_out:
            return []
        if self.state is LaneState.OPEN:
            self.state = LaneState.ENDING
            self.waiting = set(self.queue)
        self.waiting.difference_update(times)
        if is_absent and self.queue and not self._must_wait():
            self.attempt += 1
            return self._store()
        return [] if self._must_wait() else self._restart(now)

    def _must_wait(self) -> bool:
        return bool(self.waiting)

    def lost(self, center: int, now: float) -> list[Action]:
        """The link to a center is gone: nothing that was in flight there will be answered."""
        return self._restart(now) if self.center == center and self._is_out else []

    def tick(self, now: float) -> list[Action]:
        """Let time-outs happen; called a few times a second for lanes with something unsettled."""
        oldest = next(iter(self.queue.values()), None)
        if oldest is not None and now - oldest.arrived >= self.patience.answer_seconds:
            return self._give_up()
        if self.state is LaneState.LOOKING and now - self.since >= self.patience.look_up_seconds:
            return self.found(self.attempt, None, now)
        if oldest is not None and self._is_out and now - max(oldest.arrived, self.since) >= self.patience.attempt_seconds:
            return [CutOff(self, self.attempt, self.center), *self._restart(now)]
        return []

    def _give_up(self) -> list[Action]:
        """No way led to an answer in time [P-8.6]: the sender may try again; what still comes of this attempt is too late."""
        end: list[Action] = [End(self, self.attempt, self.center)] if self._is_out else []
        self.attempt, self.state = self.attempt + 1, LaneState.REST
        return end + self._refuse_all(ErrorCode.STORE_UNAVAILABLE)

    def stored(self, attempt: int, outcomes: Sequence[tuple[int, ErrorCode | None]], now: float) -> list[Action]:
        """The store committed: (time, None) is durably stored, (time, code) was refused; in the order of the Store action."""
        if attempt != self.attempt or self.state is not LaneState.STORING:
            return []
        actions: list[Action] = []
        done: list[int] = []
        for time, code in outcomes:
            if code is None:
                done.append(time)
                self.settled[time] = _stored_as(self.queue.pop(time).body)
            elif code is ErrorCode.ID_CONFLICT:  # a name used twice says nothing against those behind it
                self.queue.pop(time, None)
                actions.append(Refuse(self, [time], code))
            else:
                actions += self._refuse_all(code)
                break
        self._forget_old_settlings()
        if done:
            actions.insert(0, Settle(self, done, STORED))
            self.is_poke_due = True
        if not done and not self.queue:
            self.state = LaneState.REST
            return actions
        return actions + self._look(now)

    def store_failed(self, attempt: int, now: float, code: ErrorCode = ErrorCode.STORE_UNAVAILABLE) -> list[Action]:
        """No durable copy could be made: all that is unsettled here is refused, and the sender may try again."""
        if attempt != self.attempt or self.state is not LaneState.STORING:
            return []
        self.state = LaneState.REST
        return self._refuse_all(code)

    @property
    def _is_out(self) -> bool:
        return self.state is _OPEN or self.state is LaneState.ENDING

    def _look(self, now: float) -> list[Action]:
        self.attempt, self.since = self.attempt + 1, now
        self.state = LaneState.LOOKING
        return [LookUp(self, self.attempt)]

    def _store(self) -> list[Action]:
        self.state = LaneState.STORING
        return [Store(self, self.attempt, list(self.queue.values()))]

    def _restart(self, now: float) -> list[Action]:
        """All in flight is answered: begin again at the earliest unsettled."""
        self.waiting = set()
        for letter in self.queue.values():
            if now - letter.arrived < self.patience.retry_within_seconds:
                return self._look(now)
            self.attempt += 1
            return self._store()
        self.state = LaneState.REST
        return []

    def _refuse_all(self, code: ErrorCode) -> list[Action]:
        times = list(self.queue)
        self.queue.clear()
        self._close(code)
        self.again = frozenset(time for time in times if time < self.last_time)
        return [Refuse(self, times, code)] if times else []

    def _close(self, code: ErrorCode) -> None:
        """Refusing a message refuses all behind it, until one flagged first comes [P-8.4]."""
        self.is_taking = False
        self.refused_code = code if code in _RETRYABLE else ErrorCode.OUT_OF_ORDER
        if not self.queue:  # what was refused may come again under its old, lower name
            self.last_time = max(self.settled, default=0)

    def _forget_old_settlings(self) -> None:
        for time in list(islice(self.settled, max(0, len(self.settled) - _SETTLED_REMEMBERED))):
            del self.settled[time]

    @property
    def is_idle(self) -> bool:
        """Nothing unsettled and nothing asked."""
        return not self.queue and (self.state is LaneState.REST or self.state is LaneState.OPEN)


def _stored_as(body: bytes) -> int:
    """What is remembered of a stored message: the outcome, and a mark of its content above the low two bits."""
    return zlib.crc32(body) << 2 | STORED
