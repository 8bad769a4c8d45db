"""Groups: made, changed in one transaction upon a decision, and read. docs/groups.md, G-2, G-4, G-7, G-10.

What must not live here: who may do what (`chat/group_rules`, handed in as a decision), posts (`group_posts`), cursors (`group_cursors`).
How a change is done is `group_edits`', how rows become values `group_rows`'.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Select, insert, or_, select, union

from myim_server.refusals import StoreUnavailable
from myim_server.store import group_rows, group_sql, offline_sql
from myim_server.store.database import Database, cursor_of, is_duplicate
from myim_server.store.group_changes import Change
from myim_server.store.group_edits import edit
from myim_server.store.group_rows import Listed
from myim_server.store.group_values import JOINS, KINDS, ROLES, Group, Member, Pending, Standing, View
from myim_server.store.schema import blocks, chat_groups, group_members, group_pending, signed, unsigned, users

ATTEMPTS = 20
# Of more users than these all members are read.
ASKED_AT_ONCE = 5000
# A user's id, a number and two commas; what GROUP_CONCAT holds (`engine`).
LONGEST_PAIR = 42
SHORTEST_CUT = 1_000_000
_LAST_ID = (1 << 63) - 1


def _random_id() -> int:
    return secrets.randbelow(_LAST_ID) + 1


class Groups:
    """All groups; `make_id` gives a new 63-bit id, never 0 and never one that was given before."""

    def __init__(self, database: Database, make_id: Callable[[], int] = _random_id) -> None:
        self._database = database
        self._make_id = make_id

    def create(
        self,
        user: int,
        time: int,
        name: str,
        description: str,
        join: str,
        invited: Sequence[int],
        now: int,
        check: Callable[[int], None] = lambda memberships: None,
    ) -> tuple[Group, bool]:
        """The new group, whose owner and only member is the user, and True; or what the same (user, time) made before, as it is now, and
        False; yields.

        Those of `invited` that are users are asked. `check` is given in how many groups the user is, if it is a new one; what it raises
        passes through, and nothing is made. Raises StoreUnavailable; the group may then exist, and to create it again is right.
        """

        def create(connection: Connection) -> tuple[Group, bool]:
            mine = (chat_groups.c.creator == user, chat_groups.c.creation_time == time)
            found = connection.execute(select(*group_rows.GROUP_COLUMNS).where(*mine)).first()
            if found is not None:
                return group_rows.group_of(found), False
            check(group_rows.memberships(connection, user))
            group = Group(self._make_id(), name, description, join, False, user, 0, 1, 1, now)
            _insert_group(connection, group, time)
            _invite(connection, group, invited)
            return group, True

        for _ in range(ATTEMPTS):
            try:
                return self._database.write(create)
            except Exception as error:
                # The same was made meanwhile, or (once in an age) the id is in use.
                if not is_duplicate(error):
                    raise
        raise StoreUnavailable("no free id for a group")

    def change(
        self, group_id: int, asked: Sequence[int], decide: Callable[[View], Sequence[Change]], now: int
    ) -> tuple[View, Sequence[Change]] | None:
        """Does what `decide` says, upon what there is of the users `asked`; (the view after that, the changes); None: no such group.

        One transaction with the group's row locked first. `decide` may be run more than once and in another thread, and must not yield;
        what it raises passes through, and nothing is changed. After Dissolved the view is as before, without members. Raises
        StoreUnavailable; the changes may then be done all the same; yields.
        """

        def change(connection: Connection) -> tuple[View, Sequence[Change]] | None:
            cursor, tongue = cursor_of(connection), self._database.tongue
            before = group_rows.view(cursor, tongue, group_id, asked, tongue.locked)
            if before is None:
                return None
            changes = decide(before)
            if not changes:
                return before, changes
            edit(connection, before.group, changes, now)
            return group_rows.view(cursor, tongue, group_id, asked, "") or before._replace(members={}), changes

        return self._database.write(change)

    def state(self, group_id: int, user: int) -> Listed | None:
        """The group and what the user is there; None: no such group; yields."""
        statement = group_rows.listing(user, chat_groups).where(chat_groups.c.id == group_id)
        row = self._database.read(lambda connection: connection.execute(statement).first())
        return None if row is None else group_rows.listed(row)

    def of_user(self, user: int, after: int, limit: int) -> list[Listed]:
        """The groups where the user is a member or is pending, above the id `after`, ascending; yields.

        But for invitations by those whom the user blocks: they are open for whoever else looks (F-16).
        """
        if after > _LAST_ID:
            return []
        unwanted = select(blocks.c.blocked).where(blocks.c.user == user, blocks.c.blocked == group_pending.c.asked_by).exists()
        pending = _ids(group_pending, user, after).where(or_(group_pending.c.kind != KINDS.index("invited"), ~unwanted))
        ids = union(_ids(group_members, user, after), pending).subquery()
        source = ids.join(chat_groups, chat_groups.c.id == ids.c.chat_group)
        statement = group_rows.listing(user, source).order_by(chat_groups.c.id).limit(limit)
        return [group_rows.listed(row) for row in self._database.read(lambda connection: connection.execute(statement).all())]

    def standings(self, asked: Sequence[int]) -> dict[int, list[Standing]]:
        """All memberships of each of the users, by group id; yields."""
        found: dict[int, list[Standing]] = {user: [] for user in asked}
        tongue = self._database.tongue
        # A user's rows come as one text (as `flat` says): a thousand memberships are a tenth of what it may hold.
        one = tongue.joined("chat_group", "version", "number", "cursor_number", "joined")
        source = f"group_members{tongue.by('group_members_user')} JOIN chat_groups ON id=chat_group"

        def look(connection: Connection) -> list[tuple[int, str]]:
            cursor = cursor_of(connection)
            rows: list[tuple[int, str]] = []
            for some in group_sql.chunks(sorted({signed(user) for user in asked})):
                where = f"user IN ({offline_sql.numbers(some)})"
                cursor.execute(f"SELECT user,GROUP_CONCAT({one}) FROM {source} WHERE {where} GROUP BY user")
                rows += cursor.fetchall()
            return rows

        for user, text in self._database.read(look) if found else ():
            found[unsigned(user)] = sorted(Standing(*values) for values in group_sql.parsed((text,), 5))
        return found

    def members(self, group: int, after: int, limit: int) -> tuple[int, list[Member]]:
        """The group's version (0: no such group), and its members above the user id `after`, ascending; yields."""
        mine = (group_members.c.chat_group == chat_groups.c.id) & (group_members.c.user > after)
        source = chat_groups.outerjoin(group_members, mine)
        statement = select(chat_groups.c.version, *group_rows.MEMBER_COLUMNS).select_from(source).where(chat_groups.c.id == group)
        if after > _LAST_ID:
            limit = 0
        rows = self._database.read(lambda c: c.execute(statement.order_by(group_members.c.user).limit(max(1, limit))).all())
        found = [group_rows.member_of(row[1:]) for row in rows if row[1] is not None]
        return (rows[0][0] if rows else 0), found[:limit]

    def pending(self, group: int, after: int, limit: int) -> list[Pending]:
        """The group's pendings above the user id `after`, ascending; yields."""
        if after > _LAST_ID:
            return []
        here = (group_pending.c.chat_group == group, group_pending.c.user > after)
        statement = select(*group_rows.PENDING_COLUMNS).where(*here).order_by(group_pending.c.user).limit(limit)
        return [group_rows.pending_of(row) for row in self._database.read(lambda connection: connection.execute(statement).all())]

    def members_among(self, group: int, asked: Collection[int] | None) -> tuple[int, dict[int, int]] | None:
        """The group's version and {user: joined} of those asked for (None: of all) that are members then; None: no such group; yields.

        One statement, so that the members are those of the version.
        """
        is_narrow = asked is not None and len(asked) <= ASKED_AT_ONCE
        among = f" AND user IN ({offline_sql.numbers(sorted(map(signed, asked or ()))) or 'NULL'})" if is_narrow else ""
        source = f"chat_groups LEFT JOIN group_members ON chat_group=id{among} WHERE id={signed(group):d}"
        one = self._database.tongue.joined("user", "joined")

        def look(connection: Connection) -> tuple[int, list[tuple[int, ...]]] | None:
            ((version, count, text),) = _fetched(connection, f"SELECT MAX(version),COUNT(user),GROUP_CONCAT({one}) FROM {source}")
            # MariaDB cuts a text of 1 MiB.
            if count * LONGEST_PAIR < SHORTEST_CUT:
                return None if version is None else (version, list(group_sql.parsed((text,), 2)) if count else [])
            rows = _fetched(connection, f"SELECT version,user,joined FROM {source}")
            return (rows[0][0], [row[1:] for row in rows if row[1] is not None]) if rows else None

        found = self._database.read(look)
        if found is None:
            return None
        joined = {unsigned(user): number for user, number in found[1]}
        if asked is not None and not is_narrow:
            joined = {user: joined[user] for user in asked if user in joined}
        return found[0], joined

    def numbers(self, asked: Sequence[int]) -> dict[int, tuple[int, int]]:
        """{group: (number, version)} of those that exist; yields."""
        ids = sorted({signed(group) for group in asked})

        def look(connection: Connection) -> dict[int, tuple[int, int]]:
            cursor = cursor_of(connection)
            found = {}
            for some in group_sql.chunks(ids):
                source = f"chat_groups WHERE id IN ({offline_sql.numbers(some)})"
                cursor.execute(group_sql.flat(self._database.tongue, ("id", "number", "version"), source))
                for group, number, version in group_sql.parsed(cursor.fetchone(), 3):
                    found[unsigned(group)] = (number, version)
            return found

        return self._database.read(look) if ids else {}

    def is_member(self, group: int, user: int) -> bool:
        """Whether the user is a member now; yields."""
        statement = f"SELECT 1 FROM group_members WHERE chat_group={signed(group):d} AND user={signed(user):d}"
        return bool(self._database.read(lambda connection: _fetched(connection, statement)))


