"""What the center's door is given: its limits, and the parts it stands on.

What lives here: names and types. What must not: anything that happens. Apart from `center` so that the door's whole life stays on one page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from myim_server.chat.router import Router
from myim_server.commands import Commands
from myim_server.metrics import Metrics
from myim_server.sessions import Outbound
from myim_wire.tokens import Ticket


class Admission(Protocol):
    """Whether a ticket may have a session here, now."""

    def open(self, token: bytes) -> Ticket:
        """The ticket; SessionRefused TOKEN_INVALID, TOKEN_EXPIRED, BUSY (may block)."""

    def check(self, ticket: Ticket) -> None:
        """SessionRefused TOKEN_REVOKED, ISOLATED, BUSY (may block)."""

    def check_again(self, token: bytes) -> None:
        """SessionRefused with any of these, by what is known here; never yields."""


class DoorLimits(NamedTuple):
    """What the door lets in, and how long it waits (seconds)."""

    connections: int
    handshakes: int
    handshakes_per_address: int
    handshake_seconds: float
    frame_seconds: float
    idle_ping_seconds: float
    idle_close_seconds: float
    outbound_bytes: int
    slow_reader_seconds: float


class Log(Protocol):
    """The node's log."""

    def info(self, event: str, **fields: object) -> object: ...
    def error(self, event: str, **fields: object) -> object: ...


class DoorParts(NamedTuple):
    """What the door stands on."""

    node_id: int
    admission: Admission
    router: Router
    commands: Commands
    outbound: Outbound
    now: Callable[[], float]
    random: Callable[[int], bytes]
    metrics: Metrics
    log: Log
