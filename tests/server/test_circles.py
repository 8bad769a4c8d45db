"""Circles: what the store says of who may see a user and whom he blocks, never older than what was said before."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from myim_server.chat.circles import Circle, Circles
from myim_server.refusals import StoreUnavailable

ALICE, BOB, CAROL = 1, 2, 3


class Table:
    """A store whose answers come when the test says so."""

    def __init__(self) -> None:
        self.blocked: dict[int, set[int]] = {}
        self.reads = 0
        self.is_away = False
        self.during: Callable[[], Any] = lambda: None

    def friends_of(self, asked: Collection[int]) -> Mapping[int, Collection[int]]:
        return {user: {CAROL} for user in asked}

    def of(self, asked: Collection[int]) -> Mapping[int, Collection[int]]:
        self.reads += 1
        if self.is_away:
            raise StoreUnavailable("away")
        answer = {user: set(self.blocked.get(user, ())) for user in asked}
        during, self.during = self.during, lambda: None
        during()  # what happens after the answer was made, and before it comes
        return answer


class Scene:
    """Greenlets that run when the test says so; `news`: what was read, and what was known before."""

    def __init__(self) -> None:
        self.table = Table()
        self.due: list[Callable[[], None]] = []
        self.circles = Circles(self.table, self.table, self.due.append)
        self.news: list[tuple[int, Circle | None, Circle]] = []
        self.circles.on_read = lambda user, before, now: self.news.append((user, before, now))
        self.done: list[Exception | None] = []

    def read(self, user: int = ALICE) -> None:
        self.circles.read(user, self.done.append)

    def run(self) -> None:
        while self.due:
            self.due.pop(0)()


def circle(*blocked: int) -> Circle:
    return Circle(frozenset({CAROL}), frozenset(blocked))


def test_who_blocks_while_his_circle_is_read_has_it_read_again_and_the_older_answer_does_not_stay() -> None:
    scene = Scene()

    def block() -> None:
        scene.table.blocked = {ALICE: {BOB}}
        assert scene.circles.is_asked(ALICE) and not scene.circles.is_known(ALICE)
        scene.read()
        assert len(scene.due) == 0  # not beside the one that runs, which it might overtake

    scene.table.during = block
    scene.read()
    scene.run()
    assert scene.circles.of(ALICE) == circle(BOB)
    assert scene.news == [(ALICE, None, circle()), (ALICE, circle(), circle(BOB))]
    assert (scene.done, scene.table.reads) == ([None, None], 2)


def test_many_who_ask_while_one_read_runs_share_the_next() -> None:
    scene = Scene()
    def ask() -> None:
        for _ in range(5):
            scene.read()

    scene.table.during = ask
    scene.read()
    scene.run()
    assert (scene.done, scene.table.reads) == ([None] * 6, 2)


def test_a_read_that_fails_leaves_what_is_known_and_says_so_to_all_who_wait() -> None:
    scene = Scene()
    scene.table.blocked = {ALICE: {BOB}}
    scene.read()
    scene.run()
    scene.table.is_away = True
    scene.read()
    scene.run()
    assert scene.circles.of(ALICE) == circle(BOB)
    assert scene.done[0] is None and isinstance(scene.done[1], StoreUnavailable)


def test_of_those_who_wait_one_that_fails_takes_nothing_from_the_others() -> None:
    scene = Scene()

    def fail(failure: Exception | None) -> None:
        raise ZeroDivisionError("a bug")

    def ask() -> None:
        scene.circles.read(ALICE, fail)
        scene.read()

    scene.table.during = ask
    scene.read()
    scene.run()
    assert scene.done == [None, None]
