"""The embedded directory: one process, its own memory.

What lives here: the default directory of a node that runs alone. What must not: anything that outlives the process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from cluster.directory import Place, Server, best_first


class MemoryDirectory:
    """A `Directory` in this process's memory; never blocks."""

    def __init__(self, is_alone: bool = True) -> None:
        """is_alone: there are no other centers, so whoever is not listed is nowhere; else `find` cannot say."""
        self.on_published: Callable[[int, Place], None] = lambda user, place: None
        self._is_alone = is_alone
        self._places: dict[int, dict[int, Place]] = {}
        self._servers: dict[tuple[int, str], Server] = {}

    def start(self) -> None:
        """Nothing to begin."""

    def stop(self) -> None:
        """Nothing to end."""

    def publish(self, user: int, place: Place) -> None:
        """List a session unless a newer one of the same slot is listed."""
        slots = self._places.setdefault(user, {})
        known = slots.get(place.slot)
        if known is None or known.incarnation < place.incarnation:
            slots.pop(place.slot, None)  # keeps the dict in order of publishing, newest last
            slots[place.slot] = place

    def remove(self, user: int, place: Place) -> None:
        """Take back exactly this entry."""
        slots = self._places.get(user)
        if slots is not None and slots.get(place.slot) == place:
            del slots[place.slot]
            if not slots:
                del self._places[user]

    def find(self, users: Collection[int]) -> Mapping[int, Sequence[Place]] | None:
        """Where these users are online, newest entry first; None if other centers may know more."""
        if not self._is_alone:
            return None
        return {user: list(reversed(self._places.get(user, {}).values())) for user in users}

    def publish_server(self, server: Server) -> None:
        """List or renew a server."""
        self._servers[(server.node, server.role)] = server

    def servers(self) -> Sequence[Server]:
        """All servers, best first."""
        return best_first(self._servers.values())

    @property
    def is_available(self) -> bool:
        """Always."""
        return True
