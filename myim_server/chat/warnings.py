"""Warnings of new terminals: told to the user's other terminals that are online here, at once and when they come, to a session once.

What lives here: who is told when. What must not: the store's rule of whose warning stands (`store/own_terminals`), sockets, clocks. Nothing
here yields: the store is asked in batches. That a terminal logged in is heard from the log of raised generations, which every center
reads, wherever the login center is; what is new about it, and whether the owner knows, only the store can say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from myim_server.batches import Batch
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.party import Party
from myim_server.metrics import Metrics
from myim_server.store.own_terminals import Unknown
from myim_wire.account_contents import NewTerminal
from myim_wire.messages import Command, encode_message

_ASKED_AT_ONCE = 256
_LINGER_SECONDS = 0.02  # for the others of a storm of logins
_BOUND = 1 << 17
_NOTHING: frozenset[tuple[int, int]] = frozenset()


class UnknownTerminals(Protocol):
    """Which new terminals users do not know of yet (may block)."""

    def unknown(self, user_ids: Sequence[int]) -> Mapping[int, Sequence[Unknown]]: ...


class Warnings:
    """Tells users of new terminals of theirs."""

    def __init__(
        self, table: UnknownTerminals, parties: Mapping[int, Party], inboxes: Inboxes, spawn: Callable[..., Any], metrics: Metrics
    ) -> None:
        """parties, inboxes: the router's own tables."""
        self._table = table
        self._parties = parties
        self._inboxes = inboxes
        self._metrics = metrics
        self._untold: dict[Party, None] = {}
        self._warned: dict[Party, frozenset[tuple[int, int]]] = {}  # of which (slot, time) a session that has begun was warned
        self._asked: Batch[int, Sequence[Unknown]] = Batch(
            self._read, _ASKED_AT_ONCE, _LINGER_SECONDS, spawn, parallel=2, bound=_BOUND
        )

    def begin(self, party: Party) -> None:
        """A terminal fetches: the first time it is told of all new ones."""
        if party not in self._warned:
            self._warned[party] = _NOTHING
            self._ask(party)

    def _ask(self, party: Party) -> None:
        def told(unknown: Sequence[Unknown] | Exception) -> None:
            if isinstance(unknown, Exception):
                self._untold[party] = None
            elif self._parties.get(party.session.key) is party:
                self._warn(party, unknown)

        self._asked.submit_later(party.session.user, told)

    def end(self, party: Party) -> None:
        """A session ended."""
        self._warned.pop(party, None)

    def sweep(self) -> None:
        """Tell those whom the store did not let us tell."""
        untold, self._untold = self._untold, {}
        for party in untold:
            if self._parties.get(party.session.key) is party:
                self._ask(party)

    def heard(self, user: int, slot: int) -> None:
        """This terminal may have logged in: the others that are here are told, if it is new."""
        if not self._others(user, slot):
            return

        def told(unknown: Sequence[Unknown] | Exception) -> None:
            others = self._others(user, slot)
            if isinstance(unknown, Exception):
                self._untold.update(dict.fromkeys(others))
                return
            news = [one for one in unknown if one.slot == slot]
            for party in others:
                self._warn(party, news)

        self._asked.submit_later(user, told)

    def _others(self, user: int, slot: int) -> list[Party]:
        here = (self._parties.get(user << 6 | inbox.slot) for inbox in self._inboxes.of(user) if inbox.is_fetching and inbox.slot != slot)
        return [party for party in here if party is not None]

    def _warn(self, party: Party, unknown: Sequence[Unknown]) -> None:
        for one in unknown:
            warned = self._warned.get(party, _NOTHING)
            if one.slot != party.session.slot and (one.slot, one.time) not in warned:
                self._warned[party] = warned | {(one.slot, one.time)}
                self._metrics.terminals_warned_of += 1
                content = NewTerminal(one.slot, one.name, one.address, one.time).encode()
                party.session.send(encode_message(Command.ACCOUNT, 0, 0, 0, 0, content))

    def _read(self, users: Sequence[int]) -> list[Sequence[Unknown]]:
        found = self._table.unknown(users)
        return [found.get(user, ()) for user in users]
