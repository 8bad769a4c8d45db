"""Receipts that wait for their senders: which of a terminal's stored messages have reached their target.

What must not live here: making them. `offline.confirm` does that, in the transaction that deletes the message, so a receipt is true.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, and_, select

from myim_server.store.database import Database, cursor_of
from myim_server.store.offline_sql import having_rows, in_groups
from myim_server.store.schema import receipts, signed, unsigned

DROPPED_AT_ONCE = 200
ASKED_AT_ONCE = 1000


class Receipts:
    """All receipts that no sender has confirmed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, user_id: int, slot: int, limit: int) -> list[tuple[int, int]]:
        """At most `limit` pairs (target, time) for the terminal at this slot, in the order of their times."""
        mine = and_(receipts.c.user == user_id, receipts.c.slot == slot)
        statement = select(receipts.c.target, receipts.c.time).where(mine).order_by(receipts.c.time, receipts.c.target).limit(limit)
        return [(target, time) for target, time in self._database.read(lambda connection: connection.execute(statement).all())]

    def release(self, target: int, limit: int) -> list[tuple[int, int]]:
        """Gives at most `limit` receipts that were held for this target to their senders; (user, slot) of whose they are; yields.

        Call it again at once while it gives as many.
        """

        def release(connection: Connection) -> list[tuple[int, int]]:
            cursor = cursor_of(connection)
            mine = f"target={signed(target):d}"
            # Locked: what another center releases at once, and its sender has by now, is not made anew.
            first = f"ORDER BY user,time LIMIT {limit:d}{self._database.tongue.locked}"
            cursor.execute(f"SELECT user,time,accepted FROM held_receipts WHERE {mine} {first}")
            found = cursor.fetchall()
            for start in range(0, len(found), DROPPED_AT_ONCE):
                some = found[start : start + DROPPED_AT_ONCE]
                rows = ",".join([f"({user:d},{time & 63:d},{time:d},{signed(target):d},{accepted:d})" for user, time, accepted in some])
                ignore = self._database.tongue.insert_ignore
                cursor.execute(f"{ignore} receipts (user,slot,time,target,accepted) VALUES {rows}")
                chosen = in_groups([row[:2] for row in some], "user")
                cursor.execute(f"DELETE FROM held_receipts WHERE {mine} AND ({chosen})")
            return [(unsigned(user), time & 63) for user, time, _ in found]

        return self._database.write(release)

    def held_for(self, targets: Iterable[int]) -> set[int]:
        """Those of the targets for whom receipts are held; yields."""
        wanted = [signed(target) for target in targets]

        def look(connection: Connection) -> set[int]:
            cursor = cursor_of(connection)
            found: set[int] = set()
            for i in range(0, len(wanted), ASKED_AT_ONCE):
                cursor.execute(having_rows(self._database.tongue, wanted[i : i + ASKED_AT_ONCE], "held_receipts"))
                found.update(unsigned(row[0]) for row in cursor.fetchall())
            return found

        return self._database.read(look) if wanted else set()

    def users_with_receipts(self, user_ids: Iterable[int]) -> set[int]:
        """Those of the users for whose terminals receipts wait; yields."""
        wanted = list(user_ids)

        def look(connection: Connection) -> set[int]:
            found: set[int] = set()
            for i in range(0, len(wanted), ASKED_AT_ONCE):
                chosen = receipts.c.user.in_(wanted[i : i + ASKED_AT_ONCE])
                found.update(connection.scalars(select(receipts.c.user).where(chosen).distinct()))
            return found

        return self._database.read(look) if wanted else set()

    def drop(self, user_id: int, slot: int, pairs: Sequence[tuple[int, int]]) -> None:
        """Forgets these (target, time), which the sender has; those that are not there are passed over."""
        wanted = sorted({(signed(target), signed(time)) for target, time in pairs})

        def drop(connection: Connection) -> None:
            cursor = cursor_of(connection)
            for i in range(0, len(wanted), DROPPED_AT_ONCE):
                chosen = in_groups(wanted[i : i + DROPPED_AT_ONCE], "target")
                cursor.execute(f"DELETE FROM receipts WHERE user={signed(user_id):d} AND slot={slot:d} AND ({chosen})")

        if wanted:
            self._database.write(drop)
