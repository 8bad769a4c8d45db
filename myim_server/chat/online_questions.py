"""Which friends of a user are online, and where: asked of this center and of all others, answered when all have answered, or in a second.

What lives here: the questions that are open, and what other centers are answered. What must not: who is told of whom unasked
(`presence_hall`), the rules of appearance (`presence`), SQL, sockets, clocks. Nothing here yields.

A center is believed only of those it was asked for; where one did not answer, nothing is known of who is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

from myim_server.chat.circles import Circles
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.party import Party
from myim_server.chat.post import Mesh
from myim_server.chat.presence import GONE, Presence, Seen, most_present
from myim_wire import friend_peer_messages as wire
from myim_wire.friend_peer_messages import Placed
from myim_wire.presence_contents import MAX_PLACES, Online, OnlinePage

_ASK_SECONDS = 1.0
_PAGE = 300

Later = Callable[[float, Callable[[], None]], Any]


class PresenceParts(NamedTuple):
    """What presence stands on: this center's id, the router's tables, other centers, timers, whether all known centers are linked."""

    node_id: int
    parties: Mapping[int, Party]
    inboxes: Inboxes
    mesh: Mesh
    later: Later
    now: Callable[[], float]
    is_whole: Callable[[], bool]


class _Asking:
    """One question of one user, until all centers have answered or the time is over."""

    __slots__ = ("asked", "found", "waiting", "done")

    def __init__(self, asked: frozenset[int], waiting: set[int], done: Callable[[Mapping[int, Online], bool], None]) -> None:
        self.asked = asked
        self.found: dict[int, Online] = {}
        self.waiting = waiting
        self.done = done


class OnlineQuestions:
    """The questions of the users with sessions here."""

    def __init__(self, parts: PresenceParts, circles: Circles, presence: Presence) -> None:
        self._parts = parts
        self._circles = circles
        self._presence = presence
        self._open: dict[int, _Asking] = {}
        self._number = 0
        self.table: dict[int, Callable[[int, bytes], None]] = {
            wire.PRESENCE_ASK: self._asked,
            wire.PRESENCE_PLACES: self._answered,
        }

    def ask(self, asker: int, after: int, done: Callable[[OnlinePage], None]) -> None:
        """The friends that are online, by id above `after`, of a user whose circle is known; done gets the page, within about a second."""
        circle = self._circles.of(asker).friends
        friends = sorted(friend for friend in circle if friend > after)[:_PAGE]
        up_to = friends[-1] if len(friends) == _PAGE and max(circle) > friends[-1] else 0

        def answer(found: Mapping[int, Online], is_complete: bool) -> None:
            online = [found[user] for user in sorted(found)]
            done(OnlinePage.of(online, is_complete and self._parts.is_whole(), up_to))

        asking = _Asking(frozenset(friends), set(self._parts.mesh.linked()) if friends else set(), answer)
        asking.found.update({one.user: _online(one, self._parts.node_id) for one in self._placed(asker, friends)})
        if not asking.waiting:
            answer(asking.found, True)
            return
        self._number = number = (self._number + 1) & 0xFFFFFFFF
        self._open[number] = asking
        message = wire.encode_presence_ask(number, asker, friends)
        for center in list(asking.waiting):
            if not self._parts.mesh.send(center, message, is_urgent=True):
                self._finish(number, False)
                return
        self._parts.later(_ASK_SECONDS, lambda: self._finish(number, False))

    def _finish(self, number: int, is_complete: bool) -> None:
        asking = self._open.pop(number, None)
        if asking is not None:
            asking.done(asking.found, is_complete)

    def _placed(self, asker: int, users: Iterable[int]) -> list[Placed]:
        """Those of the users that the asker may see here."""
        placed = []
        for user in users:
            seen = self._presence.shown(user)
            if seen != GONE and asker in self._circles.of(user).friends:
                parties = [self._parts.parties.get(user << 6 | slot) for slot in self._presence.visible_slots(user)]
                endpoints = [party.place.endpoint for party in parties if party is not None]
                placed.append(Placed(user, cast(Any, seen.state), seen.text, endpoints))
        return placed

    def _asked(self, center: int, message: bytes) -> None:
        number, asker, users = wire.decode_presence_ask(message)
        self._parts.mesh.send(center, wire.encode_presence_places(number, self._placed(asker, users)), is_urgent=True)

    def _answered(self, center: int, message: bytes) -> None:
        number, placed = wire.decode_presence_places(message)
        asking = self._open.get(number)
        if asking is None or center not in asking.waiting:
            return
        asking.waiting.discard(center)
        for one in placed:
            if one.user in asking.asked:
                known = asking.found.get(one.user)
                asking.found[one.user] = _online(one, center) if known is None else _together(known, _online(one, center))
        if not asking.waiting:
            self._finish(number, True)

    def lost(self, center: int) -> None:
        """A link ended: what its center was asked stays unanswered."""
        for number in [number for number, asking in self._open.items() if center in asking.waiting]:
            self._finish(number, False)


def _online(placed: Placed, center: int) -> Online:
    return Online(placed.user, cast(Any, placed.state), placed.text, tuple((endpoint, center) for endpoint in placed.endpoints))


def _together(one: Online, other: Online) -> Online:
    """A friend that is online at two centers."""
    seen = most_present((Seen(one.state, one.text), Seen(other.state, other.text)))
    return Online(one.user, cast(Any, seen.state), seen.text, (one.places + other.places)[:MAX_PLACES])
