"""An endpoint in front of a real node, over a real link, in this process; terminals come through the endpoint."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import structlog

from cluster.identity import make_identity
from cluster.mesh import Member, MeshLinkManager, MeshSettings
from myim_server.config_sections import LinksSection
from myim_server.endpoint import Endpoint, EndpointLimits
from myim_server.node import Node
from myim_server.node_links import NodeLinks
from tests.server.running import Person, RawTerminal, config, wait_until


def start_linked_node(directory: Path, security: str, **sections: Any) -> Node:
    """A started node with a link door; stop it with node.stop()."""
    links = LinksSection.model_validate({"listen": "127.0.0.1:0", "security": security})
    node = Node(config(directory, **sections).model_copy(update={"links": links}))
    node.build()
    node.start()
    return node


def links_of(node: Node) -> NodeLinks:
    """The links of a node that has a link door."""
    assert node._links is not None
    return node._links


class Front:
    """An endpoint that is configured with one center; `admit` it there, or it gets no link."""

    def __init__(self, node: Node, security: str = "tls") -> None:
        self.node = node
        self.identity = make_identity(os.urandom(32))
        links, listen = links_of(node), ("127.0.0.1", 0)
        self.endpoint = Endpoint(listen, listen, [node.node_id], EndpointLimits(), time.monotonic, structlog.get_logger())
        member = Member(str(links.bound), node.node_id, links.fingerprint)
        settings = MeshSettings(None, "endpoint", security, links_per_peer=2)
        self.mesh = MeshLinkManager(settings, self.identity, b"", self.endpoint, lambda: [member])

    def admit(self) -> None:
        """As the operator does."""
        assert self.node.store is not None
        self.node.store.endpoints.admit(self.identity.fingerprint, "west", 1)

    def revoke(self) -> None:
        """As the operator does, and as centers hear of it."""
        assert self.node.store is not None
        self.node.store.endpoints.revoke(self.identity.node_id, 2)
        links_of(self.node).read_admitted()

    def start(self) -> None:
        self.endpoint.build()
        self.mesh.build()
        self.endpoint.start()
        self.mesh.start()

    def stop(self) -> None:
        self.endpoint.stop()
        self.mesh.stop()

    def wait_linked(self) -> None:
        """Until both links stand."""
        wait_until(lambda: sum(status.state == "up" for status in self.mesh.links()) == 2)

    def wait_shut_out(self) -> None:
        """Until the center says that it is not admitted."""
        wait_until(lambda: any("NOT_ALLOWED" in status.last_error for status in self.mesh.links()))
        assert not self.endpoint._lanes and not links_of(self.node).mesh.of_role("endpoint")

    def terminal(self, person: Person, number: int = 1) -> RawTerminal:
        """A terminal that came through the endpoint."""
        behind: Any = SimpleNamespace(center=self.endpoint.door)
        return RawTerminal(behind, person, number)
