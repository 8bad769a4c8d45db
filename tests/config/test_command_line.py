"""`python -m myim_server node` as an operator meets it (reliability rows 109 to 112, 117, 119): exit codes, the reason, never a traceback.

0: it would start. 1: this machine does not allow it. 2: the command line or the configuration is wrong.
"""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from bench.processes import free_port
from tests.scenarios.town import own_environment, wait_until

SECONDS = 30


def node(
    directory: Path, *arguments: str, environment: Mapping[str, str] = MappingProxyType({}), files: str = "1024,1024"
) -> tuple[int, str]:
    """Runs the command in `directory` with free ports, and so many open files, soft and hard; (exit code, both outputs)."""
    ports = {"MYIM_NODE__ALLOW_ANY_PORT": "true", "MYIM_LOGIN__LISTEN": "127.0.0.1:0", "MYIM_CENTER__LISTEN": "127.0.0.1:0"}
    small = {"MYIM_CENTER__MAX_CONNECTIONS": "50"}
    limit = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_NOFILE, tuple(map(int, sys.argv.pop(1).split(',')))); "
    result = subprocess.run(
        [sys.executable, "-c", f"{limit}runpy.run_module('myim_server', run_name='__main__', alter_sys=True)", files, *arguments],
        cwd=directory,
        env={**os.environ, **ports, **small, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


class Running:
    """`python -m myim_server node` in `directory` with free ports, not waited for; what it prints is read as it comes."""

    def __init__(self, directory: Path, environment: Mapping[str, str] = MappingProxyType({}), errors_to: int | None = None) -> None:
        self.center_port = free_port()
        self.login_port = free_port()
        ports = {"MYIM_LOGIN__LISTEN": f"127.0.0.1:{self.login_port}", "MYIM_CENTER__LISTEN": f"127.0.0.1:{self.center_port}"}
        small = {"MYIM_CENTER__MAX_CONNECTIONS": "50"}
        self._output, self._errors = directory / "output", directory / "errors"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "myim_server", "node"],
                cwd=directory,
                env={**own_environment(), **ports, **small, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors if errors_to is None else errors_to,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for it; a node that ends before fails the test with what it said."""

        def is_so() -> bool:
            came = bool(condition())
            assert came or self.process.poll() is None, self.output + self.errors
            return came

        wait_until(is_so, SECONDS)

    def is_listening(self) -> bool:
        """Whether the center's door is open."""
        try:
            socket.create_connection(("127.0.0.1", self.center_port), 1).close()
        except OSError:
            return False
        return True

    def end(self, how: signal.Signals) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(how)
        return self.process.wait(SECONDS)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts a node in `tmp_path`; one that a failed test leaves behind is ended."""
    started: list[Running] = []

    def begin(environment: Mapping[str, str] = MappingProxyType({}), errors_to: int | None = None) -> Running:
        started.append(Running(tmp_path, environment, errors_to))
        return started[-1]

    yield begin
    for running in started:
        running.process.kill()
        running.process.wait()


def written(name: str, text: str) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        (directory / name).write_text(text)

    return write


def nothing(directory: Path) -> None:
    pass


def loose_secret(directory: Path) -> None:
    (directory / "myim-data").mkdir(mode=0o700)
    path = directory / "myim-data" / "cluster.secret"
    path.write_text("00" * 32 + "\n")
    path.chmod(0o644)


def open_directory(directory: Path) -> None:
    (directory / "myim-data").mkdir()
    (directory / "myim-data").chmod(0o770)


def linked_secret(directory: Path) -> None:
    loose_secret(directory)
    path = directory / "myim-data" / "cluster.secret"
    path.chmod(0o600)
    path.rename(directory / "elsewhere")
    path.symlink_to(directory / "elsewhere")


WRONG: list[tuple[str, Callable[[Path], None], list[str], dict[str, str], int, str]] = [
    ("a missing file", nothing, ["node", "--config", "no such", "--check"], {}, 2, "no such: cannot be read"),
    ("a dash as file", nothing, ["node", "--config", "-", "--check"], {}, 2, "-: cannot be read"),
    ("a name too long", nothing, ["node", "--config", "x" * 100_000, "--check"], {}, 2, "File name too long"),
    ("a directory", nothing, ["node", "--config", ".", "--check"], {}, 2, "is a directory"),
    (
        "a typo",
        written("a b 😀.yaml", "center:\n\n  priorty: 5\n"),
        ["node", "--config", "a b 😀.yaml"],
        {},
        2,
        ":3: center.priorty: there",
    ),
    ("a wrong ./myim.yaml", written("myim.yaml", "center: 5\n"), ["node"], {}, 2, "myim.yaml:1: center: must be a section"),
    ("a wrong port", nothing, ["node"], {"MYIM_CENTER__LISTEN": "127.0.0.1:65536"}, 2, "port 65536 is not between 1 and 65535"),
    ("port 0 unasked", nothing, ["node"], {"MYIM_NODE__ALLOW_ANY_PORT": "false"}, 2, "port 0 would be another port"),
    ("limits that clash", nothing, ["node"], {"MYIM_DELIVERY__RECEIPT_SECONDS": "9"}, 2, "must return a message before"),
    ("an unknown variable", nothing, ["node"], {"MYIM_CENTER__PRIORTY": "9"}, 2, "did you mean center.priority?"),
    ("an unknown flag", nothing, ["node", "--bogus"], {}, 2, "No such option"),
    ("an unknown command", nothing, ["nod"], {}, 2, "No such command"),
    ("no command", nothing, [], {}, 2, "Usage:"),
    ("an address of another machine", nothing, ["node"], {"MYIM_CENTER__LISTEN": "192.0.2.1:7401"}, 1, "192.0.2.1"),
    ("a secret others may read", loose_secret, ["node"], {}, 1, "cluster.secret: has mode 0644"),
    ("a linked secret", linked_secret, ["node"], {}, 1, "cluster.secret: is a symbolic link"),
    ("a directory others may write in", open_directory, ["node"], {}, 1, "myim-data: has mode 0770, others may write there; chmod 700"),
    ("a file as data directory", written("myim-data", ""), ["node"], {}, 1, "myim-data"),
]


@pytest.mark.parametrize(
    ("prepare", "arguments", "environment", "code", "told"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_what_is_wrong_is_told_in_lines_and_by_the_exit_code(
    tmp_path: Path, prepare: Callable[[Path], None], arguments: list[str], environment: dict[str, str], code: int, told: str
) -> None:
    prepare(tmp_path)
    found, output = node(tmp_path, *arguments, environment=environment)
    assert told in output
    assert (found, "Traceback" in output) == (code, False), output


def test_an_address_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, output = node(tmp_path, "node", environment={"MYIM_LOGIN__LISTEN": address})
    assert (code, "Traceback" in output) == (1, False)
    assert "in use" in output
    assert address.split(":")[1] in output


def test_too_few_open_files_are_told_with_both_numbers(tmp_path: Path) -> None:
    code, output = node(tmp_path, "node", "--check", environment={"MYIM_CENTER__MAX_CONNECTIONS": "15000"}, files="256,256")
    assert (code, "Traceback" in output) == (1, False)
    assert "needs 15508 open files, the limit is 256" in output


@pytest.mark.parametrize(("files", "is_told"), [("1024,1024", False), ("200,1024", True)])
def test_the_limit_of_open_files_is_worth_a_line_only_where_it_was_raised(tmp_path: Path, files: str, is_told: bool) -> None:
    code, output = node(tmp_path, "node", "--check", files=files)
    assert (code, "open_files needed=" in output) == (0, is_told), output


def test_a_sound_node_passes_the_check_and_leaves_all_its_files_to_the_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        code, output = node(tmp_path, "node", "--check")
        assert code == 0, output
        assert node(tmp_path, "admin", "migrate", environment={"MYIM_NODE__DATA_DIR": "another"})[0] == 0
    finally:
        os.umask(old)
    made = [path for data in (tmp_path / "myim-data", tmp_path / "another") for path in (data, *data.iterdir())]
    assert {path.name for path in made} >= {"myim.db", "node.key", "cluster.secret"}
    assert [path.name for path in made if path.stat().st_mode & 0o077] == []


def test_machine_readable_output_is_machine_readable_to_the_last_line(start: Callable[..., Running]) -> None:
    running = start(environment={"MYIM_LOG__FORMAT": "json"})
    running.until(lambda: "node_started" in running.output)
    running.end(signal.SIGTERM)
    lines = [json.loads(line) for line in running.output.splitlines()]
    assert [line["event"] for line in lines] == ["node_started", "node_stopping", "node_stopped"]
    assert lines[0]["roles"] == ["login", "center"]
    assert "MyIM is up" not in running.errors


def test_the_screen_for_people_goes_to_their_terminal_where_the_output_is_for_machines(start: Callable[..., Running]) -> None:
    master, slave = pty.openpty()
    running = start(environment={"MYIM_LOG__FORMAT": "json"}, errors_to=slave)
    os.close(slave)
    running.until(lambda: "node_started" in running.output)
    shown = b""
    while b"Ctrl-C stops it" not in shown:
        shown += os.read(master, 4096)
    running.end(signal.SIGTERM)
    os.close(master)
    assert b"MyIM is up." in shown
    assert "MyIM is up." not in running.output


def test_a_second_sigterm_waits_for_nobody(start: Callable[..., Running]) -> None:
    running = start()
    running.until(lambda: "Ctrl-C stops it" in running.output)
    # Somebody who is logging in is given a second by an orderly stop.
    with socket.create_connection(("127.0.0.1", running.login_port)):
        running.process.send_signal(signal.SIGTERM)
        running.until(lambda: "node_stopping" in running.output)
        assert running.end(signal.SIGTERM) == 1
    assert "node_stopped" not in running.output


def test_one_sigterm_ends_in_order(start: Callable[..., Running]) -> None:
    running = start()
    running.until(lambda: "Ctrl-C stops it" in running.output)
    assert (running.end(signal.SIGTERM), "node_stopped" in running.output) == (0, True)


def test_a_config_that_was_broken_meanwhile_is_told_at_sighup_and_the_node_goes_on(
    tmp_path: Path, start: Callable[..., Running]
) -> None:
    config = tmp_path / "myim.yaml"
    config.write_text("center:\n  priority: 5\n")
    running = start()
    running.until(lambda: "Ctrl-C stops it" in running.output)
    config.write_text("center:\n  priorty: 5\n")
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: "the old config stays: myim.yaml:2: center.priorty: there is no such key" in running.errors)
    assert running.is_listening()
    config.write_text("center:\n  priority: 6\n")
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: "the config file is sound" in running.errors)
    assert running.is_listening()
    assert running.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("harmless", [signal.SIGUSR1, signal.SIGPIPE])
def test_a_signal_that_means_nothing_ends_nothing(start: Callable[..., Running], harmless: signal.Signals) -> None:
    running = start()
    running.until(lambda: "Ctrl-C stops it" in running.output)
    running.process.send_signal(harmless)
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: "the config file is sound" in running.errors)
    assert running.is_listening()
    assert running.end(signal.SIGTERM) == 0


def test_usage_names_the_program_as_it_is_called(tmp_path: Path) -> None:
    assert "Usage: python -m myim_server admin revoke" in node(tmp_path, "admin", "revoke", "--help")[1]


@pytest.mark.parametrize("arguments", [["--help"], ["node", "--help"], ["admin", "--help"]])
def test_help_is_no_error(tmp_path: Path, arguments: list[str]) -> None:
    code, output = node(tmp_path, *arguments)
    assert (code, "Usage:" in output) == (0, True)
