"""The directory's words: who is online where, which servers are up.

What lives here: the small values and the interface that every directory offers. What must not: any one directory. Whatever a directory
says is a hint: the truth is at the center that holds the socket, and no rule of order or storage depends on an answer being right.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
    """One server of the cluster; lower priority is better, load is 0 to 100.

    host, port: what terminals are told to dial, "" and 0 where they are not; link: "host:port" of its link door, "" where it has none;
    incarnation: microseconds since 1970 of its start, the higher one is newer.
    """

    node: int
    role: str
    host: str
    port: int
    priority: int
    load: int
    is_draining: bool
    link: str = ""
    incarnation: int = 0


def best_first(servers: Iterable[Server]) -> list[Server]:
    """In the order terminals try them: not draining, then priority, then load."""
    return sorted(servers, key=lambda server: (server.is_draining, server.priority, server.load, server.node))


class Directory(Protocol):
    """What a center asks of a directory. Only `find` may block the calling greenlet, and never for more than a second."""

    on_published: Callable[[int, Place], None]  # called when a session can be found by others; where that is at once, never

    def start(self) -> None:
        """Begin to serve; what is published before is kept."""

    def stop(self) -> None:
        """Take back what this node listed, as far as that is quick, and end; safe to call again."""

    def publish(self, user: int, place: Place) -> None:
        """List a session; a higher incarnation of the same slot replaces the lower, a lower one changes nothing."""

    def remove(self, user: int, place: Place) -> None:
        """Take back exactly this entry; a newer one of the same slot stays."""

    def find(self, users: Collection[int]) -> Mapping[int, Sequence[Place]] | None:
        """Where these users are online, newest entry first, all in one question; None: the directory cannot say (may block)."""

    def publish_server(self, server: Server) -> None:
        """List or renew this server."""

    def servers(self) -> Sequence[Server]:
        """All servers as last heard of, best first."""

    @property
    def is_available(self) -> bool:
        """Whether it answers now, so that who is not listed is not there."""
