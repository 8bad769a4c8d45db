"""Posts of groups: numbered and stored, many in one transaction; read in pages. docs/groups.md, G-1 to G-3 and G-9 to G-11.

What must not live here: who is told of a post, what a refusal means to its sender, and who has it (`group_cursors`). Which post gets which
number is `group_numbering`'s.
"""

from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor

from myim_server.store import group_sql, offline_sql
from myim_server.store.database import STATEMENT_CHARS, Database, cursor_of, is_duplicate
from myim_server.store.group_numbering import Known, Name, Numbering, State
from myim_server.store.group_values import Post, Posted, PostRefused, Row
from myim_server.store.schema import signed, unsigned

SMALLEST_SPLIT = 1024
LOWEST_KEPT = 50_000


Page = tuple[list[Row], int, int]  # rows, up to which number that is all, the group's number


class GroupPosts:
    """The messages of all groups; a group holds at most `rows_per_group`."""

    def __init__(self, database: Database, rows_per_group: int = 100_000) -> None:
        self._database = database
        self._rows_per_group = rows_per_group
        # Never above a group's lowest row: rows go from the head only.
        self._lowest: dict[int, int] = {}

    def post(self, posts: Sequence[Post]) -> list[Posted | PostRefused]:
        """What became of each post, in the order of the list, committed and flushed; one transaction; yields.

        Numbers of a group are in the order of the list. A repeat gets its number back, whatever may be said against its user now. After a
        refused post (but for a CONFLICT) those behind it of the same (group, user, slot) are refused alike. Raises StoreUnavailable; the
        posts may then be stored all the same, and to post them again is right.
        """
        return self._database.write(lambda connection: self._post(cursor_of(connection), posts)) if posts else []

    def page(self, group: int, user: int, after: int, max_rows: int, max_bytes: int) -> Page | None:
        """One of `pages`."""
        return self.pages([(group, user, after)], max_rows, max_bytes)[0]

    def pages(self, asked: Sequence[tuple[int, int, int]], max_rows: int, max_bytes: int) -> list[Page | None]:
        """For each (group, user, after) the rows above `after` (and above what was said before the user came), ascending; up to which
        number that is all; the group's number. None: not a member; yields.

        At most `max_rows` with at most `max_bytes` of bodies, but always one if there is one. Pages that are the same are read once, and
        are the same object: who missed something, missed it with others.
        """

        def look(connection: Connection) -> list[Page | None]:
            cursor = cursor_of(connection)
            # One statement, and before the rows: what commits later is above these numbers (G-9).
            members = self._standing(cursor, sorted({(signed(group), signed(user)) for group, user, _ in asked}))
            read: dict[tuple[int, int], Page] = {}
            found: list[Page | None] = []
            for group, user, after in asked:
                joined, number = members.get((signed(group), signed(user)), (0, -1))
                above = min(max(after, joined), number)
                if number >= 0 and (group, above) not in read:
                    read[group, above] = (*self._rows(cursor, signed(group), above, number, max_rows, max_bytes), number)
                found.append(read.get((group, above)))
            return found

        return self._database.read(look)

    # ------------------------------------------------------------------ posting

    def _post(self, cursor: DBAPICursor, posts: Sequence[Post]) -> list[Posted | PostRefused]:
        return self._store(cursor, posts, self._states(cursor, posts, self._database.tongue.locked), "INSERT INTO ")

    def _states(self, cursor: DBAPICursor, posts: Sequence[Post], lock: str) -> dict[int, State]:
        wanted: dict[int, int] = {}
        for post in posts:
            wanted[post.group] = wanted.get(post.group, 0) + 1
        ids = sorted(signed(group) for group in wanted)
        states = {}
        for some in group_sql.chunks(ids):
            source = f"chat_groups{self._database.tongue.by('PRIMARY')} WHERE id IN ({offline_sql.numbers(some)}) ORDER BY id{lock}"
            cursor.execute(f"SELECT id,number,version,members,is_muted FROM {source}")
            states.update({row[0]: row[1:] for row in cursor.fetchall()})
        return {
            group: State(number, version, members, bool(is_muted), self._room(cursor, group, number, wanted[unsigned(group)]))
            for group, (number, version, members, is_muted) in states.items()
        }

    def _room(self, cursor: DBAPICursor, group: int, number: int, wanted: int) -> int:
        if number + wanted - self._lowest.get(group, 1) >= self._rows_per_group:
            cursor.execute(f"SELECT number FROM group_messages WHERE chat_group={group:d} ORDER BY number LIMIT 1")
            found = cursor.fetchone()
            if len(self._lowest) >= LOWEST_KEPT:
                self._lowest.clear()
            self._lowest[group] = number + 1 if found is None else found[0]
        return self._rows_per_group - (number + 1 - self._lowest.get(group, 1))

    def _store(self, cursor: DBAPICursor, posts: Sequence[Post], states: dict[int, State], insert: str) -> list[Posted | PostRefused]:
        members = self._members(cursor, posts, states)
        batch = Numbering(posts, states, members, {})
        # Most batches hold no repeat, and the index says so while it takes the names.
        if batch.has_refusals or not self._insert_names(cursor, batch.names):
            batch = Numbering(posts, states, members, self._known(cursor, posts, states))
            for statement in group_sql.inserts(f"INSERT INTO {group_sql.INSERT_NAMES}", batch.names, STATEMENT_CHARS):
                cursor.execute(statement)
        for statement in group_sql.inserts(insert + group_sql.INSERT_MESSAGES, batch.messages, STATEMENT_CHARS):
            cursor.execute(statement)
        for some in group_sql.chunks(sorted(batch.numbers.items())):
            cursor.execute(group_sql.raise_numbers(self._database.tongue, some))
        return batch.outcomes

    def _members(self, cursor: DBAPICursor, posts: Sequence[Post], states: dict[int, State]) -> dict[tuple[int, int], tuple[int, int]]:
        # No lock: who joins, leaves or is muted holds the group's row.
        tongue = self._database.tongue
        pairs = sorted({(signed(post.group), signed(post.user)) for post in posts if signed(post.group) in states})
        found = {}
        for some in group_sql.chunks(pairs):
            what = group_sql.in_one(tongue, ("chat_group", "user", "role", "muted_until"))
            cursor.execute(group_sql.listed(tongue, what, "group_members", ("chat_group", "user"), some))
            for group, user, role, muted_until in group_sql.parsed(cursor.fetchone(), 4):
                found[group, user] = (role, muted_until)
        return found

    @staticmethod
    def _insert_names(cursor: DBAPICursor, names: Sequence[str]) -> bool:
        """Whether none was there; if one was, nothing is inserted."""
        statements = list(group_sql.inserts(f"INSERT INTO {group_sql.INSERT_NAMES}", names, STATEMENT_CHARS))
        if len(statements) > 1:
            # A refused statement undoes itself, but not the ones before it.
            return False
        try:
            for statement in statements:
                cursor.execute(statement)
        except Exception as error:
            if is_duplicate(error):
                return False
            raise
        return True

    def _known(self, cursor: DBAPICursor, posts: Sequence[Post], states: dict[int, State]) -> dict[Name, Known]:
        tongue = self._database.tongue
        names = sorted({(signed(post.group), signed(post.user), signed(post.time)) for post in posts if signed(post.group) in states})
        numbers: dict[Name, int] = {}
        for some in group_sql.chunks(names):
            what = group_sql.in_one(tongue, ("chat_group", "user", "time", "number"))
            cursor.execute(group_sql.listed(tongue, what, "group_names", ("chat_group", "user", "time"), some))
            for group, user, time, number in group_sql.parsed(cursor.fetchone(), 4):
                numbers[group, user, time] = number
        bodies: dict[tuple[int, int], bytes] = {}
        for rows in group_sql.chunks(sorted((name[0], number) for name, number in numbers.items())):
            cursor.execute(group_sql.listed(tongue, "chat_group,number,body", "group_messages", ("chat_group", "number"), rows))
            bodies.update({(group, number): bytes(body) for group, number, body in cursor.fetchall()})
        return {name: Known(number, bodies.get((name[0], number))) for name, number in numbers.items()}

    # ------------------------------------------------------------------ reading

    def _standing(self, cursor: DBAPICursor, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], tuple[int, int]]:
        """(joined, the group's number) of those of the (group, user) that are members; one statement."""
        tongue = self._database.tongue
        what = group_sql.in_one(tongue, ("chat_group", "user", "joined", "number"))
        statement = group_sql.listed(tongue, what, "group_members", ("chat_group", "user"), pairs)
        cursor.execute(statement + f" JOIN chat_groups{tongue.by('PRIMARY')} ON id=chat_group")
        return {(group, user): (joined, number) for group, user, joined, number in group_sql.parsed(cursor.fetchone(), 4)}

    def _rows(self, cursor: DBAPICursor, group: int, above: int, number: int, max_rows: int, max_bytes: int) -> tuple[list[Row], int]:
        """The rows above .. number, and up to which number that is all."""
        # Large bodies are left out at first, or a page of a few of them would read a hundred.
        split = max(SMALLEST_SPLIT, 2 * max_bytes // max(1, max_rows))
        head = self._database.tongue.joined("number", "user", "time", "accepted", "entered", "message_id", "size")
        cursor.execute(
            f"SELECT {head},CASE WHEN size<={split:d} THEN body END FROM group_messages"
            f" WHERE {group_sql.between(group, above, number)} ORDER BY number LIMIT {max_rows + 1:d}"
        )
        found = cursor.fetchall()
        rows: list[Row] = []
        missing: dict[int, int] = {}
        left = max_bytes
        for text, body in found[:max_rows]:
            at, user, time, accepted, entered, message_id, size = map(int, text.split(","))
            if size > left and rows:
                break
            left -= size
            if body is None:
                missing[at] = len(rows)
            rows.append(Row(at, unsigned(user), unsigned(time), accepted, unsigned(entered), unsigned(message_id), body or b""))
        up_to = number if len(rows) == len(found) else rows[-1].number
        return (self._with_bodies(cursor, group, rows, missing) if missing else rows), up_to

    @staticmethod
    def _with_bodies(cursor: DBAPICursor, group: int, rows: list[Row], missing: dict[int, int]) -> list[Row]:
        where = f"chat_group={group:d} AND number IN ({offline_sql.numbers(missing)})"
        cursor.execute(f"SELECT number,body FROM group_messages WHERE {where}")
        bodies = dict(cursor.fetchall())
        for number, place in missing.items():
            if number in bodies:
                rows[place] = rows[place]._replace(body=bytes(bodies[number]))
        # What was removed meanwhile, everybody has.
        return [row for row in rows if row.number not in missing or row.number in bodies]
