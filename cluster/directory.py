"""The directory's words: who is online where, which servers are up.

What lives here: the small values and the interface that every directory offers. What must not: any one directory. Whatever a directory
says is a hint: the truth is at the center that holds the socket, and no rule of order or storage depends on an answer being right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Place(NamedTuple):
    """Where one terminal of a user is online. (generation, number) is the session's incarnation: the higher one is newer."""

    center: int
    endpoint: int
    slot: int
    generation: int
    number: int

    @property
    def incarnation(self) -> tuple[int, int]:
        """Orders the sessions of one terminal."""
        return self.generation, self.number


class Server(NamedTuple):
    """One server that terminals may connect to; lower priority is better, load is 0 to 100."""

    node: int
    role: str
    host: str
    port: int
    priority: int
    load: int
    is_draining: bool


class Directory(Protocol):
    """What a center asks of a directory. Calls may block the calling greenlet, never for more than a second."""

    def publish(self, user: int, place: Place) -> None:
        """List a session; a higher incarnation of the same slot replaces the lower, a lower one changes nothing."""

    def remove(self, user: int, place: Place) -> None:
        """Take back exactly this entry; a newer one of the same slot stays."""

    def places(self, user: int) -> Sequence[Place]:
        """Where the user is online, newest entry first; empty if nowhere, or if the directory cannot say."""

    def publish_server(self, server: Server) -> None:
        """List or renew this server."""

    def servers(self) -> Sequence[Server]:
        """All servers, best first."""
