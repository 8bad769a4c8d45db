"""A tiny run of every part of the cluster bench against real clusters: the loads work, the JSON is whole. Figures are never asserted."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.cluster import GOALS, PARTS
from bench.servers import REPOSITORY

SIZE = ["--repeats", "1", "--seconds", "0.3", "--pairs", "6", "--connections", "60", "--sessions", "40", "--terminals", "8"]
GOAL_OF_FULL_SIZE = "directory complete again for 5000 sessions, after the member was back"
EXPECTED = {
    "across": [name for name in GOALS if "across" in name],
    "endpoint": [name for name in GOALS if "endpoint" in name],
    "totals": ["all messages, 1 center", "all messages, 2 centers, all messages across"],
    "links": ["plain link, rate", "tls link, bytes of messages", "tls link, there and back, p50"],
    "directory": [name for name in GOALS if "Hazelcast" in name] + ["lookup, hot, CPU", GOAL_OF_FULL_SIZE.replace("5000", "40")],
    "kills": [name for name in GOALS if "killed" in name],
}


@pytest.mark.parametrize("part", list(PARTS))
def test_a_tiny_run_of_a_part_prints_one_line_of_json_with_its_figures(part: str) -> None:
    command = [sys.executable, "-m", "bench.cluster", "--json", "--only", part, *SIZE]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    figures = json.loads(line)["figures"]
    for name in EXPECTED[part]:
        assert figures[name]["samples"], name
        assert figures[name]["unit"] or name.startswith("center killed"), name
    assert all("is_met" in figures[name] for name in EXPECTED[part] if name in GOALS)


def test_every_goal_belongs_to_a_part() -> None:
    assert {name for names in EXPECTED.values() for name in names} >= set(GOALS) - {GOAL_OF_FULL_SIZE}
    assert set(EXPECTED) == set(PARTS)
