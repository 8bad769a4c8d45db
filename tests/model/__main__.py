"""python -m tests.model [--full] [--processes N] [WORLD…]: searches the worlds of worlds.py by hand, and says what was seen.

What lives here: the command line. What must not: worlds, rules, the search.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time

from tests.model.search import Found, explore
from tests.model.worlds import CHECKED, FULL


def _search(name: str) -> tuple[str, Found]:
    return name, explore(*FULL[name])


def main(arguments: list[str]) -> int:
    """Print states, depth and seconds of each world; the first broken promise ends it with its trace, and 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description="Search small worlds of the delivery rules exhaustively.")
    parser.add_argument("worlds", nargs="*", metavar="WORLD", help=f"names, or parts of names, out of: {', '.join(FULL)}")
    parser.add_argument("--full", action="store_true", help="every world (over a million states), not only those that the tests search")
    parser.add_argument("--processes", type=int, default=1, help="worlds searched side by side")
    options = parser.parse_args(arguments)
    names = [
        name
        for name in (FULL if options.full or options.worlds else CHECKED)
        if not options.worlds or any(w in name for w in options.worlds)
    ]
    begun, states, depth = time.monotonic(), 0, 0
    with multiprocessing.Pool(options.processes, maxtasksperchild=1) as pool:
        for name, found in pool.imap_unordered(_search, names):
            states, depth = states + found.states, max(depth, found.depth)
            closed = "" if found.is_complete else " (not closed)"
            print(
                f"{name}: {found.states:,} states, depth {found.depth}, {found.resting} at rest, {found.seconds:.1f} s{closed}", flush=True
            )
            if found.violation is not None:
                print(found.violation)
                return 1
    print(f"{len(names)} worlds, {states:,} states, depth {depth}, {time.monotonic() - begun:.0f} s")
    print("every promise holds, and every state can come to rest")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
