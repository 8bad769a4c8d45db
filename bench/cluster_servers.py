"""A cluster as the benches run it: one database, one Hazelcast member behind a counting proxy, centers in a mesh, an endpoint in front.

What lives here: how its processes are configured, started, killed; all of them on loopback. What must not: loads, figures.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.line import Account, Address, read_accounts
from bench.processes import free_port, is_alive, wait_until
from bench.servers import REPOSITORY, Database, Node
from myim_server.control import ControlRefused, ask
from tests.chaos.proxy_control import Proxy

Security = Literal["plain", "tls"]
MEMBER_WIRE = "hazelcast"
LOGIN_LIMITS = {"max_handshakes_per_address": 200, "trusted_networks": ["127.0.0.0/8"]}


class Hazelcast:
    """A private Hazelcast member."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = 0
        self.start()

    @property
    def cluster_name_file(self) -> Path:
        """Where its name is."""
        return self.directory / "cluster-name"

    @property
    def pid(self) -> int:
        """The member's process id."""
        return int((self.directory / "member.pid").read_text())

    def start(self) -> None:
        """Start it, or start it again, empty, at the same port; returns when it is ready."""
        self.port = int(self._run("start").split()[-1])

    def stop(self) -> None:
        """End it."""
        self._run("stop")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), 30, "the end of Hazelcast")

    def _run(self, verb: str) -> str:
        command = [str(REPOSITORY / "scripts/hazelcast.sh"), verb, str(self.directory)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL).stdout


@dataclass(slots=True)
class Endpoint:
    """A front machine before some centers; they must have been minted on or started, and know it before it starts."""

    directory: Path
    centers: tuple[Node, ...]
    core: int | None = None
    node: Node = field(init=False)

    def __post_init__(self) -> None:
        pinned = [f"{link_of(center)}#{fingerprint_of(center)}" for center in self.centers]
        door, login_door = free_port(), free_port()
        settings: dict[str, dict[str, object]] = {
            "node": {"roles": ["endpoint"]},
            "endpoint": {"listen": f"127.0.0.1:{door}", "login_listen": f"127.0.0.1:{login_door}", "centers": pinned},
        }
        self.node = Node(self.directory, core=self.core, settings=settings, center_port=door, login_port=login_door)
        self.centers[0].admin("admit-endpoint", fingerprint_of(self.node), "--name", self.directory.name)

    @property
    def address(self) -> Address:
        """Where terminals connect."""
        return "127.0.0.1", self.node.center_port


def link_of(center: Node) -> str:
    """Its link door."""
    return str(center.settings["links"]["listen"])


def fingerprint_of(node: Node) -> str:
    """The fingerprint of its key, 64 hex digits."""
    return str(json.loads(node.admin("node-key").splitlines()[-1])["fingerprint"])


class Cluster:
    """Centers on one store, in a `with` that ends all of it; `start` them. With Hazelcast they find each other and users by it, else by
    static peers and questions."""

    def __init__(
        self, directory: Path, centers: int = 2, security: Security = "tls", *, core: int | None = None, is_with_hazelcast: bool = True,
        settings: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:  # fmt: skip
        self.directory, self.security = directory, security
        directory.mkdir(parents=True, exist_ok=True)
        self.core = core
        self.endpoints: list[Endpoint] = []
        self.centers: list[Node] = []
        self._running = ExitStack()
        try:
            self._build(centers, is_with_hazelcast, settings or {})
        except BaseException:
            self._running.close()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self._running.close()

    def _build(self, centers: int, is_with_hazelcast: bool, settings: Mapping[str, Mapping[str, object]]) -> None:
        directory = self.directory
        self.database = Database(directory / "mariadb")
        self._running.callback(self.database.stop)
        self.hazelcast: Hazelcast | None = None
        self.proxy: Proxy | None = None
        listed: dict[str, object] = {}
        if is_with_hazelcast:
            self.hazelcast = Hazelcast(directory / "hazelcast")
            self._running.callback(self.hazelcast.stop)
            self.proxy = Proxy(directory / "proxy")
            self._running.callback(self.proxy.stop)
            port = self.proxy.open(MEMBER_WIRE, f"127.0.0.1:{self.hazelcast.port}")
            listed = {"kind": "hazelcast", "members": [f"127.0.0.1:{port}"], "cluster_name_file": str(self.hazelcast.cluster_name_file)}
        links = [f"127.0.0.1:{free_port()}" for _ in range(centers)]
        for number, link in enumerate(links):
            peers = [] if is_with_hazelcast else [other for other in links if other != link]
            values: dict[str, dict[str, object]] = {
                "node": {"roles": ["center"] if number else ["login", "center"]},
                "login": dict(LOGIN_LIMITS),
                "cluster": {"secret_file": str(directory / "cluster.secret")},
                "links": {"listen": link, "security": self.security, "peers": peers},
                "directory": listed,
            }
            for name, section in settings.items():
                values.setdefault(name, {}).update(section)
            center = Node(directory / f"center-{number}", self.database, self.core, settings=values)
            self.centers.append(center)
            self._running.callback(center.stop)

    def accounts(self, count: int, prefix: str) -> list[Account]:
        """Minted accounts, good at every center."""
        return read_accounts(self.centers[0].mint(count, prefix))

    def address(self, number: int) -> Address:
        """Where terminals of a center connect."""
        return "127.0.0.1", self.centers[number].center_port

    @property
    def pids(self) -> list[int]:
        """The centers' process ids."""
        return [center.pid for center in self.centers]

    def start(self) -> None:
        """Start the centers, and wait until each has a link to each other."""
        for center in self.centers:
            center.start()
        wait_until(self._is_meshed, 30, "the mesh")

    def _is_meshed(self) -> bool:
        return all(_links(center) >= len(self.centers) - 1 for center in self.centers)

    def front(self, *numbers: int) -> Endpoint:
        """A running endpoint before these centers, best first."""
        behind = tuple(self.centers[number] for number in numbers)
        endpoint = Endpoint(self.directory / f"endpoint-{len(self.endpoints)}", behind, self.core)
        self.endpoints.append(endpoint)
        self._running.callback(endpoint.node.stop)
        endpoint.node.start()
        wait_until(lambda: _links(endpoint.node) >= 2 * len(behind), 30, "the endpoint's links")
        return endpoint


def _links(node: Node) -> int:
    """How many links a running node has."""
    try:
        return int(ask(node.directory / "data", "status", 2.0)["links"])
    except ControlRefused:
        return 0
