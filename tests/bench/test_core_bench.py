"""A tiny run of every part of the core bench against the real node: the loads work and their JSON is whole. Figures are never asserted."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.servers import REPOSITORY

EXPECTED = {
    "pairs": ["ratio at 1 in flight", "ratio at 8 in flight", "ratio at 64 in flight"],
    "connections": ["idle connection, RSS", "connection by token, center CPU", "connection by token, rate"],
    "offline": [
        "offline store on sqlite, rate",
        "offline store on mariadb, center CPU",
        "offline store on mariadb, center + database CPU",
        "offline retrieval on mariadb, center CPU",
    ],
    "stalls": ["hub stall while users log in", "hub stall while nobody logs in"],
}


@pytest.mark.parametrize("part", list(EXPECTED))
def test_a_tiny_run_prints_one_line_of_json_with_goals_beside_figures(part: str) -> None:
    size = ["--repeats", "1", "--seconds", "0.3", "--pairs", "5", "--connections", "20", "--logins", "3"]
    command = [sys.executable, "-m", "bench.core", "--json", "--only", part, *size]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    figures = json.loads(line)["figures"]
    for name in EXPECTED[part]:
        assert figures[name]["samples"], name
        assert figures[name]["unit"], name
    assert all("is_met" in figure for figure in figures.values() if "goal" in figure)
