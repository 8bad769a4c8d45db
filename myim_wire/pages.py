"""How much of a list one message holds: at most so many rows, 64,000 bytes and 4,000 items of msgpack [P-3.9].

What lives here: cutting, by what is packed. What must not: what the rows are (`group_contents`, `friend_contents`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from myim_wire.packing import MAX_ITEMS, pack_map

PAGE_BYTES = 64_000  # of rows in a page, so that it fits a message with all around it
PAGE_ITEMS = MAX_ITEMS - 96

Row = TypeVar("Row")


def fitting(rows: Iterable[Row], max_count: int, to_map: Callable[[Row], Mapping[str, object]]) -> tuple[tuple[Row, ...], bool]:
    """(the first of `rows`, which one message holds; whether that is not all)."""
    fitted: list[Row] = []
    room, items = PAGE_BYTES, PAGE_ITEMS
    for row in rows:
        packed = to_map(row)
        room -= len(pack_map(packed))
        items -= items_in(packed)
        if room < 0 or items < 0 or len(fitted) == max_count:
            return tuple(fitted), True
        fitted.append(row)
    return tuple(fitted), False


def items_in(value: object) -> int:
    """How many items of msgpack a value is: every key, value and container counts one."""
    if isinstance(value, Mapping):
        return 1 + len(value) + sum(map(items_in, value.values()))
    if isinstance(value, (list, tuple)):
        return 1 + sum(map(items_in, value))
    return 1
