"""The parent of several workers: it starts them, starts the dead again ever more patiently, and ends them together."""

from __future__ import annotations

import signal
import socket

import gevent
import pytest

from myim_server.config import load_config
from myim_server.config_sections import Address
from myim_server.node_parts import Seat, seated
from myim_server.workers import CouldNotStart, Crew, Reserved, Worker
from tests.server.running import wait_until


class Child:
    """A process that lives until it is told otherwise; a polite one ends at the first SIGTERM."""

    def __init__(self, pid: int, is_polite: bool = True) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.signals: list[int] = []
        self._is_polite = is_polite

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, sig: int) -> None:
        self.signals.append(sig)
        if self._is_polite or sig == signal.SIGKILL:
            self.returncode = 0


class Stage:
    """Workers with made-up processes and a made-up clock."""

    def __init__(self, count: int = 1, is_polite: bool = True) -> None:
        self.now = 0.0
        self.children: dict[int, list[Child]] = {number: [] for number in range(1, count + 1)}
        self.up: set[int] = set()
        self.workers = [self._worker(number, is_polite) for number in self.children]
        self.crew = Crew(self.workers)

    def _worker(self, number: int, is_polite: bool) -> Worker:
        def start() -> Child:
            child = Child(100 * number + len(self.children[number]), is_polite)
            self.children[number].append(child)
            return child

        return Worker(number, start, lambda: number in self.up, lambda: self.now)

    def started(self, number: int = 1) -> int:
        return len(self.children[number])

    def die_and_wait(self) -> float:
        """Seconds until the first worker is started again after it died."""
        self.children[1][-1].returncode = -9
        began, before = self.now, self.started()
        while self.started() == before:
            self.workers[0].look()
            self.now += 0.01
        return self.now - began


def test_a_worker_that_dies_is_started_again_ever_more_patiently_until_it_lived_well() -> None:
    stage = Stage()
    stage.up = {1}
    stage.workers[0].look()
    stage.workers[0].look()
    pauses = [stage.die_and_wait() for _ in range(7)]
    assert pauses[0] < 0.3
    assert pauses == sorted(pauses)
    assert 4.9 < pauses[-1] < 5.2
    stage.now += 31
    assert stage.die_and_wait() < 0.3


def test_a_worker_that_was_never_up_is_not_tried_again() -> None:
    stage = Stage()
    stage.workers[0].look()
    stage.children[1][0].returncode = 2
    with pytest.raises(CouldNotStart) as failed:
        stage.workers[0].look()
    assert failed.value.code == 2


def test_the_first_worker_makes_what_all_share_before_the_others_start() -> None:
    stage = Stage(count=3)
    told: list[int] = []
    running = gevent.spawn(stage.crew.run, lambda: told.append(1))
    gevent.sleep(0)
    assert [stage.started(number) for number in (1, 2, 3)] == [1, 0, 0]
    stage.up = {1, 2, 3}
    wait_until(lambda: told)
    assert [stage.started(number) for number in (1, 2, 3)] == [1, 1, 1]
    stage.crew.stop()
    assert running.get(timeout=10) == 0
    assert [child.signals for children in stage.children.values() for child in children] == [[signal.SIGTERM]] * 3


def test_a_failed_first_start_ends_all_with_its_exit_code() -> None:
    stage = Stage(count=2)
    stage.up = {1}
    running = gevent.spawn(stage.crew.run, lambda: None)
    wait_until(lambda: stage.started(2))
    stage.children[2][0].returncode = 1
    assert running.get(timeout=10) == 1
    assert stage.children[1][0].signals == [signal.SIGTERM]


def test_who_does_not_end_when_asked_is_asked_again_and_then_made_to() -> None:
    stage = Stage(is_polite=False)
    stage.up = {1}
    running = gevent.spawn(stage.crew.run, lambda: None)
    gevent.sleep(0)
    for _ in range(3):
        stage.crew.stop()
    assert running.get(timeout=10) == 0
    assert stage.children[1][0].signals == [signal.SIGTERM, signal.SIGTERM, signal.SIGKILL]


def test_a_reserved_port_is_taken_for_others_and_free_for_a_worker() -> None:
    reserved = Reserved(2)
    address = ("127.0.0.1", reserved.ports[0])
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(address)
    for _ in range(2):  # and once more, after the worker died
        with socket.create_server(address) as worker, socket.create_connection(address, 5):
            worker.accept()[0].close()
    reserved.close()


MYSQL = {"MYIM_STORE__URL": "mysql://m@h/m", "MYIM_NODE__WORKERS": "3"}


def test_workers_meet_at_loopback_ports_and_the_first_alone_checks_passwords() -> None:
    config = load_config(None, MYSQL)
    second = seated(config, Seat(2, (4001, 4002, 4003)))
    assert second.node.roles == ("center",)
    assert second.links.listen == Address("127.0.0.1", 4002)
    assert second.links.peers == (Address("127.0.0.1", 4001), Address("127.0.0.1", 4003))
    assert seated(config, Seat(1, (4001, 4002, 4003))).node.roles == ("login", "center")
    assert second.center.listen == config.center.listen


def test_workers_that_others_know_too_listen_for_links_one_port_after_the_other() -> None:
    told = {
        "LINKS__LISTEN": "0.0.0.0:7402",
        "LINKS__ADVERTISE": "a.example:9000",
        "LINKS__PEERS": "b.example:7402",
        "METRICS__LISTEN": "[::1]:7500",
    }
    config = load_config(None, {**MYSQL, **{f"MYIM_{name}": value for name, value in told.items()}})
    third = seated(config, Seat(3, (1, 2, 3)))
    assert (third.links.listen, third.links.advertise) == (Address("0.0.0.0", 7404), Address("a.example", 9002))
    assert third.links.peers == (Address("b.example", 7402), Address("127.0.0.1", 7402), Address("127.0.0.1", 7403))
    assert third.metrics.listen == Address("::1", 7502)


def test_workers_that_a_directory_lists_need_no_list_of_peers() -> None:
    told = {"LINKS__LISTEN": "10.0.0.1:7402", "DIRECTORY__KIND": "hazelcast", "DIRECTORY__CLUSTER_NAME": "x"}
    config = load_config(None, {**MYSQL, **{f"MYIM_{name}": value for name, value in told.items()}})
    assert seated(config, Seat(2, (1, 2, 3))).links.peers == ()
