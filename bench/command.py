"""The command line that all benches have: which parts, how much of them, and how the figures are printed.

What lives here: arguments, cores, the order of parts. What must not: what is measured, and its goals (`core`, `cluster`, `groups`,
`friends`).

Servers run on the first core this process may use; the driver (this process) and databases on the last.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from bench.figures import Figures, print_table

Options = TypeVar("Options")  # a frozen dataclass with `cores` (the servers', the driver's) and `repeats`


@dataclass(frozen=True, slots=True)
class Bench(Generic[Options]):
    """One bench. settable: options that an argument changes, with what is said of them; quick: the options of a smoke of seconds;
    wide: parts that drive from all cores.
    """

    name: str
    about: str | None
    goals: Mapping[str, float]
    parts: Mapping[str, Callable[[Figures, Path, Options], None]]
    options: Options
    settable: Mapping[str, str]
    quick: Options | None = None
    wide: Collection[str] = ()

    def run(self) -> None:
        """Measure the parts asked for; 0 whatever the figures are, 1 when a load could not run or its counts do not fit."""
        chosen, options = self._chosen()
        gc.disable()  # nothing here makes cycles; a collection would show up as the servers' latency
        figures, begun, cores = Figures(dict(self.goals)), time.monotonic(), sorted(os.sched_getaffinity(0))
        with tempfile.TemporaryDirectory(prefix="myim-bench-") as directory:
            for part in chosen.only or self.parts:
                os.sched_setaffinity(0, set(cores) if part in self.wide else {cores[-1]})
                print(f"bench: {part} …", file=sys.stderr, flush=True)
                self.parts[part](figures, Path(directory), options)
        print(f"bench: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        summary = figures.summary()
        if chosen.json:
            print(json.dumps({"bench": self.name, **{name: getattr(options, name) for name in self.settable}, "figures": summary}))
        else:
            print_table(summary)

    def _chosen(self) -> tuple[argparse.Namespace, Options]:
        parser = argparse.ArgumentParser(description=self.about)
        parser.add_argument("--json", action="store_true", help="one line of JSON on stdout and nothing else")
        parser.add_argument("--only", choices=list(self.parts), action="append", help="this part alone (may be given again)")
        if self.quick is not None:
            parser.add_argument("--quick", action="store_true", help="a smoke of seconds")
        for name, words in self.settable.items():
            parser.add_argument(f"--{name}", type=type(getattr(self.options, name)), help=words or None)
        chosen = parser.parse_args()
        cores = sorted(os.sched_getaffinity(0))
        given: dict[str, Any] = {name: getattr(chosen, name) for name in self.settable if getattr(chosen, name) is not None}
        start: Any = self.quick if self.quick is not None and chosen.quick else self.options
        options: Options = dataclasses.replace(start, cores=(cores[0], cores[-1]), **given)
        return chosen, options
