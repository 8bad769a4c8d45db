"""scripts/environment.sh and run_node.sh: nothing is installed when nothing changed, a failed install is not taken for a done one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# Stands in for the environment's Python: writes down how it was called, and fails where a file `broken` says so.
FAKE_PYTHON = """#!/bin/sh
echo "$*" >>"$CALLS"
[ ! -e "$(dirname "$CALLS")/broken" ]
"""


class Checkout:
    """A copy of what the scripts read, with a fake Python in .venv."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls = directory / "calls"
        (directory / "scripts").mkdir(parents=True)
        for name in ("requirements.txt", "requirements-dev.txt", "pyproject.toml", "scripts/environment.sh", "scripts/run_node.sh"):
            shutil.copy(REPOSITORY / name, directory / name)
        (directory / ".venv" / "bin").mkdir(parents=True)
        python = directory / ".venv" / "bin" / "python"
        python.write_text(FAKE_PYTHON)
        python.chmod(0o755)

    def environment(self, kind: str) -> int:
        return self.run("sh", "-c", f". scripts/environment.sh && myim_environment {kind}")

    def run(self, *command: str, cwd: Path | None = None) -> int:
        environment = {**os.environ, "CALLS": str(self.calls)}
        return subprocess.run(command, cwd=cwd or self.directory, env=environment, capture_output=True, check=False).returncode

    def taken_calls(self) -> list[str]:
        calls = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return calls


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "a clone with spaces 😀")


@pytest.mark.parametrize(("kind", "files"), [("runtime", 1), ("dev", 2)])
def test_the_first_run_installs_the_pins_and_the_second_does_nothing(checkout: Checkout, kind: str, files: int) -> None:
    assert checkout.environment(kind) == 0
    installs = checkout.taken_calls()
    assert [call.count("-r requirements") for call in installs] == [files, 0]
    assert "-e ." in installs[1]
    assert checkout.environment(kind) == 0
    assert checkout.taken_calls() == []


@pytest.mark.parametrize("changed", ["requirements.txt", "scripts/environment.sh"])
def test_a_changed_pin_installs_again(checkout: Checkout, changed: str) -> None:
    checkout.environment("runtime")
    checkout.taken_calls()
    with (checkout.directory / changed).open("a") as file:
        file.write("# changed\n")
    assert checkout.environment("runtime") == 0
    assert len(checkout.taken_calls()) == 2


def test_a_change_that_is_no_dependency_installs_nothing(checkout: Checkout) -> None:
    checkout.environment("runtime")
    checkout.taken_calls()
    with (checkout.directory / "pyproject.toml").open("a") as file:
        file.write("\n[tool.something]\n")
    assert checkout.environment("runtime") == 0
    assert checkout.taken_calls() == []


def test_the_checks_environment_serves_a_node_too(checkout: Checkout) -> None:
    checkout.environment("dev")
    checkout.taken_calls()
    assert checkout.environment("runtime") == 0
    assert checkout.taken_calls() == []


def test_a_failed_install_is_tried_again(checkout: Checkout) -> None:
    broken = checkout.directory / "broken"
    broken.touch()
    assert checkout.environment("runtime") != 0
    broken.unlink()
    checkout.taken_calls()
    assert checkout.environment("runtime") == 0
    assert len(checkout.taken_calls()) == 2


@pytest.mark.parametrize("argument", ["--help", "--config=a b.yaml", "-rf", "😀", "", "-", "x" * 100_000, "$(false)", "a\nb"])
def test_run_node_hands_every_argument_on_as_it_is(checkout: Checkout, tmp_path: Path, argument: str) -> None:
    checkout.environment("runtime")
    checkout.taken_calls()
    assert checkout.run(str(checkout.directory / "scripts" / "run_node.sh"), argument, cwd=tmp_path) == 0
    assert "\n".join(checkout.taken_calls()) == f"-m myim_server node {argument}"


def test_run_node_ends_with_the_nodes_exit_code(checkout: Checkout) -> None:
    checkout.environment("runtime")
    (checkout.directory / "broken").touch()
    assert checkout.run("scripts/run_node.sh") == 1
