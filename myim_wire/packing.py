"""Strict msgpack [P-3.9]: what a structured content may be made of. Which fields it must have is not known here (`contents`).

`_scan` walks the bytes before anything is built from them, so a claimed length, a nest of containers or 64 KiB of empty ones
costs a walk and no memory; msgpack itself then sees only what passed. msgpack's own limits cannot do that: they bound each
container, not their sum, and know neither floats nor depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError

MAX_DEPTH = 16
MAX_ITEMS = 4096

# kind of each first byte: how many bytes of length or value follow it, and what they mean
_SCALAR, _STRING, _BINARY, _ARRAY, _MAP, _FORBIDDEN = range(6)
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_SIZED = {
    0xC4: (_BINARY, 1), 0xC5: (_BINARY, 2), 0xC6: (_BINARY, 4), 0xD9: (_STRING, 1), 0xDA: (_STRING, 2), 0xDB: (_STRING, 4),
    0xDC: (_ARRAY, 2), 0xDD: (_ARRAY, 4), 0xDE: (_MAP, 2), 0xDF: (_MAP, 4),
}  # fmt: skip


def _bad(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.BAD_COMMAND, text, field="content")


def _classify(data: bytes, offset: int) -> tuple[int, int, int]:
    """(kind, count, next offset): count is elements for a container, bytes for the rest, which are already passed over."""
    first = data[offset]
    offset += 1
    if first < 0x80 or first >= 0xE0:
        return _SCALAR, 0, offset
    if first < 0x90:
        return _MAP, first & 15, offset
    if first < 0xA0:
        return _ARRAY, first & 15, offset
    if first < 0xC0:
        return _STRING, 0, offset + (first & 31)
    if first in _FIXED:
        return _SCALAR, 0, offset + _FIXED[first]
    if first not in _SIZED:
        return _FORBIDDEN, 0, offset
    kind, width = _SIZED[first]
    count = int.from_bytes(data[offset : offset + width], "big")
    offset += width
    return (kind, count, offset) if kind in (_ARRAY, _MAP) else (kind, 0, offset + count)


def _scan(data: bytes) -> None:
    """Raise unless `data` is exactly one value within the limits; allocates nothing that grows with a claimed length."""
    size = len(data)
    offset = items = 0
    open_containers: list[tuple[bool, int]] = []
    is_map, remaining = False, 1
    while True:
        while not remaining:
            if not open_containers:
                if offset != size:
                    raise _bad("bytes after the value")
                return
            is_map, remaining = open_containers.pop()
        if offset >= size:
            raise _bad("the value is cut off")
        kind, count, offset = _classify(data, offset)
        if offset > size or kind == _FORBIDDEN:
            raise _bad("the value is cut off" if offset > size else "floats and extension types are not allowed")
        if is_map and not remaining & 1 and kind != _STRING:
            raise _bad("keys are strings")
        items += 1
        remaining -= 1
        if kind in (_ARRAY, _MAP):
            elements = count * 2 if kind == _MAP else count
            if items + elements > MAX_ITEMS or len(open_containers) >= MAX_DEPTH:
                raise _bad("too many items or too deep")
            open_containers.append((is_map, remaining))
            is_map, remaining = kind == _MAP, elements
        elif items > MAX_ITEMS:
            raise _bad("too many items")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _bad("a key occurs twice")
    return fields


def unpack_map(data: bytes) -> dict[str, Any]:
    """The map in `data`, values being None, bool, int, str, bytes, list or map; RemoteProtocolError(BAD_COMMAND) otherwise [P-3.9]."""
    _scan(data)
    try:
        value = msgpack.unpackb(data, raw=False, object_pairs_hook=_unique)
    except (ValueError, msgpack.UnpackException):
        raise _bad("not valid msgpack or UTF-8") from None
    if not isinstance(value, dict):
        raise _bad("not a map")
    return value


def pack_map(fields: Mapping[str, object]) -> bytes:
    """`fields` as msgpack; LocalProtocolError(BAD_COMMAND) for what [P-3.9] does not allow."""
    try:
        data: bytes = msgpack.packb(dict(fields), use_bin_type=True, strict_types=True)
        _scan(data)
    except (TypeError, ValueError, OverflowError, RemoteProtocolError) as error:
        raise LocalProtocolError(ErrorCode.BAD_COMMAND, str(error), field="content") from None
    return data


def pack_plain(fields: Mapping[str, object]) -> bytes:
    """The same for fields that are known to keep [P-3.9]: made of integers, truths and strings, not too many, not too deep.

    Without the walk over the outcome, which costs three times what packing does. LocalProtocolError(BAD_COMMAND) for a string that is none.
    """
    try:
        data: bytes = msgpack.packb(fields, use_bin_type=True, strict_types=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise LocalProtocolError(ErrorCode.BAD_COMMAND, str(error), field="content") from None
    return data


def but_empty(fields: Mapping[str, object]) -> dict[str, object]:
    """`fields` without those that are empty, 0 or false, for maps where these are left out."""
    return {name: value for name, value in fields.items() if value}
