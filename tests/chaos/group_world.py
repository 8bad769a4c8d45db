"""The servers of a chaos run of groups: one center with everything in one process on SQLite, or several linked ones on MariaDB; and a
janitor that has no center.

What lives here: how each is configured, started, killed. What must not: when, judging. Every node is the real thing, started as an operator
starts it, with a file; on SQLite the second janitor is a second process on the one file, which no operator may do, and the rows must stand.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.cluster_servers import Cluster
from bench.processes import Process, wait_until
from bench.servers import PYTHON, Database, Node
from tests.chaos.faults import DATABASE, Fault
from tests.chaos.group_audit import Archive
from tests.chaos.group_plan import CENTER, JANITOR

# Quick, so that a short run sees many rounds of all that is done again and again.
SETTINGS: dict[str, dict[str, object]] = {
    "groups": {"tidy_seconds": 0.3, "walk_seconds": 3.0, "confirmation_linger_ms": 20},
    "delivery": {"sweep_seconds": 2.0},
}


@dataclass(slots=True)
class Janitor:
    """A process that does nothing but walk over all groups, and dawdles between looking and removing."""

    directory: Path
    config: Path
    environment: Mapping[str, str]
    process: Process | None = None

    def start(self) -> None:
        """Start it, or start it again."""
        command = [PYTHON, "-m", "tests.chaos.lone_janitor", str(self.config)]
        self.process = Process(command, self.directory / "janitor.log", None, self.environment)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process = None


@dataclass(slots=True)
class World:
    """Everything that serves; `start`, and `stop` whatever happened. sabotage: the rule all of them break."""

    directory: Path
    store: str
    center_count: int = 2
    sabotage: str = ""
    database: Database | None = None
    centers: list[Node] = field(default_factory=list)
    janitors: list[Janitor] = field(default_factory=list)
    _cluster: Cluster | None = None

    def start(self) -> None:
        """Build and start all of it; who leaves a group is noted from now on."""
        environment = {"MYIM_CHAOS": "1", "MYIM_SABOTAGE": self.sabotage} if self.sabotage else {}
        if self.store == "mariadb":
            self._cluster = Cluster(self.directory, self.center_count, "plain", is_with_hazelcast=False, settings=SETTINGS)
            self.database, self.centers = self._cluster.database, self._cluster.centers
        else:
            self.centers = [Node(self.directory / "center-0", settings=SETTINGS)]
        for center in self.centers:
            center.environment = environment
            center.start()
        self.archive.watch()
        self.janitors = [Janitor(self.directory, self.centers[0].config, environment)]
        for janitor in self.janitors:
            janitor.start()

    @property
    def archive(self) -> Archive:
        """The database, for the judge."""
        return Archive(self.database or self.centers[0].directory / "data" / "myim.db")

    @property
    def doors(self) -> list[tuple[str, int]]:
        """Where applications knock."""
        return [("127.0.0.1", center.center_port) for center in self.centers]

    @property
    def sizes(self) -> dict[str, int]:
        """How many there are of each sort that can be killed."""
        return {CENTER: len(self.centers), DATABASE: int(self.database is not None), JANITOR: len(self.janitors)}

    def suffer(self, fault: Fault, down_seconds: float) -> None:
        """Kill, wait, and start again."""
        victim: Node | Database | Janitor
        if fault.what == DATABASE:
            assert self.database is not None
            victim = self.database
        else:
            victim = (self.centers if fault.what == CENTER else self.janitors)[fault.which]
        victim.kill()
        until = time.monotonic() + down_seconds
        wait_until(lambda: time.monotonic() >= until, down_seconds + 5, "the time to be down")
        victim.start()

    def check_alive(self) -> None:
        """RuntimeError when something ended that nobody killed."""
        for center in self.centers:
            if center.process is None or not center.process.is_running:
                raise RuntimeError(f"a center ended by itself:\n{(center.directory / 'node.log').read_text(errors='replace')[-3000:]}")
        for janitor in self.janitors:
            if janitor.process is None or not janitor.process.is_running:
                raise RuntimeError(f"the janitor ended by itself:\n{(self.directory / 'janitor.log').read_text(errors='replace')[-3000:]}")

    def faults_logged(self) -> list[str]:
        """What servers call a fault of their own, from all their logs."""
        logs = [center.directory / "node.log" for center in self.centers] + [self.directory / "janitor.log"]
        lines = [line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines()]
        return [line for line in lines if "_fault" in line or line.startswith(("Traceback", "pymysql.err", "sqlite3."))]

    def stop(self) -> None:
        """SIGKILL everything."""
        for janitor in self.janitors:
            janitor.kill()
        for center in self.centers:
            if center.process is not None:
                center.kill()
        if self._cluster is not None:
            self._cluster.__exit__()
