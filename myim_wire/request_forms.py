"""The forms that requests told apart by `op` have in common: one that says nothing more, one about a user, one for what follows.

What lives here: what several requests of groups and of friends are made of. What must not: any request itself
(`group_requests`, `friend_requests`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from myim_wire.fields import Fields
from myim_wire.packing import pack_map


def pack_op(op: str, **fields: object) -> bytes:
    """The content of a request: what it is, and its fields but for those that are None."""
    return pack_map({"op": op, **{name: value for name, value in fields.items() if value is not None}})


class Bare:
    """A request that says nothing but what it is."""

    __slots__ = ()
    op: ClassVar[str]

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read from the map."""
        return cls()


@dataclass(frozen=True, slots=True)
class OfUser:
    """A request about one user (id)."""

    op: ClassVar[str]
    user: int

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, user=self.user)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read from the map."""
        return cls(fields.number("user", 64))


@dataclass(frozen=True, slots=True)
class After:
    """A request for a page of what follows `after`, an id."""

    op: ClassVar[str]
    after: int = 0

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, after=self.after)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read from the map."""
        return cls(fields.number("after", 64) if fields.has("after") else 0)
