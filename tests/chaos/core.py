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
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import Process, wait_until
from bench.servers import PYTHON, Database, Node
from tests.chaos.checker import Kill, Verdict, check, kills_with_unsettled, vacuities
from tests.chaos.faults import APPLICATION, DATABASE, NODE, Fault, plan_faults
from tests.chaos.history import Event, decode_events

STALLED_SECONDS = 120
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
    def rate(self) -> float:
        """Messages per second all users together aim at."""
        return self.messages / max(self.kills * self.seconds_per_kill, 5.0)


@dataclass(slots=True)
class Application:
    """One application process: `share` of `shares`, restarted on the same files."""

    directory: Path
    options: Options
    share: int
    accounts: Path
    port: int
    incarnation: int = 0
    process: Process | None = None
    resent_before: int = 0

    def start(self) -> None:
        """Start it, or start it again on what it left."""
        self.incarnation += 1
        settings = {
            "directory": str(self.directory),
            "accounts": str(self.accounts),
            "port": self.port,
            "share": self.share,
            "shares": self.options.applications,
            "messages": self.options.messages,
            "rate": self.options.rate,
            "seed": self.options.seed,
            "incarnation": self.incarnation,
            "sabotage": self.options.sabotage,
            "blink_seconds": self.options.blink_seconds,
        }
        path = self.directory / f"application-{self.share}.json"
        path.write_text(json.dumps(settings))
        self.process = Process([PYTHON, "-m", "tests.chaos.application", str(path)], self.directory / f"application-{self.share}.log")

    def kill(self) -> None:
        """SIGKILL; what it had sent again so far is remembered, the rest it finds in its files."""
        assert self.process is not None
        self.process.kill()
        self.resent_before += self.progress().get("resent", 0)

    def progress(self) -> Mapping[str, int]:
        """What it last said of itself; empty before its first word of this incarnation."""
        try:
            said = json.loads((self.directory / f"progress-{self.share}.json").read_text())
        except FileNotFoundError:
            return {}
        return said if said["incarnation"] == self.incarnation else {**said, "resent": 0}

    def check_alive(self) -> None:
        """RuntimeError with its last words when it ended by itself."""
        assert self.process is not None
        if not self.process.is_running:
            raise RuntimeError(f"application {self.share} ended by itself:\n{self.process.tail()}")


@dataclass(slots=True)
class World:
    """Everything that runs, and the kills it suffered."""

    options: Options
    node: Node
    database: Database | None
    applications: list[Application]
    kills: list[Kill] = field(default_factory=list)

    def total(self, key: str) -> int:
        """A figure of all applications' progress together."""
        return sum(application.progress().get(key, 0) for application in self.applications)

    def resent(self) -> int:
        """How often a message was sent again, over all incarnations."""
        return self.total("resent") + sum(application.resent_before for application in self.applications)

    def check_alive(self) -> None:
        """RuntimeError when something ended that nobody killed."""
        for application in self.applications:
            application.check_alive()
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
            application = self.applications[fault.which]
            application.kill()
            application.start()


@contextlib.contextmanager
def _directory(options: Options, name: str, parent: Path | None = None) -> Iterator[Path]:
    """A directory of the run: a new one under `keep`, which stays, or a temporary one."""
    if options.keep is not None:
        kept = options.keep / name
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
    with _directory(options, "applications", RAM if RAM.is_dir() else None) as files:
        accounts = node.mint(options.users, "chaos")
        node.start()
        applications = [Application(files, options, share, accounts, node.center_port) for share in range(options.applications)]
        try:
            for application in applications:
                application.start()
            yield World(options, node, database, applications)
        finally:
            for application in applications:
                if application.process is not None:
                    application.process.kill()
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
        _say(options, f"killed {fault.what} at {world.total('settled')} settled of {world.total('attempted')} attempted")
        calm = time.monotonic() + CALM_SECONDS
        wait_until(lambda until=calm: time.monotonic() >= until, 5, "calm")  # type: ignore[misc]


def _settled_at_least(world: World, count: int) -> Callable[[], bool]:
    def is_reached() -> bool:
        world.check_alive()
        return world.total("settled") >= count

    return is_reached


def _drain(world: World) -> float:
    """Wait until all is settled, shown and receipted, or the drain's time is over; how long it took (s)."""
    start = time.monotonic()

    def is_complete() -> bool:
        world.check_alive()
        attempted, settled = world.total("attempted"), world.total("settled")
        if attempted != world.options.messages or settled < attempted:
            return False
        return world.total("shown") >= attempted and world.total("receipts") >= world.total("stored")

    with contextlib.suppress(TimeoutError):  # then the judge says what is missing
        while not is_complete() and world.total("attempted") < world.options.messages:
            before = world.total("attempted")
            wait_until(lambda seen=before: is_complete() or world.total("attempted") > seen, STALLED_SECONDS, "traffic")  # type: ignore[misc]
            start = time.monotonic()
        (world.applications[0].directory / "calm").touch()
        wait_until(is_complete, world.options.drain_seconds, "the drain")
    return time.monotonic() - start


def _collect(world: World) -> dict[int, list[Event]]:
    """End the applications, and read what they wrote."""
    files = world.applications[0].directory
    for word in ("calm", "end"):
        (files / word).touch()
    for application in world.applications:
        assert application.process is not None
        process = application.process
        wait_until(lambda process=process: not process.is_running, 60, "the end of an application")  # type: ignore[misc]
        if process.exit_code:
            raise RuntimeError(f"application {application.share} failed at its end:\n{process.tail()}")
    histories: dict[int, list[Event]] = {}
    for path in sorted(files.glob("history-*.jsonl")):
        with path.open() as lines:
            histories[int(path.stem.removeprefix("history-"))] = list(decode_events(lines))
    return histories


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
        names = "attempted settled received stored refused unknown unsettled shown receipts lost duplicated reordered forged crossed"
        names += " receipt_lies receipts_missing settled_twice"
        kills = {what: sum(kill.what == what for kill in self.kills) for what in (NODE, DATABASE, APPLICATION)}
        share = round(self.with_unsettled / len(self.kills), 3) if self.kills else 1.0
        return {
            "chaos": "core",
            **{name: getattr(verdict, name) for name in names.split()},
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
    with _directory(options, "servers") as directory, _world(options, directory) as world:
        _run_faults(world)
        _say(options, "draining")
        drain_seconds = _drain(world)
        resent = world.resent()
        histories = _collect(world)
    verdict = check(histories)
    with_unsettled = kills_with_unsettled(histories, world.kills)
    empty = vacuities(verdict, world.kills, with_unsettled, resent)
    if verdict.attempted != options.messages:
        empty.append(f"{verdict.attempted} messages were attempted, not {options.messages}")
    return Outcome(verdict, world.kills, with_unsettled, resent, time.monotonic() - start, drain_seconds, empty)


def main() -> int:
    """Run once as the arguments say."""
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
