"""Terminals of users: their slots, generations, last logins, and the networks a user came from.

What must not live here: keys' making, tickets, what their owner does with them (`own_terminals`). A slot is the low six bits of every name
its terminal gives [P-3.6], so it is given to another terminal only when nobody can remember the old one's names: after 40 idle days. A
generation never falls, whoever has the slot.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update

from myim_server.store import logins
from myim_server.store.accounts import NoSuchUser
from myim_server.store.changes import Changes, Raised
from myim_server.store.database import Database, cursor_of
from myim_server.store.offline_sql import numbers
from myim_server.store.schema import networks, receipts, signed, terminals, unsigned, users

SLOTS = 64
SEEN_TO_THE = 3600 * 1_000_000  # hour: renewing tokens must not mean writing
IDLE_BEFORE_REUSE = 40 * 24 * 3600 * 1_000_000 + SEEN_TO_THE
NETWORKS_KEPT = 64
ASKED_AT_ONCE = 300


class NoFreeSlot(Exception):
    """The user has 64 terminals that were active within 40 days."""


class NoSuchTerminal(LookupError):
    """The user has no terminal at this slot."""


@dataclass(frozen=True, slots=True)
class LastLogin:
    """The user's login before this one: when, from which address, on which terminal (its name)."""

    time: int
    address: str
    terminal: str


@dataclass(frozen=True, slots=True)
class Admission:
    """A terminal let in by password: its slot and new generation. `is_new_terminal` and `is_new_network`: never seen with this user before
    (so both are true at a user's very first login). `last_login`: None at that one."""

    slot: int
    generation: int
    is_new_terminal: bool
    is_new_network: bool
    last_login: LastLogin | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A terminal that gave the right password, now."""

    user_id: int
    terminal_key: bytes
    fingerprint: bytes
    terminal_name: str
    address: str
    network: str
    now: int


class Terminals:
    """All terminals of all users."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    def admit(
        self, user_id: int, terminal_key: bytes, fingerprint: bytes, terminal_name: str, address: str, network: str, now: int
    ) -> Admission:
        """Gives the terminal its slot and the next generation, and keeps the login; one transaction for each password login.

        Raises NoFreeSlot, NoSuchUser.
        """
        return self.admit_all([Arrival(user_id, terminal_key, fingerprint, terminal_name, address, network, now)])[0]

    def admit_all(self, arrivals: list[Arrival]) -> list[Admission]:
        """`admit` for each, in one transaction: all or none."""

        def admit(connection: Connection) -> list[Admission]:
            admissions = [_admit(connection, arrival) for arrival in arrivals]
            pairs = zip(arrivals, admissions, strict=True)
            self._changes.append(connection, [Raised(who.user_id, admission.slot, admission.generation) for who, admission in pairs])
            return admissions

        return self._database.write(admit) if arrivals else []

    def slot_of(self, user_id: int, terminal_key: bytes) -> int | None:
        """The slot of the user's terminal with this key, or None."""
        mine = and_(terminals.c.user == user_id, terminals.c.terminal_key == terminal_key)
        return self._database.read(lambda connection: connection.scalar(select(terminals.c.slot).where(mine)))

    def touch(self, user_id: int, slot: int, now: int) -> None:
        """The terminal was seen; keeps its slot from being reused. Known to the hour: what was seen lately is read, not written."""
        seen = self._database.read(lambda connection: connection.scalar(select(terminals.c.last_seen).where(_at(user_id, slot))))
        if seen is None or now - seen <= SEEN_TO_THE:
            return
        statement = update(terminals).where(_at(user_id, slot), terminals.c.last_seen < now).values(last_seen=now)
        self._database.write(lambda connection: connection.execute(statement))

    def generations(self, pairs: Iterable[tuple[int, int]]) -> dict[tuple[int, int], tuple[int, int]]:
        """(user, slot) → (user's generation, terminal's generation), for those that exist."""
        wanted = list(pairs)

        def look(connection: Connection) -> dict[tuple[int, int], tuple[int, int]]:
            found, cursor = {}, cursor_of(connection)  # asked at each login: SQLAlchemy's way to the same text costs half a login
            for i in range(0, len(wanted), ASKED_AT_ONCE):
                asked = numbers({signed(user) for user, _ in wanted[i : i + ASKED_AT_ONCE]})  # by user alone: one has few terminals
                cursor.execute(
                    "SELECT terminals.user,slot,users.generation,terminals.generation FROM terminals JOIN users ON users.id=terminals.user"
                    f" WHERE terminals.user IN ({asked})"
                )
                for user, slot, of_user, of_terminal in cursor.fetchall():
                    found[unsigned(user), slot] = (of_user, of_terminal)
            return {pair: found[pair] for pair in wanted if pair in found}

        return self._database.read(look) if wanted else {}

    def raise_generation(self, user_id: int, slot: int) -> int:
        """Revokes the terminal's tickets and tells the centers by the change log; the new generation. Raises NoSuchTerminal."""

        def raise_(connection: Connection) -> int:
            raised = {"generation": terminals.c.generation + 1, "is_revoked": True}
            connection.execute(update(terminals).where(_at(user_id, slot)).values(raised))
            generation = connection.scalar(select(terminals.c.generation).where(_at(user_id, slot)))
            if generation is None:
                raise NoSuchTerminal(user_id, slot)
            self._changes.append(connection, [Raised(user_id, slot, generation)])
            return int(generation)

        return self._database.write(raise_)

    def raised_since(self, change_number: int) -> tuple[list[Raised], int]:
        """At most 10,000 generations raised after this change, oldest first, and the number to ask with next.

        An equal number means there is nothing new. Begin with `change_number()`, read before the first generation is looked up.
        """
        return self._database.read(lambda connection: self._changes.since(connection, change_number))

    def change_number(self) -> int:
        """The number of the latest change."""
        return self._database.read(self._changes.last)


