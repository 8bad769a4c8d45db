"""One link to another node: batches out at the end of each turn, batches in as they come, heartbeats, a window.

What lives here: the life of a link after its handshake. What must not: who is linked to whom (`mesh`), what messages mean.

The outbound path is a contract: `send` never blocks and never reorders; what was sent in one turn of the hub goes out as one batch in one
system call; no greenlet writes unless the socket is full. What the peer has not consumed is bounded by its window, what waits here by
another; beyond both `send` says no, and the caller keeps its messages.
"""

from __future__ import annotations

import errno
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import gevent
import structlog

from myim_wire import link_batches
from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from myim_wire.link_batches import BatchDecoder, BatchEncoder, decode_own, encode_own
from myim_wire.link_handshake import Other, fingerprint_of

_READ_BYTES = 262_144
_READABLE = 1
_BATCH_BYTES = 262_144
MAX_MESSAGE_BYTES = _BATCH_BYTES - 4
_TOLD_EVERY = 262_144  # consumed bytes after which the peer is told
_WOULD_BLOCK = (errno.EAGAIN, errno.EWOULDBLOCK)
_OWN_KINDS = 4
_log = structlog.get_logger(__name__)


class Peer(NamedTuple):
    """Who is at the other end: node id, role ("center", "login", "endpoint"), fingerprint of its key, address as dialled or accepted."""

    node: int
    role: str
    fingerprint: str
    address: str


class LinkLimits(NamedTuple):
    """Bytes the peer may have unconsumed; bytes that may wait here beyond, for letters and for answers."""

    window_bytes: int = 4 << 20
    queue_bytes: int = 4 << 20
    urgent_bytes: int = 16 << 20


class LinkStatus(NamedTuple):
    """What an operator sees of a link."""

    peer: Peer
    state: str
    rtt_ms: float
    queued_bytes: int
    unconsumed_bytes: int
    last_error: str
    since: float
    is_tls: bool


class LinkEvents(Protocol):
    """Who hears of links; called from their readers, and must not yield."""

    def came_up(self, link: PeerLink) -> None: ...
    def went_down(self, link: PeerLink) -> None: ...
    def take(self, link: PeerLink, messages: Sequence[bytes]) -> None: ...


