"""The endpoint's doors: terminals connect here, and their bytes travel unread as channels over links to a center.

What lives here: two listeners, which center's link carries a terminal, the bounds on who is let in, what the centers are told of us. What
must not: frames, keys, the store, any directory, the links' own life. Why `refuse` is quick and speaks: a terminal that is told, or closed,
tries its next server at once, where one that cannot connect may wait for a time-out.

Nothing here yields but `stop` and the closing of a lost link's terminals.
"""

from __future__ import annotations

import socket as sockets
from _socket import socket as SystemSocket  # noqa: N812  # a class, whatever its name
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import gevent
from gevent.server import StreamServer

from myim_server.channel_sockets import Link
from myim_server.endpoint_terminals import READ_BYTES, Lane, Terminal
from myim_server.throttles import address_counter
from myim_wire import channels
from myim_wire.channels import HEAD_BYTES, About, Service
from myim_wire.errors import ErrorCode
from myim_wire.flights import encode_error_flight

_AT_ONCE = 200  # terminals that are closed in one turn
_FULL_LINK_SECONDS = 0.02
_LOOK_AFTER_SECONDS = 1.0
_BACKLOG = 4096


class EndpointLimits(NamedTuple):
    """What the endpoint lets in, and how long it waits (seconds). Unanswered: no byte came back yet."""

    connections: int = 15_000
    unanswered: int = 1_000
    unanswered_per_address: int = 50
    silent_seconds: float = 10.0
    closing_seconds: float = 5.0


class Advertised(NamedTuple):
    """What terminals are told of this endpoint; "" and 0: as bound. Lower priority is better."""

    host: str = ""
    port: int = 0
    login_host: str = ""
    login_port: int = 0
    priority: int = 5


_AS_BOUND = Advertised()


class _Door(StreamServer):
    """Accepts without gevent's socket, whose two watchers and greenlet nobody would use here."""

    def __init__(self, listener: tuple[str, int], accepted: Callable[[SystemSocket, str], None]) -> None:
        super().__init__(listener, handle=accepted, backlog=_BACKLOG)
        self._accepted = accepted

    def do_read(self) -> Any:
        """The next connection, if there is one."""
        listening: Any = self.socket
        try:
            descriptor, address = listening._accept()
        except BlockingIOError:
            return None
        socket = SystemSocket(listening.family, listening.type, listening.proto, fileno=descriptor)
        socket.setblocking(False)
        return socket, address

    def do_handle(self, *args: Any) -> None:
        """In the hub."""
        socket, address = args
        self._accepted(socket, str(address[0]))


