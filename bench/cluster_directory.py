"""What the directory costs and how it bears losing Hazelcast: bytes for a message, waits without any member, the way back.

What lives here: loads over two centers with Hazelcast behind a counting proxy. What must not: starting servers (cluster_servers), what a
single lookup costs (cluster_lookups, a process of its own).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

from bench import loads
from bench.cluster_options import Options
from bench.cluster_servers import MEMBER_WIRE, Cluster
from bench.driver import Loop, Receiver, Sender, percentile
from bench.figures import Figures
from bench.line import Account, Line, open_lines

LONGER = 4  # times the usual measured seconds: what is watched for comes every second, every two, every ten


def measure_directory(figures: Figures, directory: Path, options: Options) -> None:
    """All figures that need two centers and one member, in one cluster; the member is lost last."""
    patient = {"center": {"idle_ping_seconds": 3600, "idle_close_seconds": 7200}}  # idle lines answer nothing
    with Cluster(directory / "directory", core=options.cores[0], settings=patient) as cluster:
        pairs = cluster.accounts(2 * options.pairs, "known")
        strangers = cluster.accounts(2 * options.pairs * options.repeats, "stranger")
        many = cluster.accounts(options.sessions, "many")
        cluster.start()
        for number in range(options.repeats):
            _bytes_per_message(figures, cluster, pairs, options)
            fresh = strangers[2 * options.pairs * number :][: options.pairs]
            _found_elsewhere(figures, cluster, fresh[: max(2, options.pairs // 2)])
            _lookups(figures, cluster, fresh, options)
        for number in range(options.repeats):
            fresh = strangers[2 * options.pairs * number + options.pairs :][: options.pairs]
            _without_members(figures, cluster, pairs, fresh, options)
        for _ in range(options.repeats):
            _restarted(figures, cluster, many, options)


def _loop(cluster: Cluster, accounts: Sequence[Account], window: int) -> tuple[Loop, list[Line]]:
    """Half of the accounts at the first center, writing to the other half at the second."""
    half = len(accounts) // 2
    sending, taking = open_lines(cluster.address(0), accounts[:half]), open_lines(cluster.address(1), accounts[half:])
    senders = [Sender(line, other.account.user, window) for line, other in zip(sending, taking, strict=True)]
    return Loop(senders, [Receiver(line) for line in taking]), sending + taking


def _to_member(cluster: Cluster) -> int:
    """Bytes all centers have sent to the member so far, and it to them."""
    assert cluster.proxy is not None
    count = cluster.proxy.counts()[MEMBER_WIRE]
    return count.up + count.down


def _bytes_per_message(figures: Figures, cluster: Cluster, accounts: Sequence[Account], options: Options) -> None:
    """Known users at full pace, then the same sessions idle for as long: beats, looks and sweeps go on in both.

    The sweeps, one every ten seconds at each center, fall into few of the seconds: the median second shows what messages cost.
    """
    loop, lines = _loop(cluster, accounts, 8)
    for sender in loop.senders:
        sender.start()
    loop.run(options.seconds)  # all are known now
    seconds = round(LONGER * options.seconds) + 1
    settled = loop.settled()
    busy = _each_second(cluster, loop, seconds)
    settled = loop.settled() - settled
    loop.drain()
    idle = _each_second(cluster, loop, seconds)
    loads.close(lines)
    more = max(0.0, median(busy) - median(idle)) * seconds / max(settled, 1)
    figures.add("bytes to and from Hazelcast, each message between known users", "bytes", round(more, 3))
    figures.add("bytes to and from Hazelcast, busy, median second", "bytes", median(busy))
    figures.add("bytes to and from Hazelcast, idle, median second", "bytes", median(idle))
    figures.add("bytes to and from Hazelcast, busy, mean second (with sweeps)", "bytes", round(mean(busy), 1))
    figures.add("bytes to and from Hazelcast, idle, mean second (with sweeps)", "bytes", round(mean(idle), 1))


def _each_second(cluster: Cluster, loop: Loop, seconds: int) -> list[int]:
    """Bytes to and from the member in each of these seconds, while the loop goes on."""
    counts = [_to_member(cluster)]
    for _ in range(seconds):
        loop.run(1.0)
        counts.append(_to_member(cluster))
    return [after - before for before, after in pairwise(counts)]


def _found_elsewhere(figures: Figures, cluster: Cluster, accounts: Sequence[Account]) -> None:
    """One user after the other comes online at the second center, while one at the first writes to it until it is reached."""
    writer, *newcomers = accounts
    line = open_lines(cluster.address(0), [writer])[0]
    waits = []
    for newcomer in newcomers:
        came = open_lines(cluster.address(1), [newcomer])
        start = time.perf_counter()
        loop = Loop([Sender(line, newcomer.user, 1)], [Receiver(came[0])])
        sender = loop.senders[0]
        sender.start()
        while sender.settled == sender.stored:
            loop.run(0.001)
            if time.perf_counter() - start > 20:
                raise TimeoutError("a user who is online was not reached for 20 s")
        waits.append((time.perf_counter() - start, 1))
        loop.drain()
        loads.close(came)
    loads.close([line])
    figures.add("from login to being reached from another center, p50", "ms", round(percentile(waits, 0.5) * 1e3, 2))
    figures.add("from login to being reached from another center, p90", "ms", round(percentile(waits, 0.9) * 1e3, 2))
    figures.add("from login to being reached from another center, longest", "ms", round(max(waits)[0] * 1e3, 2))


def _lookups(figures: Figures, cluster: Cluster, accounts: Sequence[Account], options: Options) -> None:
    """A lookup's cost, by a process that asks as a center does, for users who are online."""
    lines = open_lines(cluster.address(0), accounts)
    try:
        said = json.loads(_observe(cluster, "lookups", [account.user for account in accounts], options))
    finally:
        loads.close(lines)
    for name, (unit, value) in said.items():
        figures.add(f"lookup, {name}", unit, value)


