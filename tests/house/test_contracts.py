"""The import contracts would catch what they are there for: each arrow is turned round once, in a copy, and must be refused."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import PACKAGES, REPOSITORY

# What a file gets added, and the contract that must refuse it.
VIOLATIONS = [
    ("myim_wire/frames.py", "import time", "The pure wire reaches no clock"),
    ("myim_wire/messages.py", "import gevent", "The pure wire reaches no clock"),
    ("myim_wire/frames.py", "import myim_server.config", "The packages"),
    ("myim_wire/errors.py", "import myim_wire.messages", "Inside the wire"),
    ("myim_wire/stray.py", "", "Inside the wire"),
    ("myim_server/stray.py", "", "Inside the server"),
    ("myim_server/config.py", "import myim_client", "The server never imports the client"),
    ("myim_server/metrics.py", "import myim_server.config", "Inside the server"),
    ("myim_server/metrics.py", "import myim_server.logs", "Inside the server"),
    ("myim_server/metrics.py", "import sqlalchemy", "Only the store speaks SQL"),
    ("myim_server/chat/lane.py", "import socket", "The rules touch neither socket nor clock"),
    ("myim_server/chat/lane.py", "import time", "The rules touch neither socket nor clock"),
    ("myim_server/chat/lane.py", "import myim_server.chat.inbox", "Inside chat"),
    ("myim_server/store/offline.py", "import myim_wire.messages", "The store knows neither wire nor cluster"),
    ("myim_server/store/offline.py", "import cluster", "The store knows neither wire nor cluster"),
    ("myim_client/errors.py", "import cluster", "The packages"),
    ("myim_client/errors.py", "import myim_client.client", "Inside the client"),
]


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run([sys.executable, "-c", program], cwd=tree, capture_output=True, text=True, check=False)


def copied(target: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", target)
    return target


@pytest.mark.parametrize(("file", "line", "contract"), VIOLATIONS)
def test_an_arrow_turned_round_is_refused(tmp_path: Path, file: str, line: str, contract: str) -> None:
    path = copied(tmp_path) / file
    with path.open("a") as source:
        source.write(f"\n{line}\n")
    result = lint(tmp_path)
    assert result.returncode != 0
    assert [verdict for verdict in result.stdout.splitlines() if verdict.startswith(contract) and " BROKEN" in verdict], result.stdout


def test_the_house_as_it_stands_keeps_its_contracts(tmp_path: Path) -> None:
    result = lint(copied(tmp_path))
    assert result.returncode == 0, result.stdout
