"""A user's terminals as their owner sees them: listed, renamed, logged out, and the warnings of new ones.

What must not live here: admitting a terminal (`terminals`), and who is told when. A warning stands until a terminal acknowledges it that
the owner knows already, or that was there before, or until another terminal revokes the new one, which is a stranger then: it is new again
should it come back. So who stole a password always has a terminal whose warning stands, whatever its terminals do to each other. A terminal
that is revoked itself has no say any more, though its center may hear of that seconds later.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from myim_server.store.changes import Changes, Raised
from myim_server.store.database import Database
from myim_server.store.schema import terminals
from myim_server.store.terminals import NoSuchTerminal

ASKED_AT_ONCE = 300
_KEY_BYTES = 32


class OwnTerminal(NamedTuple):
    """A terminal. `first_seen`: 0 if that was before it was kept; `address`: of its last login; `is_told`: whether the owner knows of it;
    `is_revoked`: whether it was logged out since its last login."""

    slot: int
    name: str
    fingerprint: bytes
    first_seen: int
    last_seen: int
    address: str
    is_told: bool
    is_revoked: bool


class Unknown(NamedTuple):
    """A new terminal whose warning stands; `time`: of its first login."""

    slot: int
    name: str
    address: str
    time: int


_COLUMNS = (
    terminals.c.slot,
    terminals.c.name,
    terminals.c.fingerprint,
    terminals.c.first_seen,
    terminals.c.last_seen,
    terminals.c.last_address,
    terminals.c.is_told,
    terminals.c.is_revoked,
)


class OwnTerminals:
    """The terminals of all users, each user's for himself."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    def of(self, user_id: int) -> list[OwnTerminal]:
        """The user's terminals, by slot; yields."""
        statement = select(*_COLUMNS).where(terminals.c.user == user_id).order_by(terminals.c.slot)
        return [_own(row) for row in self._database.read(lambda connection: connection.execute(statement).all())]

    def rename(self, user_id: int, slot: int, name: str) -> None:
        """The terminal has this name from now on, whatever it calls itself at its next login; yields. Raises NoSuchTerminal."""
        statement = update(terminals).where(*_at(user_id, slot)).values(name=name, is_renamed=True)
        if not self._database.write(lambda connection: connection.execute(statement).rowcount):
            raise NoSuchTerminal(user_id, slot)

    def revoke(self, user_id: int, slot: int | None, asking: int) -> int:
        """Revokes the tickets of this terminal, or (None) of all but the asking one, and tells the centers by the change log; how many.

        Of those that are revoked already nothing is told again. One whose warning stands is forgotten: the warning is over, and its next
        login is that of a new terminal; but not if it revokes itself. Raises NoSuchTerminal; yields.
        """

        def revoke(connection: Connection) -> int:
            rows = connection.execute(_locked(user_id)).all()
            if slot is not None and not any(row.slot == slot for row in rows):
                raise NoSuchTerminal(user_id, slot)
            if any(row.slot == asking and row.is_revoked for row in rows):
                raise NoSuchTerminal(user_id, asking)
            named = [row for row in rows if (row.slot != asking if slot is None else row.slot == slot)]
            for row in named:
                values = {} if row.is_revoked else {"generation": row.generation + 1, "is_revoked": True}
                if not row.is_told and row.slot != asking:
                    values |= {"is_told": True, "terminal_key": secrets.token_bytes(_KEY_BYTES)}  # nobody's
                if values:
                    connection.execute(update(terminals).where(*_at(user_id, row.slot)).values(values))
            gone = [row for row in named if not row.is_revoked]
            if gone:
                self._changes.append(connection, [Raised(user_id, row.slot, row.generation + 1) for row in gone])
            return len(gone)

        return self._database.write(revoke)

    def acknowledge(self, user_id: int, slot: int, asking: int) -> bool:
        """Ends the warning of the terminal, if the asking one may; False: it is new itself, and not older; yields.

        Raises NoSuchTerminal.
        """

        def acknowledge(connection: Connection) -> bool:
            rows = {row.slot: row for row in connection.execute(_locked(user_id))}
            if slot not in rows:
                raise NoSuchTerminal(user_id, slot)
            one, asker = rows[slot], rows.get(asking)
            if one.is_told:
                return True
            if asker is None or asker.is_revoked or not (asker.is_told or (asker.first_seen, asker.slot) < (one.first_seen, one.slot)):
                return False
            connection.execute(update(terminals).where(*_at(user_id, slot)).values(is_told=True))
            return True

        return self._database.write(acknowledge)

    def unknown(self, user_ids: Iterable[int]) -> dict[int, list[Unknown]]:
        """The new terminals of each of these users whose warnings stand; yields."""
        wanted = sorted(set(user_ids))
        columns = (terminals.c.user, terminals.c.slot, terminals.c.name, terminals.c.last_address, terminals.c.first_seen)

        def look(connection: Connection) -> dict[int, list[Unknown]]:
            found: dict[int, list[Unknown]] = {}
            for start in range(0, len(wanted), ASKED_AT_ONCE):
                chosen = terminals.c.user.in_(wanted[start : start + ASKED_AT_ONCE])
                statement = select(*columns).where(chosen, terminals.c.is_told.is_(False)).order_by(terminals.c.user, terminals.c.slot)
                for user, *rest in connection.execute(statement):
                    found.setdefault(user, []).append(Unknown(*rest))
            return found

        return self._database.read(look) if wanted else {}


def _at(user_id: int, slot: int) -> tuple[Any, Any]:
    return terminals.c.user == user_id, terminals.c.slot == slot


def _locked(user_id: int) -> Any:
    columns = (terminals.c.slot, terminals.c.generation, terminals.c.is_revoked, terminals.c.is_told, terminals.c.first_seen)
    return select(*columns).where(terminals.c.user == user_id).order_by(terminals.c.slot).with_for_update()


def _own(row: Sequence[Any]) -> OwnTerminal:
    slot, name, fingerprint, first_seen, last_seen, address, is_told, is_revoked = row
    return OwnTerminal(slot, name, bytes(fingerprint), first_seen, last_seen, address, bool(is_told), bool(is_revoked))
