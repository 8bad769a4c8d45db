"""One node of two worker processes on one port: people at different workers talk, a worker that dies comes back, all end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.processes import free_port
from myim_client import Client, MessageArrived, Terminal, register
from myim_server.control import ControlRefused, ask
from tests.scenarios.town import PASSWORD, own_environment, take, wait_until
from tests.store.mariadb import MariaDb


class Workers:
    """A node started with --workers 2, and its people."""

    def __init__(self, directory: Path, mariadb: MariaDb) -> None:
        self._directory = directory
        self.login_port = free_port()
        self.clients: list[Client] = []
        config = directory / "myim.yaml"
        config.write_text(
            f"node: {{data_dir: {directory / 'data'}}}\n"
            f"login: {{listen: '127.0.0.1:{self.login_port}'}}\n"
            f"center: {{listen: '127.0.0.1:{free_port()}', max_connections: 100}}\n"
            f"store: {{url: '{mariadb.url(mariadb.new_database())}', password_file: {mariadb.password_file}}}\n"
        )
        with (directory / "node.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "myim_server", "node", "--config", str(config), "--workers", "2"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=own_environment(),
            )  # fmt: skip
        wait_until(self._is_up, 60)

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.output
        return "Ctrl-C stops it" in self.output and all((status or {}).get("links") == 1 for status in self.statuses())

    @property
    def output(self) -> str:
        return (self._directory / "node.log").read_text()

    def statuses(self) -> list[dict[str, Any] | None]:
        """What each worker says of itself; None: it does not answer."""
        found: list[dict[str, Any] | None] = []
        for number in (1, 2):
            try:
                found.append(ask(self._directory / "data" / f"worker-{number}", "status", 2.0))
            except ControlRefused:
                found.append(None)
        return found

    def pids(self) -> list[int]:
        return [status["pid"] for status in self.statuses() if status is not None]

    def person(self, name: str) -> Client:
        terminal = Terminal.open(self._directory / "terminals" / name)
        client = Client(terminal, register(terminal, f"127.0.0.1:{self.login_port}", name, PASSWORD).path)
        self.clients.append(client)
        client.connect(20)
        return client

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.process.kill()
        self.process.wait(30)


@pytest.fixture
def workers(tmp_path: Path, mariadb: MariaDb) -> Iterator[Workers]:
    made = Workers(tmp_path, mariadb)
    yield made
    pids = made.pids()
    made.close()
    wait_until(lambda: not any(is_running(pid) for pid in pids), 30)  # the parent was killed: its workers end by themselves


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def everywhere(workers: Workers) -> list[Client]:
    """People until each worker holds one."""
    people = [workers.person("person0")]
    while not all(status is not None and status["sessions"] for status in workers.statuses()):
        assert len(people) < 20, workers.statuses()
        people.append(workers.person(f"person{len(people)}"))
    return people


def test_people_at_different_workers_talk_and_a_worker_that_dies_is_started_again(workers: Workers) -> None:
    people = everywhere(workers)
    first, others = people[0], people[1:]
    for other in others:
        handle = first.send(other.name, "hello")
        assert take(other, MessageArrived)[0].text == "hello"
        handle.wait(20)
    before = workers.pids()
    os.kill(before[1], signal.SIGKILL)
    wait_until(lambda: len(workers.pids()) == 2 and workers.pids()[1] != before[1], 30)
    assert workers.pids()[0] == before[0]
    for other in others:
        first.send(other.name, "again")
        assert take(other, MessageArrived)[0].text == "again"
    assert "worker_died" in workers.output


def test_sigterm_ends_all_workers_in_order(workers: Workers) -> None:
    pids = workers.pids()
    workers.process.send_signal(signal.SIGTERM)
    assert workers.process.wait(30) == 0
    assert not any(is_running(pid) for pid in pids)
    assert workers.output.count("node_stopped") == 2


def test_sqlite_is_refused_for_workers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "myim_server", "node", "--workers", "2"],
        cwd=tmp_path, env=own_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, "SQLite is for one process" in done.stderr) == (2, True)
