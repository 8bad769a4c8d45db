"""Posters, members who come and go, and janitors at two centers at once, over one database; then everything is counted anew (P9 to P11).

What is known without asking the store: which numbers posters were told, what each member was shown since it came, and that a member
confirms only what it was shown. Rows say how many they wait for and how many have confirmed; the difference is who is there and has not.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import gevent

from myim_server.refusals import StoreUnavailable
from myim_server.store.group_changes import Added, Change, Removed
from myim_server.store.group_values import Row, View
from tests.store.group_model import Parts
from tests.store.groups import ask, new_group, numbers_of, post
from tests.store.messages import T0

T = TypeVar("T")
NEVER = 1 << 40


class Race:
    """`centers`: the same database through connections of their own; `disturb` is called before one of 400 calls."""

    def __init__(self, centers: Sequence[Parts], users: Sequence[int], seed: int, disturb: Callable[[], None]) -> None:
        self._centers = centers
        self._random = random.Random(seed)
        self._disturb = disturb
        self._posters, self._others = users[:3], users[3:]
        self._groups = [new_group(centers[0].store, *self._posters, number=number) for number in range(2)]
        self._told: dict[tuple[int, int], tuple[int, int]] = {}
        self._shown: dict[tuple[int, int], Row] = {}
        # {(group, user): up to where it was shown everything}, of members
        self._positions = {(group, user): 0 for group in self._groups for user in self._posters}
        self._on_their_way: list[Any] = []
        self._is_over = False

    def run(self) -> None:
        """Raises AssertionError where a promise is broken."""
        posting: list[Any] = [gevent.spawn(self._post, user) for user in self._posters]
        others: list[Any] = [gevent.spawn(self._live, group, user) for group in self._groups for user in self._others]
        others += [gevent.spawn(self._follow, group, user) for group in self._groups for user in self._posters]
        others += [gevent.spawn(self._sweep) for _ in range(2)]
        for one in others:
            one.link_exception(lambda _: gevent.killall(posting, block=False))
        try:
            gevent.joinall(posting, raise_error=True, timeout=60)
            self._is_over = True
            gevent.joinall(posting + others, raise_error=True, timeout=60)
            gevent.joinall(self._on_their_way, raise_error=True, timeout=60)
            assert all(one.ready() for one in posting + others + self._on_their_way)
        finally:
            gevent.killall(posting + others + self._on_their_way)
        self._count()
        self._drain()

    # ------------------------------------------------------------------ who takes part

    def _post(self, user: int) -> None:
        for begin in range(0, 40, 5):
            posts = [post(self._random.choice(self._groups), user, number) for number in range(begin, begin + 5)]
            outcomes = self._surely(lambda posts=posts: self._center().posts.post(posts))  # type: ignore[misc]
            for one, number in zip(posts, numbers_of(outcomes), strict=True):
                place = one.group, number
                assert self._told.setdefault(place, (one.user, one.time)) == (one.user, one.time), f"{place} was given twice"

    def _follow(self, group: int, user: int) -> None:
        while not self._is_over:
            self._fetch(group, user)

    def _live(self, group: int, user: int) -> None:
        """Comes, is shown what is said, and goes, again and again; ends as a member."""
        while not self._is_over:
            self._come(group, user)
            for _ in range(self._random.randrange(4)):
                self._fetch(group, user)
            self._go(group, user)
            assert self._surely(lambda: self._center().posts.page(group, user, 0, 9, 999)) is None
        self._come(group, user)

    def _sweep(self) -> None:
        while not self._is_over:
            purge = self._center().purge
            self._surely(lambda purge=purge: purge.done(self._groups, 9))  # type: ignore[misc]
            self._surely(lambda purge=purge: purge.walk(0, 9, 9, T0))  # type: ignore[misc]

    def _come(self, group: int, user: int) -> None:
        view = self._change(group, user, lambda view: [] if user in view.members else [Added(user, "member")])
        self._positions[group, user] = view.members[user].joined

    def _go(self, group: int, user: int) -> None:
        self._change(group, user, lambda view: [Removed(user)] if user in view.members else [])
        del self._positions[group, user]

    def _fetch(self, group: int, user: int) -> None:
        position = self._positions[group, user]
        most = self._random.randint(1, 20)
        page = self._surely(lambda: self._center().posts.page(group, user, position, most, 1 << 20))
        assert page is not None
        rows, up_to, number = page
        # Nothing is too old here, and the user has not confirmed it: whatever is missing was removed early, or has no number.
        assert [row.number for row in rows] == list(range(position + 1, up_to + 1))
        for row in rows:
            assert self._shown.setdefault((group, row.number), row) == row
        self._positions[group, user] = up_to
        claims = [(group, user, up_to)] * self._random.randint(1, 5) + [(group, user, NEVER), (group, 5, number)]
        # All at once, and some still on their way when the user has gone, and come back.
        sent = [gevent.spawn(self._surely, lambda: self._center().cursors.move(claims)) for _ in range(self._random.randint(1, 3))]
        self._on_their_way += sent
        gevent.joinall(sent[: self._random.randint(0, 3)], raise_error=True)

    # ------------------------------------------------------------------ afterwards

    def _count(self) -> None:
        """Each row waits for those who are there and have not confirmed it, and for nobody else."""
        for group in self._groups:
            members: list[tuple[Any, ...]] = self._ask("user,cursor_number,joined", "group_members", group)
            assert {user for user, _, _ in members} == {user for place, user in self._positions if place == group}
            for number, waited_for, sent in self._ask("number,members,sent", "group_messages", group):
                has_it = [cursor >= number for _, cursor, joined in members if joined < number]
                assert waited_for - sent == has_it.count(False), f"row {number}: {waited_for} {sent} {members}"
                assert sent >= has_it.count(True)

    def _drain(self) -> None:
        """When everybody has everything nothing is left, and the numbers are 1 .. N."""
        for group, user in self._positions:
            self._fetch_all(group, user)
        gevent.joinall(self._on_their_way, raise_error=True, timeout=60)
        for group in self._groups:
            self._centers[0].purge.done([group], 10_000)
            assert self._ask("number", "group_messages", group) == []
            numbers = sorted(number for place, number in self._told if place == group)
            assert numbers == list(range(1, len(numbers) + 1))
            assert self._ask("number", "group_messages", group) == []
            state = self._centers[0].store.groups.state(group, 0)
            assert state is not None and state[0].number == len(numbers)
            shown = [self._shown[group, number] for number in numbers]
            assert [(row.user, row.time) for row in shown] == [self._told[group, number] for number in numbers]

    def _fetch_all(self, group: int, user: int) -> None:
        number = self._centers[0].store.groups.numbers([group])[group][0]
        while self._positions[group, user] < number:
            self._fetch(group, user)

    # ------------------------------------------------------------------ how

    def _center(self) -> Parts:
        return self._random.choice(self._centers)

    def _change(self, group: int, user: int, decide: Callable[[View], Sequence[Change]]) -> View:
        outcome = self._surely(lambda: self._center().store.groups.change(group, [user], decide, T0))
        assert outcome is not None
        return outcome[0]

    def _surely(self, call: Callable[[], T]) -> T:
        """Again and again, as a center would be asked."""
        if self._random.randrange(400) == 0:
            self._disturb()
        for _ in range(50):
            try:
                return call()
            except StoreUnavailable:
                continue
        raise AssertionError("the store is unavailable for good")

    def _ask(self, columns: str, table: str, group: int) -> list[tuple[Any, ...]]:
        return ask(self._centers[0].store, f"SELECT {columns} FROM {table} WHERE chat_group={group} ORDER BY 1")
