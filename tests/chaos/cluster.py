"""The chaos run of a cluster: applications talk across centers while everything between and under them breaks; then the judge speaks.

What lives here: the run, its drain, the one line of JSON. What must not: rules (checker), the plan (cluster_faults), the deeds (ordeal),
processes (cluster_parts). The histories are read when every application has ended; nothing a node says is evidence, but for the question
whether the directory equals the true connections.

    scripts/chaos.sh cluster --messages 200000 --faults 60 --seed 1 --every 2-5 --json
Exit code: 0 nothing broken, 1 a promise was broken, 3 the run proves nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.processes import wait_until
from tests.chaos import cluster_faults as faults
from tests.chaos.applications import Crowd, Traffic, home_of
from tests.chaos.checker import Kill, Verdict, check, kills_with_unsettled, vacuities
from tests.chaos.cluster_faults import Fault, plan_cluster_faults
from tests.chaos.cluster_parts import Cluster, Shape
from tests.chaos.core import RAM, run_directory
from tests.chaos.directory_truth import Reader, seconds_until_true, users_of
from tests.chaos.history import Event, Kind
from tests.chaos.ordeal import Ordeal

WARMING_SECONDS = 60.0
HASTE = 1.25
CENTER_SABOTAGES = ("settle_before_commit", "no_lane", "no_dedupe")  # by MYIM_SABOTAGE; no_dedupe is the applications'
NODE_SABOTAGES = ("directory_without_compare", "lease_unchecked")  # by `sabotaged_node`


@dataclass(frozen=True, slots=True)
class Options:
    """One run. every: seconds between two faults, least and most; sabotage breaks one mechanism and must be noticed."""

    messages: int
    faults: int
    seed: int
    every: tuple[float, float] = (2.0, 5.0)
    shape: Shape = field(default_factory=Shape)
    users: int = 200
    applications: int = 4
    sabotage: str = ""
    drain_seconds: float = 120.0
    blink_seconds: float = 0.25
    offline_share: float = 0.2
    offline_seconds: float = 3.0
    only: tuple[str, ...] = ()  # of the sorts of faults; empty: all
    script: tuple[Fault, ...] = ()  # instead of a plan drawn from the seed
    is_verbose: bool = False
    keep: Path | None = None

    @property
    def plan(self) -> list[Fault]:
        """What will befall it."""
        if self.script:
            return list(self.script)
        shape, has_hazelcast = self.shape, self.shape.directory == "hazelcast"
        pairs = shape.centers * (shape.centers - 1) // 2
        sizes = {
            faults.CENTER: shape.centers,
            faults.ENDPOINT: shape.endpoints,
            faults.LOGIN: 1,
            faults.APPLICATION: self.applications,
            faults.DATABASE: 1,
            faults.HAZELCAST: shape.hazelcasts if has_hazelcast else 0,
            faults.LINK: pairs,
            faults.ISOLATION: shape.centers if pairs else 0,
            faults.FRONT: shape.endpoints,
            faults.CLIENTS: shape.endpoints + shape.centers,
            faults.TO_HAZELCAST: shape.centers if has_hazelcast else 0,
            faults.TO_DATABASE: shape.centers,
            faults.GARBAGE: int(has_hazelcast),
            faults.CLOCK: int(self.sabotage not in NODE_SABOTAGES),
        }
        if self.only:
            sizes = {what: size if what in (*self.only, faults.APPLICATION) else 0 for what, size in sizes.items()}
        return plan_cluster_faults(self.faults, self.every, self.seed, sizes)

    def traffic(self, plan: list[Fault]) -> Traffic:
        """What the applications are to do: as long as the plan is, though faults keep them from it."""
        seconds = max((fault.at + fault.seconds for fault in plan), default=0.0)
        rate = HASTE * self.messages / max(seconds, 5.0)
        return Traffic(
            self.messages, rate, self.seed, self.users, self.applications, self.sabotage, self.blink_seconds, self.drain_seconds,
            self.offline_share, self.offline_seconds,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to; directory_seconds: until it equalled the true connections after the last fault, None: never, -1: not asked."""

    verdict: Verdict
    kills: list[Kill]
    happened: list[Fault]
    with_unsettled: int
    resent: int
    across: float
    seconds: float
    drain_seconds: float
    directory_seconds: float | None
    directory_lies: list[str]
    vacuities: list[str]

    @property
    def exit_code(self) -> int:
        """0 proved, 1 broken, 3 proves nothing."""
        return 1 if self.is_broken else 3 if self.vacuities else 0

    @property
    def is_broken(self) -> bool:
        """Whether a promise was broken."""
        return self.verdict.violations > 0 or self.verdict.unknown > 0 or self.directory_seconds is None

    def summary(self, options: Options) -> dict[str, object]:
        """The line of JSON."""
        return {
            "chaos": "cluster",
            **self.verdict.counts(),
            "resent": self.resent,
            "kills": dict(Counter(kill.what for kill in self.kills)),
            "faults": dict(Counter(f"{fault.what}_{fault.how}" for fault in self.happened)),
            "unsettled_at_kill": round(self.with_unsettled / len(self.kills), 3) if self.kills else 1.0,
            "across_centers": round(self.across, 3),
            "vacuous": self.vacuities,
            "seconds": round(self.seconds, 1),
            "drain_seconds": round(self.drain_seconds, 1),
            "directory_seconds": None if self.directory_seconds is None else round(self.directory_seconds, 1),
            "links": options.shape.links,
            "directory": options.shape.directory,
            "users": options.users,
            "seed": options.seed,
            "sabotage": options.sabotage,
            "examples": self.verdict.examples + self.directory_lies[:10],
        }


