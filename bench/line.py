"""One terminal's connection as the benches drive it: blocking set-up, then raw non-blocking reads and sealed writes.

What lives here: dialling a center by a minted token, dialling the floor by a preset key, the records of both. What must not: what is
sent (driver, loads), measuring. It is not the SDK: no outbox, no seen-set, so that the load costs less than what it measures.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from myim_wire.bodies import decode_error
from myim_wire.center_handshake import CenterClient
from myim_wire.frames import HANDSHAKE_FRAME_CAP, SESSION_FRAME_CAP, FrameDecoder, encode_frame
from myim_wire.key_schedule import derive_terminal_private
from myim_wire.messages import QOS1, Command, Message, decode_messages, encode_message, encode_pairs
from myim_wire.records import OpeningKey, SealingKey

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Account:
    """One row of `admin mint` (or of the floor's key file, where `keys` is set and the rest of the secrets are not)."""

    user: int
    slot: int
    token: bytes = b""
    session_key: bytes = b""
    terminal_private: bytes = b""
    keys: tuple[bytes, bytes, bytes, bytes] | None = None


def read_accounts(path: Path) -> list[Account]:
    """The accounts of a file of JSON lines, minted or the floor's; OSError or ValueError when it is neither."""
    return [_account(json.loads(line)) for line in path.read_text().splitlines()]


def _account(row: dict[str, object]) -> Account:
    if "t2c" in row:
        parts = [bytes.fromhex(str(part)) for way in ("t2c", "c2t") for part in row[way]]  # type: ignore[attr-defined]
        return Account(int(str(row["user"])), 0, keys=(parts[0], parts[1], parts[2], parts[3]))
    secret, fingerprint = bytes.fromhex(str(row["terminal_secret"])), bytes.fromhex(str(row["fingerprint"]))
    return Account(
        int(str(row["user"])),
        int(str(row["slot"])),
        bytes.fromhex(str(row["token"])),
        bytes.fromhex(str(row["session_key"])),
        derive_terminal_private(fingerprint, secret),
    )


def write_floor_keys(path: Path, users: int) -> None:
    """Make the floor's key file: `users` users numbered from 1."""
    rows = ({"user": user, "t2c": _fresh_keys(), "c2t": _fresh_keys()} for user in range(1, users + 1))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _fresh_keys() -> list[str]:
    return [os.urandom(32).hex(), os.urandom(12).hex()]


class Line:
    """An open connection: `queue` plaintext, `flush` it as one record, `receive` what came."""

    __slots__ = ("account", "decoder", "last_time", "opening", "out", "sealing", "socket")

    def __init__(self, account: Account, connection: socket.socket, sealing: SealingKey, opening: OpeningKey) -> None:
        self.account, self.socket, self.sealing, self.opening = account, connection, sealing, opening
        self.decoder = FrameDecoder(SESSION_FRAME_CAP)
        self.out: list[bytes] = []
        self.last_time = 0

    def name(self) -> int:
        """The next `time` of this terminal [P-3.6]."""
        self.last_time = max(time.time_ns() // 1000 & ~63, (self.last_time & ~63) + 64) | self.account.slot
        return self.last_time

    def queue(self, command: int, flags: int, target: int = 0, content: bytes = b"", named: int | None = None) -> int:
        """Add one message to the next record; its time."""
        stamp = self.name() if named is None else named
        self.out.append(encode_message(command, flags, self.account.user, target, stamp, content))
        return stamp

    def flush(self) -> None:
        """Everything queued leaves as one record in one send, blocking for the rest when the socket is full."""
        if not self.out:
            return
        frame = self.sealing.seal(b"".join(self.out))
        self.out.clear()
        try:
            sent = self.socket.send(frame)
        except BlockingIOError:
            sent = 0
        if sent < len(frame):
            self.socket.setblocking(True)
            self.socket.sendall(frame[sent:])
            self.socket.setblocking(False)

    def receive(self) -> list[bytes]:
        """The plaintexts of the records that have come; ConnectionError at the end of the stream."""
        data = self.socket.recv(65_536)  # more would be an mmap per read
        if not data:
            raise ConnectionError("the server closed the connection")
        open_record = self.opening.open
        return [open_record(content) for content in self.decoder.feed(data)]

    def await_command(self, command: Command) -> list[Message]:
        """Block until a message of this command has come; all messages up to and with its record. For set-up only.

        Stored messages of an earlier run that come before are confirmed: the center hands over no more than so many unconfirmed ones.
        """
        found: list[Message] = []
        self.socket.setblocking(True)
        while not any(message.command == command for message in found):
            for plaintext in self.receive():
                came = decode_messages(plaintext)
                found += came
                self._confirm(came, command)
            if found and found[-1].command == Command.GOODBYE:
                raise ConnectionError(f"the server said {decode_error(found[-1].content)}")
        self.socket.setblocking(False)
        return found

    def _confirm(self, came: Iterable[Message], awaited: Command) -> None:
        names = [(one.user, one.time) for one in came if one.command == Command.USER_MESSAGE != awaited and one.flags & QOS1]
        if names:
            self.queue(Command.RECEIPT, 0, 0, encode_pairs(1, names), named=0)
            self.flush()
            self.socket.setblocking(True)


def _dial(address: Address) -> socket.socket:
    connection = socket.create_connection(address, timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_flight(connection: socket.socket) -> bytes:
    """The next handshake frame's content; ConnectionError when the server ends instead."""
    decoder = FrameDecoder(HANDSHAKE_FRAME_CAP)
    while True:
        data = connection.recv(HANDSHAKE_FRAME_CAP)
        if not data:
            raise ConnectionError("the server closed during the handshake")
        if contents := decoder.feed(data):
            return contents[0]


def open_lines(address: Address, accounts: Iterable[Account], at_once: int = 32) -> list[Line]:
    """Connect and log in every account, `at_once` side by side, each through the reply to its OFFLINE_FETCH."""
    waiting, lines = list(accounts), list[Line]()
    for start in range(0, len(waiting), at_once):
        lines += _open_batch(address, waiting[start : start + at_once])
    return lines


def _open_batch(address: Address, accounts: Sequence[Account]) -> list[Line]:
    lines = enter(address, accounts)
    for line in lines:
        line.socket.setblocking(False)
        line.queue(Command.OFFLINE_FETCH, 1)
        line.flush()
    for line in lines:
        line.await_command(Command.OFFLINE_FETCH)
    return lines


def enter(address: Address, accounts: Sequence[Account]) -> list[Line]:
    """The handshakes of one batch of accounts, side by side; no record is sent."""
    if accounts and accounts[0].keys is not None:
        return [_enter_floor(address, account) for account in accounts]
    started = []
    for account in accounts:
        number = time.time_ns() // 1000  # rises from run to run without a file
        client = CenterClient(account.token, account.session_key, account.terminal_private, os.urandom(32), os.urandom(32), number)
        connection = _dial(address)
        connection.sendall(client.connect())
        started.append((account, connection, client))
    lines = []
    for account, connection, client in started:
        keys = client.accept(read_flight(connection))
        lines.append(Line(account, connection, keys.sealing, keys.opening))
    return lines


def _enter_floor(address: Address, account: Account) -> Line:
    assert account.keys is not None
    connection = _dial(address)
    connection.sendall(encode_frame(account.user.to_bytes(8, "big")))
    key, iv, their_key, their_iv = account.keys
    return Line(account, connection, SealingKey(key, iv), OpeningKey(their_key, their_iv))
