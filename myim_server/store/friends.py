"""Friends: lists that are compared by hash and caught up with by version, changed upon a decision; requests; blocks.

What must not live here: who may do what (`chat/friend_rules`, handed in as a decision), hashing (handed in), profiles (`profiles`). How a
change is done is `friend_edits`', how rows become values `friend_rows`'.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select

from myim_server.store import friend_locks, friend_roots, friend_rows, group_sql
from myim_server.store.database import Database, cursor_of
from myim_server.store.friend_changes import Change
from myim_server.store.friend_edits import Edit
from myim_server.store.friend_values import NO_ROOT, Ask, Difference, Friend, Hashing, ListState, View
from myim_server.store.offline_sql import numbers
from myim_server.store.schema import friend_lists, friend_removals, friends, signed, unsigned

_LAST_ID = (1 << 63) - 1


class Outcome(NamedTuple):
    """What a decision came to. `view`: what it was made upon; `versions`: {user: version} of the lists that are other by it."""

    view: View
    changes: Sequence[Change]
    versions: Mapping[int, int]


class Friends:
    """All users' friends. `removals_kept`: how many a list remembers, so that older copies catch up by version."""

    def __init__(self, database: Database, removals_kept: int = 1000) -> None:
        self._database = database
        self._removals_kept = removals_kept

    # ------------------------------------------------------------------ lists

    def state(self, user: int) -> ListState:
        """How a user's list is; one query; yields."""
        return self._database.read(lambda connection: _state(connection, user))

    def freshen(self, user: int, hashing: Hashing) -> ListState:
        """How a user's list is, its root right; yields."""

        def freshen(connection: Connection) -> ListState:
            tongue = self._database.tongue
            state = _state(connection, user, tongue.locked)
            if not state.is_stale:
                return state
            return ListState(state.version, friend_roots.freshen(connection, tongue, user, hashing)[0], False)

        return self._database.write(freshen)

    def difference(self, user: int, since: int, limits: tuple[int, int], hashing: Hashing) -> Difference:
        """A user's list, and what became other in it since a version (0: all is new), unless it is more than limits = (changed,
        removed); yields."""

        def differ(connection: Connection) -> Difference:
            state = _state(connection, user, self._database.tongue.locked)
            if state.is_stale:
                root, groups = friend_roots.freshen(connection, self._database.tongue, user, hashing)
            else:
                root, groups = state.root, friend_rows.groups_of(connection, user)
            return Difference(state.version, root, groups, _changes(connection, user, (since, state.version), limits))

        return self._database.write(differ)

    def page(self, user: int, group: int, after: int, limit: int) -> tuple[int, list[Friend]]:
        """The list's version, and the friends in one of its groups above the user id `after`, ascending; yields."""
        if after > _LAST_ID:
            return self.state(user).version, []
        version = select(friend_lists.c.version).where(friend_lists.c.user == user).scalar_subquery()
        # One statement, so that the friends are those of the version.
        statement = friend_rows.listed(user).add_columns(version).where(friends.c.friend_group == group, friends.c.friend > after)
        rows = self._database.read(lambda connection: connection.execute(statement.limit(limit)).all())
        if not rows:
            return self._database.write(lambda connection: self._empty_page(connection, user, statement.limit(limit)))
        return rows[0][-1], [friend_rows.friend_of(row[:-1]) for row in rows]

    def _empty_page(self, connection: Connection, user: int, statement: Select[*tuple[Any, ...]]) -> tuple[int, list[Friend]]:
        """A page that seemed empty, which does not say of which version."""
        version = _state(connection, user, self._database.tongue.locked).version
        return version, [friend_rows.friend_of(row[:-1]) for row in connection.execute(statement)]

    def change(self, user: int, other: int, decide: Callable[[View], Sequence[Change]], now: int) -> Outcome | None:
        """Does what `decide` says about two users (other: 0 for the own list alone); None: there is no such user as the first; yields.

        One transaction, with the lists of both locked first. `decide` may be run more than once and in another thread, and must not
        yield; what it raises passes through, and nothing is changed. Raises StoreUnavailable; the changes may then be done all the same.
        """

        def change(connection: Connection) -> Outcome | None:
            tongue, pair = self._database.tongue, {user, other} - {0}
            existing = friend_locks.held(connection, tongue, pair)
            if user not in existing:
                return None
            versions = friend_locks.lock(connection, tongue, pair, existing)
            view = friend_rows.view(connection, user, other, other in existing, versions.get(other, 0))
            changes = decide(view)
            edit = Edit(connection, (user, other), versions, now, self._removals_kept)
            edit.do(changes)
            return Outcome(view, changes, edit.fresh)

        return self._database.write(change)

    # ------------------------------------------------------------------ for presence

    def friends_of(self, asked: Collection[int]) -> dict[int, set[int]]:
        """Each user's friends but for those with a block between them, in either direction; yields.

        So: who may hear of whom. It is symmetrical.
        """
        found: dict[int, set[int]] = {user: set() for user in asked}
        if not found:
            return found
        ids = sorted(map(signed, found))
        tongue = self._database.tongue

        def look(connection: Connection) -> None:
            cursor = cursor_of(connection)
            for some in group_sql.chunks(ids):
                listed = numbers(some)
                source = f"friends{tongue.by('PRIMARY')} WHERE user IN ({listed})"
                cursor.execute(f"SELECT user,GROUP_CONCAT(friend) FROM {source} GROUP BY user")
                for user, text in cursor.fetchall():
                    found[unsigned(user)].update(unsigned(int(friend)) for friend in str(text).split(","))
                for mine, others, index in (("user", "blocked", "PRIMARY"), ("blocked", "user", "blocks_blocked")):
                    are_friends = f"friends.user=blocks.{mine} AND friend=blocks.{others}"
                    source = f"blocks{tongue.by(index)} JOIN friends ON {are_friends} WHERE blocks.{mine} IN ({listed})"
                    cursor.execute(f"SELECT blocks.{mine},blocks.{others} FROM {source}")
                    for user, other in cursor.fetchall():
                        found[unsigned(user)].discard(unsigned(other))

        self._database.read(look)
        return found

    # ------------------------------------------------------------------ requests and blocks

    def requests(self, user: int, after: int, limit: int) -> tuple[list[Ask], list[Ask]]:
        """(those to the user that it has not refused, those by it), each by the other's id above `after`, ascending; yields."""
        if after > _LAST_ID:
            return [], []

        def look(connection: Connection) -> tuple[list[Ask], list[Ask]]:
            return _asks(connection, user, after, limit, True), _asks(connection, user, after, limit, False)

        return self._database.read(look)

    def blocked(self, user: int, after: int, limit: int) -> list[tuple[int, str]]:
        """(id, name) of those whom the user blocks, by id above `after`, ascending; yields."""
        if after > _LAST_ID:
            return []
        statement = friend_rows.blocked_by(user, after, limit)
        return [(row[0], row[1]) for row in self._database.read(lambda connection: connection.execute(statement).all())]


