"""Counters of failed logins, by names the caller makes.

What must not live here: what a count means and how long it lasts, which is the caller's rule (`myim_server.throttles`).
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from myim_server.store.database import Database, is_duplicate
from myim_server.store.schema import throttles


class Count(NamedTuple):
    """Failures in a row at one counter: how many, when the first came, and until when the counter holds."""

    failures: int
    since: int
    until: int


class Throttles:
    """All counters; a name is kept as its SHA-256."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, keys: Iterable[str]) -> dict[str, Count]:
        """The counts of those counters that have one."""
        names = {_digest(key): key for key in keys}
        columns = (throttles.c.counter, throttles.c.failures, throttles.c.since, throttles.c.until)
        statement = select(*columns).where(throttles.c.counter.in_(list(names)))
        rows = self._database.read(lambda connection: connection.execute(statement).all()) if names else []
        return {names[counter]: Count(failures, since, until) for counter, failures, since, until in rows}

    def fail(self, key: str, now: int, hold: int = 0) -> int:
        """Counts one failure; how many there are now. With `hold` the counter's `until` becomes `now + hold` (in µs), else `now`.

        A counter never forgets by itself: `clear` it when its time is over.
        """
        counter = _digest(key)

        def count(connection: Connection) -> int:
            mine = throttles.c.counter == counter
            found = connection.execute(update(throttles).where(mine).values(failures=throttles.c.failures + 1, until=now + hold)).rowcount
            if not found:
                connection.execute(insert(throttles), {"counter": counter, "failures": 1, "since": now, "until": now + hold})
                return 1
            return int(connection.scalar(select(throttles.c.failures).where(mine)) or 0)

        return _again_if_beaten(lambda: self._database.write(count))

    def clear(self, key: str) -> None:
        """Forgets the counter."""
        self._database.write(lambda connection: connection.execute(delete(throttles).where(throttles.c.counter == _digest(key))))

    def forget(self, keys: Iterable[str]) -> None:
        """Forgets all of these counters."""
        gone = [_digest(key) for key in keys]
        self._database.write(lambda connection: connection.execute(delete(throttles).where(throttles.c.counter.in_(gone))))

    def purge(self, before: int, limit: int) -> int:
        """Forgets at most `limit` counters whose `until` is before this time; how many."""

        def purge(connection: Connection) -> int:
            is_over = throttles.c.until < before
            old = connection.scalars(select(throttles.c.counter).where(is_over).limit(limit)).all()
            return connection.execute(delete(throttles).where(throttles.c.counter.in_(old), is_over)).rowcount

        return self._database.write(purge)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _again_if_beaten(count: Callable[[], int]) -> int:
    # Another node made the row between our update and our insert; now there is one to update.
    while True:
        try:
            return count()
        except Exception as error:
            if not is_duplicate(error):
                raise
