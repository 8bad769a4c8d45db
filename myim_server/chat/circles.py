"""Circles: of the users that are online here, who may see them, whom they block.

What lives here: what the store says of it, read once per session that begins, in batches, and again when it changed. What must not: SQL,
clocks, presence itself (`presence`). A circle is there before its session is delivered to, so nothing slips past a block.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from myim_server.batches import Batch

_AT_ONCE = 64
_NOBODY: frozenset[int] = frozenset()


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
        self._reads: Batch[int, Circle] = Batch(self._read, _AT_ONCE, 0.0, spawn, parallel=2, bound=1 << 17)

    def __len__(self) -> int:
        return len(self._known)

    def of(self, user: int) -> Circle:
        """What is known of the user; nobody, if nothing is."""
        return self._known.get(user, _EMPTY)

    def is_known(self, user: int) -> bool:
        """Whether the user's circle was read."""
        return user in self._known

    def read(self, user: int, done: Callable[[Exception | None], None]) -> None:
        """Read the user's circle, anew if it is known; done is told when it is there, or why not."""

        def keep(circle: Circle | Exception) -> None:
            if isinstance(circle, Exception):
                done(circle)
                return
            self._known[user] = circle
            done(None)

        self._reads.submit_later(user, keep)

    def forget(self, user: int) -> None:
        """The user has no session here any more, and nothing is to be told of it."""
        self._known.pop(user, None)

    def _read(self, users: Sequence[int]) -> list[Circle]:
        asked = set(users)
        friends, blocked = self._friends.friends_of(asked), self._blocks.of(asked)
        return [Circle(frozenset(friends.get(user, ())), frozenset(blocked.get(user, ()))) for user in users]
