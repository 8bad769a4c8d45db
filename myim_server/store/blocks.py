"""Whom users block, as the delivery of messages asks it. What must not live here: changes (`friends`), what a block means.
"""

from collections.abc import Collection

from sqlalchemy import Connection

from myim_server.store import group_sql
from myim_server.store.database import Database, cursor_of
from myim_server.store.offline_sql import numbers
from myim_server.store.schema import signed, unsigned


class Blocks:
    """All blocks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, asked: Collection[int]) -> dict[int, set[int]]:
        """Whom each of these users blocks; yields."""
        found: dict[int, set[int]] = {user: set() for user in asked}

        def look(connection: Connection) -> None:
            cursor = cursor_of(connection)
            for some in group_sql.chunks(sorted(map(signed, found))):
                # As one text for each user: rows are what the drivers are slow at. The most that may be blocked fit what MariaDB joins.
                source = f"blocks{self._database.tongue.by('PRIMARY')} WHERE user IN ({numbers(some)})"
                cursor.execute(f"SELECT user,GROUP_CONCAT(blocked) FROM {source} GROUP BY user")
                for user, text in cursor.fetchall():
                    found[unsigned(user)].update(unsigned(int(blocked)) for blocked in str(text).split(","))

        if found:
            self._database.read(look)
        return found
