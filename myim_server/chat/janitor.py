"""What a center does for everybody again and again: time-outs a few times a second, the sweep at least every ten seconds (D-18).

What lives here: the walks over all, in pieces, so that tens of thousands of lanes and sessions never hold the hub. What must not: the
rules that say what is due (lanes, inboxes, receipts), how it is carried out (router), loops (node).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import gevent
import structlog

from myim_server.chat.inbox import Inbox
from myim_server.chat.lane import Lane
from myim_server.chat.party import Party
from myim_server.chat.router import Router, Surroundings

T = TypeVar("T")
_AT_ONCE = 500
_LATE_SECONDS = 2.0


class Janitor:
    """Visits who may be waiting in vain. At most one tick and one sweep may run at a time."""

    def __init__(self, router: Router, around: Surroundings) -> None:
        self._router = router
        self._around = around
        self._ticked_at = around.now()

    def tick(self) -> None:
        """Let the time-outs of both sides happen (yields); after a sleep of the whole process, what came meanwhile is heard first."""
        router, now = self._router, self._around.now()
        was_stopped, self._ticked_at = now - self._ticked_at > _LATE_SECONDS, now
        if was_stopped:
            return
        self._around.shelf.tick(now)
        for lane in _in_pieces(list(router.busy_lanes)):
            if lane.is_idle:
                router.busy_lanes.pop(lane, None)
            else:
                self._tick(lane, lane.key, router.busy_lanes, now)
        for inbox in _in_pieces(list(router.busy_inboxes)):
            if inbox.is_owing:
                self._tick(inbox, inbox.user << 6 | inbox.slot, router.busy_inboxes, now)
            else:
                router.busy_inboxes.pop(inbox, None)

    def _tick(self, one: Lane | Inbox, key: int, busy: dict[Any, None], now: float) -> None:
        try:
            self._router.carry_out(one.tick(now))
        except Exception as fault:  # a bug of ours: said once; the terminal connects again, and a lane is made anew of what it resends
            busy.pop(one, None)
            party = self._router.parties.get(key)
            connection = None if party is None else party.session.connection_id
            structlog.get_logger().error("tick_fault", connection=connection, exc_info=fault)
            if isinstance(one, Lane):
                self._router.lanes.of_terminal(one.user, one.slot).pop(one.target, None)
            if party is not None:
                party.session.cut()

    def sweep(self) -> None:
        """Ask in one batch which live users have rows or receipts, and read for them (yields). StoreUnavailable."""
        router, around = self._router, self._around
        users = list(router.inboxes.users)
        if not users:
            return
        around.metrics.sweeps += 1
        with_rows = around.shelf.users_with_rows(users)
        with_receipts = around.receipts.users_with_receipts(users)
        for party in _in_pieces(list(router.parties.values())):
            self._look_into_store(party, party.inbox.user in with_rows, party.inbox.user in with_receipts)
        for key in _in_pieces(list(router.inboxes.bound)):
            router.inboxes.forget_ended(key)

    def _look_into_store(self, party: Party, has_rows: bool, has_receipts: bool) -> None:
        carry_out, inbox = self._router.carry_out, party.inbox
        carry_out(inbox.retry_confirm())
        if has_rows or inbox.is_read_wanted:
            carry_out(inbox.want_read())
        if has_receipts:
            carry_out(party.drain.want())


def _in_pieces(everybody: list[T]) -> Iterator[T]:
    """All of them; after some hundred, others get their turn (yields)."""
    for number, one in enumerate(everybody, 1):
        yield one
        if number % _AT_ONCE == 0:
            gevent.sleep(0)
