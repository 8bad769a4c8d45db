"""A real node, an endpoint in front of it, and a real link between them, in this process; terminals come through the endpoint."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import Any

import gevent
import structlog

from cluster.identity import Identity, make_identity
from cluster.mesh import Member as Member
from cluster.mesh import MeshLinkManager, MeshSettings
from myim_server.channels import AdmittedEndpoints, Channels
from myim_server.endpoint import Endpoint, EndpointLimits
from myim_server.node import Node
from myim_server.store.engine import Store
from tests.server.running import Person, RawTerminal, wait_until


class LinkDoor:
    """What a node needs to take endpoints: channels, a mesh that listens, the list of who is admitted."""

    def __init__(self, node: Node, security: str = "tls") -> None:
        assert node.center is not None and node.login is not None
        self.identity = make_identity(os.urandom(32))
        run_callback = gevent.get_hub().loop.run_callback
        self.channels = Channels(run_callback, node.center.serve_channel, node.login.serve_channel, structlog.get_logger())
        store: Store | None = node.store
        assert store is not None
        self.store = store
        settings = MeshSettings(("127.0.0.1", 0), "center", security)
        self.mesh = MeshLinkManager(
            settings, self.identity, b"s" * 32, self.channels, list, lambda peer: self.admitted.is_admitted(peer.fingerprint)
        )
        self.admitted = AdmittedEndpoints(store.endpoints, self.mesh.cut)
        self.mesh.build()
        self.mesh.start()

    def member(self) -> Member:
        """As an endpoint is configured with it."""
        host, port = self.mesh.address
        return Member(f"{host}:{port}", self.identity.node_id, self.identity.fingerprint)

    def admit(self, identity: Identity, name: str = "west") -> None:
        """As the operator does, and as centers hear of it."""
        self.store.endpoints.admit(identity.fingerprint, name, 1)
        self.admitted.poll()

    def stop(self) -> None:
        self.mesh.stop()


class Front:
    """An endpoint linked to these doors."""

    def __init__(self, *doors: LinkDoor, security: str = "tls", limits: EndpointLimits | None = None) -> None:
        self.identity = make_identity(os.urandom(32))
        listen = ("127.0.0.1", 0)
        centers = [door.identity.node_id for door in doors]
        self.endpoint = Endpoint(listen, listen, centers, limits or EndpointLimits(), time.monotonic, structlog.get_logger())
        settings = MeshSettings(None, "endpoint", security, links_per_peer=2)
        members = [door.member() for door in doors]
        self.mesh = MeshLinkManager(settings, self.identity, b"", self.endpoint, lambda: members)

    def start(self) -> None:
        self.endpoint.build()
        self.mesh.build()
        self.endpoint.start()
        self.mesh.start()

    def stop(self) -> None:
        self.endpoint.stop()
        self.mesh.stop()

    def wait_linked(self, count: int = 2) -> None:
        """Until so many links stand."""
        wait_until(lambda: sum(status.state == "up" for status in self.mesh.links()) == count)

    def terminal(self, person: Person, number: int = 1) -> RawTerminal:
        """A terminal that came through the endpoint."""
        behind: Any = SimpleNamespace(center=self.endpoint.door)
        return RawTerminal(behind, person, number)