def _at(user_id: int, slot: int) -> Any:
    return and_(terminals.c.user == user_id, terminals.c.slot == slot)


def _admit(connection: Connection, who: Arrival) -> Admission:
    # The user's row is held to the commit, so two terminals of one user do not take the same slot.
    if connection.scalar(select(users.c.id).where(users.c.id == who.user_id).with_for_update()) is None:
        raise NoSuchUser(who.user_id)
    known = connection.execute(select(terminals).where(terminals.c.user == who.user_id)).all()
    before = max(known, key=lambda row: int(row.last_login), default=None)
    mine = next((row for row in known if row.terminal_key == who.terminal_key), None)
    place = mine or _place(known, who.now)
    slot = place if isinstance(place, int) else place.slot
    generation = 1 if isinstance(place, int) else place.generation + 1
    name = mine.name if mine is not None and mine.is_renamed else who.terminal_name
    values = {"name": name, "generation": generation}
    if mine is None:  # who has no other terminal knows of this one
        values |= {"first_seen": who.now, "is_told": not known, "is_renamed": False}
    _keep_terminal(connection, who, slot, values, is_row_there=not isinstance(place, int))
    if mine is None:
        # What a former owner of the slot did not fetch is nobody's any more.
        connection.execute(delete(receipts).where(receipts.c.user == who.user_id, receipts.c.slot == slot))
    last = None if before is None else LastLogin(before.last_login, before.last_address, before.name)
    is_new_network = _keep_network(connection, who)
    logins.keep(connection, who.user_id, logins.Login(who.now, who.address, name, slot, mine is None, is_new_network))
    return Admission(slot, generation, mine is None, is_new_network, last)


def _place(known: Iterable[Row[Any]], now: int) -> int | Row[Any]:
    """A slot that nobody has, else the row of the longest idle one. Raises NoFreeSlot."""
    rows = {row.slot: row for row in known}
    free = next((slot for slot in range(SLOTS) if slot not in rows), None)
    if free is not None:
        return free
    idlest = min(rows.values(), key=lambda row: int(row.last_seen))
    if now - idlest.last_seen < IDLE_BEFORE_REUSE:
        raise NoFreeSlot
    return idlest


def _keep_terminal(connection: Connection, who: Arrival, slot: int, values: dict[str, Any], is_row_there: bool) -> None:
    values = values | {
        "terminal_key": who.terminal_key,
        "fingerprint": who.fingerprint,
        "last_seen": who.now,
        "last_login": who.now,
        "last_address": who.address,
        "is_revoked": False,
    }
    if is_row_there:
        connection.execute(update(terminals).where(_at(who.user_id, slot)).values(values))
    else:
        connection.execute(insert(terminals), {"user": who.user_id, "slot": slot, **values})


def _keep_network(connection: Connection, who: Arrival) -> bool:
    """Keeps the network as the latest of at most 64; whether it was new."""
    mine = networks.c.user == who.user_id
    changed = connection.execute(update(networks).where(mine, networks.c.network == who.network).values(last_login=who.now)).rowcount
    if changed:
        return False
    if (connection.scalar(select(func.count()).select_from(networks).where(mine)) or 0) >= NETWORKS_KEPT:
        oldest = connection.scalar(select(networks.c.network).where(mine).order_by(networks.c.last_login).limit(1))
        connection.execute(delete(networks).where(mine, networks.c.network == oldest))
    connection.execute(insert(networks), {"user": who.user_id, "network": who.network, "last_login": who.now})
    return True
