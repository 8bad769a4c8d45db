"""What is read of one user for its export and for nothing else: its account, networks, friends in order, whom it blocks since when, the
messages and posts that wait for it and its own posts, in pages.

What must not live here: what the document looks like (`chat/export`), and what others read as well (their own files have that). Messages of
senders whom the user blocks are none of it: they are never shown. What it sent to other users is theirs, as far as it still waits.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, exists, or_, select

from myim_server.store import friend_rows
from myim_server.store.database import Database
from myim_server.store.friend_values import Friend, FriendGroup
from myim_server.store.schema import blocks, friends, group_members, group_messages, networks, offline_messages, users

_MOST_ROWS = 200
_MOST_BYTES = 131_072


class Holder(NamedTuple):
    """An account as its owner sees it; `created`: µs since 1970."""

    user: int
    name: str
    created: int


class WaitingMessage(NamedTuple):
    """A message that waits for the user; `name`: its sender's, "" if that is gone."""

    id: int
    user: int
    name: str
    time: int
    qos: int
    accepted: int
    body: bytes


class KeptPost(NamedTuple):
    """A post of a group that the user has not confirmed, or made; `name`: of who made it, "" if that is gone."""

    number: int
    user: int
    name: str
    time: int
    accepted: int
    body: bytes


class ExportPages:
    """Reads of one user."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def holder(self, user_id: int) -> Holder | None:
        """The account; None: it is gone; yields."""
        statement = select(users.c.id, users.c.shown_name, users.c.created).where(users.c.id == user_id)
        row = self._database.read(lambda connection: connection.execute(statement).first())
        return None if row is None else Holder(*row)

    def friend_groups(self, user_id: int) -> list[FriendGroup]:
        """The groups of the user's list, by id; yields."""
        return self._database.read(lambda connection: friend_rows.groups_of(connection, user_id))

    def friends(self, user_id: int, after: int, limit: int) -> list[tuple[Friend, int]]:
        """At most `limit` (friend, since when) above the id `after`, ascending; yields."""
        statement = friend_rows.listed(user_id).add_columns(friends.c.since).where(friends.c.friend > after).limit(limit)
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        return [(friend_rows.friend_of(row[:-1]), row[-1]) for row in rows]

    def blocked(self, user_id: int, after: int, limit: int) -> list[tuple[int, str, int]]:
        """At most `limit` (id, name, since when) of those whom the user blocks, by id above `after`, ascending; yields."""
        statement = friend_rows.blocked_by(user_id, after, limit)
        return [(row[0], row[1], row[2]) for row in self._database.read(lambda connection: connection.execute(statement).all())]

    def networks(self, user_id: int) -> list[tuple[str, int]]:
        """(network, when it logged in from there last), of at most 64, by name; yields."""
        columns = (networks.c.network, networks.c.last_login)
        statement = select(*columns).where(networks.c.user == user_id).order_by(networks.c.network)
        return [(row[0], row[1]) for row in self._database.read(lambda connection: connection.execute(statement).all())]

    def posts(self, user_id: int, group: int, after: int) -> list[KeptPost]:
        """A page, as of `messages`, of the posts of one of the user's groups above the number `after` that it has not confirmed, or made;
        yields."""
        rows, mine = group_messages.c, group_members.c
        is_his = or_(rows.number > mine.cursor_number, rows.user == user_id)
        source = group_messages.join(group_members, and_(mine.chat_group == rows.chat_group, mine.user == user_id))
        heads = select(rows.number, rows.size).select_from(source).where(rows.chat_group == group, rows.number > after)
        heads = heads.where(rows.number > mine.joined, is_his).order_by(rows.number).limit(_MOST_ROWS)
        columns = (rows.number, rows.user, users.c.shown_name, rows.time, rows.accepted, rows.body)
        people = group_messages.outerjoin(users, users.c.id == rows.user)

        def look(connection: Connection) -> list[KeptPost]:
            chosen = _fitting([(row[0], row[1]) for row in connection.execute(heads)])
            here = (rows.chat_group == group, rows.number.in_(chosen))
            statement: Select[*tuple[Any, ...]] = select(*columns).select_from(people).where(*here).order_by(rows.number)
            found = connection.execute(statement).all() if chosen else []
            return [KeptPost(row[0], row[1], row[2] or "", row[3], row[4], bytes(row[5])) for row in found]

        return self._database.read(look)

    def messages(self, user_id: int, after: tuple[int, int]) -> list[WaitingMessage]:
        """The messages behind (accepted, id), oldest first: 200, or 128 KiB of bodies, but one at least if there is one; yields."""
        accepted, last = after
        rows = offline_messages.c
        is_blocked = exists().where(blocks.c.user == user_id, blocks.c.blocked == rows.user)
        is_behind = and_(rows.accepted >= accepted, or_(rows.accepted > accepted, rows.id > last))
        heads = select(rows.id, rows.size).where(rows.target == user_id, is_behind, ~is_blocked)
        heads = heads.order_by(rows.accepted, rows.id).limit(_MOST_ROWS)
        columns = (rows.id, rows.user, users.c.shown_name, rows.time, rows.qos, rows.accepted, rows.body)
        source = offline_messages.outerjoin(users, users.c.id == rows.user)

        def look(connection: Connection) -> list[WaitingMessage]:
            chosen = _fitting([(row[0], row[1]) for row in connection.execute(heads)])
            statement = select(*columns).select_from(source).where(rows.id.in_(chosen)).order_by(rows.accepted, rows.id)
            found = connection.execute(statement).all() if chosen else []
            return [WaitingMessage(row[0], row[1], row[2] or "", *row[3:6], bytes(row[6])) for row in found]

        return self._database.read(look)


def _fitting(heads: Sequence[tuple[int, int]]) -> list[int]:
    """The ids of the first of these (id, size) that one page holds."""
    chosen: list[int] = []
    room = _MOST_BYTES
    for row_id, size in heads:
        if chosen and size > room:
            break
        room -= size
        chosen.append(row_id)
    return chosen
