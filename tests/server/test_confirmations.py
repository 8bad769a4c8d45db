"""Confirmations are gathered, written together, and kept until they are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from myim_server.chat.confirmations import Confirmations
from myim_server.metrics import Metrics
from myim_server.refusals import StoreUnavailable


class Cursors:
    """A store that fails as often as it is told to; `number` is that of every group."""

    def __init__(self, failures: Sequence[Exception] = (), number: int = 1_000) -> None:
        self.failures = list(failures)
        self.number = number
        self.written: list[list[tuple[int, int, int]]] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def move(self, claims: Sequence[tuple[int, int, int]]) -> list[bool]:
        self.meanwhile()
        if self.failures:
            raise self.failures.pop(0)
        self.written.append(list(claims))
        return [number <= self.number for _, _, number in claims]


class Stage:
    def __init__(self, cursors: Cursors) -> None:
        self.runs: list[Callable[[], None]] = []
        self.slept: list[float] = []
        self.metrics = Metrics()

        def spawn(run: Callable[[], None]) -> Any:
            self.runs.append(run)

        self.confirmations = Confirmations(cursors, spawn, self.slept.append, 0.02, self.metrics)

    def run(self) -> None:
        while self.runs:
            self.runs.pop(0)()


def test_the_newest_of_each_member_is_written_with_those_of_others() -> None:
    cursors = Cursors()
    stage = Stage(cursors)
    stage.confirmations.add(1, [(7, 3), (8, 1)])
    stage.confirmations.add(1, [(7, 5)])
    stage.confirmations.add(1, [(7, 4)])
    stage.confirmations.add(2, [(7, 2)])
    stage.run()
    assert [sorted(claims) for claims in cursors.written] == [[(7, 1, 5), (7, 2, 2), (8, 1, 1)]]
    assert stage.confirmations.touched == {7, 8} and len(stage.confirmations) == 0
    assert stage.metrics.group_confirmations == 3


def test_what_the_store_did_not_take_is_written_later() -> None:
    cursors = Cursors([StoreUnavailable("away"), StoreUnavailable("away")])
    stage = Stage(cursors)
    stage.confirmations.add(1, [(7, 3)])
    stage.run()
    assert cursors.written == [[(7, 1, 3)]] and stage.metrics.store_failures == 2
    assert stage.slept == [0.02, 1.0, 1.0]


def test_a_newer_one_that_comes_while_the_older_is_written_is_written_too() -> None:
    cursors = Cursors()
    stage = Stage(cursors)
    stage.confirmations.add(1, [(7, 3)])
    cursors.meanwhile = lambda: stage.confirmations.add(1, [(7, 4)])
    stage.run()
    assert cursors.written == [[(7, 1, 3)], [(7, 1, 4)]]


def test_what_is_claimed_too_early_does_not_hide_what_is_true() -> None:
    cursors = Cursors(number=5)
    stage = Stage(cursors)
    stage.confirmations.add(1, [(7, 1_000_004)])
    stage.confirmations.add(1, [(7, 4)])
    stage.confirmations.add(2, [(7, 5), (7, 3), (7, 6)])
    cursors.meanwhile = lambda: stage.confirmations.add(3, [(7, 5)])
    stage.run()
    assert cursors.written == [[(7, 1, 1_000_004), (7, 2, 6)], [(7, 1, 4), (7, 2, 5), (7, 3, 5)]]
    assert len(stage.confirmations) == 0 and stage.metrics.group_confirmations == 3


def test_what_one_member_may_claim_at_once_is_bounded() -> None:
    cursors = Cursors(number=0)
    stage = Stage(cursors)
    for number in range(100, 0, -1):
        stage.confirmations.add(1, [(7, number)])
    stage.run()
    assert [claims[0][2] for claims in cursors.written] == list(range(100, 92, -1))


def test_a_fault_is_said_and_does_not_stop_the_next() -> None:
    cursors = Cursors([ValueError("a bug")])
    stage = Stage(cursors)
    stage.confirmations.add(1, [(7, 3)])
    stage.run()
    stage.confirmations.add(1, [(7, 4)])
    stage.run()
    assert cursors.written == [[(7, 1, 4)]]


def test_more_than_one_transaction_holds_are_written_in_several() -> None:
    cursors = Cursors()
    stage = Stage(cursors)
    for user in range(2_500):
        stage.confirmations.add(user, [(7, 1)])
    stage.run()
    assert [len(claims) for claims in cursors.written] == [1_000, 1_000, 500]
