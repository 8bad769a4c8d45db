"""The history of logins by password: kept in the transaction that admits the terminal, read by the user it is of.

What must not live here: terminals (`terminals`), and who may read it. A user's history is bounded by count and by age, so that logging in
again and again fills nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, insert, select

from myim_server.store.database import Database, cursor_of
from myim_server.store.schema import logins

LOGINS_KEPT = 200
LOGIN_DAYS = 180
_DAY = 24 * 3600 * 1_000_000


class Login(NamedTuple):
    """A login: when (µs since 1970, later than the one before), from which address, on which terminal (its name then, its slot)."""

    time: int
    address: str
    terminal: str
    slot: int
    is_new_terminal: bool
    is_new_network: bool


class Logins:
    """All histories."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, user_id: int, before: int, limit: int) -> list[Login]:
        """At most `limit` logins of the user, the latest first, those before the time `before` (0: all); yields."""
        columns = (logins.c.time, logins.c.address, logins.c.terminal, logins.c.slot, logins.c.is_new_terminal, logins.c.is_new_network)
        statement = select(*columns).where(logins.c.user == user_id).order_by(logins.c.time.desc()).limit(limit)
        if before:
            statement = statement.where(logins.c.time < min(before, (1 << 63) - 1))
        return [Login(*row) for row in self._database.read(lambda connection: connection.execute(statement).all())]

    def purge(self, now: int, limit: int) -> int:
        """Forgets at most `limit` logins of over 180 days ago; how many; yields."""
        statement = self._database.tongue.delete_first.format(
            table="logins", condition=f"time<{now - LOGIN_DAYS * _DAY:d}", order="time", limit=limit
        )

        def purge(connection: Connection) -> int:
            cursor = cursor_of(connection)
            cursor.execute(statement)
            return cursor.rowcount

        return self._database.write(purge)


def keep(connection: Connection, user_id: int, login: Login) -> None:
    """Adds to the user's history, whose row in `users` is locked; of two logins at one time the second is put a microsecond later."""
    mine = logins.c.user == user_id
    last = connection.scalar(select(func.max(logins.c.time)).where(mine))
    time = login.time if last is None else max(login.time, int(last) + 1)
    connection.execute(insert(logins), {"user": user_id, **login._replace(time=time)._asdict()})
    older: Sequence[int] = connection.scalars(
        select(logins.c.time).where(mine).order_by(logins.c.time.desc()).offset(LOGINS_KEPT).limit(1)
    ).all()
    if older:
        connection.execute(delete(logins).where(mine, logins.c.time <= older[0]))
