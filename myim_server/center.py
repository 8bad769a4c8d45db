"""The center's door: terminals connect here with their token, and one greenlet reads each connection.

What lives here: accepting, the handshake [P-5], the reading loop, and the clockwork that finds idle, half-open and stuck connections.
What must not: rules of delivery, checks of single commands, SQL.

One connection's whole life is `_serve`, in order. The reader waits on a watcher that stays started, so a wake-up costs one switch and one
system call; what it reads is taken without yielding, and everything that is ready for anybody goes out at the end of the turn
(`sessions.Outbound`).
"""

from __future__ import annotations

import socket as sockets
from collections import Counter
from contextlib import suppress
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer

from myim_server.center_parts import DoorLimits, DoorParts
from myim_server.channel_sockets import ChannelSocket, readable_watcher
from myim_server.refusals import SessionRefused
from myim_server.requests import Talk
from myim_server.sessions import Session
from myim_server.throttles import address_counter
from myim_wire.center_handshake import check_binder
from myim_wire.connection import Connection
from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.flights import encode_error_flight
from myim_wire.messages import PING_ASK, Message
from myim_wire.tokens import Ticket

_READ_BYTES = 65_536
_BACKLOG = 4096
_MUCH_BYTES = 12_288  # in one read: more than a lively terminal sends, a hundred messages of 100 bytes
_CLOSE_SECONDS = 1.0
_LATE_SECONDS = 5.0  # between two rounds of the clockwork, which comes every 2 s
_SESSIONS_AT_ONCE = 500  # then others get their turn
_REKEY_SECONDS = 25 * 3600.0  # a terminal starts by itself at 24 h [P-2.5]; later the center asks


class _Enough(Exception):
    """Waited long enough; nobody is told."""


class _Conversation:
    """What the clockwork looks at: the session, its connection's state, since when a frame is incomplete."""

    __slots__ = ("session", "connection", "partial_since", "partial_records", "pinged_at")

    def __init__(self, session: Session, connection: Connection) -> None:
        self.session = session
        self.connection = connection
        self.partial_since = 0.0
        self.partial_records = 0
        self.pinged_at = 0.0

    def is_frame_late(self, now: float, seconds: float) -> bool:
        """Whether the same frame was incomplete for so long; asked every few seconds, so that a reader need not keep count."""
        records = self.connection.records_opened
        if not self.connection.has_partial_frame or records != self.partial_records or not self.partial_since:
            self.partial_since, self.partial_records = now, records
        return self.connection.has_partial_frame and now - self.partial_since > seconds


