"""The login center's door: one greenlet carries one login, or change of an account, from HELLO to GRANT and closes.

What lives here: the socket, the deadline, the bounds on how many log in at once, and which error leaves as an error flight. What must not:
the bytes (`myim_wire.login_handshake`), who may log in (`chat.accounts`). Why only reading has a deadline: what the terminal sends is given
5 s in all; what we do with it is bounded by the queue of passwords and the store's own time limit, and is never broken off in the middle.
"""

from __future__ import annotations

import itertools
import os
import socket as sockets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import gevent
import structlog
from gevent import GreenletExit
from gevent.lock import BoundedSemaphore
from gevent.pool import Pool
from gevent.server import StreamServer

from myim_server.channel_sockets import ChannelSocket
from myim_server.chat.accounts import Accounts
from myim_server.keys import LoginKeys
from myim_server.metrics import Metrics
from myim_server.refusals import RequestRefused, SessionRefused
from myim_server.throttles import address_counter
from myim_wire.contents import Server
from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.flights import encode_error_flight
from myim_wire.frames import HANDSHAKE_FRAME_CAP, FrameDecoder
from myim_wire.login_flights import CredentialsReceived, ServersAsked
from myim_wire.login_handshake import LoginServer

REFUSED_CONNECTIONS = 64  # told BUSY without a place; that takes one turn
DISCARDED_BYTES = 65_536
BACKLOG = 1_024
STEPS_AT_ONCE = 4  # a step of the handshake computes for up to 0.6 ms
TURN_SECONDS = 1e-6  # a timer however short lets the hub look at all sockets and timers first, which sleep(0) would not

Connected = sockets.socket | ChannelSocket

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """How many handshakes run at once, in all and from one address, and how many seconds a terminal has for its flights [P-1.5]."""

    handshakes: int = 200
    handshakes_per_address: int = 20
    handshake_seconds: float = 5.0
    linger_seconds: float = 1.0


