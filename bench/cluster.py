"""The cluster bench: every figure issue 4 holds many centers to, measured in one run, medians of the repeats.

What lives here: which parts, in which order, how often; the goals. What must not: loads and servers (the `cluster_*` files). Never a
test: figures are read by people, goals missed do not fail.

Centers and endpoints run on the first core this process may use, the driver, the database and Hazelcast on the last, but for the parts
`totals` and `kills`, which have both.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.cluster_directory import measure_directory
from bench.cluster_faults import measure_kills
from bench.cluster_links import measure_links
from bench.cluster_options import Options
from bench.cluster_pairs import measure_across, measure_endpoint, measure_totals
from bench.figures import Figures, print_table

GOALS = {
    **{f"ratio across / within, {security}, at {window} in flight": 2.0 for security in ("plain", "tls") for window in (1, 8)},
    "ratio endpoint / direct at 8 in flight": 1.6,
    "idle channel at the endpoint, RSS": 8.0,
    "bytes to and from Hazelcast, each message between known users": 0.0,
    "longest wait of a message, Hazelcast gone, known users": 1000.0,
    "longest wait of a message, Hazelcast gone, unknown users": 1000.0,
    "directory complete again for 5000 sessions, after the member was back": 15.0,
    "center killed, 95 % of its terminals are back elsewhere": 5.0,
    "center killed, terminals not back after 60 s": 0.0,
}
PARTS: dict[str, Callable[[Figures, Path, Options], None]] = {
    "across": measure_across,
    "endpoint": measure_endpoint,
    "totals": measure_totals,
    "links": measure_links,
    "directory": measure_directory,
    "kills": measure_kills,
}


def main() -> None:
    """Measure the parts asked for; 0 whatever the figures are, 1 when a load could not run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one line of JSON on stdout and nothing else")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="this part alone (may be given again)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="measured time of one run")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--connections", type=int, default=3000, help="idle channels of the endpoint")
    parser.add_argument("--sessions", type=int, default=5000, help="sessions of the directory's return")
    parser.add_argument("--terminals", type=int, default=500, help="terminals of the killed centers, on the SDK")
    chosen = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    options = Options(
        chosen.pairs, chosen.repeats, chosen.seconds, chosen.connections, chosen.sessions, chosen.terminals, (cores[0], cores[-1])
    )
    gc.disable()  # nothing here makes cycles; a collection would show up as the servers' latency
    figures = Figures(GOALS)
    with tempfile.TemporaryDirectory(prefix="myim-bench-") as directory:
        for part in chosen.only or PARTS:
            os.sched_setaffinity(0, set(cores) if part in ("totals", "kills") else {cores[-1]})
            print(f"bench: {part} …", file=sys.stderr, flush=True)
            PARTS[part](figures, Path(directory), options)
    summary = figures.summary()
    if chosen.json:
        print(json.dumps({"bench": "cluster", "repeats": chosen.repeats, "seconds": chosen.seconds, "figures": summary}))
    else:
        print_table(summary)


if __name__ == "__main__":
    main()
