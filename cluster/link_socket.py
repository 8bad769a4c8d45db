"""The bytes of one link's connection: read and written without waiting, in the clear or through TLS.

What lives here: the raw socket, TLS between memory buffers (`ssl.MemoryBIO`), and what a full socket has not taken. What must not: batches,
peers, windows. Why no greenlet: the hub calls `on_readable` and `write_on` itself, which costs 0.9 µs less for each message alone than
waking a reader, and TLS takes the same path. Whatever is called from here must not yield; gevent raises where it would.
"""

from __future__ import annotations

import socket as sockets
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent

from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.frames import HANDSHAKE_FRAME_CAP, HEADER_BYTES

ROOM_BYTES = 65_536
_READABLE, _WRITABLE = 1, 2


class Tls:
    """TLS of one connection, between memory buffers."""

    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext, is_server: bool) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=is_server)

    def shake_hands(self, data: bytes) -> tuple[bytes, bool]:
        """(what to send, whether the handshake is complete), given what came. ssl.SSLError."""
        self._incoming.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read(), False
        return self._outgoing.read(), True

    @property
    def peer_certificate(self) -> bytes | None:
        """What the peer showed (DER)."""
        return self._object.getpeercert(binary_form=True)

    def seal(self, data: bytes) -> bytes:
        """What to send for these bytes."""
        self._object.write(data)
        return self._outgoing.read()

    def open(self, data: bytes) -> bytes:
        """The bytes of all records that are whole now, perhaps none. ssl.SSLError."""
        incoming, read = self._incoming, self._object.read
        incoming.write(data)
        opened = b""
        try:
            opened = read(ROOM_BYTES)
            while incoming.pending:
                more = read(ROOM_BYTES)
                if not more:  # the peer ended TLS; the end of the connection follows
                    break
                opened += more
        except ssl.SSLWantReadError:
            pass
        return opened


class LinkSocket:
    """One connection; `socket` is gevent's, whose handshake is over. `room` is where all links of a node read to."""

    __slots__ = (
        "_is_closed", "_is_reading", "_on_fault", "_on_room", "_reader", "_receive_raw", "_room", "_send_raw", "_socket", "_tls", "_writer",
        "taken", "unsent",
    )  # fmt: skip

    def __init__(self, socket: Any, tls: Tls | None, room: memoryview) -> None:
        self._socket = socket
        self._send_raw: Callable[[bytes], int] = socket._sock.send
        self._receive_raw: Callable[[memoryview], int] = socket._sock.recv_into
        self._tls = tls
        self._room = room
        self._is_closed = self._is_reading = False
        loop = gevent.get_hub().loop
        self._reader = loop.io(socket.fileno(), _READABLE)
        self._writer = loop.io(socket.fileno(), _WRITABLE)
        self._on_room: Callable[[], object] = _nothing
        self._on_fault: Callable[[OSError], object] = _nothing
        self.unsent = b""
        self.taken = 0  # how often a full socket took some of it

    @property
    def is_tls(self) -> bool:
        """Whether what travels is sealed."""
        return self._tls is not None

    def watch(self, on_readable: Callable[[], object], on_room: Callable[[], object], on_fault: Callable[[OSError], object]) -> None:
        """Be called, by the hub, when there is something to read, when all was sent after the socket was full, when it broke meanwhile."""
        self._on_room, self._on_fault = on_room, on_fault
        self.resume(on_readable)

    def pause(self) -> None:
        """Do not read until `resume`."""
        self._is_reading = False
        self._reader.stop()

    def resume(self, on_readable: Callable[[], object]) -> None:
        """Read on."""
        if not self._is_closed and not self._is_reading:
            self._is_reading = True
            self._reader.start(on_readable)

    def open(self, data: bytes) -> bytes:
        """What the peer wrote, given what came. OSError, ssl.SSLError among them."""
        return data if self._tls is None else self._tls.open(data)

    def read(self) -> bytes | None:
        """What came, perhaps nothing; None at the end. OSError."""
        try:
            count = self._receive_raw(self._room)
        except BlockingIOError:
            return b""
        if not count:
            return None
        data = bytes(self._room[:count])
        return data if self._tls is None else self._tls.open(data)

    def write(self, data: bytes) -> None:
        """Send, keep what the socket does not take in `unsent`; to be called again only when that is empty. OSError."""
        if self._tls is not None:
            data = self._tls.seal(data)
        try:
            sent = self._send_raw(data)
        except BlockingIOError:
            sent = 0
        if sent != len(data):
            self.unsent = data[sent:]
            self._writer.start(self._write_on)

    def _write_on(self) -> None:
        try:
            sent = self._send_raw(self.unsent)
        except BlockingIOError:
            return
        except OSError as error:
            self._on_fault(error)
            return
        self.taken += 1
        self.unsent = self.unsent[sent:]
        if not self.unsent:
            self._writer.stop()
            self._on_room()

    def end(self) -> None:
        """Say that nothing more comes, and hear nothing more; whoever owns the socket closes it. Safe to call again."""
        if self._is_closed:
            return
        self._is_closed = True
        self.unsent = b""
        for watcher in (self._reader, self._writer):
            watcher.stop()
            watcher.close()
        with suppress(OSError):
            self._socket._sock.shutdown(sockets.SHUT_WR)


def _nothing(*_: object) -> None:
    """Before `watch`."""


# ---------------------------------------------------------------------- before there is a link


def read_frame(connection: Any) -> bytes:
    """The content of exactly one frame of the handshake: no byte of what follows is read (yields). RemoteProtocolError, OSError."""
    length = int.from_bytes(_read_exactly(connection, HEADER_BYTES), "big")
    if not 0 < length <= HANDSHAKE_FRAME_CAP:
        raise RemoteProtocolError(ErrorCode.BAD_FRAME, f"a frame of {length} bytes is not allowed here")
    return _read_exactly(connection, length)


def _read_exactly(connection: Any, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part: bytes = connection.recv(count - len(data))
        if not part:
            raise ConnectionAbortedError("the peer left during the handshake")
        data += part
    return data


def secure(connection: Any, context: ssl.SSLContext, is_server: bool, certificate: bytes) -> Tls:
    """TLS with a peer that has to show this very certificate (yields). OSError (ssl.SSLError among them), RemoteProtocolError."""
    tls = Tls(context, is_server)
    reply, is_complete = tls.shake_hands(b"")
    while True:
        if reply:
            connection.sendall(reply)
        if is_complete:
            break
        data = connection.recv(ROOM_BYTES)
        if not data:
            raise ConnectionAbortedError("the peer left during TLS")
        reply, is_complete = tls.shake_hands(data)
    if tls.peer_certificate != certificate:
        raise RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, "TLS shows another certificate")
    return tls
