"""The loads beside the pairs: connecting, idling, storing for the absent, retrieving, and probing for stalls.

What lives here: each load and its figures, as functions over open servers. What must not: starting servers, repeats, goals (core).
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.driver import Loop, Receiver, Sender
from bench.line import Account, Address, Line, enter, open_lines
from bench.processes import cpu_seconds, resident_bytes, wait_until
from myim_wire.messages import PING_ASK, QOS1, Command

WINDOW = 64
PROBE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Connected:
    """`count` token connections: rate, server CPU each, and what each costs in memory while idle."""

    count: int
    per_second: float
    cpu_ms: float
    idle_kib: float


def connect(address: Address, accounts: Sequence[Account], pid: int, warm: int = 50) -> Connected:
    """Connect all accounts through their first OFFLINE_FETCH; the first `warm` pay for what is made once and are not counted."""
    early = open_lines(address, accounts[:warm])
    cpu, memory, start = cpu_seconds(pid), resident_bytes(pid), time.perf_counter()
    lines = open_lines(address, accounts[warm:])
    took, cpu = time.perf_counter() - start, cpu_seconds(pid) - cpu
    idle = resident_bytes(pid) - memory
    close(early)
    close(lines)
    return Connected(len(lines), round(len(lines) / took, 1), round(cpu / len(lines) * 1e3, 3), round(idle / len(lines) / 1024, 2))


def close(lines: Sequence[Line]) -> None:
    """Drop the connections."""
    for line in lines:
        line.socket.close()


@dataclass(frozen=True, slots=True)
class Stored:
    """Messages settled as stored for absent users: rate, CPU in µs each of center and database, 0 without one."""

    stored: int
    per_second: float
    center_us: float
    database_us: float
    p99_ms: float


def store(address: Address, senders: Sequence[Account], targets: Sequence[Account], pids: tuple[int, int], seconds: float) -> Stored:
    """Senders with 64 in flight each write to absent targets; `pids` are the center's and the database's (0: none)."""
    lines = open_lines(address, senders)
    ends = [Sender(line, target.user, WINDOW) for line, target in zip(lines, targets, strict=True)]
    loop = Loop(ends, [])
    for end in ends:
        end.start()
    loop.run(seconds / 4)
    before, center, database, start = loop.settled(), cpu_seconds(pids[0]), _cpu(pids[1]), time.perf_counter()
    for end in ends:
        end.latencies.clear()
    loop.run(seconds)
    took, center, database = time.perf_counter() - start, cpu_seconds(pids[0]) - center, _cpu(pids[1]) - database
    settled = loop.settled() - before
    latencies = sorted(latency for end in ends for latency, _ in end.latencies)
    loop.drain()
    stored = sum(end.stored for end in ends)
    if stored != loop.settled():
        raise RuntimeError(f"{loop.settled() - stored} messages to absent users were settled as received")
    close(lines)
    slowest = latencies[int(len(latencies) * 0.99)] if latencies else 0.0
    each = 1e6 / max(settled, 1)
    return Stored(stored, round(settled / took, 1), round(center * each, 2), round(database * each, 2), round(slowest * 1e3, 2))


def _cpu(pid: int) -> float:
    return cpu_seconds(pid) if pid else 0.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """Stored messages retrieved and confirmed: rate, CPU in µs each of center and database."""

    fetched: int
    per_second: float
    center_us: float
    database_us: float


def fetch(address: Address, targets: Sequence[Account], stored: int, pids: tuple[int, int]) -> Fetched:
    """All targets fetch at once, until `stored` messages have come; the handshakes are done before the clock starts."""
    lines: list[Line] = []
    for start_at in range(0, len(targets), 32):
        lines += enter(address, targets[start_at : start_at + 32])
    receivers = [Receiver(line) for line in lines]
    loop = Loop([], receivers)
    center, database, start = cpu_seconds(pids[0]), _cpu(pids[1]), time.perf_counter()
    for line in lines:
        line.socket.setblocking(False)
        line.queue(Command.OFFLINE_FETCH, QOS1)
        line.flush()
    while (taken := sum(receiver.taken for receiver in receivers)) < stored:
        if time.perf_counter() - start > 120:
            raise TimeoutError(f"{taken} of {stored} stored messages came within 120 s")
        loop.run(0.02)
    took = time.perf_counter() - start
    center, database = cpu_seconds(pids[0]) - center, _cpu(pids[1]) - database
    close(lines)
    each = 1e6 / taken
    return Fetched(taken, round(taken / took, 1), round(center * each, 2), round(database * each, 2))


@dataclass(frozen=True, slots=True)
class Stalls:
    """Round trips of a PING every 10 ms, in ms: alone, and while users log in by password."""

    granted: int
    login_seconds: float
    quiet_worst_ms: float
    worst_ms: float
    p99_ms: float


def stalls(address: Address, login_port: int, probe: Account, count: int) -> Stalls:
    """Register `count` users, then probe one session while all of them log in at once; RuntimeError when not all were let in."""
    _logins(login_port, "register", count).wait(300)
    line = open_lines(address, [probe])[0]
    quiet = _probe_while(line, time.monotonic() + 1, None)
    child = _logins(login_port, "login", count)
    busy = sorted(_probe_while(line, time.monotonic() + 300, child))
    close([line])
    assert child.stdout is not None
    said = json.loads(child.stdout.read())
    if said["granted"] != count:
        raise RuntimeError(f"only {said['granted']} of {count} users could log in: {said['errors']}")
    worst, p99 = busy[-1] * 1e3, busy[int(len(busy) * 0.99)] * 1e3
    return Stalls(count, said["seconds"], round(max(quiet) * 1e3, 2), round(worst, 2), round(p99, 2))


def _logins(port: int, op: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.logins", "--port", str(port), "--op", op, "--count", str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _probe_while(line: Line, until: float, child: subprocess.Popen[str] | None) -> list[float]:
    """Round trips in seconds, one PING at a time and at most one per 10 ms, until the child ends or the time comes."""
    trips, poll = [], select.poll()
    poll.register(line.socket, select.POLLIN)
    while time.monotonic() < until and (child is None or child.poll() is None):
        start = time.perf_counter()
        line.out.append(PING_ASK)
        line.flush()
        if not poll.poll(20_000):
            raise TimeoutError("a PING was not answered for 20 s")
        line.receive()
        trips.append(time.perf_counter() - start)
        wait_until(lambda begun=start: time.perf_counter() - begun >= PROBE_SECONDS, 1, "the next probe")  # type: ignore[misc]
    return trips
