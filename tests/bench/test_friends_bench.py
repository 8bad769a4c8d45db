"""A quick run of every part of the friend bench against real nodes: the loads work, the counts are right. Figures are never asserted."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.friends import GOALS, PARTS
from bench.friends_options import QUICK
from bench.servers import REPOSITORY

COUNTS = {
    "lists": {"list unchanged, store queries of a sync": 1, "list in a GRANT, unchanged, store queries": 1},
    "fan": {
        f"{what}, {where}, {unit}": QUICK.changes * QUICK.friends * (1 if unit == "pushes" else users)
        for what, users in (("presence change", 1), ("10 changes at once", 10))
        for where in ("1 center", "2 centers")
        for unit in ("notifications", "pushes")
        if (users, unit) != (10, "pushes")  # at once is at most a few pushes, by when the changes come
    },
    "storm": {"login storm, friends known in all": QUICK.logins * QUICK.circle},
}
BYTES = ["list in a GRANT, unchanged, bytes", "list unchanged, answer to a sync", "one friend changed, answer to a sync"]
DIFFERENCES = [name for name in GOALS if "presence" in name]  # of small times, which may be anything in a quick run
EXPECTED = {
    "lists": [*BYTES, *COUNTS["lists"], "login by token, center CPU", "one friend changed, center CPU per sync"],
    "fan": [name for name in GOALS if "presence change" in name],
    "storm": ["login storm, center CPU per login caused by presence", "login storm, logins", "login storm, pushes"],
}


@pytest.mark.parametrize("part", list(PARTS))
def test_a_quick_run_of_a_part_prints_one_line_of_json_with_its_figures(part: str) -> None:
    command = [sys.executable, "-m", "bench.friends", "--json", "--quick", "--only", part]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    figures = json.loads(line)["figures"]
    assert {name: set(figures[name]["samples"]) for name in COUNTS[part]} == {name: {count} for name, count in COUNTS[part].items()}
    for name in EXPECTED[part]:
        assert figures[name]["unit"], name
        assert figures[name]["median"] > 0 or name in DIFFERENCES, name
    assert all("is_met" in figures[name] for name in EXPECTED[part] if name in GOALS)
    if part == "lists":
        assert all(figures[name]["is_met"] for name in BYTES)


def test_every_goal_belongs_to_a_part() -> None:
    assert {name for names in EXPECTED.values() for name in names} >= set(GOALS)
    assert set(EXPECTED) == set(PARTS)
