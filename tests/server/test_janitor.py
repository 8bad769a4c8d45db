"""The walks over everybody: in pieces, past faults, and to whom they matter."""

from collections.abc import Sequence
from typing import Any, cast

import gevent
import pytest

from cluster.memory_directory import MemoryDirectory
from myim_server.chat.inbox import Action as TargetAction
from myim_server.chat.inbox import Inbox, Window
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.janitor import Janitor
from myim_server.chat.lane import Action, Lane, Letter, Patience
from myim_server.chat.lanes import Lanes
from myim_server.chat.party import Party
from myim_server.chat.router import Router, Surroundings
from myim_server.chat.shelf import Shelf, ShelfLimits
from myim_server.metrics import Metrics
from myim_server.sessions import Sessions
from tests.server.test_shelf import Offline

EVERYBODY = 2000


class Receipts:
    """A store without receipts."""

    def page(self, user_id: int, slot: int, limit: int) -> Sequence[tuple[int, int]]:
        return []

    def drop(self, user_id: int, slot: int, pairs: Sequence[tuple[int, int]]) -> None:
        raise AssertionError("there are none")

    def users_with_receipts(self, user_ids: Sequence[int]) -> set[int]:
        return set()


class Turns:
    """How often others had their turn."""

    def __init__(self) -> None:
        self.count = 0
        self._greenlet = gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            self.count += 1
            gevent.sleep(0)

    def stop(self) -> int:
        self._greenlet.kill()
        return self.count


@pytest.fixture
def around() -> Surroundings:
    shelf = Shelf(Offline(), 7, ShelfLimits(), gevent.spawn)
    return Surroundings(7, lambda: 100.0, gevent.spawn, Sessions(16), MemoryDirectory(), shelf, Receipts(), Metrics())


@pytest.fixture
def router(around: Surroundings) -> Router:
    return Router(around, Lanes(Patience()), Inboxes(), Window())


class NotedLane(Lane):
    """A lane that waits, and notes its ticks."""

    def __init__(self, user: int, fault: Exception | None = None) -> None:
        super().__init__(user, 0, 1, Patience())
        self.queue = {64: Letter(64, b"", 1, 1, 0.0)}
        self.ticks = 0
        self._fault = fault

    def tick(self, now: float) -> list[Action]:
        self.ticks += 1
        if self._fault:
            raise self._fault
        return []


class NotedInbox(Inbox):
    """An inbox that notes how often it is looked after."""

    def __init__(self, user: int) -> None:
        super().__init__(user, 0, Window())
        self.sweeps = 0

    def retry_confirm(self) -> list[TargetAction]:
        self.sweeps += 1
        return []


def test_time_outs_of_many_are_looked_for_in_pieces(router: Router, around: Surroundings) -> None:
    lanes = [NotedLane(user) for user in range(1, EVERYBODY + 1)]
    router.busy_lanes.update(dict.fromkeys(lanes))
    turns = Turns()
    Janitor(router, around).tick()
    assert turns.stop() >= 4
    assert all(lane.ticks == 1 for lane in lanes)


def test_many_are_swept_in_pieces(router: Router, around: Surroundings) -> None:
    inboxes = [NotedInbox(user) for user in range(1, EVERYBODY + 1)]
    for inbox in inboxes:
        router.inboxes.add(inbox)
        router.parties[inbox.user << 6] = Party(cast(Any, None), inbox, cast(Any, None), {}, cast(Any, None))
    turns = Turns()
    Janitor(router, around).sweep()
    assert turns.stop() >= 4
    assert all(inbox.sweeps == 1 for inbox in inboxes)


def test_a_fault_in_one_lane_is_said_once_and_the_others_have_their_time_outs(
    router: Router, around: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    unlucky, witness = NotedLane(1, ZeroDivisionError("a bug")), NotedLane(2)
    router.lanes.of_terminal(1, 0)[1] = unlucky
    router.busy_lanes.update(dict.fromkeys([unlucky, witness]))
    janitor = Janitor(router, around)
    for _ in range(3):
        janitor.tick()
    assert (unlucky.ticks, witness.ticks) == (1, 3)
    assert router.lanes.get(1, 0, 1) is None
    assert capsys.readouterr().out.count("tick_fault") == 1


def test_a_center_that_slept_hears_first_what_came_meanwhile(router: Router, around: Surroundings) -> None:
    times = iter([100.0, 100.25, 110.0, 110.25])
    lane = NotedLane(1)
    router.busy_lanes[lane] = None
    janitor = Janitor(router, around._replace(now=lambda: next(times)))
    ticks = []
    for _ in range(3):
        janitor.tick()
        ticks.append(lane.ticks)
    assert ticks == [1, 1, 2]
