"""Which server to try next, when, and what the end of a connection means: pure, with `chance` (0 to 1) handed in.

The list is the center's or login center's [P-7.11]: lower priority first, among equals its order, those that drain last. A round is one
try of each; the first try after a session comes at once but for a little jitter, each further round waits twice as long.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from myim_wire.contents import Server
from myim_wire.errors import ErrorCode

JITTER_SECONDS = 0.1
FIRST_ROUND_SECONDS = 0.25
LONGEST_ROUND_SECONDS = 5.0
PASSWORD_ROUND_SECONDS = 60.0
GOOD_SESSION_SECONDS = 5.0


class Ending(enum.Enum):
    """What to do after a connection ended."""

    AGAIN = "connect again, to the next server"
    RAISE_NUMBER = "connect again with a much higher connection number"
    LOG_IN = "the token does not serve any more"
    STOP = "never connect again"


def meaning_of(code: int, is_authentic: bool) -> Ending:
    """What an end with `code` [P-9] means; `is_authentic`: it came in a sealed GOODBYE, not in an error flight [P-1.4]."""
    if code == ErrorCode.REPLACED and is_authentic:
        return Ending.STOP
    if code in (ErrorCode.TOKEN_INVALID, ErrorCode.TOKEN_EXPIRED, ErrorCode.TOKEN_REVOKED):
        return Ending.LOG_IN
    if code == ErrorCode.STALE_CONNECTION:
        return Ending.RAISE_NUMBER
    return Ending.AGAIN


def ordered(servers: Sequence[Server]) -> list[Server]:
    """The servers in the order to try them."""
    return sorted(servers, key=lambda server: (server.draining, server.priority))


class Itinerary:
    """The way through the server list."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = ordered(servers)
        self._position = 0
        self.rounds = 0

    def replace(self, servers: Sequence[Server]) -> None:
        """A new list; the server that is in use stays where we are."""
        new = ordered(servers)
        if new == self._servers:
            return
        current = self._servers[self._position] if self._servers else None
        self._servers = new
        places = [i for i, server in enumerate(new) if current and (server.host, server.port) == (current.host, current.port)]
        self._position = places[0] if places else 0

    def next(self) -> Server | None:
        """The server to try now; None if no server is known."""
        return self._servers[self._position] if self._servers else None

    def delay(self, chance: float) -> float:
        """Seconds to wait before trying it."""
        if not self.rounds:
            return JITTER_SECONDS * chance
        grown: float = FIRST_ROUND_SECONDS * 2.0 ** min(self.rounds - 1, 10)
        return min(LONGEST_ROUND_SECONDS, grown) * (0.5 + chance / 2)

    def failed(self) -> None:
        """The attempt, or the session, at the present server ended: on to the next."""
        self._position += 1
        if self._position >= len(self._servers):
            self._position = 0
            self.rounds += 1

    def lasted(self, seconds: float) -> None:
        """A session of that many seconds was had: a good one makes the waiting start anew."""
        if seconds >= GOOD_SESSION_SECONDS:
            self.rounds = 0
