"""What to send next, and what an answer means: the sender's half of the delivery rules [P-8], pure.

No socket, no file, no clock: `now` (monotonic seconds), `now_us` (microseconds since 1970) and `chance` (0 to 1) are handed in. An
item is QUEUED (to be sent), SENT (an answer is due) or HELD (its lane waits after a refusal). A lane is what goes to one target, a user
or a group: their ids are drawn apart, so one number may be both.

After a refusal that invites a retry the lane is held until *every* transmission of it has been answered and the earliest
unsettled is the refused one: only then is flagging it *first* exact, and only then can no stale refusal hit the second attempt.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from myim_wire.errors import ErrorCode

WINDOW = 64
WINDOW_BYTES = 1 << 20
ANSWER_SECONDS = 15.0
LIFE_US = 7 * 24 * 3600 * 1_000_000
LONGEST_DELAY_SECONDS = 10.0
RETRIED = frozenset((ErrorCode.STORE_UNAVAILABLE, ErrorCode.SLOW_DOWN, ErrorCode.OUT_OF_ORDER, ErrorCode.BUSY))


Lane = tuple[int, bool]


class Stage(enum.Enum):
    """Where an unsettled message is."""

    QUEUED = "queued"
    SENT = "sent"
    HELD = "held"


@dataclass(slots=True, eq=False)
class Outgoing:
    """One unsettled QoS 1 message; `time` names it, `enqueued` is microseconds since 1970, `sent_at` monotonic seconds.

    is_post: `target` is a group.
    """

    time: int
    target: int
    body: bytes
    enqueued: int
    stage: Stage = Stage.QUEUED
    sent_at: float = 0.0
    was_sent: bool = False
    is_post: bool = False

    @property
    def lane(self) -> Lane:
        """What goes to the same target, in order."""
        return self.target, self.is_post


@dataclass(slots=True, eq=False)
class _Lane:
    items: dict[int, Outgoing] = field(default_factory=dict)
    sent: int = 0
    refusals: int = 0
    is_held: bool = False
    release_at: float = 0.0


class Sending:
    """All unsettled messages of one terminal, oldest first."""

    def __init__(self) -> None:
        self._all: dict[int, Outgoing] = {}
        self._lanes: dict[Lane, _Lane] = {}
        self._queue: deque[Outgoing] = deque()
        self._in_flight: dict[int, Outgoing] = {}
        self._in_flight_bytes = 0
        self._held: dict[Lane, _Lane] = {}
        self._paused_until = 0.0
        self.bytes_unsettled = 0
        self.resent = 0

    def __len__(self) -> int:
        return len(self._all)

    @property
    def in_flight(self) -> int:
        """How many messages wait for an answer of the center."""
        return len(self._in_flight)

    def get(self, time: int) -> Outgoing | None:
        """The unsettled message of that name."""
        return self._all.get(time)

    def add(self, item: Outgoing) -> None:
        """Take a new message; its `time` must be above all before it."""
        self._all[item.time] = item
        self.bytes_unsettled += len(item.body)
        lane = self._lanes.get(item.lane)
        if lane is None:
            lane = self._lanes[item.lane] = _Lane()
        lane.items[item.time] = item
        if lane.is_held:
            item.stage = Stage.HELD
        else:
            self._queue.append(item)

    def restart(self) -> None:
        """A new session: everything unsettled is to be sent again, in its order, before anything new [P-8.2]."""
        for lane in self._lanes.values():
            lane.sent = 0
            lane.is_held = False
        self._held.clear()
        self._in_flight.clear()
        self._in_flight_bytes = 0
        self._paused_until = 0.0
        self._queue = deque(self._all.values())
        for item in self._queue:
            item.stage = Stage.QUEUED

    def take(self, now: float) -> list[tuple[Outgoing, bool]]:
        """What may be sent now, as (message, flag *first*), within the window [P-8.5]; an answer is due for each from `now` on."""
        if self._held:
            self._release(now)
        queue = self._queue
        if not queue or now < self._paused_until:
            return []
        taken: list[tuple[Outgoing, bool]] = []
        in_flight = self._in_flight
        while queue and len(in_flight) < WINDOW:
            item = queue[0]
            size = len(item.body)
            if in_flight and self._in_flight_bytes + size > WINDOW_BYTES:
                break
            queue.popleft()
            lane = self._lanes[item.lane]
            item.stage = Stage.SENT
            item.sent_at = now
            self.resent += item.was_sent
            item.was_sent = True
            lane.sent += 1
            in_flight[item.time] = item
            self._in_flight_bytes += size
            taken.append((item, next(iter(lane.items)) == item.time))
        return taken

    def settled(self, time: int) -> Outgoing | None:
        """The message came to its end (settled, refused for good, unknown): forget it; None if it is not unsettled here."""
        item = self._all.pop(time, None)
        if item is None:
            return None
        self.bytes_unsettled -= len(item.body)
        lane = self._lanes[item.lane]
        del lane.items[time]
        if item.stage is Stage.SENT:
            self._answered(item, lane)
        elif item.stage is Stage.QUEUED:
            self._queue.remove(item)
        lane.refusals = 0
        if not lane.items:
            del self._lanes[item.lane]
            self._held.pop(item.lane, None)
        return item

    def refused(self, time: int, code: int, retry_ms: int, now: float, chance: float) -> Outgoing | None:
        """A refusal came. Returns the message if that is its end; None if it will be sent again, or is not waited for [P-8.4]."""
        item = self._all.get(time)
        if item is None:
            return None
        if code not in RETRIED:
            return self.settled(time)
        if item.stage is not Stage.SENT:
            return None
        lane = self._lanes[item.lane]
        self._answered(item, lane)
        item.stage = Stage.HELD
        if not lane.is_held:
            self._hold(item.lane, lane)
        delay = self._delay(lane, code, retry_ms, chance)
        lane.release_at = max(lane.release_at, now + delay)
        if code == ErrorCode.SLOW_DOWN or code == ErrorCode.BUSY:
            self._paused_until = max(self._paused_until, now + delay)
        return None

    def expired(self, now_us: int) -> list[Outgoing]:
        """Forget and return what was kept for 7 days: nobody knows what became of it [P-8.2]."""
        old: list[Outgoing] = []
        for item in self._all.values():
            if item.enqueued + LIFE_US > now_us:
                break
            old.append(item)
        for item in old:
            self.settled(item.time)
        return old

    def is_overdue(self, now: float) -> bool:
        """Whether a message waits for its answer for 15 s: connect again [P-8.6]."""
        return bool(self._in_flight) and next(iter(self._in_flight.values())).sent_at + ANSWER_SECONDS <= now

    def deadline(self, now: float) -> float | None:
        """When (monotonic seconds) `take` or `is_overdue` may have something new to say; None: not by itself."""
        times = [lane.release_at for lane in self._held.values() if not lane.sent]
        if self._queue and self._paused_until > now:
            times.append(self._paused_until)
        if self._in_flight:
            times.append(next(iter(self._in_flight.values())).sent_at + ANSWER_SECONDS)
        return min(times) if times else None

    def unsettled(self) -> Iterable[Outgoing]:
        """All unsettled messages, oldest first."""
        return list(self._all.values())

    def _answered(self, item: Outgoing, lane: _Lane) -> None:
        lane.sent -= 1
        del self._in_flight[item.time]
        self._in_flight_bytes -= len(item.body)

    def _hold(self, name: Lane, lane: _Lane) -> None:
        lane.is_held = True
        lane.release_at = 0.0
        lane.refusals += 1
        self._held[name] = lane
        self._queue = deque(item for item in self._queue if item.lane != name)
        for item in lane.items.values():
            if item.stage is Stage.QUEUED:
                item.stage = Stage.HELD

    def _delay(self, lane: _Lane, code: int, retry_ms: int, chance: float) -> float:
        if code == ErrorCode.OUT_OF_ORDER and lane.refusals <= 1 and not retry_ms:
            return 0.0  # only the echo of a refusal before it
        grown = min(LONGEST_DELAY_SECONDS, 0.1 * 2.0 ** min(lane.refusals, 10))
        return max(retry_ms / 1000.0, grown) * (0.75 + chance / 2)

    def _release(self, now: float) -> None:
        for name in [name for name, lane in self._held.items() if not lane.sent and lane.release_at <= now]:
            lane = self._held.pop(name)
            lane.is_held = False
            for item in lane.items.values():
                item.stage = Stage.QUEUED
                self._queue.append(item)
