"""Which server to try next, when, and what the end of a connection means: pure, with `chance` (0 to 1) handed in.

The list is the center's or login center's [P-7.11]; an endpoint is tried as a center is. Lower priority first, those that drain last;
among equals the order is drawn by lot, the less loaded ahead more often, so that terminals spread. Several nodes behind one address are
one entry. A round is one try of each; the first try after a session comes at once but for a little jitter, each further round waits twice
as long, and who only refuses the connection costs no wait. A terminal that is sent away because its user has too many sessions comes back
later and later: it would push out another, which comes back too.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import replace

from myim_wire.contents import Server
from myim_wire.errors import ErrorCode

JITTER_SECONDS = 0.1
FIRST_ROUND_SECONDS = 0.25
LONGEST_ROUND_SECONDS = 5.0
PASSWORD_ROUND_SECONDS = 60.0
GOOD_SESSION_SECONDS = 5.0
SENT_AWAY_SECONDS = 30.0
LONGEST_SENT_AWAY_SECONDS = 600.0
UNDISTURBED_SECONDS = 3600.0  # a session that lasted so long was not one of too many


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


Address = tuple[str, int]


class Itinerary:
    """The way through the server list."""

    def __init__(self, servers: Sequence[Server], chance: Callable[[], float]) -> None:
        self._chance = chance
        self._lots: dict[Address, float] = {}
        self._tried: set[Address] = set()  # in this round; what is behind one address is tried once, the best of it counts
        self._current: Address | None = None
        self._is_at_once = False
        self._sent_away = 0
        self._away_seconds = 0.0
        self._list: Sequence[Server] = ()
        self._servers: list[Server] = []
        self.rounds = 0
        self.replace(servers)

    def replace(self, servers: Sequence[Server]) -> None:
        """A new list; what was tried in this round stays tried."""
        if servers == self._list:
            return
        self._list = servers
        self._order(servers)

    def _order(self, servers: Sequence[Server]) -> None:
        self._lots = {at: self._lots.get(at) or self._draw() for server in servers for at in [(server.host, server.port)]}
        self._servers = sorted(servers, key=lambda server: (server.draining, server.priority, -self._weighed(server)))

    def _draw(self) -> float:
        return min(max(self._chance(), 1e-9), 1.0 - 1e-9)

    def _weighed(self, server: Server) -> float:
        """Of lots to the power 1 / weight the highest falls on each server in proportion to its weight."""
        weight: float = 1.0 / max(1, 100 - server.load)
        lot: float = self._lots[(server.host, server.port)] ** weight
        return lot

    def next(self) -> Server | None:
        """The server to try now; None if no server is known."""
        left = [server for server in self._servers if (server.host, server.port) not in self._tried]
        if not left:
            self._tried.clear()
            left = self._servers
        self._away_seconds = 0.0
        self._current = (left[0].host, left[0].port) if left else None
        return left[0] if left else None

    def delay(self) -> float:
        """Seconds to wait before trying it."""
        if self._away_seconds:
            return self._away_seconds * (0.5 + self._chance() / 2)
        if not self.rounds or self._is_at_once:
            return JITTER_SECONDS * self._chance()
        grown: float = FIRST_ROUND_SECONDS * 2.0 ** min(self.rounds - 1, 10)
        return min(LONGEST_ROUND_SECONDS, grown) * (0.5 + self._chance() / 2)

    def failed(self, is_refused: bool = False) -> bool:
        """The attempt, or the session, at the present server ended: on to the next. Whether that ended the round.

        is_refused: nobody served there, which cost nothing.
        """
        if self._current is not None:
            self._tried.add(self._current)
        is_round_over = all((server.host, server.port) in self._tried for server in self._servers)
        self._is_at_once = is_refused and not is_round_over
        if is_round_over:
            self._tried.clear()
            self.rounds += 1
        return is_round_over

    def drained(self) -> None:
        """The present server said that it drains, or stops: it comes last until a new list says otherwise."""
        self._order([
            replace(server, draining=True) if (server.host, server.port) == self._current else server for server in self._servers
        ])  # fmt: skip

    def sent_away(self) -> None:
        """A session was ended because its user has too many: the next one waits longer than the last."""
        self._away_seconds = min(LONGEST_SENT_AWAY_SECONDS, SENT_AWAY_SECONDS * 2.0 ** min(self._sent_away, 10))
        self._sent_away += 1

    def lasted(self, seconds: float) -> None:
        """A session of that many seconds was had: a good one makes the waiting, and the way through the list, start anew."""
        if seconds >= GOOD_SESSION_SECONDS:
            self.rounds = 0
            self._tried.clear()
        if seconds >= UNDISTURBED_SECONDS:
            self._sent_away = 0
