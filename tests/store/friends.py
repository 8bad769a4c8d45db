"""Friends for the store's tests: changes as they are decided elsewhere, and the canonical form [P-7.14] written down a second time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from myim_server.store.engine import Store
from myim_server.store.friend_changes import Befriended, Change, Requested, Unfriended
from myim_server.store.friend_values import Friend, FriendGroup, Hashing, View
from myim_server.store.profile_values import ProfileChange
from tests.store.messages import T0

MANY = (1000, 1000)


class Digest:
    """What the store is given to hash a group with."""

    def __init__(self) -> None:
        self.friends: list[Friend] = []

    def add(self, friends: Iterable[Friend]) -> None:
        self.friends += friends

    def digest(self) -> bytes:
        assert [friend.user for friend in self.friends] == sorted(friend.user for friend in self.friends)
        return hash_of(self.friends)


def hash_of(friends: Iterable[Friend]) -> bytes:
    """Of one group's friends."""
    parts = [friend.user.to_bytes(8, "big") + b"".join(map(text, (friend.name, *friend[3:]))) for friend in sorted(friends)]
    return hashlib.md5(b"".join(parts)).digest()


def text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def root_of(groups: Sequence[FriendGroup]) -> bytes:
    """Of a list with these groups."""
    listed = [group.id.to_bytes(4, "big") + group.position.to_bytes(4, "big") + text(group.name) for group in sorted(groups)]
    hashes = b"".join(group.hash for group in sorted(groups))
    return hashlib.md5(b"".join(listed)).digest() + hashlib.md5(hashes).digest()


HASHING = Hashing(Digest, root_of)


def change(store: Store, user: int, other: int, *changes: Change) -> dict[int, int]:
    """{user: version} of the lists that are other by these changes."""
    outcome = store.friends.change(user, other, lambda view: changes, T0)
    assert outcome is not None and list(outcome.changes) == list(changes)
    return dict(outcome.versions)


def befriend(store: Store, user: int, *others: int, group: int = 0) -> None:
    for other in others:
        change(store, user, other, Befriended(group))


def unfriend(store: Store, user: int, other: int) -> None:
    change(store, user, other, Unfriended())


def ask(store: Store, user: int, other: int, words: str = "") -> None:
    change(store, user, other, Requested(words))


def set_profile(store: Store, user: int, **values: Any) -> dict[int, int]:
    """{friend: version} of the lists that show the user otherwise."""
    done = store.profiles.set(user, ProfileChange(**values))
    assert done is not None
    return done[1]


def view(store: Store, user: int, other: int = 0) -> View:
    """What a decision would see."""
    outcome = store.friends.change(user, other, lambda view: (), T0)
    assert outcome is not None
    return outcome.view


def listed(store: Store, user: int) -> dict[int, Friend]:
    """All friends of a user, by its pages."""
    found: dict[int, Friend] = {}
    for group in view(store, user).groups:
        after = 0
        while True:
            _, page = store.friends.page(user, group, after, 2)
            found.update({friend.user: friend for friend in page})
            if len(page) < 2:
                break
            after = page[-1].user
    return found


def root_from_scratch(store: Store, user: int) -> bytes:
    """Of the list as its pages show it; 32 zero bytes without any group."""
    friends = listed(store, user).values()
    groups = [
        group._replace(hash=hash_of(friend for friend in friends if friend.group == group.id))
        for group in view(store, user).groups.values()
    ]
    return root_of(groups) if groups else bytes(32)
