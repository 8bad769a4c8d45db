"""`Client`: what an application holds. Send, iterate events, share a transaction; everything else happens by itself.

Synchronous, and content with the standard library's sockets, threads and locks as they are: under gevent's monkey-patching they are
greenlets, and nothing here knows. One thread per connected client (`journey`); any thread may call anything here.

The application may keep its own tables in the profile's file (any name that does not begin with `myim_`) and change them in the same
transaction that marks events as done and puts messages into the outbox: after any crash all of it happened, or nothing.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from myim_client.account import OwnAccount
from myim_client.addresses import typed_number
from myim_client.courier import Courier
from myim_client.errors import ClientClosed, LoginNeeded, MyimError, NameUnknown, NotConnected, RequestRefused, WithinTransaction
from myim_client.events import Durable, DurableEvent, Event, Handle
from myim_client.friends import Friends
from myim_client.groups import Groups
from myim_client.inbox import Inbox
from myim_client.itinerary import Itinerary
from myim_client.journey import Journey
from myim_client.login import ask_servers, log_in_to
from myim_client.profile import Profile
from myim_client.questions import Question
from myim_client.terminal import Terminal, fold_name
from myim_client.transaction import Transaction, as_bytes
from myim_wire.contents import FoundUser, Operation, Server
from myim_wire.errors import ErrorCode, LocalProtocolError
from myim_wire.group_contents import GroupState

LOOKUP_SECONDS = 10.0
NAMES_SECONDS = 1.0
BATCH_EVENTS = 64


class _Waiting:
    """A send that waits for a commit, its own thread's or another's."""

    __slots__ = ("body", "error", "handle", "is_post", "to")

    def __init__(self, to: int, body: bytes, is_post: bool = False) -> None:
        self.to = to
        self.body = body
        self.is_post = is_post
        self.handle: Handle | None = None
        self.error: Exception | None = None


class Client:
    """One logged-in user on this terminal.

    `profile` is the path a login gave (`LoggedIn.path`). `servers` [(host, port), …], best first, replaces the list that login
    and centers give. `password` is called, in the client's thread, when only a password login helps; without it `PasswordNeeded` tells.
    `settled_events`: tell outcomes as durable `MessageSettled` events (else by handles alone).
    Raises LoginNeeded, ProfileRefused.
    """

    def __init__(
        self, terminal: Terminal, profile: str | Path, *, servers: Sequence[tuple[str, int]] | None = None,
        password: Callable[[], str] | None = None, settled_events: bool = False,
    ) -> None:  # fmt: skip
        self.terminal = terminal
        self.profile = Profile.open(profile)
        try:
            account = self.profile.account()
            if account.terminal_key != terminal.public_key:
                raise LoginNeeded("the profile was logged in on another terminal or machine")
            self.profile.purge_seen(_now_us())
            self.inbox = Inbox()
            self.courier = Courier(self.profile, self.inbox, settled_events, _now_us, random.random)
        except BaseException:
            self.profile.close()
            raise
        self._password = password
        self._waiting: list[_Waiting] = []
        self._transaction: Transaction | None = None  # the outermost, under the profile's lock
        self._is_closed = False
        fixed = None if servers is None else [Server(0, "center", *at, place, 0, False) for place, at in enumerate(servers)]
        self._journey = Journey(
            self.courier, terminal.private_key, Itinerary(account.servers if fixed is None else fixed, random.random), fixed is not None,
            self._log_in_again if password else None, lambda: ask_servers(terminal, account.login_server),
        )  # fmt: skip
        self._is_started = False
        self.account = OwnAccount(self.courier.ask, self._journey.flush, lambda: self.profile.is_within, self._change_password)
        self.friends = Friends(self.courier, self._journey.flush)
        self.presence, self.profile_of, self.set_profile = self.friends.presence, self.friends.profile_of, self.friends.set_profile
        self.groups = Groups(self.courier.ask_group, self._journey.flush, lambda: self.profile.is_within, self._known_groups)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def user(self) -> int:
        """The own user id."""
        return self.courier.account.user

    @property
    def name(self) -> str:
        """The own name, as the server keeps it."""
        return self.courier.account.name

    @property
    def is_online(self) -> bool:
        """Whether there is a session just now."""
        return self.courier.is_online

    @property
    def unsettled(self) -> int:
        """How many QoS 1 messages are not settled yet, sent or not."""
        return len(self.courier.outbox.sending)

    @property
    def resent(self) -> int:
        """How many times a message was sent again since this client was made."""
        return self.courier.outbox.sending.resent

    @property
    def repeats(self) -> int:
        """How many arrivals were repeats, confirmed but not shown."""
        return self.courier.arrivals.repeats + self.courier.groups.arrivals.repeats

    @property
    def dropped(self) -> int:
        """How many QoS 0 messages and copies were dropped because the application did not take its events."""
        return self.courier.arrivals.dropped + self.courier.groups.dropped

    def connect(self, timeout: float | None = 30.0) -> None:
        """Begin to be connected, and wait at most `timeout` seconds (None: for ever, 0: not at all) for the first session.

        Raises NotConnected when there is none in time (it goes on trying), ClientClosed when there never will be.
        """
        self._check_open()
        if not self._is_started:
            self._is_started = True
            self._journey.start()
        if timeout != 0:
            online = self._journey.wait_online(timeout)
            if self._journey.is_over:
                raise ClientClosed(self._journey.last_failure)
            if not online:
                raise NotConnected(self._journey.last_failure)

    def close(self) -> None:
        """Send what is due, say GOODBYE, keep everything, let go of the file. A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._is_started:
            self._journey.stop()
        self.inbox.close()
        self.profile.close()

    def send(self, to: int | str, body: bytes | str, qos: int = 1) -> Handle:
        """Send `body` (≤ 32,768 bytes, or text) to a user id or name. Returns once it is kept, flushed, in the outbox.

        QoS 0 is not kept: it is written if there is a session, else dropped; its outcome is UNKNOWN at once.
        Raises ValueError, BodyTooLarge, OutboxFull, NameUnknown, NotConnected (a name not known yet), ProfileRefused, ClientClosed, and
        WithinTransaction inside `transaction`: what returns flushed cannot wait there for its flush; `Transaction.send` does not.
        """
        self._check_open()
        return self._send(_Waiting(self.user_id(to) if isinstance(to, str) else to, as_bytes(body)), qos)

    def post(self, group: int, body: bytes | str, qos: int = 1) -> Handle:
        """Send `body` (≤ 32,768 bytes, or text) to all members of a group (id). Returns once it is kept, flushed, in the outbox.

        Its outcome is STORED with its `number` in the group. QoS 0 is given to who is online, as `send` does it. Raises as `send`.
        """
        self._check_open()
        return self._send(_Waiting(group, as_bytes(body), is_post=True), qos)

    def _send(self, item: _Waiting, qos: int) -> Handle:
        self.courier.outbox.check(item.to, item.body, item.is_post)
        if qos == 0:
            handle = self.courier.send_unkept(item.to, item.body, item.is_post)
            self._journey.flush()
            return handle
        return self._keep([item])[0]

    def send_many(self, messages: Iterable[tuple[int | str, bytes | str]]) -> list[Handle]:
        """Send many QoS 1 messages with one flush of the file; as `send`, all or none."""
        self._check_open()
        waiting = [_Waiting(self.user_id(to) if isinstance(to, str) else to, as_bytes(body)) for to, body in messages]
        for item in waiting:
            self.courier.outbox.check(item.to, item.body)
        return self._keep(waiting)

    def _keep(self, mine: list[_Waiting]) -> list[Handle]:
        """Commit `mine`, together with what other threads want to send at the same time: one flush serves all who wait."""
        if not mine:
            return []
        if self.profile.is_within:
            # it would draw other threads' messages into a transaction that may be rolled back
            raise WithinTransaction("send within a transaction by its own `send`")
        self._waiting.extend(mine)
        time.sleep(0)  # lets others that are ready to send come along; under gevent nobody could otherwise
        with self.profile.lock:
            if mine[-1].handle is None and mine[-1].error is None:
                batch, self._waiting = self._waiting, []
                self._commit(batch)
        self._journey.flush()
        for item in mine:
            if item.error is not None:
                raise item.error
        return [item.handle for item in mine if item.handle is not None]

    def _commit(self, batch: list[_Waiting]) -> None:
        try:
            with self.profile.transaction():
                handles = [self.courier.outbox.keep(item.to, item.body, item.is_post) for item in batch]
        except Exception as error:
            for item in batch:
                item.error = error
            return
        for item, handle in zip(batch, handles, strict=True):
            item.handle = handle

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction on the profile's file, flushed at the end of the block; receipts and messages go out only after that.

        If the block raises, nothing of it happened, and the events it was done with are handed out again, before all others. Inside
        another transaction of the same thread (`event.done()` there too) it joins that one and shares its end.
        Keep it short: nothing is received meanwhile. Raises ProfileRefused when the file cannot keep it.
        """
        self._check_open()
        transaction = Transaction(self.profile, self.courier.outbox)
        outermost: Transaction | None = None
        try:
            with self.profile.transaction():
                outermost = self._transaction
                if outermost is None:
                    with self._as_outermost(transaction):
                        yield transaction
                else:
                    yield transaction
                    outermost.events += transaction.events
        except BaseException:
            if outermost is not None:
                outermost.undone += transaction.events
            raise
        finally:
            if outermost is None:
                self.inbox.put_back(event for event in transaction.events + transaction.undone if not event.is_done)
        if outermost is None:
            self._journey.flush()

    @contextlib.contextmanager
    def _as_outermost(self, transaction: Transaction) -> Iterator[None]:
        self._transaction = transaction
        try:
            yield
            self.courier.show(transaction.events)
        finally:
            self._transaction = None

    def take(self, timeout: float | None = None, limit: int = BATCH_EVENTS, linger: float = 0.0) -> list[Event]:
        """Up to `limit` events that wait, [] after `timeout` seconds without any (None: wait for one, or for the end).

        With `linger` it waits so many seconds more for others to come along: a flush of the file costs more than many messages, and a
        receipt has seconds of time. They belong to the caller now: `Transaction.done` them, several at a time, or `done()` each.
        """
        events = self.inbox.take(timeout, limit, linger)
        for event in events:
            if isinstance(event, Durable):
                event.confirm = self._done
        return events

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Iterate events until none came for `timeout` seconds (None: until the client is closed).

        Asking for the next event says that the application is done with the one before; this is kept once per batch of waiting
        events. Leave the loop early and the last event comes again, unless `done()` was called. Exactly once through crashes needs
        `take` and `transaction`, because only then the showing itself is part of the commit.
        """
        while events := self.take(timeout):
            shown = 0
            try:
                for event in events:
                    yield event
                    shown += 1
            finally:
                self.inbox.put_back(event for event in events[shown:] if not (isinstance(event, Durable) and event.is_done))
                if any(isinstance(event, Durable) and not event.is_done for event in events[:shown]):
                    with self.transaction() as transaction:
                        transaction.done(*events[:shown])

    def user_id(self, name: str) -> int:
        """The id of a user's name, from the file or by asking the center; "@ID" is the id itself.

        Raises NameUnknown, NotConnected, RequestRefused, and ValueError for an ID that no user can have.
        """
        if name.startswith("@") and name[1:].isascii() and name[1:].isdigit():
            user = typed_number(name[1:], below=1 << 64)
            if not user:
                raise ValueError(f"{name} is not another user's id")
            return user
        folded = fold_name(name)
        for user, known in list(self.courier.names.items()):
            if fold_name(known) == folded:
                return user
        return self._look_up(name).user

    def name_of(self, user: int) -> str:
        """The name of a user by id, from the file or by asking the center (waits up to 10 s); "" when it cannot be learned now."""
        self.learn_names([user], LOOKUP_SECONDS)
        return self.courier.names.get(user, "")

    def learn_names(self, users: Iterable[int], seconds: float = NAMES_SECONDS) -> None:
        """Ask the center for the names that are not known here, all at once, and wait at most `seconds` for all of them together.

        Little by default, since a sender waits 4 s for the receipt of what is shown with these names; later answers are kept too.
        """
        end = time.monotonic() + seconds
        with contextlib.suppress(MyimError):
            questions = [self._ask_for(user) for user in dict.fromkeys(users) if user not in self.courier.names]
            self._journey.flush()
            for question in questions:
                with contextlib.suppress(RequestRefused):
                    question.wait(max(0.0, end - time.monotonic()))

    def _look_up(self, name: str) -> FoundUser:
        try:
            question = self._ask_for(name)
        except LocalProtocolError:  # too long, or no text that could be sent
            raise NameUnknown("no user can have such a name") from None
        self._journey.flush()
        try:
            return question.wait_for(FoundUser.decode, LOOKUP_SECONDS)
        except RequestRefused as error:
            if error.code == ErrorCode.NOT_ALLOWED:
                raise NameUnknown(f"there is no user {name!r}") from None
            raise

    def _ask_for(self, who: str | int) -> Question:
        if self.profile.is_within:
            raise WithinTransaction("nothing is received within a transaction: look names up before it")
        return self.courier.look_up(who)

    def names(self) -> dict[int, str]:
        """The names known here, by user id."""
        with self.profile.lock:
            return dict(self.courier.names)

    def _known_groups(self) -> list[GroupState]:
        with self.profile.lock:
            return self.courier.groups.known()

    def _done(self, event: DurableEvent) -> None:
        with self.transaction() as transaction:
            transaction.done(event)

    def _log_in_again(self) -> None:
        assert self._password is not None
        try:
            password = self._password()
        except Exception as error:  # the application's: it must not end the client's thread
            raise LoginNeeded(f"the application gives no password: {type(error).__name__}") from error
        self._log_in_as("login", password)

    def _change_password(self, old: str, new: str) -> None:
        with self._journey.logging_in:  # the session ends before the new token is here
            self._log_in_as("password", old, new)

    def _log_in_as(self, op: Operation, password: str, new_password: str = "") -> None:
        account = self.courier.account
        log_in_to(self.profile, self.terminal, account.login_server, op, account.name, password, new_password=new_password)
        self.courier.take_account()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClientClosed("the client is closed")


def _now_us() -> int:
    return time.time_ns() // 1000
