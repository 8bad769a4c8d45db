"""Who decides in a group, who inherits it, who may speak in it now: reads beside all others.

What must not live here: changes (`groups`), posts that are stored (`group_posts`, which asks for itself, under the group's lock).
"""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from myim_server.store import group_sql
from myim_server.store.database import Database, cursor_of
from myim_server.store.group_values import ROLES
from myim_server.store.schema import group_members, signed

_MEMBER = ROLES.index("member")


class GroupRoles:
    """Reads of roles."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def officers(self, group: int) -> list[int]:
        """The owner and the admins; yields."""
        statement = select(group_members.c.user).where(group_members.c.chat_group == group, group_members.c.role != _MEMBER)
        return list(self._database.read(lambda connection: connection.scalars(statement).all()))

    def heirs(self, group: int, user: int, limit: int) -> list[int]:
        """At most `limit` members beside this one, in the order in which they inherit: admins first, of those the oldest; yields."""
        members = group_members.c
        mine = (members.chat_group == group, members.user != user)
        statement = select(members.user).where(*mine).order_by(members.role.desc(), members.since, members.user).limit(limit)
        return list(self._database.read(lambda connection: connection.scalars(statement).all()))

    def speakers(self, asked: Sequence[tuple[int, int]], now: int) -> list[int | None]:
        """For each (group, user) the group's version, or None for who is no member or may not speak at `now`, µs; yields."""
        pairs = sorted({(signed(group), signed(user)) for group, user in asked})

        def look(connection: Connection) -> dict[tuple[int, int], int]:
            cursor = cursor_of(connection)
            found: dict[tuple[int, int], int] = {}
            for some in group_sql.chunks(pairs):
                cursor.execute(
                    "SELECT chat_group,user,version FROM group_members JOIN chat_groups ON id=chat_group"
                    f" WHERE ({group_sql.members(some)}) AND muted_until<={now:d} AND (role<>{_MEMBER:d} OR is_muted=0)"
                )
                found.update({(group, user): version for group, user, version in cursor.fetchall()})
            return found

        versions = self._database.read(look) if pairs else {}
        return [versions.get((signed(group), signed(user))) for group, user in asked]
