"""Rows of the friends' tables as values: friends as a list shows them, groups, requests, and the view a decision is made upon.

What must not live here: writing, and locks.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect, Select, Table, and_, func, select

from myim_server.store.friend_values import REQUEST_STATES, Ask, Friend, FriendGroup, Kept, View
from myim_server.store.profile_values import ASKING
from myim_server.store.schema import blocks, friend_groups, friend_requests, friends, profiles, users

OPEN, IGNORED, REFUSED = (REQUEST_STATES.index(state) for state in ("open", "ignored", "refused"))
EVERYBODY = ASKING.index("everybody")
GROUP_COLUMNS = (friend_groups.c.id, friend_groups.c.name, friend_groups.c.position, friend_groups.c.hash)
FRIEND_COLUMNS = (
    friends.c.friend,
    friends.c.friend_group,
    func.coalesce(users.c.shown_name, ""),
    friends.c.remark,
    func.coalesce(profiles.c.display_name, ""),
    func.coalesce(profiles.c.avatar, ""),
    func.coalesce(profiles.c.signature, ""),
)


def friend_of(row: Sequence[Any]) -> Friend:
    """The friend of FRIEND_COLUMNS."""
    return Friend(*row)


def shown(source: Any) -> Any:
    """`source`, which is or joins `friends`, with what FRIEND_COLUMNS needs."""
    return source.outerjoin(users, users.c.id == friends.c.friend).outerjoin(profiles, profiles.c.user == friends.c.friend)


def listed(user: int) -> Select[*tuple[Any, ...]]:
    """All friends of a user, by id; `friend_of` takes a row."""
    return select(*FRIEND_COLUMNS).select_from(shown(friends)).where(friends.c.user == user).order_by(friends.c.friend)


def groups_of(connection: Connection, user: int) -> list[FriendGroup]:
    """The groups of a user's list, by id."""
    statement = select(*GROUP_COLUMNS).where(friend_groups.c.user == user).order_by(friend_groups.c.id)
    return [FriendGroup(*row) for row in connection.execute(statement)]


def asks(user: int, after: int, limit: int, *, are_incoming: bool) -> Select[*tuple[Any, ...]]:
    """Requests to a user (those that it has not refused), or by it, by the other's id above `after`; `ask_of` takes a row."""
    mine, others = friend_requests.c.user, friend_requests.c.asker
    if not are_incoming:
        mine, others = others, mine
    columns = (others, users.c.shown_name, friend_requests.c.words, friend_requests.c.made, friend_requests.c.state)
    statement = select(*columns).join_from(friend_requests, users, users.c.id == others).where(mine == user, others > after)
    if are_incoming:
        statement = statement.where(friend_requests.c.state != REFUSED)
    return statement.order_by(others).limit(limit)


def blocked_by(user: int, after: int, limit: int) -> Select[*tuple[Any, ...]]:
    """(id, name, since when) of those whom a user blocks, by id above `after`."""
    columns = (blocks.c.blocked, users.c.shown_name, blocks.c.made)
    statement = select(*columns).join_from(blocks, users, users.c.id == blocks.c.blocked)
    return statement.where(blocks.c.user == user, blocks.c.blocked > after).order_by(blocks.c.blocked).limit(limit)


def ask_of(row: Row[*tuple[Any, ...]], *, is_incoming: bool) -> Ask:
    """The request of a row of `asks`; who asked does not learn that it is ignored."""
    user, name, words, made, state = row
    return Ask(user, name, words, made, is_incoming and state == IGNORED)


def view(connection: Connection, user: int, other: int, exists: bool, others_version: int) -> View:
    """What there is between two users whose lists are locked; other: 0 for nobody."""
    groups = {group.id: group for group in groups_of(connection, user)}
    if not other:
        return View(user, 0, False, 0, None, 0, 0, None, None, 0, 0, False, False, 0, False, groups)
    row = connection.execute(_between(user, other)).one()
    group, remark, many, others, incoming, outgoing, asked, asking, blocking, blocked_by, blocked, wants = row
    kept = None if group is None else Kept(group, remark)
    return View(
        user, other, exists, others_version, kept, many, others, _state(incoming), _state(outgoing), asked, asking, bool(blocking),
        bool(blocked_by), blocked, wants in (None, EVERYBODY), groups,
    )  # fmt: skip


def _state(number: int | None) -> str | None:
    return None if number is None else REQUEST_STATES[number]


def _between(user: int, other: int) -> Select[*tuple[Any, ...]]:
    """All of it in one statement: a look here is cheap, a round trip is not."""
    kept = and_(friends.c.user == user, friends.c.friend == other)
    incoming = and_(friend_requests.c.user == user, friend_requests.c.asker == other)
    outgoing = and_(friend_requests.c.user == other, friend_requests.c.asker == user)
    return select(
        select(friends.c.friend_group).where(kept).scalar_subquery(),
        select(friends.c.remark).where(kept).scalar_subquery(),
        _count(friends, friends.c.user == user),
        _count(friends, friends.c.user == other),
        select(friend_requests.c.state).where(incoming).scalar_subquery(),
        select(friend_requests.c.state).where(outgoing).scalar_subquery(),
        _count(friend_requests, and_(friend_requests.c.user == other, friend_requests.c.state != REFUSED)),
        _count(friend_requests, friend_requests.c.asker == user),
        _count(blocks, and_(blocks.c.user == user, blocks.c.blocked == other)),
        _count(blocks, and_(blocks.c.user == other, blocks.c.blocked == user)),
        _count(blocks, blocks.c.user == user),
        select(profiles.c.asking).where(profiles.c.user == other).scalar_subquery(),
    )


def _count(table: Table[Any], condition: ColumnElement[bool]) -> ScalarSelect[Any]:
    return select(func.count()).select_from(table).where(condition).scalar_subquery()
