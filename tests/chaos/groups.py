"""The chaos run of groups: members post, join and leave while centers, database, janitor and applications are killed; the judge speaks.

What lives here: the run, its recounts, its drain, the one line of JSON. What must not: rules (group_checker, group_audit), what
applications do (group_application), servers (group_world). The histories are read when every application has ended.

    scripts/chaos.sh groups --messages 100000 --kills 20 --seed 1 --store mariadb --json
Exit code: 0 nothing broken, 1 a promise was broken, 3 the run proves nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

import pymysql

from bench.processes import wait_until
from myim_server.store.group_sabotage import TWINS
from tests.chaos.applications import STALLED_SECONDS, Crowd, Traffic
from tests.chaos.checker import Kill
from tests.chaos.core import RAM, run_directory
from tests.chaos.faults import APPLICATION, Fault
from tests.chaos.group_audit import Archive, Snapshot, recount
from tests.chaos.group_checker import Verdict, check, kills_with_unsettled, vacuities
from tests.chaos.group_history import histories_in
from tests.chaos.group_plan import CENTER, Society, plan_group_faults
from tests.chaos.group_timeline import Posts
from tests.chaos.group_world import World

CALM_SECONDS = 0.5
LONGEST_DOWN_SECONDS = 2.0
RECOUNT_SECONDS = 2.0
DOWN = (OSError, sqlite3.Error, pymysql.err.Error)


@dataclass(frozen=True, slots=True)
class Options:
    """One run: how much traffic, how many kills, on what; `sabotage` breaks one mechanism and must be noticed. rate: posts per second all
    users together aim at; churn_seconds: between two leaves."""

    messages: int
    kills: int
    seed: int
    store: str = "sqlite"
    centers: int = 2
    users: int = 48
    applications: int = 4
    sabotage: str = ""
    rate: float = 300.0
    churn_seconds: float = 0.2
    society: Society = field(default_factory=Society)
    drain_seconds: float = 120.0
    blink_seconds: float = 2.0
    offline_share: float = 0.25
    offline_seconds: float = 4.0
    is_verbose: bool = False
    keep: Path | None = None

    @property
    def traffic(self) -> Traffic:
        """What the applications are to do."""
        return Traffic(
            self.messages, self.rate, self.seed, self.users, self.applications, self.sabotage, self.blink_seconds, self.drain_seconds,
            self.offline_share, self.offline_seconds, "tests.chaos.group_application",
            {"society": asdict(self.society), "churn_seconds": self.churn_seconds},
        )  # fmt: skip


@dataclass(slots=True)
class Auditor:
    """Looks at the database again and again and recounts; what is wrong is wrong at that very moment, so one look is enough."""

    archive: Archive
    looks: int = 0
    rows: int = 0  # that were recounted
    largest_backlog: int = 0
    found: Counter[str] = field(default_factory=Counter)
    _due: float = 0.0

    def tick(self) -> None:
        """Look if it is time; a database that is down says nothing."""
        if time.monotonic() >= self._due:
            with contextlib.suppress(*DOWN):
                self.look()
            self._due = time.monotonic() + RECOUNT_SECONDS

    def look(self, with_names: bool = False) -> Snapshot:
        """Look and recount now; the database's errors while it is down."""
        snapshot = self.archive.look(with_names)
        self.looks += 1
        self.rows += snapshot.backlog
        self.largest_backlog = max(self.largest_backlog, snapshot.backlog)
        self.found += recount(snapshot)
        return snapshot


