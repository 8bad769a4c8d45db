"""One direction of a connection through the chaos proxy: bytes wait here, bounded, and suffer what the wire does to them.

What lives here: the queue and the damage, with time as an argument. What must not: sockets, the loop (proxy).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields
from typing import Any

MOST_QUEUED_BYTES = 262_144
MOST_RECORDED_BYTES = 65_536


@dataclass(slots=True)
class Wire:
    """What one listener does to everything that passes it; `up` is from the dialler to the address behind.

    swallow: bytes are read and vanish, and so does the end of the stream; hold: bytes wait at their sender, as when packets get lost and
    are sent again after the cut; delay: seconds; rate: bytes per second, 0: any; segment: bytes per write, 0: any.
    """

    is_refusing: bool = False
    swallow_up: bool = False
    swallow_down: bool = False
    hold_up: bool = False
    hold_down: bool = False
    delay: float = 0.0
    rate: float = 0.0
    segment: int = 0

    def change(self, values: dict[str, Any]) -> None:
        """Set the named values; KeyError for a name that is none."""
        known = {field.name for field in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise KeyError(name)
            setattr(self, name, value)


@dataclass(slots=True)
class Flow:
    """What is under way in one direction. `flip_at`, `break_at`: bytes until a bit is flipped, until the connection breaks; -1: never."""

    queue: deque[tuple[float, bytes]] = field(default_factory=deque)
    queued: int = 0
    passed: int = 0
    free_at: float = 0.0
    flip_at: int = -1
    break_at: int = -1
    is_broken: bool = False  # what was to pass before the break has passed into the queue
    has_hole: bool = False
    has_ended: bool = False  # nothing more comes in
    is_shut: bool = False  # and that was told, or nobody is to be told
    is_orphaned: bool = False  # one side has gone and the other does not know
    record: bytearray | None = None

    @property
    def is_full(self) -> bool:
        """Whether no more may be read."""
        return self.queued >= MOST_QUEUED_BYTES

    def took(self, data: bytes, wire: Wire, is_swallowed: bool, now: float) -> None:
        """Queue what was read, or what is left of it."""
        if self.record is not None and len(self.record) < MOST_RECORDED_BYTES:
            self.record += data[: MOST_RECORDED_BYTES - len(self.record)]
        if is_swallowed:
            self.has_hole = True
            return
        if self.is_broken:
            return
        data = self._damaged(data)
        due = now + wire.delay
        if wire.rate:
            self.free_at = max(self.free_at, now) + len(data) / wire.rate
            due = max(due, self.free_at)
        if self.queue:
            due = max(due, self.queue[-1][0])  # nothing overtakes within a stream
        self.queue.append((due, data))
        self.queued += len(data)

    def _damaged(self, data: bytes) -> bytes:
        if self.flip_at >= 0:
            if self.flip_at < len(data):
                changed = bytearray(data)
                changed[self.flip_at] ^= 0x10
                data, self.flip_at = bytes(changed), -1
            else:
                self.flip_at -= len(data)
        if self.break_at >= 0:
            if self.break_at < len(data):
                data, self.is_broken = data[: self.break_at], True
            else:
                self.break_at -= len(data)
        return data

    def ready(self, now: float) -> bytes | None:
        """The next piece that may be written now; None: nothing."""
        return self.queue[0][1] if self.queue and self.queue[0][0] <= now else None

    def wrote(self, count: int) -> None:
        """That many bytes of the first piece were taken by the socket."""
        due, data = self.queue.popleft()
        if count < len(data):
            self.queue.appendleft((due, data[count:]))
        self.queued -= count
        self.passed += count

    def drop(self) -> None:
        """The sink is gone, which its source may not learn yet."""
        self.queue.clear()
        self.queued = 0
        self.has_hole = self.has_ended = self.is_shut = self.is_orphaned = True
