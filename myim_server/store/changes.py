"""The log of raised generations, which centers poll so that a revoked ticket is found wherever its session is.

What must not live here: raising anything (accounts and terminals do that, in the transaction that writes here). Numbers become visible in
their order, because whoever writes holds the counter's row until commit: a poll that saw n has seen all below n. So it is taken last in a
transaction.
"""

from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from myim_server.store.schema import change_counter, changes

KEPT = 200_000
PAGE = 10_000


class Raised(NamedTuple):
    """A generation that rose: the user's if `slot` is None, else that terminal's; `generation` is the new one."""

    user_id: int
    slot: int | None
    generation: int


class Changes:
    """Writes and reads the log on a connection of its caller's."""

    def append(self, connection: Connection, raised: list[Raised]) -> None:
        """Logs these; to be called last in a transaction, since others wait from here to its commit."""
        connection.execute(update(change_counter).values(number=change_counter.c.number + len(raised)))
        last = self.last(connection)
        first = last - len(raised) + 1
        rows = [{"number": first + i, "user": one.user_id, "slot": one.slot, "generation": one.generation} for i, one in enumerate(raised)]
        connection.execute(insert(changes), rows)
        if first // 1000 != (last + 1) // 1000:
            connection.execute(delete(changes).where(changes.c.number <= last - KEPT))

    def last(self, connection: Connection) -> int:
        """The number of the latest change, 0 if there was none."""
        return int(connection.scalar(select(change_counter.c.number)) or 0)

    def since(self, connection: Connection, number: int) -> tuple[list[Raised], int]:
        """At most 10,000 changes after `number`, oldest first, and the number to ask with next."""
        columns = (changes.c.number, changes.c.user, changes.c.slot, changes.c.generation)
        rows = connection.execute(select(*columns).where(changes.c.number > number).order_by(changes.c.number).limit(PAGE)).all()
        return [Raised(user, slot, generation) for _, user, slot, generation in rows], rows[-1][0] if rows else number
