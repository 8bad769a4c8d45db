"""Profiles: what users say of themselves, and who finds them. A change of what friends see makes their lists other, in one transaction.

What must not live here: what a text may be, who asks how often, lists (`friends`), hashes (`friend_roots`).
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, insert, or_, select, update

from myim_server.refusals import StoreUnavailable
from myim_server.store import friend_echoes, friend_locks, group_sql
from myim_server.store.database import Database
from myim_server.store.profile_values import ASKING, SEARCHABLE, Found, Profile, ProfileChange
from myim_server.store.schema import blocks, friends, profiles, users

_LAST_LETTER = "\U0010ffff"
_EVERYBODY, _BY_NAME = (SEARCHABLE.index(choice) for choice in ("everybody", "name"))
_searchable = func.coalesce(profiles.c.searchable, _EVERYBODY)
_PROFILE_COLUMNS = (
    users.c.id,
    users.c.shown_name,
    func.coalesce(profiles.c.display_name, ""),
    func.coalesce(profiles.c.avatar, ""),
    func.coalesce(profiles.c.signature, ""),
    func.coalesce(profiles.c.version, 0),
    _searchable,
    func.coalesce(profiles.c.asking, 0),
)
_FOUND_COLUMNS = _PROFILE_COLUMNS[:3]
_people = users.outerjoin(profiles, profiles.c.user == users.c.id)


class Profiles:
    """All users' profiles."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def own(self, user: int) -> Profile | None:
        """A user's own; None: no such user; yields."""
        return self._database.read(lambda connection: _own(connection, user))

    def seen(self, asker: int, asked: Collection[int]) -> list[Profile]:
        """Of those asked for the profiles that a user sees, by id: its own and its friends'; yields."""
        wanted = sorted(set(asked))
        mine = or_(users.c.id == asker, _is_friend_of(asker))

        def look(connection: Connection) -> list[Profile]:
            found: list[Profile] = []
            for some in group_sql.chunks(wanted):
                statement = select(*_PROFILE_COLUMNS).select_from(_people).where(users.c.id.in_(some), mine).order_by(users.c.id)
                found += [_profile(row) for row in connection.execute(statement)]
            return found

        return self._database.read(look) if wanted else []

    def set(self, user: int, change: ProfileChange) -> tuple[Profile, dict[int, int]] | None:
        """(the user's own as it is then, {friend: version} of the lists that show it otherwise); None: no such user; yields.

        Raises StoreUnavailable; it may then be set all the same, and to set it again is right.
        """
        before = self.own(user)
        if before is None or _changed(before, change) == before:
            return None if before is None else (before, {})
        for _ in range(friend_locks.ATTEMPTS):
            try:
                return self._database.write(lambda connection: self._set(connection, user, change))
            except friend_locks.SomebodyCame:
                pass
        raise StoreUnavailable("the user's friends change all the time")

    def _set(self, connection: Connection, user: int, change: ProfileChange) -> tuple[Profile, dict[int, int]] | None:
        tongue = self._database.tongue
        is_seen = change[:3] != (None, None, None)
        existing = friend_locks.held(connection, tongue, [user])
        if is_seen:
            versions = friend_locks.lock_with_friends(connection, tongue, user, existing)
        else:
            versions = friend_locks.lock(connection, tongue, [user], existing)
        before = _own(connection, user)
        if before is None:
            return None
        after = _changed(before, change)
        if after == before:
            return before, {}
        _write(connection, after)
        is_other = after.version != before.version
        return after, friend_echoes.renew(connection, tongue, user, versions) if is_other else {}

    # ------------------------------------------------------------------ who finds whom

    def find(self, asker: int, name: str) -> Found | None:
        """Who has exactly this name (folded) and may be found by it; yields."""
        found = self._database.read(lambda connection: _look(connection, _named(asker, name)))
        return found[0] if found else None

    def search(self, asker: int, name: str | None, beginning: str | None, user: int | None, limit: int) -> list[Found]:
        """Who has this name, this id, or a name (folded) that begins so, in this order, of those who may be found by it; None: do not look
        for that; yields."""
        statements: list[Select[*tuple[Any, ...]]] = []
        if name is not None:
            statements.append(_named(asker, name))
        if user is not None:
            statements.append(_findable(asker, _EVERYBODY).where(users.c.id == user))
        if beginning is not None:
            here = (users.c.name >= beginning, users.c.name < beginning + _LAST_LETTER)
            statements.append(_findable(asker, _EVERYBODY).where(*here).order_by(users.c.name).limit(limit))

        def look(connection: Connection) -> list[Found]:
            return [found for statement in statements for found in _look(connection, statement)]

        return list(dict.fromkeys(self._database.read(look)))[:limit] if statements else []


def _own(connection: Connection, user: int) -> Profile | None:
    row = connection.execute(select(*_PROFILE_COLUMNS).select_from(_people).where(users.c.id == user)).first()
    return None if row is None else _profile(row)


def _profile(row: Sequence[Any]) -> Profile:
    *texts, searchable, asking = row
    user, name, display_name, avatar, signature, version = texts
    return Profile(user, name, display_name, avatar, signature, version, SEARCHABLE[searchable], ASKING[asking])


def _changed(profile: Profile, change: ProfileChange) -> Profile:
    after = profile._replace(**{name: value for name, value in change._asdict().items() if value is not None})
    return after._replace(version=profile.version + (after[2:5] != profile[2:5]))


def _write(connection: Connection, profile: Profile) -> None:
    values = {
        "version": profile.version,
        "display_name": profile.display_name,
        "avatar": profile.avatar,
        "signature": profile.signature,
        "searchable": SEARCHABLE.index(profile.searchable),
        "asking": ASKING.index(profile.asking),
    }
    if not connection.execute(update(profiles).where(profiles.c.user == profile.user).values(values)).rowcount:
        connection.execute(insert(profiles), {"user": profile.user, **values})


def _is_friend_of(asker: int) -> ColumnElement[bool]:
    return exists().where(and_(friends.c.user == asker, friends.c.friend == users.c.id)).correlate(users)


def _findable(asker: int, *choices: int) -> Select[*tuple[Any, ...]]:
    """Who may be found: oneself, friends, and those who chose one of these and do not block the asker."""
    blocked = exists().where(and_(blocks.c.user == users.c.id, blocks.c.blocked == asker)).correlate(users)
    is_open = and_(_searchable.in_(choices), ~blocked)
    return select(*_FOUND_COLUMNS).select_from(_people).where(or_(users.c.id == asker, _is_friend_of(asker), is_open))


def _named(asker: int, name: str) -> Select[*tuple[Any, ...]]:
    return _findable(asker, _EVERYBODY, _BY_NAME).where(users.c.name == name)


def _look(connection: Connection, statement: Select[*tuple[Any, ...]]) -> list[Found]:
    return [Found(*row) for row in connection.execute(statement)]
