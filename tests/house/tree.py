"""What the house tests look at: the repository's own Python files, parsed once. No rules here."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("myim_wire", "cluster", "myim_server", "myim_client")
ALL = (*PACKAGES, "bench", "tests")


@functools.cache
def python_files(*directories: str) -> tuple[Path, ...]:
    """Every .py file below the directories that exist, sorted."""
    return tuple(sorted(path for name in directories for path in (REPOSITORY / name).rglob("*.py") if "__pycache__" not in path.parts))


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path) -> str:
    """The path as it is written in the repository."""
    return path.relative_to(REPOSITORY).as_posix()


def is_test(path: Path) -> bool:
    """Whether pytest collects the file, conftest included."""
    return path.name.startswith("test_") or path.name == "conftest.py"


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    """All functions and methods, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def dotted(node: ast.expr) -> str:
    """`a.b.c` for a name or attribute, else nothing."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return ""
