"""A center is killed: how long its terminals, on the SDK, are away.

What lives here: the kill and the distribution. What must not: terminals (cluster_terminals), promises about messages (the chaos runs).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.cluster_options import Options
from bench.cluster_servers import Cluster
from bench.driver import percentile
from bench.figures import Figures
from bench.processes import wait_until

BACK_SECONDS = 60.0


class Terminals:
    """A running `bench.cluster_terminals`; `where` they were when all were online."""

    def __init__(self, directory: Path, accounts: Path, login_server: str, servers: list[str]) -> None:
        # each real terminal flushes to a disk of its own; here one disk would do it for all
        self._home = tempfile.TemporaryDirectory(prefix="myim-terminals-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        command = [
            sys.executable, "-m", "bench.cluster_terminals", "--accounts", str(accounts), "--home", self._home.name,
            "--login-server", login_server, "--servers", json.dumps(servers),
        ]  # fmt: skip
        with (directory / "terminals.log").open("ab") as log:
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self.where: dict[str, int] = self._answer()

    def _answer(self) -> Any:
        assert self._child.stdout is not None
        return json.loads(self._child.stdout.readline() or "null")

    def began(self) -> list[tuple[int, str, str, float]]:
        """Sessions since the last call: (terminal, server before, server now, monotonic seconds)."""
        assert self._child.stdin is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        return [(place, before, now, at) for place, before, now, at in self._answer()]

    def stop(self) -> None:
        """End it."""
        self._child.kill()
        self._child.wait()
        self._home.cleanup()


def measure_kills(figures: Figures, directory: Path, options: Options) -> None:
    """Two centers with terminals on both; each time the one that holds more of them is killed, and started again afterwards."""
    with Cluster(directory / "kills") as cluster:
        accounts = cluster.centers[0].mint(options.terminals, "away")
        cluster.start()
        servers = [f"127.0.0.1:{center.center_port}" for center in cluster.centers]
        terminals = Terminals(directory, accounts, f"127.0.0.1:{cluster.centers[0].login_port}", servers)
        where = dict(terminals.where)
        try:
            for _ in range(options.repeats):
                _kill_one(figures, cluster, terminals, servers, where)
        finally:
            terminals.stop()


def _kill_one(figures: Figures, cluster: Cluster, terminals: Terminals, servers: list[str], where: dict[str, int]) -> None:
    number = max(range(len(servers)), key=lambda index: where.get(servers[index], 0))
    victim, count = servers[number], where.get(servers[number], 0)
    terminals.began()
    killed = time.monotonic()
    cluster.centers[number].kill()
    back: dict[int, float] = {}

    def are_back() -> bool:
        for place, before, now, at in terminals.began():
            where[before], where[now] = where.get(before, 0) - 1, where.get(now, 0) + 1
            if before == victim:
                back.setdefault(place, at - killed)
        return len(back) >= count

    try:
        wait_until(are_back, BACK_SECONDS, "the terminals")
    except TimeoutError:
        pass  # the figure tells how many
    waits = [(wait, 1) for wait in back.values()]
    figures.add("center killed, terminals it had", "", count)
    figures.add("center killed, terminals not back after 60 s", "", count - len(back))
    for name, share in (("50 %", 0.5), ("95 %", 0.95), ("all", 1.0)):
        figures.add(f"center killed, {name} of its terminals are back elsewhere", "s", round(percentile(waits, share), 2))
    cluster.centers[number].start()
