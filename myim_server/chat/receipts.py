"""Receipts on their way to senders: kept in the store until the sender's terminal says that it has them.

What lives here: one `ReceiptDrain` per session, a small state machine: read a page, send it, wait for the answer, drop it, read on. What
must not: clocks, sockets, SQL. A receipt is sent again at the next session until it was confirmed; the terminal shows it once [P-8.7].
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple


class ReadReceipts(NamedTuple):
    """Read a page of this terminal's receipts; answer with page or failed."""

    drain: ReceiptDrain


class SendReceipts(NamedTuple):
    """Send RECEIPT kind 3 under this number; the terminal's reply goes to answered."""

    drain: ReceiptDrain
    number: int
    pairs: list[tuple[int, int]]


class DropReceipts(NamedTuple):
    """Delete these in the store; answer with dropped or failed."""

    drain: ReceiptDrain
    pairs: list[tuple[int, int]]


Action = ReadReceipts | SendReceipts | DropReceipts


class _State(enum.IntEnum):
    REST = 0
    READING = 1
    SENT = 2
    DROPPING = 3


class ReceiptDrain:
    """Drains the receipts of one session."""

    __slots__ = ("user", "slot", "_state", "_is_wanted", "_number", "_pairs")

    def __init__(self, user: int, slot: int) -> None:
        self.user = user
        self.slot = slot
        self._state = _State.REST
        self._is_wanted = False
        self._number = 0
        self._pairs: list[tuple[int, int]] = []

    def want(self) -> list[Action]:
        """There may be receipts."""
        if self._state is not _State.REST:
            self._is_wanted = True
            return []
        self._state = _State.READING
        self._is_wanted = False
        return [ReadReceipts(self)]

    def page(self, pairs: Sequence[tuple[int, int]]) -> list[Action]:
        """The store's answer: (target, time) of the oldest receipts."""
        if not pairs:
            self._state = _State.REST
            return self.want() if self._is_wanted else []
        self._state = _State.SENT
        self._number += 1
        self._pairs = list(pairs)
        return [SendReceipts(self, self._number, self._pairs)]

    def answered(self, number: int) -> list[Action]:
        """The terminal has kept them."""
        if self._state is not _State.SENT or number != self._number:
            return []
        self._state = _State.DROPPING
        return [DropReceipts(self, self._pairs)]

    def dropped(self) -> list[Action]:
        """They are deleted; there may be more."""
        self._state = _State.REST
        return self.want()

    def failed(self) -> list[Action]:
        """The store did not answer; the sweep asks again."""
        self._state = _State.REST
        return []
