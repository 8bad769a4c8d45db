"""`python -m myim_server node` as an operator meets it (reliability rows 109 to 112, 117, 119): exit codes, the reason, never a traceback.

0: it would start. 1: this machine does not allow it. 2: the command line or the configuration is wrong.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

SECONDS = 30


def node(directory: Path, *arguments: str, environment: Mapping[str, str] = MappingProxyType({}), files: int = 1024) -> tuple[int, str]:
    """Runs the command in `directory` with free ports; (exit code, both outputs)."""
    ports = {"MYIM_NODE__ALLOW_ANY_PORT": "true", "MYIM_LOGIN__LISTEN": "127.0.0.1:0", "MYIM_CENTER__LISTEN": "127.0.0.1:0"}
    small = {"MYIM_CENTER__MAX_CONNECTIONS": "50"}
    limit = "import resource, runpy, sys; n = int(sys.argv.pop(1)); resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)); "
    result = subprocess.run(
        [sys.executable, "-c", f"{limit}runpy.run_module('myim_server', run_name='__main__', alter_sys=True)", str(files), *arguments],
        cwd=directory,
        env={**os.environ, **ports, **small, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


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
    code, output = node(tmp_path, "node", "--check", environment={"MYIM_CENTER__MAX_CONNECTIONS": "15000"}, files=256)
    assert (code, "Traceback" in output) == (1, False)
    assert "needs 15508 open files, the limit is 256" in output


def test_a_sound_node_passes_the_check_and_leaves_its_keys_to_the_owner_alone(tmp_path: Path) -> None:
    code, output = node(tmp_path, "node", "--check")
    assert code == 0, output
    data = tmp_path / "myim-data"
    loose = [path.name for path in (data, *data.iterdir()) if path.stat().st_mode & 0o077 and ".db" not in path.name]
    assert loose == []


def test_usage_names_the_program_as_it_is_called(tmp_path: Path) -> None:
    assert "Usage: python -m myim_server admin revoke" in node(tmp_path, "admin", "revoke", "--help")[1]


@pytest.mark.parametrize("arguments", [["--help"], ["node", "--help"], ["admin", "--help"]])
def test_help_is_no_error(tmp_path: Path, arguments: list[str]) -> None:
    code, output = node(tmp_path, *arguments)
    assert (code, "Usage:" in output) == (0, True)
