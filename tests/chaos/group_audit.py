"""What the database holds of groups, read in one consistent look, and recounted: the judge's only witness besides the applications.

What lives here: a trigger that notes the end of each membership in the transaction that ends it, reading, and the recount (pure). What
must not: the server's code, for how it counts is what is in doubt.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pymysql

from bench.servers import Database
from myim_server.store.schema import unsigned


class Membership(NamedTuple):
    """One time of somebody in a group. joined, left: the group's number when it began and ended (None: it lasts); cursor: up to which
    number it confirmed."""

    group: int
    user: int
    joined: int
    cursor: int
    left: int | None = None


class Row(NamedTuple):
    """A stored post: how many members it waits for, how many of them have it."""

    number: int
    members: int
    sent: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent look. numbers: group -> its number; members: group -> how many it says it has; names: group -> (number, user, time)
    of each post that was ever numbered, read when asked for."""

    numbers: Mapping[int, int]
    members: Mapping[int, int]
    memberships: Sequence[Membership]
    rows: Mapping[int, Sequence[Row]]
    names: Mapping[int, Sequence[tuple[int, int, int]]] = field(default_factory=dict)

    @property
    def backlog(self) -> int:
        """How many rows there are."""
        return sum(map(len, self.rows.values()))

    @property
    def is_drained(self) -> bool:
        """Whether everybody has confirmed everything, and nothing waits."""
        return not self.backlog and all(
            membership.cursor == self.numbers.get(membership.group) for membership in self.memberships if membership.left is None
        )


_TABLE = """CREATE TABLE chaos_left (chat_group BIGINT NOT NULL, user BIGINT NOT NULL, joined BIGINT NOT NULL,
 cursor_number BIGINT NOT NULL, number BIGINT NOT NULL)"""
_NOTE = """INSERT INTO chaos_left SELECT OLD.chat_group, OLD.user, OLD.joined, OLD.cursor_number, number FROM chat_groups
 WHERE id = OLD.chat_group"""
_TRIGGERS = {
    "sqlite": f"CREATE TRIGGER chaos_left AFTER DELETE ON group_members BEGIN {_NOTE}; END",
    "mariadb": f"CREATE TRIGGER chaos_left AFTER DELETE ON group_members FOR EACH ROW {_NOTE}",
}
_GROUPS = "SELECT id, number, members FROM chat_groups"
_MEMBERS = "SELECT chat_group, user, joined, cursor_number FROM group_members"
_LEFT = "SELECT chat_group, user, joined, cursor_number, number FROM chaos_left"
_ROWS = "SELECT chat_group, number, members, sent FROM group_messages ORDER BY chat_group, number"
_NAMES = "SELECT chat_group, number, user, time FROM group_names"


class Archive:
    """The database as the judge opens it: a file of SQLite, or MariaDB. Raises OSError and the drivers' errors while it is down."""

    def __init__(self, place: Path | Database) -> None:
        self._place = place

    def watch(self) -> None:
        """From now on the end of each membership is noted."""
        with self._cursor() as cursor:
            cursor.execute(_TABLE)
            cursor.execute(_TRIGGERS["mariadb" if isinstance(self._place, Database) else "sqlite"])
            cursor.connection.commit()

    def look(self, with_names: bool = False) -> Snapshot:
        """Everything as of one moment."""
        with self._cursor() as cursor:
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT" if isinstance(self._place, Database) else "BEGIN")
            groups = _all(cursor, _GROUPS)
            memberships = [Membership(unsigned(group), unsigned(user), *rest) for group, user, *rest in _all(cursor, _MEMBERS)]
            memberships += [Membership(unsigned(group), unsigned(user), *rest) for group, user, *rest in _all(cursor, _LEFT)]
            rows: dict[int, list[Row]] = defaultdict(list)
            for group, *row in _all(cursor, _ROWS):
                rows[unsigned(group)].append(Row(*row))
            names: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
            for group, number, user, time in _all(cursor, _NAMES) if with_names else ():
                names[unsigned(group)].append((number, unsigned(user), unsigned(time)))
        numbers = {unsigned(group): number for group, number, _ in groups}
        return Snapshot(numbers, {unsigned(group): members for group, _, members in groups}, memberships, rows, names)

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        place = self._place
        connection: Any
        if isinstance(place, Database):
            password = place.password_file.read_text().strip()
            connection = pymysql.connect(
                host="127.0.0.1", port=place.port, user="root", password=password, database="myim", connect_timeout=5, read_timeout=30
            )
        else:
            connection = sqlite3.connect(f"file:{place}?mode=rw", uri=True, timeout=10)
        with closing(connection), closing(connection.cursor()) as cursor:
            yield cursor


def _all(cursor: Any, query: str) -> Sequence[tuple[Any, ...]]:
    cursor.execute(query)
    found: Sequence[tuple[Any, ...]] = cursor.fetchall()
    return found


# ---------------------------------------------------------------------- the recount


class _Ladder:
    """How many of the spans (above, up to] hold a number."""

    def __init__(self, spans: Sequence[tuple[int, int]]) -> None:
        self._above = sorted(above for above, _ in spans)
        self._up_to = sorted(up_to for _, up_to in spans)

    def at(self, number: int) -> int:
        return bisect_left(self._above, number) - bisect_left(self._up_to, number)


def recount(snapshot: Snapshot) -> Counter[str]:
    """What is wrong in one look: `miscounted` rows whose sent count is not the number of those who confirmed them, `misawaited` ones that
    do not wait for just those who were members at their time and have not left without them, `purged_early` ones that are gone though
    somebody waits, `misnumbered` members counts and cursors that cannot be."""
    wrong: Counter[str] = Counter()
    of_group: dict[int, list[Membership]] = defaultdict(list)
    for membership in snapshot.memberships:
        of_group[membership.group].append(membership)
    for group, number in snapshot.numbers.items():
        present = [one for one in of_group[group] if one.left is None]
        wrong["misnumbered"] += snapshot.members[group] != len(present)
        wrong["misnumbered"] += sum(not one.joined <= one.cursor <= number for one in present)
        wrong["misnumbered"] += any(count > 1 for count in Counter(one.user for one in present).values())
        wrong.update(_recount_rows(snapshot.rows.get(group, ()), of_group[group], number))
    return +wrong


def _recount_rows(rows: Sequence[Row], memberships: Sequence[Membership], number: int) -> Counter[str]:
    wrong: Counter[str] = Counter()
    confirmed = _Ladder([(one.joined, one.cursor) for one in memberships])
    waiting = _Ladder([(one.joined, number if one.left is None else one.cursor) for one in memberships])
    present = sorted((one.joined, one.cursor) for one in memberships if one.left is None)
    for row in rows:
        wrong["miscounted"] += row.sent != confirmed.at(row.number)
        wrong["misawaited"] += row.members != waiting.at(row.number)
    there = [row.number for row in rows]
    for _, cursor in present:
        wrong["purged_early"] += (number - cursor) - (len(there) - bisect_right(there, cursor))
    return wrong
