"""A small world for one group's numbers: a store, a wire that loses, doubles and delays, and a terminal that is killed.

It checks each number that is handed out and each that is confirmed against what the store had and what the fetches said is gone.
"""

from __future__ import annotations

import random

from myim_client.group_arrivals import Bounds, GroupArrivals
from myim_wire.group_contents import Standing

TEAM = 9

# what happens often stands here several times
ACTIONS = (
    *["post"] * 4, *["push"] * 5, *["serve"] * 4, *["deliver"] * 8, *["finish"] * 2, *["finish one"] * 2,
    "lose", "double", "late", "expire", "commit", "session", "crash", "rejoin",
)  # fmt: skip


def standing(number: int, cursor: int = 0, joined: int = 0, group: int = TEAM) -> Standing:
    return Standing(group, 1, number, cursor, joined)


class World:
    """A store, a wire that loses and doubles pushes, and a terminal that is killed; what is handed out or confirmed is checked."""

    def __init__(self, chance: random.Random, kind: type[GroupArrivals[int]] = GroupArrivals) -> None:
        self.chance = chance
        self.kind = kind
        self.number = self.joined = self.cursor = 0
        self.began = 0  # a terminal without a position begins at the cursor
        self.rows: set[int] = set()
        self.pushes: list[int] = []
        self.wire: list[tuple[str, tuple[int, ...]]] = []
        self.asked: list[tuple[int, int]] = []
        self.positions: dict[int, int] = {}
        self.beyond: set[int] = set()
        self.unkept: dict[int, int] = {}
        self.shown: set[int] = set()
        self.gone: set[int] = set()  # what a fetch's end said is gone
        self.crash()

    def crash(self) -> None:
        """The process is killed: what was not committed is lost."""
        self.unkept.clear()
        known = [(group, position, True) for group, position in self.positions.items()]
        bounds = Bounds(fetches=1, early=self.chance.randint(1, 4), waiting=self.chance.randint(1, 4))
        self.arrivals = self.kind(known, [(TEAM, number) for number in self.beyond], bounds)
        self.hand: list[int] = []
        self.last = self.positions.get(TEAM, 0)
        self.session()

    def session(self) -> None:
        self.wire.clear()
        self.asked.clear()
        self.pushes.clear()
        is_new = TEAM not in self.positions and not self.arrivals.is_member(TEAM)
        self.arrivals.restart()
        self.tell()
        assert self.arrivals.all_told() == []
        if is_new:
            self.last = self.began = self.arrivals.position(TEAM)

    def tell(self) -> None:
        self.arrivals.told(standing(self.number, self.cursor, self.joined))
        self.take_moved()

    def take_moved(self) -> None:
        self.unkept.update(self.arrivals.take_moved())

    def commit(self) -> None:
        """What was put off is in the file; a position there never falls."""
        for group, position in self.unkept.items():
            self.positions[group] = max(position, self.positions.get(group, 0))
            self.beyond = {number for number in self.beyond if number > position}
        self.unkept.clear()

    def post(self) -> None:
        self.number += 1
        self.rows.add(self.number)
        self.pushes.append(self.number)

    def serve(self) -> None:
        """The store answers the oldest fetch; the page holds at most three rows."""
        if self.asked:
            after, serial = self.asked.pop(0)
            rows = sorted(row for row in self.rows if row > max(after, self.joined))
            page = rows[:3]
            up_to = self.number if len(page) == len(rows) else page[-1]
            self.wire += [("row", (row,)) for row in page]
            self.wire.append(("end", (serial, up_to, self.number, after, *page)))

    def deliver(self) -> None:
        if self.wire:
            kind, values = self.wire.pop(0)
            if kind == "row":
                self.handed(self.arrivals.arrived(TEAM, values[0], values[0], 1, 0.0))
            else:
                serial, up_to, number, after, *page = values
                self.gone |= set(range(after + 1, up_to + 1)) - set(page)
                self.handed(self.arrivals.fetched(TEAM, serial, up_to, number, 0.0))
        self.take_moved()

    def push(self) -> None:
        if self.pushes:
            self.wire.append(("row", (self.pushes.pop(0),)))

    def handed(self, numbers: list[int]) -> None:
        for number in numbers:
            assert number > self.last, "not ascending"
            assert number not in self.shown, "shown twice"
            skipped = set(range(self.last + 1, number)) - self.gone - self.shown
            assert all(one <= self.joined for one in skipped), f"{skipped} passed over"
            self.last = number
            self.hand.append(number)

    def finish(self, numbers: list[int]) -> None:
        """The application's transaction: positions and what was done beyond them are flushed with it."""
        for number in numbers:
            self.hand.remove(number)
        for move in (moves := self.arrivals.plan([(TEAM, number) for number in numbers])):
            self.positions[TEAM] = max(move.position, self.positions.get(TEAM, 0))
            self.beyond |= set(move.done)
            self.beyond = {number for number in self.beyond if number > move.position}
        self.commit()
        self.shown |= set(numbers)
        self.arrivals.moved(moves)

    def confirm(self) -> None:
        for _, position in self.arrivals.confirmations(0.0, is_at_once=True):
            missing = {row for row in self.wanted() if row <= position} - self.shown
            assert position <= self.number and not missing, f"{missing} confirmed unshown"
            self.cursor = max(self.cursor, position)

    def wanted(self) -> set[int]:
        """What the store has for this terminal, and no fetch said is gone."""
        return {row for row in self.rows if row > max(self.joined, self.began)} - self.gone

    def act(self, action: str) -> None:
        if action == "lose" and self.pushes:
            self.pushes.pop(0)
        elif action == "double" and self.pushes:
            self.pushes.insert(0, self.pushes[0])
        elif action == "late" and self.pushes:
            self.pushes.append(self.pushes.pop(0))
        elif action == "expire" and self.rows:
            self.rows.discard(self.chance.choice(sorted(self.rows)))
        elif action == "finish":
            self.finish(self.hand[: self.chance.randint(0, 3)])
        elif action == "finish one" and self.hand:
            self.finish([self.chance.choice(self.hand)])
        elif action == "rejoin" and self.chance.random() < 0.3:
            self.joined = self.cursor = self.number
            if self.chance.random() < 0.5:
                self.arrivals.left(TEAM)
            self.tell()
        elif action in ("post", "push", "serve", "deliver", "commit", "session", "crash"):
            getattr(self, action)()
        self.asked += [(fetch.after, fetch.serial) for fetch in self.arrivals.fetches(1e9)]
        self.confirm()


def run(world: World, actions: list[str]) -> None:
    """All that is to be done, and then what a quiet time brings."""
    for action in actions:
        world.act(action)
    world.session()
    for _ in range(3 * world.number + 20):
        for action in ("serve", *["deliver"] * 6, "finish"):
            world.act(action)
    assert world.arrivals.position(TEAM) == world.number, "something is not confirmed"
    assert world.wanted() <= world.shown, "something is not shown"
