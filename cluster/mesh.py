"""The mesh link manager: one link to every other center, dialled, accepted, proven, kept; an endpoint's few links to its centers.

What lives here: which links there are, dialling with back-off, the listener, the heartbeat's clockwork. What must not: the bytes of the
handshake (`myim_wire.link_handshake`), one link's sending and reading (`peer_link`), what messages mean.

Between two nodes one link is enough. Of two that meet, the one dialled by the lower node id stays; a second one dialled by the same node
replaces the first, since whoever dials again has lost it. A dialler counts its link as up when the listener's first batch has come, so both
sides agree on which it is.
"""

from __future__ import annotations

import os
import socket as sockets
import ssl
import time
from collections.abc import Callable, Sequence
from random import random
from typing import Any, NamedTuple

import gevent
import structlog
from gevent import socket as cooperative
from gevent.pool import Pool
from gevent.server import StreamServer

from cluster.identity import Identity, tls_context
from cluster.membership import Member as Member
from cluster.peer_link import LinkEvents, LinkLimits, LinkStatus, Peer, PeerLink
from myim_wire.errors import ErrorCode, RemoteProtocolError, ReportedError
from myim_wire.flights import encode_error_flight
from myim_wire.frames import HANDSHAKE_FRAME_CAP, HEADER_BYTES
from myim_wire.link_handshake import LinkHandshake, Other, Role, Self, fingerprint_of

