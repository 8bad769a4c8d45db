"""How the users of this center appear to their friends, and what is to be told of it, to whom, and when.

What lives here: the state machine of presence: sessions' states in, tellings out. What must not: clocks, sockets, the store, other centers
(`presence_hall`). Invisible is offline to everybody else; a user with several sessions appears as the most present of the visible ones. A
user that is gone is told of only after a time of grace without any session, here or elsewhere, so a reconnect is no news.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

OFFLINE, ONLINE, AWAY, BUSY, INVISIBLE = "offline", "online", "away", "busy", "invisible"
_MOST_PRESENT = {ONLINE: 0, BUSY: 1, AWAY: 2, INVISIBLE: 3}


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

    def __len__(self) -> int:
        return len(self._sessions)

    # ------------------------------------------------------------------ sessions

    def begin(self, user: int, slot: int, seen: Seen) -> None:
        """A session asks for what is stored, and is there from now on."""
        self._sessions.setdefault(user, {})[slot] = seen
        self._leaving.pop(user, None)
        self._look(user)

    def change(self, user: int, slot: int, seen: Seen) -> None:
        """A session says something else of itself."""
        if slot in self._sessions.get(user, ()):
            self._sessions[user][slot] = seen
            self._look(user)

    def end(self, user: int, slot: int, now: float) -> None:
        """A session ended."""
        sessions = self._sessions.get(user)
        if sessions is None or sessions.pop(slot, None) is None:
            return
        if sessions:
            self._look(user)
            return
        del self._sessions[user]
        self._due.pop(user, None)
        if self._told.get(user, GONE) != GONE:
            self._leaving[user] = now + self._grace_seconds
        else:
            self._told.pop(user, None)

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

    def _look(self, user: int) -> None:
        if self.appearance(user) != self._told.get(user, GONE):
            self._due[user] = None
        else:
            self._due.pop(user, None)

    # ------------------------------------------------------------------ what is to be told

    def take_due(self, now: float) -> list[tuple[int, Seen]]:
        """Who appears otherwise than was told; taken once. Who left long enough ago is among them."""
        for user in [user for user, deadline in self._leaving.items() if deadline <= now]:
            del self._leaving[user]
            self._due[user] = None
        due, self._due = self._due, {}
        news = []
        for user in due:
            seen = self.appearance(user)
            if seen == GONE:
                self._told.pop(user, None)
            else:
                self._told[user] = seen
            news.append((user, seen))
        return news

    def seen_now(self) -> list[tuple[int, Seen]]:
        """All who are seen, for a center that has just come."""
        return [(user, seen) for user, seen in self._told.items() if user in self._sessions]

    @property
    def has_leaving(self) -> bool:
        """Whether there is anybody who left, and of whom that is still to be told."""
        return bool(self._leaving)

    def is_leaving(self, user: int) -> bool:
        """Whether the user left, and that is still to be told."""
        return user in self._leaving


class Hearsay:
    """How users appear at each center, as that center said last."""

    def __init__(self) -> None:
        self._said: dict[int, dict[int, Seen]] = {}  # user -> center -> seen

    def of(self, user: int) -> Seen:
        """How the user appears, all centers together."""
        return most_present(self._said.get(user, {}).values())

    def hear(self, center: int, user: int, seen: Seen) -> bool:
        """A center says how the user appears there; whether the user appears otherwise by it."""
        before = self.of(user)
        said = self._said.setdefault(user, {})
        if seen == GONE:
            said.pop(center, None)
        else:
            said[center] = seen
        if not said:
            del self._said[user]
        return self.of(user) != before

    def forget(self, center: int) -> dict[int, Seen]:
        """The center is gone for good; those who appear otherwise by it."""
        users = [user for user, said in self._said.items() if center in said]
        return {user: self.of(user) for user in users if self.hear(center, user, GONE)}
