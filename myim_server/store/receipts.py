"""Receipts that wait for their senders: which of a terminal's stored messages have reached their target.

What must not live here: making them. `offline.confirm` does that, in the transaction that deletes the message, so a receipt is true.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, and_, select

from myim_server.store.database import Database, cursor_of
from myim_server.store.offline_sql import in_groups
from myim_server.store.schema import receipts, signed

DROPPED_AT_ONCE = 200


class Receipts:
    """All receipts that no sender has confirmed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, user_id: int, slot: int, limit: int) -> list[tuple[int, int]]:
        """At most `limit` pairs (target, time) for the terminal at this slot, in the order of their times."""
        mine = and_(receipts.c.user == user_id, receipts.c.slot == slot)
        statement = select(receipts.c.target, receipts.c.time).where(mine).order_by(receipts.c.time, receipts.c.target).limit(limit)
        return [(target, time) for target, time in self._database.read(lambda connection: connection.execute(statement).all())]

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
