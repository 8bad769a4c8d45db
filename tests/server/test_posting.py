"""Posts: numbered in their order, settled after the commit, given to the members (docs/groups.md, G-11, G-12, G-13)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from myim_server.chat.post_lane import PostLane, Taken
from myim_server.chat.posting import Outgoing, Postings
from myim_server.chat.rooms import Rooms
from myim_server.metrics import Metrics
from myim_server.refusals import StoreUnavailable
from myim_server.store.group_values import Post, Posted, PostRefused, Standing
from myim_wire.bodies import split_group_content
from myim_wire.errors import ErrorCode
from myim_wire.group_peer_messages import Post as PeerPost
from myim_wire.messages import decode_messages

GROUP, OTHER, NODE = 7, 8, 77
ALICE, BOB = 1, 2


def _posted(stage: Stage, time: int) -> None:
    stage.post(time)


class Table:
    """A store that numbers, unless it is told otherwise."""

    def __init__(self) -> None:
        self.batches: list[list[Post]] = []
        self.numbers: dict[int, int] = {}
        self.refuses: dict[int, PostRefused | int] = {}  # by time
        self.failures: list[Exception] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def post(self, posts: Sequence[Post]) -> list[Posted | PostRefused]:
        self.batches.append(list(posts))
        self.meanwhile()
        if self.failures:
            raise self.failures.pop(0)
        return [self._one(post) for post in posts]

    def _one(self, post: Post) -> Posted | PostRefused:
        known = self.refuses.get(post.time)
        if isinstance(known, PostRefused):
            return known
        if known is not None:
            return Posted(known, 1, True)
        number = self.numbers[post.group] = self.numbers.get(post.group, 0) + 1
        return Posted(number, 1)


class Stage:
    def __init__(self) -> None:
        self.runs: list[Callable[[], None]] = []
        self.table = Table()
        self.given: list[bytes] = []
        self.rooms = Rooms(lambda user: [self.given.append], lambda group, users, done: None)
        self.rooms.register(BOB, [Standing(GROUP, 1, 0, 0, 0)])
        self.metrics = Metrics()
        self.postings = Postings(NODE, self.table, self.rooms, self._spawn, (100, 0.0), self.metrics)
        self.fanned: list[tuple[int, int, list[int]]] = []
        self.postings.on_fan = self._fan
        self.lanes: dict[tuple[int, int], PostLane] = {}
        self.told: list[tuple[int, str]] = []

    def _spawn(self, run: Callable[[], None]) -> Any:
        self.runs.append(run)

    def _fan(self, sender: tuple[int, int, int, int], group: int, version: int, posts: Sequence[PeerPost]) -> None:
        self.fanned.append((sender[0], group, [post.number for post in posts]))

    def post(self, time: int, user: int = ALICE, group: int = GROUP, is_first: bool = False, arrived: float = 0.0) -> bool:
        lane = self.lanes.setdefault((user, group), PostLane(user << 6, group))
        taken = Taken(time, b"body", time, 5, arrived)
        is_taken = lane.take(taken, is_first)
        if is_taken:
            self.postings.submit(Outgoing(lane, (user, 0, 1, 1), taken, self._answer, self._refuse))
        return is_taken

    def _answer(self, lane: PostLane, time: int, number: int) -> None:
        self.told.append((time, str(number)))

    def _refuse(self, lane: PostLane, times: Sequence[int], code: ErrorCode) -> None:
        self.told += [(time, code.name if place == 0 else "behind") for place, time in enumerate(times)]

    def run(self) -> None:
        while self.runs:
            self.runs.pop(0)()

    @property
    def shown(self) -> list[tuple[int, int]]:
        """(number, time) of what the member was given."""
        messages = decode_messages(b"".join(self.given))
        return [(split_group_content(message.content)[0], message.time) for message in messages]


def test_posts_are_numbered_in_their_order_settled_and_given_to_the_members() -> None:
    stage = Stage()
    for time in (1, 2, 3):
        stage.post(time, is_first=time == 1)
    assert (stage.told, stage.given) == ([], [])
    stage.run()
    assert stage.told == [(1, "1"), (2, "2"), (3, "3")]
    assert stage.shown == [(1, 1), (2, 2), (3, 3)]
    assert len(stage.table.batches) == 1 and stage.postings.unanswered == 0


def test_posts_of_several_groups_share_a_commit_and_go_to_their_own_members() -> None:
    stage = Stage()
    stage.post(1, is_first=True)
    stage.post(2, group=OTHER, is_first=True)
    stage.post(3)
    stage.run()
    assert len(stage.table.batches) == 1
    assert stage.shown == [(1, 1), (2, 3)]
    assert stage.fanned == [(ALICE, GROUP, [1, 2]), (ALICE, OTHER, [1])]


def test_other_centers_are_told_what_each_sender_posted_in_a_row() -> None:
    stage = Stage()
    stage.post(1, is_first=True)
    stage.post(2)
    stage.post(3, user=BOB, is_first=True)
    stage.post(4)
    stage.run()
    assert stage.fanned == [(ALICE, GROUP, [1, 2]), (BOB, GROUP, [3]), (ALICE, GROUP, [4])]


def test_a_repeat_is_told_its_number_and_given_to_nobody() -> None:
    stage = Stage()
    stage.table.refuses[1] = 41
    stage.post(1, is_first=True)
    stage.run()
    assert (stage.told, stage.given, stage.fanned) == ([(1, "41")], [], [])


def test_what_the_store_refuses_is_refused_with_all_behind_it() -> None:
    stage = Stage()
    stage.table.refuses = {2: PostRefused.MUTED, 3: PostRefused.MUTED}
    for time in (1, 2, 3):
        stage.post(time, is_first=time == 1)
    stage.table.meanwhile = partial(_posted, stage, 4)
    stage.run()
    assert stage.told == [(1, "1"), (2, "MUTED"), (3, "behind"), (4, "behind")]
    assert [post.time for batch in stage.table.batches for post in batch] == [1, 2, 3]


def test_a_store_that_fails_refuses_the_batch_and_what_was_taken_behind_it() -> None:
    stage = Stage()
    stage.table.failures = [StoreUnavailable("away")]
    stage.post(1, is_first=True)
    stage.table.meanwhile = partial(_posted, stage, 2)
    stage.run()
    assert stage.told == [(1, "STORE_UNAVAILABLE"), (2, "behind")]
    assert not stage.post(3)


def test_what_waits_too_long_for_the_store_is_refused_and_a_late_commit_changes_nothing() -> None:
    stage = Stage()
    stage.post(1, is_first=True, arrived=0.0)
    stage.post(2, arrived=3.0)
    stage.post(9, user=BOB, is_first=True, arrived=4.0)
    stage.postings.tick(4.9, 5.0)
    assert stage.told == []
    stage.table.meanwhile = lambda: stage.postings.tick(5.0, 5.0)
    stage.run()
    assert stage.told == [(1, "STORE_UNAVAILABLE"), (2, "behind"), (9, "3")]
    assert [number for number, _ in stage.shown] == [1, 2, 3]


def test_a_qos_0_message_reaches_the_members_without_a_number() -> None:
    stage = Stage()
    stage.postings.give_once((ALICE, 0, 1, 1), GROUP, 1, Taken(5, b"psst", 1, 1, 0.0))
    assert stage.shown == [(0, 5)] and stage.fanned == [(ALICE, GROUP, [0])] and stage.table.batches == []
