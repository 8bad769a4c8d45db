"""The mesh link manager: one link to every other center, dialled, accepted, proven, kept; an endpoint's few links to its centers.

What lives here: which links there are, dialling with back-off, the listener, the heartbeat's clockwork. What must not: the bytes of the
handshake (`myim_wire.link_handshake`), one link's sending and reading (`peer_link`), what messages mean.

Between two nodes one link is enough. A node dials only whom it has no link to, so two arise only when both dial at once: then the one
dialled by the lower node id stays, because that node refuses the other while its own dial is under way, and the higher gives up its own.
Who has a link and is dialled all the same asks the old one first: if it does not answer, its peer has lost it, and the new one stays.
A dialler counts its link as up when the listener's first batch has come, so both sides agree on which it is.
"""

from __future__ import annotations

import os
import socket as sockets
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import random
from typing import Any, NamedTuple

import gevent
import structlog
from gevent import socket as cooperative
from gevent.pool import Pool
from gevent.server import StreamServer

from cluster.identity import Identity, tls_context
from cluster.link_socket import ROOM_BYTES, LinkSocket, read_frame, secure
from cluster.membership import Member as Member
from cluster.peer_link import LinkEvents, LinkLimits, LinkStatus, Peer, PeerLink
from myim_wire.errors import ErrorCode, RemoteProtocolError, ReportedError
from myim_wire.flights import encode_error_flight
from myim_wire.link_handshake import LinkHandshake, Other, OwnKeyError, Role, Self, fingerprint_of

_HANDSHAKE_SECONDS = 5.0
_HANDSHAKES = 64
_HANDSHAKES_PER_ADDRESS = 16
_CONNECTIONS = 4096
_LINKS_PER_ENDPOINT = 16
_PROBE_SECONDS = 2.0
_ROUND_SECONDS = 0.5
_LATE_SECONDS = 3.0
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.1, 5.0
_GOOD_SECONDS = 5.0
_OWN_ADDRESS_SECONDS = 60.0
# Who dials whom.
_LEGAL_ROLES = {(Role.CENTER, Role.CENTER), (Role.CENTER, Role.LOGIN), (Role.LOGIN, Role.CENTER), (Role.ENDPOINT, Role.CENTER)}

_log = structlog.get_logger(__name__)


class MeshSettings(NamedTuple):
    """Where to listen (None: nowhere), what this node is, "tls" or "plain", links to each member, seconds of heartbeat and silence."""

    listen: tuple[str, int] | None
    role: str = "center"
    security: str = "tls"
    links_per_peer: int = 1
    heartbeat_seconds: float = 5.0
    silence_seconds: float = 12.0
    limits: LinkLimits = LinkLimits()


