"""Who belongs to the cluster: static peers, the directory, and what linked peers say of themselves, as one list.

What lives here: merging these three, so that nobody is there twice and this node is not in its own list. What must not: links (`mesh`),
what terminals are told of it. Nothing here yields. A peer speaks for its own node and for endpoints; of one server's entries the newest
incarnation counts, and of ourselves only what we say.

    MEMBER  0x40  msgpack {"servers": [{node, role, host, port, priority, load, draining, link, incarnation}]}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from cluster.directory import Directory, Server, best_first
from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.fields import Fields
from myim_wire.packing import pack_map

MEMBER = 0x40
ENDPOINT = "endpoint"
_ROLES = ("center", "login", ENDPOINT)
MAX_ANNOUNCED = 200
_MAX_TEXT = 255
KEPT_SECONDS = 15.0  # after its link ended, for terminals: most links come back
UNMET_SECONDS = 60.0  # from the start: who of the config has not answered by then is not there


class Member(NamedTuple):
    """A node to be linked to: "host:port", its id (0: not known yet), the fingerprint it must have ("": the cluster secret is enough)."""

    address: str
    node: int = 0
    fingerprint: str = ""
    role: str = "center"


class _Learned(NamedTuple):
    """The node that answered at an address, and the incarnation it was listed with then."""

    node: int
    incarnation: int


class _Told:
    """What one peer says; ended_at: when its link ended, None while it is up."""

    __slots__ = ("ended_at", "servers")

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = servers
        self.ended_at: float | None = None


class Membership:
    """The nodes of the cluster as this node knows them."""

    def __init__(self, directory: Directory, static: Sequence[str], node_id: int, now: Callable[[], float]) -> None:
        """static: addresses "host:port" of peers, from the config; now: monotonic seconds."""
        self._directory = directory
        self._static = tuple(dict.fromkeys(static))
        self._node_id = node_id
        self._now = now
        self._learned: dict[str, _Learned] = {}
        self._own: tuple[Server, ...] = ()
        self._listed: set[tuple[int, str]] = set()  # by us, ever
        self._told: dict[int, _Told] = {}
        self._began = now()
        self._was_answered = False  # by the directory, ever
        self._gone: set[int] = set()  # centers whose link ended since it answered last

    # ------------------------------------------------------------------ this node

    def publish(self, servers: Iterable[Server]) -> None:
        """List what this node has, all of it: its doors, and the endpoints that are linked to it.

        Endpoints are announced to peers alone: the directory keeps what a node published for as long as that node lives.
        """
        self._own = tuple(servers)[:MAX_ANNOUNCED]
        for server in self._own:
            self._listed.add((server.node, server.role))
            if server.role != ENDPOINT:
                self._directory.publish_server(server)

    def announce(self) -> bytes:
        """What this node has, as a message to peers, kind included."""
        return bytes([MEMBER]) + pack_map({"servers": [_to_map(server) for server in self._own]})

    # ------------------------------------------------------------------ peers

    def took(self, node: int, payload: bytes) -> None:
        """A linked peer announces; the kind is not in the payload. RemoteProtocolError, also if it speaks for another node."""
        servers = [_from_fields(fields) for fields in Fields.unpack(payload).maps("servers", MAX_ANNOUNCED)]
        if any(server.node != node and server.role != ENDPOINT for server in servers):
            raise RemoteProtocolError(ErrorCode.BAD_FRAME, "an announcement of another node")
        self._told[node] = _Told(servers)
        self._gone.discard(node)

    def lost(self, node: int) -> None:
        """The link to this peer ended: what it told is kept for a while."""
        told = self._told.get(node)
        if told is not None:
            told.ended_at = self._now()
            if any(server.role == "center" for server in told.servers):
                self._gone.add(node)

    def learned(self, address: str, node: int) -> None:
        """This node answered at this address; perhaps we ourselves did."""
        if address in self._static:
            self._learned[address] = _Learned(node, self._incarnation(node))

    def is_self(self, address: str) -> bool:
        """Whether this node itself answers there, as far as is known."""
        learned = self._learned.get(address)
        return (learned is not None and learned.node == self._node_id) or any(
            server.link == address for server in self._own if server.node == self._node_id
        )

    # ------------------------------------------------------------------ the lists

    def members(self) -> list[Member]:
        """Who is to be linked to: static peers in their order, then what is listed with a link door, by node; never this node.

        A static address and a listed node known to be one are one entry, until the node begins a new life: then both are tried.
        """
        listed: dict[int, Server] = {}
        for server in self.servers():
            if not server.link or server.role == ENDPOINT or server.node == self._node_id or self.is_self(server.link):
                continue
            if server.node not in listed or server.role == "center":
                listed[server.node] = server
        by_link = {server.link: server for server in listed.values()}
        members: list[Member] = []
        for address in self._static:
            if self.is_self(address):
                continue
            known = by_link.get(address) or self._known_at(address, listed)
            members.append(Member(address, known.node, role=known.role) if known else Member(address))
        taken = {member.node for member in members}
        return members + [Member(listed[node].link, node, role=listed[node].role) for node in sorted(listed) if node not in taken]

    def servers(self) -> list[Server]:
        """All servers, best first: what the directory lists, what peers tell, what is here; each node and role once."""
        self._drop_old()
        best: dict[tuple[int, str], Server] = {}
        mine = {(server.node, server.role): server for server in self._own}
        for server in self._directory.servers():
            key = (server.node, server.role)
            if key in mine or not (key in self._listed or server.node == self._node_id):
                best[key] = server
        told = [server for told in self._told.values() for server in told.servers if server.node != self._node_id]
        for server in (*told, *mine.values()):
            key = (server.node, server.role)
            known = best.get(key)
            if known is None or server.incarnation >= known.incarnation:
                best[key] = server
        best.update({key: server for key, server in mine.items() if server.node == self._node_id})
        return best_first(best.values())

    def is_unsure(self) -> bool:
        """Whether there may be centers that are not among `servers`: the directory has not answered yet, or it does not answer and one of
        them went meanwhile; or the config names somebody who has not been met yet."""
        if self._directory.is_available:
            self._was_answered = True
            self._gone.clear()
        elif self._gone or not self._was_answered:
            return True
        if not self._static or self._now() - self._began >= UNMET_SECONDS:
            return False
        met = {*self._learned, *(server.link for server in self.servers())}
        return any(address not in met and not self.is_self(address) for address in self._static)

    # ------------------------------------------------------------------ inside

    def _known_at(self, address: str, listed: dict[int, Server]) -> Server | None:
        """The listed node that answered at this address in its present life."""
        learned = self._learned.get(address)
        server = listed.get(learned.node) if learned is not None else None
        if learned is None or server is None:
            return None
        if not learned.incarnation:  # it answered before it was listed
            self._learned[address] = learned = _Learned(learned.node, server.incarnation)
        return server if server.incarnation <= learned.incarnation else None

    def _incarnation(self, node: int) -> int:
        return max((server.incarnation for server in self.servers() if server.node == node), default=0)

    def _drop_old(self) -> None:
        now = self._now()
        for node in [node for node, told in self._told.items() if told.ended_at is not None and now - told.ended_at >= KEPT_SECONDS]:
            del self._told[node]


def _to_map(server: Server) -> dict[str, object]:
    return {
        "node": server.node, "role": server.role, "host": server.host, "port": server.port, "priority": server.priority,
        "load": server.load, "draining": server.is_draining, "link": server.link, "incarnation": server.incarnation,
    }  # fmt: skip


def _from_fields(fields: Fields) -> Server:
    return Server(
        node=fields.number("node", 64),
        role=fields.choice("role", _ROLES),
        host=fields.text("host", _MAX_TEXT),
        port=fields.number("port", 16),
        priority=fields.number("priority", 16),
        load=fields.number("load", 7),
        is_draining=fields.truth("draining"),
        link=fields.text("link", _MAX_TEXT),
        incarnation=fields.number("incarnation", 64),
    )
