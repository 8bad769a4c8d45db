"""The chaos run: applications exchange messages while the node, the database and applications are killed; then the judge speaks.

What lives here: processes, faults, the drain, the one line of JSON. What must not: rules (checker), what an application does
(application). The histories are read when every application has ended; nothing the node says is evidence.

    scripts/chaos.sh core --messages 50000 --kills 20 --seed 1 --store mariadb --json
Exit code: 0 nothing broken, 1 a promise was broken, 3 the run proves nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import wait_until
from bench.servers import Database, Node
from tests.chaos.applications import STALLED_SECONDS, Crowd, Traffic
from tests.chaos.checker import Kill, Verdict, check, kills_with_unsettled, vacuities
from tests.chaos.faults import APPLICATION, DATABASE, NODE, Fault, plan_faults

CALM_SECONDS = 0.5
RAM = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Options:
    """One run: how much traffic, how many kills, on what; `sabotage` breaks one mechanism and must be noticed."""

    messages: int
    kills: int
    seed: int
    store: str = "sqlite"
    users: int = 200
    applications: int = 4
    sabotage: str = ""
    seconds_per_kill: float = 3.0
    drain_seconds: float = 120.0
    blink_seconds: float = 0.25  # between two short absences within one application
    is_verbose: bool = False
    keep: Path | None = None

    @property
    def traffic(self) -> Traffic:
        """What the applications are to do."""
        rate = self.messages / max(self.kills * self.seconds_per_kill, 5.0)
        return Traffic(
            self.messages, rate, self.seed, self.users, self.applications, self.sabotage, self.blink_seconds, self.drain_seconds
        )


@dataclass(slots=True)
class World:
    """Everything that runs, and the kills it suffered."""

    options: Options
    node: Node
    database: Database | None
    crowd: Crowd
    kills: list[Kill] = field(default_factory=list)

    def check_alive(self) -> None:
        """RuntimeError when something ended that nobody killed."""
        self.crowd.check_alive()
        if self.node.process is None or not self.node.process.is_running:
            raise RuntimeError(f"the node ended by itself:\n{(self.node.directory / 'node.log').read_text(errors='replace')[-3000:]}")

    def suffer(self, fault: Fault) -> None:
        """Kill, and start again."""
        self.kills.append(Kill(fault.what, time.monotonic_ns()))
        if fault.what == NODE:
            self.node.kill()
            self.node.start()
        elif fault.what == DATABASE:
            assert self.database is not None
            self.database.kill()
            self.database.start()
        else:
            application = self.crowd.applications[fault.which]
            application.kill()
            application.start()


@contextlib.contextmanager
def run_directory(keep: Path | None, name: str, parent: Path | None = None) -> Iterator[Path]:
    """A directory of the run: a new one under `keep`, which stays, or a temporary one."""
    if keep is not None:
        kept = keep / name
        kept.mkdir(parents=True)
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="myim-chaos-", dir=parent) as temporary:
        yield Path(temporary)


@contextlib.contextmanager
def _world(options: Options, directory: Path) -> Iterator[World]:
    database = Database(directory / "mariadb") if options.store == "mariadb" else None
    environment = {"MYIM_CHAOS": "1", "MYIM_SABOTAGE": options.sabotage} if options.sabotage else {}
    node = Node(directory / "node", database, environment=environment)
    # Applications may live in memory: what is proved here is the node's and the SDK's behaviour at SIGKILL, which keeps the page cache.
    with run_directory(options.keep, "applications", RAM if RAM.is_dir() else None) as files:
        accounts = node.mint(options.users, "chaos")
        node.start()
        crowd = Crowd(files, options.traffic, accounts, [("127.0.0.1", node.center_port)])
        try:
            crowd.start()
            yield World(options, node, database, crowd)
        finally:
            crowd.stop()
            if node.process is not None:
                node.process.kill()
            if database is not None:
                database.stop()


def _say(options: Options, text: str) -> None:
    if options.is_verbose:
        print(f"chaos: {text}", file=sys.stderr, flush=True)


def _run_faults(world: World) -> None:
    options = world.options
    for fault in plan_faults(options.kills, options.applications, world.database is not None, options.seed):
        wait_until(_settled_at_least(world, int(fault.share * options.messages)), STALLED_SECONDS, f"{fault} (traffic stands still)")
        world.suffer(fault)
        _say(options, f"killed {fault.what} at {world.crowd.total('settled')} settled of {world.crowd.total('attempted')} attempted")
        calm = time.monotonic() + CALM_SECONDS
        wait_until(lambda until=calm: time.monotonic() >= until, 5, "calm")  # type: ignore[misc]


def _settled_at_least(world: World, count: int) -> Callable[[], bool]:
    def is_reached() -> bool:
        world.check_alive()
        return world.crowd.total("settled") >= count

    return is_reached


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    verdict: Verdict
    kills: list[Kill]
    with_unsettled: int
    resent: int
    seconds: float
    drain_seconds: float
    vacuities: list[str]

    @property
    def exit_code(self) -> int:
        """0 proved, 1 broken, 3 proves nothing."""
        return 1 if self.verdict.violations else 3 if self.vacuities else 0

    def summary(self, options: Options) -> dict[str, object]:
        """The line of JSON."""
        verdict = self.verdict
        kills = {what: sum(kill.what == what for kill in self.kills) for what in (NODE, DATABASE, APPLICATION)}
        share = round(self.with_unsettled / len(self.kills), 3) if self.kills else 1.0
        return {
            "chaos": "core",
            **verdict.counts(),
            "resent": self.resent,
            "kills": kills,
            "unsettled_at_kill": share,
            "vacuous": self.vacuities,
            "seconds": round(self.seconds, 1),
            "drain_seconds": round(self.drain_seconds, 1),
            "store": options.store,
            "users": options.users,
            "seed": options.seed,
            "sabotage": options.sabotage,
            "examples": verdict.examples,
        }


def run(options: Options) -> Outcome:
    """One whole run; RuntimeError when something ended by itself, TimeoutError when the traffic stands still."""
    start = time.monotonic()
    with run_directory(options.keep, "servers") as directory, _world(options, directory) as world:
        _run_faults(world)
        _say(options, "draining")
        drain_seconds = world.crowd.drain(world.check_alive)
        resent = world.crowd.resent()
        histories = world.crowd.collect()
    verdict = check(histories)
    with_unsettled = kills_with_unsettled(histories, world.kills)
    empty = vacuities(verdict, world.kills, with_unsettled, resent)
    if verdict.attempted != options.messages:
        empty.append(f"{verdict.attempted} messages were attempted, not {options.messages}")
    return Outcome(verdict, world.kills, with_unsettled, resent, time.monotonic() - start, drain_seconds, empty)


def main() -> int:
    """Run once as the arguments say; SIGTERM ends everything that was started, too."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=("sqlite", "mariadb"), default="sqlite")
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--applications", type=int, default=4)
    parser.add_argument("--sabotage", choices=("", "settle_before_commit", "no_dedupe", "no_lane"), default="")
    parser.add_argument("--seconds-per-kill", type=float, default=3.0, help="sets the rate of the traffic")
    parser.add_argument("--keep", type=Path, help="keep all files of the run in this new directory: logs, profiles, histories")
    parser.add_argument("--json", action="store_true", help="one line of JSON on stdout and nothing on stderr")
    chosen = parser.parse_args()
    options = Options(
        chosen.messages, chosen.kills, chosen.seed, chosen.store, chosen.users, chosen.applications, chosen.sabotage,
        chosen.seconds_per_kill, is_verbose=not chosen.json, keep=chosen.keep,
    )  # fmt: skip
    outcome = run(options)
    summary = outcome.summary(options)
    print(json.dumps(summary) if chosen.json else json.dumps(summary, indent=1))
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