def _observe(cluster: Cluster, verb: str, users: Sequence[int], options: Options) -> str:
    """What `bench.cluster_lookups` printed last; its directory logs to stdout too."""
    assert cluster.hazelcast is not None
    command = [
        sys.executable, "-m", "bench.cluster_lookups", verb, "--member", f"127.0.0.1:{cluster.hazelcast.port}",
        "--cluster-name-file", str(cluster.hazelcast.cluster_name_file), "--secret-file", str(cluster.directory / "cluster.secret"),
        "--core", str(options.cores[1]),
    ]  # fmt: skip
    done = subprocess.run(command, input=json.dumps(users), capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"the observer ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]


def _without_members(
    figures: Figures, cluster: Cluster, known: Sequence[Account], strangers: Sequence[Account], options: Options
) -> None:
    """The only member is killed while pairs talk and strangers write for the first time; what they wait for at most. Then it is back."""
    assert cluster.hazelcast is not None
    loop, lines = _loop(cluster, known, 1)
    for sender in loop.senders:
        sender.start()
    loop.run(1.0)
    usual = _longest(loop.senders)
    first, more = _loop(cluster, strangers, 1)
    both = Loop(loop.senders + first.senders, [end for each in (loop, first) for end in each.ends.values() if isinstance(end, Receiver)])
    stored = sum(sender.stored for sender in both.senders)
    cluster.hazelcast.kill()
    pause = LONGER * options.seconds / len(first.senders)
    for sender in first.senders:
        sender.start()
        sender.is_open = False  # one message each
        both.run(pause)
    both.drain()
    figures.add("longest wait of a message, Hazelcast there", "ms", usual)
    figures.add("longest wait of a message, Hazelcast gone, known users", "ms", _longest(loop.senders))
    figures.add("longest wait of a message, Hazelcast gone, unknown users", "ms", _longest(first.senders))
    stored = sum(sender.stored for sender in both.senders) - stored
    figures.add("messages stored for users online while Hazelcast was gone", "messages", stored)
    loads.close(lines + more)
    cluster.hazelcast.start()


def _longest(senders: Sequence[Sender]) -> float:
    """The longest settling so far, ms; forgets all."""
    longest = max((latency for sender in senders for latency, _ in sender.latencies), default=0.0)
    for sender in senders:
        sender.latencies.clear()
    return round(longest * 1e3, 2)


def _restarted(figures: Figures, cluster: Cluster, accounts: Sequence[Account], options: Options) -> None:
    """All sessions stay; the member is killed and started anew, empty; until an observer finds everybody where they are."""
    assert cluster.hazelcast is not None
    half = len(accounts) // 2
    lines = open_lines(cluster.address(0), accounts[:half]) + open_lines(cluster.address(1), accounts[half:])
    users = [account.user for account in accounts]
    try:
        _observe(cluster, "complete", users, options)
        cluster.hazelcast.kill()
        killed = time.monotonic()
        cluster.hazelcast.start()
        ready = time.monotonic()
        complete = float(_observe(cluster, "complete", users, options))
        figures.add(f"directory complete again for {len(users)} sessions, after the member was back", "s", round(complete - ready, 2))
        figures.add(f"directory complete again for {len(users)} sessions, after the member was killed", "s", round(complete - killed, 2))
    finally:
        loads.close(lines)

