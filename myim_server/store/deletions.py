"""What is left of accounts that ended, and its going: in pieces that may be begun again anywhere, by any number of nodes at once.

What must not live here: the end itself (`accounts.delete`, and with it what is between the user and others), groups, which are handed on
(`chat/departures`). What others still have to get stays: messages and posts the user sent, the receipts of who wrote to it, and for 40 days
that it is no friend any more. A row here is for ever, since no id is given twice; it is open until the last of what was the user's is gone.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, Select, select, update

from myim_server.store import offline_sql
from myim_server.store.accounts import NAME_REST
from myim_server.store.database import Database, cursor_of
from myim_server.store.group_values import KINDS
from myim_server.store.schema import deletions, friend_removals, signed

# table, column of the user, order in which an index has the user's rows
_OWN = (
    ("offline_messages", "target", "accepted"),
    ("receipts", "user", "slot"),
    ("held_receipts", "user", "user"),
    ("terminals", "user", "slot"),
    ("networks", "user", "network"),
    ("logins", "user", "time"),
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

    def friends_left(self, user_id: int) -> list[tuple[int, int]]:
        """(user, version of its list) of those whose friend it was and who may not have heard that it is none any more; yields."""
        statement = select(friend_removals.c.user, friend_removals.c.version).where(friend_removals.c.friend == user_id)
        return [(row[0], row[1]) for row in self._database.read(lambda connection: connection.execute(statement).all())]

    def close(self, user_id: int, now: int) -> None:
        """Nothing is left; yields."""
        statement = update(deletions).where(deletions.c.user == user_id, deletions.c.done.is_(None)).values(done=now)
        self._database.write(lambda connection: connection.execute(statement))

    def tidy(self, now: int) -> None:
        """Lets names be taken again after 40 days, and forgets what was kept for so long; deletes late receipts for who is gone; yields."""
        rested = select(deletions.c.user).where(deletions.c.name.is_not(None), deletions.c.made <= now - NAME_REST)
        for some in self._chunks(rested):
            self._database.write(lambda connection, some=some: _rested(connection, some))  # type: ignore[misc]
        for some in self._chunks(select(deletions.c.user).where(deletions.c.made > now - LATE_DAYS * _DAY)):
            text = f"DELETE FROM receipts WHERE user IN ({some})"
            self._database.write(lambda connection, text=text: _executed(connection, text))  # type: ignore[misc]

    def _chunks(self, statement: Select[int]) -> list[str]:
        users: Sequence[int] = self._database.read(lambda connection: connection.scalars(statement).all())
        return [
            offline_sql.numbers(map(signed, users[start : start + _ASKED_AT_ONCE])) for start in range(0, len(users), _ASKED_AT_ONCE)
        ]


def _rested(connection: Connection, users: str) -> None:
    """Their names are free; that others lost them as friends, and that their tickets ended, is known to all who will ever ask."""
    _executed(connection, f"UPDATE deletions SET name=NULL WHERE user IN ({users})")
    _executed(connection, f"DELETE FROM changes WHERE user IN ({users})")
    cursor = cursor_of(connection)
    cursor.execute(f"SELECT user,MAX(version) FROM friend_removals WHERE friend IN ({users}) GROUP BY user")
    for user, version in cursor.fetchall():
        # Who has an older copy compares groups.
        is_older = f"user={user:d} AND removals_from<{version:d}"
        cursor.execute(f"UPDATE friend_lists SET removals_from={version:d} WHERE {is_older}")
    cursor.execute(f"DELETE FROM friend_removals WHERE friend IN ({users})")


def _executed(connection: Connection, statement: str) -> int:
    cursor = cursor_of(connection)
    cursor.execute(statement)
    return cursor.rowcount
