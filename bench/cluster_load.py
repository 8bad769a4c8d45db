"""The load test: a whole cluster by `scripts/run_cluster.sh`, locust's users on it, and one table of what both did.

What lives here: starting and ending cluster and locust, the sampling of processes, the table. What must not: what users do (locustfile).
Ends with 1 when anything failed, 0 otherwise. Everything is on loopback; count and time are bounded.

    python -m bench.cluster_load --users 2000 --time 120
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.driver import percentile
from bench.processes import Process, cpu_seconds, resident_bytes
from bench.servers import PYTHON, REPOSITORY

MOST_USERS, MOST_SECONDS = 5_000, 3_600
SPAWNED_PER_SECOND = 40
LEAVING_SECONDS = 120
SAMPLE_SECONDS = 1.0
# Everybody comes from 127.0.0.1 here; what guards a door against one address would only stop the load.
OPEN_DOORS = {
    "MYIM_LOGIN__TRUSTED_NETWORKS": "127.0.0.0/8",
    "MYIM_LOGIN__MAX_HANDSHAKES_PER_ADDRESS": "200",
    "MYIM_CENTER__MAX_HANDSHAKES_PER_ADDRESS": "200",
}


@dataclass(slots=True)
class Load:
    """One process and what it used while it was watched."""

    name: str
    pid: int
    cpu_before: float = 0.0
    cpu_seconds: float = 0.0
    most_bytes: int = 0

    def sample(self) -> None:
        """Look at it now; a process that is gone keeps its last figures."""
        try:
            self.cpu_seconds = cpu_seconds(self.pid) - self.cpu_before
            self.most_bytes = max(self.most_bytes, resident_bytes(self.pid))
        except (FileNotFoundError, ProcessLookupError):
            pass


@dataclass(slots=True)
class Result:
    """What locust said, how long it took, and the processes."""

    exit_code: int
    seconds: float
    rows: list[Mapping[str, Any]]
    loads: list[Load] = field(default_factory=list)
    errors: str = ""

    @property
    def failures(self) -> int:
        """Requests that failed."""
        return sum(int(row["num_failures"]) for row in self.rows)


@dataclass(slots=True)
class Running:
    """A cluster that was started: a center's config, where terminals log in, the processes by name."""

    config: Path
    login_server: str
    loads: list[Load]


@contextmanager
def running_cluster(centers: int, endpoints: int, security: str) -> Iterator[Running]:
    """A fresh cluster on this host; it is taken down whatever happens."""
    with tempfile.TemporaryDirectory(prefix="myim-load-") as home:
        script, directory = str(REPOSITORY / "scripts/run_cluster.sh"), Path(home) / "cluster"
        up = [script, "up", "--centers", str(centers), "--endpoints", str(endpoints), "--links", security, "--dir", str(directory)]
        try:
            subprocess.run(up, check=True, env={**os.environ, **OPEN_DOORS}, stdout=sys.stderr, stdin=subprocess.DEVNULL, timeout=300)
            yield _describe(directory, endpoints)
        finally:
            down = [script, "down", "--dir", str(directory)]
            subprocess.run(down, check=False, stdout=sys.stderr, stdin=subprocess.DEVNULL, timeout=300)


def _describe(directory: Path, endpoints: int) -> Running:
    """What the cluster's own files say: ports by "node.door", pids."""
    ports = json.loads((directory / "cluster.json").read_text())["ports"]
    door = "endpoint-1.login" if endpoints else "login.login"
    pid_files = sorted(directory.glob("*/node.pid")) + [directory / "mariadb/mariadbd.pid", directory / "hazelcast/member.pid"]
    loads = [Load(file.parent.name, int(file.read_text())) for file in pid_files if file.exists()]
    return Running(directory / "center-1/myim.yaml", f"127.0.0.1:{ports[door]}", loads)


