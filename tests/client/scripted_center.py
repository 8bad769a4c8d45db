"""A center that does what a test says: a real socket, the wire's own center end, no rules of its own.

It accepts any token it was told of, answers OFFLINE_FETCH and SERVERS unless the test takes that over, tells the memberships and the
requests it was given, and keeps all else for the test to answer. Each session has its own thread.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from myim_client.profile import Account, Profile
from myim_client.terminal import Terminal
from myim_wire.bodies import EXPIRED, REACHED, encode_count, encode_error_content, encode_numbered_settling, encode_pairs, encode_trailer
from myim_wire.connection import Connection, State
from myim_wire.contents import Server, decode_lookup, encode_servers
from myim_wire.errors import ErrorCode, ProtocolError
from myim_wire.flights import encode_error_flight
from myim_wire.friend_contents import FriendChanged, FriendEvent, RequestPage
from myim_wire.friend_requests import (
    FriendChangeRequest,
    FriendRequest,
    ListRequests,
    ProfileRequest,
    decode_friend_change_request,
    decode_friend_request,
    decode_profile_request,
)
from myim_wire.group_contents import Event, GroupBehind, GroupChanged, GroupFetched, GroupsTold, Standing
from myim_wire.group_requests import GroupRequest, decode_group_request
from myim_wire.messages import ERROR, QOS1, REPLY, Command, Message, encode_group_delivery, encode_message
from myim_wire.presence_contents import Presence, PresenceChanged

DAY_US = 24 * 3600 * 1_000_000
ME = 7
YOU = 8
SLOT = 5
FINGERPRINT = bytes(range(32))


_FRIEND_READERS: dict[int, Callable[[bytes], object]] = {
    Command.FRIENDS: decode_friend_request, Command.FRIEND_CHANGE: decode_friend_change_request, Command.SIGNATURE: decode_profile_request,
}  # fmt: skip


def wait_until(condition: Callable[[], object], deadline: float = 10.0) -> None:
    """Wait for a condition; fails after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.002)


def make_profile(directory: Path, user: int = ME, **changes: object) -> tuple[Terminal, Path]:
    """A terminal, and the profile of `user` on it, logged in as by a login center."""
    terminal = Terminal.open(directory / "home", FINGERPRINT)
    path = directory / "home" / f"user{user}.db"
    now = time.time_ns() // 1000
    values: dict[str, object] = {
        "login_server": "127.0.0.1:1", "user": user, "name": "me", "slot": SLOT, "terminal_key": terminal.public_key,
        "token": b"token of %d" % user, "session_key": bytes([user]) * 32, "renew_at": now + DAY_US // 2, "expires_at": now + DAY_US,
        "servers": (),
    }  # fmt: skip
    values.update(changes)
    profile = Profile.open(path, create=True)
    profile.log_in(Account(**values))  # type: ignore[arg-type]
    profile.close()
    return terminal, path


