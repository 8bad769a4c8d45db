"""Presence among sessions, friends and centers: who is told, when, and what friends are answered.

What lives here: the bridge between `presence` and sessions, the gathering of what is told, the question to other centers. What must not:
the rules of appearance (`presence`), SQL, sockets, clocks. Nothing here yields.

What another center says of its users is given only to those here whose own circle, read from the store, has that user: a center can lie
about the presence of somebody to that user's friends, and to nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from myim_server.chat.circles import Circles
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.party import Party
from myim_server.chat.post import Mesh
from myim_server.chat.presence import GONE, ONLINE, Hearsay, Presence, Seen, most_present
from myim_wire import friend_peer_messages as wire
from myim_wire.friend_peer_messages import Placed, Told
from myim_wire.messages import Command, encode_message
from myim_wire.presence_contents import Online, OnlinePage, PresenceChanged
from myim_wire.presence_contents import Presence as ToldPresence

_GATHER_SECONDS = 0.1  # what users here do, before it is told
_HAND_SECONDS = 0.2  # what friends here are to hear, before they do
_MOST_HAND_SECONDS = 2.0
_PUSHES_PER_SECOND = 2_500  # beyond, what was handed out makes the next wait: a storm is told in fewer pushes, not in more CPU
_ASK_SECONDS = 1.0
_PAGE = 300

Later = Callable[[float, Callable[[], None]], Any]
Answered = Callable[[Sequence[Online], bool], None]


class Asking:
    """One question of one user, until all centers have answered or the time is over."""

    __slots__ = ("found", "waiting", "done")

    def __init__(self, waiting: set[int], done: Callable[[Mapping[int, Online], bool], None]) -> None:
        self.found: dict[int, Online] = {}
        self.waiting = waiting
        self.done = done


class HallParts(NamedTuple):
    """What the hall stands on: this center's id, the router's tables, other centers, timers, whether all known centers are linked."""

    node_id: int
    parties: Mapping[int, Party]
    inboxes: Inboxes
    mesh: Mesh
    later: Later
    now: Callable[[], float]
    is_whole: Callable[[], bool]


class PresenceHall:
    """Presence of the users with sessions here."""

    def __init__(self, parts: HallParts, circles: Circles, grace_seconds: float) -> None:
        self._parts = parts
        self.circles = circles
        self.presence = Presence(grace_seconds)
        self._hearsay = Hearsay()
        self._dead_seconds = 2 * grace_seconds
        self._moods: dict[int, Seen] = {}  # by terminal: what a session said before it was there
        self._gathered: dict[int, dict[int, bytes]] = {}  # friend here -> user -> how that user appears, packed once for all friends
        self._is_telling = self._is_handing = False
        self._handed_until = 0.0  # when what was handed out is paid for
        self._askings: dict[int, Asking] = {}
        self._questions = 0
        parts.inboxes.hides = self.hides
        self.table: dict[int, Callable[[int, bytes], None]] = {
            wire.PRESENCE_TOLD: self._told,
            wire.PRESENCE_ASK: self._asked,
            wire.PRESENCE_PLACES: self._answered,
        }

    on_visible: Callable[[int], None] = staticmethod(lambda user: None)  # who hid may be seen again
    on_hidden: Callable[[int], None] = staticmethod(lambda user: None)

    # ------------------------------------------------------------------ sessions

    def begin(self, party: Party, then: Callable[[], None]) -> None:
        """A terminal asks for what is stored: its circle is read first, `then` it is delivered to, and there for its friends."""
        session = party.session

        def entered(failure: Exception | None) -> None:
            if self._parts.parties.get(session.key) is not party:
                return
            if failure is not None:  # the store is away, and without it nothing could be handed over anyhow
                self._parts.later(_ASK_SECONDS, lambda: self.begin(party, then))
                return
            was_hidden = self.presence.is_hidden(session.user)
            self.presence.begin(session.user, session.slot, self._moods.get(session.key, Seen(ONLINE)))
            self._follow(session.user, was_hidden)
            then()

        if self._parts.parties.get(session.key) is party:
            self.circles.read(session.user, entered)

    def change(self, party: Party, seen: Seen) -> None:
        """A session says how it wants to be seen; before it is there, this is kept for when it is."""
        session = party.session
        self._moods[session.key] = seen
        was_hidden = self.presence.is_hidden(session.user)
        self.presence.change(session.user, session.slot, seen)
        self._follow(session.user, was_hidden)

    def _follow(self, user: int, was_hidden: bool) -> None:
        is_hidden = self.presence.is_hidden(user)
        if is_hidden and not was_hidden:
            self.on_hidden(user)
        elif was_hidden and not is_hidden:
            self.on_visible(user)
        self._tell_soon(_GATHER_SECONDS)

    def left(self, user: int, slot: int) -> None:
        """A session ended."""
        self._moods.pop(user << 6 | slot, None)
        was_hidden = self.presence.is_hidden(user)
        self.presence.end(user, slot, self._parts.now())
        if self._parts.inboxes.of(user):
            self._follow(user, was_hidden)
        elif not self.presence.is_leaving(user):
            self.circles.forget(user)
        self._tell_soon(_GATHER_SECONDS)

    def circle_changed(self, user: int, done: Callable[[], None] = lambda: None) -> None:
        """The friends or blocks of a user changed, who may be here."""
        if not self.circles.is_known(user):
            done()
            return
        before = self.circles.of(user)

        def read(failure: Exception | None) -> None:
            circle, seen = self.circles.of(user), self.presence.shown(user)
            if circle.blocked - before.blocked:
                self.on_blocked(user, circle.blocked - before.blocked)
            if seen != GONE and circle.friends - before.friends:
                fresh = circle.friends - before.friends
                self._hear(self._parts.node_id, user, seen, fresh)
                self._send([self._as_told(user, seen, fresh)], self._parts.mesh.linked())
            done()

        self.circles.read(user, read)

    on_blocked: Callable[[int, frozenset[int]], None] = staticmethod(lambda user, senders: None)

    # ------------------------------------------------------------------ who sees whom

    def hides(self, target: int, sender: int) -> bool:
        """Whether the sender must not see that the target is here."""
        return self.presence.is_hidden(target) or sender in self.circles.of(target).blocked

    def is_blocked(self, target: int, sender: int) -> bool:
        """Whether the target never sees the sender's messages."""
        return sender in self.circles.of(target).blocked

    # ------------------------------------------------------------------ telling

    def _tell_soon(self, seconds: float) -> None:
        if not self._is_telling:
            self._is_telling = True
            self._parts.later(seconds, self.tell)

    def tick(self) -> None:
        """Tell of those whose grace is over; a few times a second."""
        if self.presence.has_leaving:
            self.tell()

    def tell(self) -> None:
        """Tell what is due: friends here, and the other centers, each in one message."""
        self._is_telling = False
        told: list[Told] = []
        for user, seen in self.presence.take_due(self._parts.now()):
            friends = self.circles.of(user).friends
            self._hear(self._parts.node_id, user, seen, friends)
            told.append(self._as_told(user, seen, friends))
            if not self._parts.inboxes.of(user):
                self.circles.forget(user)
        self._send(told, self._parts.mesh.linked())

    def _as_told(self, user: int, seen: Seen, friends: Iterable[int]) -> Told:
        inbox = next(iter(self._parts.inboxes.of(user)), None)
        party = None if inbox is None else self._parts.parties.get(user << 6 | inbox.slot)
        where = (0, 0, 0) if party is None else (party.session.slot, *party.session.incarnation)
        return Told(user, *where, cast(Any, seen.state), seen.text, tuple(friends))

    def _send(self, told: Sequence[Told], centers: Sequence[int]) -> None:
        if centers:
            for part in wire.parted(told):
                message = wire.encode_presence_told(part)
                for center in centers:
                    self._parts.mesh.send(center, message)

    def came_up(self, center: int) -> None:
        """A link began: what its center missed is told."""
        told = [self._as_told(user, seen, self.circles.of(user).friends) for user, seen in self.presence.seen_now()]
        self._send(told, [center])

    def _told(self, center: int, message: bytes) -> None:
        for one in wire.decode_presence_told(message):
            self._hear(center, one.user, Seen(one.state, one.text), one.friends)

    def _hear(self, center: int, user: int, seen: Seen, friends: Iterable[int]) -> None:
        """For those of the friends that are here, and are friends of the user indeed."""
        if self._hearsay.hear(center, user, seen):  # kept for friends that come later, too
            users = self._parts.inboxes.users
            self._gather(user, [friend for friend in friends if friend in users and user in self.circles.of(friend).friends])

    def _gather(self, user: int, friends: Iterable[int]) -> None:
        seen = self._hearsay.of(user)
        packed = ToldPresence(user, cast(Any, seen.state), seen.text).pack()
        for friend in friends:
            self._gathered.setdefault(friend, {})[user] = packed
        if self._gathered and not self._is_handing:
            self._is_handing = True
            self._parts.later(max(_HAND_SECONDS, self._handed_until - self._parts.now()), self.hand_out)

    def hand_out(self) -> None:
        """Give friends what was gathered for them; the next time comes the later, the more hear it now."""
        self._is_handing = False
        gathered, self._gathered = self._gathered, {}
        last: list[bytes] = []  # who hears the same as the friend before, as all friends of one user do, gets the same bytes
        messages: list[bytes] = []
        for friend, changes in gathered.items():
            told = list(changes.values())
            if told != last:
                last = told
                messages = [encode_message(Command.PRESENCE, 0, 0, 0, 0, part) for part in PresenceChanged.contents(told)]
            for party in self._sessions(friend):
                for data in messages:
                    party.session.send(data)
        self._handed_until = self._parts.now() + min(_MOST_HAND_SECONDS, len(gathered) / _PUSHES_PER_SECOND)

    def _sessions(self, user: int) -> list[Party]:
        parties = self._parts.parties
        inboxes = self._parts.inboxes.of(user)
        return [party for inbox in inboxes if inbox.is_fetching and (party := parties.get(user << 6 | inbox.slot)) is not None]

    # ------------------------------------------------------------------ who is online

    def online(self, asker: int, after: int, done: Callable[[OnlinePage], None]) -> None:
        """The friends that are online, by id above `after`; done gets the page, within about a second."""
        if self.circles.is_known(asker):
            self._look(asker, after, done)
            return

        def read(failure: Exception | None) -> None:
            # a session may ask before its circle is there; without one all friends would seem to be offline
            if failure is not None:
                done(OnlinePage((), False))
                return
            self._look(asker, after, done)
            if not self._parts.inboxes.of(asker):
                self.circles.forget(asker)

        self.circles.read(asker, read)

    def _look(self, asker: int, after: int, done: Callable[[OnlinePage], None]) -> None:
        friends = sorted(friend for friend in self.circles.of(asker).friends if friend > after)[:_PAGE]
        up_to = friends[-1] if len(friends) == _PAGE and max(self.circles.of(asker).friends) > friends[-1] else 0
        placed = self._placed(asker, friends)
        here = {one.user: _online(one, self._parts.node_id) for one in placed}

        def answer(found: Mapping[int, Online], is_complete: bool) -> None:
            online = [found[user] for user in sorted(found)]
            done(OnlinePage.of(online, is_complete and self._parts.is_whole(), up_to))

        centers = set(self._parts.mesh.linked()) if friends else set()
        asking = Asking(centers, answer)
        asking.found.update(here)
        if not centers:
            answer(asking.found, True)
            return
        self._questions = question = (self._questions + 1) & 0xFFFFFFFF
        self._askings[question] = asking
        message = wire.encode_presence_ask(question, asker, friends)
        for center in list(centers):
            if not self._parts.mesh.send(center, message, is_urgent=True):
                self._finish(question, False)
                return
        self._parts.later(_ASK_SECONDS, lambda: self._finish(question, False))

    def _finish(self, question: int, is_complete: bool) -> None:
        asking = self._askings.pop(question, None)
        if asking is not None:
            asking.done(asking.found, is_complete)

    def _placed(self, asker: int, users: Iterable[int]) -> list[Placed]:
        """Those of the users that the asker may see here."""
        placed = []
        for user in users:
            seen = self.presence.shown(user)
            if seen != GONE and asker in self.circles.of(user).friends:
                parties = [self._parts.parties.get(user << 6 | slot) for slot in self.presence.visible_slots(user)]
                endpoints = [party.place.endpoint for party in parties if party is not None]
                placed.append(Placed(user, cast(Any, seen.state), seen.text, endpoints))
        return placed

    def _asked(self, center: int, message: bytes) -> None:
        question, asker, users = wire.decode_presence_ask(message)
        self._parts.mesh.send(center, wire.encode_presence_places(question, self._placed(asker, users)), is_urgent=True)

    def _answered(self, center: int, message: bytes) -> None:
        question, placed = wire.decode_presence_places(message)
        asking = self._askings.get(question)
        if asking is None or center not in asking.waiting:
            return
        asking.waiting.discard(center)
        for one in placed:
            online, known = _online(one, center), asking.found.get(one.user)
            if known is not None:
                seen = most_present((Seen(known.state, known.text), Seen(online.state, online.text)))
                online = Online(one.user, cast(Any, seen.state), seen.text, known.places + online.places)
            asking.found[one.user] = online
        if not asking.waiting:
            self._finish(question, True)

    def lost(self, center: int) -> None:
        """A link ended: what it was asked stays unanswered; if it does not come back, its users are gone."""
        for question in [question for question, asking in self._askings.items() if center in asking.waiting]:
            self._finish(question, False)
        self._parts.later(self._dead_seconds, lambda: self._bury(center))

    def _bury(self, center: int) -> None:
        if center in self._parts.mesh.linked():
            return
        gone = self._hearsay.forget(center)
        for friend in self._parts.inboxes.users if gone else ():
            for user in self.circles.of(friend).friends & gone.keys():
                self._gather(user, [friend])


def _online(placed: Placed, center: int) -> Online:
    return Online(placed.user, cast(Any, placed.state), placed.text, tuple((endpoint, center) for endpoint in placed.endpoints))
