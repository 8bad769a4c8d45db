"""Removing posts that every member has, posts that are too old, what a dissolved group left, and old names. docs/groups.md, G-3 and G-8.

What must not live here: when it is done, and how often. Rows go from a group's head only, so a group's rows are always a range without a
hole. What may go stays so: a sent count never falls, a row's member count never rises, time passes, and no id is given to a second group.
So any number of janitors may look without a lock, remove, and be killed anywhere; the deletion asks again.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor

from myim_server.store import group_sql, offline_sql
from myim_server.store.database import Database, cursor_of
from myim_server.store.schema import signed, unsigned

DAY = 24 * 3600 * 1_000_000
NAME_DAYS = 8
PREVIEWED_AT_ONCE = 100
ANY = 1 << 62


class Head(NamedTuple):
    """The rows first .. end - 1 of a group may go, if they are there and `condition` holds."""

    group: int
    first: int
    end: int
    condition: str


class GroupPurge:
    """Removes what is done with; a post is kept `days` after it was accepted."""

    def __init__(self, database: Database, days: int = 30) -> None:
        self._database = database
        self._kept_for = days * DAY

    def done(self, groups: Sequence[int], limit: int) -> tuple[int, int]:
        """Removes at most `limit` rows at the heads of these groups that every member has; (rows, bytes) of them; yields."""
        return self._remove(sorted({signed(group) for group in groups}), limit, None)

    def walk(self, after: int, groups: int, limit: int, now: int) -> tuple[int, int, int]:
        """Removes at most `limit` rows that every member has, or that are too old, at the heads of the next groups above `after`, at most
        so many groups; (rows, bytes, the last of these groups, or 0 if there is none above).

        Call it again at once with the same `after` while rows == limit; yields.
        """
        ids = self._database.read(lambda connection: _with_rows(cursor_of(connection), signed(after), groups))
        rows, size = self._remove(ids, limit, now)
        return rows, size, unsigned(ids[-1]) if len(ids) == groups else 0

    def names(self, now: int, limit: int) -> int:
        """Forgets at most `limit` names of posts that were accepted more than 8 days ago; how many; yields."""

        def forget(connection: Connection) -> int:
            cursor = cursor_of(connection)
            before = now - NAME_DAYS * DAY
            cursor.execute(f"SELECT chat_group,user,time FROM group_names WHERE made<{before:d} ORDER BY made LIMIT {limit:d}")
            count = 0
            for some in group_sql.chunks(sorted(cursor.fetchall())):
                cursor.execute(f"DELETE FROM group_names WHERE {group_sql.keyed(('chat_group', 'user', 'time'), some)}")
                count += cursor.rowcount
            return count

        return self._database.write(forget)

    def preview(self, now: int) -> tuple[int, int]:
        """(rows, bytes) that `walk` would remove from all groups; yields, and reads every row there is."""
        rows = size = 0
        after: int | None = 0
        while after is not None:
            some, more, after = self._previewed(after, now)
            rows, size = rows + some, size + more
        return rows, size

    def backlog(self, limit: int) -> tuple[int, int]:
        """How many rows that every member has are still there in the first `limit` groups, and when the oldest of them was accepted (0 if
        there is none); yields."""

        def look(connection: Connection) -> tuple[int, int]:
            cursor = cursor_of(connection)
            heads = self._heads(cursor, _with_rows(cursor, 0, limit), ANY, None)
            rows = oldest = 0
            for some in group_sql.chunks(heads):
                cursor.execute(f"SELECT COUNT(*),MIN(accepted) FROM group_messages WHERE {_where(some)}")
                count, accepted = cursor.fetchone() or (0, None)
                rows += count
                oldest = min(oldest or accepted, accepted) if accepted is not None else oldest
            return rows, oldest

        return self._database.read(look)

    def _is_done(self) -> str:
        """The condition on a row that everybody it waits for has."""
        return "sent>=members"

    def _previewed(self, after: int, now: int) -> tuple[int, int, int | None]:
        def look(connection: Connection) -> tuple[int, int, int | None]:
            cursor = cursor_of(connection)
            ids = _with_rows(cursor, after, PREVIEWED_AT_ONCE)
            heads = self._heads(cursor, ids, ANY, now)
            return (*(_counted(cursor, heads, "") if heads else (0, 0)), ids[-1] if ids else None)

        return self._database.read(look)

    def _remove(self, groups: Sequence[int], limit: int, now: int | None) -> tuple[int, int]:
        heads = self._database.read(lambda connection: self._heads(cursor_of(connection), groups, limit, now)) if groups else []
        if not heads:
            return 0, 0

        def remove(connection: Connection) -> tuple[int, int]:
            cursor = cursor_of(connection)
            rows = size = 0
            for some in group_sql.chunks(heads):
                found = _counted(cursor, some, self._database.tongue.locked)
                cursor.execute(f"DELETE FROM group_messages WHERE {_where(some)}")
                rows, size = rows + found[0], size + found[1]
            return rows, size

        return self._database.write(remove)

    def _heads(self, cursor: DBAPICursor, groups: Sequence[int], limit: int, now: int | None) -> list[Head]:
        """What may go of these groups, in their order, not more than `limit` rows."""
        condition = self._is_done() if now is None else f"({self._is_done()} OR accepted<{now - self._kept_for:d})"
        heads: list[Head] = []
        for some in group_sql.chunks(groups):
            # The rows were there first: a group that is not there now was dissolved.
            cursor.execute(group_sql.removable(self._database.tongue, some, condition, limit))
            found = cursor.fetchall()
            cursor.execute(f"SELECT id FROM chat_groups WHERE id IN ({offline_sql.numbers(some)})")
            present = {row[0] for row in cursor.fetchall()}
            for group, first, end, last in found:
                is_there = group in present
                end = min(first + limit, last + 1 if end is None or not is_there else end)
                if end > first:
                    heads.append(Head(group, first, end, condition if is_there else "1=1"))
                    limit -= end - first
                if limit <= 0:
                    return heads
        return heads


def _with_rows(cursor: DBAPICursor, after: int, limit: int) -> list[int]:
    """The next groups above `after` that have rows, or had them before they were dissolved."""
    cursor.execute(f"SELECT DISTINCT chat_group FROM group_messages WHERE chat_group>{after:d} ORDER BY chat_group LIMIT {limit:d}")
    return [row[0] for row in cursor.fetchall()]


def _counted(cursor: DBAPICursor, heads: Sequence[Head], lock: str) -> tuple[int, int]:
    cursor.execute(f"SELECT COUNT(*),SUM(size) FROM group_messages WHERE {_where(heads)}{lock}")
    rows, size = cursor.fetchone() or (0, None)
    return rows, int(size or 0)


def _where(heads: Sequence[Head]) -> str:
    parts = [f"chat_group={group:d} AND number>={first:d} AND number<{end:d} AND {condition}" for group, first, end, condition in heads]
    return " OR ".join([f"({part})" for part in parts])
