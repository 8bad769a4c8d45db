"""Talk in groups: of 100 and 1,000 who are all online, on one center and on two; of 10,000 of whom few are; posts to one and to many.

What lives here: which load runs on which servers, and its figures. What must not: terminals (groups_driver), rows made straight in the
tables (groups_tables), the janitor (groups_janitor).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.figures import Figures
from bench.groups_driver import Loop, percentile
from bench.groups_options import Options
from bench.groups_servers import Servers, serving
from bench.processes import cpu_seconds, thread_seconds, wait_until

POSTERS, WINDOW = 8, 8
HOT_WINDOW = 64
FIRST_GROUP = 1 << 40
NOBODY = 1 << 50
LOOKED_AT = 16  # terminals of a load, which note how long deliveries took


class Stage(NamedTuple):
    """Servers that run, and terminals that are logged in."""

    name: str
    servers: Servers
    loop: Loop


class Window(NamedTuple):
    """What happened in one measured time; CPU in seconds of all centers, and of the database."""

    posts: int
    deliveries: int
    seconds: float
    center: float
    database: float


@contextmanager
def stage(servers: Servers, name: str, groups: Mapping[int, Sequence[int]], online: int) -> Iterator[Stage]:
    """So many accounts that are in these groups and in no others; members are places among them, or beyond: nobody who is there."""
    accounts = servers.take(online)
    users = [account.user for account in accounts]
    servers.tables.add_groups(
        {group: [users[place] if place < online else NOBODY + place for place in places] for group, places in groups.items()}
    )
    loop = Loop(max(1, online // LOOKED_AT))
    for number, address in enumerate(servers.addresses):
        loop.open(address, accounts[number :: len(servers.addresses)])
    yield Stage(name, servers, loop)
    loop.close()


def window(on: Stage, seconds: float) -> Window:
    """Drive the load for so long; the times of posts and deliveries are those of this window."""
    shared = on.loop.shared
    shared.posts.clear()
    shared.deliveries.clear()
    center, database, start = _center(on), _database(on), time.perf_counter()
    posts, deliveries = shared.posted, shared.delivered
    on.loop.run(seconds)
    took = time.perf_counter() - start
    return Window(shared.posted - posts, shared.delivered - deliveries, took, _center(on) - center, _database(on) - database)


def _center(on: Stage) -> float:
    return sum(map(cpu_seconds, on.servers.centers))


def _database(on: Stage) -> float:
    """SQLite runs in threads of the center: what all but the first used."""
    servers = on.servers
    return cpu_seconds(servers.database) if servers.database else sum(cpu_seconds(pid) - thread_seconds(pid) for pid in servers.centers)


def check(on: Stage) -> tuple[int, int]:
    """Let all that is under way arrive and be confirmed; (posts, deliveries) of the whole load; RuntimeError if any is missing."""
    loop, tables = on.loop, on.servers.tables
    loop.drain()
    groups = list({group for terminal in loop.terminals for group in terminal.positions})
    numbers = tables.numbers(groups)
    if sum(numbers.values()) != loop.shared.posted:
        raise RuntimeError(f"{loop.shared.posted} posts were settled, {sum(numbers.values())} numbers given")
    expected = sum(numbers[group] for terminal in loop.terminals for group in terminal.positions)
    if expected != loop.shared.delivered:
        raise RuntimeError(f"{loop.shared.delivered} of {expected} deliveries were made")
    users = [terminal.line.account.user for terminal in loop.terminals]
    wait_until(lambda: tables.least_cursors(groups, users) == numbers, 60, "the last confirmations in the store")
    return loop.shared.posted, loop.shared.delivered


def note(figures: Figures, on: Stage, seen: Window) -> None:
    """A window's figures: by delivery where most of the work is that, and by post."""
    name = on.name
    per_post, per_delivery = 1e6 / max(1, seen.posts), 1e6 / max(1, seen.deliveries)
    where = "database CPU" if on.servers.database else "of it in the store's threads"
    figures.add(f"{name}, center CPU per delivery", "µs", round(seen.center * per_delivery, 2))
    figures.add(f"{name}, {where} per delivery", "µs", round(seen.database * per_delivery, 2))
    figures.add(f"{name}, deliveries", "deliveries/s", round(seen.deliveries / seen.seconds))
    figures.add(f"{name}, deliveries per second of center CPU", "deliveries/s", round(seen.deliveries / max(seen.center, 1e-3)))
    figures.add(f"{name}, center CPU per post", "µs", round(seen.center * per_post, 1))
    figures.add(f"{name}, {where} per post", "µs", round(seen.database * per_post, 1))
    figures.add(f"{name}, posts", "posts/s", round(seen.posts / seen.seconds, 1))
    figures.add(f"{name}, from post to delivery, p50", "ms", round(percentile(on.loop.shared.deliveries, 0.5) / 1e3, 2))
    figures.add(f"{name}, from post to delivery, p99", "ms", round(percentile(on.loop.shared.deliveries, 0.99) / 1e3, 2))
    figures.add(f"{name}, from post to settling, p99", "ms", round(percentile(on.loop.shared.posts, 0.99) / 1e3, 2))


