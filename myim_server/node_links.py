"""What a center or login node needs to be one of many: identity, mesh, membership, directory, the server list.

What lives here: how these parts are put together, and the one place where messages of links are sorted by who may say what. What must not:
rules of delivery (`chat.peers`), channels' bytes (`channels`), roles and their life (`node`). A node without a link door has none of this
but a directory of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gevent
import structlog
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cluster.directory import Directory, Place, Server, best_first
from cluster.identity import Identity
from cluster.locator import Locator
from cluster.membership import ENDPOINT, MEMBER, Membership
from cluster.memory_directory import MemoryDirectory
from cluster.mesh import MeshLinkManager, MeshSettings
from cluster.peer_link import Peer, PeerLink
from myim_server.channels import Channels
from myim_server.chat.peers import Peers
from myim_server.chat.post import Post
from myim_server.chat.router import Router
from myim_server.config_sections import Address, Config
from myim_server.login import LoginCenter
from myim_server.metrics import Metrics
from myim_server.node_parts import CenterRole, shown_link
from myim_server.refusals import StoreUnavailable
from myim_server.secret_files import SecretRefused, read_secret
from myim_server.sessions import Session
from myim_server.store.endpoints import Endpoints
from myim_wire import contents, peer_messages
from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.messages import Command, encode_message

_READ_AGAIN_SECONDS = 1.0
_TELL_SECONDS = 2.0
_AT_ONCE = 500

_log = structlog.get_logger(__name__)

Take = Callable[[int, bytes], None]


def directory_key(secret: bytes) -> bytes:
    """What the entries of a shared directory are proven with, 32 bytes."""
    return HKDF(SHA256(), 32, None, b"MyIM 1 directory").derive(secret)


def open_directory(config: Config, secret: bytes, node_id: int, metrics: Metrics) -> Directory:
    """The directory of the config. SecretRefused."""
    section = config.directory
    if section.kind == "memory":
        return MemoryDirectory(is_alone=not config.is_linked)
    name = section.cluster_name or ""
    if config.cluster_name_file is not None:
        try:
            name = read_secret(config.cluster_name_file).decode("ascii")
        except UnicodeDecodeError:
            raise SecretRefused(config.cluster_name_file, "is no cluster name") from None
    members = [str(member) for member in section.members]
    from cluster.hazelcast_directory import HazelcastDirectory  # only here: a node without one need not load its client


    def count(event: str) -> None:
        metrics.directory[event.removeprefix("directory_")] += 1

    return HazelcastDirectory(members, name, directory_key(secret), node_id, time.monotonic, _log, count)


class NodeLinks:
    """The links of a center or login node, and what they know."""

    def __init__(self, config: Config, identity: Identity, secret: bytes, endpoints: Endpoints, metrics: Metrics) -> None:
        """identity: this node's; secret: the cluster's; endpoints: those that may link, in the store."""
        self._config = config
        self._endpoints = endpoints
        self._metrics = metrics
        self._admitted: frozenset[str] = frozenset()
        self._admitted_read = 0.0
        self._announced = b""
        self._published: frozenset[Server] = frozenset()
        self._listed: frozenset[Any] | None = None
        self._listed_at = 0.0
        self._router: Router | None = None
        self._open: dict[int, PeerLink] = {}
        self._peers: Peers | None = None
        self._channels: Channels | None = None
        self._tables: dict[str, dict[int, Take]] = {}
        self.node_id = identity.node_id
        self.fingerprint = identity.fingerprint
        self.directory = open_directory(config, secret, identity.node_id, metrics)
        self.membership = Membership(self.directory, [str(peer) for peer in config.links.peers], identity.node_id, time.monotonic)
        role = "center" if "center" in config.node.roles else "login"
        listen = config.links.listen
        assert listen is not None
        links = config.links
        settings = MeshSettings(
            (listen.host, listen.port),
            role,
            links.security,
            heartbeat_seconds=links.heartbeat_seconds,
            silence_seconds=links.silence_seconds,
        )
        self.mesh = MeshLinkManager(settings, identity, secret, self, self.membership.members, self._admits)
        self.post = Post(self.mesh)
        self.locator = Locator(self.directory, self.mesh, identity.node_id, self._places_here, gevent.spawn, time.monotonic)

    # ------------------------------------------------------------------ life

    def serve(self, peers: Peers | None, role: CenterRole | None, login: LoginCenter | None, on_drain: Callable[[bool], object]) -> None:
        """Who takes what links bring: peers, role where this node is a center; login where it has that door; on_drain must not yield."""
        self._peers = peers
        self._router = None if role is None else role.router
        self._channels = Channels(
            gevent.get_hub().loop.run_callback,
            None if role is None else role.center.serve_channel,
            None if login is None else login.serve_channel,
            _log,
            self._has_login,
        )
        own: dict[int, Take] = {
            MEMBER: lambda node, message: self.membership.took(node, message[1:]),
            peer_messages.CHANGED: lambda node, message: None,
            peer_messages.DRAIN: lambda node, message: _ignore(on_drain(peer_messages.decode_drain(message))),
        }
        if peers is not None:
            own[peer_messages.CHANGED] = peers.table[peer_messages.CHANGED]
        self._tables = {"login": own, "center": {**(peers.table if peers is not None else {}), **own}}

    def build(self) -> None:
        """Bind the link door. OSError."""
        self.read_admitted()
        self.mesh.build()

    def start(self) -> None:
        """Meet the others."""
        self.directory.start()
        self.mesh.start()

    def stop(self) -> None:
        """Leave them; safe to call again."""
        self.mesh.stop()
        self.directory.stop()

    @property
    def bound(self) -> Address:
        """Where the link door is."""
        return Address(*self.mesh.address)

    @property
    def address(self) -> Address:
        """Where other nodes are told to dial."""
        return self._config.links.advertise or self.bound

    @property
    def count(self) -> int:
        """Open links."""
        return len(self._open) + len(self.mesh.of_role(ENDPOINT))

    # ------------------------------------------------------------------ events of links: nothing here yields

    def came_up(self, link: PeerLink) -> None:
        """A link is open."""
        peer = link.peer
        if self._channels is not None:
            self._channels.came_up(link)
        if peer.role == ENDPOINT:
            return
        self._open[peer.node] = link
        if link.is_dialer:
            self.membership.learned(peer.address, peer.node)
        link.send_urgent(self.membership.announce())
        if peer.role == "center" and self._peers is not None:
            self._peers.came_up(peer.node)

    def went_down(self, link: PeerLink) -> None:
        """A link ended."""
        peer = link.peer
        if self._channels is not None:
            self._channels.went_down(link)
        if peer.role == ENDPOINT:
            return
        self._open.pop(peer.node, None)
        self.membership.lost(peer.node)
        if peer.role == "center" and self._peers is not None:
            self._peers.went_down(peer.node)

    def take(self, link: PeerLink, messages: Sequence[bytes]) -> None:
        """Messages came; a peer that says what it may not, or nonsense, loses its link."""
        peer = link.peer
        if peer.role == ENDPOINT:
            if self._channels is not None:
                self._channels.take(link, messages)
            return
        node, table = peer.node, self._tables[peer.role]
        try:
            for message in messages:
                take = table.get(message[0])
                if take is not None:
                    take(node, message)
                elif self._channels is not None:
                    self._channels.take(link, (message,))
        except RemoteProtocolError as error:
            self._metrics.peer_faults += 1
            _log.warning("peer_fault", peer=node, code=error.code.name, why=error.text)
            link.close(error.code, error.text)
        except Exception as fault:  # a bug of ours: this link ends, its peer comes back
            _log.error("peer_message_fault", peer=node, exc_info=fault)
            link.close(ErrorCode.INTERNAL, "a fault of this node")

    # ------------------------------------------------------------------ endpoints that may link

    def _admits(self, peer: Peer) -> bool:
        """Whether this endpoint was admitted (may block a moment: one that was admitted just now is not sent away)."""
        if peer.role != ENDPOINT:
            return True
        if peer.fingerprint not in self._admitted and time.monotonic() - self._admitted_read > _READ_AGAIN_SECONDS:
            try:
                self.read_admitted()
            except StoreUnavailable:
                _log.warning("endpoint_not_checked", peer=peer.node, why="the store does not answer")
        return peer.fingerprint in self._admitted

    def read_admitted(self) -> None:
        """Ask the store who may link, and end the links of those who may not (yields). StoreUnavailable."""
        self._admitted_read = time.monotonic()
        rows = self._endpoints.all()
        self._admitted = frozenset(row.fingerprint for row in rows if row.revoked is None)
        for status in self.mesh.links():
            if status.peer.role == ENDPOINT and status.peer.fingerprint not in self._admitted:
                _log.warning("endpoint_cut", peer=status.peer.node)
                self.mesh.cut(status.peer.node, "it may not link any more")

    # ------------------------------------------------------------------ servers

    def publish(self, own: Sequence[Server]) -> None:
        """List what this node has: its doors, and the endpoints that are linked to it."""
        self.membership.publish((*own, *self._linked_endpoints()))
        message = self.membership.announce()
        if message != self._announced:
            self._announced = message
            for link in list(self._open.values()):
                link.send_urgent(message)

    @property
    def is_news(self) -> bool:
        """Whether other endpoints are linked, or they are told otherwise, than when this was asked last; loads do not count."""
        now = frozenset(server._replace(load=0) for server in self._linked_endpoints())
        before, self._published = self._published, now
        return before != now

    def _linked_endpoints(self) -> list[Server]:
        if self._channels is None:
            return []
        return [
            Server(node, ENDPOINT, about.host, about.port, about.priority, about.load, about.is_draining)
            for node, about in self._channels.endpoints().items()
        ]

    def servers(self) -> list[contents.Server]:
        """What terminals are told, best first [P-7.11]; several workers behind one address are one server."""
        told: dict[tuple[str, int], contents.Server] = {}
        for one in best_first(self.membership.servers()):
            if one.host and one.role in ("center", ENDPOINT):
                role: contents.Role = "center" if one.role == "center" else "endpoint"
                server = contents.Server(one.node, role, one.host, one.port, one.priority, one.load, one.is_draining)
                told.setdefault((one.host, one.port), server)
        return list(told.values())[: contents.MAX_SERVERS]

    def is_whole(self) -> bool:
        """Whether every center there is is linked, as far as can be known."""
        centers = {server.node for server in self.membership.servers() if server.role == "center"} - {self.node_id}
        return centers <= set(self.mesh.linked()) and not self.membership.is_unsure()

    @property
    def has_other_servers(self) -> bool:
        """Whether terminals that leave have somewhere to go: another center that takes sessions, to be dialled or behind an endpoint.

        Workers behind this node's own address are no other place.
        """
        servers = self.membership.servers()
        here = {(server.host, server.port) for server in servers if server.node == self.node_id and server.host}
        taking = [server for server in servers if not server.is_draining and (server.host, server.port) not in here]
        others = [server for server in taking if server.role == "center" and server.node != self.node_id]
        return any(server.host for server in others) or (bool(others) and any(server.role == ENDPOINT and server.host for server in taking))

    def tell(self, sessions: Iterable[Session], is_urgent: bool = False) -> None:
        """Send the list to all sessions when it is another than last time, but for loads; not all the time (yields)."""
        servers, now = self.servers(), time.monotonic()
        listed = frozenset((one.node, one.role, one.host, one.port, one.priority, one.draining) for one in servers)
        if listed == self._listed or (now - self._listed_at < _TELL_SECONDS and not is_urgent):
            return
        self._listed, self._listed_at = listed, now
        message = encode_message(Command.SERVERS, 0, 0, 0, 0, contents.encode_servers(servers))
        for number, session in enumerate(list(sessions), 1):
            session.send(message)
            if number % _AT_ONCE == 0:
                gevent.sleep(0)

    def tell_draining(self, is_draining: bool) -> None:
        """Have endpoints open channels elsewhere, or here again."""
        if self._channels is not None:
            self._channels.drain(is_draining)

    # ------------------------------------------------------------------ operators

    def drain(self, node: int, is_wished: bool) -> bool:
        """Ask another node to drain; False: it is not linked."""
        return self.post.drain(node, is_wished)

    def changed(self) -> None:
        """Tell all centers that a generation was raised."""
        self.post.changed()

    def status(self) -> list[dict[str, Any]]:
        """All links, those that are being dialled too, for an operator."""
        return [shown_link(link) for link in self.mesh.links()]

    def _has_login(self, node: int) -> bool:
        return any(server.node == node and server.role == "login" for server in self.membership.servers())

    def _places_here(self, user: int) -> Sequence[Place]:
        return () if self._router is None else self._router.places_here(user)


def _ignore(result: object) -> None:
    """A table's functions give nothing."""
