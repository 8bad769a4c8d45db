"""The friend bench: every figure issue 6 holds friends to, measured in one run, medians of the repeats.

What lives here: which parts, in which order; the goals. What must not: loads and servers (the `friends_*` files). Never a test: figures
are read by people, goals missed do not fail. Counts that do not fit end the run: an answer that is not what changed, a friend that was not
told.

Centers run on the first core this process may use, the driver (this process) and the database on the last.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.command import Bench
from bench.figures import Figures
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
BENCH = Bench("friends", __doc__, GOALS, PARTS, Options(), {"repeats": "", "logins": "of the storm"}, QUICK)


if __name__ == "__main__":
    BENCH.run()
