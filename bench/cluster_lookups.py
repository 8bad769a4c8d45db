"""Asks the directory as a center does, in a process of its own: what a lookup costs hot and cold, and when everybody is listed.

What lives here: one observer with its own Hazelcast client and locator. What must not: starting servers, loads. Users come on stdin as a
JSON list; stdout gets one line.

    python -m bench.cluster_lookups lookups|complete --member HOST:PORT --cluster-name-file FILE --secret-file FILE --core N
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402
import structlog  # noqa: E402
from gevent.event import AsyncResult  # noqa: E402

from cluster.directory import Directory, Place  # noqa: E402
from cluster.hazelcast_directory import HazelcastDirectory  # noqa: E402
from cluster.locator import Locator  # noqa: E402
from myim_server.keys import open_cluster_secret  # noqa: E402
from myim_server.node_links import directory_key  # noqa: E402

OBSERVER = 7  # no node has this id: ids are hashes
ROUNDS = 20_000
COMPLETE_SECONDS = 120.0


class Nobody:
    """A mesh without links."""

    def linked(self) -> Sequence[int]:
        """None."""
        return ()

    def send(self, node: int, message: bytes, is_urgent: bool = False) -> bool:
        """Nowhere."""
        return False


def open_directory(member: str, cluster_name: str, secret_file: Path) -> HazelcastDirectory:
    """The directory as a center of this secret opens it, under a node id of our own."""
    key = directory_key(open_cluster_secret(secret_file))
    return HazelcastDirectory([member], cluster_name, key, OBSERVER, time.monotonic, structlog.get_logger())


def locator_of(directory: Directory) -> Locator:
    """A locator that has cached nothing."""
    return Locator(directory, Nobody(), 1, lambda user: (), gevent.spawn, time.monotonic)


def find(locator: Locator, user: int) -> Sequence[Place]:
    """Wait for one user's places."""
    found: AsyncResult[Sequence[Place]] = AsyncResult()
    locator.find(user, found.set)
    return found.get(timeout=5) or ()


def lookups(directory: Directory, users: list[int]) -> dict[str, tuple[str, float]]:
    """CPU and wall of lookups: alone and cold, all at once and cold, hot; all users are online."""
    complete(directory, users)
    alone, took = locator_of(directory), []
    cpu = time.process_time()
    for user in users:
        start = time.perf_counter()
        if not find(alone, user):
            raise SystemExit(f"user {user} is not listed")
        took.append(time.perf_counter() - start)
    cpu = (time.process_time() - cpu) / len(users)
    answered: list[Sequence[Place]] = []
    together, start, used = locator_of(directory), time.perf_counter(), time.process_time()
    for user in users:
        together.find(user, answered.append)
    while len(answered) < len(users):
        gevent.sleep(0.001)
    wall, used = time.perf_counter() - start, time.process_time() - used
    begun = time.process_time()
    for number in range(ROUNDS):
        alone.find(users[number % len(users)], answered.append)
    hot = (time.process_time() - begun) / ROUNDS
    return {
        "cold, alone, p50": ("µs", round(sorted(took)[len(took) // 2] * 1e6, 1)),
        "cold, alone, CPU": ("µs", round(cpu * 1e6, 1)),
        f"cold, {len(users)} at once, wall each": ("µs", round(wall / len(users) * 1e6, 1)),
        f"cold, {len(users)} at once, CPU each": ("µs", round(used / len(users) * 1e6, 1)),
        "hot, CPU": ("µs", round(hot * 1e6, 2)),
    }


def complete(directory: Directory, users: list[int]) -> float:
    """Wait until every user has exactly one place; when that was (monotonic seconds)."""
    until, missing = time.monotonic() + COMPLETE_SECONDS, users
    while time.monotonic() < until:
        found = directory.find(missing)
        if found is not None:
            missing = [user for user in missing if len(found.get(user, ())) != 1]
            if not missing:
                return time.monotonic()
        gevent.sleep(0.1)
    raise SystemExit(f"{len(missing)} of {len(users)} users were not listed within {COMPLETE_SECONDS} s")


def main() -> None:
    """Observe, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=("lookups", "complete"))
    parser.add_argument("--member", required=True)
    parser.add_argument("--cluster-name-file", type=Path, required=True)
    parser.add_argument("--secret-file", type=Path, required=True)
    parser.add_argument("--core", type=int, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    users = json.load(sys.stdin)
    directory = open_directory(options.member, options.cluster_name_file.read_text().strip(), options.secret_file)
    directory.start()
    try:
        print(json.dumps(lookups(directory, users)) if options.verb == "lookups" else complete(directory, users))
    finally:
        directory.stop()


if __name__ == "__main__":
    main()
