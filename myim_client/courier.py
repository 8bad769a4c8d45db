"""What a message from the center means, and which messages go to it next: one client's duties of [P-8], without a socket or a thread.

The courier joins `outbox`, `arrivals`, `group_courier` and `friend_courier`, the `inbox` and the `profile`. It takes decoded messages
and gives encoded ones; who reads, seals and writes is `link` and `journey`. Everything here runs under the profile's lock. Clocks and
chance are handed in.

Order of durability: a message is in the file before it is sent; a name is in the seen-set, flushed together with the application's
own data, before it is confirmed. What a crash may undo without harm (a settling, a cached name) waits for the next commit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from myim_client.arrivals import Arrivals
from myim_client.errors import NotConnected
from myim_client.events import (
    Connected,
    DurableEvent,
    Event,
    Handle,
    MessageArrived,
    NewTerminal,
    OfflineDone,
    PasswordNeeded,
    ReceiptArrived,
)
from myim_client.friend_courier import Asked, FriendCourier
from myim_client.group_arrivals import Move
from myim_client.group_courier import GroupCourier
from myim_client.inbox import Inbox
from myim_client.outbox import Outbox
from myim_client.profile import DAY_US, Profile
from myim_client.questions import Answer, Question, Questions
from myim_client.renewal import Renewal
from myim_wire.account_contents import decode_account_push
from myim_wire.bodies import decode_count, decode_error
from myim_wire.contents import FoundUser, RenewedToken, Server, decode_servers, encode_lookup
from myim_wire.errors import RemoteProtocolError
from myim_wire.group_requests import GroupRequest
from myim_wire.messages import ERROR, PING_ANSWER, PING_ASK, QOS1, REPLY, Command, Message, encode_message
from myim_wire.presence_contents import SetPresence

PING_AFTER_SECONDS = 40.0
DEAD_AFTER_SECONDS = 15.0
HOUSEKEEPING_SECONDS = 60.0
KEEP_LATER_SECONDS = 2.0
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
        self.arrivals = Arrivals(profile, inbox)
        self.is_online = False
        self.is_closing = False
        self._ignored = 0
        self._now_us = now_us
        self._control: list[bytes] = []
        self._questions = Questions()
        self._arrived: list[Event] = []
        self._heard_at = self._housekept_at = self._kept_later_at = 0.0
        self._is_pinged = False
        self._purged_us = now_us()
        self._renewal = Renewal()
        self.names = profile.names()
        self.account = profile.account()
        self.outbox = Outbox(profile, lambda: self.account, self._tell, has_settled_events, now_us, chance)
        self.groups = GroupCourier(profile, inbox, self._ask, self._tell, self._note, chance)
        self.friends = FriendCourier(profile, self._ask, self._note, self.learn, chance)
        self.take_account()

    @property
    def ignored(self) -> int:
        """How many messages meant nothing here: replies to nothing, what a later release may send."""
        return self._ignored + self.groups.ignored + self.friends.ignored

    def take_account(self) -> None:
        """Take up the account from the file, after a password login; the outbox is what memory says."""
        with self.profile.lock:
            self.account = self.profile.account()
            self.outbox.drop_foreign()
            self._deliver()

    # the application's side; all within a transaction of the profile

    def send_unkept(self, target: int, body: bytes, is_post: bool = False) -> Handle:
        """Send a QoS 0 message if there is a session, else drop it."""
        with self.profile.lock:
            handle, message = self.outbox.unkept(target, body, is_post)
            if self.is_online:
                self._control.append(message)
            return handle

    def show(self, events: Iterable[DurableEvent]) -> None:
        """Put what the application has done into the file; it is confirmed once the present transaction is flushed."""
        shown = list(dict.fromkeys(event for event in events if not event.is_done))
        self.profile.keep_seen([(event.user, event.time) for event in shown if isinstance(event, MessageArrived)], self._now_us())
        self.outbox.keep_shown(shown)
        moves = self.groups.keep_shown(shown)
        self.profile.after_commit(functools.partial(self._confirm, shown, moves))

    def _confirm(self, events: list[DurableEvent], moves: Sequence[Move]) -> None:
        self.groups.shown(moves)
        for event in events:
            event.is_done = True
            if isinstance(event, MessageArrived):
                self.arrivals.shown(event, self.is_online)
            elif isinstance(event, ReceiptArrived):
                self.outbox.shown(event)

    # the session's side

    def begin(self, server: str, now: float) -> None:
        """A session is open: fetch what is stored, then everything unsettled again [P-7.5], [P-8.2]."""
        with self.profile.lock:
            self._control.clear()
            self.outbox.restart()
            self.arrivals.restart()
            self.groups.restart(now)
            self._heard_at = now
            self._is_pinged = False
            self.is_online = True
            self.friends.restart(now)
            self._ask(Command.OFFLINE_FETCH, 0, b"", self._fetched)
            # in one record: who is invisible must not be seen between how it is to be seen and the fetch, which makes it seen [P-7.10]
            self._control = [b"".join(self._control)]
            self._ask(Command.SERVERS, 0, b"", self._listed)
            self._note(Connected(server))

    def end(self, reason: str) -> None:
        """The session is over: requests fail, messages wait for the next one."""
        with self.profile.lock:
            self.is_online = False
            self._questions.drop(reason)
            self.friends.ended()
            self._deliver()

    def look_up(self, who: str | int) -> Question:
        """Ask for a user by name or id [P-7.13]; the answer is kept whether or not somebody still waits for it. Raises NotConnected."""
        with self.profile.lock:
            self._check_online()
            question = Question()

            def answer(content: bytes, error: Exception | None) -> None:
                if error is None:
                    found = FoundUser.decode(content)
                    self.learn(found.user, found.name)
                question.answer(content, error)

            self._ask(Command.LOOKUP, 0, encode_lookup(who), answer)
            return question

    def learn(self, user: int, name: str) -> None:
        """This user is called so."""
        self.names[user] = name
        self.profile.keep_name(user, name)

    def ask(self, command: Command, content: bytes) -> Question:
        """Ask something that has no target; nothing but the reply follows from it. Raises NotConnected."""
        with self.profile.lock:
            self._check_online()
            question = Question()
            self._ask(command, 0, content, question.answer)
            return question

    def ask_friends(self, command: Command, asked: Asked) -> Question:
        """Ask something about friends or profiles [P-7.15], [P-7.16]. Raises NotConnected."""
        with self.profile.lock:
            self._check_online()
            return self.friends.request(command, asked)

    def set_presence(self, presence: SetPresence) -> Question | None:
        """How this terminal is to be seen from now on; None: no session just now, the next one begins so."""
        with self.profile.lock:
            self.friends.keep_presence(presence)
            return self.friends.show_presence() if self.is_online else None

    def ask_group(self, group: int, asked: GroupRequest) -> Question:
        """Ask something of a group [P-7.7]. Raises NotConnected."""
        with self.profile.lock:
            self._check_online()
            return self.groups.request(group, asked)

    def _check_online(self) -> None:
        if not self.is_online:
            raise NotConnected("there is no session just now")

    def due(self, now: float) -> list[bytes]:
        """The messages to write now, encoded, in their order."""
        with self.profile.lock:
            if not self.is_online:
                return []
            self.groups.ask_due(now)
            self.friends.ask_due(now)
            out, self._control = self._control, []
            user = self.account.user
            out += self.outbox.answers()
            out += self.arrivals.due(user)
            out += self.groups.confirmations(user, now, self.is_closing)
            out += self.outbox.due(now)
            return out

    def receive(self, messages: Iterable[Message], now: float) -> None:
        """Act on what came in one turn. Raises SessionEnded, and RemoteProtocolError for contents no center may send."""
        with self.profile.lock:
            self._heard_at = now
            self._is_pinged = False
            self.friends.at(now)
            try:
                for message in messages:
                    if message.command == Command.USER_MESSAGE:
                        if message.flags & REPLY:
                            self.outbox.answered(message, now)
                        else:
                            event = self.arrivals.arrived(message, self.account.user, self.names)
                            if event is not None:
                                self._arrived.append(event)
                    else:
                        self._receive_other(message, now)
            finally:
                self._deliver()

    def tick(self, now: float) -> None:
        """Do what is due by time alone. Raises SessionEnded when the center is silent or owes an answer for too long [P-8.6]."""
        with self.profile.lock:
            if self.outbox.sending.is_overdue(now):
                raise SessionEnded(0, "a message was not answered in time")
            if self.groups.arrivals.is_stalled(now):
                raise SessionEnded(0, "a group's messages do not come")
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
                self.outbox.expire()
                self._deliver()
                if self._now_us() - self._purged_us >= DAY_US:
                    self._purged_us = self._now_us()
                    self.profile.purge_seen(self._purged_us)

    def deadline(self, now: float) -> float:
        """When (monotonic seconds) `tick` or `due` may have something to do without anything having come."""
        with self.profile.lock:
            times = [self._heard_at + PING_AFTER_SECONDS + (DEAD_AFTER_SECONDS if self._is_pinged else 0), now + KEEP_LATER_SECONDS]
            parts = (self.outbox.sending, self.groups, self.friends)
            times += [at for at in (part.deadline(now) for part in parts) if at is not None]
            return min(times)

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

    def _receive_other(self, message: Message, now: float) -> None:
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
            if command == Command.GROUP_MESSAGE:
                self.outbox.answered(message, now)
            else:
                self._ignored += not self._questions.replied(message)
        elif command == Command.GROUP_MESSAGE:
            self.groups.arrived(message, self.account.user, now)
        elif command == Command.GROUP:
            self.groups.pushed(message, self.account.user, now)
        elif command == Command.RECEIPT:
            self._ignored += not self.outbox.reach(message)
        elif command == Command.SERVERS:
            self._listed(message.content, None)
        elif command == Command.FRIEND_CHANGE:
            self.friends.pushed(message.content)
        elif command == Command.PRESENCE:
            self.friends.presence_pushed(message.content)
        elif command == Command.ACCOUNT:
            self._account_pushed(message.content)
        else:
            self._ignored += 1

    def _ask(self, command: Command, target: int, content: bytes, answer: Answer) -> None:
        time = self.profile.next_time(self._now_us(), self.account.slot)
        message = encode_message(command, QOS1, self.account.user, target, time, content)
        self._questions.ask(time, answer)
        self._control.append(message)

    def _fetched(self, content: bytes, error: Exception | None) -> None:
        if isinstance(error, NotConnected):
            return
        if error is not None:
            raise SessionEnded(0, f"the center does not hand over what it stored: {error}")
        self._arrived.append(OfflineDone(decode_count(content)))

    def _listed(self, content: bytes, error: Exception | None) -> None:
        if error is None:
            self.take_servers(tuple(decode_servers(content)))

    def _account_pushed(self, content: bytes) -> None:
        try:
            new = decode_account_push(content)
        except RemoteProtocolError as error:
            if error.field != "event":
                raise
            self._ignored += 1
            return
        self._note(NewTerminal(new.slot, new.name, new.address, new.time))

    def _renew(self, now: float) -> None:
        if self._renewal.is_due(self.account.renew_at, self._now_us(), now):
            self._ask(Command.TOKEN, 0, b"", self._renewed)

    def _renewed(self, content: bytes, error: Exception | None) -> None:
        if error is None:
            self.account = self.account.renewed(RenewedToken.decode(content), self._now_us())
            self.profile.keep_token(self.account)
        elif why := self._renewal.failed(error, self._heard_at):
            self._note(PasswordNeeded(why))

    def _tell(self, event: Event) -> None:
        self._arrived.append(event)

    def _note(self, event: Event) -> None:
        if len(self.inbox) < MAX_IDLE_EVENTS:
            self._arrived.append(event)

    def _deliver(self) -> None:
        if self._arrived:
            arrived, self._arrived = self._arrived, []
            self.inbox.put(arrived)
