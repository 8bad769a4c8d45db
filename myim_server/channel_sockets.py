"""One channel of a link as a socket: what a door reads and writes where the terminal is connected to an endpoint.

What lives here: `ChannelEnd` (non-blocking, as the operating system's socket is) and `ChannelSocket` (waits, as gevent's socket does). What
must not: which channels there are, links' life. Why two: a session writes to the raw one and falls back to the waiting one, and so the
doors carry a channel with the very code that carries a connection.

A wake-up is a callback at the end of the turn: whoever takes messages from a link is in the middle of them and must not be left.
"""

from __future__ import annotations

import errno
import socket as sockets
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent import Timeout

from myim_wire.channels import DATA, DATA_HEAD, HEAD_BYTES, Credit, encode_close, encode_credit, encode_end
from myim_wire.errors import ErrorCode

READABLE = 1
_FULL_LINK_SECONDS = 0.02  # until a link that took nothing more is asked again
_ENDS_READING = (sockets.SHUT_RD, sockets.SHUT_RDWR)
_ENDS_WRITING = (sockets.SHUT_WR, sockets.SHUT_RDWR)


class Peer(Protocol):
    """Who is at a link's other end."""

    @property
    def node(self) -> int: ...
    @property
    def role(self) -> str: ...


class Link(Protocol):
    """What channels ask of a link: whole messages, in order, never blocking; False means nothing was queued."""

    @property
    def peer(self) -> Peer: ...
    @property
    def is_open(self) -> bool: ...
    def send(self, message: bytes) -> bool: ...
    def send_urgent(self, message: bytes) -> bool: ...
    def close(self, code: ErrorCode, reason: str) -> None: ...


class ChannelEnd:
    """The acceptor's end of a channel, non-blocking; `wake` is handed the end whenever it may be readable or writable again."""

    __slots__ = (
        "_forget", "_inbox", "_is_closed", "_is_ended", "_is_lost", "_link", "_wake", "channel", "credit", "on_readable", "on_writable",
    )  # fmt: skip

    def __init__(self, link: Link, channel: int, wake: Callable[[ChannelEnd], None], forget: Callable[[int], object]) -> None:
        self.channel = channel
        self.credit = Credit()
        self.on_readable: Callable[[], object] | None = None
        self.on_writable: Callable[[], object] | None = None
        self._link = link
        self._wake = wake
        self._forget = forget
        self._inbox: bytes | bytearray = b""
        self._is_ended = False  # nothing more will come
        self._is_closed = False  # nothing more may be sent
        self._is_lost = False  # the peer, or the link, is gone

    # ------------------------------------------------------------------ from the link

    def take_data(self, message: bytes) -> None:
        """DATA came; BAD_FRAME beyond the credit."""
        self.credit.take(len(message) - HEAD_BYTES)
        if not self._inbox:
            self._inbox = message[HEAD_BYTES:]
        elif type(self._inbox) is bytearray:
            self._inbox += memoryview(message)[HEAD_BYTES:]
        else:
            self._inbox = bytearray(self._inbox) + message[HEAD_BYTES:]
        self._wake(self)

    def take_credit(self, size: int) -> None:
        """CREDIT came; BAD_FRAME for too much."""
        self.credit.gain(size)
        self._wake(self)

    def take_end(self) -> None:
        """END came."""
        self._is_ended = True
        self._wake(self)

    def take_close(self) -> None:
        """CLOSE came, or the link ended: as a reset does, it ends reading after what is there, and writing at once."""
        self._is_lost = True
        self._wake(self)

    def tell(self) -> None:
        """Call who waits, if there is something for it."""
        if self.on_readable is not None and (self._inbox or self._is_ended or self._is_lost):
            self.on_readable()
        if self.on_writable is not None and (self.credit.may_send or self._is_lost or self._is_closed):
            self.on_writable()

    # ------------------------------------------------------------------ as a raw socket

    def watch_readable(self, callback: Callable[[], object]) -> None:
        """Call back while there is something to read, as a watcher of a socket does."""
        self.on_readable = callback
        if self._inbox or self._is_ended or self._is_lost:
            self._wake(self)

    def recv_into(self, buffer: memoryview) -> int:
        """Bytes that came, their number; 0 at the end. BlockingIOError, ConnectionResetError."""
        inbox = self._inbox
        size = min(len(inbox), len(buffer))
        if not size:
            return self._nothing()
        buffer[:size] = inbox if size == len(inbox) else inbox[:size]
        self._used(size)
        return size

    def recv(self, size: int) -> bytes:
        """At most `size` bytes that came; none at the end. BlockingIOError, ConnectionResetError."""
        data = bytes(self._inbox[:size])
        if not data:
            self._nothing()
        self._used(len(data))
        return data

    def send(self, data: bytes) -> int:
        """Queue what credit and link allow; how many bytes that is. BlockingIOError for none, ConnectionResetError."""
        if self._is_lost or self._is_closed or not self._link.is_open:
            raise ConnectionResetError(errno.ECONNRESET, "the channel is closed")
        credit = self.credit
        size = len(data)
        if size > credit.may_send:
            size = credit.may_send
            data = data[:size]
        if not size or not self._link.send(DATA_HEAD.pack(DATA, self.channel) + data):
            raise BlockingIOError(errno.EAGAIN, "no credit, or the link is full")
        credit.may_send -= size
        return size

    def shutdown(self, how: int) -> None:
        """End reading here, writing there, or both."""
        if self._is_lost:
            raise OSError(errno.ENOTCONN, "the channel is closed")
        if how in _ENDS_READING:
            self._is_ended = True
            self._wake(self)
        if how in _ENDS_WRITING and not self._is_closed:
            self._is_closed = True
            self._say(encode_end(self.channel))

    def close(self) -> None:
        """Give the channel up; safe to call again."""
        if not self._is_lost:
            self._say(encode_close(self.channel))
        self._is_lost = self._is_ended = self._is_closed = True
        self._inbox = b""
        self._forget(self.channel)
        self._wake(self)

    def _nothing(self) -> int:
        if self._is_ended:
            return 0
        if self._is_lost:
            raise ConnectionResetError(errno.ECONNRESET, "the channel is closed")
        raise BlockingIOError(errno.EAGAIN, "nothing to read")

    def _used(self, size: int) -> None:
        inbox = self._inbox
        self._inbox = b"" if size == len(inbox) else inbox[size:]
        grant = self.credit.use(size)
        if grant and not self._is_lost:
            self._say(encode_credit(self.channel, grant))
        if self._inbox and self.on_readable is not None:
            self._wake(self)

    def _say(self, message: bytes) -> None:
        # What is said once and for all: a link that is too full even for that has a peer that takes nothing.
        if not self._link.send_urgent(message):
            self._link.close(ErrorCode.TOO_SLOW, "not even an answer fits any more")


