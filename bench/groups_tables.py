"""Groups, members, old posts and whatever else is made straight in a node's tables, and what is in them afterwards.

What lives here: statements of the bench. What must not: loads, figures, what the server itself would do with such rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, create_engine, event, func, insert, make_url, select

from bench.servers import Node
from myim_server.store.group_values import ROLES
from myim_server.store.schema import chat_groups, group_members, group_messages, signed

DAY_US = 24 * 3600 * 1_000_000
OLD_DAYS = 40
AT_ONCE = 20_000  # rows of one transaction
BODY_HEX = "00" * 100


class Tables:
    """The tables of a node's store, which must be there (a `mint` makes them); the node may run."""

    def __init__(self, node: Node) -> None:
        if node.database is None:
            self._engine = create_engine(f"sqlite:///{node.directory / 'data' / 'myim.db'}")
            event.listen(self._engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=20000"))
        else:
            password = node.database.password_file.read_text().strip()
            self._engine = create_engine(make_url(node.database.url).set(drivername="mysql+pymysql", password=password))

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def run(self, statements: Iterable[str]) -> None:
        """These, each in a transaction of its own."""
        for statement in statements:
            with self._engine.begin() as connection:
                connection.exec_driver_sql(statement)

    def add_groups(self, members: Mapping[int, Sequence[int]]) -> None:
        """Groups with these members, of whom the first is the owner."""
        now = time.time_ns() // 1000
        listed = [(group, user, place) for group, users in members.items() for place, user in enumerate(users)]
        with self._engine.begin() as connection:
            self._add_groups(connection, {group: (users[0], len(users)) for group, users in members.items()}, now)
        for start in range(0, len(listed), AT_ONCE):
            rows = [
                {
                    "chat_group": group, "user": user, "role": ROLES.index("member" if place else "owner"), "cursor_number": 0,
                    "joined": 0, "muted_until": 0, "since": now,
                }
                for group, user, place in listed[start : start + AT_ONCE]
            ]  # fmt: skip
            with self._engine.begin() as connection:
                connection.execute(insert(group_members), rows)

    @staticmethod
    def _add_groups(connection: Connection, owners: Mapping[int, tuple[int, int]], now: int, number: int = 0) -> None:
        rows = [
            {
                "id": group, "name": "bench", "description": "", "join_by": 0, "is_muted": False, "owner": owner, "number": number,
                "version": 1, "members": count, "created": now, "creator": owner, "creation_time": group,
            }
            for group, (owner, count) in owners.items()
        ]  # fmt: skip
        connection.execute(insert(chat_groups), rows)

    def add_expired(self, groups: Sequence[int], each: int, owner: int) -> None:
        """So many old posts for each of these ids; while there are no groups of these ids, no janitor looks at them."""
        accepted = time.time_ns() // 1000 - OLD_DAYS * DAY_US
        digits = ",".join(f"({digit})" for digit in range(10))
        listed = "a.n+10*b.n+100*c.n+1000*e.n"
        for start in range(0, len(groups), max(1, AT_ONCE // each)):
            with self._engine.begin() as connection:
                for group in groups[start : start + max(1, AT_ONCE // each)]:
                    connection.exec_driver_sql(
                        "INSERT INTO group_messages (chat_group,number,user,time,accepted,entered,message_id,members,sent,size,body)"
                        f" WITH d(n) AS (VALUES {digits}) SELECT {signed(group)},1+{listed},{owner},{accepted}+64*({listed}),{accepted},1,"
                        f"1,2,0,100,x'{BODY_HEX}' FROM d a, d b, d c, d e WHERE {listed}<{each}"
                    )

    def show_groups(self, groups: Sequence[int], each: int, owner: int) -> None:
        """Let the janitor find the groups of those posts."""
        now = time.time_ns() // 1000
        with self._engine.begin() as connection:
            self._add_groups(connection, dict.fromkeys(groups, (owner, 2)), now, each)

    def rows_left(self, groups: Sequence[int]) -> int:
        """How many posts these groups, whose ids follow each other, still have; 1 stands for any."""
        among = group_messages.c.chat_group.between(groups[0], groups[-1])
        with self._engine.connect() as connection:
            return len(connection.execute(select(group_messages.c.number).where(among).limit(1)).all())

    def numbers(self, groups: Sequence[int]) -> dict[int, int]:
        """Each group's number."""
        found: dict[int, int] = {}
        with self._engine.connect() as connection:
            for start in range(0, len(groups), 500):
                some = chat_groups.c.id.in_(groups[start : start + 500])
                found.update(connection.execute(select(chat_groups.c.id, chat_groups.c.number).where(some)).tuples().all())
        return found

    def least_cursors(self, groups: Sequence[int], users: Sequence[int]) -> dict[int, int]:
        """Of each group, up to which number all of these users have confirmed."""
        found: dict[int, int] = {}
        columns = group_members.c.chat_group, func.min(group_members.c.cursor_number)
        with self._engine.connect() as connection:
            for start in range(0, len(groups), 500):
                among = group_members.c.chat_group.in_(groups[start : start + 500]), group_members.c.user.in_(users)
                found.update(connection.execute(select(*columns).where(*among).group_by(group_members.c.chat_group)).tuples().all())
        return found
