"""Circles: of the users that are online here, who may see them, whom they block.

What lives here: what the store says of it, read in batches when a session begins, and again when it may have changed. What must not: SQL,
clocks, presence itself (`presence`). A circle is there before its session is delivered to, so nothing slips past a block.

Of one user one read runs at a time, and what is asked meanwhile is a new read after it: else an old answer that comes late takes the place
of a newer one, and a block that was made during the first read is never heard of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import structlog

from myim_server.batches import Batch

_AT_ONCE = 64
_NOBODY: frozenset[int] = frozenset()

Done = Callable[[Exception | None], None]


class Circle(NamedTuple):
    """friends: who may see the user, but for those with a block between them; blocked: whose messages are never shown to the user."""

    friends: frozenset[int]
    blocked: frozenset[int]


_EMPTY = Circle(_NOBODY, _NOBODY)


class FriendReads(Protocol):
    """What is asked of the store (may block)."""

    def friends_of(self, asked: Collection[int]) -> Mapping[int, Collection[int]]: ...


class BlockReads(Protocol):
    """What is asked of the store (may block)."""

    def of(self, asked: Collection[int]) -> Mapping[int, Collection[int]]: ...


class Circles:
    """The circles of users with sessions here, and of those that left a moment ago."""

    def __init__(self, friends: FriendReads, blocks: BlockReads, spawn: Callable[..., Any]) -> None:
        self._friends = friends
        self._blocks = blocks
        self._known: dict[int, Circle] = {}
        self._running: dict[int, list[Done]] = {}
        self._next: dict[int, list[Done]] = {}
        self._reads: Batch[int, Circle] = Batch(self._read, _AT_ONCE, 0.0, spawn, parallel=2, bound=1 << 17)

    on_read: Callable[[int, Circle | None, Circle], None] = staticmethod(lambda user, before, now: None)  # before: None, it was not known

    def __len__(self) -> int:
        return len(self._known)

    def users(self) -> list[int]:
        """Whose circles are known."""
        return list(self._known)

    def of(self, user: int) -> Circle:
        """What is known of the user; nobody, if nothing is."""
        return self._known.get(user, _EMPTY)

    def is_known(self, user: int) -> bool:
        """Whether the user's circle was read."""
        return user in self._known

    def is_asked(self, user: int) -> bool:
        """Whether the user's circle was read, or is being read."""
        return user in self._known or user in self._running

    def read(self, user: int, done: Done) -> None:
        """Read the user's circle, by a read that begins after this, anew if it is known; done is told when it is there, or why not."""
        if user in self._running:
            self._next.setdefault(user, []).append(done)
        else:
            self._start(user, [done])

    def _start(self, user: int, waiting: list[Done]) -> None:
        self._running[user] = waiting
        self._reads.submit_later(user, lambda outcome: self._came(user, outcome))

    def _came(self, user: int, outcome: Circle | Exception) -> None:
        waiting, behind = self._running.pop(user), self._next.pop(user, None)
        failure = outcome if isinstance(outcome, Exception) else None
        if not isinstance(outcome, Exception):
            before, self._known[user] = self._known.get(user), outcome
            waiting.insert(0, lambda _: self.on_read(user, before, outcome))
        if behind:
            self._start(user, behind)
        for done in waiting:
            try:
                done(failure)
            except Exception:  # of one who waited; the others are told all the same
                structlog.get_logger(__name__).exception("circle_listener_failed")

    def note_block(self, user: int, other: int) -> None:
        """The user blocks this one from now on: it holds before the store was asked again."""
        before = self._known.get(user)
        if before is not None and other not in before.blocked:
            self._known[user] = now = before._replace(blocked=before.blocked | {other})
            self.on_read(user, before, now)

    def forget(self, user: int) -> None:
        """The user has no session here any more, and nothing is to be told of it."""
        self._known.pop(user, None)

    def _read(self, users: Sequence[int]) -> list[Circle]:
        asked = set(users)
        friends, blocked = self._friends.friends_of(asked), self._blocks.of(asked)
        return [Circle(frozenset(friends.get(user, ())), frozenset(blocked.get(user, ()))) for user in users]
