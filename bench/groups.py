"""The group bench: every figure issue 5 holds groups to, measured in one run, medians of the repeats.

What lives here: which parts, in which order, how often; the goals. What must not: loads and servers (the `groups_*` files). Never a
test: figures are read by people, goals missed do not fail. Counts that do not fit end the run: posts that were settled and not numbered,
deliveries that were not made, confirmations that did not reach the store.

Centers run on the first core this process may use, the driver (this process) and the database on the last.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.command import Bench
from bench.figures import Figures
from bench.groups_janitor import measure_janitor
from bench.groups_options import QUICK, Options
from bench.groups_talk import measure_fan, measure_large, measure_posts

GOALS = {
    **{
        f"{size} members online, {where}, center CPU per delivery": 20.0
        for size in (100, 1_000)
        for where in ("1 center, mariadb", "1 center, sqlite", "2 centers, mariadb")
    },
    "1000 members online, 1 center, mariadb, deliveries": 45_000.0,
    "posts to one hot group, mariadb, posts": 2_000.0,
    "posts to one hot group, sqlite, posts": 2_000.0,
    "janitor, mariadb, p99 of posting, with / without": 2.0,
    "janitor, sqlite, p99 of posting, with / without": 2.0,
}
PARTS: dict[str, Callable[[Figures, Path, Options], None]] = {
    "fan": measure_fan,
    "large": measure_large,
    "posts": measure_posts,
    "janitor": measure_janitor,
}
BENCH = Bench("groups", __doc__, GOALS, PARTS, Options(), {"repeats": "", "seconds": "measured time of one window"}, QUICK)


if __name__ == "__main__":
    BENCH.run()
