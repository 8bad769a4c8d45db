"""The wall clock that a test steps is the one that a node reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SAYS = """
import gevent, time
from pathlib import Path
from tests.chaos.stepped_node import SteppedClock
from myim_server.node_parts import wall_clock
clock = SteppedClock(Path({path!r}))
before = wall_clock()
vars(time).update(time=clock.time, time_ns=clock.time_ns)
clock.look()
print(round((wall_clock() - before) / 1e6), round(time.time() - before / 1e6))
"""


def test_what_a_node_takes_for_the_time_is_as_far_off_as_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    path.write_text("-3600.0")
    done = subprocess.run([sys.executable, "-c", SAYS.format(path=str(path))], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["-3600", "-3600"]
