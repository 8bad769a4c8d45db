"""A decision's changes between two users, done to lists that are locked: what is kept of whom, and which lists are other by it.

What must not live here: deciding, and the locks (`friend_locks`), hashes (`friend_roots`: a list that changed is stale).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from myim_server.store.friend_changes import (
    Answered,
    Befriended,
    Blocked,
    Change,
    GroupAdded,
    GroupAltered,
    GroupRemoved,
    Moved,
    Remarked,
    Requested,
    Unblocked,
    Unfriended,
    Withdrawn,
)
from myim_server.store.friend_rows import OPEN
from myim_server.store.friend_values import REQUEST_STATES
from myim_server.store.schema import blocks, friend_groups, friend_lists, friend_removals, friend_requests, friends

_NO_HASH = bytes(16)


class Edit:
    """The changes that `user` decided on about `other`; `fresh` = {user: version} of the lists that are other by them."""

    def __init__(
        self, connection: Connection, pair: tuple[int, int], versions: Mapping[int, int], now: int, removals_kept: int
    ) -> None:
        """versions: of the lists that are locked."""
        self.fresh: dict[int, int] = {}
        self._connection = connection
        self._user, self._other = pair
        self._versions = versions
        self._now = now
        self._removals_kept = removals_kept

    def do(self, changes: Sequence[Change]) -> None:
        """All of them, in their order."""
        for change in changes:
            self._one(change)

    def _one(self, change: Change) -> None:
        user, other = self._user, self._other
        match change:
            case Befriended(group):
                self._add(user, other, group)
                self._add(other, user, 0)
                self._end_request(user, other)
                self._end_request(other, user)
            case Unfriended():
                self._remove(user, other)
                self._remove(other, user)
            case Requested(words):
                self._end_request(other, user)
                self._insert(friend_requests, user=other, asker=user, words=words, made=self._now, state=OPEN)
            case Withdrawn():
                self._end_request(other, user)
            case Answered(state):
                mine = and_(friend_requests.c.user == user, friend_requests.c.asker == other)
                self._connection.execute(update(friend_requests).where(mine).values(state=REQUEST_STATES.index(state)))
            case Blocked():
                self._insert(blocks, user=user, blocked=other, made=self._now)
            case Unblocked():
                self._connection.execute(delete(blocks).where(blocks.c.user == user, blocks.c.blocked == other))
            case Remarked(remark):
                self._keep(remark=remark)
            case Moved(group):
                self._keep(friend_group=group)
            case GroupAdded() | GroupAltered() | GroupRemoved():
                self._regroup(change)

    def _regroup(self, change: GroupAdded | GroupAltered | GroupRemoved) -> None:
        user, version = self._user, self._touch(self._user)
        match change:
            case GroupAdded(name, position):
                mine = friend_lists.c.user == user
                self._connection.execute(update(friend_lists).where(mine).values(last_group=friend_lists.c.last_group + 1))
                group = self._connection.scalar(select(friend_lists.c.last_group).where(mine))
                self._insert(friend_groups, user=user, id=group, name=name, position=position, hash=_NO_HASH, is_stale=True)
            case GroupAltered(group, name, position):
                self._connection.execute(update(friend_groups).where(_is_group(user, group)).values(name=name, position=position))
            case GroupRemoved(group):
                inside = and_(friends.c.user == user, friends.c.friend_group == group)
                self._connection.execute(update(friends).where(inside).values(friend_group=0, version=version))
                self._connection.execute(delete(friend_groups).where(_is_group(user, group)))
                self._stale(user, 0)

    # ------------------------------------------------------------------ one list

    def _touch(self, user: int) -> int:
        """The list is other from now on; its new version."""
        if user not in self.fresh:
            self.fresh[user] = version = self._versions[user] + 1
            mine = friend_lists.c.user == user
            self._connection.execute(update(friend_lists).where(mine).values(version=version, is_stale=True))
            if version == 1:
                self._insert(friend_groups, user=user, id=0, name="", position=0, hash=_NO_HASH, is_stale=True)
        return self.fresh[user]

    def _add(self, user: int, friend: int, group: int) -> None:
        version = self._touch(user)
        self._connection.execute(delete(friend_removals).where(_is_removal(user, friend)))
        self._insert(friends, user=user, friend=friend, friend_group=group, remark="", since=self._now, version=version)
        self._stale(user, group)

    def _remove(self, user: int, friend: int) -> None:
        mine = _is_friend(user, friend)
        group = self._connection.scalar(select(friends.c.friend_group).where(mine))
        if group is not None:
            version = self._touch(user)
            self._connection.execute(delete(friends).where(mine))
            self._insert(friend_removals, user=user, friend=friend, version=version)
            self._stale(user, group)
            forget_removals(self._connection, user, self._removals_kept)

    def _keep(self, **values: Any) -> None:
        """The user's friend is kept otherwise."""
        mine = _is_friend(self._user, self._other)
        before = self._connection.scalar(select(friends.c.friend_group).where(mine))
        if before is not None:
            version = self._touch(self._user)
            self._connection.execute(update(friends).where(mine).values(version=version, **values))
            self._stale(self._user, before, values.get("friend_group", before))

    def _stale(self, user: int, *groups: int) -> None:
        mine = and_(friend_groups.c.user == user, or_(*(friend_groups.c.id == group for group in groups)))
        self._connection.execute(update(friend_groups).where(mine).values(is_stale=True))

    # ------------------------------------------------------------------ between the two

    def _end_request(self, user: int, asker: int) -> None:
        mine = and_(friend_requests.c.user == user, friend_requests.c.asker == asker)
        self._connection.execute(delete(friend_requests).where(mine))

    def _insert(self, table: Any, **values: Any) -> None:
        self._connection.execute(insert(table), values)


def forget_removals(connection: Connection, user: int, kept: int) -> None:
    """Forgets the oldest removals of a list that has more than `kept`; who has a copy older than those compares groups."""
    mine = friend_removals.c.user == user
    if (connection.scalar(select(func.count()).select_from(friend_removals).where(mine)) or 0) <= kept:
        return
    newest = select(friend_removals.c.version).where(mine).order_by(friend_removals.c.version.desc())
    version = connection.scalar(newest.offset(kept).limit(1)) or 0
    connection.execute(delete(friend_removals).where(mine, friend_removals.c.version <= version))
    connection.execute(update(friend_lists).where(friend_lists.c.user == user).values(removals_from=version))


def _is_friend(user: int, friend: int) -> ColumnElement[bool]:
    return and_(friends.c.user == user, friends.c.friend == friend)


def _is_group(user: int, group: int) -> ColumnElement[bool]:
    return and_(friend_groups.c.user == user, friend_groups.c.id == group)


def _is_removal(user: int, friend: int) -> ColumnElement[bool]:
    return and_(friend_removals.c.user == user, friend_removals.c.friend == friend)
