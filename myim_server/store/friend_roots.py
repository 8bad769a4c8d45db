"""The hashes of a list whose row is locked, made anew where something changed; the hashing itself is handed in.

Why not at once with each change: one user's new signature makes a thousand lists stale, and most of their owners ask much later. When they
ask at once it must be cheap, so a page of friends is read as one text: rows are what the drivers are slow at. What must not live here: how
a list is hashed, and who asks.
"""

from sqlalchemy import Connection, select, update

from myim_server.store import friend_rows
from myim_server.store.database import Tongue, cursor_of
from myim_server.store.friend_values import Friend, FriendGroup, Hashing
from myim_server.store.schema import friend_groups, friend_lists, signed, unsigned

# Their longest texts, in hex, are not longer than the longest text MariaDB joins (engine: group_concat_max_len).
READ_AT_ONCE = 200
_TEXTS = ("u.shown_name", "f.remark", "p.display_name", "p.avatar", "p.signature")
_COLUMNS = tuple(f"HEX(COALESCE({text},'')) AS t{place}" for place, text in enumerate(_TEXTS))
_NAMES = ("i", *(f"t{place}" for place in range(len(_TEXTS))))


def freshen(connection: Connection, tongue: Tongue, user: int, hashing: Hashing) -> tuple[bytes, list[FriendGroup]]:
    """(the root, the groups) of a list that is stale; its row is locked."""
    mine = friend_groups.c.user == user
    stale = connection.scalars(select(friend_groups.c.id).where(mine, friend_groups.c.is_stale)).all()
    for group in stale:
        digest = _digest(connection, tongue, user, group, hashing)
        here = (mine, friend_groups.c.id == group)
        connection.execute(update(friend_groups).where(*here).values(hash=digest, is_stale=False))
    groups = friend_rows.groups_of(connection, user)
    root = hashing.root(groups)
    connection.execute(update(friend_lists).where(friend_lists.c.user == user).values(root=root, is_stale=False))
    return root, groups


def _digest(connection: Connection, tongue: Tongue, user: int, group: int, hashing: Hashing) -> bytes:
    hashed = hashing.begin()
    page = _page(connection, tongue, user, group, -1)
    while page:
        hashed.add(page)
        page = _page(connection, tongue, user, group, page[-1].user) if len(page) == READ_AT_ONCE else []
    return hashed.digest()


def _page(connection: Connection, tongue: Tongue, user: int, group: int, after: int) -> list[Friend]:
    source = (
        f"friends AS f{tongue.by('friends_page')} LEFT JOIN users AS u ON u.id=f.friend LEFT JOIN profiles AS p ON p.user=f.friend"
        f" WHERE f.user={signed(user):d} AND f.friend_group={group:d} AND f.friend>{after:d} ORDER BY f.friend LIMIT {READ_AT_ONCE:d}"
    )
    cursor = cursor_of(connection)
    cursor.execute(f"SELECT GROUP_CONCAT({tongue.joined(*_NAMES)}) FROM (SELECT f.friend AS i,{','.join(_COLUMNS)} FROM {source}) AS page")
    row = cursor.fetchone()
    if row is None or row[0] is None:
        return []
    values = iter(str(row[0]).split(","))
    found = [
        Friend(unsigned(int(friend)), group, *[bytes.fromhex(text).decode() if text else "" for text in texts])
        for friend, *texts in zip(*[values] * len(_NAMES), strict=True)
    ]
    return sorted(found)
