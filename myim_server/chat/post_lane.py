"""The order of one session's posts to one group (docs/groups.md, G-11), as a state machine.

What lives here: what is taken, what is refused, and that refusing one refuses all behind it. What must not: clocks, sockets, the store. The
search in tests/model/groups drives this very code.
"""

from __future__ import annotations

from typing import NamedTuple


class Taken(NamedTuple):
    """A post in the hands of its center: time names it, accepted and message_id are this center's, arrived is monotonic seconds."""

    time: int
    body: bytes
    message_id: int
    accepted: int
    arrived: float


class PostLane:
    """What one session posts to one group. `owned`: what was taken and not answered, in its order, by time."""

    __slots__ = ("key", "group", "is_taking", "owned", "size")

    def __init__(self, key: int, group: int) -> None:
        """key = user << 6 | slot of the session's terminal."""
        self.key = key
        self.group = group
        self.is_taking = False
        self.owned: dict[int, Taken] = {}
        self.size = 0  # bytes of what is owned

    def take(self, post: Taken, is_first: bool) -> bool:
        """Take a post behind the others; False: OUT_OF_ORDER, it has to come again behind one with *first*."""
        self.is_taking = self.is_taking or is_first
        if self.is_taking:
            self.owned[post.time] = post
            self.size += len(post.body)
        return self.is_taking

    def is_due(self, post: Taken) -> bool:
        """Whether the store is still to be asked for it: what was refused meanwhile is not."""
        return self.owned.get(post.time) is post

    def answered(self, post: Taken) -> bool:
        """The store has it; whether the sender still waits to hear that."""
        return self.is_due(post) and self._drop(post.time)

    def refused(self, post: Taken) -> list[int]:
        """It is refused, and with it all that was taken behind it: their times, in order; [] if it was refused before."""
        if not self.is_due(post):
            return []
        times = list(self.owned)
        times = times[times.index(post.time) :]
        for time in times:
            self._drop(time)
        self.is_taking = False
        return times

    def _drop(self, time: int) -> bool:
        self.size -= len(self.owned.pop(time).body)
        return True

    def repeats(self, time: int, body: bytes) -> bool | None:
        """None: no such post is owned; else whether it is the same, which gets one answer [P-8.1]."""
        owned = self.owned.get(time)
        return None if owned is None else owned.body == body