def _fetched(connection: Connection, statement: str) -> Sequence[Any]:
    cursor = cursor_of(connection)
    cursor.execute(statement)
    return cursor.fetchall()


def _ids(table: Any, user: int, after: int) -> Select[*tuple[Any, ...]]:
    return select(table.c.chat_group).where(table.c.user == user, table.c.chat_group > after)


def _insert_group(connection: Connection, group: Group, time: int) -> None:
    row = {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "join_by": JOINS.index(group.join),
        "is_muted": group.is_muted,
        "owner": group.owner,
        "number": group.number,
        "version": group.version,
        "members": group.members,
        "created": group.created,
        "creator": group.owner,
        "creation_time": time,
    }
    connection.execute(insert(chat_groups), row)
    owner = {"role": ROLES.index("owner"), "cursor_number": 0, "joined": 0, "muted_until": 0, "since": group.created}
    connection.execute(insert(group_members), {"chat_group": group.id, "user": group.owner, **owner})


def _invite(connection: Connection, group: Group, invited: Sequence[int]) -> None:
    wanted = sorted({user for user in invited if user != group.owner})
    existing: set[int] = set()
    for some in group_sql.chunks(wanted):
        existing.update(connection.scalars(select(users.c.id).where(users.c.id.in_(some))))
    row = {"chat_group": group.id, "kind": KINDS.index("invited"), "asked_by": group.owner, "words": "", "made": group.created}
    if existing:
        connection.execute(insert(group_pending), [{**row, "user": user} for user in sorted(existing)])