class PeerLink:
    """One link, from the end of its handshake to its own end. `run` is its reader's whole life."""

    def __init__(
        self, socket: Any, tls: tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO] | None, other: Other, address: str, limits: LinkLimits
    ) -> None:
        """tls: the object after its handshake, what comes in, what goes out; None on a plain link."""
        self.peer = Peer(other.node_id, other.role.name.lower(), fingerprint_of(other.public_key), address)
        self.is_open = True
        self.is_dialer = False
        self.last_error = ""
        self.rtt_ms = 0.0
        self.since = self.last_heard = time.monotonic()
        self._socket = socket
        self._send_raw = socket._sock.send
        self._tls = tls
        self._limits = limits
        self._encoder = BatchEncoder(b"" if tls else other.send_key)
        self._decoder = BatchDecoder(b"" if tls else other.receive_key)
        self._own: list[bytes] = []
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._sent_bytes = 0
        self._consumed_by_peer = 0
        self._told_consumed = 0
        self._unsent = b""
        self._is_dirty = False
        self._is_closing = False
        self._writer: gevent.Greenlet[[], None] | None = None
        self._run_callback: Callable[[Callable[[], None]], Any] = gevent.get_hub().loop.run_callback

    # ------------------------------------------------------------------ sending

    def send(self, message: bytes) -> bool:
        """Queue a message, kind first; False, and nothing queued, if the link has ended or too much waits."""
        return self._add(message, self._limits.queue_bytes)

    def send_urgent(self, message: bytes) -> bool:
        """Queue an answer: only a much higher bound refuses it. Order among all messages stays."""
        return self._add(message, self._limits.urgent_bytes)

    def _add(self, message: bytes, bound: int) -> bool:
        if not self.is_open or self._is_closing or self._queued_bytes > bound:
            return False
        if len(message) > MAX_MESSAGE_BYTES:
            raise LocalProtocolError(ErrorCode.TOO_LARGE, f"a link message of {len(message)} bytes")
        self._queue.append(message)
        self._queued_bytes += 4 + len(message)
        if not self._is_dirty:
            self._is_dirty = True
            self._run_callback(self._flush)
        return True

    def _say(self, kind: int, number: int) -> None:
        self._own.append(encode_own(kind, number))
        if not self._is_dirty:
            self._is_dirty = True
            self._run_callback(self._flush)

    def _flush(self) -> None:
        """Runs once per turn of the hub, after every readable socket was read."""
        self._is_dirty = False
        try:
            while self.is_open and not self._unsent and (batch := self._next_batch()):
                self._push(self._encoder.encode(batch))
        except Exception as fault:  # a bug of ours: this link ends, the others go on
            _log.error("link_fault", peer=self.peer.node, exc_info=fault)
            self._end("a fault of this node")

    def _next_batch(self) -> Sequence[bytes]:
        """What goes out now: the link's own messages, then as many of the queue as batch and window allow."""
        if self._own:
            batch, self._own = self._own, []
            self._sent_bytes += sum(4 + len(message) for message in batch)
            return batch
        room = min(self._limits.window_bytes - (self._sent_bytes - self._consumed_by_peer), _BATCH_BYTES)
        queue = self._queue
        if self._queued_bytes <= room:
            batch = list(queue)
            queue.clear()
            self._sent_bytes += self._queued_bytes
            self._queued_bytes = 0
            return batch
        batch, size = [], 0
        while queue and size + 4 + len(queue[0]) <= max(room, 0):
            message = queue.popleft()
            size += 4 + len(message)
            batch.append(message)
        self._queued_bytes -= size
        self._sent_bytes += size
        return batch

    def _push(self, data: bytes) -> None:
        if self._tls is not None:
            tls, _, outgoing = self._tls
            tls.write(data)
            data = outgoing.read()
        try:
            sent = self._send_raw(data)
        except OSError as error:
            if error.errno not in _WOULD_BLOCK:
                self._end(_words(error))
                return
            sent = 0
        if sent < len(data):
            self._unsent = data[sent:]
            if self._writer is None:
                self._writer = gevent.spawn(self._write)

    def _write(self) -> None:
        """Carry on where the socket was full (yields); a peer that takes nothing is found by its silence."""
        try:
            while self._unsent and self.is_open:
                sent = self._socket.send(self._unsent)
                self._unsent = self._unsent[sent:]
        except OSError as error:
            self._end(_words(error))
            return
        self._writer = None
        self._flush()

    # ------------------------------------------------------------------ reading

    @property
    def has_heard(self) -> bool:
        """Whether a whole batch has come."""
        return self._decoder.consumed > 0

    def hear(self, data: bytes) -> list[bytes]:
        """Take bytes from the socket; the messages in them that are not the link's own. RemoteProtocolError."""
        self.last_heard = time.monotonic()
        if self._tls is not None:
            data = self._open(data)
        messages = self._decoder.feed(data)
        if any(message[0] <= _OWN_KINDS for message in messages):
            messages = [message for message in messages if not self._take_own(message)]
        return messages

    def run(self, events: LinkEvents, early: Sequence[bytes] = ()) -> None:
        """Read until the link ends (yields); early: messages that were heard before."""
        hub = gevent.get_hub()
        buffer = memoryview(bytearray(_READ_BYTES))
        read = self._socket._sock.recv_into
        watcher = hub.loop.io(self._socket.fileno(), _READABLE)
        watcher.start(gevent.getcurrent().switch)
        try:
            if early:
                events.take(self, early)
            while self.is_open:
                hub.switch()
                try:
                    count = read(buffer)
                except BlockingIOError:
                    continue
                if not count:
                    self._end(self.last_error or "the peer closed it")
                    break
                self._receive(bytes(buffer[:count]), events)
        except (OSError, ssl.SSLError) as error:
            self._end(_words(error))
        except RemoteProtocolError as error:
            _log.warning("link_refused", peer=self.peer.node, code=error.code.name, reason=error.text)
            self.close(error.code, error.text)
        except Exception as fault:  # a bug of ours: said once, this link ends
            _log.error("link_fault", peer=self.peer.node, exc_info=fault)
            self.close(ErrorCode.INTERNAL, "a fault of this node")
        finally:
            watcher.stop()
            watcher.close()
            self._end(self.last_error or "ended")

    def _receive(self, data: bytes, events: LinkEvents) -> None:
        messages = self.hear(data)
        if messages and self.is_open:
            events.take(self, messages)
        if self._decoder.consumed - self._told_consumed >= _TOLD_EVERY:
            self._tell_consumed()

    def _open(self, data: bytes) -> bytes:
        assert self._tls is not None
        tls, incoming, _ = self._tls
        incoming.write(data)
        parts = []
        try:
            while part := tls.read(_READ_BYTES):
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts)

    def _take_own(self, message: bytes) -> bool:
        kind = message[0]
        if kind > _OWN_KINDS or not kind:
            return False
        number = decode_own(message)
        if kind == link_batches.HEARTBEAT:
            self._say(link_batches.HEARTBEAT_ANSWER, number)
        elif kind == link_batches.HEARTBEAT_ANSWER:
            self.rtt_ms = max(0.0, time.monotonic() * 1e3 - number / 1e3)
        elif kind == link_batches.CONSUMED:
            if not self._consumed_by_peer <= number <= self._sent_bytes:
                raise RemoteProtocolError(ErrorCode.BAD_FRAME, "more consumed than was sent")
            self._consumed_by_peer = number
            if self._queue and not self._is_dirty:
                self._is_dirty = True
                self._run_callback(self._flush)
        else:
            self._end(f"the peer said goodbye: {_code_name(number)}")
        return True

    def _tell_consumed(self) -> None:
        self._told_consumed = self._decoder.consumed
        self._say(link_batches.CONSUMED, self._told_consumed)

    # ------------------------------------------------------------------ clockwork and end

    def beat(self) -> None:
        """Ask whether the peer is there, and tell what was consumed; every few seconds."""
        self._say(link_batches.HEARTBEAT, int(time.monotonic() * 1e6))
        if self._decoder.consumed != self._told_consumed:
            self._tell_consumed()

    def close(self, code: ErrorCode, reason: str) -> None:
        """Say goodbye and end; safe to call again."""
        if self.is_open and not self._is_closing:
            self._is_closing = True
            self.last_error = self.last_error or reason
            if not self._unsent:
                self._push(self._encoder.encode([encode_own(link_batches.GOODBYE, code)]))
            self._end(reason)

    def cut(self, reason: str) -> None:
        """End at once; what was under way is void."""
        self._end(reason)

    def _end(self, reason: str) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self.last_error = self.last_error or reason
        self._queue.clear()
        self._own.clear()
        self._unsent = b""
        self._queued_bytes = 0
        try:
            self._socket.shutdown(2)  # wakes the reader, who tells of the end
        except OSError:
            pass

    def status(self) -> LinkStatus:
        """How the link is."""
        unconsumed = self._sent_bytes - self._consumed_by_peer
        state = "up" if self.is_open else "down"
        return LinkStatus(
            self.peer, state, self.rtt_ms, self._queued_bytes, unconsumed, self.last_error, self.since, self._tls is not None
        )


def _code_name(number: int) -> str:
    return ErrorCode(number).name if number in ErrorCode._value2member_map_ else str(number)


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__)
