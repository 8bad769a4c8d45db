"""The hashes of a list whose row is locked, made anew where something changed; the hashing itself is handed in.

Why not at once with each change: one user's new signature makes a thousand lists stale, and most of their owners ask much later. What must
not live here: how a list is hashed, and who asks.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select, update

from myim_server.store import friend_rows
from myim_server.store.friend_values import FriendGroup, Hashing
from myim_server.store.schema import friend_groups, friend_lists, friends

# A driver makes values of a whole answer at once, and nothing else happens meanwhile.
READ_AT_ONCE = 250


def freshen(connection: Connection, user: int, hashing: Hashing) -> tuple[bytes, list[FriendGroup]]:
    """(the root, the groups) of a list that is stale; its row is locked."""
    mine = friend_groups.c.user == user
    stale = connection.scalars(select(friend_groups.c.id).where(mine, friend_groups.c.is_stale)).all()
    for group in stale:
        digest = _digest(connection, user, group, hashing)
        here = (mine, friend_groups.c.id == group)
        connection.execute(update(friend_groups).where(*here).values(hash=digest, is_stale=False))
    groups = friend_rows.groups_of(connection, user)
    root = hashing.root(groups)
    connection.execute(update(friend_lists).where(friend_lists.c.user == user).values(root=root, is_stale=False))
    return root, groups


def _digest(connection: Connection, user: int, group: int, hashing: Hashing) -> bytes:
    hashed = hashing.begin()
    after = -1
    while True:
        rows = _page(connection, user, group, after)
        hashed.add(map(friend_rows.friend_of, rows))
        if len(rows) < READ_AT_ONCE:
            return hashed.digest()
        after = rows[-1][0]


def _page(connection: Connection, user: int, group: int, after: int) -> Sequence[Row[*tuple[Any, ...]]]:
    here = (friends.c.friend_group == group, friends.c.friend > after)
    return connection.execute(friend_rows.listed(user).where(*here).limit(READ_AT_ONCE)).all()