class Endpoint:
    """A front machine: `build`, `start`, `stop`; told of links and their messages by whoever holds them."""

    def __init__(
        self,
        listen: tuple[str, int],
        login_listen: tuple[str, int],
        centers: Sequence[int],
        limits: EndpointLimits,
        now: Callable[[], float],
        log: Any,
        advertised: Advertised = _AS_BOUND,
    ) -> None:
        """listen, login_listen: (host, port), port 0 takes a free one; centers: node ids, best first; now: monotonic seconds."""
        self.door = _Door(listen, lambda socket, host: self._accepted(socket, host, Service.CENTER))
        self.login_door = _Door(login_listen, lambda socket, host: self._accepted(socket, host, Service.LOGIN))
        self.buffer = bytearray(HEAD_BYTES + READ_BYTES)  # shared: whoever reads into it has copied it out before anybody else runs
        self.view = memoryview(self.buffer)
        self.room = self.view[HEAD_BYTES:]
        self._centers = {node: place for place, node in enumerate(centers)}
        self._limits = limits
        self._now = now
        self._log = log
        self._advertised = advertised
        self._lanes: dict[Link, Lane] = {}
        self._terminals: set[Terminal] = set()
        self._unanswered: Counter[str] = Counter()
        self._silent: deque[tuple[float, Terminal]] = deque()
        self._closing: deque[tuple[float, Terminal]] = deque()
        self._loop: gevent.Greenlet[[], None] | None = None
        self._is_retrying = False
        self._about = b""
        self.is_draining = False
        self.refused: Counter[str] = Counter()

    # ------------------------------------------------------------------ life

    def build(self) -> None:
        """Bind and listen; OSError if an address cannot be had."""
        self.door.init_socket()
        self.login_door.init_socket()

    def start(self) -> None:
        """Let terminals in."""
        self.door.start()
        self.login_door.start()
        self._loop = gevent.spawn(self._keep_looking)

    def stop(self) -> None:
        """Close the doors and all connections (yields); safe to call again."""
        self.door.stop()
        self.login_door.stop()
        if self._loop is not None:
            self._loop.kill()
            self._loop = None
        self._close_all(list(self._terminals))

    def drain(self) -> None:
        """Take no new terminals, and have the others told so; those that are there stay until `stop`."""
        self.is_draining = True
        self._tell_about()

    @property
    def connections(self) -> int:
        """Terminals that are connected."""
        return len(self._terminals)

    # ------------------------------------------------------------------ terminals

    def _accepted(self, socket: SystemSocket, host: str, service: Service) -> None:
        limits, counter = self._limits, address_counter(host)
        if self.is_draining:
            self.refuse(socket, ErrorCode.DRAINING)
        elif self._best_lane() is None:
            self.refuse(socket, ErrorCode.ISOLATED)
        elif (
            len(self._terminals) >= limits.connections
            or self._unanswered.total() >= limits.unanswered
            or self._unanswered[counter] >= limits.unanswered_per_address
        ):
            self.refuse(socket, ErrorCode.BUSY)
        else:
            socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            terminal = Terminal(self, socket, host, counter, service)
            self._unanswered[counter] += 1
            self._terminals.add(terminal)
            self._silent.append((self._now() + limits.silent_seconds, terminal))
            return
        socket.close()

    def refuse(self, socket: SystemSocket, code: ErrorCode) -> None:
        """Say why; the terminal goes on to another server at once."""
        self.refused[code.name] += 1
        with suppress(OSError):
            socket.send(encode_error_flight(code))
            socket.shutdown(sockets.SHUT_WR)
            socket.recv_into(self.room)

    def _best_lane(self) -> Lane | None:
        """Of the first linked center that does not drain: the link with the fewest channels."""
        last = len(self._centers)
        able = [lane for lane in self._lanes.values() if lane.can_open]
        return min(able, key=lambda lane: (self._centers.get(lane.link.peer.node, last), len(lane.carried)), default=None)

    def open_channel(self, terminal: Terminal) -> Lane | None:
        """Open a channel for a terminal that said something; None where no center takes it."""
        lane = self._best_lane()
        if lane is None or not lane.link.send(channels.encode_open(lane.last + 1, terminal.service, terminal.host)):
            return None
        lane.last += 1
        terminal.lane, terminal.channel, terminal.host = lane, lane.last, ""
        lane.carried[lane.last] = terminal
        return lane

    def answered(self, terminal: Terminal) -> None:
        """The first byte came back for it, or it is over."""
        counter, terminal.counter = terminal.counter, ""
        if counter:
            self._unanswered[counter] -= 1
            if not self._unanswered[counter]:
                del self._unanswered[counter]

    def forget(self, terminal: Terminal) -> None:
        """It is over."""
        self._terminals.discard(terminal)
        self.answered(terminal)
        if terminal.lane is not None:
            terminal.lane.forget(terminal.channel)

    def close_soon(self, terminal: Terminal) -> None:
        """Its last bytes have a moment."""
        self._closing.append((self._now() + self._limits.closing_seconds, terminal))

    def _close_all(self, terminals: list[Terminal]) -> None:
        for number, terminal in enumerate(terminals, 1):
            terminal.leave()
            if number % _AT_ONCE == 0:
                gevent.sleep(0)

    # ------------------------------------------------------------------ links

    def came_up(self, link: Link) -> None:
        """A link to a center is open."""
        self._lanes[link] = Lane(link)
        link.send_urgent(channels.encode_about(self.about()))

    def went_down(self, link: Link) -> None:
        """A link ended: its terminals are closed at once, and come back to be carried elsewhere."""
        lane = self._lanes.pop(link, None)
        if lane is not None and lane.carried:
            gevent.spawn(self._close_all, list(lane.carried.values()))

    def take(self, link: Link, messages: Sequence[bytes]) -> None:
        """Messages of a center came; one that breaks a rule ends its link."""
        lane = self._lanes.get(link)
        if lane is not None:
            lane.take(messages, partial(self._take, lane), self._log)

    def _take(self, lane: Lane, message: bytes) -> bool:
        if message[0] != channels.DRAINING:
            return False
        channels.check_draining(message)
        lane.is_draining = True
        return True

    def hold(self, lane: Lane, terminal: Terminal) -> None:
        """The link takes nothing now: the terminal waits, unread."""
        lane.held.append(terminal)
        if not self._is_retrying:
            self._is_retrying = True
            gevent.spawn_later(_FULL_LINK_SECONDS, self._retry)

    def _retry(self) -> None:
        for lane in self._lanes.values():
            while lane.held and lane.held[0].send_held():
                lane.held.pop(0)
        self._is_retrying = any(lane.held for lane in self._lanes.values())
        if self._is_retrying:
            gevent.spawn_later(_FULL_LINK_SECONDS, self._retry)

    # ------------------------------------------------------------------ clockwork

    def about(self) -> About:
        """What terminals are to be told of this endpoint."""
        told = self._advertised
        return About(
            told.host or str(self.door.server_host),
            told.port or int(self.door.server_port or 0),
            told.login_host or str(self.login_door.server_host),
            told.login_port or int(self.login_door.server_port or 0),
            told.priority,
            min(100, 100 * len(self._terminals) // self._limits.connections),
            self.is_draining,
        )

    def look_after(self) -> None:
        """Close who said nothing and who does not take its last bytes; tell the centers what changed."""
        now = self._now()
        while self._silent and self._silent[0][0] <= now:
            terminal = self._silent.popleft()[1]
            if terminal.lane is None and terminal in self._terminals:
                terminal.close()
        while self._closing and self._closing[0][0] <= now:
            terminal = self._closing.popleft()[1]
            if terminal in self._terminals:
                terminal.close()
        self._tell_about()

    def _tell_about(self) -> None:
        about = channels.encode_about(self.about())
        if about != self._about:
            self._about = about
            for lane in self._lanes.values():
                lane.link.send_urgent(about)

    def _keep_looking(self) -> None:
        while True:
            gevent.sleep(_LOOK_AFTER_SECONDS)
            try:
                self.look_after()
            except Exception as fault:
                self._log.error("look_after_fault", exc_info=fault)
