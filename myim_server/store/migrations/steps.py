"""Steps of a migration that may be run again after an interruption. What they do never changes: released revisions use them."""

from typing import Any

import sqlalchemy as sa
from alembic import op


def create_index_once(name: str, table: str, columns: list[str], unique: bool = False) -> None:
    """Creates the index unless the table has one of this name (MySQL has no IF NOT EXISTS for it)."""
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, columns, unique=unique)


def add_column_once(table: str, column: sa.Column[Any]) -> None:
    """Adds the column unless the table has one of this name (MySQL has no IF NOT EXISTS for it)."""
    if column.name not in {found["name"] for found in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, column)