class Center(StreamServer):
    """The message center's StreamServer; its Pool bounds connections and ends their greenlets at `stop`."""

    def __init__(self, listener: Any, limits: DoorLimits, parts: DoorParts) -> None:
        self._connections = Pool(limits.connections)
        backlog = _BACKLOG if isinstance(listener, tuple) else None  # a socket that workers share listens already
        super().__init__(listener, self._serve, spawn=self._connections, backlog=backlog)
        self._limits = limits
        self._parts = parts
        self._shaking: Counter[str] = Counter()
        # Shared by all readers, since none yields before it has copied its bytes out: to ask for 64 KiB each time costs more than reading.
        self._read_buffer = memoryview(bytearray(_READ_BYTES))
        self._conversations: dict[Session, _Conversation] = {}
        self._next_connection = 0
        self._unknown: set[Any] = set()  # sockets in their handshake
        self._looked_at = parts.now()
        self.is_draining = False

    @property
    def handshakes_running(self) -> int:
        """Connections that have not said who they are."""
        return self._shaking.total()

    # ------------------------------------------------------------------ one connection's life

    def serve_channel(self, channel: ChannelSocket, address: tuple[str, int], endpoint: int) -> None:
        """Serve a terminal that an endpoint (its node id) carries as if it were connected here; does not yield."""
        if self._connections.full():
            self._tell(channel, ErrorCode.BUSY)
            channel.close()
        else:
            self._connections.spawn(self._serve, channel, address, endpoint)

    def _serve(self, socket: Any, address: tuple[Any, ...], endpoint: int | None = None) -> None:
        """Handshake, first valid record, conversation, end (yields throughout); endpoint: None where the terminal is connected here."""
        self._next_connection += 1
        self._parts.metrics.connections += 1
        connection_id = f"c{self._next_connection}"
        try:
            socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            place = self._parts.node_id if endpoint is None else endpoint
            begun = self._shake_hands(socket, address_counter(str(address[0])), place, connection_id)
            if begun is not None:
                self._converse(socket, *begun)
        except OSError:
            pass  # the peer is gone; whatever it had is given back below
        except Exception as fault:  # a bug of ours before the session began
            self._parts.log.error("connection_fault", connection=connection_id, exc_info=fault)
            self._tell(socket, ErrorCode.INTERNAL)
        finally:
            socket.close()

    def _shake_hands(
        self, socket: Any, address: str, endpoint: int, connection_id: str
    ) -> tuple[Talk, _Conversation, list[Message]] | None:
        """Up to the first valid record [P-5.5]: (talk, conversation, the record's messages), or None after an error flight (yields).

        Who has no place is not waited for, all others only as long as they have theirs: else connections would pile up beside the limits.
        """
        limits = self._limits
        if self.handshakes_running >= limits.handshakes or self._shaking[address] >= limits.handshakes_per_address:
            self._parts.metrics.handshakes_failed[ErrorCode.BUSY.name] += 1
            self._tell(socket, ErrorCode.BUSY)
            return None
        self._shaking[address] += 1
        self._unknown.add(socket)
        try:
            with gevent.Timeout(limits.handshake_seconds, RemoteProtocolError(ErrorCode.TIMEOUT, "the handshake took too long")):
                return self._establish(socket, endpoint, connection_id)
        except (RemoteProtocolError, SessionRefused) as error:
            self._parts.metrics.handshakes_failed[error.code.name] += 1
            self._tell(socket, error.code)
            with suppress(OSError):
                _drop_input(socket)
            return None
        finally:
            self._unknown.discard(socket)
            self._shaking[address] -= 1
            if not self._shaking[address]:
                del self._shaking[address]

    def _establish(self, socket: Any, endpoint: int, connection_id: str) -> tuple[Talk, _Conversation, list[Message]] | None:
        parts = self._parts
        connection = Connection.for_center()
        while connection.connect is None:
            data = self._hear(socket)
            if not data:
                return None
            connection.receive_data(data)
        connect = connection.connect
        self._check_draining()
        ticket = parts.admission.open(connect.token)
        check_binder(connect, ticket.session_key)  # first: what became of a terminal is told to itself alone
        parts.admission.check(ticket)
        incarnation = (ticket.terminal_generation, connect.connection_number)
        parts.router.check(ticket.user, ticket.slot, incarnation)
        socket.sendall(connection.accept(ticket.session_key, ticket.terminal_public, parts.random(32), parts.random(32)))
        messages: list[Message] = []
        while not connection.is_open:
            data = self._hear(socket)
            if not data:
                return None
            messages = connection.receive_data(data)
            if connection.is_peer_closed:
                return None
        # Again: what was revoked while the first record was awaited was no session that could be closed. Nothing yields from here on.
        self._check_draining()
        parts.admission.check_again(connect.token)
        session = self._new_session(socket, ticket, incarnation, connection, connection_id)
        party = parts.router.come_online(session, endpoint)
        talk = parts.commands.begin(party, ticket, lambda: connection.answer_rekey(parts.random(32)))
        return talk, _Conversation(session, connection), messages

    def _hear(self, socket: Any) -> bytes:
        data: bytes = socket.recv(_READ_BYTES)
        if not data:
            self._check_draining()  # which ends what handshakes hear
        return data

    def _check_draining(self) -> None:
        if self.is_draining:
            raise SessionRefused(ErrorCode.DRAINING, "this center takes no new sessions")

    def _new_session(
        self, socket: Any, ticket: Ticket, incarnation: tuple[int, int], connection: Connection, connection_id: str
    ) -> Session:
        def end() -> None:
            """The last bytes are with the kernel: say so to the peer, and give it a moment before the reader ends."""
            try:
                socket.shutdown(sockets.SHUT_WR)
            except OSError:
                return
            gevent.spawn_later(_CLOSE_SECONDS, _shut, socket)

        session = Session(
            (ticket.user, ticket.slot, ticket.user_generation),
            incarnation,
            connection_id,
            connection,
            socket,
            self._parts.outbound,
            (self._limits.outbound_bytes, self._limits.slow_reader_seconds),
            end,
        )
        session.on_last_word = self._leave_soon
        session.began = session.last_heard = self._parts.now()
        return session

    def _leave_soon(self, session: Session) -> None:
        """What comes for a session after its last word would wait in vain until its reader ends."""
        gevent.get_hub().loop.run_callback(self._leave, session)

    def _leave(self, session: Session) -> None:
        try:
            self._parts.router.go_offline(session)
        except Exception as fault:  # in the hub nobody else would say it; the reader's end tries again
            self._parts.log.error("connection_fault", connection=session.connection_id, exc_info=fault)

    def _converse(self, socket: Any, talk: Talk, conversation: _Conversation, messages: list[Message]) -> None:
        """From the first valid record to the end (yields while nothing is there to read)."""
        session = conversation.session
        self._conversations[session] = conversation
        self._parts.metrics.sessions_opened += 1
        try:
            self._parts.commands.receive(talk, messages, self._parts.now())
            self._read(socket, talk, conversation)
        except (RemoteProtocolError, SessionRefused) as error:
            self._parts.metrics.bad_input[error.code.name] += 1
            session.goodbye(error.code, error.text)
        except OSError:
            session.cut()
        except Exception as fault:  # a bug of ours: said once, this session ends, nobody else is disturbed
            self._parts.log.error("connection_fault", connection=session.connection_id, exc_info=fault)
            session.goodbye(ErrorCode.INTERNAL, "a fault of the server")
        finally:
            if session.closed_with is not None:
                self._parts.metrics.sessions_closed[session.closed_with.name] += 1
            del self._conversations[session]
            self._parts.router.go_offline(session)
            self._parts.commands.end(talk)
        self._linger(socket, session)

    def _read(self, socket: Any, talk: Talk, conversation: _Conversation) -> None:
        """The reading loop: until the peer ends, or the session is over."""
        session, connection = conversation.session, conversation.connection
        receive, take, now = connection.receive_data, self._parts.commands.receive, self._parts.now
        read, buffer = socket._sock.recv_into, self._read_buffer
        hub = gevent.get_hub()
        watcher = readable_watcher(socket)
        watcher.start(gevent.getcurrent().switch)
        try:
            while not (session.is_over or connection.is_peer_closed):
                hub.switch()
                try:
                    count = read(buffer)
                except BlockingIOError:
                    continue
                if not count:
                    return
                if session.is_closing:  # its end is decided: late acts of a replaced session must not count
                    return
                session.last_heard = heard = now()
                if count > _MUCH_BYTES:
                    watcher.stop()  # it would wake this greenlet where it gives way
                    self._take_in_pieces(talk, conversation, bytes(buffer[:count]), heard)
                    watcher.start(gevent.getcurrent().switch)
                    continue
                messages = receive(bytes(buffer[:count]))
                if messages:
                    take(talk, messages, heard)
        finally:
            watcher.stop()
            watcher.close()

    def _take_in_pieces(self, talk: Talk, conversation: _Conversation, data: bytes, heard: float) -> None:
        """Much came at once: others get their turn between its records, each of which is taken in one piece (yields)."""
        session, connection = conversation.session, conversation.connection
        for start in range(0, len(data), _MUCH_BYTES):
            messages = connection.receive_data(data[start : start + _MUCH_BYTES])
            if messages:
                self._parts.commands.receive(talk, messages, heard)
                gevent.sleep(0)
                if session.is_closing or session.is_over:  # meanwhile: as in `_read`
                    return

    def _linger(self, socket: Any, session: Session) -> None:
        """Let a GOODBYE reach a peer that still sends: read and drop for a moment, then close."""
        session.finish()
        _drop_input(socket)
        session.wait_until_out(_CLOSE_SECONDS)  # a half-closed peer that is slow to read
        session.cut()

    def _tell(self, socket: Any, code: ErrorCode) -> None:
        """Refuse before there are keys; what has come already is dropped, so that the close is no reset. Does not yield."""
        with suppress(OSError):
            socket._sock.send(encode_error_flight(code))
            socket.shutdown(sockets.SHUT_WR)
            socket._sock.recv(_READ_BYTES)

    # ------------------------------------------------------------------ clockwork

    def look_after(self) -> None:
        """Ask the silent, end the dead and the stuck; called every few seconds (yields)."""
        now = self._parts.now()
        was_stopped, self._looked_at = now - self._looked_at > _LATE_SECONDS, now
        for number, conversation in enumerate(list(self._conversations.values()), 1):
            if was_stopped:  # nobody was asked, and what they said waits to be read: their time begins anew
                conversation.session.last_heard = conversation.partial_since = now
                continue
            try:
                self._look_at(conversation, now)
            except Exception as fault:  # a bug of ours: this session ends, the others are looked after
                self._parts.log.error("look_after_fault", connection=conversation.session.connection_id, exc_info=fault)
                conversation.session.cut()
            if number % _SESSIONS_AT_ONCE == 0:
                gevent.sleep(0)

    def _look_at(self, conversation: _Conversation, now: float) -> None:
        session, limits = conversation.session, self._limits
        silent = now - session.last_heard
        if conversation.is_frame_late(now, limits.frame_seconds):
            session.goodbye(ErrorCode.TIMEOUT, "a frame took too long")
        elif silent > limits.idle_close_seconds:
            session.goodbye(ErrorCode.IDLE, "nothing was heard, an answer to PING included")
        elif conversation.connection.is_rekey_due or now - session.began > _REKEY_SECONDS:
            session.began = now
            session.send_frame(conversation.connection.ask_rekey)
        elif silent > limits.idle_ping_seconds and conversation.pinged_at < session.last_heard:
            conversation.pinged_at = now
            session.send(PING_ASK)

    def close_all(self, code: ErrorCode, text: str) -> None:
        """End all sessions with a reason (yields)."""
        for number, session in enumerate(list(self._conversations), 1):
            session.goodbye(code, text)
            if number % _SESSIONS_AT_ONCE == 0:
                gevent.sleep(0)

    def drain(self, seconds: float) -> None:
        """Take no new sessions, end the present ones, wait for their last bytes (yields)."""
        self.is_draining = True
        for socket in self._unknown:  # the socket itself: gevent's own shutdown would end the reader without a word
            with suppress(OSError):
                socket._sock.shutdown(sockets.SHUT_RD)
        self.close_all(ErrorCode.SHUTDOWN, "the server stops")
        with suppress(_Enough), gevent.Timeout(seconds, _Enough):
            self._connections.join()


def _drop_input(socket: Any) -> None:
    """Read and drop for a moment (yields): unread bytes would turn the close into a reset, which eats our last words."""
    with suppress(_Enough), gevent.Timeout(_CLOSE_SECONDS, _Enough):
        while socket.recv(_READ_BYTES):
            pass


def _shut(socket: Any) -> None:
    try:
        socket.shutdown(sockets.SHUT_RDWR)
    except OSError:
        return