def _state(connection: Connection, user: int, locked: str = "") -> ListState:
    cursor = cursor_of(connection)
    cursor.execute(f"SELECT version,root,is_stale FROM friend_lists WHERE user={signed(user):d}{locked}")
    row = cursor.fetchone()
    return ListState(0, NO_ROOT, False) if row is None else ListState(row[0], bytes(row[1]), bool(row[2]))


def _asks(connection: Connection, user: int, after: int, limit: int, is_incoming: bool) -> list[Ask]:
    rows = connection.execute(friend_rows.asks(user, after, limit, are_incoming=is_incoming))
    return [friend_rows.ask_of(row, is_incoming=is_incoming) for row in rows]


def _changes(
    connection: Connection, user: int, versions: tuple[int, int], limits: tuple[int, int]
) -> tuple[list[Friend], list[int]] | None:
    """What became other in a list that is locked; versions: (since which, the list's)."""
    since, version = versions
    most_changed, most_removed = limits
    known_from = connection.scalar(select(friend_lists.c.removals_from).where(friend_lists.c.user == user)) or 0
    if since > version or 0 < since < known_from:
        return None
    gone = (friend_removals.c.user == user, friend_removals.c.version > since)
    removed: list[int] = []
    if since:  # who has no copy need not be told whom to take out of it
        statement = select(friend_removals.c.friend).where(*gone).order_by(friend_removals.c.friend)
        removed = list(connection.scalars(statement.limit(most_removed + 1)))
    rows = connection.execute(friend_rows.listed(user).where(friends.c.version > since).limit(most_changed + 1)).all()
    if len(rows) > most_changed or len(removed) > most_removed:
        return None
    return [friend_rows.friend_of(row) for row in rows], removed
