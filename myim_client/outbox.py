"""What one client sends: kept before it is sent, sent again until it is settled, its receipts shown once [P-8.1], [P-8.2], [P-8.7].

The sender's half of a courier: it joins `sending` and `receipts` to the file and to the handles that applications hold. Messages to
users and posts to groups are alike here, but for their command and their settling; a post is settled by its number and has no receipt.
Everything runs under the profile's lock; clocks and chance are handed in.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from myim_client.errors import BodyTooLarge, OutboxFull
from myim_client.events import (
    RECEIVED,
    STORED,
    UNKNOWN,
    DurableEvent,
    Event,
    GroupMessageArrived,
    Handle,
    MessageArrived,
    MessageExpired,
    MessageSettled,
    Outcome,
    OutcomeKind,
    ReceiptArrived,
)
from myim_client.profile import Account, Profile
from myim_client.receipts import Receipts
from myim_client.sending import Outgoing, Sending
from myim_wire.bodies import EXPIRED, REACHED, decode_error, decode_numbered_settling, decode_pairs, decode_settling
from myim_wire.bodies import RECEIVED as SETTLED_AS_RECEIVED
from myim_wire.messages import ERROR, FIRST, MAX_BODY_BYTES, QOS1, REPLY, Command, Message, encode_message, slot_of

MAX_UNSETTLED = 100_000
MAX_UNSETTLED_BYTES = 256 << 20


class Outbox:
    """One client's outgoing messages, over any number of sessions.

    `account` gives the present one, `tell` hands an event to the application.
    """

    def __init__(
        self, profile: Profile, account: Callable[[], Account], tell: Callable[[Event], None], has_settled_events: bool,
        now_us: Callable[[], int], chance: Callable[[], float],
    ) -> None:  # fmt: skip
        self.sending = Sending()
        self._profile = profile
        self._account = account
        self._tell = tell
        self._has_settled_events = has_settled_events
        self._now_us = now_us
        self._chance = chance
        self._handles: dict[int, Handle] = {}
        self._receipts = Receipts()
        for row in profile.outgoing():
            if row.is_awaiting_receipt:
                self._receipts.expect(row.time, row.target)
            else:
                self.sending.add(Outgoing(row.time, row.target, row.body, row.enqueued, was_sent=True, is_post=row.is_post))

    # the application's side; all within a transaction of the profile

    def check(self, target: int, body: bytes, is_post: bool = False) -> None:
        """Raise ValueError (no such target can be), BodyTooLarge or OutboxFull for what cannot be sent."""
        if not 0 < target < 1 << 64 or (target == self._account().user and not is_post):
            raise ValueError(f"{target} is not {'a group' if is_post else 'another user'}'s id")
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"a body of {len(body)} bytes; at most {MAX_BODY_BYTES} fit")
        if len(self.sending) >= MAX_UNSETTLED or self.sending.bytes_unsettled + len(body) > MAX_UNSETTLED_BYTES:
            raise OutboxFull(f"{len(self.sending)} messages are unsettled")

    def keep(self, target: int, body: bytes, is_post: bool = False) -> Handle:
        """Put a QoS 1 message into the file; it is sent once the present transaction is flushed."""
        now_us = self._now_us()
        time = self._profile.next_time(now_us, self._account().slot)
        self._profile.keep_outgoing(time, target, body, now_us, is_post)
        handle = Handle(target, time)
        self._profile.after_commit(functools.partial(self._take_up, Outgoing(time, target, body, now_us, is_post=is_post), handle))
        return handle

    def _take_up(self, item: Outgoing, handle: Handle) -> None:
        self._handles[item.time] = handle
        self.sending.add(item)

    def unkept(self, target: int, body: bytes, is_post: bool = False) -> tuple[Handle, bytes]:
        """A QoS 0 message, encoded; nobody ever says what became of it."""
        account = self._account()
        time = self._profile.next_time(self._now_us(), account.slot)
        message = encode_message(_command(is_post), 0, account.user, target, time, body)
        return Handle(target, time, UNKNOWN), message

    def keep_shown(self, events: Iterable[DurableEvent]) -> None:
        """The application has these outcomes and receipts: with the present transaction."""
        stored: list[int] = []
        finished: list[int] = []
        for event in events:
            if isinstance(event, MessageSettled) and event.outcome.kind is OutcomeKind.STORED and not event.is_post:
                stored.append(event.time)
            elif not isinstance(event, MessageArrived | GroupMessageArrived):
                finished.append(event.time)
        self._profile.keep_settled(stored, finished)

    def shown(self, event: ReceiptArrived) -> None:
        """The application has it, flushed."""
        self._receipts.shown(event)

    # the session's side

    def restart(self) -> None:
        """A new session: everything unsettled again, and receipts that were not answered are told again."""
        self.sending.restart()
        self._receipts.restart()

    def due(self, now: float) -> list[bytes]:
        """The messages to write now, encoded, in their order."""
        user = self._account().user
        out: list[bytes] = []
        for item, is_first in self.sending.take(now):
            flags = QOS1 | FIRST if is_first else QOS1
            out.append(encode_message(_command(item.is_post), flags, user, item.target, item.time, item.body))
        return out

    def answers(self) -> list[bytes]:
        """The answers to the notices whose receipts the application has."""
        user = self._account().user
        return [encode_message(Command.RECEIPT, QOS1 | REPLY, 0, user, notice) for notice in self._receipts.answerable()]

    def answered(self, message: Message, now: float) -> None:
        """The reply to a message or post: its settling, or a refusal."""
        if message.flags & ERROR:
            why = decode_error(message.content)
            item = self.sending.refused(message.time, why.code, why.retry_ms or 0, now, self._chance())
            self._settle(item, Outcome(OutcomeKind.REFUSED, why.code, why.text))
        elif message.command == Command.GROUP_MESSAGE:
            number = decode_numbered_settling(message.content)[1]
            self._settle(self.sending.settled(message.time), Outcome(OutcomeKind.STORED, number=number))
        else:
            is_received = decode_settling(message.content) == SETTLED_AS_RECEIVED
            self._settle(self.sending.settled(message.time), RECEIVED if is_received else STORED)

    def reach(self, message: Message) -> bool:
        """A receipt for messages settled as stored [P-7.3]; confirmed when all of it has been shown. False if it is none.

        Or that they expired, which is told and not confirmed.
        """
        kind, pairs = decode_pairs(message.content)
        if kind == EXPIRED:
            for target, time in pairs:
                if self._receipts.expired(time, target):
                    self._profile.keep_settled_later(time, False)
                    self._tell(MessageExpired(target, time))
            return True
        if kind != REACHED:
            return False
        for target, time in pairs:
            item = self.sending.get(time)
            if item is not None and item.target == target and not item.is_post:
                # Settled as stored, but the answer was lost with its session. Not as received: then nothing would wait for the
                # application, the notice would be answered, and a crash before the commit would lose the receipt for good.
                self._settle(self.sending.settled(time), STORED)
        for event in self._receipts.arrived(message.time, pairs):
            self._tell(event)
        return True

    def expire(self) -> None:
        """What was kept for 7 days: nobody knows what became of it."""
        for item in self.sending.expired(self._now_us()):
            self._settle(item, UNKNOWN)

    def drop_foreign(self) -> None:
        """After a login that gave another slot: a name carries its slot for life, and no center takes a foreign one [P-3.6]."""
        for item in self.sending.unsettled():
            if slot_of(item.time) != self._account().slot:
                self._settle(self.sending.settled(item.time), UNKNOWN)

    def _settle(self, item: Outgoing | None, outcome: Outcome) -> None:
        if item is None:
            return
        time, is_awaiting = item.time, outcome.kind is OutcomeKind.STORED and not item.is_post
        if handle := self._handles.pop(time, None):
            handle.settle(outcome)
        if is_awaiting:
            self._receipts.expect(time, item.target)
        if self._has_settled_events:
            self._tell(MessageSettled(item.target, time, outcome, item.is_post))
        else:
            self._profile.keep_settled_later(time, is_awaiting)


def _command(is_post: bool) -> Command:
    return Command.GROUP_MESSAGE if is_post else Command.USER_MESSAGE
