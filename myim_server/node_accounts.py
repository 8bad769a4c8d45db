"""The parts of a center that know accounts, put together, and the loops that serve them.

What lives here: which part is given what. What must not: rules, SQL, bytes, the login center's side of accounts (`node_parts`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

import gevent
from gevent.event import AsyncResult

from cluster.directory import Place
from myim_server.account_commands import AccountCommands, AccountParts
from myim_server.chat import export
from myim_server.chat.account_desk import AccountDesk
from myim_server.chat.departures import Departures, Tables
from myim_server.chat.friend_hall import FriendHall
from myim_server.chat.friend_news import listed
from myim_server.chat.group_hall import GroupHall
from myim_server.chat.router import Router
from myim_server.chat.vouching import Finder
from myim_server.chat.warnings import Warnings
from myim_server.metrics import Metrics
from myim_server.requests import Requests
from myim_server.store.engine import Store
from myim_server.tickets import Generations

_FOUND_SECONDS = 1.5


class AccountServices(NamedTuple):
    """What a center has for accounts."""

    commands: AccountCommands
    warnings: Warnings
    departures: Departures


def build_accounts(
    store: Store,
    router: Router,
    finder: Finder | None,
    requests: Requests,
    halls: tuple[GroupHall, FriendHall],
    callbacks: tuple[Callable[[], None], Callable[[], int]],
    metrics: Metrics,
) -> AccountServices:
    """All of it; callbacks = (called when tickets that were good are so no more, wall clock in µs since 1970)."""
    changed, wall = callbacks
    warnings = Warnings(store.own_terminals, router.parties, router.inboxes, gevent.spawn, metrics)
    desk = AccountDesk(store.own_terminals, store.logins, partial(_online, router, finder), changed, metrics)
    sources = export.Sources(
        store.export_pages,
        store.profiles.own,
        store.own_terminals.of,
        store.logins.page,
        store.friends.requests,
        store.groups.of_user,
    )
    parts = AccountParts(desk, warnings, lambda user: export.cut(export.document(user, sources, wall())))
    groups, friends = halls
    tables = Tables(store.deletions, store.groups, store.group_roles, store.throttles, store.receipts)
    departures = Departures(tables, groups.tell, gevent.sleep, wall)
    departures.on_friends_left = lambda lists: friends.give(listed(dict(lists)))  # each center its own: all see the account off
    return AccountServices(AccountCommands(parts, requests, metrics), warnings, departures)


def hear(generations: Generations, store: Store, accounts: AccountServices, depart: Callable[[], None]) -> None:
    """Let what the log of raised generations tells reach those who care; depart: has departures run soon."""

    def on_raised(user: int, slot: int | None) -> None:
        if slot is None:  # perhaps the account is gone
            store.offline.forget(user)
            depart()
        else:
            accounts.warnings.heard(user, slot)

    generations.on_raised = on_raised


def _online(router: Router, finder: Finder | None, user: int) -> Collection[int]:
    """The slots of the user's terminals that are online here, or elsewhere as far as can be found out (yields)."""
    online = {inbox.slot for inbox in router.inboxes.of(user)}
    if finder is not None:
        found: AsyncResult[Sequence[Place]] = AsyncResult()
        finder.find(user, found.set)
        try:
            online.update(place.slot for place in found.get(timeout=_FOUND_SECONDS) or () if place.center != router.node_id)
        except gevent.Timeout:
            pass
    return online
