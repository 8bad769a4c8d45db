"""All lanes that a center owns, by sender terminal and target.

What lives here: the table of `lane.Lane`, and what concerns several of them. What must not: the rules of one lane, clocks, sockets.
"""

from __future__ import annotations

from collections.abc import Iterator

from myim_server.chat.lane import Action, Lane, Patience


class Lanes:
    """All lanes a center owns, by sender terminal and target."""

    __slots__ = ("patience", "terminals", "_last_attempt")

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.terminals: dict[int, dict[int, Lane]] = {}
        self._last_attempt = 0

    def of_terminal(self, user: int, slot: int) -> dict[int, Lane]:
        """The lanes of one sender terminal by target; the dict stays the terminal's own as long as it has a session."""
        return self.terminals.setdefault(user << 6 | slot, {})

    def lane(self, user: int, slot: int, target: int) -> Lane:
        """The lane, made if it is new."""
        lanes = self.of_terminal(user, slot)
        lane = lanes.get(target)
        if lane is None:
            self._last_attempt += 1 << 24  # a lane that was dropped and made anew must not meet answers to its past
            lane = lanes[target] = Lane(user, slot, target, self.patience, self._last_attempt)
        return lane

    def get(self, user: int, slot: int, target: int) -> Lane | None:
        """The lane if there is one."""
        lanes = self.terminals.get(user << 6 | slot)
        return None if lanes is None else lanes.get(target)

    def __iter__(self) -> Iterator[Lane]:
        for lanes in list(self.terminals.values()):
            yield from list(lanes.values())

    def sender_moved(self, user: int, slot: int, now: float) -> list[Action]:
        """A new session of this terminal was seen, here or elsewhere."""
        lanes = self.terminals.get(user << 6 | slot)
        return [] if not lanes else [action for lane in list(lanes.values()) for action in lane.sender_moved(now)]

    def towards(self, center: int) -> list[Lane]:
        """Lanes whose last way led to this center."""
        return [lane for lanes in self.terminals.values() for lane in lanes.values() if lane.center == center]

    def forget_idle(self, user: int, slot: int, now: float) -> list[Action]:
        """The terminal has no session here any more: drop its idle lanes; the others are dropped when they have settled."""
        lanes = self.terminals.get(user << 6 | slot)
        if lanes is None:
            return []
        actions: list[Action] = []
        for target, lane in list(lanes.items()):
            if lane.is_idle:
                actions += lane.sender_moved(now)
                del lanes[target]
        if not lanes:
            del self.terminals[user << 6 | slot]
        return actions
