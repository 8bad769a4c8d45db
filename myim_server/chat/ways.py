"""Which other center is worth trying for a target: what the directory says, less what experience says against it.

What lives here: the centers that took no more, those that gave a target back again and again, or said that for this sender nobody is there,
and where senders say that a target is [P-3.3]. What must not: rules of delivery; all of this only chooses between a hop and the store. Who
hides at another center, or blocks the sender, is so no hop further away than who is absent: a sender could tell them apart by the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cluster.directory import Place
from myim_server.chat.lane import Lane
from myim_server.chat.post import Post

_FULL_SECONDS = 0.25  # a link that took no more is not tried for so long
_RETURNS, _RETURNS_SECONDS = 2, 1.0  # so often within so long from one center for one target: then it is believed, not the directory
_UNSEEN_SECONDS = 30.0  # a center said so lately that nobody is there for this sender
_REMEMBERED = 10_000


class Ways:
    """The memory of ways that were tried; bounded."""

    def __init__(self, post: Post, now: Callable[[], float]) -> None:
        self._post = post
        self._now = now
        self._full: dict[int, float] = {}
        self._returns: dict[tuple[int, int], tuple[int, float]] = {}
        self._unseen: dict[tuple[int, int], dict[int, float]] = {}  # (target, center) -> sender -> until when
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

    def to(self, lane: Lane, places: Iterable[Place]) -> list[int]:
        """The centers worth trying for the lane, in the order of the places."""
        now = self._now()
        return [center for center in self._post.reachable(places) if self._is_worth_trying(center, lane, now)]

    def _is_worth_trying(self, center: int, lane: Lane, now: float) -> bool:
        place = (lane.target, center)
        if place in self._unseen and self._unseen[place].get(lane.user, now) > now:
            return False
        count, since = self._returns.get(place, (0, now))
        return self._full.get(center, 0.0) <= now and (count < _RETURNS or now - since >= _RETURNS_SECONDS)

    def took_no_more(self, center: int) -> None:
        """The link to the center is full."""
        self._full[center] = self._now() + _FULL_SECONDS

    def appeared(self, center: int, target: int) -> None:
        """The target can be seen at the center."""
        self._unseen.pop((target, center), None)

    def gave_back(self, lane: Lane, is_absent: bool) -> None:
        """The center of the lane returned its messages; is_absent: for this sender nobody is there."""
        now, center, target = self._now(), lane.center, lane.target
        if is_absent:
            senders = self._unseen.setdefault((target, center), {})
            if len(senders) >= _REMEMBERED or len(self._unseen) > _REMEMBERED:
                self._unseen = {(target, center): (senders := {})}
            senders[lane.user] = now + _UNSEEN_SECONDS
            return
        if len(self._returns) >= _REMEMBERED:
            self._returns.clear()
        count, since = self._returns.get((target, center), (0, now))
        self._returns[(target, center)] = (count + 1, since) if now - since < _RETURNS_SECONDS else (1, now)
