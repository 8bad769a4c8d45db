"""Group commit: who is flushed with whom, who gets which result, and what happens when a flush fails."""

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from myim_server.batches import Batch
from myim_server.refusals import RequestRefused
from myim_wire.errors import ErrorCode
from tests.store.mariadb import wait_until


class Flushes:
    """A flush that waits until the test lets it go on, and remembers its groups."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.may_go_on = Event()
        self.may_go_on.set()
        self.fails_with: BaseException | None = None
        self.at_once = 0
        self.most_at_once = 0

    def __call__(self, items: list[int]) -> list[int]:
        self.groups.append(items)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.may_go_on.wait()
            if self.fails_with is not None:
                raise self.fails_with
            return [item * 10 for item in items]
        finally:
            self.at_once -= 1


def batch_of(flushes: Callable[[list[int]], Any], most: int = 100, linger: float = 0.0, **options: Any) -> Batch[int, int]:
    return Batch(flushes, most, linger, gevent.spawn, **options)


def results(batch: Batch[int, int], *items: int) -> list[object]:
    found: dict[int, object] = {}
    for place, item in enumerate(items):
        batch.submit_later(item, lambda outcome, place=place: found.__setitem__(place, outcome))  # type: ignore[misc]
    wait_until(lambda: len(found) == len(items))
    return [found[place] for place in range(len(items))]


def test_a_lone_item_is_flushed_and_its_result_returned() -> None:
    flushes = Flushes()
    assert batch_of(flushes).submit(7) == 70
    assert flushes.groups == [[7]]


def test_items_of_one_turn_go_together_and_each_gets_its_own_result() -> None:
    flushes = Flushes()
    assert results(batch_of(flushes), 1, 2, 3) == [10, 20, 30]
    assert flushes.groups == [[1, 2, 3]]


def test_items_of_one_turn_start_one_greenlet() -> None:
    started: list[Callable[[], None]] = []
    batch: Batch[int, int] = Batch(Flushes(), 100, 0.0, started.append, parallel=4)
    for item in range(10):
        batch.submit_later(item, lambda outcome: None)
    assert len(started) == 1


def test_what_comes_during_a_flush_goes_together_in_the_next() -> None:
    flushes = Flushes()
    flushes.may_go_on.clear()
    batch = batch_of(flushes)
    waiting = [gevent.spawn(batch.submit, 1)]
    gevent.sleep(0)
    gevent.sleep(0)
    waiting += [gevent.spawn(batch.submit, item) for item in (2, 3, 4)]
    gevent.sleep(0)
    assert len(batch) == 3
    flushes.may_go_on.set()
    gevent.joinall(waiting, raise_error=True)
    assert flushes.groups == [[1], [2, 3, 4]]


def test_no_group_is_larger_than_allowed() -> None:
    flushes = Flushes()
    assert results(batch_of(flushes, most=4), *range(10)) == [item * 10 for item in range(10)]
    assert [len(group) for group in flushes.groups] == [4, 4, 2]


def test_a_linger_lets_the_first_wait_for_company() -> None:
    flushes = Flushes()
    batch = batch_of(flushes, linger=0.05)
    first = gevent.spawn(batch.submit, 1)
    gevent.sleep(0)
    assert batch.submit(2) == 20
    assert first.get() == 10
    assert flushes.groups == [[1, 2]]


@pytest.mark.parametrize("parallel", [1, 3])
def test_no_more_flushes_run_at_once_than_allowed(parallel: int) -> None:
    flushes = Flushes()
    flushes.may_go_on.clear()
    batch = batch_of(flushes, parallel=parallel)
    waiting = []
    for item in range(10):
        waiting.append(gevent.spawn(batch.submit, item))
        gevent.sleep(0)
        gevent.sleep(0)
    flushes.may_go_on.set()
    gevent.joinall(waiting, raise_error=True)
    assert flushes.most_at_once == parallel
    assert sorted(item for group in flushes.groups for item in group) == list(range(10))


def test_everybody_in_a_failed_group_gets_the_error_and_the_next_group_is_tried() -> None:
    flushes = Flushes()
    flushes.fails_with = ValueError("broken")
    batch = batch_of(flushes)
    assert [str(outcome) for outcome in results(batch, 1, 2)] == ["broken", "broken"]
    with pytest.raises(ValueError, match="broken"):
        batch.submit(3)
    flushes.fails_with = None
    assert batch.submit(4) == 40


def test_a_flush_that_forgets_a_result_is_an_error_for_all() -> None:
    batch = batch_of(lambda items: [1])
    assert all(isinstance(outcome, RuntimeError) for outcome in results(batch, 1, 2))


def test_over_the_bound_items_are_refused_at_once_and_none_is_forgotten() -> None:
    flushes = Flushes()
    flushes.may_go_on.clear()
    batch = batch_of(flushes, most=2, bound=3)
    waiting = [gevent.spawn(batch.submit, item) for item in (1, 2)]
    gevent.sleep(0)
    gevent.sleep(0)
    waiting += [gevent.spawn(batch.submit, item) for item in (3, 4, 5)]
    gevent.sleep(0)
    with pytest.raises(RequestRefused) as refused:
        batch.submit(6)
    assert refused.value.code is ErrorCode.BUSY
    flushes.may_go_on.set()
    gevent.joinall(waiting, raise_error=True)
    assert [one.value for one in waiting] == [10, 20, 30, 40, 50]


def test_one_listener_that_fails_does_not_harm_the_others() -> None:
    batch = batch_of(Flushes())
    found: list[object] = []

    def broken(outcome: object) -> None:
        raise KeyError(outcome)

    batch.submit_later(1, broken)
    batch.submit_later(2, found.append)
    wait_until(lambda: found)
    assert found == [20]


def test_a_flush_that_is_killed_refuses_its_group_and_the_rest_goes_on() -> None:
    flushes = Flushes()
    flushes.may_go_on.clear()
    greenlets: list[gevent.Greenlet[..., None]] = []

    def spawn(function: Callable[[], None]) -> None:
        greenlets.append(gevent.spawn(function))

    batch: Batch[int, int] = Batch(flushes, 1, 0.0, spawn)
    outcomes: list[object] = []
    batch.submit_later(1, outcomes.append)
    gevent.sleep(0)
    batch.submit_later(2, outcomes.append)
    greenlets[0].kill()
    flushes.may_go_on.set()
    wait_until(lambda: len(outcomes) == 2)
    assert isinstance(outcomes[0], RequestRefused)
    assert outcomes[1] == 20


def test_an_idle_batch_starts_again() -> None:
    flushes = Flushes()
    batch = batch_of(flushes)
    assert [batch.submit(item) for item in range(5)] == [0, 10, 20, 30, 40]
    assert len(flushes.groups) == 5
