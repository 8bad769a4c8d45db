"""What waits for the application: events in their order, and the names handed to it that it has not confirmed yet.

A name is in hand from its arrival until the application's transaction is flushed; a repeat that comes in between is not shown twice.
Nothing is written here: the seen-set is in `profile`, what is confirmed to the center is decided in `courier`. The names are
guarded by the profile's lock, the queue by its own, so that waiting for an event never holds up the reader.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable

from myim_client.events import Event, MessageArrived

Name = tuple[int, int]


class Inbox:
    """The queue of one client's events; any thread may take, any may put."""

    def __init__(self) -> None:
        self.in_hand: dict[Name, MessageArrived] = {}
        self._events: deque[Event] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._waiting = 0
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._events)

    def put(self, events: Iterable[Event]) -> None:
        """Queue events behind the others."""
        with self._changed:
            self._events.extend(events)
            if self._waiting:
                self._changed.notify()

    def put_back(self, events: Iterable[Event]) -> None:
        """Queue events, in their order and each once, before all others: the application's transaction was rolled back."""
        first = {id(event): event for event in events}
        if first:
            with self._changed:
                self._events = deque([*first.values(), *(event for event in self._events if id(event) not in first)])
                self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will come: those who wait return."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def take(self, timeout: float | None, limit: int, linger: float = 0.0) -> list[Event]:
        """Up to `limit` waiting events; waits at most `timeout` seconds (None: until closed) for the first, [] if none came.

        After the first it waits `linger` more seconds for others, so that one flush serves them all.
        """
        with self._changed:
            if not self._wait(1, timeout):
                return []
            if linger:
                self._wait(limit, linger)
            events = self._events
            return [events.popleft() for _ in range(min(limit, len(events)))]

    def _wait(self, count: int, timeout: float | None) -> bool:
        """Wait until `count` events are there, or the inbox is closed; whether there is any."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while len(self._events) < count and not self._is_closed:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            self._waiting += 1
            try:
                self._changed.wait(left)
            finally:
                self._waiting -= 1
        return bool(self._events)
