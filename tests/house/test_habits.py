"""Tests wait for conditions, not for time; they skip nothing, retry nothing, and patch no module; the packages patch nothing either."""

import ast
from collections.abc import Callable, Iterator

import pytest

from tests.house.tree import PACKAGES, dotted, functions, is_test, name_of, parsed, python_files

Finder = Callable[[ast.Module], Iterator[int]]


def sleeps(tree: ast.Module) -> Iterator[int]:
    """Lines that sleep, but for a bare yield (0) and the one inside `wait_until`."""
    allowed = {id(node) for function in functions(tree) if function.name == "wait_until" for node in ast.walk(function)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or dotted(node.func).split(".")[-1] != "sleep" or id(node) in allowed:
            continue
        if not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0):
            yield node.lineno


def skips(tree: ast.Module) -> Iterator[int]:
    """Lines that skip, expect to fail, or retry."""
    words = {"skip", "skipif", "xfail", "importorskip", "flaky"}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)) and dotted(node).startswith("pytest.") and dotted(node).split(".")[-1] in words:
            yield node.lineno


def patches(tree: ast.Module) -> Iterator[int]:
    """Lines that replace parts of modules: the monkeypatch fixture, unittest.mock."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.arg == "monkeypatch":
            yield node.lineno
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unittest"):
            yield node.lineno
        if isinstance(node, ast.Import) and any(alias.name.startswith("unittest") for alias in node.names):
            yield node.lineno


HABITS: list[tuple[str, Finder, str]] = [
    ("sleep", sleeps, "import time\ntime.sleep(0.1)"),
    ("sleep in a loop", sleeps, "from gevent import sleep\nwhile True:\n    sleep(1)"),
    ("skip", skips, "import pytest\n@pytest.mark.skipif(True, reason='')\ndef test(): ..."),
    ("expected failure", skips, "import pytest\npytest.xfail('later')"),
    ("patch by fixture", patches, "def test(monkeypatch): ..."),
    ("patch by mock", patches, "from unittest import mock"),
]


@pytest.mark.parametrize("finder", [sleeps, skips, patches])
def test_no_test_has_a_bad_habit(finder: Finder) -> None:
    found = [f"{name_of(path)}:{line}" for path in python_files("tests") if is_test(path) for line in finder(parsed(path))]
    assert found == []


@pytest.mark.parametrize(("finder", "code"), [habit[1:] for habit in HABITS], ids=[habit[0] for habit in HABITS])
def test_the_habit_would_be_found(finder: Finder, code: str) -> None:
    assert list(finder(ast.parse(code)))


def test_waiting_and_yielding_are_no_sleeps() -> None:
    assert list(sleeps(ast.parse("def wait_until():\n    time.sleep(0.01)\ngevent.sleep(0)"))) == []


def test_only_the_entry_point_patches_the_standard_library() -> None:
    found = [
        name_of(path)
        for path in python_files(*PACKAGES)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] in ("patch_all", "patch_socket", "patch_thread", "patch_time")
    ]
    assert set(found) <= {"myim_server/__main__.py"}


def test_the_rules_use_neither_gevents_sockets_nor_its_clock() -> None:
    # The import contracts see packages only, and gevent's timers, events and locks are allowed.
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in python_files("myim_server/chat")
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gevent"))
        and ({alias.name for alias in node.names} & {"socket", "time", "ssl"} or (node.module or "").endswith((".socket", ".time", ".ssl")))
    ]
    assert found == []
