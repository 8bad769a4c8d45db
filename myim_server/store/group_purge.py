"""Removing posts that every member has, posts that are too old, what dissolved groups left, and old names. docs/groups.md, G-3 and G-8.

What must not live here: when it is done, and how often. Rows go from a group's head only, so a group's rows are always a range without a
hole. What may go stays so: a sent count never falls, a row's member count never rises, time passes, and no id is given to a second group.
So any number of janitors may look without a lock, remove, and be killed anywhere; the deletion asks again.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor

from myim_server.store import group_sql, offline_sql
from myim_server.store.database import Database, Tongue, cursor_of
from myim_server.store.schema import signed, unsigned

T = TypeVar("T")

DAY = 24 * 3600 * 1_000_000
NAME_DAYS = 8
LOOKED_AT_ONCE = 100
ANY = 1 << 62
ALL_ROWS = "1=1"
KEY = ("chat_group", "number")
COUNTED = "COUNT(*),SUM(size)"
LONGEST_LISTED = 64


class Head(NamedTuple):
    """The rows first .. end - 1 of a group may go, as far as `condition` holds."""

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
        ids = sorted({signed(group) for group in groups})
        heads = self._read(lambda cursor: self._heads(cursor, ids, limit, self._is_done())) if ids else []
        return self._remove(heads, [])

    def walk(self, after: int, groups: int, limit: int, now: int) -> tuple[int, int, int]:
        """Removes at most `limit` rows that every member has, or that are too old, at the heads of the next groups above `after`, at most
        so many groups, or that dissolved groups left; (rows, bytes, after which group to go on, or 0 if there is none above); yields.

        With rows == limit there may be more of the same: go on at once, after the same group where that is 0.
        """

        def look(cursor: DBAPICursor) -> tuple[list[Head], list[int], int]:
            left = _ids(cursor, "chat_group", "group_leftovers", 0, groups)
            heads = self._heads(cursor, left, limit, ALL_ROWS)
            # The lists may be cut where the limit is reached; a group of which nothing is found then still has rows.
            room = limit - sum(head.end - head.first for head in heads)
            over = [] if room <= 0 else sorted(set(left) - {head.group for head in heads})
            ids = _ids(cursor, "id", "chat_groups", signed(after), groups)
            more = self._heads(cursor, ids, room, self._may_go(now))
            if room <= 0:  # none of these was looked at
                return heads, over, signed(after)
            is_full = sum(head.end - head.first for head in more) == room
            return heads + more, over, more[-1].group - 1 if is_full else ids[-1] if len(ids) == groups else 0

        heads, over, last = self._read(look)
        return (*self._remove(heads, over), unsigned(last))

    def names(self, now: int, limit: int) -> int:
        """Forgets at most `limit` names of posts that were accepted more than 8 days ago; how many; yields."""
        condition = f"made<{now - NAME_DAYS * DAY:d}"
        statement = self._database.tongue.delete_first.format(table="group_names", condition=condition, order="made", limit=limit)

        def forget(connection: Connection) -> int:
            cursor = cursor_of(connection)
            cursor.execute(statement)
            return cursor.rowcount

        return self._database.write(forget)

    def preview(self, now: int) -> tuple[int, int]:
        """(rows, bytes) that `walk` would remove from all groups; yields, and reads every row there is."""
        found = [
            self._previewed("chat_group", "group_leftovers", ALL_ROWS),
            self._previewed("id", "chat_groups", self._may_go(now)),
        ]
        return sum(rows for rows, _ in found), sum(size for _, size in found)

    def backlog(self, limit: int) -> tuple[int, int]:
        """How many rows are stored in the first `limit` groups, and when the oldest of them was accepted (0: there is none);
        a dive or three into the index for each group; yields."""

        def look(connection: Connection) -> tuple[int, int]:
            cursor = cursor_of(connection)
            rows = oldest = 0
            for some in group_sql.chunks(_ids(cursor, "id", "chat_groups", 0, limit)):
                cursor.execute(group_sql.stored(self._database.tongue, some))
                for first, last, accepted in cursor.fetchall():
                    rows += last - first + 1
                    oldest = min(oldest or accepted, accepted)
            return rows, oldest

        return self._database.read(look)

    def _is_done(self) -> str:
        """The condition on a row that everybody it waits for has."""
        return "sent>=members"

    def _may_go(self, now: int) -> str:
        return f"({self._is_done()} OR accepted<{now - self._kept_for:d})"

    def _read(self, look: Callable[[DBAPICursor], T]) -> T:
        return self._database.read(lambda connection: look(cursor_of(connection)))

    def _remove(self, heads: Sequence[Head], over: Sequence[int]) -> tuple[int, int]:
        """Removes these rows, and the leftovers that are no more."""
        tongue = self._database.tongue

        def remove(connection: Connection) -> tuple[int, int]:
            cursor = cursor_of(connection)
            rows = size = 0
            for count, delete in _removals(tongue, heads):
                # Locked before they are counted, so that of two janitors one counts a row.
                counted = _counted(cursor, count + tongue.locked)
                cursor.execute(delete)
                rows, size = rows + counted[0], size + counted[1]
            if over:
                cursor.execute(f"DELETE FROM group_leftovers WHERE chat_group IN ({offline_sql.numbers(over)})")
            return rows, size

        return self._database.write(remove) if heads or over else (0, 0)

    def _heads(self, cursor: DBAPICursor, groups: Sequence[int], limit: int, condition: str) -> list[Head]:
        """What may go of these groups, in their order, not more than `limit` rows."""
        heads: list[Head] = []
        for some in _growing(groups):
            if limit <= 0:
                break
            cursor.execute(group_sql.removable(self._database.tongue, some, condition, limit))
            for group, first, end, last in cursor.fetchall():
                end = min(first + limit, last + 1 if end is None else end)
                if end > first:
                    heads.append(Head(group, first, end, condition))
                    limit -= end - first
        return heads

    def _previewed(self, column: str, table: str, condition: str) -> tuple[int, int]:
        def look(cursor: DBAPICursor) -> tuple[int, int, list[int]]:
            ids = _ids(cursor, column, table, after, LOOKED_AT_ONCE)
            heads = self._heads(cursor, ids, ANY, condition)
            return (*(_counted(cursor, f"SELECT {COUNTED} FROM group_messages WHERE {_where(heads)}") if heads else (0, 0)), ids)

        rows = size = after = 0
        while True:
            some, more, ids = self._read(look)
            rows, size = rows + some, size + more
            if not ids:
                return rows, size
            after = ids[-1]


def _growing(groups: Sequence[int]) -> Iterator[Sequence[int]]:
    """Pieces of 1, 4, 16 and so on: where much may go, each look reads up to `limit` rows of every group in it (of 200 groups with 1,000
    expired rows each, 100,000 rows for every 500 that go), and where little may, few statements are wanted."""
    begin, size = 0, 1
    while begin < len(groups):
        yield groups[begin : begin + size]
        begin, size = begin + size, min(4 * size, group_sql.AT_ONCE)


def _ids(cursor: DBAPICursor, column: str, table: str, after: int, limit: int) -> list[int]:
    cursor.execute(f"SELECT {column} FROM {table} WHERE {column}>{after:d} ORDER BY {column} LIMIT {limit:d}")
    return [row[0] for row in cursor.fetchall()]


def _removals(tongue: Tongue, heads: Sequence[Head]) -> Iterator[tuple[str, str]]:
    """Pairs of statements that count and remove these rows, in their order: short heads by a list of their rows, a long one as a range."""
    for condition, some in groupby(heads, key=lambda head: head.condition):
        for is_long, pieces in groupby(some, key=lambda head: head.end - head.first > LONGEST_LISTED):
            if is_long:
                for head in pieces:
                    where = _where([head])
                    count = f"SELECT {COUNTED} FROM group_messages{tongue.by('PRIMARY')} WHERE {where}"
                    yield count, tongue.delete.format(table="group_messages", condition=where)
                continue
            rows = [(head.group, number) for head in pieces for number in range(head.first, head.end)]
            for listed in group_sql.chunks(rows):
                count = group_sql.listed(tongue, COUNTED, "group_messages", KEY, listed, condition)
                yield count, group_sql.delete_listed(tongue, "group_messages", KEY, listed, condition)


def _counted(cursor: DBAPICursor, statement: str) -> tuple[int, int]:
    cursor.execute(statement)
    rows, size = cursor.fetchone() or (0, None)
    return rows, int(size or 0)


def _where(heads: Sequence[Head]) -> str:
    parts = [f"chat_group={group:d} AND number>={first:d} AND number<{end:d} AND {condition}" for group, first, end, condition in heads]
    return " OR ".join([f"({part})" for part in parts])
