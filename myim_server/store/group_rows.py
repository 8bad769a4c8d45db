"""Rows of the groups' tables as values: a group, its members and pendings, and the view a decision is made upon.

What must not live here: writing, and the statements that run for every post (`group_sql`, whose rule holds here too: only numbers enter a
text).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, select
from sqlalchemy.engine.interfaces import DBAPICursor

from myim_server.store import group_sql
from myim_server.store.database import Tongue
from myim_server.store.group_values import JOINS, KINDS, ROLES, Group, Member, Pending, View
from myim_server.store.schema import chat_groups, group_members, group_pending, signed, unsigned

_OF_GROUP = ("id", "name", "description", "join_by", "is_muted", "owner", "number", "version", "members", "created")
_OF_MEMBER = ("user", "role", "cursor_number", "joined", "muted_until", "since")
_OF_PENDING = ("user", "kind", "asked_by", "words", "made")
GROUP_COLUMNS = tuple(chat_groups.c[name] for name in _OF_GROUP)
MEMBER_COLUMNS = tuple(group_members.c[name] for name in _OF_MEMBER)
PENDING_COLUMNS = tuple(group_pending.c[name] for name in _OF_PENDING)

_MEMBER_AT = len(_OF_GROUP)
_PENDING_AT = _MEMBER_AT + len(_OF_MEMBER)
Listed = tuple[Group, Member | None, Pending | None]


def group_of(row: Sequence[Any]) -> Group:
    """The group of GROUP_COLUMNS."""
    return Group(unsigned(row[0]), row[1], row[2], JOINS[row[3]], bool(row[4]), unsigned(row[5]), *row[6:10])


def member_of(row: Sequence[Any]) -> Member:
    """The member of MEMBER_COLUMNS."""
    return Member(unsigned(row[0]), ROLES[row[1]], *row[2:6])


def pending_of(row: Sequence[Any]) -> Pending:
    """The pending of PENDING_COLUMNS."""
    return Pending(unsigned(row[0]), KINDS[row[1]], unsigned(row[2]), *row[3:5])


def listing(user: int, source: Any) -> Select[*tuple[Any, ...]]:
    """Groups, each with what the user is there, from `source`, which is or joins chat_groups; `listed` takes a row."""
    joined = source.outerjoin(group_members, and_(group_members.c.chat_group == chat_groups.c.id, group_members.c.user == user)).outerjoin(
        group_pending, and_(group_pending.c.chat_group == chat_groups.c.id, group_pending.c.user == user)
    )
    return select(*GROUP_COLUMNS, *MEMBER_COLUMNS, *PENDING_COLUMNS).select_from(joined)


def listed(row: Row[*tuple[Any, ...]]) -> Listed:
    """A row of `listing`."""
    member, pending = row[_MEMBER_AT:_PENDING_AT], row[_PENDING_AT:]
    return group_of(row), None if member[0] is None else member_of(member), None if pending[0] is None else pending_of(pending)


def view(cursor: DBAPICursor, tongue: Tongue, group: int, asked: Iterable[int], lock: str) -> View | None:
    """What there is of the group, whose row is locked by `lock`, and of these users in and around it; None: no such group."""
    here = f"{signed(group):d}"
    requests = f"(SELECT COUNT(*) FROM group_pending WHERE chat_group={here})"
    cursor.execute(f"SELECT {','.join(_OF_GROUP)},{requests} FROM chat_groups WHERE id={here}{lock}")
    row = cursor.fetchone()
    if row is None:
        return None
    wanted = sorted(set(asked))
    made = View(group_of(row), {}, {}, row[_MEMBER_AT], dict.fromkeys(wanted, 0), set())
    for some in group_sql.chunks(wanted):
        cursor.execute(_around(tongue, here, map(signed, some)))
        for of_user in cursor.fetchall():
            user = unsigned(of_user[0])
            made.memberships[user] = of_user[1]
            if of_user[2] is not None:
                made.existing.add(user)
            if of_user[3] is not None:
                made.members[user] = member_of(of_user[3:9])
            if of_user[9] is not None:
                made.pending[user] = pending_of(of_user[9:14])
    return made


def memberships(connection: Connection, user: int) -> int:
    """In how many groups the user is a member."""
    return connection.scalar(select(func.count()).select_from(group_members).where(group_members.c.user == user)) or 0


def _around(tongue: Tongue, here: str, users: Iterable[int]) -> str:
    """Rows (user, memberships, id if it is one, member, pending) for each of the users."""
    asked = ",".join([f"{tongue.row}({user:d})" for user in users])
    columns = ",".join([f"m.{name}" for name in _OF_MEMBER] + [f"p.{name}" for name in _OF_PENDING])
    return (
        f"WITH asked(u) AS (VALUES {asked})"
        f" SELECT u,(SELECT COUNT(*) FROM group_members WHERE group_members.user=u),users.id,{columns} FROM asked"
        " LEFT JOIN users ON users.id=u"
        f" LEFT JOIN group_members m ON m.chat_group={here} AND m.user=u"
        f" LEFT JOIN group_pending p ON p.chat_group={here} AND p.user=u"
    )
