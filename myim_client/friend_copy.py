"""The copy of a friend list that a terminal keeps, and how it becomes the list again with the least that has to be fetched [P-7.15].

Pure: answers are handed in, the next question comes out. What must not be here: the file (`friend_tables`), when to sync, and what
follows from a new list (`friend_courier`). A copy is taken only when it is proved: when the root of what is in it is the list's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from myim_wire.errors import LocalProtocolError
from myim_wire.friend_contents import Friend, FriendPage, Synced
from myim_wire.friend_hashes import NO_ROOT, hash_friends, hash_list
from myim_wire.friend_requests import ListFriends, Sync

MAX_ROUNDS = 5
_HASH_OF_NOBODY = hash_friends(())


class FriendGroup(NamedTuple):
    """A friend group; groups are shown by position, those of one position by id. Group 0 has no name."""

    id: int
    name: str
    position: int


@dataclass(frozen=True, slots=True)
class FriendCopy:
    """A friend list at one version: its root (32 bytes), its groups by id, its friends by user id."""

    version: int = 0
    root: bytes = NO_ROOT
    groups: Mapping[int, FriendGroup] = field(default_factory=dict)
    friends: Mapping[int, Friend] = field(default_factory=dict)

    @property
    def is_proved(self) -> bool:
        """Whether what is in it has its root."""
        return self._hashes()[0] == self.root

    @property
    def hashes(self) -> dict[int, bytes]:
        """The hash of each group's friends, by group id."""
        return self._hashes()[1]

    def _hashes(self) -> tuple[bytes, dict[int, bytes]]:
        try:
            groups = [(group.id, group.position, group.name) for group in self.groups.values()]
            return hash_list(groups, [(friend.group, friend.canonical) for friend in self.friends.values()])
        except (KeyError, LocalProtocolError):  # a friend in a group that is not there, a text that is none: the hash of nothing
            return b"", {}


NOTHING = FriendCopy()
Next = Sync | ListFriends | None


class Syncing:
    """Brings `copy`, which is proved at any time, to the list: `begin`, then an answer to each question until there is none.

    is_failed: the last attempt was given up, because the list changed too often meanwhile or could not be proved.
    """

    def __init__(self, copy: FriendCopy) -> None:
        self.copy = copy if copy.is_proved else NOTHING
        self.is_failed = False
        self._is_anew = False
        self._rounds = 0
        self._answer = Synced(0, NO_ROOT)
        self._draft: dict[int, Friend] = {}
        self._wanted: list[int] = []
        self._after = 0

    def begin(self) -> Sync:
        """The first question."""
        self.is_failed = self._is_anew = False
        self._rounds = 0
        return self._first()

    def synced(self, answer: Synced) -> Next:
        """The answer to a Sync; the next question, None if that was all."""
        base = self._base
        if answer.root == base.root:
            self.copy = replace(base, version=answer.version)
            return None
        self._answer, self._wanted, self._after = answer, [], 0
        if answer.has_changes:
            gone = set(answer.removed)
            self._draft = {user: friend for user, friend in base.friends.items() if user not in gone}
            self._draft.update((friend.user, friend) for friend in answer.changed)
        else:
            hashes = base.hashes
            self._wanted = [group.id for group in answer.groups if hashes.get(group.id, _HASH_OF_NOBODY) != group.hash]
            kept = {group.id for group in answer.groups}.difference(self._wanted)
            self._draft = {user: friend for user, friend in base.friends.items() if friend.group in kept}
        return self._proceed()

    def paged(self, answer: FriendPage) -> Next:
        """The answer to a ListFriends; the next question, None if that was all."""
        if answer.version != self._answer.version:
            self._rounds += 1
            if self._rounds < MAX_ROUNDS:
                return self._first()
            self.is_failed = True
            return None
        group = self._wanted[0]
        for friend in answer.friends:
            if friend.group != group or friend.user <= self._after:
                return self._forget()
            self._after = friend.user
            self._draft[friend.user] = friend
        if answer.is_more and not answer.friends:
            return self._forget()
        if not answer.is_more:
            del self._wanted[0]
            self._after = 0
        return self._proceed()

    @property
    def _base(self) -> FriendCopy:
        return NOTHING if self._is_anew else self.copy

    def _first(self) -> Sync:
        return Sync(self._base.version, self._base.root)

    def _proceed(self) -> Next:
        if self._wanted:
            return ListFriends(self._wanted[0], self._after)
        listed = self._answer.groups
        groups = {group.id: FriendGroup(group.id, group.name, group.position) for group in listed}
        is_as_before = self._answer.has_changes and not listed
        made = FriendCopy(self._answer.version, self._answer.root, self._base.groups if is_as_before else groups, self._draft)
        if not made.is_proved:
            return self._forget()
        self.copy = made
        return None

    def _forget(self) -> Next:
        """What came does not fit what was here: everything anew, once."""
        if self._is_anew:
            self.is_failed = True
            return None
        self._is_anew = True
        return self._first()
