"""The control socket: one line each way, for the node's own user alone, bounded; whoever asks nonsense learns that and nothing breaks."""

from __future__ import annotations

import io
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from myim_server.admin_live import links_table
from myim_server.control import FILE_NAME, ControlRefused, ControlSocket, ask


def refuse(question: Mapping[str, Any]) -> object:
    raise ControlRefused(f"there is no node {question['node']}")


def fail(question: Mapping[str, Any]) -> object:
    raise RuntimeError("a bug")


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A running control socket's directory; its path is longer than a unix socket's may be."""
    directory = tmp_path / ("deep" * 30)
    directory.mkdir()
    control = ControlSocket(directory, {"echo": lambda question: question["said"], "refuse": refuse, "fail": fail}, question_seconds=1)
    control.build()
    control.start()
    yield directory
    control.stop()
    assert not (directory / FILE_NAME).exists()


def say(directory: Path, line: bytes) -> dict[str, Any]:
    """What is answered to these bytes; {} where nothing is."""
    descriptor = os.open(directory, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"/proc/self/fd/{descriptor}/{FILE_NAME}")
        os.close(descriptor)
        connection.settimeout(20)
        try:
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            heard = b"".join(iter(lambda: connection.recv(4096), b""))
        except OSError:
            return {}
        return dict(json.loads(heard)) if heard else {}


def test_a_question_is_answered(data_dir: Path) -> None:
    assert ask(data_dir, "echo", said={"node": 5, "name": "é"}) == {"node": 5, "name": "é"}


def test_the_socket_is_its_owner_s_alone(data_dir: Path) -> None:
    assert stat.S_IMODE((data_dir / FILE_NAME).stat().st_mode) == 0o600


def test_what_the_node_cannot_do_is_told_in_its_words(data_dir: Path) -> None:
    with pytest.raises(ControlRefused, match="there is no node 7"):
        ask(data_dir, "refuse", node=7)


def test_a_fault_of_the_node_is_logged_and_the_node_goes_on(data_dir: Path) -> None:
    with pytest.raises(ControlRefused, match="its log has it"):
        ask(data_dir, "fail")
    assert ask(data_dir, "echo", said=1) == 1


@pytest.mark.parametrize(
    "line",
    [b"{}\n", b"[]\n", b"5\n", b'{"op": "what"}\n', b'{"op": ["echo"]}\n', b"\xff\xfe\n", b"not json\n", b"[" * 4000 + b"\n"],
)
def test_nonsense_is_answered_as_such(data_dir: Path, line: bytes) -> None:
    assert say(data_dir, line) == {"error": "no such question"}


@pytest.mark.parametrize("line", [b"", b'{"op": "echo"', b"x" * 5000, b"x" * 100_000])
def test_what_is_no_line_or_too_long_a_one_is_not_answered(data_dir: Path, line: bytes) -> None:
    assert say(data_dir, line) == {}
    assert ask(data_dir, "echo", said=2) == 2


def test_many_who_connect_and_say_nothing_are_sent_away_in_time(data_dir: Path) -> None:
    descriptor = os.open(data_dir, os.O_PATH)
    silent = []
    for _ in range(8):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"/proc/self/fd/{descriptor}/{FILE_NAME}")
        silent.append(connection)
    os.close(descriptor)
    assert ask(data_dir, "echo", said=3) == 3
    for connection in silent:
        connection.close()


def test_where_no_node_runs_the_question_says_so(tmp_path: Path) -> None:
    with pytest.raises(ControlRefused, match="no node runs on"):
        ask(tmp_path, "status")
    with pytest.raises(ControlRefused, match="no node runs on"):
        ask(tmp_path / "no such", "status")


def test_a_second_node_on_the_same_data_is_refused_and_the_first_goes_on(data_dir: Path) -> None:
    with pytest.raises(OSError, match="another node runs on"):
        ControlSocket(data_dir, {}).build()
    assert ask(data_dir, "echo", said=4) == 4


def test_a_socket_that_a_killed_node_left_is_taken_over(tmp_path: Path) -> None:
    program = f"import os, socket; s = socket.socket(socket.AF_UNIX); s.bind({FILE_NAME!r}); s.listen(); os._exit(0)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
    control = ControlSocket(tmp_path, {"echo": lambda question: "here"})
    control.build()
    control.start()
    assert ask(tmp_path, "echo") == "here"
    control.stop()
    control.stop()


def test_another_user_s_question_is_not_answered(tmp_path: Path) -> None:
    control = ControlSocket(tmp_path, {"echo": lambda question: "here"}, users=[os.geteuid() + 1])
    control.build()
    control.start()
    assert say(tmp_path, b'{"op": "echo"}\n') == {}
    control.stop()


def test_links_are_shown_as_a_table_whatever_a_peer_says_in_its_errors() -> None:
    row = {"node": 5, "role": "center", "address": "10.0.0.2:7402", "state": "dialling", "is_tls": False, "rtt_ms": 0.0}
    row |= {"queued_bytes": 7, "unconsumed_bytes": 9, "last_error": "[red]no\x1b[2J", "seconds": 7300.0}
    screen = io.StringIO()
    Console(file=screen, width=180).print(links_table([row, {**row, "state": "up", "rtt_ms": 1.26, "is_tls": True, "last_error": ""}]))
    told = [line.split() for line in screen.getvalue().splitlines()]
    assert told[1] == ["5", "center", "10.0.0.2:7402", "dialling", "plain", "7", "+", "9", "B", "[red]no?[2J", "2", "h"]
    assert told[2] == ["5", "center", "10.0.0.2:7402", "up", "tls", "1.3", "ms", "7", "+", "9", "B", "2", "h"]
