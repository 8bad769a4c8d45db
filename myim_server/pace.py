"""How much one terminal may ask and send: by rate, by number, by bytes [P-8.5], [P-9].

What lives here: the counts that are held against a session, and whether they are too high. What must not: what is then answered to whom,
clocks, sockets. Apart from `commands` so that the limits can be read, and tested, in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from myim_server.chat.lane import Lane
from myim_server.refusals import RequestRefused, SessionRefused
from myim_wire.errors import ErrorCode
from myim_wire.messages import MAX_BODY_BYTES, Message

_UNKNOWN_PER_MINUTE = 20
_SLOW_DOWNS_BEFORE_CLOSE = 200
_COUNTED_TOGETHER = 64


class Limits(NamedTuple):
    """What one terminal may have and do. Of requests and messages twice a second's worth may come at once."""

    lanes: int = 1000
    unsettled: int = 256
    unsettled_bytes: int = 1_048_576
    requests_per_second: int = 200
    messages_per_second: int = 20_000

    @property
    def few(self) -> int:
        """So many unsettled messages are too many by no limit, however long they are."""
        return min(self.unsettled, self.unsettled_bytes // MAX_BODY_BYTES)


class Budgets:
    """How often each user may do one thing: a minute's worth at once, then at the rate of `per_minute`. `now`: monotonic seconds."""

    def __init__(self, per_minute: int, remembered: int = 10_000) -> None:
        """remembered: so many users are known before those whose budget is whole again are forgotten; more, where many spend at once."""
        self._per_minute = per_minute
        self._remembered = self._bound = remembered
        self._spent: dict[int, tuple[float, float]] = {}  # user: (how much, at when)

    def spend(self, user: int, now: float) -> float:
        """Spends one; else the seconds until there is one to spend."""
        spent, since = self._spent.get(user, (0.0, now))
        left = max(0.0, spent - (now - since) * self._per_minute / 60)
        if left + 1 > self._per_minute:
            return (left + 1 - self._per_minute) * 60 / self._per_minute
        if len(self._spent) >= self._bound and user not in self._spent:
            self._forget(now)
            self._bound = max(self._remembered, 2 * len(self._spent))  # else each of those who spend at once looks at all others
        self._spent[user] = (left + 1, now)
        return 0.0

    def require(self, user: int, now: float) -> None:
        """Spends one; RequestRefused SLOW_DOWN, which says when to come again, if there is none."""
        wait = self.spend(user, now)
        if wait:
            raise RequestRefused(ErrorCode.SLOW_DOWN, "too many of these", retry_ms=int(wait * 1000) + 1)

    def _forget(self, now: float) -> None:
        rate = self._per_minute / 60
        self._spent = {user: (spent, since) for user, (spent, since) in self._spent.items() if spent > (now - since) * rate}


class Pace:
    """What one session did lately. `now`: monotonic seconds. Requests and messages are paced apart."""

    __slots__ = (
        "_limits", "_requests", "_requests_since", "_messages", "_messages_since", "_unknown", "_unknown_since", "_slow_downs",
        "_slowed_at", "_busy", "_unsettled", "_unanswered",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._requests = 0.0
        self._requests_since = 0.0
        self._messages = 0.0
        self._messages_since = 0.0
        self._unknown = 0
        self._unknown_since = 0.0
        self._slow_downs = 0.0
        self._slowed_at = 0.0
        self._busy: dict[Lane, None] | None = None  # of several lanes those that may have something unsettled
        self._unanswered = 0
        self._unsettled = 0  # in all of them, or more

    def is_asking_too_much(self, now: float, weight: int = 1) -> bool:
        """Counts a request, or one that costs as much as `weight`; whether it is one too many. SessionRefused SLOW_DOWN after many."""
        rate = self._limits.requests_per_second
        used = max(0.0, self._requests - (now - self._requests_since) * rate) + weight
        self._requests_since = now
        if used <= 2 * rate:
            self._requests = used
            return False
        self._requests = 2 * rate  # what was refused is not held against it twice
        return self._slow_down()

    def charge(self, weight: int) -> None:
        """A request turned out to cost as much as so many more: they are held against the next ones."""
        self._requests += weight

    def is_sending_too_fast(self, coming: int, now: float) -> bool:
        """Counts messages; whether they are too many. SessionRefused SLOW_DOWN after many of those."""
        rate = self._limits.messages_per_second
        left = min(rate, self._messages + (now - self._messages_since) * rate) - coming
        self._messages_since = now
        if left >= -rate:
            self._messages = left
            return False
        self._messages = -rate
        return self._slow_down()

    def count_unanswered(self, now: float) -> None:
        """Counts what nobody answers (receipts, replies) as a message; SessionRefused SLOW_DOWN as above, since it cannot be refused."""
        self._unanswered += 1
        if self._unanswered == _COUNTED_TOGETHER:  # together, because on the hot path every call costs
            self._unanswered = 0
            self.is_sending_too_fast(_COUNTED_TOGETHER, now)

    def is_too_much_unsettled(self, lanes: Mapping[int, Lane], lane: Lane, run: Sequence[Message]) -> bool:
        """Whether the terminal would have too much unsettled with these for `lane`, one of its lanes. SessionRefused as above."""
        coming = len(run)
        limits = self._limits
        if len(lanes) == 1:
            self._busy = None
            unsettled = coming + len(lane.queue)
        else:
            unsettled = self._unsettled_in_all(lanes, lane, coming)
        if unsettled <= limits.few:
            return False
        fresh = [message for message in run if message.time not in lane.queue and message.time not in lane.settled]
        if not fresh:  # a repeat of what is owned or settled here costs nothing, and a new session repeats all that is unsettled [P-8.2]
            return False
        if unsettled - coming + len(fresh) > limits.unsettled:
            return self._slow_down()
        size = sum(len(message.content) for message in fresh)
        size += sum(len(letter.body) for one in self._busy or (lane,) for letter in one.queue.values())
        return size > limits.unsettled_bytes and self._slow_down()

    def _unsettled_in_all(self, lanes: Mapping[int, Lane], lane: Lane, coming: int) -> int:
        """What is unsettled with these; too high a number as long as that is few, because a walk over a thousand lanes costs 60 µs."""
        few = self._limits.few
        if self._busy is None:
            self._busy, self._unsettled = dict.fromkeys(lanes.values()), few
        self._unsettled += coming
        if self._unsettled > few:
            self._busy = {one: None for one in self._busy if one.queue}
            self._unsettled = coming + sum(len(one.queue) for one in self._busy)
        self._busy[lane] = None
        return self._unsettled

    def count_unknown(self, now: float) -> None:
        """Counts an unknown command; SessionRefused UNKNOWN_COMMAND for too many in a minute [P-7.1]."""
        if now - self._unknown_since > 60:
            self._unknown, self._unknown_since = 0, now
        self._unknown += 1
        if self._unknown > _UNKNOWN_PER_MINUTE:
            raise SessionRefused(ErrorCode.UNKNOWN_COMMAND, "too many unknown commands")

    def slow_down(self) -> bool:
        """True, for what is refused with SLOW_DOWN whatever the rate; SessionRefused after many of those."""
        return self._slow_down()

    def _slow_down(self) -> bool:
        now = max(self._messages_since, self._requests_since)  # one of them was counted just now
        self._slow_downs = max(0.0, self._slow_downs - (now - self._slowed_at)) + 1  # one a second is forgotten
        self._slowed_at = now
        if self._slow_downs > _SLOW_DOWNS_BEFORE_CLOSE:
            raise SessionRefused(ErrorCode.SLOW_DOWN, "this terminal does not slow down")
        return True
