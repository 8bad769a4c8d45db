"""A cluster under test: MariaDB, Hazelcast, a login node, centers, endpoints, and a proxy on every wire between them.

What lives here: how each process is configured, started, killed, paused, and which wire leads where. What must not: when (ordeal),
judging. Every node is the real thing, started as an operator starts it, with a file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.processes import Process, free_port, is_alive, wait_until
from bench.servers import PYTHON, REPOSITORY, Database
from cluster.identity import make_identity
from myim_server import keys
from tests.chaos.proxy_control import Proxy

Sections = dict[str, dict[str, Any]]


@dataclass(slots=True)
class Member:
    """One node process with its file; restarted on the same data. ports: where it listens once it is up."""

    name: str
    directory: Path
    sections: Sections
    ports: Sequence[int]
    environment: Mapping[str, str] = field(default_factory=dict)
    program: Sequence[str] = ("-m", "myim_server")
    process: Process | None = None

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.directory / "data"

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.directory / "myim.yaml"

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self.process is not None and self.process.is_running

    def write_config(self) -> None:
        """JSON is YAML."""
        self.config.write_text(json.dumps(self.sections, indent=1) + "\n")

    def start(self) -> None:
        """Start it; it is up some time later."""
        command = [PYTHON, *self.program, "node", "--config", str(self.config)]
        self.process = Process(command, self.directory / "node.log", None, self.environment)

    def await_up(self) -> None:
        """Wait until it listens; RuntimeError with its last words when it ends instead."""
        assert self.process is not None
        for port in self.ports:
            self.process.await_listening(port, 60)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    def signal(self, number: signal.Signals) -> None:
        """Any signal."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def admin(self, *arguments: str) -> str:
        """What `myim_server admin` says; RuntimeError with its complaint when it fails."""
        command = [PYTHON, "-m", "myim_server", "admin", *arguments, "--config", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise RuntimeError(f"admin {arguments[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout


class Hazelcast:
    """One member of `scripts/hazelcast.sh`, on the same port for its whole life; its entries live no longer than it does."""

    def __init__(self, directory: Path, first: Hazelcast | None = None) -> None:
        self.directory, self._log = directory, directory.with_suffix(".log")
        self._arguments: list[str] = []
        if first is not None:
            name = str(first.directory / "cluster-name")
            self._arguments = ["--join", f"127.0.0.1:{first.port}", "--cluster-name-file", name]
        self.port: int = free_port()
        self._arguments += ["--port", str(self.port)]
        self._starting: Process | None = None

    @property
    def name_file(self) -> Path:
        """Where the cluster's name is."""
        return self.directory / "cluster-name"

    @property
    def pid(self) -> int:
        """Its process id; 0 if there is none."""
        try:
            return int((self.directory / "member.pid").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def start(self) -> None:
        """Start it; it is up some time later."""
        command = [str(REPOSITORY / "scripts/hazelcast.sh"), "start", str(self.directory), *self._arguments]
        self._starting = Process(command, self._log)

    def await_up(self) -> None:
        """Wait until it is ready."""
        starting = self._starting
        assert starting is not None
        wait_until(lambda: not starting.is_running, 180, "Hazelcast")
        if starting.exit_code:
            raise RuntimeError(f"Hazelcast did not start:\n{starting.tail()}")

    def kill(self) -> None:
        """SIGKILL."""
        self._await_started()
        pid = self.pid
        if pid and is_alive(pid):
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not is_alive(pid), 30, "the end of Hazelcast")

    def signal(self, number: signal.Signals) -> None:
        """Any signal."""
        self._await_started()
        if self.pid and is_alive(self.pid):
            os.kill(self.pid, number)

    def _await_started(self) -> None:
        starting = self._starting
        if starting is not None:
            wait_until(lambda: not starting.is_running, 180, "Hazelcast")


@dataclass(frozen=True, slots=True)
class Shape:
    """How many of what, and how they meet. links: tls or plain; directory: hazelcast or static; the last two: how centers are started.

    Unless that says otherwise, the first center's clock can be stepped.
    """

    centers: int = 3
    endpoints: int = 2
    hazelcasts: int = 1
    links: str = "tls"
    directory: str = "hazelcast"
    environment: Mapping[str, str] = field(default_factory=dict)
    program: Sequence[str] = ()


class Cluster:
    """All of it, in one directory; `build`, `start`, and `stop` whatever happened."""

    def __init__(self, directory: Path, shape: Shape) -> None:
        self.directory, self.shape = directory, shape
        self.proxy = Proxy(directory / "proxy")
        self.database: Database | None = None
        self.hazelcasts: list[Hazelcast] = []
        self.login = self._member("login")
        self.centers: list[Member] = []
        self.endpoints: list[Member] = []
        self.doors: list[tuple[str, int]] = []  # where applications knock, through wires

    @property
    def nodes(self) -> list[Member]:
        """Every node."""
        return [self.login, *self.centers, *self.endpoints]

    @property
    def secret_file(self) -> Path:
        """The cluster's secret, made by the first node that starts."""
        return self.directory / "cluster.secret"

    @property
    def clock_file(self) -> Path:
        """How many seconds the clock of the first center is off."""
        return self.directory / "clock"

    def step_clock(self, seconds: float) -> None:
        """From about now on it is so far off."""
        new = self.clock_file.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self.clock_file)

    def _member(self, name: str) -> Member:
        directory = self.directory / name
        (directory / "data").mkdir(parents=True, mode=0o700)
        (directory / "data").chmod(0o700)
        return Member(name, directory, {"node": {"data_dir": str(directory / "data")}}, ())

    def build(self) -> None:
        """Write every file; start what nodes need: database, Hazelcast."""
        self.database = Database(self.directory / "mariadb")
        if self.shape.directory == "hazelcast":
            for _ in range(self.shape.hazelcasts):
                first = self.hazelcasts[0] if self.hazelcasts else None
                hazelcast = Hazelcast(self.directory / f"hazelcast{len(self.hazelcasts) + 1}", first)
                self.hazelcasts.append(hazelcast)
                hazelcast.start()
                hazelcast.await_up()
        self.centers = [self._member(f"center{number + 1}") for number in range(self.shape.centers)]
        for center in self.centers:
            center.environment, center.program = self.shape.environment, self.shape.program or center.program
        if not self.shape.program:
            self.centers[0].program = ("-m", "tests.chaos.stepped_node", str(self.clock_file))
        self.endpoints = [self._member(f"endpoint{number + 1}") for number in range(self.shape.endpoints)]
        self._lay_links()
        for number, endpoint in enumerate(self.endpoints):
            self._build_endpoint(endpoint, self.centers[number:] + self.centers[:number])
        for member in self.nodes:
            member.write_config()

    def _lay_links(self) -> None:
        meshed = [self.login, *self.centers]
        ports = {member.name: free_port() for member in meshed}
        for member in meshed:
            self._build_meshed(member, ports[member.name])
        for member in meshed:
            links = member.sections["links"]
            if self.shape.directory == "hazelcast":
                links["advertise"] = self._wire(f"any>{member.name}", ports[member.name])
            else:
                others = [other for other in meshed if other is not member]
                links["peers"] = [self._wire(f"{member.name}>{other.name}", ports[other.name]) for other in others]
        self._link_ports = ports

    def _build_meshed(self, member: Member, link_port: int) -> None:
        """Login or center: one of those that hold the cluster secret."""
        assert self.database is not None
        is_login, door = member is self.login, free_port()
        role = "login" if is_login else "center"
        member.ports = [door, link_port]
        host, _, name = self.database.url.partition("@")
        database = self._wire(f"{member.name}>database", self.database.port, is_guarded=False)
        member.sections["node"]["roles"] = [role]
        member.sections[role] = {"listen": f"127.0.0.1:{door}", "max_handshakes_per_address": 200}
        member.sections["store"] = {
            "url": f"{host}@{database}/{name.partition('/')[2]}",
            "password_file": str(self.database.password_file),
        }
        member.sections["cluster"] = {"secret_file": str(self.secret_file)}
        member.sections["links"] = {"listen": f"127.0.0.1:{link_port}", "security": self.shape.links}
        if self.hazelcasts:
            member.sections["directory"] = {
                "kind": "hazelcast",
                "members": [
                    self._wire(f"{member.name}>hazelcast{number}", hazelcast.port, is_guarded=False)
                    for number, hazelcast in enumerate(self.hazelcasts, 1)
                ],
                "cluster_name_file": str(self.hazelcasts[0].name_file),
            }

    def _build_endpoint(self, endpoint: Member, centers: Sequence[Member]) -> None:
        door, login_door = free_port(), free_port()
        endpoint.ports = [door, login_door]
        endpoint.sections["node"]["roles"] = ["endpoint"]
        endpoint.sections["endpoint"] = {
            "listen": f"127.0.0.1:{door}",
            "login_listen": f"127.0.0.1:{login_door}",
            "centers": [
                f"{self._wire(f'{endpoint.name}>{center.name}', self._link_ports[center.name])}#{fingerprint(center)}"
                for center in centers
            ],
        }

    def _wire(self, name: str, port: int, is_guarded: bool = True) -> str:
        """A new wire to a local port; the address to dial."""
        return f"127.0.0.1:{self.proxy.open(name, f'127.0.0.1:{port}', is_guarded)}"

    def start(self) -> None:
        """Start the nodes, admit the endpoints, and open the doors for applications."""
        self.login.start()  # the first to meet the empty database makes its tables
        self.login.await_up()
        for endpoint in self.endpoints:
            self.login.admin("admit-endpoint", fingerprint(endpoint), "--name", endpoint.name)
        for member in self.centers + self.endpoints:
            member.start()
        for member in self.centers + self.endpoints:
            member.await_up()
        for member in self.endpoints + self.centers:
            address = self._wire(f"client>{member.name}", member.ports[0])
            self.doors.append(("127.0.0.1", int(address.rpartition(":")[2])))

    def mint(self, count: int) -> Path:
        """A file of `count` accounts with tokens."""
        out = self.directory / "accounts.jsonl"
        self.login.admin("mint", "--count", str(count), "--prefix", "chaos", "--out", str(out))
        return out

    def center_of(self, door: int) -> int:
        """Which center is behind a door first, by its number."""
        return (door if door < len(self.endpoints) else door - len(self.endpoints)) % len(self.centers)

    def stop(self) -> None:
        """SIGKILL everything."""
        for member in self.nodes:
            member.kill()
        for hazelcast in self.hazelcasts:
            hazelcast.kill()
        if self.database is not None:
            self.database.stop()
        self.proxy.stop()


def fingerprint(member: Member) -> str:
    """What others pin it by, 64 hex digits; its key is made if missing."""
    return make_identity(keys.open_node_key(member.data).seed).fingerprint
