"""Settled as stored means flushed [P-8.1]: strace shows commit, flush, settle in that order for each message, and red without a flush.

kill -9 cannot prove this, because the page cache survives it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pymysql
import pytest

from bench.line import Line, open_lines, read_accounts
from bench.servers import Database, Node
from myim_wire.messages import FIRST, QOS1, Command
from tests.chaos.system_calls import FLUSHES, SENDS, WRITES, Call, Trace, read_calls

MESSAGES = 12


def marker(number: int) -> str:
    """What is found again in what the databases write."""
    return f"flushed-before-settled-{number:04}"


def send_one_by_one(line: Line, target: int) -> None:
    """Each message is sent when the one before it is settled, as stored."""
    for number in range(MESSAGES):
        line.queue(Command.USER_MESSAGE, QOS1 | FIRST, target, marker(number).encode())
        line.flush()
        settled = [message for message in line.await_command(Command.USER_MESSAGE) if message.command == Command.USER_MESSAGE]
        assert [message.content for message in settled] == [b"\x02"]


def settlings(calls: Sequence[Call], line: Line) -> list[Call]:
    """The node's sends to the sender, one per message."""
    socket_name = f"->127.0.0.1:{line.socket.getsockname()[1]}]>"
    sends = [call for call in calls if call.name in SENDS and socket_name in call.text.split(",", 1)[0]]
    assert len(sends) == MESSAGES, "one settling per message, each sent alone"
    return sends


def unflushed(calls: Sequence[Call], log: str, settled: Sequence[Call]) -> list[str]:
    """Which messages were settled before `log` held them and was flushed; `calls` are the database's."""
    found = []
    for number, settling in enumerate(settled):
        written = next((call for call in calls if call.name in WRITES and log in call.text and marker(number) in call.text), None)
        if written is None:
            found.append(f"{marker(number)} was never written to {log}")
        elif not any(
            call.name in FLUSHES and log in call.text and call.start >= written.end and call.end <= settling.start for call in calls
        ):
            found.append(f"{marker(number)} was settled without a flush between")
    return found


def _sends(text: str, call: Call) -> bool:
    return call.name in SENDS and text in call.text


def uncommitted(calls: Sequence[Call], port: int, settled: Sequence[Call]) -> list[str]:
    """Which messages were settled before the node had the answer to the COMMIT that followed their insert."""
    database = f":{port}]>"
    found = []
    for number, settling in enumerate(settled):
        steps: Iterator[Call] = iter(call for call in calls if database in call.text and call.end <= settling.start)
        wanted: list[Callable[[Call], bool]] = [
            partial(_sends, marker(number).encode().hex()),  # bodies travel to the database as hex literals
            partial(_sends, "COMMIT"),
            lambda call: call.name == "recvfrom",
        ]
        if not all(any(is_wanted(call) for call in steps) for is_wanted in wanted):
            found.append(f"{marker(number)} was settled before its commit was answered")
    return found


def talk(node: Node) -> tuple[Line, int]:
    """A sender that is online, and the id of a target that is not."""
    sender, target = read_accounts(node.mint(2, "flush"))
    return open_lines(("127.0.0.1", node.center_port), [sender])[0], target.user


@pytest.fixture
def sqlite_node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "node")
    yield node
    node.stop()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "mariadb")
    yield database
    database.stop()


@pytest.fixture
def mariadb_node(tmp_path: Path, database: Database) -> Iterator[Node]:
    # `allow_unflushed`, because the second test takes the flush away; the node says so in its log and nothing else changes.
    node = Node(tmp_path / "node", database, settings={"store": {"allow_unflushed": True}})
    yield node
    node.stop()


def test_on_sqlite_each_message_is_committed_then_flushed_then_settled(sqlite_node: Node, tmp_path: Path) -> None:
    sqlite_node.start()
    line, target = talk(sqlite_node)
    with Trace(sqlite_node.pid, tmp_path / "node.strace") as trace:
        send_one_by_one(line, target)
    calls = trace.calls()
    assert unflushed(calls, "-wal>", settlings(calls, line)) == []


def test_on_sqlite_without_synchronous_the_trace_is_red(sqlite_node: Node, tmp_path: Path) -> None:
    switch = tmp_path / "unflushed"
    sqlite_node.start([sys.executable, "-m", "tests.chaos.unflushed_node", str(switch)])
    line, target = talk(sqlite_node)
    switch.touch()
    with Trace(sqlite_node.pid, tmp_path / "node.strace") as trace:
        send_one_by_one(line, target)
    calls = trace.calls()
    assert len(unflushed(calls, "-wal>", settlings(calls, line))) == MESSAGES


def run_on_mariadb(node: Node, database: Database, directory: Path) -> tuple[list[str], list[str]]:
    """(settled before a flush, settled before a commit) with both processes traced."""
    line, target = talk(node)
    with Trace(node.pid, directory / "node.strace") as at_node, Trace(database.pid, directory / "database.strace") as at_database:
        send_one_by_one(line, target)
    settled = settlings(at_node.calls(), line)
    return unflushed(at_database.calls(), "ib_logfile0>", settled), uncommitted(at_node.calls(), database.port, settled)


def test_on_mariadb_each_message_is_committed_then_flushed_then_settled(mariadb_node: Node, database: Database, tmp_path: Path) -> None:
    mariadb_node.start()
    assert run_on_mariadb(mariadb_node, database, tmp_path) == ([], [])


def test_on_mariadb_with_flush_2_the_trace_is_red(mariadb_node: Node, database: Database, tmp_path: Path) -> None:
    password = database.password_file.read_text().strip()
    with pymysql.connect(host="127.0.0.1", port=database.port, user="root", password=password) as connection:
        connection.cursor().execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    mariadb_node.start()
    without_flush, without_commit = run_on_mariadb(mariadb_node, database, tmp_path)
    assert len(without_flush) > MESSAGES // 2  # the server flushes once a second by itself, and may hit a few
    assert without_commit == []


def test_an_interrupted_call_is_put_together_from_its_two_lines() -> None:
    lines = [
        '10 100.000000 fdatasync(7</data/myim.db-wal> <unfinished ...>',
        '11 100.000100 sendto(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, "x", 1, 0, NULL, 0) = 1 <0.000050>',
        '10 100.004000 <... fdatasync resumed>) = 0 <0.004000>',
        '11 100.005000 recvfrom(9, 0x1, 10, 0, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable) <0.000010>',
    ]
    calls = sorted(read_calls(lines), key=lambda call: call.start)
    assert [(call.name, round(call.start, 6), round(call.end, 6)) for call in calls] == [
        ("fdatasync", 100.0, 100.004),
        ("sendto", 100.0001, 100.00015),
    ]
    assert "myim.db-wal" in calls[0].text
