"""Thousands log in at once, each with friends among them: what their presence costs, beside logins of users without friends.

What lives here: that load and its figures. What must not: servers (`groups_servers`), terminals (`friends_crowd`). Each login asks for
what is stored and who is online; the run ends unless in the end everybody knows of each friend, by that answer or by a push.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.befriending import friendships
from bench.figures import Figures
from bench.friends_crowd import Crowd
from bench.friends_options import Options
from bench.groups_servers import Servers, serving
from bench.line import Account
from bench.processes import cpu_seconds, run_seconds

WARM = 50
QUIET_SECONDS = 1.0


class Storm(NamedTuple):
    """CPU in seconds of the center and of the database, until all is quiet; the time of the logins, and from the last until all know."""

    center: float
    database: float
    seconds: float
    late_seconds: float


def measure_storm(figures: Figures, directory: Path, options: Options) -> None:
    """On one center: half of those without friends, those with, and the other half, so that what grows with time weighs on both."""
    logins, half = options.logins, options.logins // 2
    with serving(directory / "storm", "mariadb", 1, 2 * logins + WARM, options) as servers:
        warm, alone, befriended = servers.take(WARM), servers.take(logins), servers.take(logins)
        users = [account.user for account in befriended]
        servers.tables.run(friendships(_ring(users, options.circle)))
        random.Random(1).shuffle(befriended)  # or all friends of a user would come right before and after it
        crowd = Crowd()
        crowd.open(servers.addresses[0], warm)
        without = [_storm(servers, crowd, alone[:half], 0)]
        with_friends = _storm(servers, crowd, befriended, options.circle)
        told = [one for one in crowd.terminals if one.seen]
        without.append(_storm(servers, crowd, alone[half:], 0))
        crowd_pushes, changes = sum(one.pushes for one in told), sum(one.changes for one in told)
        crowd.close()
    each, each_without = with_friends.center / logins, sum(one.center for one in without) / logins
    figures.add("login storm, center CPU per login, without friends", "ms", round(each_without * 1e3, 3))
    figures.add(f"login storm, center CPU per login, {options.circle} friends", "ms", round(each * 1e3, 3))
    figures.add("login storm, center CPU per login caused by presence", "ms", round((each - each_without) * 1e3, 3))
    database = with_friends.database - sum(one.database for one in without)
    figures.add("login storm, database CPU per login caused by presence", "ms", round(database / logins * 1e3, 3))
    figures.add("login storm, logins", "logins/s", round(logins / with_friends.seconds, 1))
    figures.add("login storm, logins without friends", "logins/s", round(logins / sum(one.seconds for one in without), 1))
    figures.add("login storm, friends known in all", "friends", logins * options.circle)
    figures.add("login storm, pushes", "pushes", crowd_pushes)
    figures.add("login storm, changes told in them", "changes", changes)
    figures.add("login storm, from the last login until all know", "ms", round(with_friends.late_seconds * 1e3, 1))


def _ring(users: Sequence[int], circle: int) -> Iterator[tuple[int, int]]:
    """Each is a friend of the `circle` (even, and less than all) that are next to it."""
    for place, user in enumerate(users):
        for step in range(1, circle // 2 + 1):
            yield user, users[(place + step) % len(users)]


def _storm(servers: Servers, crowd: Crowd, accounts: Sequence[Account], circle: int) -> Storm:
    """All of them log in, and hear of `circle` friends each."""
    center, database, start = sum(map(run_seconds, servers.centers)), cpu_seconds(servers.database), time.perf_counter()
    opened = crowd.open(servers.addresses[0], accounts)
    seconds = time.perf_counter() - start
    crowd.until(lambda: all(len(one.seen) == circle for one in opened), "friends who came", 120)
    late = time.perf_counter() - start - seconds
    crowd.run(QUIET_SECONDS)
    if any(len(one.seen) != circle for one in opened):
        raise RuntimeError("somebody was told of more, or of fewer, than its friends")
    return Storm(sum(map(run_seconds, servers.centers)) - center, cpu_seconds(servers.database) - database, seconds, late)
