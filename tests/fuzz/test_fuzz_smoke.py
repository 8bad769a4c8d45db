"""A short run of every fuzz target of the wire, each in a process of its own, from well-formed seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.seeds import write_seeds

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


TARGETS = [("frames", 20_000), ("records", 2_000), ("handshake", 2_000), ("messages", 5_000), ("links", 5_000)]


@pytest.mark.parametrize(("target", "runs"), TARGETS)
def test_nothing_but_protocol_errors_comes_out_of_a_decoder(target: str, runs: int, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    write_seeds(target, corpus)
    options = [f"-atheris_runs={runs}", "-max_total_time=6", "-max_len=4096", "-seed=1"]
    command = [sys.executable, str(HERE / f"fuzz_{target}.py"), *options, str(corpus)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    assert "Done" in run.stdout + run.stderr
