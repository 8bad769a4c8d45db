"""Users: their names, password hashes and generations; the first step of an account's end.

What must not live here: what a name or a password may be, hashing, throttles (`chat/accounts` and `passwords` decide those), and what else
goes with an account (`deletions`). A name that was given up is kept from others for 40 days: terminals remember who bore it. An id is
never given again.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from myim_server.refusals import StoreUnavailable
from myim_server.store import friend_echoes, friend_locks
from myim_server.store.changes import Changes, Raised
from myim_server.store.database import Database, is_duplicate
from myim_server.store.schema import deletions, terminals, users

ASKED_AT_ONCE = 1000
NAME_REST = 40 * 24 * 3600 * 1_000_000
_COLUMNS = (users.c.id, users.c.name, users.c.shown_name, users.c.password_hash, users.c.generation, users.c.is_locked)


class NameTaken(Exception):
    """An account of this name exists."""


class _IdUsedUp(Exception):
    """The id was somebody's whose account is gone."""


class NoSuchUser(LookupError):
    """No account has this id."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user as stored; `name` is compared, `shown_name` is as the user wrote it. A raised `generation` revokes all of the user's
    tickets."""

    user_id: int
    name: str
    shown_name: str
    password_hash: str = field(repr=False)
    generation: int
    is_locked: bool


def _random_id() -> int:
    return secrets.randbelow((1 << 63) - 1) + 1


