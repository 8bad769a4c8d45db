"""The servers a run needs, each in a directory of its own: floor, node, database.

What lives here: how each is configured, started, restarted. What must not: loads, figures, faults.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pymysql

from bench.line import write_floor_keys
from bench.processes import Process, free_port, is_alive, wait_until

REPOSITORY = Path(__file__).parent.parent
PYTHON = sys.executable


class Floor:
    """A running `bench.floor` for `users` users; `accounts` is its key file."""

    def __init__(self, directory: Path, users: int, core: int | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.accounts, self.port = directory / "keys", free_port()
        write_floor_keys(self.accounts, users)
        command = [PYTHON, "-m", "bench.floor", str(self.accounts), str(self.port)]
        self.process = Process(command, directory / "floor.log", core)
        self.process.await_listening(self.port)


class Database:
    """A private MariaDB that flushes at every commit, with one empty database `myim`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = 0
        self.start()
        with pymysql.connect(host="127.0.0.1", port=self.port, user="root", password=self.password_file.read_text().strip()) as connection:
            with connection.cursor() as cursor:
                cursor.execute("CREATE DATABASE IF NOT EXISTS myim CHARACTER SET utf8mb4")

    @property
    def password_file(self) -> Path:
        """Where root's password is."""
        return self.directory / "password"

    @property
    def url(self) -> str:
        """What goes into `store.url`."""
        return f"mysql://root@127.0.0.1:{self.port}/myim"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return int((self.directory / "mariadbd.pid").read_text())

    def start(self) -> None:
        """Start it, or start it again on the same data and port."""
        self.port = int(self._run("start").split()[-1])

    def stop(self) -> None:
        """End it in order."""
        self._run("stop")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone, or waits for a parent that never asks (then its pid file must not speak for it)."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), 30, "the end of the database")
        (self.directory / "mariadbd.pid").unlink(missing_ok=True)

    def _run(self, verb: str) -> str:
        command = [str(REPOSITORY / "scripts/mariadb.sh"), verb, str(self.directory)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL).stdout


@dataclass(slots=True)
class Node:
    """A node, with every role but where `settings` says otherwise, that takes many connections from one address; `start` it, `mint`
    before or while it runs."""

    directory: Path
    database: Database | None = None
    core: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    center_port: int = field(default_factory=free_port)
    login_port: int = field(default_factory=free_port)
    process: Process | None = None

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        store: dict[str, object] = {}
        if self.database is not None:
            store = {"url": self.database.url, "password_file": str(self.database.password_file)}
        sections: dict[str, dict[str, object]] = {
            "node": {"data_dir": str(self.directory / "data")},
            "login": {
                "listen": f"127.0.0.1:{self.login_port}",
                "max_handshakes_per_address": 200,
                "trusted_networks": ["127.0.0.0/8"],
            },
            "center": {"listen": f"127.0.0.1:{self.center_port}", "max_handshakes_per_address": 200},
            "store": store,
        }
        for name, values in self.settings.items():
            sections.setdefault(name, {}).update(values)
        # JSON is YAML
        self.config.write_text(json.dumps({name: values for name, values in sections.items() if values}, indent=1) + "\n")

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.directory / "myim.yaml"

    @property
    def pid(self) -> int:
        """Its process id; it must be running."""
        assert self.process is not None
        return self.process.pid

    def start(self, program: Sequence[str] = (PYTHON, "-m", "myim_server")) -> None:
        """Start it and wait until both doors are open; `program` stands in for the server's own command line."""
        command = [*program, "node", "--config", str(self.config)]
        self.process = Process(command, self.directory / "node.log", self.core, self.environment)
        for port in self.doors:
            self.process.await_listening(port)

    @property
    def doors(self) -> list[int]:
        """The ports of the roles it has."""
        roles = self.settings.get("node", {}).get("roles", ["login", "center"])
        assert isinstance(roles, list)
        doors = (("login", self.login_port), ("center", self.center_port))
        return [port for role, port in doors if role in roles or "endpoint" in roles]

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None:
            self.process.stop()
            self.process = None

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process = None

    def mint(self, count: int, prefix: str) -> Path:
        """A file of `count` accounts with tokens; RuntimeError as `admin`."""
        out = self.directory / f"{prefix}.jsonl"
        self.admin("mint", "--count", str(count), "--prefix", prefix, "--out", str(out))
        return out

    def admin(self, verb: str, *arguments: str) -> str:
        """What an operator's command printed; RuntimeError with what it said when it fails."""
        command = [PYTHON, "-m", "myim_server", "admin", verb, "--config", str(self.config), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise RuntimeError(f"admin {verb} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout
