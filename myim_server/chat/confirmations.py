"""Confirmations of group messages on their way into the store: gathered, written together, kept until they are written.

What lives here: the confirmations of each member that are not in the store yet. What must not: SQL, sockets, clocks; what a confirmation
changes is the store's transaction (docs/groups.md, G-5, G-6). One that is lost with its center comes again: the terminal compares at its
next session.

Of one member the highest is written first, and what is below it is done with if that moved his cursor. If not, the next has its turn: who
claims what was never posted must not lose by it what it has.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Protocol

import structlog

from myim_server.metrics import Metrics
from myim_server.refusals import StoreUnavailable

_MOST = 1_000
_AGAIN_SECONDS = 1.0
_KEPT = 8  # of one member, the highest


class CursorTable(Protocol):
    """What is asked of the store (may block)."""

    def move(self, claims: Sequence[tuple[int, int, int]]) -> Sequence[bool]: ...


class Confirmations:
    """Of all members that are online here: (group, user) -> all up to this number is confirmed, or this, …, ascending."""

    def __init__(
        self, table: CursorTable, spawn: Callable[..., Any], sleep: Callable[[float], None], linger_seconds: float, metrics: Metrics
    ) -> None:
        """linger_seconds: how long the first confirmation after a rest waits for company; sleep yields."""
        self._table = table
        self._spawn = spawn
        self._sleep = sleep
        self._linger_seconds = linger_seconds
        self._metrics = metrics
        self._waiting: dict[tuple[int, int], list[int]] = {}
        self._is_running = False
        self.touched: set[int] = set()  # groups whose counts moved since the janitor looked

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, user: int, pairs: Iterable[tuple[int, int]]) -> None:
        """The user's terminal has all up to number, of each (group, number)."""
        waiting = self._waiting
        for group, number in pairs:
            claimed = waiting.setdefault((group, user), [])
            if number not in claimed:
                insort(claimed, number)
                if len(claimed) > _KEPT:
                    del claimed[0]
        if waiting and not self._is_running:
            self._is_running = True
            self._spawn(self._run)

    def _run(self) -> None:
        try:
            self._sleep(self._linger_seconds)
            while self._waiting:
                self._flush([(*name, claimed[-1]) for name, claimed in islice(self._waiting.items(), _MOST)])
        finally:
            self._is_running = False

    def _flush(self, claims: Sequence[tuple[int, int, int]]) -> None:
        try:
            moved = self._table.move(claims)
        except StoreUnavailable:
            self._metrics.store_failures += 1
            self._sleep(_AGAIN_SECONDS)
            return
        except Exception as fault:  # a bug of ours: said, and these are given up; the terminals come with them again
            structlog.get_logger().error("confirmations_fault", exc_info=fault)
            moved = [False] * len(claims)
        self._metrics.group_confirmations += sum(moved)
        for (group, user, number), is_moved in zip(claims, moved, strict=True):
            left = [one for one in self._waiting[group, user] if one > number or (one < number and not is_moved)]
            if left:
                self._waiting[group, user] = left
            else:
                del self._waiting[group, user]
            if is_moved:
                self.touched.add(group)
