"""Which other center is worth trying for a target: what the directory says, less what experience says against it.

What lives here: the centers that took no more, those that gave a target back again and again, and where senders say that a target is
[P-3.3]. What must not: rules of delivery; all of this only chooses between a hop and the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cluster.directory import Place
from myim_server.chat.lane import Lane
from myim_server.chat.post import Post

_FULL_SECONDS = 0.25  # a link that took no more is not tried for so long
_RETURNS, _RETURNS_SECONDS = 2, 1.0  # so often within so long from one center for one target: then it is believed, not the directory
_REMEMBERED = 10_000


class Ways:
    """The memory of ways that were tried; bounded."""

    def __init__(self, post: Post, now: Callable[[], float]) -> None:
        self._post = post
        self._now = now
        self._full: dict[int, float] = {}
        self._returns: dict[tuple[int, int], tuple[int, float]] = {}
        self._hints: dict[Lane, int] = {}

    def hint(self, lane: Lane, center: int) -> None:
        """The sender says that the target is at this center: tried once, where nothing is known."""
        if len(self._hints) >= _REMEMBERED:
            self._hints.clear()
        self._hints[lane] = center

    def hinted(self, lane: Lane) -> int | None:
        """The linked center its sender named, once."""
        center = self._hints.pop(lane, None) if self._hints else None
        return center if center in self._post.linked() else None

    def to(self, target: int, places: Iterable[Place]) -> list[int]:
        """The centers worth trying, in the order of the places."""
        now = self._now()
        return [center for center in self._post.reachable(places) if self._is_worth_trying(center, target, now)]

    def _is_worth_trying(self, center: int, target: int, now: float) -> bool:
        count, since = self._returns.get((target, center), (0, now))
        return self._full.get(center, 0.0) <= now and (count < _RETURNS or now - since >= _RETURNS_SECONDS)

    def took_no_more(self, center: int) -> None:
        """The link to the center is full."""
        self._full[center] = self._now() + _FULL_SECONDS

    def gave_back(self, center: int, target: int) -> None:
        """The center returned messages for the target."""
        now = self._now()
        if len(self._returns) >= _REMEMBERED:
            self._returns.clear()
        count, since = self._returns.get((target, center), (0, now))
        self._returns[(target, center)] = (count + 1, since) if now - since < _RETURNS_SECONDS else (1, now)
