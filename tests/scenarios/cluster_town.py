"""The stage of the cluster's plays: `scripts/run_cluster.sh` as an operator calls it, and people with terminals on the SDK."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from myim_client import Client, Terminal, register
from myim_server.control import ask
from tests.scenarios.town import PASSWORD, own_environment

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 150


class Cluster:
    """A cluster in `directory`, and its people."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "cluster"
        self._terminals = directory / "terminals"
        self.clients: list[Client] = []

    def run(self, command: str, *arguments: str) -> tuple[int, str]:
        """One command of the script; (exit code, both outputs)."""
        done = subprocess.run(
            [str(REPOSITORY / "scripts" / "run_cluster.sh"), command, *arguments, "--dir", str(self.directory)],
            env=own_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def do(self, command: str, *arguments: str) -> str:
        """One command that must succeed; what it says."""
        code, output = self.run(command, *arguments)
        assert code == 0, output
        return output

    def admin(self, node: str, *arguments: str) -> str:
        """An operator command at a node, which must succeed; what it says."""
        done = subprocess.run(
            [str(REPOSITORY / ".venv/bin/python"), "-m", "myim_server", "admin", *arguments]
            + ["--config", str(self.directory / node / "myim.yaml")],
            env=own_environment(),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def address(self, door: str) -> str:
        """host:port of "node.door"."""
        return f"127.0.0.1:{json.loads((self.directory / 'cluster.json').read_text())['ports'][door]}"

    def status(self, node: str) -> dict[str, Any]:
        """What a running node says of itself."""
        return dict(ask(self.directory / node / "data", "status"))

    def sessions(self, nodes: Sequence[str]) -> dict[str, int]:
        """How many sessions each of these centers holds."""
        return {node: int(self.status(node)["sessions"]) for node in nodes}

    def register(self, name: str, server: str) -> Client:
        """Somebody new, who logs in through this door and is connected."""
        terminal = Terminal.open(self._terminals / name)
        client = Client(terminal, register(terminal, self.address(server), name, PASSWORD).path)
        self.clients.append(client)
        client.connect(20)
        return client

    def close(self) -> None:
        """Everybody leaves, all ends, nothing stays."""
        for client in self.clients:
            client.close()
        if self.directory.exists():
            self.run("down", "--purge")


def processes_of(directory: Path) -> list[str]:
    """Command lines of processes that run on files of this directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(directory) in line and "run_cluster" not in line:
                found.append(line)
    return found
