"""What waits in the store for sessions that are here: rows of messages, receipts for senders; read, handed over, deleted.

What lives here: how the actions Read, HandRows, Confirm and Caught of an inbox, and those of a receipt drain, are carried out. What must
not: when a session reads or confirms (`inbox`, `receipts`), SQL, sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from cluster.directory import Place
from myim_server.chat.inbox import Caught, Confirm, HandRows, Read
from myim_server.chat.party import Party
from myim_server.chat.post import Post
from myim_server.chat.receipt_desk import ReceiptDesk, Receipts
from myim_server.chat.receipts import DropReceipts, ReadReceipts, ReceiptDrain, SendReceipts
from myim_server.chat.shelf import Page, Shelf
from myim_server.chat.vouching import Finder
from myim_server.metrics import Metrics
from myim_server.store.offline import StoredMessage
from myim_wire.messages import encode_delivery

CarryOut = Callable[[Iterable[Any]], None]


class Backlog:
    """Serves the inboxes and receipt drains of one center from its shelf."""

    def __init__(
        self,
        node_id: int,
        parties: dict[int, Party],
        shelf: Shelf,
        receipts: tuple[Receipts, Callable[..., Any]],
        away: tuple[Finder | None, Post],
        now: Callable[[], float],
        metrics: Metrics,
        carry_out: CarryOut,
    ) -> None:
        """parties: the router's own table; receipts: the store's part, and spawn; away: where other centers' users are, the way there."""
        self._node_id = node_id
        self._parties = parties
        self._shelf = shelf
        self._finder, self._post = away
        self._now = now
        self._metrics = metrics
        self._carry_out = carry_out
        desk = ReceiptDesk(*receipts, self._send_to_drain, carry_out)
        self.actions: dict[type, Callable[[Any], None]] = {
            Read: self._read,
            HandRows: self._hand_rows,
            Confirm: self._confirm,
            Caught: self._caught,
            ReadReceipts: desk.read,
            SendReceipts: desk.send,
            DropReceipts: desk.drop,
        }

    on_caught: Callable[[Party, int], None] = staticmethod(lambda party, count: None)

    def _read(self, action: Read) -> None:
        inbox = action.inbox

        def done(page: Page | Exception) -> None:
            if isinstance(page, Exception):
                self._carry_out(inbox.read_failed())
            else:
                if not inbox.is_open:  # rows of QoS 0 are deleted before they are handed over, and now they cannot be
                    self._metrics.qos0_dropped += sum(row.qos == 0 for row in page[0])
                self._carry_out(inbox.read_done(page[0], page[1], self._now()))

        self._shelf.read(inbox, done)

    def _hand_rows(self, action: HandRows) -> None:
        inbox = action.inbox
        party = self._parties.get(inbox.user << 6 | inbox.slot)
        if party is None or party.inbox is not inbox:
            return
        node_id, target = self._node_id, inbox.user
        messages = [
            encode_delivery(row.qos, row.user, target, row.time, row.body, (row.entered, row.message_id, node_id))
            for row in cast("list[StoredMessage]", action.rows)
        ]
        self._metrics.offline_delivered += len(messages)
        party.session.send_many(messages, sum(map(len, messages)))

    def _confirm(self, action: Confirm) -> None:
        inbox, names = action.inbox, action.names

        def done(result: int | Exception) -> None:
            if isinstance(result, Exception):
                inbox.confirm_failed(names)
                return
            self._carry_out(inbox.confirmed(names))
            for sender_key in {user << 6 | time & 63 for user, time in names}:
                self.tell_of_receipts(sender_key)

        self._shelf.confirm(inbox, names, done)

    def tell_of_receipts(self, sender_key: int) -> None:
        """Receipts of a terminal were stored: it drains them at once if it is online; what is missed here is swept up."""
        user, slot = sender_key >> 6, sender_key & 63
        if self.want_receipts(user, slot) or self._finder is None:
            return

        def tell(places: Sequence[Place]) -> None:
            for center in self._post.reachable(place for place in places if place.slot == slot):
                self._post.receipts(center, [(user, slot)])

        self._finder.find(user, tell)

    def want_receipts(self, user: int, slot: int) -> bool:
        """A hint: receipts of this terminal wait in the store; whether it is here."""
        party = self._parties.get(user << 6 | slot)
        if party is not None:
            self._carry_out(party.drain.want())
        return party is not None

    def _caught(self, action: Caught) -> None:
        party = self._parties.get(action.inbox.user << 6 | action.inbox.slot)
        if party is not None and party.inbox is action.inbox:
            self.on_caught(party, action.count)

    def _send_to_drain(self, drain: ReceiptDrain, data: bytes) -> None:
        party = self._parties.get(drain.user << 6 | drain.slot)
        if party is not None and party.drain is drain:
            party.session.send(data)
