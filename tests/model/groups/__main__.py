"""python -m tests.model.groups [--full] [--world PART] [--without RULE]: searches worlds of groups by hand, and says what was seen.

What lives here: the command line. What must not: worlds, rules, the search.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time

from tests.model.groups.mutations import COVERED, MUTATIONS
from tests.model.groups.steps import GroupSteps
from tests.model.groups.worlds import CHECKED, FULL
from tests.model.search import Found, search


def main(arguments: list[str]) -> int:
    """Search worlds, the first broken promise ending it with its trace, and 1; or print the trace of each rule left out."""
    description = "Search small worlds of the rules of groups exhaustively."
    parser = argparse.ArgumentParser(prog="python -m tests.model.groups", description=description)
    parser.add_argument("--world", action="append", metavar="PART", help=f"worlds with this in their names: {'; '.join(FULL)}")
    parser.add_argument("--full", action="store_true", help="every world (over a million states), not only those that the tests search")
    parser.add_argument("--without", metavar="RULE", help="leave out this rule, as G-7, each way there is, and print the traces")
    parser.add_argument("--processes", type=int, default=1, help="worlds searched side by side")
    options = parser.parse_args(arguments)
    if options.without is not None:
        return _leave_out(options.without)
    worlds = FULL if options.full or options.world else CHECKED
    names = [name for name in worlds if not options.world or any(part in name for part in options.world)]
    if not names:
        parser.error("no world has this in its name")
    begun, states, depth = time.monotonic(), 0, 0
    with multiprocessing.Pool(options.processes, maxtasksperchild=1) as pool:
        for name, found in pool.imap_unordered(_search, names):
            states, depth = states + found.states, max(depth, found.depth)
            print(_seen(name, found), flush=True)
            if found.violation is not None:
                print(found.violation)
                return 1
    print(f"{len(names)} worlds, {states:,} states, depth {depth}, {time.monotonic() - begun:.0f} s")
    print("every promise holds, and every state can come to rest")
    return 0


def _search(name: str) -> tuple[str, Found]:
    world = FULL[name]
    return name, search(GroupSteps(world.settings), world.most_states)


def _seen(name: str, found: Found) -> str:
    closed = "" if found.is_complete else " (not closed)"
    return f"{name}: {found.states:,} states, depth {found.depth}, {found.resting} at rest, {found.seconds:.1f} s{closed}"


def _leave_out(rule: str) -> int:
    """Print what breaks without a rule, and how."""
    chosen = [mutation for mutation in (*MUTATIONS, *COVERED) if mutation.name.startswith(f"{rule} ")]
    is_as_said = bool(chosen)
    for mutation in chosen:
        found = search(GroupSteps(mutation.world))
        print(_seen(mutation.name, found))
        print(found.violation or "nothing breaks: another rule covers", flush=True)
        is_as_said = is_as_said and (found.violation is not None) == bool(mutation.says)
    return 0 if is_as_said else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
