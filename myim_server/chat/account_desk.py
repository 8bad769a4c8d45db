"""The account requests of terminals, answered: the user's own terminals and logins, and nobody else's.

What lives here: one method per request, from the asked to the answer. What must not: SQL, bytes, sockets, the export (`export`), logins and
passwords (`accounts`). All of it may block, and runs in a greenlet of the asking request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from myim_server.chat.group_rules import check_text
from myim_server.metrics import Metrics
from myim_server.refusals import RequestRefused
from myim_server.store.logins import Login
from myim_server.store.own_terminals import OwnTerminal
from myim_server.store.terminals import NoSuchTerminal
from myim_wire import account_contents as asked
from myim_wire.account_contents import MAX_LOGINS_LISTED, TAG_CHARACTERS, ListedLogin, ListedTerminal, LoginPage, TerminalPage
from myim_wire.errors import ErrorCode


class OwnTerminals(Protocol):
    """What is asked of the store about a user's terminals (may block)."""

    def of(self, user_id: int) -> Sequence[OwnTerminal]: ...
    def rename(self, user_id: int, slot: int, name: str) -> None: ...
    def revoke(self, user_id: int, slot: int | None, asking: int) -> int: ...
    def acknowledge(self, user_id: int, slot: int, asking: int) -> bool: ...


class Logins(Protocol):
    """What is asked of the store about logins (may block)."""

    def page(self, user_id: int, before: int, limit: int) -> Sequence[Login]: ...


class AccountDesk:
    """Answers ACCOUNT, but for exports."""

    def __init__(
        self,
        terminals: OwnTerminals,
        logins: Logins,
        online: Callable[[int], Collection[int]],
        changed: Callable[[], None],
        metrics: Metrics,
    ) -> None:
        """online: the slots of a user's terminals that are online anywhere, as far as is known (may block); changed: called when tickets
        that were good are so no more."""
        self._terminals = terminals
        self._logins = logins
        self._online = online
        self._changed = changed
        self._metrics = metrics
        self._answers: dict[type, Callable[[int, int, Any], bytes]] = {
            asked.ListTerminals: self._list,
            asked.RenameTerminal: self._rename,
            asked.RevokeTerminal: self._revoke,
            asked.Acknowledge: self._acknowledge,
            asked.ListLogins: self._list_logins,
        }

    def answer(self, user: int, slot: int, request: asked.AccountRequest) -> bytes:
        """The content of the reply to a request of the user's terminal at this slot; RequestRefused (blocks)."""
        try:
            return self._answers[type(request)](user, slot, request)
        except NoSuchTerminal:
            raise RequestRefused(ErrorCode.NOT_ALLOWED, "you have no such terminal", field="slot") from None

    def _list(self, user: int, slot: int, request: asked.AccountRequest) -> bytes:
        own = self._terminals.of(user)
        online = {slot, *self._online(user)}
        return TerminalPage(tuple(_listed(one, slot, one.slot in online) for one in own)).encode()

    def _rename(self, user: int, slot: int, request: asked.RenameTerminal) -> bytes:
        name = check_text(request.name, "name").strip()
        if not name or "\n" in name:
            raise RequestRefused(ErrorCode.NAME_INVALID, "a terminal's name is one visible line", field="name")
        self._terminals.rename(user, request.slot, name)
        return self._list(user, slot, request)

    def _revoke(self, user: int, slot: int, request: asked.RevokeTerminal) -> bytes:
        count = self._terminals.revoke(user, request.slot, slot)
        if count:
            self._metrics.terminals_revoked += count
            self._changed()
        return self._list(user, slot, request)

    def _acknowledge(self, user: int, slot: int, request: asked.Acknowledge) -> bytes:
        if not self._terminals.acknowledge(user, request.slot, slot):
            raise RequestRefused(ErrorCode.NOT_ALLOWED, "a terminal that is new itself does not vouch for an older one", field="slot")
        return self._list(user, slot, request)

    def _list_logins(self, user: int, slot: int, request: asked.ListLogins) -> bytes:
        found = self._logins.page(user, request.before, MAX_LOGINS_LISTED + 1)
        return LoginPage(tuple(ListedLogin(*one) for one in found[:MAX_LOGINS_LISTED]), len(found) > MAX_LOGINS_LISTED).encode()


def _listed(own: OwnTerminal, asking: int, is_online: bool) -> ListedTerminal:
    return ListedTerminal(
        own.slot,
        own.name,
        own.fingerprint.hex()[:TAG_CHARACTERS],
        own.first_seen,
        own.last_seen,
        own.address,
        is_online and not own.is_revoked,
        own.slot == asking,
        not own.is_told,
        own.is_revoked,
    )