@contextlib.contextmanager
def _running(options: Options, directory: Path, files: Path, plan: list[Fault]) -> Iterator[tuple[Cluster, Crowd, Reader | None]]:
    shape = options.shape
    if options.sabotage in CENTER_SABOTAGES:
        shape = replace(shape, environment={"MYIM_CHAOS": "1", "MYIM_SABOTAGE": options.sabotage})
    elif options.sabotage in NODE_SABOTAGES:
        shape = replace(shape, program=("-m", "tests.chaos.sabotaged_node", options.sabotage))
    cluster = Cluster(directory, shape)
    crowd: Crowd | None = None
    reader: Reader | None = None
    try:
        cluster.build()
        cluster.start()
        crowd = Crowd(files, options.traffic(plan), cluster.mint(options.users), cluster.doors)
        crowd.start()
        reader = Reader(cluster, crowd) if cluster.hazelcasts else None
        yield cluster, crowd, reader
    finally:
        if reader is not None:
            reader.stop()
        if crowd is not None:
            crowd.stop()
        cluster.stop()


def run(options: Options) -> Outcome:
    """One whole run; RuntimeError when something ended by itself, TimeoutError when the traffic never began."""
    start, plan = time.monotonic(), options.plan

    def say(text: str) -> None:
        if options.is_verbose:
            print(f"chaos: {time.monotonic() - start:6.1f} s: {text}", file=sys.stderr, flush=True)

    # Applications may live in memory: what is proved here is the nodes' and the SDK's behaviour at SIGKILL, which keeps the page cache.
    memory = RAM if RAM.is_dir() else None
    with run_directory(options.keep, "servers") as directory, run_directory(options.keep, "applications", memory) as files:
        with _running(options, directory, files, plan) as (cluster, crowd, reader):
            ordeal, users = Ordeal(cluster, crowd, say), users_of(crowd.accounts)
            _suffer(ordeal, plan)
            say("every fault is over")
            crowd.still()
            directory_seconds: float | None = -1.0
            wrong: list[str] = []
            if reader is not None:
                directory_seconds, wrong = seconds_until_true(reader, ordeal.check_alive, ordeal.ended_at)
            say(f"the directory is true {directory_seconds} s after the last fault {wrong[:5]}; draining")
            crowd.calm()
            drain_seconds = crowd.drain(ordeal.check_alive)
            resent = crowd.resent()
            histories = crowd.collect()
            homes = {user: cluster.center_of(home_of(options.seed, place, len(cluster.doors))) for place, user in enumerate(users)}
    verdict = check(histories)
    with_unsettled = kills_with_unsettled(histories, ordeal.kills)
    empty = vacuities(verdict, ordeal.kills, with_unsettled, resent)
    if verdict.attempted != options.messages:
        empty.append(f"{verdict.attempted} messages were attempted, not {options.messages}")
    seconds = time.monotonic() - start
    return Outcome(
        verdict, ordeal.kills, ordeal.happened, with_unsettled, resent, _share_across(histories, homes), seconds, drain_seconds,
        directory_seconds, wrong, empty,
    )  # fmt: skip


def _share_across(histories: Mapping[int, Sequence[Event]], homes: Mapping[int, int]) -> float:
    """How many of the messages went between users whose first doors lead to different centers."""
    attempts = [event for history in histories.values() for event in history if event.kind is Kind.ATTEMPT]
    return sum(homes[event.user] != homes[event.target] for event in attempts) / max(len(attempts), 1)


def _suffer(ordeal: Ordeal, plan: list[Fault]) -> None:
    """From the first settled message to the end of the last fault."""
    crowd = ordeal.crowd

    def has_begun() -> bool:
        crowd.check_alive()
        return crowd.total("settled") > 0

    wait_until(has_begun, WARMING_SECONDS, "the first message")
    ordeal.begin(plan)

    def is_over() -> bool:
        ordeal.tick()
        return ordeal.is_over

    wait_until(is_over, plan[-1].at * 3 + 300 if plan else 5, "the end of all faults")
    ordeal.finish()


def _seconds_between(text: str) -> tuple[float, float]:
    least, _, most = text.partition("-")
    return float(least), float(most or least)


def chosen(arguments: list[str] | None = None) -> tuple[Options, bool]:
    """The options of a command line, and whether only JSON is wanted."""
    parser = argparse.ArgumentParser(prog="scripts/chaos.sh cluster", description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=_seconds_between, default=(2.0, 5.0), help="seconds between two faults: 2-5")
    parser.add_argument("--links", choices=("tls", "plain"), default="tls")
    parser.add_argument("--directory", choices=("hazelcast", "static"), default="hazelcast")
    parser.add_argument("--centers", type=int, default=3)
    parser.add_argument("--endpoints", type=int, default=2)
    parser.add_argument("--hazelcasts", type=int, default=1, help="members")
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--applications", type=int, default=4)
    parser.add_argument("--only", default="", help=f"sorts of faults, e.g. {faults.LINK},{faults.CENTER}")
    parser.add_argument("--sabotage", choices=("", *CENTER_SABOTAGES, *NODE_SABOTAGES), default="")
    parser.add_argument("--keep", type=Path, help="keep all files of the run in this new directory: logs, profiles, histories")
    parser.add_argument("--json", action="store_true", help="one line of JSON on stdout and nothing on stderr")
    said = parser.parse_args(arguments)
    shape = Shape(said.centers, said.endpoints, said.hazelcasts, said.links, said.directory)
    options = Options(
        said.messages, said.faults, said.seed, said.every, shape, said.users, said.applications, said.sabotage,
        only=tuple(filter(None, said.only.split(","))), is_verbose=not said.json, keep=said.keep,
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