def _talk(figures: Figures, on: Stage, options: Options, per_poster: int, targets: Sequence[Sequence[int]]) -> None:
    """The first terminals post, each to its targets; some windows, and whether all arrived."""
    loop = on.loop
    posters = _spread(loop, len(targets))
    for place, groups in zip(posters, targets, strict=True):
        loop.terminals[place].start(groups, per_poster)
    loop.run(options.seconds / 2)
    fetches, passed = loop.shared.fetches, loop.shared.delivered
    late = on.servers.lateness() if on.servers.metrics else {}
    for _ in range(options.repeats):
        note(figures, on, window(on, options.seconds))
    fetches, passed = loop.shared.fetches - fetches, loop.shared.delivered - passed
    figures.add(f"{on.name}, fetches in 1,000 deliveries", "", round(1e3 * fetches / max(1, passed), 3))
    if late:
        figures.add(f"{on.name}, lateness of the hub, 95 % of all times", "ms", _most(late, on.servers.lateness()))
    posts, deliveries = check(on)
    figures.add(f"{on.name}, posts in all", "posts", posts)
    figures.add(f"{on.name}, deliveries in all", "deliveries", deliveries)


def _most(before: Mapping[float, float], after: Mapping[float, float]) -> float:
    """What 95 % of those that came meanwhile were at most, ms; as fine as the server counts."""
    came = {bound: after[bound] - before.get(bound, 0.0) for bound in after}
    return min(bound for bound, count in came.items() if count >= 0.95 * max(came.values())) * 1e3


def _spread(loop: Loop, count: int) -> list[int]:
    """Places of posters: evenly over all terminals, which are listed center by center."""
    each = len(loop.terminals) / count
    return [int(place * each) for place in range(count)]


def measure_fan(figures: Figures, directory: Path, options: Options) -> None:
    """Groups whose members are all online."""
    for store, centers in (("mariadb", 1), ("sqlite", 1), ("mariadb", 2)):
        with serving(directory / f"fan-{store}-{centers}", store, centers, sum(options.sizes), options) as servers:
            for group, size in enumerate(options.sizes, FIRST_GROUP):
                name = f"{size} members online, {centers} center{'s' * (centers > 1)}, {store}"
                with stage(servers, name, {group: range(size)}, size) as on:
                    _talk(figures, on, options, WINDOW, [[group]] * POSTERS)
                    if centers == 1 and store == "mariadb":  # nothing travels together: what a delivery costs at most
                        _talk(figures, on._replace(name=f"{name}, one post at a time"), options, 1, [[group]])


def measure_large(figures: Figures, directory: Path, options: Options) -> None:
    """A group of which one in a hundred is online."""
    members, online = options.large
    with serving(directory / "large", "mariadb", 1, online, options) as servers:
        with stage(servers, f"{members} members, {online} online", {FIRST_GROUP: range(members)}, online) as on:
            _talk(figures, on, options, WINDOW, [[FIRST_GROUP]] * POSTERS)


def measure_posts(figures: Figures, directory: Path, options: Options) -> None:
    """Posts to one hot group of a few, and to many groups of two."""
    hot = {FIRST_GROUP: range(POSTERS)}
    many = {FIRST_GROUP + 1 + place: (place % POSTERS, (place + 1) % POSTERS) for place in range(options.groups)}
    own = [[group for group, places in many.items() if place == places[0]] for place in range(POSTERS)]
    for store in ("mariadb", "sqlite"):
        with serving(directory / f"posts-{store}", store, 1, 2 * POSTERS, options) as servers:
            with stage(servers, f"posts to one hot group, {store}", hot, POSTERS) as on:
                _talk(figures, on, options, HOT_WINDOW, [[FIRST_GROUP]] * POSTERS)
            with stage(servers, f"posts to {options.groups} groups, {store}", many, POSTERS) as on:
                _talk(figures, on, options, HOT_WINDOW, own)
