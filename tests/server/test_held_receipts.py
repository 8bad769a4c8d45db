"""Receipts of who is not to be seen: let go when he may be seen, wherever and whatever happened meanwhile, and not a moment longer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from myim_server.chat.held_receipts import HeldReceipts
from myim_server.refusals import StoreUnavailable

IVAN, ALICE, BOB = 5, 1, 2
A_PAGE = 500


class Table:
    """Receipts that are held, as (user, slot) of whose they are; `during`: what happens while some are released."""

    def __init__(self) -> None:
        self.held: dict[int, list[tuple[int, int]]] = {}
        self.asked: list[set[int]] = []
        self.is_away = False
        self.during: Callable[[], Any] = lambda: None

    def held_for(self, targets: Iterable[int]) -> set[int]:
        self.asked.append(set(targets))
        return {target for target in self.asked[-1] if self.held.get(target)}

    def release(self, target: int, limit: int) -> Sequence[tuple[int, int]]:
        if self.is_away:
            raise StoreUnavailable("away")
        gone, self.held[target] = self.held[target][:limit], self.held[target][limit:]
        self.during()
        return gone


class Scene:
    """Greenlets that run when the test says so."""

    def __init__(self) -> None:
        self.table = Table()
        self.seen: set[int] = set()
        self.told: list[int] = []
        self.due: list[Callable[[], None]] = []
        self.held = HeldReceipts(self.table, self.seen.__contains__, self.told.append, self.spawn)

    def spawn(self, function: Callable[..., None], *arguments: Any) -> None:
        self.due.append(lambda: function(*arguments))

    def run(self) -> None:
        """All that was spawned."""
        while self.due:
            self.due.pop(0)()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_the_sweep_lets_go_what_is_held_for_who_may_be_seen_and_asks_for_nobody_else(scene: Scene) -> None:
    scene.table.held = {IVAN: [(ALICE, 0), (ALICE, 0), (BOB, 3)], BOB: [(ALICE, 0)]}
    scene.seen |= {IVAN, ALICE}
    scene.held.sweep([IVAN, ALICE, BOB])
    scene.run()
    assert scene.table.asked == [{IVAN, ALICE}]
    assert sorted(scene.told) == [ALICE << 6, BOB << 6 | 3]
    assert scene.table.held == {IVAN: [], BOB: [(ALICE, 0)]}


def test_who_hides_again_while_they_are_let_go_keeps_the_rest(scene: Scene) -> None:
    scene.table.held = {IVAN: [(ALICE, 0)] * (A_PAGE + 1)}
    scene.seen.add(IVAN)
    scene.table.during = lambda: scene.seen.discard(IVAN)
    scene.held.release(IVAN)
    scene.run()
    assert (scene.told, len(scene.table.held[IVAN])) == ([ALICE << 6], 1)


def test_who_may_not_be_seen_when_it_begins_keeps_all(scene: Scene) -> None:
    scene.table.held = {IVAN: [(ALICE, 0)]}
    scene.held.release(IVAN)
    scene.run()
    assert (scene.told, scene.table.held) == ([], {IVAN: [(ALICE, 0)]})


def test_what_the_store_does_not_let_go_the_next_sweep_does(scene: Scene) -> None:
    scene.table.held = {IVAN: [(ALICE, 0)] * (A_PAGE + 1)}
    scene.seen.add(IVAN)
    scene.table.is_away = True
    scene.held.release(IVAN)
    scene.run()
    assert scene.told == []
    scene.table.is_away = False
    scene.held.sweep([IVAN])
    scene.run()
    assert (scene.told, scene.table.held[IVAN]) == ([ALICE << 6] * 2, [])


def test_of_one_user_they_are_let_go_once_at_a_time(scene: Scene) -> None:
    scene.table.held = {IVAN: [(ALICE, 0)]}
    scene.seen.add(IVAN)
    scene.held.release(IVAN)
    scene.held.release(IVAN)
    assert len(scene.due) == 1