class Accounts:
    """All users; `make_id` gives a new 63-bit id, never 0."""

    def __init__(self, database: Database, changes: Changes, make_id: Callable[[], int] = _random_id, removals_kept: int = 1000) -> None:
        """removals_kept: as of `friends`."""
        self._database = database
        self._removals_kept = removals_kept
        self._changes = changes
        self._make_id = make_id

    def create(self, name: str, shown_name: str, password_hash: str, now: int) -> int:
        """The new user's id. Raises NameTaken, StoreUnavailable (the account may then exist)."""
        while True:
            user_id = self._make_id()
            try:
                self._insert([_row(user_id, name, shown_name, password_hash, now)], now)
                return user_id
            except _IdUsedUp:
                continue
            except Exception as error:
                if not is_duplicate(error):
                    raise
            # Not the id but the name was in use, if anybody has it in the database's eyes.
            if self._database.read(lambda connection: connection.scalar(select(users.c.id).where(users.c.name == name))) is not None:
                raise NameTaken(name) from None

    def create_all(self, accounts: Sequence[tuple[str, str, str]], now: int) -> list[int]:
        """`create` for each (name, shown name, password hash), in one transaction: all or none. Raises NameTaken with no name,
        StoreUnavailable."""
        ids = [self._make_id() for _ in accounts]
        try:
            self._insert([_row(user_id, *account, now) for user_id, account in zip(ids, accounts, strict=True)], now)
        except Exception as error:
            if is_duplicate(error) or isinstance(error, _IdUsedUp):
                raise NameTaken from error
            raise
        return ids

    def find(self, name: str) -> Account | None:
        """The account of exactly this name."""
        found = self._one(users.c.name == name)
        # MariaDB's collations take trailing spaces for nothing.
        return found if found is not None and found.name == name else None

    def is_reserved(self, name: str, now: int) -> bool:
        """Whether the name was given up so lately that nobody may take it yet."""
        return self._database.read(lambda connection: bool(_reserved(connection, [name], now)))

    def get(self, user_id: int) -> Account | None:
        """The account of this id."""
        return self._one(users.c.id == user_id)

    def existing(self, user_ids: Iterable[int]) -> set[int]:
        """Those of the ids that are users."""
        wanted = list(user_ids)

        def look(connection: Connection) -> set[int]:
            found: set[int] = set()
            for i in range(0, len(wanted), ASKED_AT_ONCE):
                found.update(connection.scalars(select(users.c.id).where(users.c.id.in_(wanted[i : i + ASKED_AT_ONCE]))))
            return found

        return self._database.read(look) if wanted else set()

    def rehash(self, user_id: int, password_hash: str, was: str) -> bool:
        """Replaces the hash `was` by another of the same password; False, and nothing is done, where another password was set since."""
        unchanged = (users.c.id == user_id, users.c.password_hash == was)
        statement = update(users).where(*unchanged).values(password_hash=password_hash)
        return bool(self._database.write(lambda connection: connection.execute(statement).rowcount))

    def change_password(self, user_id: int, password_hash: str, was: str, slot: int) -> int | None:
        """Replaces the hash `was`, and revokes all tickets of the user: the new generation; the terminal at `slot` counts as logged in.

        None, and nothing is done, where the hash is another by now, or there is no such user.
        """

        def change(connection: Connection) -> int | None:
            mine = (users.c.id == user_id, users.c.password_hash == was)
            values = {"password_hash": password_hash, "generation": users.c.generation + 1}
            if not connection.execute(update(users).where(*mine).values(values)).rowcount:
                return None
            others = (terminals.c.user == user_id, terminals.c.slot != slot)
            connection.execute(update(terminals).where(*others).values(is_revoked=True))
            generation = int(connection.scalar(select(users.c.generation).where(users.c.id == user_id)) or 0)
            self._changes.append(connection, [Raised(user_id, None, generation)])
            return generation

        return self._database.write(change)

    def delete(self, user_id: int, now: int, was: str | None = None) -> bool:
        """Ends the account: nobody can log in, no ticket serves, it is nobody's friend any more; the rest of it is `deletions`'.

        False, and nothing is done, where there is no such user, or its hash is another than `was` by now.
        """

        def end(connection: Connection) -> bool:
            columns = (users.c.name, users.c.password_hash, users.c.generation)
            row = connection.execute(select(*columns).where(users.c.id == user_id).with_for_update()).first()
            if row is None or was not in (None, row.password_hash):
                return False
            friend_echoes.forget(connection, self._database.tongue, user_id, self._removals_kept)
            connection.execute(insert(deletions), {"user": user_id, "name": row.name, "made": now, "done": None})
            connection.execute(delete(users).where(users.c.id == user_id))
            self._changes.append(connection, [Raised(user_id, None, row.generation + 1)])
            return True

        for _ in range(friend_locks.ATTEMPTS):
            try:
                return self._database.write(end)
            except friend_locks.SomebodyCame:
                pass
        raise StoreUnavailable("the user's friends change all the time")

    def lock(self, user_id: int) -> None:
        """Refuses logins from now on; open sessions end by `raise_generation`. Raises NoSuchUser."""
        self._set(user_id, is_locked=True)

    def unlock(self, user_id: int) -> None:
        """Allows logins again. Raises NoSuchUser."""
        self._set(user_id, is_locked=False)

    def raise_generation(self, user_id: int) -> int:
        """Revokes all tickets of the user, and tells the centers by the change log; the new generation. Raises NoSuchUser."""

        def raise_(connection: Connection) -> int:
            connection.execute(update(users).where(users.c.id == user_id).values(generation=users.c.generation + 1))
            connection.execute(update(terminals).where(terminals.c.user == user_id).values(is_revoked=True))
            generation = connection.scalar(select(users.c.generation).where(users.c.id == user_id))
            if generation is None:
                raise NoSuchUser(user_id)
            self._changes.append(connection, [Raised(user_id, None, generation)])
            return int(generation)

        return self._database.write(raise_)

    def _insert(self, rows: list[dict[str, Any]], now: int) -> None:
        def insert_(connection: Connection) -> None:
            connection.execute(insert(users), rows)
            # After the rows are in: an account that ends meanwhile holds its name until its commit.
            for start in range(0, len(rows), ASKED_AT_ONCE):
                some = rows[start : start + ASKED_AT_ONCE]
                if connection.scalars(select(deletions.c.user).where(deletions.c.user.in_([row["id"] for row in some]))).first():
                    raise _IdUsedUp
                if taken := _reserved(connection, [row["name"] for row in some], now):
                    raise NameTaken(taken[0])

        if rows:
            self._database.write(insert_)

    def _set(self, user_id: int, **values: Any) -> None:
        # The driver counts rows found, not rows changed, so setting what is set already is no error.
        statement = update(users).where(users.c.id == user_id).values(**values)
        if self._database.write(lambda connection: connection.execute(statement).rowcount) == 0:
            raise NoSuchUser(user_id)

    def _one(self, condition: ColumnElement[bool]) -> Account | None:
        row = self._database.read(lambda connection: connection.execute(select(*_COLUMNS).where(condition)).first())
        return None if row is None else _account(row)


def _reserved(connection: Connection, names: Sequence[str], now: int) -> Sequence[str | None]:
    resting = (deletions.c.name.in_(names), deletions.c.made > now - NAME_REST)
    return connection.scalars(select(deletions.c.name).where(*resting)).all()


def _row(user_id: int, name: str, shown_name: str, password_hash: str, now: int) -> dict[str, Any]:
    return {
        "id": user_id,
        "name": name,
        "shown_name": shown_name,
        "password_hash": password_hash,
        "generation": 1,
        "is_locked": False,
        "created": now,
    }


def _account(row: Row[*tuple[Any, ...]]) -> Account:
    return Account(row.id, row.name, row.shown_name, row.password_hash, row.generation, row.is_locked)
