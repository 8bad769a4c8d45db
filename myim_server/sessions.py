"""Live sessions of this center, and the way out to each of them.

What lives here: `Session` (one terminal's logged-in connection, its outbound bytes), `Outbound` (what is ready in one turn of the hub
goes out together), `Sessions` (the table, takeover). What must not: delivery rules, commands, the store.

The outbound path is a contract: `send` never blocks, never reorders, may be called from any greenlet and after the end, where it does
nothing. Everything that was sent to one session in one turn of the hub becomes one record in one system call. No greenlet exists for
writing unless the socket is full; then one writer carries on until it is empty again. What waits is bounded: beyond the bound the session
is cut, and its messages go the way of an absent target.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol

import gevent
import structlog

from myim_server.refusals import SessionRefused
from myim_wire.errors import ErrorCode, LocalProtocolError
from myim_wire.messages import REPLY, Command, encode_error, encode_message

_RECORD_PLAINTEXT_BYTES = 65_520  # a frame's cap less the tag [P-1.2], [P-2.1]
_LAST_WORDS_SECONDS = 1.0
_FLUSHED_AT_ONCE = 64  # about 2 ms
_WOULD_BLOCK = (errno.EAGAIN, errno.EWOULDBLOCK)


class Sealer(Protocol):
    """What a session needs of its connection: the frame of a record with whole messages, and of the empty record that ends."""

    def seal(self, plaintext: bytes) -> bytes: ...
    def close(self) -> bytes: ...


class Outbound:
    """Collects the sessions that have something to send, and flushes them once per turn of the hub."""

    __slots__ = ("_dirty", "_run_callback")

    def __init__(self, run_callback: Callable[[Callable[[], None]], Any]) -> None:
        self._dirty: list[Session] = []
        self._run_callback = run_callback

    def add(self, session: Session) -> None:
        """Flush this session at the end of the turn."""
        if not self._dirty:
            self._run_callback(self._flush)
        self._dirty.append(session)

    def _flush(self) -> None:
        """Runs once per turn of the hub, after every readable connection was read, and again while there are many: a post to a group of
        1,000 is a record and a system call for each, 20 ms in one go."""
        dirty, self._dirty = self._dirty[:_FLUSHED_AT_ONCE], self._dirty[_FLUSHED_AT_ONCE:]
        if self._dirty:
            self._run_callback(self._flush)
        for session in dirty:
            try:
                session.flush()
            except Exception as fault:  # a bug of ours: this session ends, the others still get what is theirs
                structlog.get_logger().error("flush_fault", connection=session.connection_id, exc_info=fault)
                session.cut()


class Session:
    """One terminal's logged-in connection, from its first valid record to its end.

    `incarnation` = (terminal generation, connection number) orders the sessions of one terminal [P-5.4]. `on_cut` is called once, when
    the session ends from this side; it must make the connection's reader end. `on_last_word` is called, perhaps again, as soon as nothing
    more can be told to the terminal; it must not call back, because whoever was sending is in the middle of something.
    """

    __slots__ = (
        "user", "slot", "incarnation", "user_generation", "connection_id", "last_heard", "is_over", "began", "is_closing", "closed_with",
        "_sealer", "_socket", "_send_raw", "_outbound", "_bound", "_slow_seconds", "_parts", "_part_bytes", "_unsent", "_is_dirty",
        "_writer", "_on_cut", "on_last_word",
    )  # fmt: skip

    def __init__(
        self,
        identity: tuple[int, int, int],
        incarnation: tuple[int, int],
        connection_id: str,
        sealer: Sealer,
        socket: Any,
        outbound: Outbound,
        limits: tuple[int, float],
        on_cut: Callable[[], None],
    ) -> None:
        """identity = (user, slot, user generation); limits = (most outbound bytes, seconds a full socket may stay full)."""
        self.user, self.slot, self.user_generation = identity
        self.incarnation = incarnation
        self.connection_id = connection_id
        self.last_heard = 0.0
        self.is_over = False
        self.began = 0.0
        self.closed_with: ErrorCode | None = None  # why this side ended it, if it did
        self._sealer = sealer
        self._socket = socket
        self._send_raw = socket._sock.send  # the non-blocking socket itself: no switch, no watcher, for nearly every send
        self._outbound = outbound
        self._bound, self._slow_seconds = limits
        self._parts: list[bytes] = []
        self._part_bytes = 0
        self._unsent = b""
        self._is_dirty = False
        self.is_closing = False
        self._writer: gevent.Greenlet[[], None] | None = None
        self._on_cut = on_cut
        self.on_last_word: Callable[[Session], None] = lambda session: None

    @property
    def key(self) -> int:
        """user << 6 | slot: the terminal of the user this is a session of."""
        return self.user << 6 | self.slot

    @property
    def waiting_bytes(self) -> int:
        """Outbound bytes that the socket has not taken."""
        return self._part_bytes + len(self._unsent)

    def send(self, data: bytes) -> None:
        """Queue one or more whole encoded messages."""
        if self.is_over or self.is_closing:
            return
        self._parts.append(data)
        self._part_bytes += len(data)
        if not self._is_dirty:
            self._is_dirty = True
            self._outbound.add(self)
        elif self._unsent and self._part_bytes + len(self._unsent) > self._bound:
            self.goodbye(ErrorCode.TOO_SLOW, "too much is waiting for this terminal")

    def send_many(self, messages: list[bytes], size: int) -> None:
        """Queue whole encoded messages of `size` bytes in all; one call for a batch."""
        if self.is_over or self.is_closing:
            return
        self._parts += messages
        self._part_bytes += size
        if not self._is_dirty:
            self._is_dirty = True
            self._outbound.add(self)
        elif self._unsent and self._part_bytes + len(self._unsent) > self._bound:
            self.goodbye(ErrorCode.TOO_SLOW, "too much is waiting for this terminal")

    def flush(self) -> None:
        """Seal all that waits and hand it to the socket; what the socket does not take is left to a writer."""
        self._is_dirty = False
        if self._unsent:
            self._check_bound()
        elif not self.is_over:
            try:
                data = self._seal_parts()
            except LocalProtocolError:  # the key's hard limit [P-2.5]: nothing more can be said
                self.cut()
                return
            self._push(data)

    def _push(self, data: bytes) -> None:
        """Hand a sealed frame to the socket; what it does not take is left to a writer."""
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self._send_raw(data)
        except OSError as error:
            if error.errno not in _WOULD_BLOCK:
                self.cut()
                return
            sent = 0
        if sent < len(data):
            self._unsent = data[sent:]
            self._check_bound()
            if not self.is_over and self._writer is None:
                self._writer = gevent.spawn(self._write)
        elif self.is_closing:
            self.cut()

    def _check_bound(self) -> None:
        if self.waiting_bytes > self._bound and not self.is_closing:
            self.goodbye(ErrorCode.TOO_SLOW, "too much is waiting for this terminal")

    def _seal_parts(self) -> bytes:
        parts, self._parts = self._parts, []
        total, self._part_bytes = self._part_bytes, 0
        if total > _RECORD_PLAINTEXT_BYTES:
            frames = b"".join(self._sealer.seal(plaintext) for plaintext in _plaintexts(parts))
        else:
            frames = self._sealer.seal(b"".join(parts)) if parts else b""
        return frames + self._sealer.close() if self.is_closing else frames

    def _write(self) -> None:
        """Carry on where the socket was full (yields); ends when all is out, or with the session."""
        try:
            while self._unsent and not self.is_over:
                with gevent.Timeout(self._slow_seconds):  # for each step: who takes something is slow, but not stuck
                    sent = self._socket.send(self._unsent)
                self._unsent = self._unsent[sent:]
        except OSError:
            self.cut()
            return
        except gevent.Timeout:
            self.closed_with = self.closed_with or ErrorCode.TOO_SLOW
            self.cut()
            return
        self._writer = None
        self.flush()

    def goodbye(self, code: ErrorCode, text: str) -> None:
        """End the session with a reason: GOODBYE, an empty record [P-2.3], the end of the connection."""
        if not self.is_over and not self.is_closing:
            self.closed_with = code
            self._say_last(encode_error(Command.GOODBYE, 0, 0, 0, code, text))

    def send_frame(self, make: Callable[[], bytes]) -> None:
        """Send all that waits, then the frame that `make` seals: for what has to end a record, as REKEY does [P-6.1]."""
        if self.is_over or self.is_closing:
            return
        try:
            frames = self._seal_parts() + make()
        except LocalProtocolError:  # as in `flush`
            self.cut()
            return
        self._push(frames)

    def farewell(self) -> None:
        """Answer the terminal's own GOODBYE and end."""
        if not self.is_over and not self.is_closing:
            self._say_last(encode_message(Command.GOODBYE, REPLY, self.user, 0, 0))

    def finish(self) -> None:
        """The peer says no more, but may still read: send what waits, the empty record, and end."""
        if not self.is_over and not self.is_closing:
            self._say_last(b"")
        self.flush()

    def wait_until_out(self, seconds: float) -> None:
        """Wait for the bytes that the socket has not taken (yields)."""
        if self._writer is not None:
            self._writer.join(seconds)

    def _say_last(self, data: bytes) -> None:
        # Not by way of `send`: its check of the bound would say goodbye from within a goodbye.
        if data:
            self._parts.append(data)
            self._part_bytes += len(data)
        self.is_closing = True
        self.on_last_word(self)
        if self._unsent:  # if the peer does not read, the words never arrive
            gevent.spawn_later(_LAST_WORDS_SECONDS, self.cut)
        elif not self._is_dirty:
            self._is_dirty = True
            self._outbound.add(self)

    def cut(self) -> None:
        """End the session at once; safe to call again."""
        if self.is_over:
            return
        self.is_over = True
        self._parts.clear()
        self._part_bytes = 0
        self._unsent = b""
        self.on_last_word(self)
        self._on_cut()


