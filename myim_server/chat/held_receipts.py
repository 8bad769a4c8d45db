"""Receipts of who is not to be seen, let go when he may be seen again: at once where he says so here, by the sweep wherever else.

What lives here: when that is done, and for whom. What must not: who may be seen (`presence`), what is held (`shelf`), SQL. Why a sweep: who
hid may have left before he comes for all to see, at another center, which knows nothing of it; a center dies; and what was confirmed in the
moment before may be held in the moment after.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Protocol

from myim_server.refusals import RequestRefused

_AT_ONCE = 500


class HeldTable(Protocol):
    """What is asked of the store about receipts that are held (may block)."""

    def held_for(self, targets: Iterable[int]) -> Collection[int]: ...
    def release(self, target: int, limit: int) -> Sequence[tuple[int, int]]: ...


class HeldReceipts:
    """Lets go what is held for the users of one center."""

    def __init__(
        self, table: HeldTable, is_seen: Callable[[int], bool], tell: Callable[[int], None], spawn: Callable[..., Any]
    ) -> None:
        """is_seen: whether a user may be seen here, now; tell: receipts of this terminal (user << 6 | slot) wait for it."""
        self._table = table
        self._is_seen = is_seen
        self._tell = tell
        self._spawn = spawn
        self._running: set[int] = set()

    def release(self, user: int) -> None:
        """The user may be seen: its receipts go to their senders. Does not yield."""
        if user not in self._running:
            self._running.add(user)
            self._spawn(self._release, user)

    def sweep(self, users: Iterable[int]) -> None:
        """The same for those of the users that may be seen and have some (yields). StoreUnavailable."""
        for user in self._table.held_for([user for user in users if self._is_seen(user)]):
            self.release(user)

    def _release(self, user: int) -> None:
        try:
            while self._is_seen(user):  # who hides again meanwhile is not told of
                terminals = self._table.release(user, _AT_ONCE)
                for sender, slot in set(terminals):
                    self._tell(sender << 6 | slot)
                if len(terminals) < _AT_ONCE:
                    return
        except RequestRefused:
            return  # the store is away; the sweep comes again
        finally:
            self._running.discard(user)
