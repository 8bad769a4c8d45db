"""Whom another center may speak for: only the sessions it holds.

What lives here: what other centers claimed and what was found to be so. What must not: what is done with their messages (`peers`). A claim
(center, terminal, incarnation) holds if the directory, or where it cannot answer the centers themselves, show that session there. It is
asked for once per session and center, then known; a newer session elsewhere ends it. A session that has just begun may not be listed yet,
so an unproven claim is looked at three times within a third of a second before it is refused. A refusal costs an honest center a detour
through the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Protocol

from cluster.directory import Place

_AGAIN_SECONDS = (0.05, 0.25)
_REMEMBERED = 200_000

Incarnation = tuple[int, int]


class Finder(Protocol):
    """Where users are, as `cluster.locator.Locator` tells it."""

    def find(self, user: int, done: Callable[[Sequence[Place]], None]) -> None: ...
    def known(self, user: int) -> Sequence[Place] | None: ...
    def doubt(self, user: int, center: int) -> None: ...
    def keep_shortly(self, user: int) -> None: ...
    def note(self, user: int, place: Place) -> None: ...
    def forget_center(self, center: int) -> None: ...
    def took_ask(self, center: int, payload: bytes) -> None: ...
    def took_answer(self, center: int, payload: bytes) -> None: ...


class Vouching:
    """The claims of other centers; asks each question once."""

    def __init__(self, finder: Finder, later: Callable[[float, Callable[[], None]], Any]) -> None:
        """later(seconds, f) calls f after so many seconds."""
        self._finder = finder
        self._later = later
        self._vouched: dict[tuple[int, int], Incarnation] = {}

    def holds(self, center: int, key: int, incarnation: Incarnation) -> bool:
        """Whether this claim is known to be so; key = user << 6 | slot."""
        return self._vouched.get((center, key)) == incarnation

    def ask(self, center: int, key: int, incarnation: Incarnation, done: Callable[[bool], None]) -> None:
        """Find out; done gets the verdict, perhaps before this returns, within about a second."""
        self._ask(center, key, incarnation, done, 0)

    def _ask(self, center: int, key: int, incarnation: Incarnation, done: Callable[[bool], None], tries: int) -> None:
        user, slot = key >> 6, key & 63

        def answer(places: Sequence[Place]) -> None:
            if any(place.center == center and place.slot == slot and place.incarnation == incarnation for place in places):
                self._remember(center, key, incarnation)
                done(True)
            elif tries >= len(_AGAIN_SECONDS) or self._is_contradicted(places, center, slot, incarnation):
                done(False)
            else:
                self._later(_AGAIN_SECONDS[tries], lambda: self._ask(center, key, incarnation, done, tries + 1))

        known = self._finder.known(user)
        if known is not None and not any(place.center == center and place.incarnation == incarnation for place in known):
            for place in known:  # what the cache says may be old: only a fresh answer refuses
                self._finder.doubt(user, place.center)
            self._finder.doubt(user, center)
        self._finder.find(user, answer)

    def _is_contradicted(self, places: Sequence[Place], center: int, slot: int, incarnation: Incarnation) -> bool:
        return any(place.slot == slot and place.center != center and place.incarnation >= incarnation for place in places)

    def _remember(self, center: int, key: int, incarnation: Incarnation) -> None:
        if len(self._vouched) >= _REMEMBERED:
            for old in list(islice(self._vouched, _REMEMBERED // 10)):
                del self._vouched[old]
        self._vouched[(center, key)] = incarnation

    def moved(self, key: int, center: int, centers: Sequence[int]) -> None:
        """The terminal has a session at this center: what others (of `centers`) claimed for it must be shown anew."""
        for other in centers:
            if other != center:
                self._vouched.pop((other, key), None)

    def forget(self, center: int) -> None:
        """The link ended."""
        for claim in [claim for claim in self._vouched if claim[0] == center]:
            del self._vouched[claim]
