"""Rows of the groups' tables as values: a group, its members and pendings, and the view a decision is made upon.

What must not live here: writing, locks, and the statements that run for every post (`group_sql`).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select

from myim_server.store.group_values import JOINS, KINDS, ROLES, Group, Member, Pending, View
from myim_server.store.schema import chat_groups, group_members, group_pending, users

ASKED_AT_ONCE = 800

GROUP_COLUMNS = (
    chat_groups.c.id,
    chat_groups.c.name,
    chat_groups.c.description,
    chat_groups.c.join_by,
    chat_groups.c.is_muted,
    chat_groups.c.owner,
    chat_groups.c.number,
    chat_groups.c.version,
    chat_groups.c.members,
    chat_groups.c.created,
)
MEMBER_COLUMNS = (
    group_members.c.user,
    group_members.c.role,
    group_members.c.cursor_number,
    group_members.c.joined,
    group_members.c.muted_until,
    group_members.c.since,
)
PENDING_COLUMNS = (group_pending.c.user, group_pending.c.kind, group_pending.c.asked_by, group_pending.c.words, group_pending.c.made)

_MEMBER_AT = len(GROUP_COLUMNS)
_PENDING_AT = _MEMBER_AT + len(MEMBER_COLUMNS)
Listed = tuple[Group, Member | None, Pending | None]


def group_of(row: Sequence[Any]) -> Group:
    """The group of GROUP_COLUMNS."""
    return Group(row[0], row[1], row[2], JOINS[row[3]], bool(row[4]), *row[5:10])


def member_of(row: Sequence[Any]) -> Member:
    """The member of MEMBER_COLUMNS."""
    return Member(row[0], ROLES[row[1]], *row[2:6])


def pending_of(row: Sequence[Any]) -> Pending:
    """The pending of PENDING_COLUMNS."""
    return Pending(row[0], KINDS[row[1]], *row[2:5])


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


def view(connection: Connection, group: Group, asked: Iterable[int]) -> View:
    """What there is of these users, in and around the group whose row is locked."""
    wanted = sorted(set(asked))
    made = View(group, {}, {}, 0, dict.fromkeys(wanted, 0), set())
    here = group_members.c.chat_group == group.id
    pending_here = group_pending.c.chat_group == group.id
    for begin in range(0, len(wanted), ASKED_AT_ONCE):
        some = wanted[begin : begin + ASKED_AT_ONCE]
        for row in _all(connection, select(*MEMBER_COLUMNS).where(here, group_members.c.user.in_(some))):
            made.members[row[0]] = member_of(row)
        for row in _all(connection, select(*PENDING_COLUMNS).where(pending_here, group_pending.c.user.in_(some))):
            made.pending[row[0]] = pending_of(row)
        for row in _all(connection, _memberships(group_members.c.user.in_(some))):
            made.memberships[row[0]] = row[1]
        made.existing.update(connection.scalars(select(users.c.id).where(users.c.id.in_(some))))
    requests = connection.scalar(select(func.count()).select_from(group_pending).where(pending_here))
    return made._replace(requests=requests or 0)


def memberships(connection: Connection, user: int) -> int:
    """In how many groups the user is a member."""
    return connection.scalar(select(func.count()).select_from(group_members).where(group_members.c.user == user)) or 0


def _memberships(condition: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    return select(group_members.c.user, func.count()).where(condition).group_by(group_members.c.user)


def _all(connection: Connection, statement: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
    return connection.execute(statement).all()
