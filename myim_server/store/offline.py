"""Messages that wait for their target: stored in groups, read in pages, deleted for receipts. Design §5 says why each rule is needed.

What must not live here: who is online, when to read, what a refusal means to a sender. How a batch gets in is `insertion`'s, the texts of
the statements are `offline_sql`'s.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor

from myim_server.store import offline_sql
from myim_server.store.database import Database, cursor_of
from myim_server.store.insertion import Inserted, Insertion, StoredMessage
from myim_server.store.mailboxes import Mailboxes
from myim_server.store.schema import signed, unsigned

__all__ = ["Inserted", "Offline", "Purged", "StoredMessage"]

DAY = 24 * 3600 * 1_000_000
RECEIPT_DAYS = 40
ASKED_AT_ONCE = 1000
USERS_KEPT = 200_000
DOUBTFUL_KEPT = 10_000
SMALLEST_SPLIT = 1024
_RECEIPTS = "receipts (user,slot,time,target,accepted) SELECT user,slot,time,target,accepted"
_HELD = "held_receipts (target,user,time,accepted) SELECT target,user,time,accepted"


class Purged(NamedTuple):
    """How many messages and receipts were deleted; the messages alone, bytes of their bodies, (user, time, target) of the QoS 1 ones."""

    rows: int
    messages: int
    size: int
    names: list[tuple[int, int, int]]


class Offline:
    """The offline messages of all users; quotas are per target, and nearly exact as `mailboxes` says."""

    def __init__(self, database: Database, rows_per_user: int = 100_000, bytes_per_user: int = 268_435_456, days: int = 30) -> None:
        self._database = database
        self._mailboxes = Mailboxes(rows_per_user, bytes_per_user)
        self._users: set[int] = set()
        self._doubtful: set[int] = set()
        self._kept_for = days * DAY
        self._purged_to = 0

    def insert(self, messages: Sequence[StoredMessage]) -> list[Inserted]:
        """What became of each message, in the order of the list, committed and flushed; one transaction; yields.

        Within (target, user, slot) the stored `accepted` rises in the order of the list and above any row already there; see `insertion`.
        Raises StoreUnavailable; the messages may then be stored all the same, and to insert them again is right.
        """
        if not messages:
            return []
        insertion = self._database.write(lambda connection: self._insert(cursor_of(connection), messages))
        stored = zip(messages, insertion.outcomes, strict=True)
        self._mailboxes.add((message.target, len(message.body)) for message, outcome in stored if outcome is Inserted.STORED)
        return insertion.outcomes

    def page(self, target: int, handed: Collection[int], limit: int, max_bytes: int) -> tuple[list[StoredMessage], bool]:
        """The target's oldest messages whose row ids are not in `handed`, ascending (accepted, id), and whether there are more; yields.

        At most `limit` of them with at most `max_bytes` of bodies, but always one if there is one.
        """
        return self._database.read(lambda connection: self._page(cursor_of(connection), signed(target), handed, limit, max_bytes))

    def targets_with_rows(self, user_ids: Iterable[int]) -> set[int]:
        """Those of the users for whom something is stored; yields."""
        targets = [signed(user_id) for user_id in user_ids]

        def look(connection: Connection) -> set[int]:
            cursor = cursor_of(connection)
            found: set[int] = set()
            for i in range(0, len(targets), ASKED_AT_ONCE):
                cursor.execute(offline_sql.having_rows(self._database.tongue, targets[i : i + ASKED_AT_ONCE]))
                found.update(unsigned(row[0]) for row in cursor.fetchall())
            return found

        return self._database.read(look) if targets else set()

    def confirm(self, names: Sequence[tuple[int, int, int]], is_held: bool = False) -> int:
        """Deletes the QoS 1 messages of these (target, user, time) and stores a receipt for the sender of each, in one transaction; how
        many. is_held: nobody is to learn of it before `receipts.release`.

        Names that are not there are passed over, so it may be repeated, and of confirmations that race one makes the receipt; yields.
        """
        wanted = [(signed(target), signed(user), signed(time)) for target, user, time in names]
        chunks = list(offline_sql.name_chunks(wanted))

        def confirm(connection: Connection) -> int:
            cursor = cursor_of(connection)
            return sum(self._confirm(cursor, chunk, is_held) for chunk in chunks)

        return self._database.write(confirm) if wanted else 0

    def delete(self, row_ids: Iterable[int]) -> None:
        """Deletes these rows without a receipt, committed before the return: for QoS 0, before they are sent; yields."""
        ids = sorted(row_ids)

        def delete(connection: Connection) -> None:
            cursor = cursor_of(connection)
            for i in range(0, len(ids), ASKED_AT_ONCE):
                cursor.execute(f"DELETE FROM offline_messages WHERE id IN ({offline_sql.numbers(ids[i : i + ASKED_AT_ONCE])})")

        if ids:
            self._database.write(delete)

    def purge_expired(self, now: int, limit: int) -> Purged:
        """Deletes at most `limit` messages that were accepted more than `days` ago, and as many receipts that nobody fetched 40 days after
        that. Call it again at once while it finds much; yields."""
        return self._database.write(lambda connection: self._purge(cursor_of(connection), now, limit))

    def forget(self, user_id: int) -> None:
        """The user may be gone: whether it is there is looked up from now on before anything is stored for it. Does not yield."""
        if len(self._doubtful) >= DOUBTFUL_KEPT:
            self._users, self._doubtful = set(), set()
        self._doubtful.add(user_id)

    def preview_expired(self, now: int) -> tuple[int, int]:
        """(messages, bytes of their bodies) that `purge_expired` would delete in all; yields, and reads every row's head."""

        def look(connection: Connection) -> tuple[int, int]:
            cursor = cursor_of(connection)
            cursor.execute(f"SELECT COUNT(*),SUM(size) FROM offline_messages WHERE accepted<{now - self._kept_for:d}")
            rows, size = cursor.fetchone() or (0, None)
            return rows, int(size or 0)

        return self._database.read(look)

    def _insert(self, cursor: DBAPICursor, messages: Sequence[StoredMessage]) -> Insertion:
        insertion = Insertion(messages)
        targets = {message.target for message in messages}
        if not targets <= self._users or targets & self._doubtful:
            insertion.refuse_targets(self._existing(cursor, targets))
        wanted = insertion.wanted()
        self._read_fills(cursor, self._mailboxes.unread(wanted), wanted)
        rooms = {target: self._mailboxes.room(target) for target in wanted}
        short = {target: rooms[target] for target, (rows, size, _) in wanted.items() if rows > rooms[target][0] or size > rooms[target][1]}
        if short:
            insertion.find_present(cursor, self._database.tongue, short)
            insertion.refuse_full(short)
        insertion.store(cursor, self._database.tongue)
        return insertion

    def _existing(self, cursor: DBAPICursor, targets: set[int]) -> set[int]:
        """Those of the targets that are users."""
        # One that was seen is there, unless `forget` was told otherwise. (Ids have 63 bits; what has more is nobody.)
        if len(self._users) + len(targets) > USERS_KEPT:
            self._users = set()
        known = (targets & self._users) - self._doubtful
        unknown = sorted(target for target in targets - known if target < 1 << 63)
        for i in range(0, len(unknown), ASKED_AT_ONCE):
            cursor.execute(f"SELECT id FROM users WHERE id IN ({offline_sql.numbers(unknown[i : i + ASKED_AT_ONCE])})")
            known.update(row[0] for row in cursor.fetchall())
        self._users.update(known)
        return known

    def _read_fills(self, cursor: DBAPICursor, targets: list[int], wanted: dict[int, tuple[int, int, int]]) -> None:
        if not targets:
            return
        chosen = offline_sql.numbers(targets)
        cursor.execute(f"SELECT target,COUNT(*),SUM(size) FROM offline_messages WHERE target IN ({chosen}) GROUP BY target")
        read = {target: (int(rows), int(size)) for target, rows, size in cursor.fetchall()}
        for target in targets:
            self._mailboxes.put(target, *read.get(target, (0, 0)), wanted[target][2])

    def _page(
        self, cursor: DBAPICursor, target: int, handed: Collection[int], limit: int, max_bytes: int
    ) -> tuple[list[StoredMessage], bool]:
        # Large bodies are left out at first, or a page of a few of them would read a hundred.
        split = max(SMALLEST_SPLIT, 2 * max_bytes // max(1, limit))
        head = self._database.tongue.joined("id", "user", "time", "qos", "accepted", "entered", "message_id", "size")
        unseen = f" AND id NOT IN ({offline_sql.numbers(handed)})" if handed else ""
        cursor.execute(
            f"SELECT {head},CASE WHEN size<={split:d} THEN body END FROM offline_messages"
            f" WHERE target={target:d}{unseen} ORDER BY accepted,id LIMIT {limit + 1:d}"
        )
        rows: list[StoredMessage] = []
        found = cursor.fetchall()
        left = max_bytes
        missing = []
        for text, body in found[:limit]:
            row_id, user, time, qos, accepted, entered, message_id, size = map(int, text.split(","))
            if size > left and rows:
                break
            left -= size
            if body is None:
                missing.append(len(rows))
            names = (unsigned(target), unsigned(user), unsigned(time))
            rows.append(StoredMessage(*names, qos, body or b"", unsigned(entered), unsigned(message_id), accepted, row_id))
        is_more = len(found) > len(rows)
        return (self._with_bodies(cursor, rows, missing) if missing else rows), is_more

    def _with_bodies(self, cursor: DBAPICursor, rows: list[StoredMessage], missing: list[int]) -> list[StoredMessage]:
        ids = offline_sql.numbers(rows[i].id for i in missing)
        cursor.execute(f"SELECT id,body FROM offline_messages WHERE id IN ({ids})")
        bodies = dict(cursor.fetchall())
        for i in missing:
            if rows[i].id in bodies:
                rows[i] = rows[i]._replace(body=bytes(bodies[rows[i].id]))
        gone = {i for i in missing if rows[i].id not in bodies}
        return [row for i, row in enumerate(rows) if i not in gone]

    def _confirm(self, cursor: DBAPICursor, names: list[tuple[int, int, int]], is_held: bool) -> int:
        # The ids come back in one row: rows are what the driver is slow at. What is locked here is what is deleted below, and nothing else.
        where = offline_sql.named(names)
        cursor.execute(f"SELECT GROUP_CONCAT(id) FROM offline_messages WHERE qos=1 AND ({where}){self._database.tongue.locked}")
        found = cursor.fetchone()
        if found is None or found[0] is None:
            return 0
        ids = offline_sql.numbers(map(int, str(found[0]).split(",")))
        cursor.execute(
            f"{self._database.tongue.insert_ignore} {_HELD if is_held else _RECEIPTS} FROM offline_messages WHERE id IN ({ids})"
        )
        cursor.execute(f"DELETE FROM offline_messages WHERE id IN ({ids})")
        return cursor.rowcount

    def _purge(self, cursor: DBAPICursor, now: int, limit: int) -> Purged:
        # Row ids rise nearly as `accepted` does, so the expired are at the head; a second window walks through the whole table, for those
        # that are not (an index by age would be paid for at every insert).
        expired: set[int] = set()
        last = 0
        for begin in sorted({0, self._purged_to}):
            cursor.execute(f"SELECT id,accepted FROM offline_messages WHERE id>{begin:d} ORDER BY id LIMIT {limit:d}")
            rows = cursor.fetchall()
            expired.update(row_id for row_id, accepted in rows if accepted < now - self._kept_for)
            last = rows[-1][0] if len(rows) == limit else 0
        self._purged_to = last
        messages = size = 0
        names: list[tuple[int, int, int]] = []
        if gone := offline_sql.numbers(sorted(expired)[:limit]):
            cursor.execute(f"SELECT user,time,target FROM offline_messages WHERE id IN ({gone}) AND qos=1{self._database.tongue.locked}")
            names = [(unsigned(user), unsigned(time), unsigned(target)) for user, time, target in cursor.fetchall()]
            cursor.execute(f"SELECT SUM(size) FROM offline_messages WHERE id IN ({gone})")
            size = int((cursor.fetchone() or (0,))[0] or 0)
            cursor.execute(f"DELETE FROM offline_messages WHERE id IN ({gone})")
            messages = cursor.rowcount
        count = messages
        age = now - self._kept_for - RECEIPT_DAYS * DAY
        cursor.execute(f"SELECT user,slot,time,target FROM receipts WHERE accepted<{age:d} LIMIT {limit:d}")
        for user, slot, time, target in cursor.fetchall():
            cursor.execute(f"DELETE FROM receipts WHERE user={user:d} AND slot={slot:d} AND time={time:d} AND target={target:d}")
            count += cursor.rowcount
        cursor.execute(f"SELECT target,user,time FROM held_receipts WHERE accepted<{age:d} LIMIT {limit:d}")
        for target, user, time in cursor.fetchall():
            cursor.execute(f"DELETE FROM held_receipts WHERE target={target:d} AND user={user:d} AND time={time:d}")
            count += cursor.rowcount
        return Purged(count, messages, size, names)
