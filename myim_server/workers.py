"""Several center processes on one port: who starts them, starts them again, and ends them together.

What lives here: the parent of `--workers N`. What must not: what a worker does, or how it is configured (`node_parts`); the parent holds no
key, store or connection. A worker that dies is started again, after a pause that grows while it keeps dying. Workers end when the parent
does, however it ends: each holds the other end of a pipe.

Workers that need link ports among themselves get them from here: bound but not listened at, so that nobody else takes one while a worker
is being started again.
"""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import gevent
import structlog
from gevent.os import make_nonblocking, nb_read

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
GOOD_LIFE_SECONDS = 30.0
LOOK_SECONDS = 0.05

_log = structlog.get_logger(__name__)


class Process(Protocol):
    """A child, as `subprocess.Popen` is one."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | Any: ...
    def poll(self) -> int | None: ...
    def send_signal(self, sig: int) -> None: ...


class CouldNotStart(Exception):
    """A worker ended before it was up for the first time; `code` is its exit code."""

    def __init__(self, number: int, code: int) -> None:
        super().__init__(f"worker {number} could not start")
        self.code = code


class Worker:
    """One child process and its lives."""

    def __init__(self, number: int, start: Callable[[], Process], is_up: Callable[[], bool], now: Callable[[], float]) -> None:
        """number: from 1; is_up: whether the process serves, asked until it does."""
        self.number = number
        self.process: Process | None = None
        self.was_up = False
        self._start = start
        self._is_up = is_up
        self._now = now
        self._began = now()
        self._pause = FIRST_PAUSE_SECONDS
        self._again_at: float | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self.process is not None and self.process.poll() is None

    def look(self) -> None:
        """See how it does; start it, or start it again when it is time. CouldNotStart."""
        now, process = self._now(), self.process
        if process is None:
            self._begin(now)
        elif self.is_running:
            self.was_up = self.was_up or self._is_up()
        elif not self.was_up:
            raise CouldNotStart(self.number, process.returncode)
        elif self._again_at is None:
            if now - self._began >= GOOD_LIFE_SECONDS:
                self._pause = FIRST_PAUSE_SECONDS
            self._again_at = now + self._pause
            self._pause = min(LONGEST_PAUSE_SECONDS, self._pause * 2)
            _log.error("worker_died", worker=self.number, pid=process.pid, code=process.returncode)
        elif now >= self._again_at:
            self._begin(now)

    def signal(self, which: int) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None and self.is_running:
            self.process.send_signal(which)

    def _begin(self, now: float) -> None:
        self._again_at, self._began = None, now
        self.process = self._start()
        _log.info("worker_started", worker=self.number, pid=self.process.pid)


class Crew:
    """All workers of a node."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers
        self._is_over = False
        self._signals = 0

    def run(self, on_up: Callable[[], None]) -> int:
        """Until `stop` was called and all have ended (yields); on_up: once, when all serve. The exit code: 0, or that of a failed start.

        The first worker starts alone: it makes what all share, the store's tables and the secrets.
        """
        code = 0
        is_told = False
        while not self._is_over:
            try:
                for worker in self._workers if self._workers[0].was_up else self._workers[:1]:
                    worker.look()
            except CouldNotStart as failed:
                code = failed.code if failed.code > 0 else 1
                self.stop()
                break
            if not is_told and all(worker.was_up for worker in self._workers):
                is_told = True
                on_up()
            gevent.sleep(LOOK_SECONDS)
        while any(worker.is_running for worker in self._workers):
            gevent.sleep(LOOK_SECONDS)
        return code

    def stop(self) -> None:
        """End all; called again: at once."""
        self._is_over = True
        self._signals += 1
        for worker in self._workers:
            worker.signal(signal.SIGTERM if self._signals < 3 else signal.SIGKILL)


class Reserved:
    """Loopback ports that stay ours while workers come and go; `ports` has one for each."""

    def __init__(self, count: int) -> None:
        self._sockets = [socket.socket() for _ in range(count)]
        for one in self._sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a worker binds beside us, with the same option
            one.bind(("127.0.0.1", 0))
        self.ports = [int(one.getsockname()[1]) for one in self._sockets]

    def close(self) -> None:
        """Give them back."""
        for one in self._sockets:
            one.close()


def starter(command: Sequence[str]) -> Callable[[], Process]:
    """What starts this command in a session of its own, its standard input a pipe that breaks when we end."""

    def start() -> Process:
        # A session of its own: Ctrl-C is for the parent alone, which passes it on.
        return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    return start


def follow_parent(stop: Callable[[], None]) -> None:
    """In a worker: call `stop` when the parent has ended, however it did (yields until then)."""
    make_nonblocking(0)
    while nb_read(0, 1):
        pass
    stop()
