"""The friend bench: every figure issue 6 holds friends to, measured in one run, medians of the repeats.

What lives here: which parts, in which order; the goals. What must not: loads and servers (the `friends_*` files). Never a test: figures
are read by people, goals missed do not fail. Counts that do not fit end the run: an answer that is not what changed, a friend that was not
told.

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
from bench.friends_fan import measure_fan
from bench.friends_lists import measure_lists
from bench.friends_options import QUICK, Options
from bench.friends_storm import measure_storm

GOALS = {
    "list in a GRANT, unchanged, bytes": 100.0,
    "list in a GRANT, unchanged, store queries": 1.0,
    "list unchanged, answer to a sync": 100.0,
    "list unchanged, store queries of a sync": 1.0,
    "one friend changed, answer to a sync": 1024.0,
    "presence change, 1 center, center CPU per notification": 15.0,
    "presence change, 2 centers, center CPU per notification": 15.0,
    "login storm, center CPU per login caused by presence": 2.0,
}
PARTS: dict[str, Callable[[Figures, Path, Options], None]] = {"lists": measure_lists, "fan": measure_fan, "storm": measure_storm}


def main() -> None:
    """Measure the parts asked for; 0 whatever the figures are, 1 when a load could not run or its counts do not fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one line of JSON on stdout and nothing else")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="this part alone (may be given again)")
    parser.add_argument("--quick", action="store_true", help="a smoke of seconds: few friends, a small storm")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--logins", type=int, help="of the storm")
    chosen = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    given = {name: getattr(chosen, name) for name in ("repeats", "logins") if getattr(chosen, name) is not None}
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
        print(json.dumps({"bench": "friends", "repeats": options.repeats, "figures": summary}))
    else:
        print_table(summary)


if __name__ == "__main__":
    main()
