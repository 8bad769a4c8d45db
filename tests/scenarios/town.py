"""The stage of the plays: a real node in a process of its own, and people with terminals on the SDK."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bench.processes import free_port
from myim_client import Client, Event, Terminal, login, register

PASSWORD = "seven brown horses run"
Kind = TypeVar("Kind", bound=Event)


def wait_until(condition: Callable[[], object], deadline: float = 20.0) -> None:
    """Wait for a condition; fails after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.005)


class Town:
    """A node with all roles on fixed ports, and its people; the node may be killed and started again."""

    def __init__(self, directory: Path, settings: str = "") -> None:
        """settings: further sections of the node's configuration."""
        self.directory = directory
        self._settings = settings
        self.login_port, self.center_port = free_port(), free_port()
        self.clients: list[Client] = []
        self._node: subprocess.Popen[bytes] | None = None

    @property
    def login_server(self) -> str:
        """HOST:PORT of the login center."""
        return f"127.0.0.1:{self.login_port}"

    def start(self, data: str = "node") -> None:
        """Start the node on the data of that name and wait until it listens."""
        config = self.directory / "myim.yaml"
        config.write_text(
            f"node: {{data_dir: {self.directory / data}}}\n"
            f"login: {{listen: '127.0.0.1:{self.login_port}', registration: open}}\n"
            f"center: {{listen: '127.0.0.1:{self.center_port}', max_connections: 200}}\n"
            f"{self._settings}\n"
        )
        log = (self.directory / "node.log").open("ab")
        self._node = subprocess.Popen([sys.executable, "-m", "myim_server", "node", "--config", str(config)], stdout=log, stderr=log)
        log.close()
        wait_until(self._is_listening, 30.0)

    def _is_listening(self) -> bool:
        assert self._node is not None and self._node.poll() is None, (self.directory / "node.log").read_text()[-2000:]
        try:
            for port in (self.login_port, self.center_port):
                socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the node."""
        if self._node is not None:
            self._node.send_signal(how)
            self._node.wait(30)
            self._node = None

    def close(self) -> None:
        """Everybody leaves, the node ends."""
        for client in self.clients:
            client.close()
        self.kill()

    def terminal(self, name: str) -> Terminal:
        """A terminal of its own for `name`."""
        return Terminal.open(self.directory / "terminals" / name)

    def register(self, name: str, terminal: str = "") -> Client:
        """A new user, connected."""
        at = self.terminal(terminal or name)
        return self.connect(at, register(at, self.login_server, name, PASSWORD).path)

    def log_in(self, name: str, terminal: str) -> Client:
        """A user on another terminal, connected."""
        at = self.terminal(terminal)
        return self.connect(at, login(at, self.login_server, name, PASSWORD).path)

    def connect(self, terminal: Terminal, path: Path, password: Callable[[], str] | None = None) -> Client:
        """A client on a profile."""
        client = Client(terminal, path, settled_events=True, password=password)
        self.clients.append(client)
        client.connect(20)
        return client

    def again(self, client: Client) -> Client:
        """Close a client and open its profile anew."""
        client.close()
        return self.connect(client.terminal, client.profile.path)


def take(client: Client, kind: type[Kind], count: int = 1) -> list[Kind]:
    """The next `count` events of a kind; everything taken is done, in one transaction per batch, as an application would."""
    found: list[Kind] = []

    def look() -> bool:
        events = client.take(0.1, limit=count - len(found))
        with client.transaction() as transaction:
            transaction.done(*events)
        found.extend(event for event in events if isinstance(event, kind))
        return len(found) >= count

    wait_until(look, 30.0)
    return found


def own_environment() -> dict[str, str]:
    """The environment for a child that imports the packages from this checkout."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
