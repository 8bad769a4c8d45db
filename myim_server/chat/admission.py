"""May this ticket have a session here, may it be renewed, and who bears a name.

What lives here: the answers a center gives about accounts without the login center. What must not: SQL, sockets, clocks, how tickets are
sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from myim_server.chat.names import parse_name
from myim_server.refusals import RequestRefused
from myim_server.tickets import Generations, Tickets
from myim_wire.contents import RenewedToken
from myim_wire.errors import ErrorCode
from myim_wire.tokens import Ticket


class GenerationTable(Protocol):
    """What the store says of generations, and of terminals in use (may block)."""

    def generations(self, pairs: Iterable[tuple[int, int]]) -> Mapping[tuple[int, int], tuple[int, int]]: ...
    def touch(self, user_id: int, slot: int, now: int) -> None: ...


class FoundAccount(Protocol):
    """An account as far as a look-up tells of it."""

    @property
    def user_id(self) -> int: ...
    @property
    def shown_name(self) -> str: ...


class AccountTable(Protocol):
    """Where ids are looked up (may block)."""

    def get(self, user_id: int) -> FoundAccount | None: ...


class NameTable(Protocol):
    """Where names are looked up that the asker may find (may block)."""

    def find(self, asker: int, name: str) -> tuple[int, str, str] | None: ...


class Admission:
    """Opens tickets for sessions of this center and renews them."""

    def __init__(
        self, tickets: Tickets, generations: Generations, table: GenerationTable, now: Callable[[], float], wall: Callable[[], int]
    ) -> None:
        """now: monotonic seconds; wall: microseconds since 1970."""
        self._tickets = tickets
        self._generations = generations
        self._table = table
        self._now = now
        self._wall = wall

    def open(self, token: bytes) -> Ticket:
        """The ticket in the token, whoever sent it; SessionRefused TOKEN_INVALID, TOKEN_EXPIRED, BUSY (blocks where the key is unknown)."""
        return self._tickets.open(token)

    def check(self, ticket: Ticket) -> None:
        """Whether it may have a session now; SessionRefused TOKEN_REVOKED, ISOLATED, BUSY (blocks where the terminal is unknown)."""
        self._generations.check(ticket, self._now())

    def check_again(self, token: bytes) -> None:
        """Whether a token let in a moment ago still is, by all that was heard since; SessionRefused as above. Never yields."""
        self._generations.check(self._tickets.open(token, may_yield=False), self._now(), may_yield=False)

    def renew(self, ticket: Ticket) -> RenewedToken:
        """A fresh token of the same generations [P-7.12]; RequestRefused RENEWAL_REFUSED, STORE_UNAVAILABLE (blocks)."""
        pair = (ticket.user, ticket.slot)
        now = self._wall()
        renewed = self._tickets.renew(ticket, self._table.generations([pair]).get(pair, (-1, -1)), now)
        self._table.touch(ticket.user, ticket.slot, now)
        return renewed


class LookUps:
    """Exact names to users and back [P-7.13]."""

    def __init__(self, accounts: AccountTable, names: NameTable) -> None:
        self._accounts = accounts
        self._names = names

    def look_up(self, asker: int, who: str | int) -> tuple[int, str]:
        """(user id, name as kept) by exact name or id; RequestRefused NOT_ALLOWED for nobody, whatever the reason (blocks).

        A name finds whom a search for it finds. An id finds everybody: whoever has it was given it.
        """
        if isinstance(who, int):
            account = self._accounts.get(who)
            if account is not None:
                return account.user_id, account.shown_name
        else:
            parsed = parse_name(who)
            found = None if parsed is None else self._names.find(asker, parsed.folded)
            if found is not None:
                return found[0], found[1]
        raise RequestRefused(ErrorCode.NOT_ALLOWED, "nobody by this name or id", field="user" if isinstance(who, int) else "name")
