"""The node of a front machine: its doors, its links to centers, and nothing else.

What lives here: how the role endpoint is put together. What must not: store, directory, cluster secret, ticket keys; none of them is opened
here, so that a front machine that is taken over gives away its own key alone. The life is that of `node.Node`.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Mapping
from typing import Any

import gevent
import structlog
from gevent.pywsgi import WSGIServer

from cluster.identity import make_identity
from cluster.mesh import Member, MeshLinkManager, MeshSettings
from myim_server import keys
from myim_server.config_sections import Address, Config
from myim_server.control import ControlRefused, ControlSocket
from myim_server.endpoint import Advertised, Endpoint, EndpointLimits
from myim_server.metrics import Metrics
from myim_server.node_parts import shown_link
from myim_server.open_files import ensure_open_files
from myim_server.secret_files import check_directory

_HEARD_SECONDS = 1.0  # centers tell their sessions of our leaving, before it happens

_log = structlog.get_logger(__name__)


class EndpointNode:
    """One process that is an endpoint."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.metrics = Metrics()
        self.identity = b""
        self.node_id = 0
        self.fingerprint = ""
        self._endpoint: Endpoint | None = None
        self._mesh: MeshLinkManager | None = None
        self._http: WSGIServer | None = None
        self._began = time.monotonic()
        answers = {"links": self._show_links, "status": lambda question: self.status(), "drain": self._take_drain}
        self._control = ControlSocket(config.data_dir, answers)

    def build(self) -> None:
        """Open files and ports. SecretRefused, TooFewOpenFiles, OSError."""
        config, section = self._config, self._config.endpoint
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_directory(config.data_dir)
        ensure_open_files(config.descriptors_needed)
        identity = make_identity(keys.open_node_key(config.data_dir).seed)
        self.node_id, self.fingerprint = identity.node_id, identity.fingerprint
        members = [Member(str(one.address), _node_of(one.fingerprint), one.fingerprint) for one in section.centers]
        door, login_door = section.advertise or Address("", 0), section.login_advertise or Address("", 0)
        self._endpoint = Endpoint(
            (section.listen.host, section.listen.port),
            (section.login_listen.host, section.login_listen.port),
            [member.node for member in members],
            EndpointLimits(section.max_connections),
            time.monotonic,
            _log,
            Advertised(door.host, door.port, login_door.host, login_door.port, section.priority),
        )
        self._endpoint.build()
        settings = MeshSettings(
            None,
            "endpoint",
            config.links.security,
            section.links_per_center,
            heartbeat_seconds=config.links.heartbeat_seconds,
            silence_seconds=config.links.silence_seconds,
        )
        self._mesh = MeshLinkManager(settings, identity, b"", self._endpoint, lambda: members)
        if config.metrics.listen is not None:
            self._http = WSGIServer((config.metrics.listen.host, config.metrics.listen.port), self.metrics.application, log=None)
            self._http.init_socket()
        self.metrics.watch("terminals", "terminals that are connected here", lambda: self._parts()[0].connections)
        self._control.build()

    def start(self) -> None:
        """Let terminals in."""
        endpoint, mesh = self._parts()
        for part in (mesh, endpoint, self._http, self._control):
            if part is not None:
                part.start()
        gc.collect()
        gc.freeze()
        _log.info("node_started", node=self.node_id, roles=["endpoint"], fingerprint=self.fingerprint, **self.addresses())

    def stop(self) -> None:
        """Have terminals told to go elsewhere, then close; safe to call again."""
        if self._endpoint is None or self._mesh is None:
            return
        _log.info("node_stopping", node=self.node_id)
        self._control.stop()
        if self._endpoint.connections:
            self._endpoint.drain()
            gevent.sleep(_HEARD_SECONDS)
        self._endpoint.stop()
        self._mesh.stop()
        if self._http is not None:
            self._http.stop(timeout=1)
        self._endpoint = self._mesh = None
        _log.info("node_stopped", node=self.node_id)

    def count_dropped_line(self) -> None:
        """A log line was not written."""
        self.metrics.log_lines_dropped += 1

    def addresses(self) -> dict[str, str]:
        """Where the doors are, as bound."""
        endpoint = self._parts()[0]
        doors = {"endpoint": endpoint.door, "endpoint_login": endpoint.login_door}
        return {name: str(Address(str(door.server_host), int(door.server_port or 0))) for name, door in doors.items()}

    def status(self) -> Mapping[str, Any]:
        """What this node is and does, for an operator."""
        endpoint = self._parts()[0]
        return {
            "node": self.node_id,
            "pid": os.getpid(),
            "roles": ["endpoint"],
            "addresses": self.addresses(),
            "fingerprint": self.fingerprint,
            "up_seconds": int(time.monotonic() - self._began),
            "terminals": endpoint.connections,
            "is_draining": endpoint.is_draining,
            "links": sum(link["state"] == "up" for link in self._show_links({})),
            "refused": dict(endpoint.refused),
        }

    def _show_links(self, question: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [shown_link(link) for link in self._parts()[1].links()]

    def _take_drain(self, question: Mapping[str, Any]) -> object:
        if question.get("node") not in (None, self.node_id):
            raise ControlRefused("an endpoint knows of no other node; ask a center")
        if question.get("undo"):
            raise ControlRefused("an endpoint that drains takes terminals again when it is started again")
        self._parts()[0].drain()
        return "no new terminals are taken; those that are here stay until they leave, or this node stops"

    def _parts(self) -> tuple[Endpoint, MeshLinkManager]:
        assert self._endpoint is not None and self._mesh is not None, "not built, or stopped"
        return self._endpoint, self._mesh


def _node_of(fingerprint: str) -> int:
    """The node id of a key with this fingerprint."""
    return int(fingerprint[:16], 16) >> 1
