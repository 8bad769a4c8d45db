"""The servers of the group and the friend bench: one center on either store, or a cluster on MariaDB, with accounts that nobody used.

What lives here: which of them there are, how they are configured, who is there. What must not: loads, figures.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.request import urlopen

from bench.cluster_servers import Cluster
from bench.groups_tables import Tables
from bench.line import Account, Address, read_accounts
from bench.processes import free_port
from bench.servers import Database, Node

Sections = Mapping[str, Mapping[str, object]]
SETTINGS: Sections = {
    "groups": {"members": 100_000, "rows_per_group": 1_000_000},
    "center": {"idle_ping_seconds": 3600, "idle_close_seconds": 7200},
}
MOST_ATTEMPTS = 5


class Pinned(Protocol):
    """Options that say which cores are used: (centers, driver and database)."""

    @property
    def cores(self) -> tuple[int, int]: ...


@dataclass(slots=True)
class Servers:
    """Centers that run; `database` is the process of theirs, 0 where it is in the center's own."""

    addresses: Sequence[Address]
    tables: Tables
    centers: Sequence[int]
    database: int
    fresh: list[Account]
    metrics: int  # the port of the only center's, 0 where there are several
    login_port: int

    def take(self, count: int) -> list[Account]:
        """Accounts that nobody was given before."""
        taken, self.fresh = self.fresh[:count], self.fresh[count:]
        return taken

    def lateness(self) -> dict[float, float]:
        """How often the hub's own timer was late by at most so many seconds, since the start."""
        with urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=20) as answer:
            found = re.findall(r'^myim_hub_stall_seconds_bucket\{le="([^"]+)"\} (\S+)$', answer.read().decode(), re.MULTILINE)
        return {float(bound): float(count) for bound, count in found}


@contextmanager
def serving(
    directory: Path, store: str, centers: int, accounts: int, options: Pinned, groups: Mapping[str, object] | None = None
) -> Iterator[Servers]:
    """Centers on this store (several: a cluster of static peers on MariaDB) and so many accounts; groups: more of that section."""
    settings = {**SETTINGS, "groups": {**SETTINGS["groups"], **(groups or {})}}
    metrics = free_port() if centers == 1 else 0
    with ExitStack() as running:
        os.sched_setaffinity(0, set(options.cores))  # of those who make accounts, too
        if centers > 1:
            cluster = running.enter_context(
                Cluster(directory, centers, core=options.cores[0], is_with_hazelcast=False, settings=settings)
            )
            nodes, database = cluster.centers, cluster.database
            fresh = _mint(cluster.centers[0], accounts)
            cluster.start()
        else:
            made = Database(directory / "mariadb") if store == "mariadb" else None
            if made is not None:
                running.callback(made.stop)
            settings["metrics"] = {"listen": f"127.0.0.1:{metrics}"}
            node = Node(directory / "node", made, options.cores[0], settings=settings)
            running.callback(node.stop)
            fresh = _mint(node, accounts)
            node.start()
            nodes, database = [node], made  # type: ignore[assignment]
        if database is not None:
            os.sched_setaffinity(database.pid, {options.cores[1]})
        os.sched_setaffinity(0, {options.cores[1]})
        tables = Tables(nodes[0])
        running.callback(tables.close)
        addresses = [("127.0.0.1", node.center_port) for node in nodes]
        pids = [node.pid for node in nodes], 0 if database is None else database.pid
        yield Servers(addresses, tables, *pids, fresh, metrics, nodes[0].login_port)


def _mint(node: Node, count: int) -> list[Account]:
    """Where a busy machine takes its time, the store gives up; whom it made is used again."""
    for _ in range(MOST_ATTEMPTS - 1):
        try:
            return read_accounts(node.mint(count, "member"))
        except RuntimeError as error:
            if "STORE_UNAVAILABLE" not in str(error):
                raise
    return read_accounts(node.mint(count, "member"))
