"""The application processes of a chaos run, seen from outside: started, killed, paused, listened to, ended.

What lives here: what the runs of one center and of a cluster share. What must not: servers, faults, judging.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from bench.processes import Process, wait_until
from bench.servers import PYTHON
from tests.chaos.history import Event, decode_events

STALLED_SECONDS = 120.0
OF_A_LIFE = ("resent", "repeated")  # figures that an application counts from its start on


def home_of(seed: int, place: int, doors: int) -> int:
    """Which of its doors the user at that place among all users tries first, the same way at every start."""
    return Random(f"home {seed} {place}").randrange(doors)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the applications are to do; rate: messages per second all users together aim at."""

    messages: int
    rate: float
    seed: int
    users: int = 200
    applications: int = 4
    sabotage: str = ""
    blink_seconds: float = 0.25  # between two short absences within one application
    drain_seconds: float = 120.0
    offline_share: float = 0.2  # of the users, at any time
    offline_seconds: float = 3.0  # how long each of them stays away
    program: str = "tests.chaos.application"
    more: Mapping[str, Any] = field(default_factory=dict)  # what applications of that program are told besides


@dataclass(slots=True)
class Application:
    """One application process: `share` of the users, restarted on the same files. servers: (host, port) of every door."""

    directory: Path
    traffic: Traffic
    share: int
    accounts: Path
    servers: Sequence[tuple[str, int]]
    incarnation: int = 0
    process: Process | None = None
    before: Counter[str] = field(default_factory=Counter)  # what its earlier incarnations had counted

    def start(self) -> None:
        """Start it, or start it again on what it left."""
        self.incarnation += 1
        settings = {
            "directory": str(self.directory),
            "accounts": str(self.accounts),
            "servers": list(self.servers),
            "share": self.share,
            "shares": self.traffic.applications,
            "messages": self.traffic.messages,
            "rate": self.traffic.rate,
            "seed": self.traffic.seed,
            "incarnation": self.incarnation,
            "sabotage": self.traffic.sabotage,
            "blink_seconds": self.traffic.blink_seconds,
            "offline_share": self.traffic.offline_share,
            "offline_seconds": self.traffic.offline_seconds,
            "more": dict(self.traffic.more),
        }
        path = self.directory / f"application-{self.share}.json"
        path.write_text(json.dumps(settings))
        self.process = Process([PYTHON, "-m", self.traffic.program, str(path)], self.directory / f"application-{self.share}.log")

    def kill(self) -> None:
        """SIGKILL; what it had counted in memory is remembered, the rest it finds in its files."""
        assert self.process is not None
        self.process.kill()
        said = self.progress()
        self.before.update({key: said.get(key, 0) for key in OF_A_LIFE})

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP, SIGCONT."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def progress(self) -> Mapping[str, Any]:
        """What it last said of itself; empty before its first word of this incarnation."""
        try:
            said = json.loads((self.directory / f"progress-{self.share}.json").read_text())
        except FileNotFoundError:
            return {}
        return said if said["incarnation"] == self.incarnation else {**said, **dict.fromkeys(OF_A_LIFE, 0)}

    def check_alive(self) -> None:
        """RuntimeError with its last words when it ended by itself."""
        assert self.process is not None
        if not self.process.is_running:
            raise RuntimeError(f"application {self.share} ended by itself:\n{self.process.tail()}")


class Crowd:
    """All applications of a run, with their files in `directory`; `start`, and `stop` whatever happened."""

    def __init__(self, directory: Path, traffic: Traffic, accounts: Path, servers: Sequence[tuple[str, int]]) -> None:
        self.directory, self.traffic, self.accounts = directory, traffic, accounts
        self.applications = [Application(directory, traffic, share, accounts, servers) for share in range(traffic.applications)]

    def start(self) -> None:
        """Start every application."""
        for application in self.applications:
            application.start()

    def stop(self) -> None:
        """SIGKILL all."""
        for application in self.applications:
            if application.process is not None:
                application.process.kill()

    def total(self, key: str) -> int:
        """A figure of all applications' progress together."""
        return sum(int(application.progress().get(key, 0)) for application in self.applications)

    def online(self) -> set[int]:
        """Who has a session, as the applications see it."""
        return {user for application in self.applications for user in application.progress().get("online", ())}

    def resent(self) -> int:
        """How often a message was sent again, over all incarnations."""
        return self.lived("resent")

    def lived(self, key: str) -> int:
        """A figure of OF_A_LIFE, over all incarnations."""
        return self.total(key) + sum(application.before[key] for application in self.applications)

    def check_alive(self) -> None:
        """RuntimeError when one ended that nobody killed."""
        for application in self.applications:
            application.check_alive()

    def still(self) -> None:
        """Nobody comes or goes."""
        (self.directory / "still").touch()

    def calm(self) -> None:
        """Everybody comes online and stays."""
        (self.directory / "calm").touch()

    def is_complete(self) -> bool:
        """Whether all is sent, settled, shown and receipted."""
        attempted = self.total("attempted")
        if attempted != self.traffic.messages or self.total("settled") < attempted:
            return False
        return self.total("shown") >= attempted and self.total("receipts") >= self.total("stored")

    def drain(self, check_alive: Callable[[], None]) -> float:
        """Wait until all is complete, or the drain's time is over since the last was sent; how long it took (s)."""
        start = time.monotonic()

        def is_complete() -> bool:
            check_alive()
            return self.is_complete()

        with contextlib.suppress(TimeoutError):  # then the judge says what is missing
            while not is_complete() and self.total("attempted") < self.traffic.messages:
                before = self.total("attempted")
                wait_until(lambda seen=before: is_complete() or self.total("attempted") > seen, STALLED_SECONDS, "traffic")  # type: ignore[misc]
                start = time.monotonic()
            self.calm()
            wait_until(is_complete, self.traffic.drain_seconds, "the drain")
        return time.monotonic() - start

    def end(self) -> None:
        """End the applications in order; what they wrote is in their files then."""
        for word in ("calm", "end"):
            (self.directory / word).touch()
        for application in self.applications:
            assert application.process is not None
            process = application.process
            wait_until(lambda process=process: not process.is_running, 120, "the end of an application")  # type: ignore[misc]
            if process.exit_code:
                raise RuntimeError(f"application {application.share} failed at its end:\n{process.tail()}")

    def collect(self) -> dict[int, list[Event]]:
        """End the applications, and read what they wrote."""
        self.end()
        histories: dict[int, list[Event]] = {}
        for path in sorted(self.directory.glob("history-*.jsonl")):
            with path.open() as lines:
                histories[int(path.stem.removeprefix("history-"))] = list(decode_events(lines))
        return histories
