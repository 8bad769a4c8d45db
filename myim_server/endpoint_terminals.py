"""One terminal's connection at an endpoint: its socket on one side, its channel on the other.

What lives here: reading while there is credit, writing without waiting, half-closing both ways, the end. What must not: which link carries
a terminal and whether it is let in (`endpoint`), frames, keys. Why no greenlet: an idle terminal would keep a stack for nothing, so the
hub calls `read` and `write_on` itself; nothing here yields.

What the socket does not take is at most the channel's window, because credit is given back only for what it took. A channel is opened by
its terminal's first byte, so who says nothing costs the center nothing.
"""

from __future__ import annotations

import socket as sockets
from _socket import socket as SystemSocket  # noqa: N812  # a class, whatever its name
from contextlib import suppress
from typing import Any, Protocol

import gevent

from myim_server.channel_lanes import ChannelLane
from myim_server.channel_sockets import READABLE, Link
from myim_wire import channels
from myim_wire.channels import HEAD_BYTES, Credit, Service
from myim_wire.errors import ErrorCode

_WRITABLE = 2
READ_BYTES = 65_536


class Carrier(Protocol):
    """What a terminal asks of its endpoint. buffer: shared by all, who reads into it copies it out at once; room: behind the head."""

    buffer: bytearray
    view: memoryview
    room: memoryview

    def open_channel(self, terminal: Terminal) -> Lane | None:
        """Set its lane and channel; None where nobody takes it."""

    def refuse(self, socket: SystemSocket, code: ErrorCode) -> None:
        """Say why it is not carried."""

    def answered(self, terminal: Terminal) -> None:
        """The first byte came back for it."""

    def hold(self, lane: Lane, terminal: Terminal) -> None:
        """The link takes nothing now: call `send_held` later."""

    def close_soon(self, terminal: Terminal) -> None:
        """Its channel is over; close it unless it closes itself."""

    def forget(self, terminal: Terminal) -> None:
        """It is over."""


class Lane(ChannelLane["Terminal"]):
    """One link and the terminals whose channels were opened on it; `held`: those whose bytes the link did not take."""

    __slots__ = ("held", "is_draining")

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.held: list[Terminal] = []
        self.is_draining = False

    @property
    def can_open(self) -> bool:
        return self.link.is_open and not self.is_draining and self.last < channels.LAST_CHANNEL

    def say(self, message: bytes) -> None:
        """What must arrive: a link too full even for that has a peer that takes nothing."""
        if self.link.is_open and not self.link.send_urgent(message):
            self.link.close(ErrorCode.TOO_SLOW, "not even an answer fits any more")


class Terminal:
    """One connection: its socket, and its channel once it has said something."""

    __slots__ = (
        "_credit", "_endpoint", "_held", "_is_closing", "_is_ended", "_is_heard_out", "_is_paused", "_reader", "_socket",
        "_unsent", "_writer", "channel", "counter", "host", "lane", "service",
    )  # fmt: skip

    def __init__(self, endpoint: Carrier, socket: SystemSocket, host: str, counter: str, service: Service) -> None:
        self._endpoint = endpoint
        self._socket = socket
        self.host = host
        self.counter = counter  # of the address it is unanswered for; "" when it was answered
        self.service = service
        self.lane: Lane | None = None
        self.channel = 0
        self._credit = Credit()
        self._held = b""
        self._unsent: bytes | bytearray = b""
        self._is_paused = False  # not read now
        self._is_heard_out = False  # the terminal says no more
        self._is_ended = False  # the center said END
        self._is_closing = False  # the center said CLOSE
        self._writer: Any = None
        self._reader = gevent.get_hub().loop.io(socket.fileno(), READABLE)
        self._reader.start(self.read)

    # ------------------------------------------------------------------ from the terminal

    def read(self) -> None:
        """The hub says that bytes came."""
        endpoint, credit = self._endpoint, self._credit
        try:
            size = self._socket.recv_into(endpoint.room, min(credit.may_send, READ_BYTES))
        except BlockingIOError:
            return
        except OSError:
            self.leave()
            return
        if not size:
            self._hear_no_more()
            return
        lane = self.lane or endpoint.open_channel(self)
        if lane is None:
            endpoint.refuse(self._socket, ErrorCode.ISOLATED)
            self.close()
            return
        credit.may_send -= size
        channels.DATA_HEAD.pack_into(endpoint.buffer, 0, channels.DATA, self.channel)
        message = bytes(endpoint.view[: HEAD_BYTES + size])
        if not lane.link.send(message):
            self._held = message
            endpoint.hold(lane, self)
            self._pause()
        elif not credit.may_send:
            self._pause()

    def send_held(self) -> bool:
        """Try again what the link did not take; whether it is rid of it."""
        if self.lane is not None and self._held:
            if not self.lane.link.send(self._held):
                return False
            self._held = b""
            self._read_on()
        return True

    def _pause(self) -> None:
        self._reader.stop()
        self._is_paused = True

    def _read_on(self) -> None:
        if self._is_paused and self._credit.may_send and not self._held and not self._is_closing:
            self._is_paused = False
            self._reader.start(self.read)

    def _hear_no_more(self) -> None:
        self._reader.stop()
        self._is_heard_out = True
        if self.lane is None:
            self.close()
        else:
            self.lane.say(channels.encode_end(self.channel))

    # ------------------------------------------------------------------ to the terminal

    def take_data(self, message: bytes) -> None:
        """DATA came from the center; BAD_FRAME beyond the credit."""
        data = message[HEAD_BYTES:]
        self._credit.take(len(data))
        if self.counter:
            self._endpoint.answered(self)
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.leave()
            return
        if sent < len(data):
            self._unsent = bytearray(data[sent:])
            self._writer = gevent.get_hub().loop.io(self._socket.fileno(), _WRITABLE)
            self._writer.start(self.write_on)
        self._used(sent)

    def write_on(self) -> None:
        """The hub says that the socket takes more."""
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self.leave()
            return
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._stop_writer()
            self._unsent = b""  # the array is given back
        if self._is_closing:
            if not self._unsent:
                self.close()
            return
        self._used(sent)
        if self._is_ended and not self._unsent:
            self._say_end()

    def _used(self, size: int) -> None:
        grant = self._credit.use(size)
        if grant and self.lane is not None:
            self.lane.say(channels.encode_credit(self.channel, grant))

    def take_credit(self, size: int) -> None:
        """CREDIT came; BAD_FRAME for too much."""
        self._credit.gain(size)
        self._read_on()

    def take_end(self) -> None:
        """END came: the terminal hears it after what waits."""
        self._is_ended = True
        if not self._unsent:
            self._say_end()

    def take_close(self) -> None:
        """CLOSE came: what waits still goes out, for a moment."""
        if self._unsent:
            self._is_closing = True
            self._reader.stop()
            self._endpoint.close_soon(self)
        else:
            self.close()

    def _say_end(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(sockets.SHUT_WR)

    # ------------------------------------------------------------------ the end

    def leave(self) -> None:
        """The terminal is gone: tell the center."""
        if self.lane is not None and not self._is_closing:
            self.lane.say(channels.encode_close(self.channel))
        self.close()

    def close(self) -> None:
        """Close the connection; what came unread is dropped, so that the close is no reset. Safe to call again."""
        self._endpoint.forget(self)
        self._reader.stop()
        self._reader.close()
        self._stop_writer()
        with suppress(OSError):
            self._socket.shutdown(sockets.SHUT_WR)
            self._socket.recv_into(self._endpoint.room)
        self._socket.close()

    def _stop_writer(self) -> None:
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
            self._writer = None
