"""What changed between users, told to their terminals here: one push for each session that fetches.

What lives here: the way from a change to sessions. What must not: what is told (`friend_news`), other centers, SQL, clocks. Nothing here
yields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from myim_server.chat.friend_news import News
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.party import Party
from myim_server.metrics import Metrics
from myim_wire.friend_contents import FriendChanged
from myim_wire.messages import Command, encode_message


class FriendHall:
    """Tells the terminals of a center."""

    def __init__(self, parties: Mapping[int, Party], inboxes: Inboxes, metrics: Metrics) -> None:
        """parties, inboxes: the router's own tables."""
        self._parties = parties
        self._inboxes = inboxes
        self._metrics = metrics

    on_news: Callable[[News], None] = staticmethod(lambda news: None)  # for other centers, and for who keeps what changed

    def tell(self, news: News) -> None:
        """A change was made by a terminal here: this center's terminals hear of it, and the other centers."""
        self.give(news.pushes, news.by)
        self.on_news(news)

    def give(self, pushes: Iterable[tuple[int, FriendChanged]], by: int = -1) -> None:
        """Push to all sessions of users here, but for that of the terminal `by` (user << 6 | slot)."""
        for user, push in pushes:
            if self._inboxes.of(user):
                self.give_encoded(user, encode_message(Command.FRIEND_CHANGE, 0, 0, 0, 0, push.encode()), by)

    def give_encoded(self, user: int, message: bytes, by: int = -1) -> None:
        """The same with one message as it is sent."""
        for inbox in self._inboxes.of(user):
            key = user << 6 | inbox.slot
            party = self._parties.get(key)
            if party is not None and inbox.is_fetching and key != by:
                self._metrics.friend_pushes += 1
                party.session.send(message)
