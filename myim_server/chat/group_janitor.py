"""The janitor of groups: removes what every member has and what has expired, in bounded batches (docs/groups.md, G-8).

What lives here: how much at a time, when again, and what an operator is told of it. What must not: which rows may go (the store's
transaction says so, so any number of janitors may run at once and be killed anywhere), SQL, clocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from myim_server.chat.confirmations import Confirmations
from myim_server.metrics import Metrics

_ROWS = 500  # of one transaction: long enough to be worth its flush, short enough for those who post meanwhile
_GROUPS = 200
_REST = 1.0  # times as long as a batch took is rested after it, while there is more
_COUNTED = 10_000


class PurgeTable(Protocol):
    """What is asked of the store (may block)."""

    def done(self, groups: list[int], limit: int) -> tuple[int, int]: ...
    def walk(self, after: int, groups: int, limit: int, now: int) -> tuple[int, int, int]: ...
    def names(self, now: int, limit: int) -> int: ...
    def backlog(self, limit: int) -> tuple[int, int]: ...


class GroupJanitor:
    """Tidies up; each method is a loop's work and yields. StoreUnavailable: done again next time."""

    def __init__(
        self, table: PurgeTable, confirmations: Confirmations, sleep: Callable[[float], None], now: Callable[[], float], metrics: Metrics
    ) -> None:
        """now: monotonic seconds."""
        self._table = table
        self._confirmations = confirmations
        self._sleep = sleep
        self._now = now
        self._metrics = metrics
        self.last_run = 0  # µs since 1970
        self.backlog_rows = 0
        self.oldest_accepted = 0
        rows = "group messages that are stored, as far as they were counted at the janitor's last walk"
        metrics.watch("group_backlog_rows", rows, lambda: self.backlog_rows)
        oldest = "when the oldest of them was taken, since 1970; 0: there is none"
        metrics.watch("group_backlog_oldest_seconds", oldest, lambda: self.oldest_accepted / 1e6)
        last_run = "when the janitor last walked over all groups, since 1970"
        metrics.watch("group_janitor_last_run_seconds", last_run, lambda: self.last_run / 1e6)

    def tidy(self) -> None:
        """Of the groups whose counts moved: remove what every member has."""
        touched = self._confirmations.touched
        while touched:
            groups = sorted(touched)[:_GROUPS]
            began = self._now()
            touched.difference_update(groups)  # before the look, so that what moves during it is looked at, too
            rows = _ROWS
            try:
                rows, size = self._table.done(groups, _ROWS)
                self._count(rows, size)
            finally:
                if rows >= _ROWS:  # there may be more of the same, or the store did not answer
                    touched.update(groups)
            if touched:
                self._sleep(_REST * (self._now() - began))

    def walk(self, wall: int) -> tuple[int, int]:
        """Over all groups: what every member has, and what expired by `wall` (µs since 1970; 0: nothing expires, the clock is not to be
        trusted); (rows, bytes) removed."""
        total_rows = total_size = after = 0
        while True:
            began = self._now()
            rows, size, next_after = self._table.walk(after, _GROUPS, _ROWS, wall)
            self._count(rows, size)
            total_rows, total_size = total_rows + rows, total_size + size
            if rows < _ROWS and not next_after:
                break
            after = next_after or after
            self._sleep(_REST * (self._now() - began))
        if wall:
            self._forget_names(wall)
        self.backlog_rows, self.oldest_accepted = self._table.backlog(_COUNTED)
        self.last_run = wall or self.last_run
        return total_rows, total_size

    def _forget_names(self, wall: int) -> None:
        """In ten minutes as many grow old as were posted in ten minutes: some hundred thousand, without a rest, would make others wait."""
        began = self._now()
        while self._table.names(wall, _ROWS) >= _ROWS:
            self._sleep(_REST * (self._now() - began))
            began = self._now()

    def _count(self, rows: int, size: int) -> None:
        self._metrics.group_rows_purged += rows
        self._metrics.group_bytes_purged += size
