"""How the store's friend lists are hashed [P-7.14], and how a list is by its hash: what a login and every change answer with.

What lives here: the store's values in the wire's canonical form. What must not: SQL, what is sent of a list (`friend_desk`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from myim_server.store.friend_values import Friend, FriendGroup, Hashing, ListState
from myim_wire import friend_hashes


class _Hash:
    """One group's, in pages."""

    def __init__(self) -> None:
        self._hash = friend_hashes.GroupHash()

    def add(self, friends: Iterable[Friend]) -> None:
        self._hash.add((friend.user, friend.name, friend.remark, *friend[4:]) for friend in friends)

    def digest(self) -> bytes:
        return self._hash.digest()


def _root(groups: Sequence[FriendGroup]) -> bytes:
    listed = friend_hashes.hash_group_list((group.id, group.position, group.name) for group in groups)
    return friend_hashes.root_of(listed, {group.id: group.hash for group in groups})


HASHING = Hashing(_Hash, _root)


class ListTable(Protocol):
    """What is asked of the store about whole lists (may block)."""

    def state(self, user: int) -> ListState: ...
    def freshen(self, user: int, hashing: Hashing) -> ListState: ...


class FriendRoots:
    """Versions and roots of lists."""

    def __init__(self, table: ListTable) -> None:
        self._table = table

    def of(self, user: int) -> tuple[int, bytes]:
        """(version, root) of a user's list: one query where nothing changed since it was asked last (blocks)."""
        state = self._table.state(user)
        if state.is_stale:
            state = self._table.freshen(user, HASHING)
        return state.version, state.root
