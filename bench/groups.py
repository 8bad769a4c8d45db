"""The group bench: every figure issue 5 holds groups to, measured in one run, medians of the repeats.

What lives here: which parts, in which order, how often; the goals. What must not: loads and servers (the `groups_*` files). Never a
test: figures are read by people, goals missed do not fail. Counts that do not fit end the run: posts that were settled and not numbered,
deliveries that were not made, confirmations that did not reach the store.

Centers run on the first core this process may use, the driver (this process) and the database on the last.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.figures import Figures, print_table
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


def main() -> None:
    """Measure the parts asked for; 0 whatever the figures are, 1 when a load could not run or its counts do not fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one line of JSON on stdout and nothing else")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="this part alone (may be given again)")
    parser.add_argument("--quick", action="store_true", help="a smoke of seconds: small groups, one short window")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--seconds", type=float, help="measured time of one window")
    chosen = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    given = {name: getattr(chosen, name) for name in ("repeats", "seconds") if getattr(chosen, name) is not None}
    options = dataclasses.replace(QUICK if chosen.quick else Options(), cores=(cores[0], cores[-1]), **given)
    os.sched_setaffinity(0, {cores[-1]})
    gc.disable()  # nothing here makes cycles; a collection would show up as the servers' latency
    figures, begun = Figures(GOALS), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="myim-bench-") as directory:
        for part in chosen.only or PARTS:
            print(f"bench: {part} …", file=sys.stderr, flush=True)
            PARTS[part](figures, Path(directory), options)
    print(f"bench: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    summary = figures.summary()
    if chosen.json:
        print(json.dumps({"bench": "groups", "repeats": options.repeats, "seconds": options.seconds, "figures": summary}))
    else:
        print_table(summary)


if __name__ == "__main__":
    main()
