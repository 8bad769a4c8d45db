"""Does the directory equal the true connections? The only question of a chaos run that is put to the servers.

What lives here: the comparison. What must not: how the directory is read (directory_reader, a process of its own). Nobody comes or goes
when this is asked, so that the truth is: one place for each user that an application says is online, none for the others, and as many at
each center as it has sessions.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from bench.processes import Process, wait_until
from bench.servers import PYTHON
from myim_server.control import ControlRefused, ask
from tests.chaos.applications import Crowd
from tests.chaos.cluster_parts import Cluster, Member

DIRECTORY_SECONDS = 15.0


def lies(places: Mapping[int, list[list[int]]], online: Collection[int], sessions: Mapping[int, int]) -> list[str]:
    """What is wrong, in words. places: user → the (center, endpoint) pairs the directory names; sessions: center → how many it holds."""
    found = []
    for user, ways in sorted(places.items()):
        if len(ways) != (user in online):
            found.append(f"user {user}, {'online' if user in online else 'away'}, is listed at {len(ways)} centers {ways}")
    found += [f"user {user} was not asked for" for user in sorted(set(online) - set(places))]
    listed = Counter(center for ways in places.values() for center, _ in ways)
    for center in sorted({*listed, *sessions}):
        if listed[center] != sessions.get(center, 0):
            found.append(f"{listed[center]} are listed at {center}, which holds {sessions.get(center, 0)}")
    return found


class Reader:
    """A process that reads the whole directory twice a second, from the beginning: it needs time to start."""

    def __init__(self, cluster: Cluster, crowd: Crowd) -> None:
        self._cluster, self._crowd = cluster, crowd
        self._path = cluster.directory / "reader.json"
        self._out = cluster.directory / "directory.json"
        self._path.write_text(
            json.dumps(
                {
                    "secret_file": str(cluster.secret_file),
                    "cluster_name_file": str(cluster.hazelcasts[0].name_file),
                    "members": [f"127.0.0.1:{hazelcast.port}" for hazelcast in cluster.hazelcasts],
                    "users": users_of(crowd.accounts),
                    "sabotage": crowd.traffic.sabotage,
                    "out": str(self._out),
                }
            )
        )
        self._process = Process([PYTHON, "-m", "tests.chaos.directory_reader", str(self._path)], cluster.directory / "reader.log")

    def lies(self) -> list[str]:
        """What is wrong now."""
        if not self._process.is_running:
            raise RuntimeError(f"the directory's reader ended:\n{self._process.tail()}")
        try:
            said = json.loads(self._out.read_text())
        except FileNotFoundError:
            return ["nothing was read yet"]
        if said["places"] is None:
            return ["the directory cannot say"]
        places = {int(user): ways for user, ways in said["places"].items()}
        return lies(places, self._crowd.online(), dict(map(_sessions, self._cluster.centers)))

    def stop(self) -> None:
        """End it."""
        self._process.kill()


def _sessions(center: Member) -> tuple[int, int]:
    """(node id, sessions) as the center itself says."""
    with contextlib.suppress(ControlRefused):
        said = ask(center.data, "status", 5.0)
        return int(said["node"]), int(said["sessions"])
    return 0, -1


def seconds_until_true(reader: Reader, check_alive: Callable[[], None], since: float) -> tuple[float | None, list[str]]:
    """When after `since` (monotonic) the directory equalled the truth; None and what is wrong if it did not within 15 s."""
    wrong: list[str] = []

    def is_true() -> bool:
        check_alive()
        wrong[:] = reader.lies()
        return not wrong

    try:
        wait_until(is_true, max(1.0, since + DIRECTORY_SECONDS - time.monotonic()), "the directory")
        return time.monotonic() - since, []
    except TimeoutError:
        return None, wrong


def users_of(accounts: Path) -> list[int]:
    """The ids in a file of accounts."""
    return [int(json.loads(line)["user"]) for line in accounts.read_text().splitlines()]
