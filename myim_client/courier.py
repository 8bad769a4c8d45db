"""What a message from the center means, and which messages go to it next: one client's duties of [P-8], without a socket or a thread.

The courier joins `sending` and `arrivals`, the `inbox` and the `profile`. It takes decoded messages and gives encoded ones; who reads,
seals and writes is `link` and `journey`. Everything here runs under the profile's lock. Clocks and chance are handed in.

Order of durability: a message is in the file before it is sent; a name is in the seen-set, flushed together with the application's
own data, before it is confirmed. What a crash may undo without harm (a settling, a cached name) waits for the next commit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import replace

from myim_client.arrivals import Arrivals
from myim_client.errors import BodyTooLarge, NotConnected, OutboxFull
from myim_client.events import (
    RECEIVED,
    STORED,
    UNKNOWN,
    Connected,
    DurableEvent,
    Event,
    Handle,
    MessageArrived,
    MessageSettled,
    OfflineDone,
    Outcome,
    OutcomeKind,
    PasswordNeeded,
    ReceiptArrived,
)  # fmt: skip
from myim_client.inbox import Inbox
from myim_client.profile import DAY_US, Profile
from myim_client.questions import Answer, Question, Questions
from myim_client.receipts import Receipts
from myim_client.renewal import Renewal
from myim_client.sending import Outgoing, Sending
from myim_wire.bodies import (
    REACHED,
    decode_count,
    decode_error,
    decode_pairs,
    decode_settling,
)  # fmt: skip
from myim_wire.bodies import RECEIVED as SETTLED_AS_RECEIVED
from myim_wire.contents import FoundUser, RenewedToken, Server, decode_servers, encode_lookup
from myim_wire.messages import ERROR, FIRST, MAX_BODY_BYTES, PING_ANSWER, PING_ASK, QOS1, REPLY, Command, Message, encode_message, slot_of

PING_AFTER_SECONDS = 40.0
DEAD_AFTER_SECONDS = 15.0
HOUSEKEEPING_SECONDS = 60.0
KEEP_LATER_SECONDS = 2.0
MAX_UNSETTLED = 100_000
MAX_UNSETTLED_BYTES = 256 << 20
MAX_IDLE_EVENTS = 10_000


class SessionEnded(Exception):
    """The session is over: the center said GOODBYE with `code` [P-9], or (code 0) it has to be given up."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Courier:
    """One client's messages, both ways, over any number of sessions."""

    def __init__(
        self, profile: Profile, inbox: Inbox, has_settled_events: bool, now_us: Callable[[], int], chance: Callable[[], float]
    ) -> None:
        self.profile = profile
        self.inbox = inbox
        self.sending = Sending()
        self.arrivals = Arrivals(profile, inbox)
        self.ignored = 0
        self.is_online = False
        self._has_settled_events = has_settled_events
        self._now_us = now_us
        self._chance = chance
        self._handles: dict[int, Handle] = {}
        self._receipts = Receipts()
        self._control: list[bytes] = []
        self._questions = Questions()
        self._arrived: list[Event] = []
        self._heard_at = self._housekept_at = self._kept_later_at = 0.0
        self._is_pinged = False
        self._purged_us = now_us()
        self._renewal = Renewal()
        self.names = profile.names()
        self.account = profile.account()
        for row in profile.outgoing():
            if row.is_awaiting_receipt:
                self._receipts.expect(row.time, row.target)
            else:
                self.sending.add(Outgoing(row.time, row.target, row.body, row.enqueued, was_sent=True))
        self.take_account()

    def take_account(self) -> None:
        """Take up the account from the file, after a password login; the outbox is what memory says."""
        with self.profile.lock:
            self.account = self.profile.account()
            for item in self.sending.unsettled():
                if slot_of(item.time) != self.account.slot:
                    # a name carries its slot for life, and no center takes a foreign one [P-3.6]
                    self._settle(self.sending.settled(item.time), UNKNOWN)
            self._deliver()

    # the application's side; all within a transaction of the profile

    def check(self, target: int, body: bytes) -> None:
        """Raise ValueError (no such target can be), BodyTooLarge or OutboxFull for what cannot be sent."""
        if not 0 < target < 1 << 64 or target == self.account.user:
            raise ValueError(f"{target} is not another user's id")
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"a body of {len(body)} bytes; at most {MAX_BODY_BYTES} fit")
        if len(self.sending) >= MAX_UNSETTLED or self.sending.bytes_unsettled + len(body) > MAX_UNSETTLED_BYTES:
            raise OutboxFull(f"{len(self.sending)} messages are unsettled")

    def keep(self, target: int, body: bytes) -> Handle:
        """Put a QoS 1 message into the file; it is sent once the present transaction is flushed."""
        now_us = self._now_us()
        time = self.profile.next_time(now_us, self.account.slot)
        self.profile.keep_outgoing(time, target, body, now_us)
        handle = Handle(target, time)
        self.profile.after_commit(functools.partial(self._take_up, Outgoing(time, target, body, now_us), handle))
        return handle

    def _take_up(self, item: Outgoing, handle: Handle) -> None:
        self._handles[item.time] = handle
        self.sending.add(item)

    def send_unkept(self, target: int, body: bytes) -> Handle:
        """Send a QoS 0 message if there is a session, else drop it; nobody ever says what became of it."""
        with self.profile.lock:
            time = self.profile.next_time(self._now_us(), self.account.slot)
            if self.is_online:
                self._control.append(encode_message(Command.USER_MESSAGE, 0, self.account.user, target, time, body))
        return Handle(target, time, UNKNOWN)

    def show(self, events: Iterable[DurableEvent]) -> None:
        """Put what the application has done into the file; it is confirmed once the present transaction is flushed."""
        shown = list(dict.fromkeys(event for event in events if not event.is_done))
        self.profile.keep_seen([(event.user, event.time) for event in shown if isinstance(event, MessageArrived)], self._now_us())
        stored: list[int] = []
        finished: list[int] = []
        for event in shown:
            if isinstance(event, MessageSettled) and event.outcome.kind is OutcomeKind.STORED:
                stored.append(event.time)
            elif not isinstance(event, MessageArrived):
                finished.append(event.time)
        self.profile.keep_settled(stored, finished)
        self.profile.after_commit(functools.partial(self._confirm, shown))

    def _confirm(self, events: list[DurableEvent]) -> None:
        for event in events:
            event.is_done = True
            if isinstance(event, MessageArrived):
                self.arrivals.shown(event, self.is_online)
            elif isinstance(event, ReceiptArrived):
                self._receipts.shown(event)

    # the session's side

    def begin(self, server: str, now: float) -> None:
        """A session is open: fetch what is stored, then everything unsettled again [P-7.5], [P-8.2]."""
        with self.profile.lock:
            self.sending.restart()
            self._control.clear()
            self.arrivals.restart()
            self._receipts.restart()
            self._heard_at = now
            self._is_pinged = False
            self.is_online = True
            self._ask(Command.OFFLINE_FETCH, b"", self._fetched)
            self._ask(Command.SERVERS, b"", self._listed)
            self._note(Connected(server))

    def end(self, reason: str) -> None:
        """The session is over: requests fail, messages wait for the next one."""
        with self.profile.lock:
            self.is_online = False
            self._questions.drop(reason)
            self._deliver()

    def look_up(self, who: str | int) -> Question:
        """Ask for a user by name or id [P-7.13]; the answer is kept whether or not somebody still waits for it. Raises NotConnected."""
        with self.profile.lock:
            if not self.is_online:
                raise NotConnected("there is no session just now")
            question = Question()

            def answer(content: bytes, error: Exception | None) -> None:
                if error is None:
                    found = FoundUser.decode(content)
                    self.names[found.user] = found.name
                    self.profile.keep_name(found.user, found.name)
                question.answer(content, error)

            self._ask(Command.LOOKUP, encode_lookup(who), answer)
            return question

    def due(self, now: float) -> list[bytes]:
        """The messages to write now, encoded, in their order."""
        with self.profile.lock:
            if not self.is_online:
                return []
            out, self._control = self._control, []
            user = self.account.user
            for notice in self._receipts.answerable():
                out.append(encode_message(Command.RECEIPT, QOS1 | REPLY, 0, user, notice))
            out += self.arrivals.due(user)
            for item, is_first in self.sending.take(now):
                flags = QOS1 | FIRST if is_first else QOS1
                out.append(encode_message(Command.USER_MESSAGE, flags, user, item.target, item.time, item.body))
            return out

    def receive(self, messages: Iterable[Message], now: float) -> None:
        """Act on what came in one turn. Raises SessionEnded, and RemoteProtocolError for contents no center may send."""
        with self.profile.lock:
            self._heard_at = now
            self._is_pinged = False
            try:
                for message in messages:
                    if message.command == Command.USER_MESSAGE:
                        if message.flags & REPLY:
                            self._answered(message, now)
                        else:
                            event = self.arrivals.arrived(message, self.account.user, self.names)
                            if event is not None:
                                self._arrived.append(event)
                    else:
                        self._receive_other(message)
            finally:
                self._deliver()

    def tick(self, now: float) -> None:
        """Do what is due by time alone. Raises SessionEnded when the center is silent or owes an answer for too long [P-8.6]."""
        with self.profile.lock:
            if self.sending.is_overdue(now):
                raise SessionEnded(0, "a message was not answered in time")
            silent = now - self._heard_at
            if silent >= PING_AFTER_SECONDS + DEAD_AFTER_SECONDS:
                raise SessionEnded(0, "the center is silent")
            if silent >= PING_AFTER_SECONDS and not self._is_pinged:
                self._is_pinged = True
                self._control.append(PING_ASK)
            self._renew(now)
            self.keep_house(now)

    def keep_house(self, now: float) -> None:
        """Report what is unsettled for too long, and commit what was put off for long; online or not."""
        with self.profile.lock:
            if now - self._kept_later_at >= KEEP_LATER_SECONDS:
                self._kept_later_at = now
                self.profile.keep_later()
            if now - self._housekept_at >= HOUSEKEEPING_SECONDS:
                self._housekept_at = now
                for item in self.sending.expired(self._now_us()):
                    self._settle(item, UNKNOWN)
                self._deliver()
                if self._now_us() - self._purged_us >= DAY_US:
                    self._purged_us = self._now_us()
                    self.profile.purge_seen(self._purged_us)

    def deadline(self, now: float) -> float:
        """When (monotonic seconds) `tick` or `due` may have something to do without anything having come."""
        with self.profile.lock:
            times = [self._heard_at + PING_AFTER_SECONDS + (DEAD_AFTER_SECONDS if self._is_pinged else 0), now + KEEP_LATER_SECONDS]
            sending = self.sending.deadline(now)
            return min(times if sending is None else [*times, sending])

    def take_servers(self, servers: tuple[Server, ...]) -> None:
        """A new server list; an empty one is ignored."""
        with self.profile.lock:
            if servers and servers != self.account.servers:
                self.account = replace(self.account, servers=servers)
                self.profile.keep_servers(servers)

    def note(self, event: Event) -> None:
        """Tell the application something that is not durable."""
        with self.profile.lock:
            self._note(event)
            self._deliver()

    # one kind of message each

    def _receive_other(self, message: Message) -> None:
        command, flags = message.command, message.flags
        if command == Command.PING:
            if flags & QOS1:
                self._control.append(PING_ANSWER)
        elif command == Command.GOODBYE:
            if flags & ERROR:
                error = decode_error(message.content)
                raise SessionEnded(error.code, error.text)
            raise SessionEnded(0, "the session was closed")
        elif flags & REPLY:
            self.ignored += not self._questions.replied(message)
        elif command == Command.RECEIPT:
            self._reach(message)
        elif command == Command.SERVERS:
            self._listed(message.content, None)
        else:
            self.ignored += 1

    def _answered(self, message: Message, now: float) -> None:
        if message.flags & ERROR:
            why = decode_error(message.content)
            item = self.sending.refused(message.time, why.code, why.retry_ms or 0, now, self._chance())
            self._settle(item, Outcome(OutcomeKind.REFUSED, why.code, why.text))
        else:
            is_received = decode_settling(message.content) == SETTLED_AS_RECEIVED
            self._settle(self.sending.settled(message.time), RECEIVED if is_received else STORED)

    def _settle(self, item: Outgoing | None, outcome: Outcome) -> None:
        if item is None:
            return
        time, is_stored = item.time, outcome.kind is OutcomeKind.STORED
        if handle := self._handles.pop(time, None):
            handle.settle(outcome)
        if is_stored:
            self._receipts.expect(time, item.target)
        if self._has_settled_events:
            self._arrived.append(MessageSettled(item.target, time, outcome))
        else:
            self.profile.keep_settled_later(time, is_stored)

    def _reach(self, message: Message) -> None:
        """A receipt for messages settled as stored [P-7.3]; confirmed when all of it has been shown."""
        kind, pairs = decode_pairs(message.content)
        if kind != REACHED:
            self.ignored += 1
            return
        for target, time in pairs:
            item = self.sending.get(time)
            if item is not None and item.target == target:
                # Settled as stored, but the answer was lost with its session. Not as received: then nothing would wait for the
                # application, the notice would be answered, and a crash before the commit would lose the receipt for good.
                self._settle(self.sending.settled(time), STORED)
        self._arrived += self._receipts.arrived(message.time, pairs)

    def _ask(self, command: Command, content: bytes, answer: Answer) -> None:
        time = self.profile.next_time(self._now_us(), self.account.slot)
        self._questions.ask(time, answer)
        self._control.append(encode_message(command, QOS1, self.account.user, 0, time, content))

    def _fetched(self, content: bytes, error: Exception | None) -> None:
        if isinstance(error, NotConnected):
            return
        if error is not None:
            raise SessionEnded(0, f"the center does not hand over what it stored: {error}")
        self._arrived.append(OfflineDone(decode_count(content)))

    def _listed(self, content: bytes, error: Exception | None) -> None:
        if error is None:
            self.take_servers(tuple(decode_servers(content)))

    def _renew(self, now: float) -> None:
        if self._renewal.is_due(self.account.renew_at, self._now_us(), now):
            self._ask(Command.TOKEN, b"", self._renewed)

    def _renewed(self, content: bytes, error: Exception | None) -> None:
        if error is None:
            self.account = self.account.renewed(RenewedToken.decode(content), self._now_us())
            self.profile.keep_token(self.account)
        elif why := self._renewal.failed(error, self._heard_at):
            self._note(PasswordNeeded(why))

    def _note(self, event: Event) -> None:
        if len(self.inbox) < MAX_IDLE_EVENTS:
            self._arrived.append(event)

    def _deliver(self) -> None:
        if self._arrived:
            arrived, self._arrived = self._arrived, []
            self.inbox.put(arrived)