class ChannelSocket:
    """A channel as gevent's socket is used by the doors; what waits yields."""

    __slots__ = ("_sock", "_timeout")

    def __init__(self, end: ChannelEnd) -> None:
        self._sock = end
        self._timeout: float | None = None

    def setsockopt(self, *_: int) -> None:
        """Options of TCP are the endpoint's."""

    def settimeout(self, seconds: float | None) -> None:
        """How long one call may wait; None: for ever, 0: not at all."""
        self._timeout = seconds

    def watcher(self) -> ChannelWatcher:
        """What tells of bytes to read."""
        return ChannelWatcher(self._sock)

    def recv(self, size: int) -> bytes:
        """As `ChannelEnd.recv`, waiting; TimeoutError."""
        end = self._sock
        while True:
            try:
                return end.recv(size)
            except BlockingIOError:
                if self._timeout == 0:
                    raise
            with Timeout(self._timeout, TimeoutError("timed out")):
                try:
                    end.watch_readable(gevent.getcurrent().switch)
                    gevent.get_hub().switch()
                finally:
                    end.on_readable = None

    def send(self, data: bytes) -> int:
        """As `ChannelEnd.send`, waiting; TimeoutError."""
        end = self._sock
        while True:
            try:
                return end.send(data)
            except BlockingIOError:
                if self._timeout == 0:
                    raise
            with Timeout(self._timeout, TimeoutError("timed out")):
                if end.credit.may_send:
                    gevent.sleep(_FULL_LINK_SECONDS)
                    continue
                try:
                    end.on_writable = gevent.getcurrent().switch
                    gevent.get_hub().switch()
                finally:
                    end.on_writable = None

    def sendall(self, data: bytes) -> None:
        """All of it, waiting; TimeoutError when one step took too long."""
        while data:
            data = data[self.send(data) :]

    def shutdown(self, how: int) -> None:
        """As `ChannelEnd.shutdown`."""
        self._sock.shutdown(how)

    def close(self) -> None:
        """As `ChannelEnd.close`."""
        self._sock.close()


class ChannelWatcher:
    """Starts and stops calls while there is something to read, as the hub's watcher of a descriptor does."""

    __slots__ = ("_end",)

    def __init__(self, end: ChannelEnd) -> None:
        self._end = end

    def start(self, callback: Callable[[], object]) -> None:
        """Call back from the hub from now on."""
        self._end.watch_readable(callback)

    def stop(self) -> None:
        """No more calls."""
        self._end.on_readable = None

    def close(self) -> None:
        """As `stop`."""
        self.stop()


def readable_watcher(socket: Any) -> Any:
    """What wakes a reader of this socket or channel, not started."""
    if isinstance(socket, ChannelSocket):
        return socket.watcher()
    return gevent.get_hub().loop.io(socket.fileno(), READABLE)