@dataclass(slots=True)
class Run:
    """One run as it goes on."""

    options: Options
    world: World
    crowd: Crowd
    auditor: Auditor
    start: float
    kills: list[Kill] = field(default_factory=list)

    def say(self, text: str) -> None:
        """To who looks on."""
        if self.options.is_verbose:
            print(f"chaos: {time.monotonic() - self.start:6.1f} s: {text}", file=sys.stderr, flush=True)

    def check_alive(self) -> None:
        """RuntimeError when something ended that nobody killed; recounts besides."""
        self.crowd.check_alive()
        self.world.check_alive()
        self.auditor.tick()

    def suffer(self) -> None:
        """From the first settled post to the last kill."""
        options, random = self.options, Random(f"down {self.options.seed}")
        self._await_settled(1, "the first post")
        for fault in plan_group_faults(options.kills, {**self.world.sizes, APPLICATION: options.applications}, options.seed):
            self._await_settled(int(fault.share * options.messages), str(fault))
            self.kills.append(Kill(fault.what, time.monotonic_ns()))
            self._kill(fault, random.uniform(0, LONGEST_DOWN_SECONDS))
            calm = time.monotonic() + CALM_SECONDS
            wait_until(lambda until=calm: time.monotonic() >= until, 5, "calm")  # type: ignore[misc]

    def _kill(self, fault: Fault, down_seconds: float) -> None:
        total = self.crowd.total
        self.say(f"kill {fault.what} {fault.which} at {total('settled')} settled of {total('attempted')} attempted, {total('shown')} shown")
        if fault.what == APPLICATION:
            application = self.crowd.applications[fault.which]
            application.kill()
            application.start()
        else:
            self.world.suffer(fault, down_seconds if fault.what == CENTER and len(self.world.centers) > 1 else 0.0)

    def _await_settled(self, count: int, what: str) -> None:
        """Until so many posts are settled; TimeoutError naming `what` it was for when none more is for long."""
        while (settled := self.crowd.total("settled")) < count:
            wait_until(lambda seen=settled: self._is_further(seen), STALLED_SECONDS, f"{what} (traffic stands still)")  # type: ignore[misc]

    def drain(self) -> float:
        """Wait until everybody has everything and nothing is left, or the drain's time is over since the last post; how long it took."""
        crowd, messages = self.crowd, self.options.messages
        start, seen = time.monotonic(), -1
        with contextlib.suppress(TimeoutError):  # then the judge says what is missing
            while (settled := crowd.total("settled")) < messages and settled > seen:
                wait_until(lambda seen=settled: self._is_further(seen), self.options.drain_seconds, "traffic")  # type: ignore[misc]
                start = time.monotonic()
            crowd.calm()
            self.say("all is posted")
            wait_until(self._is_drained, self.options.drain_seconds, "the drain")
        return time.monotonic() - start

    def _is_further(self, settled: int) -> bool:
        self.check_alive()
        return self.crowd.total("settled") > settled

    def _is_drained(self) -> bool:
        self.check_alive()
        if self.crowd.total("settled") < self.crowd.total("attempted"):
            return False
        with contextlib.suppress(*DOWN):
            return self.auditor.look().is_drained
        return False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to. faults: what servers called a fault of their own."""

    verdict: Verdict
    kills: list[Kill]
    with_unsettled: int
    resent: int
    repeated: int
    auditor: Auditor
    last: Snapshot
    faults: list[str]
    seconds: float
    drain_seconds: float
    vacuities: list[str]

    @property
    def is_broken(self) -> bool:
        """Whether a promise was broken."""
        return self.verdict.violations > 0 or self.verdict.counts["unknown"] > 0

    @property
    def exit_code(self) -> int:
        """0 proved, 1 broken, 3 proves nothing."""
        return 1 if self.is_broken else 3 if self.vacuities else 0

    def summary(self, options: Options) -> dict[str, object]:
        """The line of JSON."""
        counts = self.verdict.counts
        return {
            "chaos": "groups",
            **self.verdict.figures(),
            "backlog": self.last.backlog,
            "groups": len(self.last.numbers),
            "resent": self.resent,
            "repeated_receipts": self.repeated,
            "recounts": self.auditor.looks,
            "recounted_rows": self.auditor.rows,
            "largest_backlog": self.auditor.largest_backlog,
            "kills": dict(Counter(kill.what for kill in self.kills)),
            "unsettled_at_kill": round(self.with_unsettled / len(self.kills), 3) if self.kills else 1.0,
            "pushed_share": round(counts["pushed"] / max(1, counts["shown"]), 3),
            "fetched_share": round(counts["fetched"] / max(1, counts["shown"]), 3),
            "vacuous": self.vacuities,
            "seconds": round(self.seconds, 1),
            "drain_seconds": round(self.drain_seconds, 1),
            "store": options.store,
            "users": options.users,
            "seed": options.seed,
            "sabotage": options.sabotage,
            "server_faults": self.faults[:5],
            "examples": self.verdict.examples,
        }


@contextlib.contextmanager
def _running(options: Options, directory: Path, files: Path) -> Iterator[Run]:
    start = time.monotonic()
    world = World(directory, options.store, options.centers, options.sabotage)
    crowd: Crowd | None = None
    try:
        world.start()
        crowd = Crowd(files, options.traffic, world.centers[0].mint(options.users, "chaos"), world.doors)
        crowd.start()
        yield Run(options, world, crowd, Auditor(world.archive), start)
    finally:
        if crowd is not None:
            crowd.stop()
        world.stop()


def run(options: Options) -> Outcome:
    """One whole run; RuntimeError when something ended by itself, TimeoutError when the traffic stands still."""
    start = time.monotonic()
    # Applications may live in memory: what is proved here is the nodes' and the SDK's behaviour at SIGKILL, which keeps the page cache.
    memory = RAM if RAM.is_dir() else None
    with run_directory(options.keep, "servers") as directory, run_directory(options.keep, "applications", memory) as files:
        with _running(options, directory, files) as going:
            going.suffer()
            going.say("every kill is over")
            drain_seconds = going.drain()
            going.say("drained, or given up")
            resent, repeated = going.crowd.lived("resent"), going.crowd.lived("repeated")
            going.crowd.end()
            last = going.auditor.look(with_names=True)
            faults = going.world.faults_logged()
        going.say("judging")
        histories = histories_in(files)
        verdict = check(histories, last)
        with_unsettled = kills_with_unsettled(Posts(histories), going.kills)
    for violation, count in going.auditor.found.items():
        verdict.accuse(violation, "by recounting", count)
    empty = vacuities(verdict.counts, going.kills, with_unsettled, resent, repeated)
    if verdict.counts["attempted"] != options.messages:
        empty.append(f"{verdict.counts['attempted']} posts were attempted, not {options.messages}")
    return Outcome(
        verdict, going.kills, with_unsettled, resent, repeated, going.auditor, last, faults, time.monotonic() - start, drain_seconds, empty
    )


def chosen(arguments: list[str] | None = None) -> tuple[Options, bool]:
    """The options of a command line, and whether only JSON is wanted."""
    parser = argparse.ArgumentParser(prog="scripts/chaos.sh groups", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=("sqlite", "mariadb"), default="sqlite")
    parser.add_argument("--centers", type=int, default=2, help="on MariaDB; SQLite has one")
    parser.add_argument("--users", type=int, default=48)
    parser.add_argument("--applications", type=int, default=4)
    parser.add_argument("--rate", type=float, default=300.0, help="posts per second that all users together aim at")
    parser.add_argument("--sabotage", choices=("", *TWINS), default="")
    parser.add_argument("--keep", type=Path, help="keep all files of the run in this new directory: logs, profiles, histories")
    parser.add_argument("--json", action="store_true", help="one line of JSON on stdout and nothing on stderr")
    said = parser.parse_args(arguments)
    options = Options(
        said.messages, said.kills, said.seed, said.store, said.centers, said.users, said.applications, said.sabotage, said.rate,
        is_verbose=not said.json, keep=said.keep,
    )  # fmt: skip
    return options, said.json


def main() -> int:
    """Run once as the arguments say; SIGTERM ends everything that was started, too."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    options, is_json = chosen()
    outcome = run(options)
    summary = outcome.summary(options)
    print(json.dumps(summary) if is_json else json.dumps(summary, indent=1))
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
