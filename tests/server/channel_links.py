"""A link within the process, as the two ends of a real one behave: whole messages, in order, later; nothing travels after it closed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import gevent

from myim_wire.errors import ErrorCode


class Peer(NamedTuple):
    """Who is at the other end."""

    node: int
    role: str
    fingerprint: str = ""
    address: str = "memory"


class Events(Protocol):
    """Who is told of links."""

    def came_up(self, link: FakeLink) -> None: ...
    def went_down(self, link: FakeLink) -> None: ...
    def take(self, link: FakeLink, messages: Sequence[bytes]) -> None: ...


class FakeLink:
    """One end. `is_full`: it takes nothing but what is urgent; `sent`: all it took; `closed_with`: the code of whoever closed it."""

    def __init__(self, peer: Peer, events: Events) -> None:
        self.peer = peer
        self.events = events
        self.is_open = True
        self.is_full = False
        self.is_stuck = False
        self.sent: list[bytes] = []
        self.closed_with: ErrorCode | None = None
        self.other: FakeLink | None = None
        self._on_its_way: deque[bytes] = deque()

    def send(self, message: bytes) -> bool:
        return not self.is_full and self.send_urgent(message)

    def send_urgent(self, message: bytes) -> bool:
        if not self.is_open or self.is_stuck:
            return False
        self.sent.append(message)
        if not self._on_its_way:
            gevent.spawn(self._deliver)
        self._on_its_way.append(message)
        return True

    def _deliver(self) -> None:
        messages = list(self._on_its_way)
        self._on_its_way.clear()
        if self.is_open and self.other is not None:
            self.other.events.take(self.other, messages)

    def close(self, code: ErrorCode = ErrorCode.SHUTDOWN, reason: str = "") -> None:
        for end in (self, self.other):
            if end is not None and end.is_open:
                end.is_open = False
                end.closed_with = code
                gevent.spawn(end.events.went_down, end)


def linked(
    one: Events, other: Events, roles: tuple[str, str] = ("endpoint", "center"), nodes: tuple[int, int] = (2, 1)
) -> tuple[FakeLink, FakeLink]:
    """Link two: (the first's end, the other's); roles and nodes are of the first and the other."""
    ends = FakeLink(Peer(nodes[1], roles[1]), one), FakeLink(Peer(nodes[0], roles[0]), other)
    ends[0].other, ends[1].other = ends[1], ends[0]
    for end in ends:
        end.events.came_up(end)
    return ends


class Silent:
    """An end that a test speaks for: it keeps what came."""

    def __init__(self) -> None:
        self.came: list[bytes] = []
        self.is_up = False

    def came_up(self, link: FakeLink) -> None:
        self.is_up = True

    def went_down(self, link: FakeLink) -> None:
        self.is_up = False

    def take(self, link: FakeLink, messages: Sequence[bytes]) -> None:
        self.came += messages
