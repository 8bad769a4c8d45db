"""Presence among sessions, friends and centers: who is told, and when.

What lives here: the bridge between `presence` and sessions, the gathering of what is told. What must not: the rules of appearance
(`presence`), who is online when somebody asks (`online_questions`), SQL, sockets, clocks. Nothing here yields.

What another center says of its users is given only to those here whose own circle, read from the store, has that user: a center can lie
about the presence of somebody to that user's friends, and to nobody else. **Whom a block takes out of sight is told of as late as who
leaves**, or the missing word would tell that he is blocked. That something changed between users is a hint, which may be lost with a link;
so circles are read again when a link begins, and when its center has not come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, cast

from myim_server.chat.circles import Circle, Circles
from myim_server.chat.online_questions import OnlineQuestions, PresenceParts
from myim_server.chat.party import Party
from myim_server.chat.presence import GONE, INVISIBLE, ONLINE, Hearsay, Presence, Seen
from myim_wire import friend_peer_messages as wire
from myim_wire.friend_peer_messages import Told
from myim_wire.messages import Command, encode_message
from myim_wire.presence_contents import OnlinePage, PresenceChanged
from myim_wire.presence_contents import Presence as ToldPresence

_GATHER_SECONDS = 0.1  # what users here do, before it is told
_HAND_SECONDS = 0.2  # what friends here are to hear, before they do
_MOST_HAND_SECONDS = 2.0
_PUSHES_PER_SECOND = 2_500  # beyond, what was handed out makes the next wait: a storm is told in fewer pushes, not in more CPU
_AGAIN_SECONDS = 1.0  # after the store, or a link, did not take what was asked of it
_ROUND_SECONDS = 10.0  # within which a center has said all that is so there, on a new link
_PIECE_SECONDS = 0.01
_AT_ONCE = 64


class PresenceHall:
    """Presence of the users with sessions here."""

    def __init__(self, parts: PresenceParts, circles: Circles, grace_seconds: float) -> None:
        self._parts = parts
        self.circles = circles
        self.presence = Presence(grace_seconds)
        self.questions = OnlineQuestions(parts, circles, self.presence)
        self._hearsay = Hearsay()
        self._grace_seconds = grace_seconds
        self._dead_seconds = 2 * grace_seconds
        self._moods: dict[int, Seen] = {}  # by terminal: what a session said before it was there
        self._gathered: dict[int, dict[int, bytes]] = {}  # friend here -> user -> how that user appears, packed once for all friends
        self._fading: dict[tuple[int, int], tuple[Seen]] = {}  # (user here, who was its friend): how that one was seen, and is no more
        self._is_telling = self._is_handing = False
        self._handed_until = 0.0  # when what was handed out is paid for
        self._rereads = 0
        circles.on_read = self._circle_read
        parts.inboxes.hides = self.hides
        parts.inboxes.blocks = self.is_blocked
        self.table: dict[int, Callable[[int, bytes], None]] = {**self.questions.table, wire.PRESENCE_TOLD: self._told}

    on_visible: Callable[[int], None] = staticmethod(lambda user: None)  # who hid may be seen again
    on_hidden: Callable[[int], None] = staticmethod(lambda user: None)
    on_blocked: Callable[[int, frozenset[int]], None] = staticmethod(lambda user, senders: None)
    on_seen: Callable[[int, int], None] = staticmethod(lambda center, user: None)  # at another center

    # ------------------------------------------------------------------ sessions

    def begin(self, party: Party, then: Callable[[], None]) -> None:
        """A terminal asks for what is stored: its circle is read first, `then` it is delivered to, and there for its friends."""
        session = party.session

        def entered(failure: Exception | None) -> None:
            if self._parts.parties.get(session.key) is not party:
                return
            if failure is not None:  # the store is away, and without it nothing could be handed over anyhow
                self._parts.later(_AGAIN_SECONDS, lambda: self.begin(party, then))
                return
            was_hidden = self.is_hidden(session.user)
            self.presence.begin(session.user, session.slot, self._moods.get(session.key, Seen(ONLINE)), self._parts.now())
            self._follow(session.user, was_hidden)
            then()

        if self._parts.parties.get(session.key) is party:
            self._read(session.user, entered)

    def change(self, party: Party, seen: Seen) -> None:
        """A session says how it wants to be seen; before it is there, this is kept for when it is."""
        session = party.session
        if self._parts.parties.get(session.key) is not party:  # it ended, and the terminal's next session speaks for itself
            return
        was_hidden = self.is_hidden(session.user)
        self._moods[session.key] = seen
        self.presence.change(session.user, session.slot, seen, self._parts.now())
        self._follow(session.user, was_hidden)

    def _follow(self, user: int, was_hidden: bool) -> None:
        is_hidden = self.is_hidden(user)
        if is_hidden and not was_hidden:
            self.on_hidden(user)
        elif was_hidden and self.is_visible(user):
            self.on_visible(user)
        self._tell_soon(_GATHER_SECONDS)

    def left(self, user: int, slot: int) -> None:
        """A session ended."""
        was_hidden = self.is_hidden(user)
        self._moods.pop(user << 6 | slot, None)
        self.presence.end(user, slot, self._parts.now())
        self._follow(user, was_hidden)
        self._forget_if_gone(user)

    # ------------------------------------------------------------------ circles

    def circle_changed(self, user: int) -> None:
        """The friends or blocks of a user changed, who may be here."""
        if self.circles.is_asked(user):
            self._read(user, lambda failure: self._read_later(user) if failure is not None else None)

    def read_again(self) -> None:
        """Read all circles again, a few at a time: what was said of changes may not have come."""
        self._rereads = number = self._rereads + 1
        users = self.circles.users()
        for turn, start in enumerate(range(0, len(users), _AT_ONCE)):
            self._parts.later(turn * _PIECE_SECONDS, partial(self._read_some, number, users[start : start + _AT_ONCE]))

    def _read_some(self, number: int, users: Sequence[int]) -> None:
        for user in users if number == self._rereads else ():
            self.circle_changed(user)

    def _read_later(self, user: int) -> None:
        self._parts.later(_AGAIN_SECONDS, lambda: self.circle_changed(user))

    def _read(self, user: int, done: Callable[[Exception | None], None]) -> None:
        def came(failure: Exception | None) -> None:
            done(failure)
            self._forget_if_gone(user)

        self.circles.read(user, came)

    def _forget_if_gone(self, user: int) -> None:
        if not self._parts.inboxes.of(user) and not self.presence.is_leaving(user):
            self.circles.forget(user)

    def _circle_read(self, user: int, before: Circle | None, now: Circle) -> None:
        """A circle came from the store; before: None, there was none, and whoever was let in meanwhile goes back."""
        blocked = now.blocked if before is None else now.blocked - before.blocked
        if blocked:
            self.on_blocked(user, blocked)
        if before is None:
            return
        new, seen = now.friends - before.friends, self.presence.shown(user)
        if new and seen != GONE:
            self._send([self._as_told(user, seen, new)], self._parts.mesh.linked())
        for friend in new:
            self._came_into_sight(user, friend)
        for friend in before.friends - now.friends:
            self._went_out_of_sight(user, friend)

    def _came_into_sight(self, user: int, friend: int) -> None:
        before = self._fading.pop((user, friend), (GONE,))
        seen = self._hearsay.of(friend)
        if (seen,) != before:
            self._gather(friend, seen, [user])

    def _went_out_of_sight(self, user: int, friend: int) -> None:
        seen = (self._hearsay.of(friend),)
        if seen != (GONE,):
            self._fading[(user, friend)] = seen
            self._parts.later(self._grace_seconds, lambda: self._faded(user, friend, seen))

    def _faded(self, user: int, friend: int, seen: tuple[Seen]) -> None:
        if self._fading.get((user, friend)) is seen:  # else he came into sight meanwhile
            del self._fading[(user, friend)]
            self._gather(friend, GONE, [user])

    # ------------------------------------------------------------------ who sees whom

    def hides(self, target: int, sender: int) -> bool:
        """Whether the sender must not see that the target is here."""
        return self.is_hidden(target) or sender in self.circles.of(target).blocked

    def is_blocked(self, target: int, sender: int) -> bool:
        """Whether the target never sees the sender's messages."""
        return sender in self.circles.of(target).blocked

    def is_hidden(self, user: int) -> bool:
        """Whether there are sessions here, and none of them may be seen: now, or when it is there."""
        if user in self.presence:
            return self.presence.is_hidden(user)
        moods = [self._moods.get(user << 6 | inbox.slot) for inbox in self._parts.inboxes.of(user)]
        return bool(moods) and all(mood is not None and mood.state == INVISIBLE for mood in moods)

    def is_visible(self, user: int) -> bool:
        """Whether there is a session here that may be seen."""
        return bool(self.presence.visible_slots(user))

    def online(self, asker: int, after: int, done: Callable[[OnlinePage], None]) -> None:
        """The friends that are online, by id above `after`; done gets the page, within about a second."""

        def read(failure: Exception | None) -> None:
            # a session may ask before its circle is there; without one all friends would seem to be offline
            if failure is not None:
                done(OnlinePage((), False))
            else:
                self.questions.ask(asker, after, done)

        if self.circles.is_known(asker):
            read(None)
        else:
            self._read(asker, read)

    # ------------------------------------------------------------------ telling

    def _tell_soon(self, seconds: float) -> None:
        if not self._is_telling:
            self._is_telling = True
            self._parts.later(seconds, self.tell)

    def tick(self) -> None:
        """Tell of those whose grace is over, or who change all the time; a few times a second."""
        if self.presence.is_owing and not self._is_telling:
            self.tell()

    def tell(self) -> None:
        """Tell what is due: friends here, and the other centers, each in one message."""
        self._is_telling = False
        told: list[Told] = []
        for user, seen in self.presence.take_due(self._parts.now()):
            friends = self.circles.of(user).friends
            self._hear(self._parts.node_id, user, seen, friends)
            told.append(self._as_told(user, seen, friends))
            self._forget_if_gone(user)
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
                    if not self._parts.mesh.send(center, message):
                        self._send_later(center, part)

    def _send_later(self, center: int, part: Sequence[Told]) -> None:
        """What a link did not take, as it is then; a new link is told everything."""

        def send() -> None:
            if center in self._parts.mesh.linked():
                self._send([self._as_it_is(one) for one in part], [center])

        self._parts.later(_AGAIN_SECONDS, send)

    def _as_it_is(self, one: Told) -> Told:
        return self._as_told(one.user, self.presence.told(one.user), self.circles.of(one.user).friends or one.friends)

    def _told(self, center: int, message: bytes) -> None:
        for one in wire.decode_presence_told(message):
            seen = Seen(one.state, one.text)
            if seen != GONE:
                self.on_seen(center, one.user)
            self._hear(center, one.user, seen, one.friends)

    def _hear(self, center: int, user: int, seen: Seen, friends: Iterable[int]) -> None:
        """For those of the friends that are here, and are friends of the user indeed."""
        if self._hearsay.hear(center, user, seen):  # kept for friends that come later, too
            users = self._parts.inboxes.users
            here = [friend for friend in friends if friend in users and user in self.circles.of(friend).friends]
            self._gather(user, self._hearsay.of(user), here)

    def _gather(self, user: int, seen: Seen, friends: Iterable[int]) -> None:
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
        inboxes = [inbox for inbox in self._parts.inboxes.of(user) if inbox.is_fetching]
        found = [self._parts.parties.get(user << 6 | inbox.slot) for inbox in inboxes]
        return [party for party in found if party is not None]

    # ------------------------------------------------------------------ links

    def came_up(self, center: int) -> None:
        """A link began: its center is told all that it may have missed, as it tells us; what it does not say again is not so any more."""
        number = self._hearsay.begin_round(center)
        self._tell_all(center, wire.parted(self._still_told(self.presence.all_told())))
        self._parts.later(self._dead_seconds + _ROUND_SECONDS, lambda: self._drop(self._hearsay.forget(center, number)))
        self.read_again()

    def _still_told(self, users: Iterable[int]) -> Iterator[Told]:
        for user in users:
            seen = self.presence.told(user)
            if seen != GONE:
                yield self._as_told(user, seen, self.circles.of(user).friends)

    def _tell_all(self, center: int, parts: Iterator[list[Told]]) -> None:
        """In pieces; what the link does not take now it is told later, as it is then."""
        part = next(parts, None)
        if part is None or center not in self._parts.mesh.linked():
            return
        is_sent, seconds = self._parts.mesh.send(center, wire.encode_presence_told(part)), _PIECE_SECONDS
        if not is_sent:
            parts, seconds = chain(wire.parted(self._still_told([one.user for one in part])), parts), _AGAIN_SECONDS
        self._parts.later(seconds, lambda: self._tell_all(center, parts))

    def lost(self, center: int) -> None:
        """A link ended: what it was asked stays unanswered; if it does not come back, its users are gone."""
        self.questions.lost(center)
        self._parts.later(self._dead_seconds, lambda: self._bury(center))

    def _bury(self, center: int) -> None:
        if center not in self._parts.mesh.linked():
            self._drop(self._hearsay.forget(center))
            self.read_again()

    def _drop(self, users: Sequence[int]) -> None:
        """These appear otherwise, since a center says nothing of them any more; their friends here are told, a few at a time."""
        gone, friends = frozenset(users), list(self._parts.inboxes.users) if users else []
        for turn, start in enumerate(range(0, len(friends), _AT_ONCE)):
            self._parts.later(turn * _PIECE_SECONDS, partial(self._drop_for, gone, friends[start : start + _AT_ONCE]))

    def _drop_for(self, gone: frozenset[int], friends: Sequence[int]) -> None:
        for friend in friends:
            for user in self.circles.of(friend).friends & gone:
                self._gather(user, self._hearsay.of(user), [friend])
