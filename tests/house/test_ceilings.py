"""Files stay below 400 lines and functions below 60; names say what a thing holds; nothing is left for later."""

import ast
import re

import pytest

from tests.house.tree import ALL, PACKAGES, REPOSITORY, functions, name_of, parsed, python_files

FILE_LINES = 400
FUNCTION_LINES = 60
NO_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "models", "misc", "tools"}
NO_SUFFIXES = re.compile(r"(?<!MeshLink)(Manager|Handler|Helper|Base|Impl|Info|Utils)$")
LEFT_FOR_LATER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|NotImplemented" r"Error)\b")


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in python_files(*ALL)}
    assert {name: length for name, length in lengths.items() if length > FILE_LINES} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    long = {}
    for path in python_files(*ALL):
        for function in functions(parsed(path)):
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            if length > FUNCTION_LINES:
                long[f"{name_of(path)}:{function.lineno} {function.name}"] = length
    assert long == {}


def test_no_module_is_a_drawer_for_anything() -> None:
    assert [name_of(path) for path in python_files(*ALL) if path.stem in NO_NAMES or path.parent.name in NO_NAMES] == []


def test_no_class_is_named_after_nothing() -> None:
    found = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in python_files(*PACKAGES)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef) and NO_SUFFIXES.search(node.name)
    ]
    assert found == []


def test_nothing_is_left_for_later() -> None:
    found = [
        f"{name_of(path)}:{number}"
        for path in python_files(*ALL)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if LEFT_FOR_LATER.search(line)
    ]
    assert found == []


def test_every_script_can_be_run_and_says_what_it_is_for() -> None:
    scripts = sorted((REPOSITORY / "scripts").glob("*.sh"))
    assert scripts
    for script in scripts:
        lines = script.read_text().splitlines()
        assert script.stat().st_mode & 0o111, script.name
        assert lines[0].startswith("#!/") and lines[1].startswith("# "), script.name


@pytest.mark.parametrize("name", ["SessionManager", "FrameHandler", "StoreImpl", "UserInfo"])
def test_the_name_rule_finds(name: str) -> None:
    assert NO_SUFFIXES.search(name)
    assert not NO_SUFFIXES.search("MeshLinkManager")
