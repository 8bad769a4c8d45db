"""Friends by the thousand, written straight into the tables: by requests and their acceptance it would take an hour.

What lives here: rows as the store would have left them. What must not: what is measured of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection

from myim_server.store.engine import Store
from myim_server.store.schema import signed

_AT_ONCE = 5_000
_NONE = "00" * 32


def befriend_all(store: Store, pairs: Iterable[tuple[int, int]], now: int = 1) -> None:
    """Makes friends of all these pairs in a store, as `friendships` says; yields."""
    for statement in friendships(pairs, now):
        store._database.write(lambda connection, text=statement: _run(connection, text))  # type: ignore[misc]


def friendships(pairs: Iterable[tuple[int, int]], now: int = 1) -> Iterator[str]:
    """Statements that make friends of all these pairs, each named once, of users that never had a friend or a friend group. now: µs since
    1970.

    Each list is as if all of its friends had come in one change: at version 1, and stale, as lists are that nobody asked for yet.
    """
    both = [(signed(one), signed(two)) for pair in pairs for one, two in (pair, pair[::-1])]
    both.sort()
    users = sorted({user for user, _ in both})
    lists = [f"({user},1,0,0,x'{_NONE}',1)" for user in users]
    yield from _inserts("friend_lists (user,version,removals_from,last_group,root,is_stale)", lists)
    yield from _inserts("friend_groups (user,id,name,position,hash,is_stale)", [f"({user},0,'',0,x'{_NONE[:32]}',1)" for user in users])
    yield from _inserts("friends (user,friend,friend_group,remark,since,version)", [f"({one},{two},0,'',{now:d},1)" for one, two in both])


def _inserts(into: str, rows: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(rows), _AT_ONCE):
        yield f"INSERT INTO {into} VALUES {','.join(rows[start : start + _AT_ONCE])}"


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)
