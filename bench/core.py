"""The core bench: every figure issue 3 holds the center to, measured in one run beside the floor, medians of the repeats.

What lives here: which servers and loads, in which order, how often; the goals. What must not: loads (`driver`, `loads`), how servers
are started (`servers`). Never a test: figures are read by people, goals missed do not fail.

Servers run on the first core this process may use, the driver (this process) and the database on the last.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import loads
from bench.command import Bench
from bench.driver import run_pairs
from bench.figures import Figures
from bench.line import Address, read_accounts
from bench.servers import Database, Floor, Node

WINDOWS = (1, 8, 64)
GOALS = {
    "ratio at 1 in flight": 1.4,
    "ratio at 8 in flight": 2.0,
    "ratio at 64 in flight": 3.0,
    "idle connection, RSS": 24.0,
    "connection by token, center CPU": 1.5,
    "offline store on mariadb, rate": 20_000.0,
    "offline store on mariadb, center CPU": 45.0,
    "offline store on mariadb, center + database CPU": 60.0,
    "offline retrieval on mariadb, center CPU": 25.0,
    "offline retrieval on sqlite, center CPU": 25.0,
    "hub stall while users log in": 50.0,
}


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure; `cores` are (servers, driver)."""

    pairs: int = 200
    repeats: int = 3
    seconds: float = 3.0
    connections: int = 5000
    logins: int = 100
    cores: tuple[int, int] = (0, 1)


def measure_pairs(figures: Figures, directory: Path, options: Options) -> None:
    """Floor and center in turns, at each window: CPU of each per settled message, and their ratio."""
    floor, node = Floor(directory / "floor", 2 * options.pairs, options.cores[0]), Node(directory / "pairs", core=options.cores[0])
    minted = read_accounts(node.mint(2 * options.pairs, "pair"))
    keyed = read_accounts(floor.accounts)
    node.start()
    try:
        for window in WINDOWS * options.repeats:
            costs = {}
            for what, port, accounts, pid in (
                ("floor", floor.port, keyed, floor.process.pid),
                ("center", node.center_port, minted, node.pid),
            ):
                run = run_pairs(("127.0.0.1", port), accounts, window, pid, options.seconds / 4, options.seconds)
                costs[what] = run.server_cpu_us
                figures.add(f"{what} at {window} in flight, CPU", "µs", run.server_cpu_us)
                figures.add(f"{what} at {window} in flight, rate", "messages/s", run.messages_per_second)
                figures.add(f"{what} at {window} in flight, p50", "µs", run.p50_us)
                figures.add(f"{what} at {window} in flight, p99", "µs", run.p99_us)
                figures.add(f"{what} at {window} in flight, settlements per record", "", run.messages_per_record)
            figures.add(f"ratio at {window} in flight", "×", round(costs["center"] / max(costs["floor"], 1e-9), 3))
    finally:
        floor.process.kill()
        node.stop()


def measure_connections(figures: Figures, directory: Path, options: Options) -> None:
    """A fresh node each time: connect all, look at its memory, drop all."""
    node = Node(directory / "connections", core=options.cores[0])
    accounts = read_accounts(node.mint(options.connections + 50, "idle"))
    for _ in range(options.repeats):
        node.start()
        try:
            run = loads.connect(("127.0.0.1", node.center_port), accounts, node.pid)
        finally:
            node.stop()
        figures.add("idle connection, RSS", "KiB", run.idle_kib)
        figures.add("connection by token, center CPU", "ms", run.cpu_ms)
        figures.add("connection by token, rate", "connections/s", run.per_second)


def _stores(directory: Path) -> Iterator[tuple[str, Database | None]]:
    yield "sqlite", None
    database = Database(directory / "mariadb")
    try:
        yield "mariadb", database
    finally:
        database.stop()


def measure_offline(figures: Figures, directory: Path, options: Options) -> None:
    """On each store: write to absent users, then let them fetch; fresh users each time."""
    for name, database in _stores(directory):
        node = Node(directory / f"offline-{name}", database, options.cores[0])
        accounts = read_accounts(node.mint(2 * options.pairs * options.repeats, "offline"))
        if database is not None:
            os.sched_setaffinity(database.pid, {options.cores[1]})
        pids = (0, 0 if database is None else database.pid)
        node.start()
        try:
            address: Address = ("127.0.0.1", node.center_port)
            pids = (node.pid, pids[1])
            for repeat in range(options.repeats):
                users = accounts[2 * options.pairs * repeat :][: 2 * options.pairs]
                senders, targets = users[: options.pairs], users[options.pairs :]
                stored = loads.store(address, senders, targets, pids, options.seconds)
                figures.add(f"offline store on {name}, rate", "messages/s", stored.per_second)
                figures.add(f"offline store on {name}, center CPU", "µs", stored.center_us)
                figures.add(f"offline store on {name}, center + database CPU", "µs", round(stored.center_us + stored.database_us, 2))
                figures.add(f"offline store on {name}, p99", "ms", stored.p99_ms)
                fetched = loads.fetch(address, targets, stored.stored, pids)
                figures.add(f"offline retrieval on {name}, rate", "messages/s", fetched.per_second)
                figures.add(f"offline retrieval on {name}, center CPU", "µs", fetched.center_us)
                figures.add(
                    f"offline retrieval on {name}, center + database CPU", "µs", round(fetched.center_us + fetched.database_us, 2)
                )
        finally:
            node.stop()


def measure_stalls(figures: Figures, directory: Path, options: Options) -> None:
    """The worst PING of one session while many users log in by password, on a fresh node each time."""
    for repeat in range(options.repeats):
        node = Node(directory / f"stall-{repeat}", core=options.cores[0])
        probe = read_accounts(node.mint(1, "probe"))[0]
        node.start()
        try:
            run = loads.stalls(("127.0.0.1", node.center_port), node.login_port, probe, options.logins)
        finally:
            node.stop()
        figures.add("hub stall while users log in", "ms", run.worst_ms)
        figures.add("hub stall while users log in, p99", "ms", run.p99_ms)
        figures.add("hub stall while nobody logs in", "ms", run.quiet_worst_ms)
        figures.add("logins by password, rate", "logins/s", round(run.granted / max(run.login_seconds, 1e-9), 1))


PARTS: dict[str, Callable[[Figures, Path, Options], None]] = {
    "pairs": measure_pairs,
    "connections": measure_connections,
    "offline": measure_offline,
    "stalls": measure_stalls,
}
BENCH = Bench(
    "core", __doc__, GOALS, PARTS, Options(),
    {"repeats": "", "seconds": "measured time of one run", "pairs": "", "connections": "", "logins": ""},
)  # fmt: skip


if __name__ == "__main__":
    BENCH.run()
