"""Nodes with links and nothing else, over loopback in this process, and what each of them heard."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import gevent

from cluster.identity import Identity, make_identity
from cluster.mesh import Member, MeshLinkManager, MeshSettings
from cluster.peer_link import LinkLimits, Peer, PeerLink

SECRET = bytes(range(32))


def wait_until(is_so: Callable[[], object], seconds: float = 10.0) -> None:
    """Yield until the condition holds; AssertionError at the deadline."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "the condition did not come to hold in time"
        gevent.sleep(0.002)


class Node:
    """One node's links, and what was heard."""

    def __init__(
        self,
        identity: Identity | None = None,
        secret: bytes = SECRET,
        role: str = "center",
        security: str = "plain",
        admits: Callable[[Peer], bool] = lambda peer: False,
        limits: LinkLimits = LinkLimits(),  # noqa: B008
        links_per_peer: int = 1,
        listen: tuple[str, int] | None = ("127.0.0.1", 0),
        beats: tuple[float, float] = (5.0, 12.0),
    ) -> None:
        """beats: seconds between heartbeats, and of silence."""
        self.identity = identity or make_identity(os.urandom(32))
        self.told: list[tuple[int, bytes]] = []
        self.life: list[tuple[str, int]] = []
        self.members: list[Member] = []
        self.on_take: Callable[[PeerLink, Sequence[bytes]], object] = lambda link, messages: None
        settings = MeshSettings(listen, role, security, links_per_peer, *beats, limits=limits)
        self.mesh = MeshLinkManager(settings, self.identity, secret, self, lambda: self.members, admits)
        self.mesh.build()
        self.mesh.start()

    @property
    def id(self) -> int:
        return self.identity.node_id

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.mesh.address[1]}"

    @property
    def errors(self) -> list[str]:
        """Why links that are wished are not there."""
        return [status.last_error for status in self.mesh.links() if status.state == "dialling"]

    def came_up(self, link: PeerLink) -> None:
        self.life.append(("up", link.peer.node))

    def went_down(self, link: PeerLink) -> None:
        self.life.append(("down", link.peer.node))

    def take(self, link: PeerLink, messages: Sequence[bytes]) -> None:
        self.told += [(link.peer.node, message) for message in messages]
        self.on_take(link, messages)

    def knows(self, *others: Node) -> None:
        self.members = [Member(other.address) for other in others]

    def link_to(self, other: Node) -> PeerLink:
        """The open link."""
        link = self.mesh.link(other.id)
        assert link is not None
        return link


Making = Callable[..., Node]


def join(dialer: Node, listener: Node) -> tuple[PeerLink, PeerLink]:
    """Let one dial the other; both ends' links."""
    dialer.knows(listener)
    wait_until(lambda: dialer.mesh.link(listener.id) and listener.mesh.link(dialer.id))
    return dialer.link_to(listener), listener.link_to(dialer)