class LoginCenter(StreamServer):
    """Serves logins, registrations and the server list on one address; `build`, `start`, `stop`.

    `listen` is (host, port), port 0 takes a free one; `clock` is wall time in microseconds.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        keys: LoginKeys,
        accounts: Accounts,
        servers: Callable[[], Sequence[Server]],
        clock: Callable[[], int],
        metrics: Metrics,
        limits: LoginLimits | None = None,
    ) -> None:
        self._keys = keys
        self._accounts = accounts
        self._servers = servers
        self._clock = clock
        self._metrics = metrics
        self._limits = limits or LoginLimits()
        self._places = _Places(self._limits)
        self._turns = _Turns()
        self._connection_ids = itertools.count(1)
        self._connections = Pool(self._limits.handshakes + REFUSED_CONNECTIONS)
        super().__init__(listen, handle=self.serve, spawn=self._connections, backlog=BACKLOG)

    def build(self) -> tuple[str, int]:
        """Bind and listen; returns (host, port) as bound. Raises OSError if the address cannot be had."""
        self.init_socket()
        bound = self.socket.getsockname()
        return str(bound[0]), int(bound[1])

    @property
    def handshakes(self) -> int:
        """How many handshakes run now."""
        return len(self._places)

    def serve_channel(self, channel: ChannelSocket, address: tuple[str, int]) -> None:
        """Serve a terminal that an endpoint carries as if it were connected here; does not yield."""
        if self._connections.full():
            _send_error(channel, ErrorCode.BUSY)
            channel.close()
        else:
            self._connections.spawn(self.serve, channel, address)

    def serve(self, connection: Connected, address: tuple[str, int]) -> None:
        """One connection's whole life, in order; yields. `address` is (host, port) of the terminal."""
        connection_id = next(self._connection_ids)
        self._metrics.connections += 1
        try:
            connection.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            with self._places.taken(address[0]):  # the lingering included: who has no place must not be waited for
                self._serve(connection, connection_id, address[0])
                _linger(connection, self._limits.linger_seconds)
        except SessionRefused as refusal:
            self._end(connection, connection_id, address[0], refusal)
            _drop_arrived(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def _serve(self, connection: Connected, connection_id: int, host: str) -> None:
        try:
            self._log_in(_Flights(connection, self._limits.handshake_seconds), host)
        except (_PeerLeft, OSError):
            pass
        except (RemoteProtocolError, SessionRefused) as refusal:
            self._end(connection, connection_id, host, refusal)
        except GreenletExit:
            _send_error(connection, ErrorCode.SHUTDOWN)
            raise
        except Exception:
            _log.exception("login_broke", connection=connection_id)
            self._metrics.handshakes_failed[ErrorCode.INTERNAL.name] += 1
            _send_error(connection, ErrorCode.INTERNAL)

    def _log_in(self, flights: _Flights, host: str) -> None:
        hello = flights.next()
        with self._turns.taken():
            login = LoginServer(self._keys.identity_seed, self._keys.master_secret, os.urandom(32), os.urandom(32))
            flights.send(login.receive(hello).frames)
        choice = flights.next()
        with self._turns.taken():
            chosen = login.receive(choice)
        if isinstance(chosen.events[0], ServersAsked):
            flights.send([login.servers(self._servers())])
            return
        flights.send(chosen.frames)
        credentials = flights.next()
        with self._turns.taken():
            asked = login.receive(credentials).events[0]
        assert isinstance(asked, CredentialsReceived)
        flights.send([self._decide(login, asked, host)])

    def _decide(self, login: LoginServer, asked: CredentialsReceived, host: str) -> bytes:
        accounts = self._accounts
        decide = {
            "register": accounts.register, "login": accounts.log_in, "password": accounts.change_password, "delete": accounts.delete,
        }  # fmt: skip
        try:
            grant = decide[asked.op](asked, host, self._clock())
        except RequestRefused as refusal:
            self._metrics.handshakes_failed[refusal.code.name] += 1
            return login.refuse(refusal.code, refusal.retry_ms or 0)
        self._metrics.logins += asked.op != "delete"
        self._metrics.registrations += asked.op == "register"
        self._metrics.passwords_changed += asked.op == "password"
        self._metrics.accounts_deleted += asked.op == "delete"
        with self._turns.taken():
            return login.grant(grant)

    def _end(self, connection: Connected, connection_id: int, host: str, why: RemoteProtocolError | SessionRefused) -> None:
        self._metrics.handshakes_failed[why.code.name] += 1
        _log.info("login_handshake_ended", connection=connection_id, address=host, code=why.code.name, why=why.text)
        _send_error(connection, why.code)


class _PeerLeft(Exception):
    """The terminal closed between two flights: nobody is there to be answered."""


class _Places:
    """Counts the handshakes that run, in all and by address."""

    def __init__(self, limits: LoginLimits) -> None:
        self._limits = limits
        self._by_address: Counter[str] = Counter()
        self._all = 0

    def __len__(self) -> int:
        return self._all

    @contextmanager
    def taken(self, host: str) -> Iterator[None]:
        """Hold a place; raises SessionRefused(BUSY) when there is none."""
        address = address_counter(host)
        if self._all >= self._limits.handshakes or self._by_address[address] >= self._limits.handshakes_per_address:
            raise SessionRefused(ErrorCode.BUSY, "too many handshakes at once")
        self._all += 1
        self._by_address[address] += 1
        try:
            yield
        finally:
            self._all -= 1
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


class _Turns:
    """Lets a few handshakes compute in each turn of the hub, so that a crowd that comes at once is not served in one stall."""

    def __init__(self) -> None:
        self._turns = BoundedSemaphore(STEPS_AT_ONCE)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for a turn; yields."""
        with self._turns:
            gevent.sleep(TURN_SECONDS)
            yield


class _Flights:
    """Reads whole flights from a socket until a deadline, and writes frames."""

    def __init__(self, connection: Connected, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._frames = FrameDecoder(HANDSHAKE_FRAME_CAP)
        self._whole: list[bytes] = []

    def next(self) -> bytes:
        """The next flight; yields. Raises TIMEOUT at the deadline, BAD_FRAME for a bad or broken-off frame, _PeerLeft at a clean end."""
        while not self._whole:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise SessionRefused(ErrorCode.TIMEOUT, "the handshake took too long")
            self._connection.settimeout(left)
            try:
                data = self._connection.recv(HANDSHAKE_FRAME_CAP)
            except TimeoutError:
                continue
            if not data:
                raise self._end()
            self._whole += self._frames.feed(data)
        return self._whole.pop(0)

    def send(self, frames: Sequence[bytes]) -> None:
        """Send the frames; yields only if the terminal reads nothing at all, and then not for long."""
        self._connection.settimeout(self._seconds)
        self._connection.sendall(b"".join(frames))

    def _end(self) -> Exception:
        if self._frames.has_partial:
            return SessionRefused(ErrorCode.BAD_FRAME, "the connection ended inside a frame")
        return _PeerLeft()


def _send_error(connection: Connected, code: ErrorCode) -> None:
    try:
        connection.settimeout(1.0)
        connection.sendall(encode_error_flight(code))
    except OSError:
        pass


def _drop_arrived(connection: Connected) -> None:
    """As `_linger`, for what is there already; never yields."""
    try:
        connection.shutdown(sockets.SHUT_WR)
        connection.settimeout(0)
        connection.recv(DISCARDED_BYTES)
    except OSError:
        pass


def _linger(connection: Connected, linger_seconds: float) -> None:
    # Closing with unread bytes resets the connection, and the terminal would never see why: read them first, for a bounded while.
    deadline = time.monotonic() + linger_seconds
    discarded = 0
    try:
        connection.shutdown(sockets.SHUT_WR)
        while discarded < DISCARDED_BYTES and (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            data = connection.recv(DISCARDED_BYTES)
            if not data:
                break
            discarded += len(data)
    except OSError:
        pass
