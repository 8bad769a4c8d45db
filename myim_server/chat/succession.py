"""The order of pushes: those of a group from several centers are given to its room in the order of their numbers, as far as they come soon.

What lives here: what is held back for which number, and for how long. What must not: who is given it (`rooms`), SQL, sockets, clocks.

Centers that post to one group commit one after another, but their pushes travel on ways of their own: a center's own next number is here
before the other's one below it. Every terminal that is given it drops it and fetches (docs/groups.md, G-16), which costs ten times as much
as the push; of 1,000 members on two busy centers more than two fetched for each post. So a number waits a moment for the one below it. A
push stays a hint: what does not come in time is not waited for, and the terminals fetch.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from functools import partial
from typing import Any

from myim_server.chat.rooms import Push, Rooms

HELD_SECONDS = 0.25
_HELD = 64  # pushes of one group; beyond it something was lost
_HELD_BYTES = 16 << 20  # of all groups


class _Line:
    """One group's: the highest number that was given, and what waits behind a gap, ascending; `round`: which waiting the timer is for."""

    __slots__ = ("given", "held", "round")

    def __init__(self, given: int) -> None:
        self.given = given
        self.held: list[tuple[int, Push]] = []
        self.round = 0


class Succession:
    """Gives pushes to rooms in their order. Nothing here yields."""

    def __init__(self, rooms: Rooms, later: Callable[[float, Callable[[], None]], Any]) -> None:
        """later(seconds, f) calls f after so many seconds."""
        self._rooms = rooms
        self._later = later
        self._lines: dict[int, _Line] = {}
        self._bytes = 0
        rooms.on_last = self._forget

    def __contains__(self, group: object) -> bool:
        return group in self._rooms

    def push(self, push: Push) -> None:
        """Give it to the room of its group, now or when what is below it was given."""
        first, last = push.parts[0][0], push.parts[-1][0]
        line = self._lines.get(push.group)
        if line is None or not last:
            self._rooms.push(push)
            if last and push.group in self._rooms:
                self._lines[push.group] = _Line(last)
        elif first <= line.given + 1:
            self._give(line, push)
            while line.held and line.held[0][0] <= line.given + 1:
                self._give(line, self._take(line))
            line.round += not line.held
        else:
            self._hold(line, first, push)

    def _give(self, line: _Line, push: Push) -> None:
        line.given = max(line.given, push.parts[-1][0])
        self._rooms.push(push)

    def _hold(self, line: _Line, first: int, push: Push) -> None:
        if not line.held:
            line.round += 1
            self._later(HELD_SECONDS, partial(self._release, push.group, line, line.round))
        insort(line.held, (first, push), key=lambda one: one[0])
        self._bytes += _size(push)
        if len(line.held) > _HELD or self._bytes > _HELD_BYTES:
            self._release(push.group, line, line.round)

    def _take(self, line: _Line) -> Push:
        push = line.held.pop(0)[1]
        self._bytes -= _size(push)
        return push

    def _release(self, group: int, line: _Line, held_in: int) -> None:
        """Whoever waits for what did not come need not do so any longer."""
        if line.round == held_in and self._lines.get(group) is line:
            line.round += 1
            while line.held:
                self._give(line, self._take(line))

    def _forget(self, group: int) -> None:
        """Its last member left; what comes when there is one again may be far above."""
        line = self._lines.pop(group, None)
        while line is not None and line.held:
            self._take(line)


def _size(push: Push) -> int:
    return sum(len(message) for _, message in push.parts)
