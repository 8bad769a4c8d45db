"""One link to another node: batches out at the end of each turn, batches in as they come, heartbeats, a window.

What lives here: the life of a link after its handshake. What must not: who is linked to whom (`mesh`), what messages mean, sockets and TLS
(`link_socket`).

The outbound path is a contract: `send` never blocks and never reorders; what was sent in one turn of the hub goes out as one batch in one
system call. What the peer has not consumed is bounded by its window, what waits here by another bound; beyond both `send` says no, and
the caller keeps its messages. The hub itself hands on what comes, in pieces, so that a flood from one peer leaves turns to others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import gevent
import structlog
from gevent.event import Event

from cluster.link_socket import LinkSocket
from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from myim_wire.link_batches import (
    CONSUMED,
    GOODBYE,
    HEAD_BYTES,
    HEARTBEAT,
    HEARTBEAT_ANSWER,
    LAST_OWN_KIND,
    BatchDecoder,
    BatchEncoder,
    decode_own,
    encode_own,
)
from myim_wire.link_handshake import Other, fingerprint_of

_BATCH_BYTES = 65_536  # but for a message that is longer
MAX_MESSAGE_BYTES = 262_140
_BATCHES_AT_ONCE = 4  # then others get their turn
_MESSAGES_AT_ONCE = 256
_TOLD_EVERY = 32_768  # consumed bytes after which the peer is told; a window is at least twice that
_OWN_AT_ONCE = 1_000  # of the link's own messages; a peer that asks for more and reads nothing is cut

_log = structlog.get_logger(__name__)


class Peer(NamedTuple):
    """Who is at the other end: node id, role ("center", "login", "endpoint"), fingerprint of its key, address as dialled or accepted."""

    node: int
    role: str
    fingerprint: str
    address: str


class LinkLimits(NamedTuple):
    """Bytes the peer may have unconsumed (at least 64 KiB); bytes that may wait here beyond, for letters and for answers."""

    window_bytes: int = 4 << 20
    queue_bytes: int = 4 << 20
    urgent_bytes: int = 16 << 20


class LinkStatus(NamedTuple):
    """What an operator sees of a link; state: "up", "down", "dialling"; since: seconds of the monotonic clock."""

    peer: Peer
    state: str
    rtt_ms: float
    queued_bytes: int
    unconsumed_bytes: int
    last_error: str
    since: float
    is_tls: bool


class LinkEvents(Protocol):
    """Who hears of links; nothing of it may yield."""

    def came_up(self, link: PeerLink) -> None: ...
    def went_down(self, link: PeerLink) -> None: ...
    def take(self, link: PeerLink, messages: Sequence[bytes]) -> None: ...


class PeerLink:
    """One link, from the end of its handshake to its own end; `run` is its whole life."""

    __slots__ = (
        "_asked", "_consumed_by_peer", "_decoder", "_encoder", "_ended", "_events", "_heard_bytes", "_is_dirty", "_limits", "_may_queue",
        "_may_queue_urgent", "_own", "_pending", "_queue", "_queued_bytes", "_run_callback", "_socket", "_stuck", "_told_consumed",
        "_unanswered", "goodbye", "is_dialer", "is_open", "last_error", "last_heard", "peer", "rtt_ms", "since",
    )  # fmt: skip

    def __init__(self, socket: LinkSocket, other: Other, address: str, limits: LinkLimits, is_dialer: bool = False) -> None:
        self.peer = Peer(other.node_id, other.role.name.lower(), fingerprint_of(other.public_key), address)
        self.is_open = True
        self.is_dialer = is_dialer
        self.last_error = ""
        self.rtt_ms = 0.0
        self.since = self.last_heard = time.monotonic()
        self._socket = socket
        self._limits = limits
        self._may_queue, self._may_queue_urgent = limits.queue_bytes, limits.urgent_bytes
        self._encoder = BatchEncoder(b"" if socket.is_tls else other.send_key)
        self._decoder = BatchDecoder(b"" if socket.is_tls else other.receive_key)
        self._events: LinkEvents | None = None
        self._own: list[bytes] = []
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._pending: Sequence[bytes] = ()  # taken in further turns
        self._consumed_by_peer = self._told_consumed = self._heard_bytes = 0
        self._asked: dict[int, Event | None] = {}  # heartbeats without an answer, the oldest first
        self._stuck = (0, self.since)  # the socket's count when it was last seen to take something, and when
        self._unanswered = (0, self.since)  # the oldest heartbeat without an answer, and when it was first seen to be that
        self._is_dirty = False
        self.goodbye = ""  # why the peer ends it, if it said so
        self._ended = Event()
        self._run_callback: Callable[[Callable[[], None]], Any] = gevent.get_hub().loop.run_callback

    # ------------------------------------------------------------------ sending

    def send(self, message: bytes) -> bool:
        """Queue a message, kind first; False, and nothing queued, if the link has ended or too much waits."""
        if self._queued_bytes > self._may_queue:
            return False
        return self._add(message)

    def send_urgent(self, message: bytes) -> bool:
        """Queue an answer: only a much higher bound refuses it. Order among all messages stays."""
        if self._queued_bytes > self._may_queue_urgent:
            return False
        return self._add(message)

    def _add(self, message: bytes) -> bool:
        size = len(message)
        if not 0 < size <= MAX_MESSAGE_BYTES:
            raise LocalProtocolError(ErrorCode.TOO_LARGE, f"a link message of {size} bytes")
        self._queue.append(message)
        self._queued_bytes += size + HEAD_BYTES
        if not self._is_dirty:
            self._is_dirty = True
            self._run_callback(self._flush)
        return True

    def _say(self, kind: int, number: int) -> None:
        self._own.append(encode_own(kind, number))
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._is_dirty:
            self._is_dirty = True
            self._run_callback(self._flush)

    def _flush(self) -> None:
        """Runs once per turn of the hub, after every readable socket was read."""
        self._is_dirty = False
        if not self.is_open or self._socket.unsent:
            return
        try:
            size = self._queued_bytes
            room = self._limits.window_bytes - self._encoder.produced + self._consumed_by_peer
            if 0 < size <= _BATCH_BYTES and size <= room and not self._own:
                batch, self._queue, self._queued_bytes = self._queue, [], 0
                self._socket.write(self._encoder.encode(batch))
            else:
                self._flush_pieces()
        except OSError as error:
            self._end(_words(error))
        except Exception as fault:  # a bug of ours: this link ends, the others go on
            _log.error("link_fault", peer=self.peer.node, exc_info=fault)
            self._end("a fault of this node")

    def _flush_pieces(self) -> None:
        """The link's own messages, then of the queue what batches and window allow."""
        for _ in range(_BATCHES_AT_ONCE):
            if self._own:
                batch, self._own = self._own, []
            else:
                batch = self._next_batch()
            if not batch:
                return
            self._socket.write(self._encoder.encode(batch))
            if self._socket.unsent:
                return  # `_flush` is called when there is room
        self._flush_soon()

    def _next_batch(self) -> list[bytes]:
        room = min(self._limits.window_bytes - self._encoder.produced + self._consumed_by_peer, _BATCH_BYTES)
        is_idle = self._encoder.produced == self._consumed_by_peer
        count = size = 0
        for message in self._queue:
            if size + HEAD_BYTES + len(message) > room and (count or not (is_idle or room == _BATCH_BYTES)):
                break
            size += HEAD_BYTES + len(message)
            count += 1
        batch = self._queue[:count]
        del self._queue[:count]
        self._queued_bytes -= size
        return batch

    # ------------------------------------------------------------------ reading

    @property
    def has_heard(self) -> bool:
        """Whether a whole batch has come."""
        return self._decoder.consumed > 0

    def hear(self, data: bytes) -> list[bytes]:
        """Take bytes that were read elsewhere; the messages in them that are not the link's own. RemoteProtocolError, OSError."""
        return self._decode(self._socket.open(data))

    def run(self, events: LinkEvents, early: Sequence[bytes] = ()) -> None:
        """Hand on what comes until the link ends (yields); early: messages that were heard before."""
        self._events = events
        try:
            if self.is_open:
                self._socket.watch(self._read, self._flush, lambda error: self._end(_words(error)))
                self._guarded(self._take, early)
            self._ended.wait()
        finally:
            self._end("this node stops")

    def _read(self) -> None:
        """The hub says that bytes came."""
        self._guarded(self._read_some, None)

    def _read_some(self, _: None) -> None:
        data = self._socket.read()
        if data is None:
            self._end("the peer closed it")
            return
        self._take(self._decode(data))

    def _decode(self, data: bytes) -> list[bytes]:
        messages = self._decoder.feed(data)
        if self._decoder.has_own:
            others = []
            for message in messages:
                if message[0] <= LAST_OWN_KIND:
                    self._take_own(*decode_own(message))
                else:
                    others.append(message)
            messages = others
        return messages

    def _take(self, messages: Sequence[bytes]) -> None:
        """Hand on so many at once, and read on when all are."""
        assert self._events is not None
        if len(messages) > _MESSAGES_AT_ONCE:
            self._socket.pause()
            self._pending = messages[_MESSAGES_AT_ONCE:]
            messages = messages[:_MESSAGES_AT_ONCE]
            self._run_callback(self._take_pending)
        if messages:
            self._events.take(self, messages)
        if self._pending:
            return
        if self.goodbye:
            self._end(self.goodbye)
        elif self._decoder.consumed - self._told_consumed >= _TOLD_EVERY:
            self._tell_consumed()

    def _take_pending(self) -> None:
        pending, self._pending = self._pending, ()
        if not self.is_open:
            return
        self._guarded(self._take, pending)
        if self.is_open and not self._pending:
            self._socket.resume(self._read)

    def _guarded(self, take: Callable[[Any], None], messages: Any) -> None:
        try:
            take(messages)
        except OSError as error:
            self._end(_words(error))
        except RemoteProtocolError as error:
            _log.warning("link_refused", peer=self.peer.node, code=error.code.name, reason=error.text)
            self.close(error.code, error.text)
        except Exception as fault:  # a bug of ours: said once, this link ends
            _log.error("link_fault", peer=self.peer.node, exc_info=fault)
            self.close(ErrorCode.INTERNAL, "a fault of this node")

    def _take_own(self, kind: int, number: int) -> None:
        if kind == HEARTBEAT:
            if len(self._own) >= _OWN_AT_ONCE:
                raise RemoteProtocolError(ErrorCode.TOO_SLOW, "more heartbeats than answers are read")
            self._say(HEARTBEAT_ANSWER, number)
        elif kind == HEARTBEAT_ANSWER:
            self._take_answer(number)
        elif kind == CONSUMED:
            if not self._consumed_by_peer <= number <= self._encoder.produced:
                raise RemoteProtocolError(ErrorCode.BAD_FRAME, "more consumed than was sent")
            self._consumed_by_peer = number
            if self._queue:
                self._flush_soon()
        else:
            self.goodbye = f"the peer said goodbye: {_code_name(number)}"

    def _take_answer(self, number: int) -> None:
        if number not in self._asked:
            raise RemoteProtocolError(ErrorCode.BAD_FRAME, "an answer to a heartbeat that was not sent")
        self.rtt_ms = time.monotonic() * 1e3 - number / 1e6
        while self._asked:  # answers come in order
            first = next(iter(self._asked))
            waiting = self._asked.pop(first)
            if waiting is not None:
                waiting.set()
            if first == number:
                return

    def _tell_consumed(self) -> None:
        self._told_consumed = self._decoder.consumed
        self._say(CONSUMED, self._told_consumed)

    # ------------------------------------------------------------------ clockwork

    def beat(self) -> None:
        """Ask whether the peer is there, and tell what was consumed; every few seconds."""
        self._ask(None)
        if self._decoder.consumed != self._told_consumed and not self._pending:
            self._tell_consumed()

    def _ask(self, waiting: Event | None) -> None:
        number = time.monotonic_ns()
        self._asked[number] = waiting
        self._say(HEARTBEAT, number)

    def probe(self, seconds: float) -> bool:
        """Whether the peer answers within this time (yields)."""
        answered = Event()
        if self.is_open:
            self._ask(answered)
            answered.wait(seconds)
        return answered.is_set() and self.is_open

    def look_after(self, now: float, silence_seconds: float, was_stopped: bool) -> None:
        """End the link if the peer says nothing, answers nothing, or takes nothing. was_stopped: this node slept, all times begin anew."""
        if self._decoder.consumed != self._heard_bytes or was_stopped:
            self._heard_bytes, self.last_heard = self._decoder.consumed, now
        if not self._socket.unsent or self._socket.taken != self._stuck[0] or was_stopped:
            self._stuck = self._socket.taken, now
        oldest = next(iter(self._asked), 0)
        if not oldest or oldest != self._unanswered[0] or was_stopped:
            self._unanswered = oldest, now
        if now - self.last_heard > silence_seconds:
            self.cut("silent for too long")
        elif now - self._stuck[1] > silence_seconds:
            self.cut("takes nothing")
        elif now - self._unanswered[1] > silence_seconds and not self._socket.unsent:
            self.cut("answers nothing")

    # ------------------------------------------------------------------ end

    def close(self, code: ErrorCode, reason: str = "") -> None:
        """Say goodbye and end; safe to call again, from anywhere."""
        if not self.is_open:
            return
        try:
            if not self._socket.unsent:
                self._socket.write(self._encoder.encode([encode_own(GOODBYE, code)]))
        except Exception:  # the last word may be lost, the end is not
            self.cut(reason or code.name)
        self._end(reason or code.name)

    def cut(self, reason: str) -> None:
        """End at once; what was under way is void."""
        self._end(reason)

    def _end(self, reason: str) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self.last_error = reason
        self._may_queue = self._may_queue_urgent = -1
        self._queue, self._own, self._pending, self._queued_bytes = [], [], (), 0
        for waiting in self._asked.values():
            if waiting is not None:
                waiting.set()
        self._asked.clear()
        self._socket.end()
        self._ended.set()

    def status(self) -> LinkStatus:
        """How the link is."""
        unconsumed = self._encoder.produced - self._consumed_by_peer
        state = "up" if self.is_open else "down"
        return LinkStatus(self.peer, state, self.rtt_ms, self._queued_bytes, unconsumed, self.last_error, self.since, self._socket.is_tls)


def _code_name(number: int) -> str:
    return ErrorCode(number).name if number in ErrorCode._value2member_map_ else str(number)


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__)
