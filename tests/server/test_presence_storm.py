"""A storm of presence costs fewer pushes, not more CPU: what was handed out makes the next wait, and all is told in the end."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any, cast

from myim_server.chat.circles import Circle, Circles
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.online_questions import PresenceParts
from myim_server.chat.presence import ONLINE, Seen
from myim_server.chat.presence_hall import PresenceHall
from myim_wire.messages import Command, decode_messages
from myim_wire.presence_contents import PresenceChanged

CENTER = 7


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        self.due.append((self.now + seconds, act))

    def go(self, seconds: float) -> None:
        """So many seconds, with all that is due in them."""
        end = self.now + seconds
        while ready := [one for one in self.due if one[0] <= end]:
            first = min(ready, key=lambda one: one[0])
            self.due.remove(first)
            self.now = first[0]
            first[1]()
        self.now = end


class Place:
    """A center without a store: users in a row, each a friend of all of its row; of itself, too, so that all share one set."""

    def __init__(self, *rows: Collection[int]) -> None:
        self.clock = Clock()
        self.pushed: list[tuple[float, int, bytes]] = []
        self.parties: dict[int, Any] = {}
        inboxes = Inboxes()
        mesh = SimpleNamespace(linked=tuple, send=None)
        parts = PresenceParts(CENTER, self.parties, inboxes, cast(Any, mesh), self.clock.later, lambda: self.clock.now, lambda: True)
        circles = Circles(cast(Any, None), cast(Any, None), cast(Any, None))
        self.hall = PresenceHall(parts, circles, 1.0)
        for row in rows:
            circle = Circle(frozenset(row), frozenset())
            for user in row:
                circles._known[user] = circle
                inboxes.users[user] = [cast(Any, SimpleNamespace(slot=0, is_fetching=True))]
                session = SimpleNamespace(key=user << 6, user=user, slot=0, incarnation=(1, 1), send=self._take(user))
                self.parties[user << 6] = SimpleNamespace(session=session)

    def _take(self, user: int) -> Callable[[bytes], None]:
        return lambda data: self.pushed.append((self.clock.now, user, data))

    def come(self, user: int) -> None:
        """A session is there."""
        self.hall.presence.begin(user, 0, Seen(ONLINE), self.clock.now)
        self.hall._tell_soon(0.1)

    def heard(self, user: int) -> list[int]:
        """Of whom the user was told."""
        pushes = [message for _, hearer, data in self.pushed if hearer == user for message in decode_messages(data)]
        assert all(one.command == Command.PRESENCE for one in pushes)
        return [change.user for one in pushes for change in PresenceChanged.decode(one.content).changes]


def test_a_few_changes_are_told_within_three_tenths_of_a_second() -> None:
    place = Place(range(1, 11))
    for user in range(1, 4):
        place.come(user)
        place.clock.go(1.0)
    assert [round(when, 2) for when, _, _ in place.pushed] == [0.3] * 10 + [1.3] * 10 + [2.3] * 10


def test_in_a_storm_each_hears_all_in_few_pushes_and_the_last_within_two_seconds() -> None:
    users = range(1, 5_001)
    place = Place(users)
    for user in users[:100]:  # one each 20 ms, and all 5,000 are told of each
        place.come(user)
        place.clock.go(0.02)
    place.clock.go(2.0)
    for user in (1, 50, 100, 101, 5_000):
        assert sorted(place.heard(user)) == list(users[:100])
    assert max(when for when, _, _ in place.pushed) <= 2.0 + 2.1  # the last came at 1.98
    assert len(place.pushed) <= 5_000 * 3  # at a push each 0.3 s it were 35,000


def test_after_a_storm_a_change_is_told_as_soon_as_ever() -> None:
    place = Place(range(1, 5_001))
    place.come(1)
    place.clock.go(5.0)
    begun = place.clock.now
    place.come(2)
    place.clock.go(0.31)
    assert place.pushed[-1][0] - begun <= 0.3001
