"""A node whose wall clock is stepped while it runs: `python -m tests.chaos.stepped_node FILE node --config FILE`, FILE: seconds it is off.

Why not libfaketime: it fakes the monotonic clock too, or, told not to (0.9.10), makes every sleep until a monotonic moment fail. All that
the product knows of the wall clock comes from `time.time` and `time.time_ns`.
"""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402

from myim_server.__main__ import main  # noqa: E402

LOOK_SECONDS = 0.05


class SteppedClock:
    """The wall clock, as far off as the file says."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._true, self._true_ns = time.time, time.time_ns
        self._seconds = 0.0

    def time(self) -> float:
        """In place of `time.time`."""
        return self._true() + self._seconds

    def time_ns(self) -> int:
        """In place of `time.time_ns`."""
        return self._true_ns() + int(self._seconds * 1e9)

    def look(self) -> None:
        """What the file says now; without one the clock is right."""
        if self._path.exists():
            self._seconds = float(self._path.read_text())

    def keep_looking(self) -> None:
        """For ever (yields)."""
        while True:
            gevent.sleep(LOOK_SECONDS)
            self.look()


if __name__ == "__main__":
    clock = SteppedClock(Path(sys.argv.pop(1)))
    clock.look()
    vars(time).update(time=clock.time, time_ns=clock.time_ns)
    gevent.spawn(clock.keep_looking)
    main()
