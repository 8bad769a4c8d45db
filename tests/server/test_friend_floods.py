"""What one terminal may change of its friends, and how fast: one change behind the other, and a long list counts for more."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from myim_server.friend_commands import FriendBudgets, FriendCommands
from myim_server.metrics import Metrics
from myim_server.pace import Budgets, Limits, Pace
from myim_server.refusals import RequestRefused
from myim_server.requests import Requests, Talk
from myim_wire.errors import ErrorCode
from myim_wire.friend_requests import Remark
from myim_wire.messages import ERROR, QOS1, REPLY, Command, Message
from tests.server.three_centers import FakeSession

USER, BOB = 7, 9


class Stage:
    """A terminal, and a desk that hashes so many friends for each change."""

    def __init__(self, friends: int = 0) -> None:
        self.spawned: list[Callable[..., Any]] = []
        self.fault: Exception | None = None
        self.made = 0
        self._friends = friends
        metrics, limits = Metrics(), Limits(requests_per_second=100)
        requests = Requests(metrics, self.spawned.append, lambda connection, fault: None)
        budgets = FriendBudgets(Budgets(60), Budgets(60), Budgets(60))
        self.commands = FriendCommands((cast(Any, self), cast(Any, None)), budgets, requests, metrics)
        self.session = FakeSession(USER, 0, 1)
        self.talk = Talk(cast(Any, SimpleNamespace(session=self.session)), None, lambda: b"", Pace(limits))

    def change(self, user: int, slot: int, request: object) -> tuple[bytes, int]:
        """As the desk."""
        self.made += 1
        if self.fault is not None:
            raise self.fault
        return b"done", self._friends

    def ask(self, number: int, now: float = 1000.0) -> None:
        message = Message(Command.FRIEND_CHANGE, QOS1, USER, 0, number << 6, Remark(BOB, "dear").encode())
        self.commands.change(self.talk, message, now)

    def run(self) -> None:
        while self.spawned:
            self.spawned.pop(0)()

    @property
    def answered(self) -> list[int]:
        return [one.time >> 6 for one in self.session.told if one.flags & REPLY]


def test_the_changes_of_one_session_are_made_one_behind_the_other_in_their_order() -> None:
    stage = Stage()
    for number in range(5):
        stage.ask(number)
        assert len(stage.spawned) == 1
    stage.run()
    assert (stage.made, stage.answered) == (5, list(range(5)))
    stage.ask(5)
    stage.run()
    assert stage.answered == list(range(6))


def test_one_that_is_refused_or_fails_does_not_keep_those_behind_it() -> None:
    stage = Stage()
    stage.fault = RequestRefused(ErrorCode.NOT_ALLOWED, "no")
    for number in range(3):
        stage.ask(number)
    stage.run()
    assert stage.made == 3 and all(one.flags & ERROR for one in stage.session.told)
    stage.fault = ZeroDivisionError("a bug")
    stage.ask(3)
    stage.ask(4)
    stage.run()
    assert stage.made == 5 and stage.session.closed_with is ErrorCode.INTERNAL


def test_how_many_wait_is_bounded() -> None:
    stage = Stage()
    for number in range(65):
        stage.ask(number)
    with pytest.raises(RequestRefused) as refused:
        stage.ask(65)
    assert refused.value.code is ErrorCode.SLOW_DOWN
    stage.run()
    assert stage.made == 65


@pytest.mark.parametrize(("friends", "most"), [(0, 200), (499, 200), (5_000, 19)])
def test_a_change_of_a_long_list_counts_for_more(friends: int, most: int) -> None:
    stage = Stage(friends)
    for number in range(200):
        try:
            stage.ask(number)
        except RequestRefused as refusal:
            assert refusal.code is ErrorCode.SLOW_DOWN
            break
        stage.run()
    assert stage.made == most
    stage.ask(999, 1002.0)  # what was too much is worked off
