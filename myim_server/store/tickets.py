"""The keys that seal tickets, wrapped: the store never sees one that opens anything.

What must not live here: when keys come and go, which is the business of `myim_server.tickets`.
"""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import delete, insert, select

from myim_server.store.database import Database
from myim_server.store.schema import ticket_keys


class WrappedKey(NamedTuple):
    """A ticket key under the cluster secret; `created` in microseconds since 1970."""

    key_id: int
    wrapped: bytes
    created: int


class TicketKeys:
    """All ticket keys that are accepted anywhere."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keys(self) -> list[WrappedKey]:
        """All of them, in the order they were added."""
        columns = (ticket_keys.c.id, ticket_keys.c.wrapped, ticket_keys.c.created)
        rows = self._database.read(lambda connection: connection.execute(select(*columns).order_by(ticket_keys.c.id)).all())
        return [WrappedKey(key_id, bytes(wrapped), created) for key_id, wrapped, created in rows]

    def add(self, wrapped: bytes, created: int) -> int:
        """Keeps a key; its id, which rises and is never given again."""
        row = {"wrapped": wrapped, "created": created}
        return self._database.write(lambda connection: int(connection.execute(insert(ticket_keys).values(row)).lastrowid))

    def drop(self, key_ids: Iterable[int]) -> None:
        """Forgets these keys; ids that are not there are passed over."""
        gone = list(key_ids)
        if gone:
            self._database.write(lambda connection: connection.execute(delete(ticket_keys).where(ticket_keys.c.id.in_(gone))))
