"""A model of a friend list on a server, and of a terminal that syncs with it. Nothing here is a test."""

from __future__ import annotations

from dataclasses import replace

from myim_client.friend_copy import NOTHING, FriendCopy, FriendGroup, Syncing
from myim_wire.friend_contents import Friend, FriendPage, HashedGroup, Synced
from myim_wire.friend_hashes import hash_list
from myim_wire.friend_requests import ListFriends, Sync

PAGE = 3


def friend(user: int, group: int = 0, signature: str = "", remark: str = "") -> Friend:
    """A friend called after its id."""
    return Friend(user, group, f"user{user}", remark, "", "", signature)


def copy_of(version: int, *friends: Friend, groups: tuple[FriendGroup, ...] = ()) -> FriendCopy:
    """A proved copy; group 0 is always in it."""
    listed = {group.id: group for group in (FriendGroup(0, "", 0), *groups)}
    made = FriendCopy(version, b"", listed, {one.user: one for one in friends})
    return replace(made, root=_hashed(made)[0])


def answer_of(copy: FriendCopy) -> Synced:
    """What a center answers whose copy is none."""
    return Synced(copy.version, copy.root, _groups(copy))


def _hashed(copy: FriendCopy) -> tuple[bytes, dict[int, bytes]]:
    groups = [(group.id, group.position, group.name) for group in copy.groups.values()]
    return hash_list(groups, [(one.group, one.canonical) for one in copy.friends.values()])


def _groups(copy: FriendCopy) -> tuple[HashedGroup, ...]:
    hashes = _hashed(copy)[1]
    return tuple(HashedGroup(group.id, group.name, group.position, hashes[group.id]) for group in copy.groups.values())


class ListKeeper:
    """The list, and who changed at which version; of the versions up to `forgotten` that is not known any more."""

    def __init__(self) -> None:
        self.list = NOTHING
        self.forgotten = 0
        self._changed_at: dict[int, int] = {}
        self.pages: list[int] = []
        self.syncs = 0
        self.sent: list[int] = []

    def change(self, friends: dict[int, Friend], groups: dict[int, FriendGroup]) -> None:
        """The list is this from now on."""
        groups = {**groups, 0: FriendGroup(0, "", 0)}
        version = self.list.version + 1
        for user in {*friends, *self.list.friends}:
            if friends.get(user) != self.list.friends.get(user):
                self._changed_at[user] = version
        made = FriendCopy(version, b"", dict(sorted(groups.items())), dict(sorted(friends.items())))
        self.list = replace(made, root=_hashed(made)[0])

    def sync(self, asked: Sync) -> Synced:
        """Answer a Sync."""
        self.syncs += 1
        changes = None
        if self.forgotten <= asked.version <= self.list.version and asked.version:
            users = [user for user, at in self._changed_at.items() if at > asked.version]
            present = [self.list.friends[user] for user in users if user in self.list.friends]
            changes = (present, [user for user in users if user not in self.list.friends])
        answer = Synced.of(self.list.version, self.list.root, asked.root, _groups(self.list), changes)
        self.sent += [one.user for one in answer.changed]
        return Synced.decode(answer.encode())

    def page(self, asked: ListFriends) -> FriendPage:
        """Answer a ListFriends, three friends at a time."""
        found = [one for one in self.list.friends.values() if one.group == asked.group and one.user > asked.after]
        self.pages.append(asked.group)
        self.sent += [one.user for one in found[:PAGE]]
        return FriendPage.decode(FriendPage.of(found[:PAGE], self.list.version, len(found) > PAGE).encode())


class Copyist:
    """A terminal's copy."""

    def __init__(self, keeper: ListKeeper) -> None:
        self._keeper = keeper
        self.syncing = Syncing(NOTHING)
        self.question: Sync | ListFriends | None = None

    def begin(self) -> None:
        """Begin to sync."""
        self.question = self.syncing.begin()

    def step(self) -> None:
        """Take one answer."""
        if isinstance(self.question, Sync):
            self.question = self.syncing.synced(self._keeper.sync(self.question))
        elif self.question is not None:
            self.question = self.syncing.paged(self._keeper.page(self.question))

    def sync(self) -> None:
        """Sync to the end."""
        self.begin()
        while self.question is not None:
            self.step()
