"""What a message costs between centers and through an endpoint, beside what it costs within one center of the same run.

What lives here: the pairs' loads over a cluster, and the endpoint's idle channels. What must not: how a cluster is started
(cluster_servers), directories and faults (cluster_directory, cluster_faults).
"""

from __future__ import annotations

from pathlib import Path

from bench import loads
from bench.cluster_options import Options
from bench.cluster_servers import Cluster
from bench.driver import Figures as Run
from bench.driver import run_between
from bench.figures import Figures
from bench.line import Account, Address

WINDOWS = (1, 8, 64)


def measure_across(figures: Figures, directory: Path, options: Options) -> None:
    """Within a center, across two by plain and by TLS links, in turns."""
    for security in ("plain", "tls"):
        with Cluster(directory / security, security=security, core=options.cores[0]) as cluster:
            accounts = cluster.accounts(2 * options.pairs, "pair")
            cluster.start()
            for window in WINDOWS * options.repeats:
                _compare_across(figures, cluster, accounts, window, options)


def _compare_across(figures: Figures, cluster: Cluster, accounts: list[Account], window: int, options: Options) -> None:
    here, there = cluster.address(0), cluster.address(1)
    security, at = cluster.security, f"at {window} in flight"
    one = _run((here, here), accounts, window, cluster.pids[:1], options)
    two = _run((here, there), accounts, window, cluster.pids, options)
    figures.add(f"one center {at}, CPU ({security} run)", "µs", one.server_cpu_us)
    _note(figures, f"two centers, {security} link, {at}", two)
    for whose, cost in zip(("sender's", "target's"), two.each_cpu_us, strict=True):
        figures.add(f"two centers, {security} link, {at}, CPU of the {whose}", "µs", cost)
    figures.add(f"ratio across / within, {security}, {at}", "×", round(two.server_cpu_us / max(one.server_cpu_us, 1e-9), 3))


def measure_endpoint(figures: Figures, directory: Path, options: Options) -> None:
    """The same pairs directly at a center, and through an endpoint before it, over a TLS link; then channels that only idle."""
    with Cluster(directory / "endpoint", 1, core=options.cores[0]) as cluster:
        accounts = cluster.accounts(2 * options.pairs, "pair")
        idle = cluster.accounts(options.connections + 50, "idle")
        cluster.start()
        endpoint = cluster.front(0)
        here, front, pids = cluster.address(0), endpoint.address, [cluster.pids[0], endpoint.node.pid]
        for window in WINDOWS * options.repeats:
            at = f"at {window} in flight"
            direct = _run((here, here), accounts, window, pids, options)
            through = _run((front, front), accounts, window, pids, options)
            figures.add(f"direct {at}, CPU", "µs", direct.server_cpu_us)
            _note(figures, f"through an endpoint {at}", through)
            for whose, cost in zip(("center", "endpoint"), through.each_cpu_us, strict=True):
                figures.add(f"through an endpoint {at}, CPU of the {whose}", "µs", cost)
            figures.add(f"ratio endpoint / direct {at}", "×", round(through.server_cpu_us / max(direct.server_cpu_us, 1e-9), 3))
        run = loads.connect(front, idle, endpoint.node.pid)
        figures.add("idle channel at the endpoint, RSS", "KiB", run.idle_kib)
        figures.add("connection by token through the endpoint, endpoint CPU", "ms", run.cpu_ms)


def measure_totals(figures: Figures, directory: Path, options: Options) -> None:
    """All messages per second that one center, and two, settle on the cores there are, which driver and database share."""
    with Cluster(directory / "totals") as cluster:
        accounts = cluster.accounts(2 * options.pairs, "pair")
        cluster.start()
        here, there = cluster.address(0), cluster.address(1)
        for _ in range(options.repeats):
            for what, addresses in (("1 center", (here, here)), ("2 centers, all messages across", (here, there))):
                run = _run(addresses, accounts, WINDOWS[-1], cluster.pids, options)
                figures.add(f"all messages, {what}", "messages/s", run.messages_per_second)


def _run(addresses: tuple[Address, Address], accounts: list[Account], window: int, pids: list[int], options: Options) -> Run:
    return run_between(addresses, accounts, window, pids, options.seconds / 4, options.seconds)


def _note(figures: Figures, what: str, run: Run) -> None:
    figures.add(f"{what}, CPU", "µs", run.server_cpu_us)
    figures.add(f"{what}, rate", "messages/s", run.messages_per_second)
    figures.add(f"{what}, p50", "µs", run.p50_us)
    figures.add(f"{what}, p99", "µs", run.p99_us)
    figures.add(f"{what}, stored", "messages", run.stored)

