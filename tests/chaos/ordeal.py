"""What the plan says is done to the cluster: each fault begun at its time, and ended.

What lives here: the agenda and the deeds. What must not: the plan (cluster_faults), how parts are started (cluster_parts), judging.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

from bench.processes import Process, wait_until
from bench.servers import PYTHON
from tests.chaos import cluster_faults as faults
from tests.chaos.applications import Application, Crowd
from tests.chaos.checker import Kill
from tests.chaos.cluster_faults import Fault
from tests.chaos.cluster_parts import Cluster, Hazelcast, Member

STOP_SECONDS = 20.0
FLAP_SECONDS = 0.3
FURTHEST_BYTE = 20_000
GARBAGE_PER_SECOND = 100

# What a wire does while a fault of that name lasts; of two, chance draws one.
WIRES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "refuse": [{"is_refusing": True}],
    "one_way": [{"swallow_up": True}, {"swallow_down": True}],
    "half_open": [{"swallow_up": True, "swallow_down": True}],
    "hold": [{"hold_up": True, "hold_down": True}, {"hold_up": True}, {"hold_down": True}],
    "slow": [{"delay": 0.2, "rate": 200_000.0}, {"delay": 1.0, "rate": 0.0}, {"delay": 0.0, "rate": 50_000.0}],
    "segments": [{"segment": 1}, {"segment": 3, "delay": 0.05}],
}


@dataclass(slots=True)
class Ordeal:
    """One run's faults, in order of time; `tick` does what is due. kills and ends are remembered for the judge."""

    cluster: Cluster
    crowd: Crowd
    say: Callable[[str], None]
    kills: list[Kill] = field(default_factory=list)
    ended_at: float = 0.0  # when the last fault was over (monotonic s)
    happened: list[Fault] = field(default_factory=list)
    _agenda: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _stopping: dict[str, tuple[Member, float]] = field(default_factory=dict)
    _down: set[str] = field(default_factory=set)
    _mutators: list[Process] = field(default_factory=list)
    _start: float = 0.0

    def begin(self, plan: Sequence[Fault]) -> None:
        """The traffic begins now."""
        self._start = time.monotonic()
        for fault in plan:
            self._later(fault.at, lambda fault=fault: self._befall(fault))  # type: ignore[misc]

    @property
    def is_over(self) -> bool:
        """Whether every fault has ended."""
        return not self._agenda and not self._stopping

    def tick(self) -> None:
        """Do what is due; RuntimeError when something ended that nobody killed."""
        while self._agenda and self._start + self._agenda[0][0] <= time.monotonic():
            heapq.heappop(self._agenda)[2]()
        for member, since in list(self._stopping.values()):
            if member.is_running and time.monotonic() - since > STOP_SECONDS:
                raise RuntimeError(f"{member.name} did not end within {STOP_SECONDS:.0f} s of SIGTERM")
            if not member.is_running:
                del self._stopping[member.name]
                self._start_again(member)
        self.check_alive()

    def check_alive(self) -> None:
        """RuntimeError when something ended that nobody killed."""
        self.crowd.check_alive()
        for member in self.cluster.nodes:
            if not member.is_running and member.name not in self._down:
                raise RuntimeError(f"{member.name} ended by itself:\n{(member.directory / 'node.log').read_text(errors='replace')[-3000:]}")
        for mutator in self._mutators:
            if not mutator.is_running and mutator.exit_code:
                raise RuntimeError(f"the mutator failed:\n{mutator.tail()}")

    def _later(self, seconds: float, deed: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (seconds, next(self._order), deed))

    def _befall(self, fault: Fault) -> None:
        """Begin a fault, and see to its end."""
        self.happened.append(fault)
        self.say(f"{fault.what} {fault.which} {fault.how} for {fault.seconds} s, at {self.crowd.total('settled')} settled")
        if fault.is_kill:
            self.kills.append(Kill(fault.what, time.monotonic_ns()))
        if fault.what == faults.GARBAGE:
            end = self._write_garbage(fault)
        elif fault.what == faults.CLOCK:
            end = self._step_clock(fault)
        elif fault.what in faults.PROCESSES:
            end = self._strike_process(fault)
        else:
            end = self._strike_wires(fault)

        def over() -> None:
            end()
            self.ended_at = time.monotonic()

        now = time.monotonic() - self._start
        self._later(now + fault.seconds, over)

    # Processes.

    def _strike_process(self, fault: Fault) -> Callable[[], None]:
        cluster = self.cluster
        if fault.what == faults.DATABASE:
            return self._strike_database(fault)
        if fault.how == "lose":
            for hazelcast in cluster.hazelcasts:
                hazelcast.kill()
            return self._start_hazelcasts
        target: Member | Hazelcast | Application
        if fault.what == faults.HAZELCAST:
            target = cluster.hazelcasts[fault.which]
        elif fault.what == faults.APPLICATION:
            target = self.crowd.applications[fault.which]
        else:
            sorts = {faults.CENTER: cluster.centers, faults.ENDPOINT: cluster.endpoints, faults.LOGIN: [cluster.login]}
            target = sorts[fault.what][fault.which]
        if fault.how == "pause":
            target.signal(signal.SIGSTOP)
            return lambda: target.signal(signal.SIGCONT)
        if isinstance(target, Member):
            return self._end_member(target, fault.how)
        if isinstance(target, Hazelcast):
            target.signal(signal.SIGTERM if fault.how == "stop" else signal.SIGKILL)
            return lambda: _again(target)
        target.kill()
        target.start()
        return lambda: None

    def _start_hazelcasts(self) -> None:
        for hazelcast in self.cluster.hazelcasts:
            hazelcast.start()

    def _end_member(self, member: Member, how: str) -> Callable[[], None]:
        self._down.add(member.name)
        if how == "kill":
            member.kill()
        else:
            member.signal(signal.SIGTERM)

        def back() -> None:
            if member.is_running:
                self._stopping[member.name] = member, time.monotonic()
            else:
                self._start_again(member)

        return back

    def _start_again(self, member: Member) -> None:
        member.start()
        self._down.discard(member.name)
        self.ended_at = time.monotonic()

    def _strike_database(self, fault: Fault) -> Callable[[], None]:
        database = self.cluster.database
        assert database is not None
        if fault.how == "pause":
            os.kill(database.pid, signal.SIGSTOP)
            return lambda: os.kill(database.pid, signal.SIGCONT)
        if fault.how == "kill":
            database.kill()
        else:
            database.stop()
        return database.start

    # Wires.

    def wires_of(self, fault: Fault) -> list[str]:
        """The names of the wires it befalls."""
        cluster = self.cluster
        meshed = [cluster.login, *cluster.centers]
        centers, is_static = cluster.centers, cluster.shape.directory == "static"
        center = centers[fault.which % len(centers)]
        if fault.what == faults.LINK:
            pairs = list(itertools.combinations([member.name for member in centers], 2))
            one, other = pairs[fault.which % len(pairs)]
            return [f"{one}>{other}", f"{other}>{one}"] if is_static else [f"any>{center.name}"]
        if fault.what == faults.ISOLATION:
            if not is_static:
                return [f"any>{member.name}" for member in meshed]
            others = [member.name for member in meshed if member is not center]
            return [f"{center.name}>{other}" for other in others] + [f"{other}>{center.name}" for other in others]
        if fault.what == faults.FRONT:
            return [f"{cluster.endpoints[fault.which].name}>{member.name}" for member in centers]
        if fault.what == faults.CLIENTS:
            return [f"client>{(cluster.endpoints + centers)[fault.which].name}"]
        if fault.what == faults.TO_HAZELCAST:
            return [f"{center.name}>hazelcast{number}" for number in range(1, len(cluster.hazelcasts) + 1)]
        return [f"{center.name}>database"]

    def _strike_wires(self, fault: Fault) -> Callable[[], None]:
        proxy, wires, random = self.cluster.proxy, self.wires_of(fault), Random(fault.chance)
        match fault.how:
            case "cut":
                proxy.cut(wires)
            case "flip" | "break":
                deed = proxy.flip_after if fault.how == "flip" else proxy.break_after
                deed(wires, random.randrange(FURTHEST_BYTE), random.choice(("up", "down")))
            case "duplicate":
                proxy.duplicate(wires)
            case "flap":
                self._flap(wires, fault.seconds)
            case _:
                if fault.how == "refuse":
                    proxy.cut(wires)
                chosen = random.choice(WIRES[fault.how])
                proxy.set(wires, **chosen)
                if fault.how == "one_way" and fault.what == faults.LINK and len(wires) == 2:  # one direction, whoever dialled
                    proxy.heal(wires[1:])
                    proxy.set(wires[1:], **WIRES["one_way"][chosen is WIRES["one_way"][0]])
        return lambda: proxy.heal(wires)

    def _flap(self, wires: Sequence[str], seconds: float) -> None:
        start, turns = time.monotonic() - self._start, int(seconds / FLAP_SECONDS)
        for turn in range(turns):
            self._later(start + turn * FLAP_SECONDS, lambda: self._cut(wires))

    def _cut(self, wires: Sequence[str]) -> None:
        self.cluster.proxy.cut(wires)

    def _write_garbage(self, fault: Fault) -> Callable[[], None]:
        cluster = self.cluster
        path = cluster.directory / f"garbage-{fault.chance}.json"
        path.write_text(
            json.dumps(
                {
                    "members": [f"127.0.0.1:{hazelcast.port}" for hazelcast in cluster.hazelcasts],
                    "cluster_name_file": str(cluster.hazelcasts[0].name_file),
                    "seconds": fault.seconds,
                    "rate": GARBAGE_PER_SECOND,
                    "seed": fault.chance,
                }
            )
        )
        self._mutators.append(Process([PYTHON, "-m", "tests.chaos.mutator", str(path)], cluster.directory / "mutator.log"))
        return lambda: None

    def _step_clock(self, fault: Fault) -> Callable[[], None]:
        self.cluster.step_clock(faults.STEPS[fault.how])
        return lambda: self.cluster.step_clock(0.0)

    def finish(self) -> None:
        """Every fault is over: nothing stays cut, paused or down."""
        self.cluster.proxy.heal()
        for hazelcast in self.cluster.hazelcasts:
            hazelcast.await_up()
        for member in self.cluster.nodes:
            member.await_up()
        for mutator in self._mutators:
            with suppress(TimeoutError):
                wait_until(lambda mutator=mutator: not mutator.is_running, 10, "the mutator")  # type: ignore[misc]
            mutator.kill()
        self.ended_at = max(self.ended_at, time.monotonic())


def _again(hazelcast: Hazelcast) -> None:
    hazelcast.kill()  # where SIGTERM was not enough in time
    hazelcast.start()
