"""A decision's changes, done to one group whose row is locked. docs/groups.md, G-2, G-4, G-7.

What must not live here: deciding, and the lock itself (`groups`). Order of locks: the group's row is held, then all member rows that
change, ascending, then messages, ascending.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from myim_server.store import group_sql
from myim_server.store.database import cursor_of
from myim_server.store.group_changes import Added, Altered, Asked, Change, Dissolved, MuteSet, Removed, RoleSet, Unasked
from myim_server.store.group_values import JOINS, KINDS, ROLES, Group
from myim_server.store.schema import chat_groups, group_leftovers, group_members, group_pending, signed

Values = dict[str, Any]


class Edit:
    """What the changes come to, gathered in their order; `write` does it."""

    def __init__(self, group: Group, cursors: Mapping[int, int], now: int) -> None:
        """cursors: of those members among the changes' users, whose rows are locked."""
        self._group = group
        self._cursors = cursors
        self._now = now
        self._removed: dict[int, int] = {}
        self._added: dict[int, Values] = {}
        self._changed: dict[int, Values] = {}
        self._pending: dict[int, Values | None] = {}
        self._values: Values = {}
        self._is_new_version = False

    def take(self, change: Change) -> None:
        """One change more; about somebody who is no member it changes nothing."""
        match change:
            case Added(user, role):
                self._add(user, role)
            case Removed(user):
                self._remove(user)
            case RoleSet(user, role):
                self._set(user, role=ROLES.index(role))
                if role == "owner":
                    self._values["owner"] = user
            case MuteSet(user, until):
                self._set(user, muted_until=until)
            case Altered():
                self._alter(change)
            case Asked(user, kind, by, words):
                self._pending[user] = {"kind": KINDS.index(kind), "asked_by": by, "words": words, "made": self._now}
            case Unasked(user):
                self._pending[user] = None
            case Dissolved():
                raise ValueError("what is dissolved is not edited")
        self._is_new_version = self._is_new_version or not isinstance(change, Asked | Unasked)

    def write(self, connection: Connection) -> None:
        """Does it, in the order of the locks."""
        here = self._group.id
        if self._is_new_version:
            self._values["version"] = self._group.version + 1
            self._values["members"] = self._group.members + len(self._added) - len(self._removed)
            connection.execute(update(chat_groups).where(chat_groups.c.id == here).values(self._values))
        _delete(connection, group_members, here, self._removed)
        for user, values in self._changed.items():
            mine = group_members.c.user == user
            connection.execute(update(group_members).where(group_members.c.chat_group == here, mine).values(values))
        _insert(connection, group_members, here, self._added)
        _delete(connection, group_pending, here, self._pending)
        _insert(connection, group_pending, here, {user: values for user, values in self._pending.items() if values is not None})
        cursor = cursor_of(connection)
        for statement in _fewer(signed(here), sorted(self._removed.values()), self._group.number):
            cursor.execute(statement)

    def _add(self, user: int, role: str) -> None:
        number = self._group.number
        self._added[user] = {
            "role": ROLES.index(role),
            "cursor_number": number,
            "joined": number,
            "muted_until": 0,
            "since": self._now,
        }
        self._pending[user] = None
        if role == "owner":
            self._values["owner"] = user

    def _remove(self, user: int) -> None:
        if self._added.pop(user, None) is None and user in self._cursors:
            self._removed[user] = self._cursors[user]
            self._changed.pop(user, None)

    def _set(self, user: int, **values: int) -> None:
        if user in self._added:
            self._added[user].update(values)
        elif user in self._cursors and user not in self._removed:
            self._changed.setdefault(user, {}).update(values)

    def _alter(self, change: Altered) -> None:
        if change.name is not None:
            self._values["name"] = change.name
        if change.description is not None:
            self._values["description"] = change.description
        if change.join is not None:
            self._values["join_by"] = JOINS.index(change.join)
        if change.is_muted is not None:
            self._values["is_muted"] = change.is_muted


def edit(connection: Connection, group: Group, changes: Sequence[Change], now: int) -> None:
    """Does the changes in their order."""
    if any(isinstance(change, Dissolved) for change in changes):
        dissolve(connection, group.id)
        return
    touched = {change.user for change in changes if isinstance(change, Added | Removed | RoleSet | MuteSet)}
    made = Edit(group, _locked(connection, group.id, touched), now)
    for change in changes:
        made.take(change)
    made.write(connection)


def dissolve(connection: Connection, group_id: int) -> None:
    """The group is gone. Its messages, which nobody can ask for any more, are left to the janitor, and its names to their age: there may be
    too many of them for one transaction."""
    connection.execute(insert(group_leftovers), {"chat_group": group_id})
    connection.execute(delete(group_members).where(group_members.c.chat_group == group_id))
    connection.execute(delete(group_pending).where(group_pending.c.chat_group == group_id))
    connection.execute(delete(chat_groups).where(chat_groups.c.id == group_id))


def _locked(connection: Connection, group_id: int, touched: Iterable[int]) -> dict[int, int]:
    wanted = sorted(touched, key=signed)
    found: dict[int, int] = {}
    for some in group_sql.chunks(wanted):
        mine = (group_members.c.chat_group == group_id, group_members.c.user.in_(some))
        statement = select(group_members.c.user, group_members.c.cursor_number).where(*mine).order_by(group_members.c.user)
        for user, number in connection.execute(statement.with_for_update()):
            found[user] = number
    return found


def _fewer(group: int, cursors: Sequence[int], number: int) -> Iterable[str]:
    """Rows wait for one less for each of these who was not there yet."""
    for place, above in enumerate(cursors):
        up_to = cursors[place + 1] if place + 1 < len(cursors) else number
        if up_to > above:
            yield group_sql.wait_for_fewer(group, above, up_to, place + 1)


def _delete(connection: Connection, table: Table[Any], group_id: int, gone: Iterable[int]) -> None:
    for some in group_sql.chunks(sorted(gone, key=signed)):
        connection.execute(delete(table).where(table.c.chat_group == group_id, table.c.user.in_(some)))


def _insert(connection: Connection, table: Table[Any], group_id: int, rows: Mapping[int, Values]) -> None:
    if rows:
        connection.execute(insert(table), [{"chat_group": group_id, "user": user, **values} for user, values in rows.items()])
