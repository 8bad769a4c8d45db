"""What one message holds of a list: rows are counted, their bytes and their items."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.packing import MAX_ITEMS, pack_map, unpack_map
from myim_wire.pages import PAGE_BYTES, fitting, items_in

SCALARS: st.SearchStrategy[object] = st.none() | st.booleans() | st.integers(0, 2**64 - 1) | st.text(max_size=3) | st.binary(max_size=3)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4))


def items_of(data: bytes) -> int:
    """How many items an unpacker meets."""
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(data)

    def count() -> int:
        first = data[unpacker.tell()]
        if first & 0xF0 == 0x80 or first in (0xDE, 0xDF):
            return 1 + sum(count() + count() for _ in range(unpacker.read_map_header()))
        if first & 0xF0 == 0x90 or first in (0xDC, 0xDD):
            return 1 + sum(count() for _ in range(unpacker.read_array_header()))
        unpacker.skip()
        return 1

    return count()


@given(VALUES)
def test_items_are_counted_as_the_protocol_does(value: object) -> None:
    assert items_in(value) == items_of(msgpack.packb(value, use_bin_type=True))


def cut(rows: list[dict[str, Any]], most: int) -> tuple[tuple[dict[str, Any], ...], bool]:
    return fitting(rows, most, lambda row: row)


@pytest.mark.parametrize(("row", "fitted"), [
    ({"a": 1}, 1000), ({"a": b"x" * 994}, 64), ({"a": [1] * 97}, 40), ({"a": b"x" * PAGE_BYTES}, 0),
])  # fmt: skip
def test_rows_are_cut_at_their_count_their_bytes_or_their_items(row: dict[str, Any], fitted: int) -> None:
    rows, is_more = cut([row] * 2000, 1000)
    assert len(rows) == fitted and is_more
    unpack_map(pack_map({"rows": list(rows), "version": 1, "is_more": is_more}))


def test_rows_that_all_fit_are_all_and_none_are_none() -> None:
    assert cut([{"a": 1}] * 3, 3) == (({"a": 1},) * 3, False) and cut([], 3) == ((), False)
    assert cut([{"a": 1}] * 4, 3)[1] and MAX_ITEMS > 4000
