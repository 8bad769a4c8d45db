"""What members have confirmed: cursors move up, and the rows they pass are counted. docs/groups.md, G-5 to G-7 and G-10.

What must not live here: removing what is counted (`group_purge`), and who is told. A group's row is read without a lock: its number only
rises, and whoever takes a member off the list takes that member's row, which is locked here first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from sqlalchemy.engine.interfaces import DBAPICursor

from myim_server.store import group_sql, offline_sql
from myim_server.store.database import Database, Tongue, cursor_of
from myim_server.store.schema import signed

# A span of rows that is longer is counted by a statement of its own.
LONGEST_LISTED = 64
Claim = tuple[int, int, int]  # (group, user, number): the user has all of the group up to the number
Key = tuple[int, int]  # (group, user), as the tables have them
Span = tuple[int, int, int]  # (group, above, up to)
Segment = tuple[int, int, int, int]  # (group, above, up to, how many)


class GroupCursors:
    """The cursors of all members of all groups."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def move(self, claims: Sequence[Claim]) -> list[bool]:
        """Which of the claims moved a cursor, as if made one after another; one transaction, committed and flushed; yields.

        A claim above the group's number, of somebody who is no member, or of what was confirmed before changes nothing. Raises
        StoreUnavailable; the cursors may then have moved all the same, and to claim again is right.
        """
        return self._database.write(lambda connection: self._move(cursor_of(connection), claims)) if claims else []

    def _move(self, cursor: DBAPICursor, claims: Sequence[Claim]) -> list[bool]:
        named = [(signed(group), signed(user)) for group, user, _ in claims]
        before = self._locked(cursor, sorted(set(named)))
        numbers = self._numbers(cursor, sorted({group for group, _ in before}))
        after = dict(before)
        moved = []
        for key, (_, _, number) in zip(named, claims, strict=True):
            is_moving = key in after and after[key] < number <= numbers.get(key[0], 0)
            if is_moving:
                after[key] = number
            moved.append(is_moving)
        raised = sorted((*key, number) for key, number in after.items() if number > before[key])
        tongue = self._database.tongue
        for some in group_sql.chunks(raised):
            cursor.execute(group_sql.raise_cursors(tongue, some))
        for statement in _counting(tongue, segments(self._spans(claims, before, after))):
            cursor.execute(statement)
        return moved

    def _locked(self, cursor: DBAPICursor, keys: Sequence[Key]) -> dict[Key, int]:
        """The cursors of those that are members, who stay so until the commit."""
        tongue = self._database.tongue
        found = {}
        for some in group_sql.chunks(keys):
            what = group_sql.in_one(tongue, ("chat_group", "user", "cursor_number"))
            cursor.execute(group_sql.listed(tongue, what, "group_members", ("chat_group", "user"), some) + tongue.locked)
            for group, user, number in group_sql.parsed(cursor.fetchone(), 3):
                found[group, user] = number
        return found

    def _numbers(self, cursor: DBAPICursor, groups: Sequence[int]) -> dict[int, int]:
        found = {}
        for some in group_sql.chunks(groups):
            source = f"chat_groups WHERE id IN ({offline_sql.numbers(some)})"
            cursor.execute(group_sql.flat(self._database.tongue, ("id", "number"), source))
            for group, number in group_sql.parsed(cursor.fetchone(), 2):
                found[group] = number
        return found

    def _spans(self, claims: Sequence[Claim], before: Mapping[Key, int], after: Mapping[Key, int]) -> Iterator[Span]:
        """The rows to be counted for each member: those its cursor passed (G-6)."""
        for (group, user), number in after.items():
            if number > before[group, user]:
                yield group, before[group, user], number


def segments(spans: Iterable[Span]) -> Iterator[Segment]:
    """The spans laid over each other: pieces with equally many on them, ascending."""
    edges: dict[int, dict[int, int]] = {}
    for group, above, up_to in spans:
        of_group = edges.setdefault(group, {})
        of_group[above] = of_group.get(above, 0) + 1
        of_group[up_to] = of_group.get(up_to, 0) - 1
    for group in sorted(edges):
        many = start = 0
        for edge, change in sorted(edges[group].items()):
            if many and edge > start:
                yield group, start, edge, many
            many += change
            start = edge


def _counting(tongue: Tongue, found: Iterable[Segment]) -> Iterator[str]:
    """The statements that add the segments, in an order that locks ascending."""
    rows: list[tuple[int, int, int]] = []
    for group, above, up_to, many in found:
        if up_to - above <= LONGEST_LISTED:
            rows += [(group, number, many) for number in range(above + 1, up_to + 1)]
            if len(rows) < group_sql.AT_ONCE:
                continue
        if rows:
            yield group_sql.count_rows(tongue, rows)
            rows = []
        if up_to - above > LONGEST_LISTED:
            yield group_sql.count_range(group, above, up_to, many)
    if rows:
        yield group_sql.count_rows(tongue, rows)