_HANDSHAKE_SECONDS = 5.0
_HANDSHAKES = 64
_CONNECTIONS = 4096
_ROUND_SECONDS = 0.5
_LATE_SECONDS = 3.0
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.1, 5.0
_GOOD_SECONDS = 5.0

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
        self._nodes: dict[str, int] = {}  # address -> node that answered there
        self._shaking = 0
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

    # ------------------------------------------------------------------ dialling

    def _keep_going(self) -> None:
        beat_at = looked_at = time.monotonic()
        while True:
            try:
                self._dial_members()
            except Exception as fault:
                _log.error("mesh_fault", exc_info=fault)
            gevent.sleep(_ROUND_SECONDS * (0.5 + random() / 2))
            now = time.monotonic()
            was_stopped, looked_at = now - looked_at > _LATE_SECONDS, now
            for link in self._all():
                if was_stopped:  # what they said waits to be read: their time begins anew
                    link.last_heard = now
                elif now - link.last_heard > self._settings.silence_seconds:
                    _log.warning("link_silent", peer=link.peer.node)
                    link.cut("silent for too long")
            if now - beat_at >= self._settings.heartbeat_seconds:
                beat_at = now
                for link in self._all():
                    link.beat()

    def _dial_members(self) -> None:
        wanted = {(member.address, number): member for member in self._members() for number in range(self._settings.links_per_peer)}
        for key in [key for key, dialer in self._dialers.items() if key not in wanted or dialer.dead]:
            dialer = self._dialers.pop(key)
            if key not in wanted:
                dialer.kill(block=False)
                self._dialed.pop(key[0], None)
        for key, member in wanted.items():
            if key not in self._dialers and member.node != self._identity.node_id:
                self._dialers[key] = gevent.spawn(self._keep_dialing, member)

    def _keep_dialing(self, member: Member) -> None:
        """One dialler's life: connect, prove, carry the link until it ends, again (yields throughout)."""
        wait = _FIRST_WAIT_SECONDS
        while True:
            node = member.node or self._nodes.get(member.address, 0)
            if node == self._identity.node_id:
                return
            if self._settings.links_per_peer == 1 and self._links.get(node):
                gevent.sleep(_ROUND_SECONDS)
                continue
            begun = time.monotonic()
            error = self._dial(member)
            if time.monotonic() - begun > _GOOD_SECONDS:
                wait = _FIRST_WAIT_SECONDS
            peer = Peer(node, member.role, member.fingerprint, member.address)
            self._dialed[member.address] = LinkStatus(peer, "dialling", 0.0, 0, 0, error, time.monotonic(), False)
            gevent.sleep(wait * (0.5 + random() / 2))
            wait = min(_LONGEST_WAIT_SECONDS, 2 * wait)

    def _dial(self, member: Member) -> str:
        """Connect, shake hands, carry the link to its end; returns why it ended (yields)."""
        host, _, port = member.address.rpartition(":")
        try:
            connection = cooperative.create_connection((host.strip("[]"), int(port)), timeout=_HANDSHAKE_SECONDS)
        except OSError as error:
            return str(error.strerror or error)
        try:
            with gevent.Timeout(_HANDSHAKE_SECONDS, RemoteProtocolError(ErrorCode.TIMEOUT, "the handshake took too long")):
                other, tls = self._shake_hands(connection, is_dialer=True)
                self._nodes[member.address] = other.node_id
                self._check_dialed(member, other)
                link = PeerLink(connection, tls, other, member.address, self._settings.limits)
                link.is_dialer = True
                early = self._hear_first(connection, link)
            self._carry(link, early)
            return link.last_error
        except (RemoteProtocolError, OSError, ssl.SSLError) as error:
            return self._say_why(member.address, error)
        finally:
            connection.close()

    def _say_why(self, address: str, error: Exception) -> str:
        if isinstance(error, RemoteProtocolError) and not (isinstance(error, ReportedError) or error.code is ErrorCode.BUSY):
            _log.warning("link_refused", address=address, code=error.code.name, reason=error.text)
        return str(error)[:200]

    def _check_dialed(self, member: Member, other: Other) -> None:
        if member.fingerprint and fingerprint_of(other.public_key) != member.fingerprint:
            raise RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, "the node there is not the one that is expected")
        if other.role is Role.ENDPOINT:
            raise RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, "an endpoint listens to nobody")

    # ------------------------------------------------------------------ accepting

    def _accept(self, connection: Any, address: tuple[Any, ...]) -> None:
        """One accepted connection's whole life (yields throughout)."""
        if self._shaking >= _HANDSHAKES:
            connection.close()
            return
        told = f"{address[0]}:{address[1]}"
        try:
            self._shaking += 1
            try:
                with gevent.Timeout(_HANDSHAKE_SECONDS, RemoteProtocolError(ErrorCode.TIMEOUT, "the handshake took too long")):
                    other, tls = self._shake_hands(connection, is_dialer=False)
            finally:
                self._shaking -= 1
            self._take_up(PeerLink(connection, tls, other, told, self._settings.limits))
        except RemoteProtocolError as error:
            self._say_why(told, error)
            _tell(connection, error.code)
        except (OSError, ssl.SSLError) as error:
            self._say_why(told, error)
        finally:
            connection.close()

    def _take_up(self, link: PeerLink) -> None:
        """Carry an accepted link, or say why not (yields)."""
        try:
            if link.peer.role == "endpoint" and not self._admits(link.peer):
                raise RemoteProtocolError(ErrorCode.NOT_ALLOWED, "an endpoint that is not admitted")
            self._carry(link)
        except RemoteProtocolError as error:
            self._say_why(link.peer.address, error)
            link.close(error.code, error.text)

    # ------------------------------------------------------------------ both

    def _shake_hands(
        self, connection: Any, is_dialer: bool
    ) -> tuple[Other, tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO] | None]:
        """Preamble, then TLS if it is wished (yields)."""
        connection.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        handshake = LinkHandshake(is_dialer, self._self, os.urandom(32), os.urandom(32))
        connection.sendall(handshake.start())
        while handshake.other is None:
            reply = handshake.receive(_read_frame(connection))
            if reply:
                connection.sendall(reply)
        other = handshake.other
        if not other.is_tls:
            return other, None
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = tls_context(self._identity, is_server=not is_dialer, peer_certificate=other.certificate)
        tls = context.wrap_bio(incoming, outgoing, server_side=not is_dialer)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                data = connection.recv(16_384)
                if not data:
                    raise RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, "the peer left during TLS") from None
                incoming.write(data)
        connection.sendall(outgoing.read())
        if tls.getpeercert(binary_form=True) != other.certificate:
            raise RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, "TLS shows another certificate")
        return other, (tls, incoming, outgoing)

    def _hear_first(self, connection: Any, link: PeerLink) -> list[bytes]:
        """Wait for the listener's first batch, by which it takes the link or says goodbye (yields)."""
        messages: list[bytes] = []
        while link.is_open and not (messages or link.has_heard):
            data = connection.recv(65_536)
            if not data:
                raise RemoteProtocolError(ErrorCode.BUSY, "the peer keeps another link")
            messages = link.hear(data)
        if not link.is_open:
            raise RemoteProtocolError(ErrorCode.BUSY, link.last_error)
        return messages

    def _carry(self, link: PeerLink, early: Sequence[bytes] = ()) -> None:
        """List the link, or refuse it for one that stays; read it to its end (yields)."""
        node = link.peer.node
        others = self._links.get(node, [])
        if others and self._is_unique(link):
            old = others[0]
            mine_stays = self._identity.node_id < node
            if old.is_dialer != link.is_dialer and old.is_dialer == mine_stays:
                raise RemoteProtocolError(ErrorCode.BUSY, "there is a link already")
            old.cut("a newer link took its place")
            self._forget(old)
        self._links.setdefault(node, []).append(link)
        self._list_centers()
        if not link.is_dialer:
            link.beat()
        _log.info("link_up", peer=node, role=link.peer.role, tls=link.status().is_tls)
        self._events.came_up(link)
        try:
            link.run(self._events, early)
        finally:
            self._forget(link)

    def _is_unique(self, link: PeerLink) -> bool:
        return link.peer.role != "endpoint" and self._settings.role != "endpoint"

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


def _read_frame(connection: Any) -> bytes:
    """The content of exactly one frame: no byte that belongs to TLS is read (yields)."""
    length = int.from_bytes(_read_exactly(connection, HEADER_BYTES), "big")
    if not 0 < length <= HANDSHAKE_FRAME_CAP:
        raise RemoteProtocolError(ErrorCode.BAD_FRAME, f"a frame of {length} bytes is not allowed here")
    return _read_exactly(connection, length)


def _read_exactly(connection: Any, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part: bytes = connection.recv(count - len(data))
        if not part:
            raise RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, "the peer left during the handshake")
        data += part
    return data


def _tell(connection: Any, code: ErrorCode) -> None:
    try:
        connection.sendall(encode_error_flight(code))
    except OSError:
        pass
