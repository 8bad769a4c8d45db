"""Carries out what receipt drains want: reads, drops and sends the receipts of senders, in batches.

What lives here: the bridge between `receipts.ReceiptDrain`, one per session, and the store, where many sessions share a question. What
must not: when a receipt is sent or dropped (receipts), SQL, sockets. Why batches: after a restart thousands of terminals ask at once, and
most have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from myim_server.batches import Batch
from myim_server.chat.receipts import Action, DropReceipts, ReadReceipts, ReceiptDrain, SendReceipts
from myim_wire.messages import QOS1, Command, encode_message, encode_pairs

_TO_SENDER = 3  # the kind of RECEIPT that tells a sender [P-7.3]
_PAGE = 500
_ASKED_AT_ONCE = 256
_DROPPED_AT_ONCE = 64

Pairs = Sequence[tuple[int, int]]


class Receipts(Protocol):
    """What is asked of the store about receipts (may block)."""

    def page(self, user_id: int, slot: int, limit: int) -> Pairs: ...
    def drop(self, user_id: int, slot: int, pairs: Pairs) -> None: ...
    def users_with_receipts(self, user_ids: Sequence[int]) -> set[int]: ...


class ReceiptDesk:
    """Serves the drains of one center. Whatever the store cannot do, the drain rests, and the sweep wakes it."""

    def __init__(
        self,
        receipts: Receipts,
        spawn: Callable[..., Any],
        send: Callable[[ReceiptDrain, bytes], None],
        carry_out: Callable[[Iterable[Action]], None],
    ) -> None:
        """send: gives an encoded message to the drain's session, if it is still there; carry_out: takes what a drain wants next."""
        self._receipts = receipts
        self._send = send
        self._carry_out = carry_out
        self._reads: Batch[ReceiptDrain, Pairs] = Batch(self._read_all, _ASKED_AT_ONCE, 0.0, spawn, bound=1 << 20)
        self._drops: Batch[DropReceipts, None] = Batch(self._drop_all, _DROPPED_AT_ONCE, 0.0, spawn, bound=1 << 20)

    def read(self, action: ReadReceipts) -> None:
        """Read a page of a terminal's receipts."""
        drain = action.drain

        def done(pairs: Pairs | Exception) -> None:
            self._carry_out(drain.failed() if isinstance(pairs, Exception) else drain.page(pairs))

        self._reads.submit_later(drain, done)

    def drop(self, action: DropReceipts) -> None:
        """Delete what the terminal has confirmed."""
        drain = action.drain

        def done(outcome: Exception | None) -> None:
            self._carry_out(drain.failed() if isinstance(outcome, Exception) else drain.dropped())

        self._drops.submit_later(action, done)

    def send(self, action: SendReceipts) -> None:
        """Send a page as RECEIPT kind 3 under its number."""
        content = encode_pairs(_TO_SENDER, action.pairs)
        self._send(action.drain, encode_message(Command.RECEIPT, QOS1, 0, action.drain.user, action.number, content))

    def _read_all(self, drains: Sequence[ReceiptDrain]) -> list[Pairs]:
        users = self._receipts.users_with_receipts(list({drain.user for drain in drains}))
        return [self._receipts.page(drain.user, drain.slot, _PAGE) if drain.user in users else () for drain in drains]

    def _drop_all(self, actions: Sequence[DropReceipts]) -> list[None]:
        for drain, pairs in actions:
            self._receipts.drop(drain.user, drain.slot, pairs)
        return [None] * len(actions)