def run_locust(
    home: Path, accounts: Path, login_server: str, users: int, seconds: int, pause: float, loads: list[Load], patience: float = 30.0
) -> Result:
    """Locust's users on the cluster for so long; samples the processes meanwhile."""
    said = home / "locust"
    (home / "profiles").mkdir(mode=0o700)
    command = [
        PYTHON, "-m", "locust", "-f", str(REPOSITORY / "bench/locustfile.py"), "--headless", "--only-summary", "--json-file", str(said),
        "--users", str(users), "--spawn-rate", str(SPAWNED_PER_SECOND), "--run-time", f"{seconds}s", "--pause", str(pause),
        "--stop-timeout", "60", "--patience", str(patience), "--accounts", str(accounts), "--home", str(home / "profiles"),
        "--login-server", login_server,
    ]  # fmt: skip
    start = time.monotonic()
    process = Process(command, home / "locust.log")
    loads.append(Load("locust (the users)", process.pid))
    for load in loads[:-1]:
        load.cpu_before = cpu_seconds(load.pid)
    while process.is_running and time.monotonic() - start < seconds + LEAVING_SECONDS:
        for load in loads:
            load.sample()
        time.sleep(SAMPLE_SECONDS)
    if process.is_running:
        process.kill()
    try:
        rows = json.loads(said.with_suffix(".json").read_text())
    except (OSError, ValueError):
        raise RuntimeError(f"locust ended with {process.exit_code}: {process.tail()}") from None
    _, _, errors = (home / "locust.log").read_text(errors="replace").partition("Error report\n")
    return Result(process.exit_code or 0, time.monotonic() - start, rows, loads, errors)


def print_table(result: Result, seconds: int) -> None:
    """The one table: what users did, what it cost."""
    print(f"{'':<22}{'count':>10}{'per s':>10}{'p50 ms':>10}{'p99 ms':>10}{'longest':>10}{'failures':>10}")
    for row in sorted(result.rows, key=lambda row: str(row["name"])):
        times = [(float(value), int(count)) for value, count in row["response_times"].items()]
        rate, longest = row["num_requests"] / seconds, row["max_response_time"] or 0
        p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
        print(f"{row['name']:<22}{row['num_requests']:>10}{rate:>10.1f}{p50:>10.0f}{p99:>10.0f}{longest:>10.0f}{row['num_failures']:>10}")
    print(f"\n{'':<22}{'CPU s':>10}{'CPU %':>10}{'MiB':>10}")
    for load in result.loads:
        share = 100 * load.cpu_seconds / result.seconds
        print(f"{load.name:<22}{load.cpu_seconds:>10.1f}{share:>10.0f}{load.most_bytes / (1 << 20):>10.0f}")


def run_load(options: argparse.Namespace) -> Result:
    """A cluster up, its accounts made, the load run, the cluster down."""
    with running_cluster(options.centers, options.endpoints, options.links) as cluster:
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a profile is a database that flushes; users have a disk each
        with tempfile.TemporaryDirectory(prefix="myim-users-", dir=memory) as home:
            accounts = Path(home) / "accounts"
            mint = ["--config", str(cluster.config), "--count", str(options.users), "--prefix", "load", "--out", str(accounts)]
            subprocess.run([PYTHON, "-m", "myim_server", "admin", "mint", *mint], check=True, capture_output=True, timeout=300)
            where = cluster.login_server
            return run_locust(Path(home), accounts, where, options.users, options.time, options.pause, cluster.loads)


def main() -> None:
    """Run the load; 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--time", type=int, default=30, help="seconds, from the first user on")
    parser.add_argument("--centers", type=int, default=2)
    parser.add_argument("--endpoints", type=int, default=1)
    parser.add_argument("--links", choices=("tls", "plain"), default="tls")
    parser.add_argument("--pause", type=float, default=7.0, help="mean seconds between two acts of one user")
    options = parser.parse_args()
    if not (0 < options.users <= MOST_USERS and 0 < options.time <= MOST_SECONDS):
        parser.error(f"at most {MOST_USERS} users and {MOST_SECONDS} seconds")
    try:
        result = run_load(options)
    except (subprocess.SubprocessError, RuntimeError, TimeoutError) as error:
        sys.exit(f"load: {error}")
    print_table(result, options.time)
    if result.failures or result.exit_code:
        print(f"{result.failures} failures, locust ended with {result.exit_code}\n{result.errors[:4000]}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
