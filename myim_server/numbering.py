"""Message ids and accepted times of a center. What lives here: their one rule. What must not: clocks; the wall is handed in."""

from __future__ import annotations

from collections.abc import Callable


class Numbering:
    """Message ids and accepted times of this center: ids never repeat, over restarts neither; accepted times never fall."""

    __slots__ = ("_next_id", "_accepted", "_wall")

    def __init__(self, boot: int, wall: Callable[[], int]) -> None:
        """boot: the how-many-th start of this node; wall: microseconds since 1970."""
        self._next_id = boot << 40
        self._accepted = 0
        self._wall = wall

    def take(self, count: int) -> tuple[int, int]:
        """(first message id, first accepted time) of `count` consecutive ones."""
        first_id = self._next_id + 1
        self._next_id += count
        accepted = max(self._wall(), self._accepted + 1)
        self._accepted = accepted + count
        return first_id, accepted
