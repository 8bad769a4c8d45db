"""The going of accounts that ended: their groups are handed on, the friends they left are told, and the rest is deleted in pieces.

What lives here: which step follows which. What must not: SQL, sockets, clocks, who inherits (`group_rules.part`). Any number of centers may
do it at once and be killed anywhere: each step finds done what was done. What came in while it went on (a center that had not heard yet
stored something for it) is found by a second look, a minute later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from myim_server import throttles
from myim_server.chat import group_rules as rules
from myim_server.chat.group_desk import GroupTable, News, news_of

LINGER = 60 * 1_000_000
_ACCOUNTS_AT_ONCE = 1_000
_GROUPS_AT_ONCE = 50
_ROWS_AT_ONCE = 500
_HEIRS = 8
_PIECE_SECONDS = 0.01
_SLOTS = 64


class DeletionTable(Protocol):
    """What is asked of the store about accounts that ended (may block)."""

    def open(self, limit: int) -> Sequence[tuple[int, int]]: ...
    def wipe(self, user_id: int, limit: int) -> int: ...
    def forget_posts(self, user_id: int, group: int) -> None: ...
    def hand_on(self, user_id: int) -> None: ...
    def friends_left(self, user_id: int) -> Sequence[tuple[int, int]]: ...
    def close(self, user_id: int, now: int) -> None: ...


class Heirs(Protocol):
    """Who could have a group (may block)."""

    def heirs(self, group: int, user: int, limit: int) -> Sequence[int]: ...


class Counters(Protocol):
    """The counts of failed logins (may block)."""

    def forget(self, keys: Iterable[str]) -> None: ...


class Receipts(Protocol):
    """Receipts that are held back (may block)."""

    def release(self, target: int, limit: int) -> Sequence[tuple[int, int]]: ...


class Tables(NamedTuple):
    """The parts of the store that hold what goes."""

    deletions: DeletionTable
    groups: GroupTable
    heirs: Heirs
    counters: Counters
    receipts: Receipts


class Departures:
    """Sees to it that of an account that ended nothing is left."""

    def __init__(
        self, tables: Tables, tell: Callable[[News], None], pause: Callable[[float], Any], wall: Callable[[], int]
    ) -> None:
        """tell: lets a group's members here and elsewhere know; pause: gives others their turn; wall: µs since 1970."""
        self._tables = tables
        self._tell = tell
        self._pause = pause
        self._wall = wall
        self._looked: set[int] = set()  # who was seen off by this center once

    on_friends_left: Callable[[Sequence[tuple[int, int]]], None] = staticmethod(lambda lists: None)  # (user, version of its list)

    def run(self) -> None:
        """All that is open, as far as it is due (yields). Raises StoreUnavailable; the next run goes on from there."""
        open_now = self._tables.deletions.open(_ACCOUNTS_AT_ONCE)
        self._looked &= {user for user, _ in open_now}
        for user, ended in open_now:
            is_last = self._wall() - ended > LINGER
            if is_last or user not in self._looked:
                self._one(user, is_last)

    def _one(self, user: int, is_last: bool) -> None:
        deletions = self._tables.deletions
        lists = deletions.friends_left(user) if user not in self._looked else ()
        if lists:
            self.on_friends_left(lists)
        has_left = self._leave_groups(user)
        deletions.hand_on(user)
        while len(self._tables.receipts.release(user, _ROWS_AT_ONCE)) >= _ROWS_AT_ONCE:  # there is nobody to be hidden any more
            self._pause(_PIECE_SECONDS)
        while deletions.wipe(user, _ROWS_AT_ONCE) >= _ROWS_AT_ONCE:
            self._pause(_PIECE_SECONDS)
        self._tables.counters.forget(throttles.terminal_counter(user, slot) for slot in range(_SLOTS))
        if has_left:
            self._looked.add(user)
            if is_last:
                deletions.close(user, self._wall())

    def _leave_groups(self, user: int) -> bool:
        """Whether the user is in none any more."""
        after, has_left = 0, True
        while listed := self._tables.groups.of_user(user, after, _GROUPS_AT_ONCE):
            for group, _, _ in listed:
                has_left &= self._leave(user, group.id)
                self._pause(_PIECE_SECONDS)
            after = listed[-1][0].id
        return has_left

    def _leave(self, user: int, group: int) -> bool:
        """Whether that is so; False: all who could have the group left in between, and the next run looks again."""
        self._tables.deletions.forget_posts(user, group)  # first: a group that was left is not found again
        heirs = self._tables.heirs.heirs(group, user, _HEIRS)
        try:
            changed = self._tables.groups.change(group, (user, *heirs), lambda view: rules.part(view, user), self._wall())
        except rules.NoHeir:
            return False
        if changed is not None:
            for news in news_of(changed[0], user, changed[1], officers=lambda group: ()):
                self._tell(news)
        return True
