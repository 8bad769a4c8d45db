"""What one terminal may ask of groups, and how much: beyond it SLOW_DOWN, and its session ends if it goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from myim_server.chat.group_hall import PAGE_BYTES, PAGE_ROWS
from myim_server.group_commands import GroupCommands, GroupParts
from myim_server.metrics import Metrics
from myim_server.numbering import Numbering
from myim_server.pace import Budgets, Limits, Pace
from myim_server.refusals import RequestRefused, SessionRefused
from myim_server.requests import Requests, Talk
from myim_server.sessions import Outbound, Session
from myim_wire.errors import ErrorCode
from myim_wire.group_requests import Create, Describe, Invite
from myim_wire.messages import ERROR, FIRST, QOS1, Command, Message, decode_error, encode_group_delivery
from tests.server.three_centers import FakeSession

USER, GROUP = 7, 9


class Stage:
    """A terminal, and parts that take what it says and never answer."""

    def __init__(self, limits: Limits, members: int = 0, invites: int = 1_000_000) -> None:
        self.submitted: list[Any] = []
        self.given: list[Any] = []
        self.spawned: list[Callable[..., Any]] = []
        self.metrics = Metrics()
        postings = SimpleNamespace(submit=self.submitted.append, give_once=lambda *what: self.given.append(what))
        hall = SimpleNamespace(rooms=SimpleNamespace(size=lambda group: members))
        desk = SimpleNamespace(answer=lambda *what: b"answer")
        parts = GroupParts(cast(Any, postings), cast(Any, None), cast(Any, hall), cast(Any, desk), cast(Any, self))
        requests = Requests(self.metrics, self.spawned.append, lambda connection, fault: None)
        numbering, of_a_user = Numbering(1, lambda: 1), (limits, Budgets(invites))
        self.commands = GroupCommands(parts, numbering, of_a_user, requests, self.spawned.append, self.metrics)
        self.session = FakeSession(USER, 0, 1)
        self.talk = Talk(cast(Any, SimpleNamespace(session=self.session)), None, lambda: b"", Pace(limits))
        self.named = 0

    def speakers(self, asked: Sequence[tuple[int, int]], now: int) -> Sequence[int | None]:
        return [1] * len(asked)

    def message(self, command: Command, flags: int, group: int, content: bytes) -> Message:
        self.named += 64
        return Message(command, flags, USER, group, self.named, content)

    def post(self, group: int = GROUP, flags: int = QOS1 | FIRST, body: bytes = b"x", now: float = 1000.0) -> None:
        self.commands.post(self.talk, self.message(Command.GROUP_MESSAGE, flags, group, body), now)

    def ask(self, request: Create | Invite | Describe, now: float = 1000.0) -> None:
        self.commands.request(self.talk, self.message(Command.GROUP, QOS1, GROUP, request.encode()), now)

    def run(self) -> None:
        while self.spawned:
            self.spawned.pop(0)()

    @property
    def codes(self) -> list[int]:
        return [decode_error(one.content).code for one in self.session.told if one.flags & ERROR]


def test_who_goes_on_posting_beyond_what_may_be_unsettled_is_sent_away() -> None:
    stage = Stage(Limits(unsettled=10))
    with pytest.raises(SessionRefused):
        for _ in range(300):
            stage.post()
    assert len(stage.submitted) == 10 and set(stage.codes) == {ErrorCode.SLOW_DOWN}


def test_what_is_unsettled_is_counted_over_all_groups_and_no_more_once_it_is_settled() -> None:
    stage = Stage(Limits(unsettled=10))
    for number in range(10):
        stage.post(group=GROUP + number)
    stage.post(group=GROUP + 10)
    assert stage.codes == [ErrorCode.SLOW_DOWN]
    for outgoing in stage.submitted:
        outgoing.lane.answered(outgoing.post)
    stage.post(group=GROUP + 10)
    assert len(stage.submitted) == 11 and len(stage.talk.poster.busy) <= 2


def test_a_qos_0_message_counts_as_many_as_it_is_given_to() -> None:
    stage = Stage(Limits(messages_per_second=10_000), members=1_000)
    for _ in range(60):
        stage.post(flags=0)
    stage.run()
    assert len(stage.given) == 19 and stage.metrics.qos0_dropped == 41


def test_so_many_requests_of_a_terminal_wait_at_a_time() -> None:
    stage = Stage(Limits())
    for _ in range(64):
        stage.ask(Describe())
    with pytest.raises(RequestRefused) as refused:
        stage.ask(Describe())
    assert refused.value.code is ErrorCode.SLOW_DOWN and len(stage.spawned) == 64
    stage.run()
    stage.ask(Describe())
    assert len(stage.spawned) == 1


def test_a_request_about_many_users_counts_for_more_than_one() -> None:
    stage = Stage(Limits(requests_per_second=100))
    taken = 0
    with pytest.raises(RequestRefused):
        for _ in range(60):
            stage.ask(Invite(tuple(range(1, 1001))))
            taken += 1
    assert taken == 3


def test_nobody_is_cut_off_for_the_pages_he_asked_for() -> None:
    id_, body = 1 << 62, bytes(PAGE_BYTES // PAGE_ROWS)
    page = [encode_group_delivery(QOS1, id_, id_, id_, number, 1 << 50, body, (1 << 50,) * 3) for number in range(id_, id_ + PAGE_ROWS)]
    turns: list[Callable[[], None]] = []
    socket = SimpleNamespace(_sock=SimpleNamespace(send=lambda data: min(len(data), 65_536)), send=lambda data: len(data))
    sealer = SimpleNamespace(seal=lambda plaintext: plaintext)
    session = Session((USER, 0, 1), (1, 1), "1", cast(Any, sealer), socket, Outbound(turns.append), (256 << 10, 30.0), lambda: None)
    session.send_many([bytes(1024)] * 128, 128 << 10)  # what was stored for him, as much as may be unconfirmed [P-7.5]
    for _ in range(4):
        session.send_many(page, sum(map(len, page)))
    turns.pop()()
    assert session.closed_with is None


def test_who_invites_all_the_time_is_told_to_slow_down_and_may_ask_other_things() -> None:
    stage = Stage(Limits(), invites=3)
    for _ in range(3):
        stage.ask(Invite((1, 2)))
        stage.run()
    with pytest.raises(RequestRefused) as refused:
        stage.ask(Invite((1,)))
    assert refused.value.code is ErrorCode.SLOW_DOWN and refused.value.retry_ms == 20_001
    stage.ask(Create("without anybody"))
    stage.ask(Describe())
    with pytest.raises(RequestRefused):
        stage.ask(Create("with somebody", invited=(1,)))
    stage.ask(Invite((1,)), now=1021.0)
