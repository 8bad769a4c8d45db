"""What strace wrote, as values: which process called what, when it began and when it was over.

What lives here: attaching strace to a running process, and reading its output. What must not: what the order should be (the test).
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.processes import wait_until

TRACED = "sendto,sendmsg,write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,recvfrom"
FLUSHES = frozenset(("fsync", "fdatasync"))
WRITES = frozenset(("write", "writev", "pwrite64", "pwritev", "pwritev2"))
SENDS = frozenset(("sendto", "sendmsg", "write", "writev"))
_LINE = re.compile(r"(?P<thread>\d+) +(?P<start>\d+\.\d+) (?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<name>\w+)\()(?P<rest>.*)")
_TOOK = re.compile(r"<(\d+\.\d+)>$")


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that was over: `start` and `end` in seconds since 1970, `text` its arguments, descriptors with their names."""

    name: str
    text: str
    start: float
    end: float


def read_calls(lines: Iterable[str]) -> Iterator[Call]:
    """The calls that returned without an error, in the order of their ends; two lines of an interrupted call become one."""
    begun: dict[str, tuple[str, str, float]] = {}
    for line in lines:
        match = _LINE.match(line.strip())
        if match is None:
            continue
        thread, at, rest = match["thread"], float(match["start"]), match["rest"]
        if rest.endswith("<unfinished ...>"):
            begun[thread] = (match["name"], rest, at)
            continue
        took = _TOOK.search(rest)
        if took is None or " = -1 " in rest or "INJECTED" in rest:
            continue
        if match["resumed"]:
            name, text, start = begun.pop(thread, (match["resumed"], "", at))
            # the line is stamped when the call goes on; `took` counts from its beginning
            yield Call(name, text + rest, start, max(at, start + float(took[1])))
        else:
            yield Call(match["name"], rest, at, at + float(took[1]))


class Trace:
    """strace on a running process and all its threads, from the `with` on; `calls` after it."""

    def __init__(self, pid: int, output: Path) -> None:
        self._output = output
        command = ["strace", "-f", "-ttt", "-T", "-yy", "-s", "65536", "-e", f"trace={TRACED}", "-o", str(output), "-p", str(pid)]
        self._says = output.with_suffix(".stderr")
        with self._says.open("w") as says:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=says, stderr=says)

    def __enter__(self) -> Trace:
        def is_attached() -> bool:
            if self._child.poll() is not None:
                raise RuntimeError(f"strace ended: {self._says.read_text()}")
            return "attached" in self._says.read_text()

        wait_until(is_attached, 20, "strace attached")
        return self

    def __exit__(self, *_: object) -> None:
        self._child.send_signal(signal.SIGINT)
        self._child.wait(20)

    def calls(self) -> list[Call]:
        """What it saw, in order of time begun."""
        with self._output.open(errors="replace") as lines:
            return sorted(read_calls(lines), key=lambda call: call.start)
