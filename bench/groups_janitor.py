"""A janitor's pass over a million expired posts while others post: what it does to those who post, and how fast it is.

What lives here: that load and its figures. What must not: rows made straight in the tables (groups_tables), other talk (groups_talk).

The rows are there from the first, in groups that are not: no janitor looks at them. Windows without work for it take turns with windows
in which the next share of the groups is there and goes, so that a machine that grows slower meanwhile does so for both.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figures
from bench.groups_driver import percentile
from bench.groups_options import Options
from bench.groups_servers import serving
from bench.groups_talk import FIRST_GROUP, POSTERS, WINDOW, Stage, check, stage, window

SHARES = 3
FIRST_OLD = 1 << 45
WALK_SECONDS = 0.5  # between two walks, instead of ten minutes
LOOK_SECONDS = 0.25
MOST_SECONDS = 240.0


def measure_janitor(figures: Figures, directory: Path, options: Options) -> None:
    """On each store, with 8 who post 8 at a time to a group of theirs."""
    count = -(-options.rows // (options.rows_each * SHARES))
    shares = [range(FIRST_OLD + share * count, FIRST_OLD + (share + 1) * count) for share in range(SHARES)]
    settings = {"walk_seconds": WALK_SECONDS}
    for store in ("mariadb", "sqlite"):
        with serving(directory / f"janitor-{store}", store, 1, POSTERS, options, settings) as servers:
            servers.tables.add_expired([group for share in shares for group in share], options.rows_each, FIRST_OLD)
            with stage(servers, f"janitor, {store}", {FIRST_GROUP: range(POSTERS)}, POSTERS) as on:
                for terminal in on.loop.terminals:
                    terminal.start([FIRST_GROUP], WINDOW)
                on.loop.run(options.seconds / 2)
                for share in shares:
                    _take_turns(figures, on, share, options)
                posts, _ = check(on)
                figures.add(f"{on.name}, posts in all", "posts", posts)
                figures.add(f"{on.name}, rows removed in all", "rows", SHARES * count * options.rows_each)


def _take_turns(figures: Figures, on: Stage, share: Sequence[int], options: Options) -> None:
    """A window without, then the share goes; TimeoutError."""
    name, shared, tables = on.name, on.loop.shared, on.servers.tables
    seen = window(on, options.seconds)
    without = percentile(shared.posts, 0.99)
    figures.add(f"{name}, posts without", "posts/s", round(seen.posts / seen.seconds, 1))
    figures.add(f"{name}, p99 of posting without", "ms", round(without / 1e3, 2))
    figures.add(f"{name}, longest posting without", "ms", round(max(shared.posts) / 1e3, 2))
    tables.show_groups(share, options.rows_each, FIRST_OLD)
    times: list[int] = []
    posts = center = database = 0.0
    begun = time.perf_counter()
    while tables.rows_left(share):
        seen = window(on, LOOK_SECONDS)
        times += shared.posts
        posts, center, database = posts + seen.posts, center + seen.center, database + seen.database
        if time.perf_counter() - begun > MOST_SECONDS:
            raise TimeoutError(f"{len(share) * options.rows_each} expired rows were not removed in {MOST_SECONDS} s")
    took, rows = time.perf_counter() - begun, len(share) * options.rows_each
    beside = percentile(times, 0.99)
    where = "database CPU" if on.servers.database else "of it in the store's threads"
    figures.add(f"{name}, posts while it removes", "posts/s", round(posts / took, 1))
    figures.add(f"{name}, p99 of posting while it removes", "ms", round(beside / 1e3, 2))
    figures.add(f"{name}, longest posting while it removes", "ms", round(max(times, default=0) / 1e3, 2))
    figures.add(f"{name}, p99 of posting, with / without", "×", round(beside / max(without, 1), 3))
    figures.add(f"{name}, rows removed", "rows/s", round(rows / took))
    figures.add(f"{name}, center CPU of posts and purge per second", "s", round(center / took, 3))
    figures.add(f"{name}, {where} of posts and purge per second", "s", round(database / took, 3))
