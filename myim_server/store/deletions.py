"""What is left of accounts that ended, and its going: in pieces that may be begun again anywhere, by any number of nodes at once.

What must not live here: the end itself (`accounts.delete`), groups and friends, who have to be told (`chat/departures`). What others still
have to get stays: messages and posts the user sent, and the receipts of who wrote to it. A row here is for ever, since no id is given
twice; it is open until the last of what was the user's is gone.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from myim_server.store import offline_sql
from myim_server.store.accounts import NAME_REST
from myim_server.store.database import Database, cursor_of
from myim_server.store.group_values import KINDS
from myim_server.store.schema import deletions, signed

# table, column of the user, order in which an index has the user's rows
_OWN = (
    ("offline_messages", "target", "accepted"),
    ("receipts", "user", "slot"),
    ("terminals", "user", "slot"),
    ("networks", "user", "network"),
    ("logins", "user", "time"),
    ("profiles", "user", "user"),
    ("blocks", "user", "blocked"),
    ("blocks", "blocked", "user"),
    ("friend_requests", "user", "asker"),
    ("friend_requests", "asker", "user"),
    ("friend_removals", "user", "friend"),
    ("friend_groups", "user", "id"),
    ("friend_lists", "user", "user"),
    ("group_pending", "user", "chat_group"),
)
# Receipts may be made for who is gone as long as its last messages wait to be confirmed.
LATE_DAYS = 75
_DAY = 24 * 3600 * 1_000_000
_ASKED_AT_ONCE = 500


class Deletions:
    """All accounts that ended."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, limit: int) -> list[tuple[int, int]]:
        """At most `limit` (user, when it ended) of which something may be left, the oldest first; yields."""
        statement = select(deletions.c.user, deletions.c.made).where(deletions.c.done.is_(None)).order_by(deletions.c.made).limit(limit)
        return [(row[0], row[1]) for row in self._database.read(lambda connection: connection.execute(statement).all())]

    def wipe(self, user_id: int, limit: int) -> int:
        """Deletes at most `limit` rows of each kind, a transaction for each; how many there were of the kind that had the most; yields.

        Call it again while it gives `limit`.
        """
        most = 0
        for table, column, order in _OWN:
            condition = f"{column}={signed(user_id):d}"
            statement = self._database.tongue.delete_first.format(table=table, condition=condition, order=order, limit=limit)
            most = max(most, self._database.write(lambda connection, text=statement: _executed(connection, text)))  # type: ignore[misc]
        return most

    def forget_posts(self, user_id: int, group: int) -> None:
        """Forgets the names of the user's posts to this group, which nobody will repeat; the posts stay; yields."""
        statement = f"DELETE FROM group_names WHERE chat_group={signed(group):d} AND user={signed(user_id):d}"
        self._database.write(lambda connection: _executed(connection, statement))

    def hand_on(self, user_id: int) -> None:
        """What the user asked others into is asked by the groups' owners from now on; nothing tells any more who made a group; yields."""
        user, invited = signed(user_id), KINDS.index("invited")
        statements = (
            f"UPDATE chat_groups SET creator=id,creation_time=0 WHERE creator={user:d}",
            "UPDATE group_pending SET asked_by=(SELECT owner FROM chat_groups WHERE id=group_pending.chat_group)"
            f" WHERE asked_by={user:d} AND kind={invited:d}",
        )
        self._database.write(lambda connection: [_executed(connection, statement) for statement in statements])

    def close(self, user_id: int, now: int) -> None:
        """Nothing is left; yields."""
        statement = update(deletions).where(deletions.c.user == user_id, deletions.c.done.is_(None)).values(done=now)
        self._database.write(lambda connection: connection.execute(statement))

    def tidy(self, now: int) -> int:
        """Lets names be taken again after 40 days, and deletes late receipts for who is gone; how many of these; yields."""
        names = update(deletions).where(deletions.c.name.is_not(None), deletions.c.made <= now - NAME_REST).values(name=None)
        self._database.write(lambda connection: connection.execute(names))
        late = select(deletions.c.user).where(deletions.c.made > now - LATE_DAYS * _DAY)
        gone: Sequence[int] = self._database.read(lambda connection: connection.scalars(late).all())
        count = 0
        for start in range(0, len(gone), _ASKED_AT_ONCE):
            chosen = offline_sql.numbers(map(signed, gone[start : start + _ASKED_AT_ONCE]))
            text = f"DELETE FROM receipts WHERE user IN ({chosen})"
            count += self._database.write(lambda connection, text=text: _executed(connection, text))  # type: ignore[misc]
        return count


def _executed(connection: Connection, statement: str) -> int:
    cursor = cursor_of(connection)
    cursor.execute(statement)
    return cursor.rowcount