def _plaintexts(parts: list[bytes]) -> Iterator[bytes]:
    """Parts joined into as few plaintexts as the cap of a record allows; each part is whole messages and fits by itself."""
    batch: list[bytes] = []
    size = 0
    for part in parts:
        if size + len(part) > _RECORD_PLAINTEXT_BYTES and batch:
            yield b"".join(batch)
            batch, size = [], 0
        batch.append(part)
        size += len(part)
    yield b"".join(batch)


class Sessions:
    """All live sessions of a center, by terminal and by user."""

    def __init__(self, per_user: int, remember: int = 100_000) -> None:
        """per_user: most sessions of one user; remember: for how many terminals the last incarnation is kept after their session ended."""
        self._per_user = per_user
        self._remember = remember
        self.by_terminal: dict[int, Session] = {}
        self._by_user: dict[int, list[Session]] = {}
        self._last: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self.by_terminal)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self.by_terminal.values()))

    def of(self, user: int) -> list[Session]:
        """Live sessions of a user, oldest first."""
        return self._by_user.get(user, [])

    def check(self, user: int, slot: int, incarnation: tuple[int, int]) -> None:
        """SessionRefused STALE_CONNECTION if this or a newer incarnation of the terminal is known here [P-5.4]."""
        known = self._last.get(user << 6 | slot)
        if known is not None and incarnation <= known:
            raise SessionRefused(ErrorCode.STALE_CONNECTION, "this or a newer connection number is known")

    def last(self, key: int) -> tuple[int, int]:
        """The highest incarnation of a terminal (key = user << 6 | slot) that was seen here; (0, 0) if none is remembered."""
        return self._last.get(key, (0, 0))

    def note(self, key: int, incarnation: tuple[int, int]) -> None:
        """The terminal has a newer session elsewhere: older ones are refused here, too."""
        if incarnation > self._last.get(key, (0, 0)):
            self._last[key] = incarnation

    def add(self, session: Session) -> list[Session]:
        """List a session; returns those it replaces: an older one of the same terminal, the oldest of a user that has too many."""
        self.check(session.user, session.slot, session.incarnation)
        replaced = []
        older = self.by_terminal.get(session.key)
        if older is not None:
            replaced.append(older)
            self.remove(older)
        of_user = self._by_user.setdefault(session.user, [])
        if len(of_user) >= self._per_user:
            replaced.append(of_user[0])
            self.remove(of_user[0])
        self._by_user.setdefault(session.user, []).append(session)
        self.by_terminal[session.key] = session
        self._last.pop(session.key, None)
        self._last[session.key] = session.incarnation
        if len(self._last) > self._remember + len(self.by_terminal):
            old = (key for key in self._last if key not in self.by_terminal)
            for key in list(islice(old, max(1, self._remember // 10))):
                del self._last[key]
        return replaced

    def remove(self, session: Session) -> bool:
        """Take a session off the list; False if it was not on it (any more)."""
        if self.by_terminal.get(session.key) is not session:
            return False
        del self.by_terminal[session.key]
        of_user = self._by_user[session.user]
        of_user.remove(session)
        if not of_user:
            del self._by_user[session.user]
        return True
