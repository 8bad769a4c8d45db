"""Structures with one fault each: every field missing, null, of another type or out of its range. Nothing here is a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest

from myim_wire.errors import ErrorCode, RemoteProtocolError

Path = tuple[Any, ...]
Decode = Callable[[bytes], object]
WRONG: list[Any] = [None, -1, 2**64 - 1, "no such thing", b"x", True, [], [1], {}, {"k": 1}]


def field_of(call: Callable[[], object]) -> str | None:
    """The field that the refusal of `call` names."""
    with pytest.raises(RemoteProtocolError) as caught:
        call()
    assert caught.value.code == ErrorCode.BAD_COMMAND
    return caught.value.field


def places(value: Any, path: Path = ()) -> list[Path]:
    """The path of every field in a structure, lists by their first element."""
    found: list[Path] = []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += [(*path, key), *places(inner, (*path, key))]
    elif isinstance(value, list) and value:
        found += places(value[0], (*path, 0))
    return found


def elements(value: Any, path: Path = ()) -> list[Path]:
    """The path of the first element of every list, and of those inside."""
    found: list[Path] = []
    if isinstance(value, list) and value:
        found.append((*path, 0))
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ():
        found += elements(inner, (*path, key))
    return found


def dotted(path: Path) -> str:
    """The path as refusals name it."""
    return ".".join(map(str, path))


def at(value: Any, path: Path) -> Any:
    """What stands there."""
    for step in path:
        value = value[step]
    return value


def changed(content: bytes, path: Path, change: Callable[[Any, Any], None]) -> bytes:
    """The structure with `change(container, key)` done to one of its places."""
    value = msgpack.unpackb(content)
    change(at(value, path[:-1]), path[-1])
    packed: bytes = msgpack.packb(value)
    return packed


def without(content: bytes, path: Path) -> bytes:
    """The structure without that field."""
    return changed(content, path, lambda place, key: place.pop(key))


def put(content: bytes, path: Path, value: Any) -> bytes:
    """The structure with that value in that place."""
    return changed(content, path, lambda place, key: place.__setitem__(key, value))


def wrongly_typed(content: bytes, path: Path) -> Iterator[bytes]:
    """The structure with null, and with each value of another type than the right one, there; for a number also one below 0."""
    right = at(msgpack.unpackb(content), path)
    for wrong in WRONG:
        if type(wrong) is not type(right) or wrong == -1:
            yield put(content, path, wrong)
