"""What a change of one user does to the lists of all its friends, which are locked: it is shown otherwise there, or not any more.

In statements of many rows each: a user may have thousands of friends. What must not live here: the change itself (`profiles`, and
`accounts` for an end), the locks (`friend_locks`), hashes (`friend_roots`: the lists are stale by it).
"""

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, delete

from myim_server.store import friend_locks, group_sql, offline_sql
from myim_server.store.database import Tongue, cursor_of
from myim_server.store.friend_edits import forget_removals
from myim_server.store.schema import (
    blocks,
    friend_groups,
    friend_lists,
    friend_removals,
    friend_requests,
    friends,
    profiles,
    signed,
    unsigned,
)


def renew(connection: Connection, tongue: Tongue, user: int, versions: Mapping[int, int]) -> dict[int, int]:
    """The user is shown otherwise from now on; {friend: version} of their lists. versions: of the user's list and its friends'."""
    fresh = {friend: version + 1 for friend, version in versions.items() if friend != user}
    cursor = cursor_of(connection)
    for some in _chunks(fresh):
        _touch(connection, tongue, user, some)
        mine = f"user=u AND friend={signed(user):d}"
        cursor.execute(group_sql.update_rows(tongue, "friends", ("u", "v"), some, mine, "version=v"))
    return fresh


def forget(connection: Connection, tongue: Tongue, user: int, removals_kept: int) -> dict[int, int]:
    """The user is in nobody's list any more, and nothing is left of what is between it and others, nor its profile.

    {friend: version} of the lists that are other by it. To be called with the user's own row held, and before that is removed. Raises
    SomebodyCame: try again, in a new transaction.
    """
    versions = friend_locks.lock_with_friends(connection, tongue, user, ())
    fresh = {friend: version + 1 for friend, version in versions.items() if friend != user}
    cursor = cursor_of(connection)
    for some in _chunks(fresh):
        _touch(connection, tongue, user, some)
        listed = offline_sql.numbers(friend for friend, _ in some)
        cursor.execute(f"DELETE FROM friends WHERE friend={signed(user):d} AND user IN ({listed})")
        rows = ",".join([f"({friend:d},{signed(user):d},{version:d})" for friend, version in some])
        cursor.execute(f"INSERT INTO friend_removals (user,friend,version) VALUES {rows}")
        many = f"user IN ({listed}) GROUP BY user HAVING COUNT(*)>{removals_kept:d}"
        cursor.execute(f"SELECT user FROM friend_removals WHERE {many}")
        for (friend,) in cursor.fetchall():
            forget_removals(connection, unsigned(friend), removals_kept)
    for table in (friends, friend_groups, friend_removals, friend_lists, profiles):
        connection.execute(delete(table).where(table.c.user == user))
    for column in (friend_requests.c.user, friend_requests.c.asker):
        connection.execute(delete(friend_requests).where(column == user))
    for column in (blocks.c.user, blocks.c.blocked):
        connection.execute(delete(blocks).where(column == user))
    return fresh


def _chunks(fresh: Mapping[int, int]) -> Iterator[Sequence[tuple[int, int]]]:
    yield from group_sql.chunks(sorted((signed(friend), version) for friend, version in fresh.items()))


def _touch(connection: Connection, tongue: Tongue, user: int, some: Sequence[tuple[int, int]]) -> None:
    """These lists have these versions, and their groups that hold the user are stale."""
    cursor = cursor_of(connection)
    cursor.execute(group_sql.update_rows(tongue, "friend_lists", ("u", "v"), some, "user=u", "version=v,is_stale=1"))
    listed = offline_sql.numbers(friend for friend, _ in some)
    cursor.execute(f"SELECT user,friend_group FROM friends WHERE friend={signed(user):d} AND user IN ({listed})")
    held = sorted(tuple(row) for row in cursor.fetchall())
    if held:
        cursor.execute(group_sql.update_rows(tongue, "friend_groups", ("u", "g"), held, "user=u AND id=g", "is_stale=1"))
