"""How the users of this center appear to their friends, and what is to be told of it, to whom, and when.

What lives here: the state machine of presence: sessions' states in, tellings out. What must not: clocks, sockets, the store, other centers
(`presence_hall`). Invisible is offline to everybody else; a user with several sessions appears as the most present of the visible ones.

A user that can be seen no more is told of only after a time of grace, so a reconnect is no news; and **who hides is told of as late as who
leaves**, since both are gone at once for whoever asks: told at once, the one would be known from the other. Who changes all the time is
told of once a second, as he is then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

OFFLINE, ONLINE, AWAY, BUSY, INVISIBLE = "offline", "online", "away", "busy", "invisible"
_MOST_PRESENT = {ONLINE: 0, BUSY: 1, AWAY: 2, INVISIBLE: 3}
_APART_SECONDS, _AT_ONCE = 1.0, 3  # a few changes of a user are told at once, then one in so long
_FEW_PAID = 1_000


class Seen(NamedTuple):
    """How a user appears, or what a session says of itself."""

    state: str
    text: str = ""


GONE = Seen(OFFLINE)


def most_present(seen: Iterable[Seen]) -> Seen:
    """How a user appears who is seen so at several places at once; GONE for none."""
    return min(seen, key=lambda one: _MOST_PRESENT[one.state], default=GONE)


class Presence:
    """The users with sessions here. All times are monotonic seconds."""

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._sessions: dict[int, dict[int, Seen]] = {}  # user -> slot -> what that session says
        self._told: dict[int, Seen] = {}  # what friends were told last, from here
        self._due: dict[int, None] = {}
        self._leaving: dict[int, float] = {}
        self._paid: dict[int, float] = {}  # until when what was told of a user is paid for; in the past, it is as if nothing was
        self._most_paid = _FEW_PAID

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, user: int) -> bool:
        return user in self._sessions

    # ------------------------------------------------------------------ sessions

    def begin(self, user: int, slot: int, seen: Seen, now: float) -> None:
        """A session asks for what is stored, and is there from now on."""
        self._sessions.setdefault(user, {})[slot] = seen
        self._look(user, now)

    def change(self, user: int, slot: int, seen: Seen, now: float) -> None:
        """A session says something else of itself."""
        if slot in self._sessions.get(user, ()):
            self._sessions[user][slot] = seen
            self._look(user, now)

    def end(self, user: int, slot: int, now: float) -> None:
        """A session ended."""
        sessions = self._sessions.get(user)
        if sessions is None or sessions.pop(slot, None) is None:
            return
        if not sessions:
            del self._sessions[user]
        self._look(user, now)

    def _look(self, user: int, now: float) -> None:
        seen, told = self.appearance(user), self._told.get(user, GONE)
        self._due.pop(user, None)
        if seen == GONE and told != GONE:
            self._leaving.setdefault(user, now + self._grace_seconds)
            return
        self._leaving.pop(user, None)
        if seen != told:
            self._due[user] = None

    # ------------------------------------------------------------------ how they appear

    def appearance(self, user: int) -> Seen:
        """How the user's sessions here appear, all together."""
        sessions = self._sessions.get(user)
        if sessions is None:
            return GONE
        if len(sessions) == 1:  # nearly everybody; asked for each friend of each who logs in
            (seen,) = sessions.values()
            return GONE if seen.state == INVISIBLE else seen
        return most_present(seen for seen in sessions.values() if seen.state != INVISIBLE)

    def shown(self, user: int) -> Seen:
        """The same for who asks: nobody is seen before friends are told, so that whoever was seen is told of when he goes."""
        return self.appearance(user) if user in self._told else GONE

    def visible_slots(self, user: int) -> list[int]:
        """The slots of the sessions here that may be seen."""
        return [slot for slot, seen in self._sessions.get(user, {}).items() if seen.state != INVISIBLE]

    def is_hidden(self, user: int) -> bool:
        """Whether there are sessions here and none of them may be seen."""
        return user in self._sessions and not self.visible_slots(user)

    # ------------------------------------------------------------------ what is to be told

    def take_due(self, now: float) -> list[tuple[int, Seen]]:
        """Who appears otherwise than was told, but for whom too much was told of just now; taken once. Who left long enough ago is among
        them."""
        for user in [user for user, deadline in self._leaving.items() if deadline <= now]:
            del self._leaving[user]
            self._due[user] = None
        latest = now + (_AT_ONCE - 1) * _APART_SECONDS
        news = []
        for user in [user for user in self._due if self._paid.get(user, now) <= latest]:
            del self._due[user]
            self._paid[user] = max(self._paid.get(user, now), now) + _APART_SECONDS
            seen = self.appearance(user)
            if seen == GONE:
                self._told.pop(user, None)
            else:
                self._told[user] = seen
            news.append((user, seen))
        if len(self._paid) > self._most_paid:
            self._paid = {user: until for user, until in self._paid.items() if until > now}
            self._most_paid = max(_FEW_PAID, 2 * len(self._paid))
        return news

    def told(self, user: int) -> Seen:
        """What friends were told of the user last, from here."""
        return self._told.get(user, GONE)

    def all_told(self) -> list[int]:
        """Whom friends were told of as there, for a center that has just come."""
        return list(self._told)

    @property
    def is_owing(self) -> bool:
        """Whether there is anybody of whom something is still to be told, now or later."""
        return bool(self._leaving or self._due)

    def is_leaving(self, user: int) -> bool:
        """Whether the user can be seen no more, and that is still to be told."""
        return user in self._leaving


class Hearsay:
    """How users appear at each center, as that center said last.

    What a center says on one link is a *round*: on a new link it says all that is so, and what it did not say again is no more so.
    """

    def __init__(self, most: int = 1_000_000) -> None:
        """most: users of whom something is kept; of others nothing is heard."""
        self._most = most
        self._said: dict[int, dict[int, tuple[Seen, int]]] = {}  # user -> center -> how it is seen, and in which round that was said
        self._rounds: dict[int, int] = {}

    def of(self, user: int) -> Seen:
        """How the user appears, all centers together."""
        said = self._said.get(user)
        return GONE if said is None else most_present(seen for seen, _ in said.values())

    def hear(self, center: int, user: int, seen: Seen) -> bool:
        """A center says how the user appears there; whether the user appears otherwise by it."""
        before = self.of(user)
        said = self._said.get(user, {})
        if seen == GONE:
            said.pop(center, None)
        elif said or len(self._said) < self._most:
            said[center] = (seen, self._rounds.get(center, 0))
        if said:
            self._said[user] = said
        else:
            self._said.pop(user, None)
        return self.of(user) != before

    def begin_round(self, center: int) -> int:
        """There is a new link to the center; its round."""
        self._rounds[center] = number = self._rounds.get(center, 0) + 1
        return number

    def forget(self, center: int, before: int | None = None) -> list[int]:
        """What the center said (before: in earlier rounds than this) is no more so; those who appear otherwise by it."""
        if before is None:
            before = self._rounds.get(center, 0) + 1
        users = [user for user, said in self._said.items() if center in said and said[center][1] < before]
        return [user for user in users if self.hear(center, user, GONE)]
