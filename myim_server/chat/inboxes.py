"""All live sessions of a center as targets: which of them a lane is opened to, and where it is bound (docs/delivery.md, D-10, D-11).

What lives here: the table of `inbox.Inbox` and of the lanes bound to them. What must not: the rules of one inbox, clocks, sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence

from myim_server.chat.inbox import Action, Inbox, Returned
from myim_server.chat.lane import Letter


class Inboxes:
    """All live sessions of a center as targets: which one a lane is opened to, and where it is bound."""

    __slots__ = ("users", "bound", "hides", "blocks")

    def __init__(self) -> None:
        self.users: dict[int, list[Inbox]] = {}
        self.bound: dict[tuple[int, int, int], Inbox] = {}
        self.hides: Callable[[int, int], bool] = lambda target, sender: False  # whether the sender must not see the target here
        self.blocks: Callable[[int, int], bool] = lambda target, sender: False  # whether the target never sees what the sender sends

    def hide(self, target: int, senders: Container[int] | None = None) -> list[Action]:
        """From now on the target hides from these users (None: from all): what is bound goes back, to be stored."""
        return [action for inbox in self.of(target) for action in inbox.give_back(senders)]

    def add(self, inbox: Inbox) -> None:
        """A session began."""
        self.users.setdefault(inbox.user, []).append(inbox)

    def remove(self, inbox: Inbox) -> list[Action]:
        """A session ended."""
        inboxes = self.users.get(inbox.user, [])
        if inbox in inboxes:
            inboxes.remove(inbox)
            if not inboxes:
                del self.users[inbox.user]
        for sender_key, lane in inbox.lanes.items():
            self.bound.pop((lane.owner, sender_key, inbox.user), None)
        return inbox.close()

    def of(self, user: int) -> Sequence[Inbox]:
        """Live sessions of a user at this center."""
        return self.users.get(user, ())

    def __iter__(self) -> Iterator[Inbox]:
        for inboxes in list(self.users.values()):
            yield from list(inboxes)

    def open(self, owner: int, sender_key: int, target: int, attempt: int, letters: Sequence[Letter], now: float) -> list[Action]:
        """Open a lane to the session of the target that was active last; without one, everything goes back."""
        present = self.of(target)
        if not present or self.hides(target, sender_key >> 6):
            return [Returned(owner, sender_key, target, attempt, [letter.time for letter in letters], bool(present))]
        inbox = max(present, key=lambda one: (one.is_fetching, one.last_active)) if len(present) > 1 else present[0]
        previous = self.bound.get((owner, sender_key, target))
        if previous is not None and previous is not inbox:
            lane = previous.lanes.get(sender_key)
            if lane is not None and lane.owner == owner:  # else another owner has taken it over there, and waits for its answers
                del previous.lanes[sender_key]
        self.bound[(owner, sender_key, target)] = inbox
        return inbox.open(owner, sender_key, attempt, letters, now)

    def follow(self, owner: int, sender_key: int, target: int, attempt: int, letters: Sequence[Letter], now: float) -> list[Action]:
        """Pass letters on to the session their lane is bound to."""
        inbox = self.bound.get((owner, sender_key, target))
        if inbox is None:
            return [Returned(owner, sender_key, target, attempt, [letter.time for letter in letters])]
        return inbox.follow(owner, sender_key, attempt, letters, now)

    def end(self, owner: int, sender_key: int, target: int, attempt: int) -> list[Action]:
        """The owner ends an attempt."""
        inbox = self.bound.pop((owner, sender_key, target), None)
        return [] if inbox is None else inbox.end(owner, sender_key, attempt)

    def lost(self, owner: int) -> None:
        """The link to an owner ended."""
        for inbox in {self.bound.pop(key) for key in [key for key in self.bound if key[0] == owner]}:
            inbox.lost(owner)

    def forget_ended(self, key: tuple[int, int, int]) -> None:
        """Drop a binding whose lane ended by itself: it waited too long, or the store could not be read."""
        inbox = self.bound.get(key)
        lane = None if inbox is None else inbox.lanes.get(key[1])
        if lane is None or lane.owner != key[0]:
            self.bound.pop(key, None)
