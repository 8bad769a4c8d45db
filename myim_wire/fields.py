"""Reads the fields of a msgpack map, each with its type and range [P-3.9]; what the fields mean is in `contents` and `bodies`.

Missing, null, wrongly typed or out of range is RemoteProtocolError(BAD_COMMAND) that names the field by its path ("servers.0.port").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.packing import unpack_map


class Fields:
    """One map being read; keys nobody asks for are ignored."""

    __slots__ = ("_path", "_values")

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self._values = values
        self._path = path

    @classmethod
    def unpack(cls, content: bytes) -> Fields:
        """The map in `content`, strictly [P-3.9]."""
        return cls(unpack_map(content))

    def _bad(self, name: str) -> RemoteProtocolError:
        path = self._path + name
        return RemoteProtocolError(ErrorCode.BAD_COMMAND, f"{path} is missing, wrongly typed or out of range", field=path)

    def has(self, name: str) -> bool:
        """Whether an optional field is there; a null that is there counts, and is refused when it is read."""
        return name in self._values

    def is_nil(self, name: str) -> bool:
        """Whether the field is there and null, for the few that may be."""
        if name not in self._values:
            raise self._bad(name)
        return self._values[name] is None

    def number(self, name: str, bits: int) -> int:
        """An unsigned integer of at most `bits` bits."""
        value = self._values.get(name)
        if type(value) is not int or not 0 <= value < 1 << bits:
            raise self._bad(name)
        return value

    def text(self, name: str, max_characters: int | None = None) -> str:
        """A string of at most `max_characters`."""
        value = self._values.get(name)
        if type(value) is not str or (max_characters is not None and len(value) > max_characters):
            raise self._bad(name)
        return value

    def text_or_none(self, name: str, max_characters: int) -> str | None:
        """A string of at most `max_characters`, None where it was left out."""
        return self.text(name, max_characters) if name in self._values else None

    def text_or_empty(self, name: str, max_characters: int) -> str:
        """A string of at most `max_characters`, "" where it was left out."""
        return self.text(name, max_characters) if name in self._values else ""

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of `choices`."""
        value = self.text(name)
        if value not in choices:
            raise self._bad(name)
        return value

    def binary(self, name: str, size: int | None = None) -> bytes:
        """Bytes, exactly `size` of them if given."""
        value = self._values.get(name)
        if type(value) is not bytes or (size is not None and len(value) != size):
            raise self._bad(name)
        return value

    def truth(self, name: str) -> bool:
        """A boolean."""
        value = self._values.get(name)
        if type(value) is not bool:
            raise self._bad(name)
        return value

    def map(self, name: str) -> Fields:
        """A map inside the map."""
        value = self._values.get(name)
        if type(value) is not dict:
            raise self._bad(name)
        return Fields(value, f"{self._path}{name}.")

    def maps(self, name: str, max_count: int) -> list[Fields]:
        """A list of at most `max_count` maps."""
        value = self._values.get(name)
        if type(value) is not list or len(value) > max_count:
            raise self._bad(name)
        for index, item in enumerate(value):
            if type(item) is not dict:
                raise self._bad(f"{name}.{index}")
        return [Fields(item, f"{self._path}{name}.{index}.") for index, item in enumerate(value)]

    def numbers(self, name: str, bits: int, max_count: int) -> list[int]:
        """A list of at most `max_count` unsigned integers of at most `bits` bits."""
        values = self._values.get(name)
        if type(values) is not list or len(values) > max_count:
            raise self._bad(name)
        for index, value in enumerate(values):
            if type(value) is not int or not 0 <= value < 1 << bits:
                raise self._bad(f"{name}.{index}")
        return values

    def rows(self, name: str, bits: int, width: int, max_count: int) -> list[list[int]]:
        """A list of at most `max_count` lists of exactly `width` unsigned integers of at most `bits` bits."""
        values = self._values.get(name)
        if type(values) is not list or len(values) > max_count:
            raise self._bad(name)
        for index, row in enumerate(values):
            if type(row) is not list or len(row) != width:
                raise self._bad(f"{name}.{index}")
            for place, value in enumerate(row):
                if type(value) is not int or not 0 <= value < 1 << bits:
                    raise self._bad(f"{name}.{index}.{place}")
        return values
