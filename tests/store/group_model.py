"""What the store of groups must do, as simply as it can be said, and a machine that does the same to both and compares (P9 to P11).

The model knows sets: whom a row waits for, who has confirmed it. The store has only counts, so a count that is right by accident is not
right for long.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from myim_server.store.engine import Store
from myim_server.store.group_changes import Added, Dissolved, Removed
from myim_server.store.group_cursors import GroupCursors
from myim_server.store.group_posts import GroupPosts
from myim_server.store.group_purge import DAY, GroupPurge
from myim_server.store.group_values import Post, Posted, PostRefused
from tests.store.groups import ask
from tests.store.messages import T0, time_of


class Parts(NamedTuple):
    """What is put to the test; any of them may be a broken twin."""

    store: Store
    posts: GroupPosts
    cursors: GroupCursors
    purge: GroupPurge

    @classmethod
    def of(cls, store: Store) -> "Parts":
        return cls(store, store.group_posts, store.group_cursors, store.group_purge)


@dataclass
class ModelRow:
    user: int
    time: int
    body: bytes
    accepted: int
    waited_for: set[int]
    confirmed: set[int] = field(default_factory=set)


@dataclass
class ModelGroup:
    """`members`: {user: (cursor, joined)}; `names`: {(user, time): (number, body, accepted)}."""

    id: int
    number: int = 0
    members: dict[int, tuple[int, int]] = field(default_factory=dict)
    rows: dict[int, ModelRow] = field(default_factory=dict)
    names: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def post(self, post: Post) -> tuple[int, bool] | PostRefused:
        known = self.names.get((post.user, post.time))
        if known is not None:
            row = self.rows.get(known[0])
            return PostRefused.CONFLICT if row is not None and row.body != post.body else (known[0], True)
        if post.user not in self.members:
            return PostRefused.NOT_MEMBER
        self.number += 1
        self.names[post.user, post.time] = (self.number, post.accepted)
        self.rows[self.number] = ModelRow(post.user, post.time, post.body, post.accepted, set(self.members))
        return self.number, False

    def claim(self, user: int, number: int) -> bool:
        cursor, joined = self.members.get(user, (0, 0))
        if user not in self.members or not cursor < number <= self.number:
            return False
        for passed in range(cursor + 1, number + 1):
            if passed in self.rows:
                self.rows[passed].confirmed.add(user)
        self.members[user] = (number, joined)
        return True

    def leave(self, user: int) -> None:
        cursor, _ = self.members.pop(user)
        for number, row in self.rows.items():
            if number > cursor:
                row.waited_for.discard(user)

    def remove(self, limit: int, too_old: int) -> int:
        removed = 0
        for number in sorted(self.rows):
            row = self.rows[number]
            if removed == limit or not (row.waited_for <= row.confirmed or row.accepted < too_old):
                break
            del self.rows[number]
            removed += 1
        return removed


ONE = st.sampled_from((0, 0, 0, 1))
WHO = st.integers(0, 3)
POSTS = st.lists(st.tuples(ONE, WHO, st.integers(0, 20), ONE), min_size=1, max_size=8)
# (group, who, how far from the group's number, how often)
CLAIMS = st.lists(st.tuples(ONE, WHO, st.sampled_from((0, 0, -1, -2, -5, 1, 99)), st.integers(1, 3)), min_size=1, max_size=6)


class Machine(RuleBasedStateMachine):
    """Two groups and four users; `parts` and `users` come from the subclass that a test makes."""

    parts: Parts
    users: Sequence[int]
    made = 0

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.groups: list[ModelGroup] = []

    def new_group(self) -> ModelGroup:
        type(self).made += 1
        group, is_new = self.parts.store.groups.create(self.users[0], time_of(self.made), "g", "", "open", (), self.now)
        assert is_new
        return ModelGroup(group.id, members={self.users[0]: (0, 0)})

    @initialize(first=POSTS)
    def begin(self, first: list[tuple[int, int, int, int]]) -> None:
        self.groups = [self.new_group(), self.new_group()]
        for who in (1, 2):
            self.come_or_go(0, who, 1)
        self.post(first)

    @rule(at=ONE, who=WHO, chance=st.integers(0, 15))
    def come_or_go(self, at: int, who: int, chance: int) -> None:
        if chance == 0:
            self.dissolve(at)
            return
        group, user = self.groups[at], self.users[who]
        one = Removed(user) if user in group.members else Added(user, "member")
        assert self.parts.store.groups.change(group.id, [user], lambda view: [one], self.now) is not None
        if isinstance(one, Removed):
            group.leave(user)
        else:
            group.members[user] = (group.number, group.number)

    @rule(wanted=POSTS)
    def post(self, wanted: list[tuple[int, int, int, int]]) -> None:
        posts = [
            Post(self.groups[at].id, self.users[who], time_of(number, number % 2), b"%d" % (number * (1 - twist)), 7, number, self.now)
            for at, who, number, twist in wanted
        ]
        outcomes = [
            (outcome.number, outcome.is_repeat) if isinstance(outcome, Posted) else outcome for outcome in self.parts.posts.post(posts)
        ]
        shut = set()
        for (at, *_), one, outcome in zip(wanted, posts, outcomes, strict=True):
            lane = (one.group, one.user, one.time & 63)
            is_behind = lane in shut and (one.user, one.time) not in self.groups[at].names
            expected = PostRefused.NOT_MEMBER if is_behind else self.groups[at].post(one)
            assert outcome == expected
            if outcome is PostRefused.NOT_MEMBER:
                shut.add(lane)

    @rule(wanted=CLAIMS)
    def claim(self, wanted: list[tuple[int, int, int, int]]) -> None:
        claims = [
            (self.groups[at].id, self.users[who], max(0, self.groups[at].number + distance))
            for at, who, distance, times in wanted
            for _ in range(times)
        ]
        ids = {group.id: group for group in self.groups}
        assert self.parts.cursors.move(claims) == [ids[group].claim(user, number) for group, user, number in claims]

    @rule(limit=st.integers(1, 9), at=ONE)
    def remove_done(self, limit: int, at: int) -> None:
        assert self.parts.purge.done([self.groups[at].id], limit)[0] == self.groups[at].remove(limit, 0)

    @rule(days=st.sampled_from((0, 0, 1, 9, 31)))
    def walk(self, days: int) -> None:
        self.now += days * DAY
        rows = self.parts.purge.walk(0, 1000, 1000, self.now)[0]
        assert rows >= sum(group.remove(1000, self.now - 30 * DAY) for group in self.groups)
        self.parts.purge.names(self.now, 1000)
        for group in self.groups:
            group.names = {name: known for name, known in group.names.items() if known[1] >= self.now - 8 * DAY}

    @rule(at=ONE, who=WHO, after=st.integers(0, 20), most=st.integers(1, 9))
    def fetch(self, at: int, who: int, after: int, most: int) -> None:
        self.read(self.groups[at], self.users[who], after, most)

    def read(self, group: ModelGroup, user: int, after: int, most: int) -> None:
        page = self.parts.posts.page(group.id, user, after, most, 1 << 20)
        if user not in group.members:
            assert page is None
            return
        wanted = [number for number in sorted(group.rows) if number > max(after, group.members[user][1])]
        assert page is not None
        assert [(row.number, row.user, row.time, row.body) for row in page[0]] == [
            (number, group.rows[number].user, group.rows[number].time, group.rows[number].body) for number in wanted[:most]
        ]
        assert page[1:] == (group.number if len(wanted) <= most else wanted[most - 1], group.number)

    def dissolve(self, at: int) -> None:
        assert self.parts.store.groups.change(self.groups[at].id, [], lambda view: [Dissolved()], self.now) is not None
        self.groups[at] = self.new_group()

    @invariant()
    def tables_are_as_the_model_says(self) -> None:
        for group in self.groups:
            expected: list[tuple[Any, ...]] = sorted((user, *place) for user, place in group.members.items())
            here = f"WHERE chat_group={group.id}"
            assert ask(self.parts.store, f"SELECT user,cursor_number,joined FROM group_members {here} ORDER BY user") == expected
            expected = [(number, len(row.waited_for), len(row.confirmed)) for number, row in sorted(group.rows.items())]
            assert ask(self.parts.store, f"SELECT number,members,sent FROM group_messages {here} ORDER BY number") == expected
            assert self.parts.store.groups.numbers([group.id])[group.id][0] == group.number
        for user in self.users:
            self.read(self.groups[0], user, 0, 1000)

    def teardown(self) -> None:
        """What everybody has confirmed is gone in the end (P10)."""
        for group in self.groups:
            self.parts.cursors.move([(group.id, user, group.number) for user in group.members])
            self.parts.purge.done([group.id], 1000)
            assert ask(self.parts.store, f"SELECT number FROM group_messages WHERE chat_group={group.id}") == []
            change = self.parts.store.groups.change(group.id, [], lambda view: [Dissolved()], self.now)
            assert change is not None