class MeshLinkManager:
    """All links of one node; `build`, `start`, `stop`."""

    def __init__(
        self,
        settings: MeshSettings,
        identity: Identity,
        cluster_secret: bytes,
        events: LinkEvents,
        members: Callable[[], Sequence[Member]],
        admits: Callable[[Peer], bool] = lambda peer: False,
    ) -> None:
        """members: who is to be dialled, asked again and again; admits: whether an endpoint may have a link here."""
        self._settings = settings
        self._identity = identity
        self._events = events
        self._members = members
        self._admits = admits
        role = Role[settings.role.upper()]
        self._self = Self(role, settings.security == "tls", identity.seed, identity.certificate, cluster_secret)
        self._links: dict[int, list[PeerLink]] = {}
        self._centers: tuple[int, ...] = ()
        self._dialers: dict[tuple[str, int], gevent.Greenlet[..., Any]] = {}
        self._dialed: dict[str, LinkStatus] = {}
        self._wanted: dict[tuple[str, int], Member] = {}
        self._nodes: dict[str, int] = {}  # address -> node that answered there
        self._committed: dict[int, Any] = {}  # node -> connection on which this side has proven itself and waits to be taken
        self._room = memoryview(bytearray(ROOM_BYTES))
        self._shaking: Counter[str] = Counter()
        self._server: StreamServer | None = None
        self._clockwork: gevent.Greenlet[..., Any] | None = None
        self._accepted = Pool(_CONNECTIONS)

    # ------------------------------------------------------------------ life

    def build(self) -> None:
        """Bind; OSError if the address cannot be had."""
        if self._settings.listen is not None:
            self._server = StreamServer(self._settings.listen, self._accept, spawn=self._accepted, backlog=256)
            self._server.init_socket()

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) as bound; ("", 0) where nothing listens."""
        return ("", 0) if self._server is None else (str(self._server.server_host), int(self._server.server_port or 0))

    def start(self) -> None:
        """Accept and dial."""
        if self._server is not None:
            self._server.start()
        self._clockwork = gevent.spawn(self._keep_going)

    def stop(self) -> None:
        """Say goodbye on all links and end; safe to call again."""
        if self._clockwork is not None:
            self._clockwork.kill()
        if self._server is not None:
            self._server.close()
        for link in self._all():
            link.close(ErrorCode.SHUTDOWN, "this node stops")
        gevent.killall(list(self._dialers.values()), timeout=1)
        self._dialers.clear()
        self._accepted.join(timeout=1)
        self._accepted.kill(timeout=1)

    # ------------------------------------------------------------------ what others ask for

    def send(self, node: int, message: bytes, is_urgent: bool = False) -> bool:
        """Queue a message (kind first) for a node; False if there is no link, or too much waits on it. Never blocks."""
        links = self._links.get(node)
        if not links:
            return False
        return links[0].send_urgent(message) if is_urgent else links[0].send(message)

    def linked(self) -> Sequence[int]:
        """The centers that are linked."""
        return self._centers

    def link(self, node: int) -> PeerLink | None:
        """A link to the node, if there is one."""
        links = self._links.get(node)
        return links[0] if links else None

    def of_role(self, role: str) -> list[PeerLink]:
        """All links to nodes of this role."""
        return [link for link in self._all() if link.peer.role == role]

    def cut(self, node: int, reason: str) -> None:
        """End all links to a node at once."""
        for link in list(self._links.get(node, ())):
            _log.warning("link_cut", peer=node, reason=reason)
            link.cut(reason)

    def links(self) -> list[LinkStatus]:
        """The state of every link, those being dialled included."""
        known = [link.status() for link in self._all()]
        linked = {status.peer.address for status in known} | {address for address, node in self._nodes.items() if node in self._links}
        return known + [status for address, status in self._dialed.items() if address not in linked]

    def _all(self) -> list[PeerLink]:
        return [link for links in self._links.values() for link in links]

    # ------------------------------------------------------------------ clockwork

    def _keep_going(self) -> None:
        beat_at = looked_at = time.monotonic()
        pause = min(_ROUND_SECONDS, self._settings.heartbeat_seconds / 4)
        while True:
            try:
                self._dial_members()
                gevent.sleep(pause * (0.5 + random() / 2))
                now = time.monotonic()
                was_stopped, looked_at = now - looked_at > _LATE_SECONDS, now
                is_due = now - beat_at >= self._settings.heartbeat_seconds
                for link in self._all():
                    link.look_after(now, self._settings.silence_seconds, was_stopped)
                    if is_due and link.is_open:
                        link.beat()
                beat_at = now if is_due else beat_at
            except Exception as fault:  # a bug of ours, or of who says the members: the others are looked after all the same
                _log.error("mesh_fault", exc_info=fault)
                gevent.sleep(pause)

    def _dial_members(self) -> None:
        """Who is no longer a member keeps the link it has: a directory that forgot it may be wrong."""
        numbers, own = range(self._settings.links_per_peer), self._identity.node_id  # read once: it is parsed out of the certificate
        members = [member for member in self._members() if member.node != own]
        self._wanted = {(member.address, number): member for member in members for number in numbers}
        for key in self._wanted:
            if key not in self._dialers:
                self._dialers[key] = gevent.spawn(self._keep_dialing, key)

    # ------------------------------------------------------------------ dialling

    def _keep_dialing(self, key: tuple[str, int]) -> None:
        """One dialler's life: connect, prove, carry the link until it ends, again (yields throughout)."""
        wait = _FIRST_WAIT_SECONDS
        while member := self._wanted.get(key):
            node = member.node or self._nodes.get(member.address, 0)
            if self._settings.role != "endpoint" and self._links.get(node):
                gevent.sleep(_ROUND_SECONDS * (0.5 + random() / 2))
                continue
            begun = time.monotonic()
            try:
                error = self._dial(member)
            except OwnKeyError:
                self._dialed.pop(member.address, None)
                gevent.sleep(_OWN_ADDRESS_SECONDS)
                continue
            if time.monotonic() - begun > _GOOD_SECONDS:
                wait = _FIRST_WAIT_SECONDS
            peer = Peer(node, member.role, member.fingerprint, member.address)
            self._dialed[member.address] = LinkStatus(peer, "dialling", 0.0, 0, 0, error, time.monotonic(), False)
            gevent.sleep(wait * (0.5 + random() / 2))
            wait = min(_LONGEST_WAIT_SECONDS, 2 * wait)
        self._dialed.pop(key[0], None)
        del self._dialers[key]

    def _dial(self, member: Member) -> str:
        """Connect, shake hands, carry the link to its end; returns why it ended (yields). OwnKeyError: this node listens there."""
        host, _, port = member.address.rpartition(":")
        try:
            connection = cooperative.create_connection((host.strip("[]"), int(port)), timeout=_HANDSHAKE_SECONDS)
        except (OSError, ValueError) as error:
            return str(getattr(error, "strerror", None) or error)
        node = 0
        try:
            with gevent.Timeout(_HANDSHAKE_SECONDS, RemoteProtocolError(ErrorCode.TIMEOUT, "the handshake took too long")):
                other = self._prove(connection, True, lambda other: self._check_dialed(member, other))
                node = other.node_id
                self._committed[node] = connection
                link = self._open_link(connection, other, member.address, is_dialer=True)
                early = self._hear_first(connection, link)
                self._make_place(link)
            self._committed.pop(node, None)
            self._carry(link, early)
            return link.last_error
        except OwnKeyError:
            raise
        except (RemoteProtocolError, OSError) as error:
            return self._say_why(member.address, error)
        except Exception as fault:  # a bug of ours, or of who hears of links: this dialler goes on
            _log.error("mesh_fault", exc_info=fault)
            return "a fault of this node"
        finally:
            if self._committed.get(node) is connection:
                del self._committed[node]
            connection.close()

    def _check_dialed(self, member: Member, other: Other) -> None:
        """Before this side proves itself: whether the node that was found is the one, and is wanted."""
        is_pinned = not member.fingerprint or member.fingerprint == fingerprint_of(other.public_key)
        if not is_pinned or member.node not in (0, other.node_id):
            raise RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, "the node there is not the one that is expected")
        if self._self.role is Role.ENDPOINT and not member.fingerprint:
            raise RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, "an endpoint has to know its center's fingerprint")
        _check_roles(self._self.role, other.role)
        self._nodes[member.address] = other.node_id
        if self._self.role is not Role.ENDPOINT and (self._links.get(other.node_id) or other.node_id in self._committed):
            raise RemoteProtocolError(ErrorCode.BUSY, "there is a link already")

    def _hear_first(self, connection: Any, link: PeerLink) -> list[bytes]:
        """Wait for the listener's first batch, by which it takes the link or says goodbye (yields)."""
        messages: list[bytes] = []
        while not link.has_heard:
            data = connection.recv(ROOM_BYTES)
            if not data:
                raise RemoteProtocolError(ErrorCode.BUSY, "the peer ended it at once")
            messages = link.hear(data)
        if link.goodbye:
            code = ErrorCode.NOT_ALLOWED if ErrorCode.NOT_ALLOWED.name in link.goodbye else ErrorCode.BUSY
            raise RemoteProtocolError(code, link.goodbye)
        return messages

    # ------------------------------------------------------------------ accepting

    def _accept(self, connection: Any, address: tuple[Any, ...]) -> None:
        """One accepted connection's whole life (yields throughout)."""
        host, link = str(address[0]), None
        if self._shaking.total() >= _HANDSHAKES or self._shaking[host] >= _HANDSHAKES_PER_ADDRESS:
            connection.close()
            return
        told = f"{address[0]}:{address[1]}"
        try:
            self._shaking[host] += 1
            try:
                with gevent.Timeout(_HANDSHAKE_SECONDS, RemoteProtocolError(ErrorCode.TIMEOUT, "the handshake took too long")):
                    other = self._prove(connection, False, lambda other: None)
                    link = self._open_link(connection, other, told, is_dialer=False)
                    self._check_accepted(link, other)
                    self._make_place(link)
            finally:
                self._shaking[host] -= 1
                self._shaking += Counter()  # forgets whoever has none
            self._carry(link)
        except RemoteProtocolError as error:
            self._say_why(told, error)
            if link is not None:
                link.close(error.code, error.text)
        except OSError as error:
            self._say_why(told, error)
        finally:
            connection.close()

    def _check_accepted(self, link: PeerLink, other: Other) -> None:
        """Whether whoever dialled may have this link (yields where `admits` does)."""
        _check_roles(other.role, self._self.role)
        if other.role is Role.ENDPOINT and not self._admits(link.peer):
            raise RemoteProtocolError(ErrorCode.NOT_ALLOWED, "an endpoint that is not admitted")
        mine = self._committed.get(link.peer.node)
        if mine is not None and not self._links.get(link.peer.node):
            if self._identity.node_id < link.peer.node:
                raise RemoteProtocolError(ErrorCode.BUSY, "the link that the lower node dials is under way")
            mine.shutdown(sockets.SHUT_RDWR)  # ours gives way; its dialler hears the end

    # ------------------------------------------------------------------ both

    def _prove(self, connection: Any, is_dialer: bool, check: Callable[[Other], None]) -> Other:
        """The flights; check may refuse the peer before the dialler's proof is sent (yields). A listener says why it refuses."""
        connection.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        handshake = LinkHandshake(is_dialer, self._self, os.urandom(32), os.urandom(32))
        try:
            connection.sendall(handshake.start())
            while True:
                reply = handshake.receive(read_frame(connection))
                if handshake.other is not None:
                    check(handshake.other)
                if reply:
                    connection.sendall(reply)
                if handshake.other is not None:
                    return handshake.other
        except RemoteProtocolError as error:
            if not is_dialer:
                with suppress(OSError):
                    connection._sock.send(encode_error_flight(error.code))
            raise

    def _open_link(self, connection: Any, other: Other, address: str, is_dialer: bool) -> PeerLink:
        """TLS, if either side wishes it, and the link (yields)."""
        tls = None
        if other.is_tls:
            context = tls_context(self._identity, is_server=not is_dialer, peer_certificate=other.certificate)
            tls = secure(connection, context, not is_dialer, other.certificate)
        return PeerLink(LinkSocket(connection, tls, self._room), other, address, self._settings.limits, is_dialer)

    def _make_place(self, link: PeerLink) -> None:
        """BUSY if all the links are alive that the node may have; one that does not answer ends (yields)."""
        most = _LINKS_PER_ENDPOINT if Role.ENDPOINT in (self._self.role, Role[link.peer.role.upper()]) else 1
        while len(others := self._links.get(link.peer.node, ())) >= most:
            old = min(others, key=lambda other: other.last_heard)
            if old.probe(_PROBE_SECONDS):
                raise RemoteProtocolError(ErrorCode.BUSY, "there is a link already")
            old.cut("a newer link took its place")
            self._forget(old)

    def _carry(self, link: PeerLink, early: Sequence[bytes] = ()) -> None:
        """List the link and run it to its end (yields)."""
        self._links.setdefault(link.peer.node, []).append(link)
        self._list_centers()
        link.beat()  # by a listener's first batch its dialler knows that the link is taken
        _log.info("link_up", peer=link.peer.node, role=link.peer.role, tls=link.status().is_tls)
        try:
            self._events.came_up(link)
            link.run(self._events, early)
        finally:
            link.cut("this node stops")
            self._forget(link)

    def _forget(self, link: PeerLink) -> None:
        links = self._links.get(link.peer.node, [])
        if link in links:
            links.remove(link)
            if not links:
                del self._links[link.peer.node]
            self._list_centers()
            _log.info("link_down", peer=link.peer.node, reason=link.last_error)
            self._events.went_down(link)

    def _list_centers(self) -> None:
        self._centers = tuple(node for node, links in self._links.items() if links[0].peer.role == "center")

    def _say_why(self, address: str, error: Exception) -> str:
        """What an operator reads; who breaks a rule is said aloud, who is away, refuses us or has a link is not."""
        words = str(error)[:200]
        is_breach = isinstance(error, RemoteProtocolError) and not isinstance(error, ReportedError) and error.code is not ErrorCode.BUSY
        if is_breach or isinstance(error, ssl.SSLError):
            _log.warning("link_refused", address=address, reason=words)
        return words


def _check_roles(dialer: Role, listener: Role) -> None:
    if (dialer, listener) not in _LEGAL_ROLES:
        raise RemoteProtocolError(ErrorCode.NOT_ALLOWED, f"a {dialer.name.lower()} has no link to a {listener.name.lower()}")
