"""The rows that whoever changes something between users holds until commit: those of their lists, ascending by user id.

Order of locks: the rows of who decides and whom it is about (shared: so that neither is deleted meanwhile), then lists, then all else,
which nobody without the lists' rows changes. So what is read under them stays true until the commit. What must not live here: what is
changed.
"""

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, select

from myim_server.store import group_sql, offline_sql
from myim_server.store.database import Tongue, cursor_of
from myim_server.store.schema import friends, signed, unsigned

ATTEMPTS = 8
_NEW_LIST = f"0,0,0,x'{'00' * 32}',0"


class SomebodyCame(Exception):
    """There are new friends, whose lists are not locked: to be tried again, in a new transaction."""


def held(connection: Connection, tongue: Tongue, wanted: Iterable[int]) -> set[int]:
    """Those of the wanted that are users, and are so until the commit."""
    cursor = cursor_of(connection)
    source = f"users{tongue.by('PRIMARY')} WHERE id IN ({offline_sql.numbers(sorted(map(signed, wanted)))})"
    cursor.execute(f"SELECT id FROM {source} ORDER BY id{tongue.shared}")
    return {unsigned(row[0]) for row in cursor.fetchall()}


def lock(connection: Connection, tongue: Tongue, wanted: Iterable[int], existing: Collection[int]) -> dict[int, int]:
    """{user: version} of the lists of the wanted, locked. Those of `existing` users are made where there is none."""
    asked = sorted({signed(user) for user in wanted})
    locked = _lists(connection, tongue, asked)
    missing = sorted({signed(user) for user in existing} - locked.keys())
    if missing:
        rows = ",".join([f"({user:d},{_NEW_LIST})" for user in missing])
        into = "friend_lists (user,version,removals_from,last_group,root,is_stale)"
        cursor_of(connection).execute(f"{tongue.insert_ignore} {into} VALUES {rows}")
        locked = _lists(connection, tongue, asked)
    return {unsigned(user): version for user, version in locked.items()}


def lock_with_friends(connection: Connection, tongue: Tongue, user: int, existing: Collection[int]) -> dict[int, int]:
    """`lock` of a user and all its friends; only theirs are given. Raises SomebodyCame."""
    locked = lock(connection, tongue, [user, *_friends_of(connection, user)], existing)
    now = {user, *_friends_of(connection, user)}
    if not locked.keys() >= now - {user}:
        raise SomebodyCame
    return {one: version for one, version in locked.items() if one in now}


def _lists(connection: Connection, tongue: Tongue, asked: list[int]) -> dict[int, int]:
    cursor = cursor_of(connection)
    found: dict[int, int] = {}
    for some in group_sql.chunks(asked):
        source = f"friend_lists{tongue.by('PRIMARY')} WHERE user IN ({offline_sql.numbers(some)})"
        cursor.execute(f"SELECT user,version FROM {source} ORDER BY user{tongue.locked}")
        found.update(cursor.fetchall())
    return found


def _friends_of(connection: Connection, user: int) -> list[int]:
    return list(connection.scalars(select(friends.c.friend).where(friends.c.user == user)))
