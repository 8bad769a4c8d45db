"""What is left of a user in any table there is, as an outsider would find it. Nothing here is a test."""

from __future__ import annotations

from sqlalchemy import BigInteger, LargeBinary, Select, String, func, select

from myim_server.store.engine import Store
from myim_server.store.schema import U64, metadata, signed


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
            if any(_count(store, select(func.count()).select_from(table).where(condition)) for condition in conditions):
                found.add(f"{table.name}.{column.name}")
    return found


def _count(store: Store, statement: Select[int]) -> int:
    return store._database.read(lambda connection: connection.scalar(statement)) or 0
