"""The embedded directory: one process, its own memory.

What lives here: the default directory of a node that runs alone. What must not: anything that outlives the process.
"""

from __future__ import annotations

from collections.abc import Sequence

from cluster.directory import Place, Server


class MemoryDirectory:
    """A `Directory` in this process's memory; never blocks."""

    def __init__(self) -> None:
        self._places: dict[int, dict[int, Place]] = {}
        self._servers: dict[tuple[int, str], Server] = {}

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

    def places(self, user: int) -> Sequence[Place]:
        """Where the user is online, newest entry first."""
        slots = self._places.get(user)
        return list(reversed(slots.values())) if slots else ()

    def publish_server(self, server: Server) -> None:
        """List or renew a server."""
        self._servers[(server.node, server.role)] = server

    def servers(self) -> Sequence[Server]:
        """All servers, best first: not draining, then priority, then load."""
        return sorted(self._servers.values(), key=lambda server: (server.is_draining, server.priority, server.load, server.node))
