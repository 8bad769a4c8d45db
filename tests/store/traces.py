"""What is left of a user in any table there is, as an outsider would find it. Nothing here is a test."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import BigInteger, Connection, LargeBinary, String, func, select

from myim_server.store.engine import Store
from myim_server.store.schema import U64, metadata, signed


def _counted(statement: Any, connection: Connection) -> int:
    return int(connection.scalar(statement) or 0)


def traces(store: Store, user: int, *words: str) -> set[str]:
    """table.column of all that hold the user's id, or one of these words; every table of the schema is walked, every column."""
    found: set[str] = set()
    for table in metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, U64):
                conditions = [column == user]
            elif isinstance(column.type, BigInteger):
                conditions = [column == signed(user)]
            elif isinstance(column.type, String):
                conditions = [func.instr(column, word) > 0 for word in words]
            elif isinstance(column.type, LargeBinary):
                conditions = [column == word.encode() for word in words]
            else:
                continue
            for condition in conditions:
                statement = select(func.count()).select_from(table).where(condition)
                if store._database.read(partial(_counted, statement)):
                    found.add(f"{table.name}.{column.name}")
    return found
