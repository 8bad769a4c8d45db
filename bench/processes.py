"""Processes as benches and chaos runs start them: pinned to a core, killed by pid, their CPU and memory read from /proc.

What lives here: one process and its figures. What must not: what the process is (servers), loads.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
SERVER_PORTS = (10_000, 20_000)  # scripts/run_cluster.sh chooses above these, the kernel further up
_LOT = random.Random()
_given: set[int] = set()


def cpu_seconds(pid: int) -> float:
    """User + system time of all threads of a process, in seconds (resolution: one tick, 10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def run_seconds(pid: int) -> float:
    """CPU time of the threads that a process has now, in seconds, to the nanosecond: for what is over in fewer ticks than one can count."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def thread_seconds(pid: int) -> float:
    """User + system time of a process's first thread alone, in seconds."""
    fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], deadline_seconds: float, what: str) -> None:
    """Poll `condition` every 20 ms; TimeoutError naming `what` when it does not come true in time."""
    until = time.monotonic() + deadline_seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {deadline_seconds} s")
        time.sleep(0.02)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now, and that no call of this process gave before.

    Below the ports that the kernel gives to those who dial: who listens there may end, come back much later, and find it free.
    """
    while True:
        port = _LOT.randrange(*SERVER_PORTS)
        if port in _given:
            continue
        with socket.socket() as probe:
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                _given.add(port)
                return port


def is_listening(port: int) -> bool:
    """Whether 127.0.0.1 accepts connections at `port`."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Process:
    """A child process whose output goes to a file; `core` pins it there from its first instruction."""

    def __init__(self, arguments: Sequence[str], log: Path, core: int | None = None, environment: Mapping[str, str] | None = None) -> None:
        command = list(arguments) if core is None else ["taskset", "-c", str(core), *arguments]
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
            )

    @property
    def pid(self) -> int:
        """Its process id (taskset replaces itself by the command)."""
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """What it ended with, None while it runs."""
        return self._child.poll()

    def await_listening(self, port: int, deadline_seconds: float = 30) -> None:
        """Wait until it accepts connections; RuntimeError with the end of its log when it ends instead."""

        def is_ready() -> bool:
            if not self.is_running:
                raise RuntimeError(f"it ended with {self._child.returncode}:\n{self.tail()}")
            return is_listening(port)

        wait_until(is_ready, deadline_seconds, f"listening on {port}")

    def tail(self) -> str:
        """The last 2,000 characters of its output."""
        return self.log.read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._child.kill()
        self._child.wait()

    def stop(self, deadline_seconds: float = 20) -> int:
        """SIGTERM, then SIGKILL when it does not end in time; its exit code."""
        if self.is_running:
            self._child.send_signal(signal.SIGTERM)
        try:
            return self._child.wait(deadline_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._child.returncode