class Session:
    """One accepted connection; `received` is all the terminal said after the handshake, REKEY included."""

    def __init__(self, center: ScriptedCenter, sock: socket.socket, connection: Connection, number: int) -> None:
        self.center = center
        self.number = number
        self.received: list[Message] = []
        self.records = 0
        self.is_ended = False
        self._socket = sock
        self._connection = connection
        self._lock = threading.Lock()

    def of(self, command: int, is_reply: bool = False) -> list[Message]:
        """What came of one command."""
        return [m for m in self.received if m.command == command and bool(m.flags & REPLY) == is_reply]

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of the user messages that came."""
        return [message.content for message in self.of(Command.USER_MESSAGE)]

    def send(self, *messages: bytes) -> None:
        """One record with these messages."""
        with self._lock:
            self._socket.sendall(self._connection.seal(b"".join(messages)))

    def settle(self, message: Message, outcome: int) -> None:
        """Settle a message: 1 received, 2 stored."""
        self.reply(message, bytes([outcome]))

    def reply(self, message: Message, content: bytes) -> None:
        """Reply to a message or request."""
        self.send(encode_message(message.command, QOS1 | REPLY, message.user, message.target, message.time, content))

    def refuse(self, message: Message, code: int, retry_ms: int | None = None) -> None:
        """Refuse a message or request."""
        content = encode_error_content(code, "refused", retry_ms)
        self.send(encode_message(message.command, QOS1 | REPLY | ERROR, message.user, message.target, message.time, content))

    def deliver(self, sender: int, named: int, body: bytes, qos: int = QOS1, target: int = ME) -> None:
        """Hand over a message."""
        self.send(delivery(sender, named, body, qos, target))

    def tell_receipt(self, *pairs: tuple[int, int], notice: int = 640) -> None:
        """A RECEIPT to the sender [P-7.3]."""
        self.send(encode_message(Command.RECEIPT, QOS1, 0, ME, notice, encode_pairs(REACHED, pairs)))

    def tell_expired(self, *pairs: tuple[int, int]) -> None:
        """Messages that nobody fetched in time."""
        self.send(encode_message(Command.RECEIPT, 0, 0, ME, 0, encode_pairs(EXPIRED, pairs)))

    def post(
        self, group: int, number: int, body: bytes = b"x", sender: int = YOU, accepted: int = 1_000_000, named: int | None = None
    ) -> None:
        """Hand over a post; number 0: QoS 0."""
        time = 64 * number if named is None else named
        self.send(encode_group_delivery(QOS1 if number else 0, sender, group, time, number, accepted, body, (1, number, 1)))

    def settle_post(self, message: Message, number: int) -> None:
        """Settle a post under its number."""
        self.reply(message, encode_numbered_settling(number))

    def tell_groups(self, *standings: Standing, is_last: bool = True) -> None:
        """The memberships of the user."""
        self._tell_of_groups(0, GroupsTold(standings, is_last).encode())

    def tell_behind(self, group: int, number: int) -> None:
        """The group has more."""
        self._tell_of_groups(group, GroupBehind(group, number).encode())

    def tell_change(self, event: Event, group: int, user: int, actor: int = YOU, version: int = 2) -> None:
        """Something changed in a group."""
        self._tell_of_groups(group, GroupChanged(event, group, version, actor, user).encode())

    def _tell_of_groups(self, group: int, content: bytes) -> None:
        self.send(encode_message(Command.GROUP, 0, 0, group, 0, content))

    def fetches(self, group: int) -> list[Message]:
        """The fetches of a group that came."""
        return [message for message in self.of(Command.OFFLINE_FETCH) if message.target == group]

    def end_fetch(self, message: Message, up_to: int, number: int) -> None:
        """Answer a fetch of a group."""
        self.reply(message, GroupFetched(up_to, number).encode())

    def questions(self, kind: type[GroupRequest]) -> list[Message]:
        """The questions about groups of this kind that came."""
        return [message for message in self.of(Command.GROUP) if isinstance(decode_group_request(message.content), kind)]

    def asked(self, kind: type[GroupRequest], count: int = 1) -> Message:
        """The `count`-th question about groups of this kind, as soon as it is there."""
        wait_until(lambda: len(self.questions(kind)) >= count)
        return self.questions(kind)[count - 1]

    def asked_of_friends(self, request: FriendRequest | FriendChangeRequest | ProfileRequest, count: int = 1) -> Message:
        """The latest such request about friends or profiles, as soon as there were `count` of them."""

        def questions() -> list[Message]:
            return [one for command in _FRIEND_READERS for one in self.of(command) if _FRIEND_READERS[command](one.content) == request]

        wait_until(lambda: len(questions()) >= count)
        return questions()[-1]

    def tell_friends(self, event: FriendEvent, version: int, user: int = 0, words: str = "") -> None:
        """Something happened among friends."""
        self.send(encode_message(Command.FRIEND_CHANGE, 0, 0, 0, 0, FriendChanged(event, version, user, words).encode()))

    def tell_presence(self, *changes: Presence) -> None:
        """Friends are seen otherwise."""
        self.send(encode_message(Command.PRESENCE, 0, 0, 0, 0, PresenceChanged(changes).encode()))

    def goodbye(self, code: ErrorCode) -> None:
        """GOODBYE and close."""
        with self._lock:
            self._socket.sendall(self._connection.refuse(code))
            self._socket.shutdown(socket.SHUT_WR)

    def ask_rekey(self) -> None:
        """Ask for a rekey."""
        with self._lock:
            self._socket.sendall(self._connection.ask_rekey())

    def cut(self) -> None:
        """Drop the connection without a word."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        """Read until the end."""
        try:
            while data := self._socket.recv(65536):
                self.records += 1
                messages = self._connection.receive_data(data)
                if messages and not self.received:
                    self.center.sessions.append(self)  # only a first record makes a session, as [P-5.5] says
                for message in messages:
                    self._take(message)
                if self._connection.state is State.PEER_CLOSED:
                    break
        except (OSError, ProtocolError) as error:
            self.center.errors.append(error)
        self.is_ended = True
        self._socket.close()

    def _take(self, message: Message) -> None:
        if message.command == Command.REKEY and message.content:
            with self._lock:
                self._socket.sendall(self._connection.answer_rekey(os.urandom(32)))
        elif message.command == Command.OFFLINE_FETCH and not message.target and self.center.is_fetch_answered:
            self.reply(message, encode_count(0))
            if self.center.groups is not None:
                self.tell_groups(*self.center.groups)
        elif message.command == Command.SERVERS and self.center.servers is not None:
            self.reply(message, encode_servers(self.center.servers))
        elif message.command == Command.LOOKUP and self.center.is_lookup_answered and isinstance(decode_lookup(message.content), int):
            self.refuse(message, ErrorCode.NOT_ALLOWED)
        elif message.command == Command.FRIENDS and decode_friend_request(message.content) == ListRequests():
            if self.center.requests is not None:
                self.reply(message, self.center.requests.encode())
        elif message.command == Command.GOODBYE:
            with self._lock:
                self._socket.sendall(self._connection.seal(encode_message(Command.GOODBYE, REPLY, 0, 0, 0)) + self._connection.close())
        self.received.append(message)


def delivery(sender: int, named: int, body: bytes, qos: int = QOS1, target: int = ME) -> bytes:
    """An encoded message as a center hands it over."""
    return encode_message(Command.USER_MESSAGE, qos, sender, target, named, body + encode_trailer(1, named & 0xFFFF, 1))


class ScriptedCenter:
    """Listens on 127.0.0.1; `sessions` in the order they came. `refusal`: answer the next handshakes with this error flight."""

    def __init__(self, terminal: Terminal) -> None:
        self.sessions: list[Session] = []
        self.errors: list[Exception] = []
        self.attempts: list[int] = []
        self.tokens: list[bytes] = []
        self.session_keys = {b"token of %d" % user: bytes([user]) * 32 for user in (ME, YOU)}
        self.refusal: ErrorCode | None = None
        self.is_fetch_answered = True
        self.is_lookup_answered = True
        self.servers: list[Server] | None = None
        self.groups: list[Standing] | None = None
        self.requests: RequestPage | None = None
        self._terminal = terminal
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return ("127.0.0.1", self.port)

    def session(self, count: int = 1) -> Session:
        """The `count`-th session, as soon as it is there."""
        wait_until(lambda: len(self.sessions) >= count)
        return self.sessions[count - 1]

    def close(self) -> None:
        """Stop listening and drop everybody."""
        for close in (lambda: self._listener.shutdown(socket.SHUT_RDWR), *(session.cut for session in self.sessions)):
            try:
                close()
            except OSError:
                pass  # closed already
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        connection = Connection.for_center()
        try:
            while connection.connect is None:
                connection.receive_data(sock.recv(4096))
            connect = connection.connect
            self.attempts.append(connect.connection_number)
            self.tokens.append(connect.token)
            if self.refusal is not None:
                sock.sendall(encode_error_flight(self.refusal))
                sock.close()
                return
            key = self.session_keys[connect.token]
            sock.sendall(connection.accept(key, self._terminal.public_key, os.urandom(32), os.urandom(32)))
        except (OSError, ProtocolError, KeyError) as error:
            self.errors.append(error)
            sock.close()
            return
        Session(self, sock, connection, connect.connection_number).run()
