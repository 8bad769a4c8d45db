"""The cluster bench: every figure issue 4 holds many centers to, measured in one run, medians of the repeats.

What lives here: which parts, in which order, how often; the goals. What must not: loads and servers (the `cluster_*` files). Never a
test: figures are read by people, goals missed do not fail.

Centers and endpoints run on the first core this process may use, the driver, the database and Hazelcast on the last, but for the parts
`totals` and `kills`, which have both.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.cluster_directory import measure_directory
from bench.cluster_faults import measure_kills
from bench.cluster_links import measure_links
from bench.cluster_options import Options
from bench.cluster_pairs import measure_across, measure_endpoint, measure_totals
from bench.command import Bench
from bench.figures import Figures

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
BENCH = Bench(
    "cluster", __doc__, GOALS, PARTS, Options(),
    {
        "repeats": "", "seconds": "measured time of one run", "pairs": "", "connections": "idle channels of the endpoint",
        "sessions": "sessions of the directory's return", "terminals": "terminals of the killed centers, on the SDK",
    },
    wide=("totals", "kills"),
)  # fmt: skip


if __name__ == "__main__":
    BENCH.run()
