"""Accounts that ended are seen off: groups are handed on, friends told, and after it no table knows the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from myim_server import throttles
from myim_server.chat.departures import LINGER, Departures, Tables
from myim_server.chat.group_desk import News
from myim_server.refusals import StoreUnavailable
from myim_server.store.engine import Store
from myim_server.store.friend_changes import Blocked
from myim_server.store.group_changes import Added, Asked
from myim_server.store.group_roles import GroupRoles
from myim_server.store.schema import metadata
from tests.store.friends import ask, befriend, change, set_profile
from tests.store.groups import change as change_group
from tests.store.groups import group_of, member_of, new_group, say, stored
from tests.store.messages import T0, message, put
from tests.store.traces import traces

SENT = {"offline_messages.user", "group_messages.user"}
# Tables that are for no user, or (throttles) without an id, or filled only when an account has ended. A new one belongs here or is emptied.
NOT_OF_USERS = {
    "change_counter", "ticket_keys", "throttles", "nodes", "endpoints", "group_leftovers", "deletions", "friend_removals",
}  # fmt: skip
KEPT = {"changes.user", "deletions.user", "deletions.name", "friend_removals.friend", "receipts.target"}


class Ceremony:
    """Departures with a clock that the test moves, and what they tell."""

    def __init__(self, store: Store, deletions: object = None, heirs: object = None) -> None:
        self.store = store
        self.now = T0
        self.news: list[News] = []
        self.left: list[tuple[int, int]] = []
        parts: list[Any] = [deletions or store.deletions, store.groups, heirs or store.group_roles, store.throttles, store.receipts]
        tables = Tables(*parts)
        self.departures = Departures(tables, self.news.append, lambda seconds: None, lambda: self.now)
        self.departures.on_friends_left = self.left.extend

    def end(self, user: int) -> None:
        assert self.store.accounts.delete(user, self.now)
        self.departures.run()

    @property
    def told(self) -> list[tuple[str, int]]:
        return [(news.change.event, news.change.user) for news in self.news]


@pytest.fixture
def ceremony(store: Store) -> Ceremony:
    return Ceremony(store)


def owner(store: Store, group: int) -> int:
    return group_of(store, group).owner


def test_a_group_falls_to_the_oldest_admin(store: Store, users: list[int], ceremony: Ceremony) -> None:
    ann, bob, eve, dan = users
    group = new_group(store, ann, bob)
    for now, user, role in ((T0 + 2, dan, "admin"), (T0 + 1, eve, "admin")):
        assert store.groups.change(group, [user], lambda view, user=user, role=role: [Added(user, role)], now)  # type: ignore[misc]
    ceremony.end(ann)
    assert owner(store, group) == eve
    eves = member_of(store, group, eve)
    assert eves is not None and eves.role == "owner" and group_of(store, group).members == 3
    assert ceremony.told == [("role", eve), ("left", ann)]


def test_without_admins_a_group_falls_to_the_oldest_member_and_without_members_it_ends(
    store: Store, users: list[int], ceremony: Ceremony
) -> None:
    ann, bob, eve, _ = users
    group, alone = new_group(store, ann), new_group(store, ann, number=1)
    for now, user in ((T0 + 2, bob), (T0 + 1, eve)):
        assert store.groups.change(group, [user], lambda view, user=user: [Added(user, "member")], now)  # type: ignore[misc]
    say(store, alone, ann, 1)
    ceremony.end(ann)
    assert owner(store, group) == eve
    assert store.groups.state(alone, ann) is None
    assert sorted(ceremony.told) == sorted([("role", eve), ("left", ann), ("dissolved", 0)])
    ceremony.end(eve)
    ceremony.end(bob)
    assert store.groups.state(group, bob) is None


def test_posts_wait_for_one_less_and_those_of_who_is_gone_stay(store: Store, users: list[int], ceremony: Ceremony) -> None:
    ann, bob, eve, _ = users
    group = new_group(store, ann, bob, eve)
    say(store, group, ann, 1)
    say(store, group, bob, 2)
    store.group_cursors.move([(group, ann, 1)])
    ceremony.end(ann)
    assert [(row.members, row.sent) for row in stored(store, group)] == [(3, 1), (2, 0)]


def test_invitations_of_who_is_gone_are_the_owners_and_its_own_requests_are_over(
    store: Store, users: list[int], ceremony: Ceremony
) -> None:
    ann, bob, eve, dan = users
    group, other = new_group(store, bob, ann), new_group(store, dan)
    change_group(store, group, Asked(eve, "invited", ann, ""))
    change_group(store, other, Asked(ann, "requested", ann, "please"))
    ceremony.end(ann)
    assert [(one.user, one.by) for one in store.groups.pending(group, 0, 9)] == [(eve, bob)]
    assert store.groups.pending(other, 0, 9) == []


def test_friends_are_told_once_with_the_version_of_their_lists(store: Store, users: list[int], ceremony: Ceremony) -> None:
    ann, bob, eve, _ = users
    befriend(store, ann, bob, eve)
    ceremony.end(ann)
    ceremony.departures.run()
    assert sorted(ceremony.left) == sorted((user, store.friends.state(user).version) for user in (bob, eve))


def furnish(store: Store, users: list[int]) -> None:
    """The first of the users leaves something in every table that can hold anything of a user."""
    ann, bob, eve, dan = users
    for number in (1, 2):
        store.terminals.admit(ann, bytes([number]) * 32, b"annsmachine".ljust(32), f"anns {number}", "10.0.0.1", f"10.0.{number}.0/24", T0)
    befriend(store, ann, bob)
    ask(store, ann, eve, "anns words")
    ask(store, dan, ann)
    change(store, ann, dan, Blocked())
    change(store, eve, ann, Blocked())
    set_profile(store, ann, display_name="anns face", signature="anns words")
    group, own, left = new_group(store, ann, bob, eve), new_group(store, ann, number=1), new_group(store, bob, ann)
    for place in (group, own, left):
        say(store, place, ann, 3)
    change_group(store, group, Asked(dan, "invited", ann, ""))
    for number in range(3):
        put(store, message(ann, bob, number, body=b"to ann"), message(bob, ann, number), message(ann, dan, number, qos=0))
    store.offline.confirm([(bob, ann, message(bob, ann, 0).time), (ann, bob, message(ann, bob, 0).time)])
    store.offline.confirm([(ann, bob, message(ann, bob, 1).time)], is_held=True)
    store.offline.confirm([(bob, ann, message(bob, ann, 1).time)], is_held=True)
    store.throttles.fail(throttles.terminal_counter(ann, 1), T0)


def test_after_it_no_table_knows_the_user_but_for_what_others_wait_for(
    store: Store, users: list[int], ceremony: Ceremony
) -> None:
    ann = users[0]
    furnish(store, users)
    before = traces(store, ann, "anns", "user0")
    assert {place.split(".")[0] for place in before} == metadata.tables.keys() - NOT_OF_USERS
    assert {"friends.friend", "blocks.blocked", "friend_requests.asker", "held_receipts.target", "held_receipts.user"} <= before
    assert {"chat_groups.owner", "chat_groups.creator", "group_pending.asked_by"} <= before
    ceremony.end(ann)
    assert traces(store, ann, "anns", "user0") == SENT | KEPT
    assert store.throttles.read([throttles.terminal_counter(ann, 1)]) == {}
    store.deletions.tidy(T0 + 41 * 24 * 3600 * 1_000_000)
    assert traces(store, ann, "anns", "user0") == SENT | {"deletions.user", "receipts.target"}


def test_what_was_stored_meanwhile_is_found_by_the_second_look_which_closes_it(
    store: Store, users: list[int], ceremony: Ceremony
) -> None:
    ann, bob = users[:2]
    store.offline.insert([message(ann, bob, 1)])  # who is there is known from here on
    ceremony.end(ann)
    put(store, message(ann, bob, 2))
    assert "offline_messages.target" in traces(store, ann)
    ceremony.now += LINGER + 1
    ceremony.departures.run()
    assert traces(store, ann) == {"changes.user", "deletions.user"}
    assert store.deletions.open(9) == []


class Failing:
    """The store's part, of which the n-th call fails, once."""

    def __init__(self, part: object, count: int) -> None:
        self._part = part
        self.left = count

    def __getattr__(self, name: str) -> Callable[..., object]:
        method: Callable[..., object] = getattr(self._part, name)

        def call(*arguments: object) -> object:
            self.left -= 1
            if self.left == 0:
                raise StoreUnavailable("now")
            return method(*arguments)

        return call


@pytest.mark.parametrize("count", range(1, 8))  # as many calls as a run makes
def test_wherever_it_is_broken_off_it_goes_on_from_there(store: Store, users: list[int], count: int) -> None:
    ann = users[0]
    furnish(store, users)
    failing = Failing(store.deletions, count)
    ceremony = Ceremony(store, failing)
    assert store.accounts.delete(ann, T0)
    for _ in range(2):
        try:
            ceremony.departures.run()
        except StoreUnavailable:
            pass
    ceremony.departures.run()
    assert failing.left <= 0
    assert traces(store, ann, "anns") == SENT | KEPT - {"deletions.name"}


class Leaving:
    """The heirs that are named first have left by the time they are asked for."""

    def __init__(self, real: GroupRoles) -> None:
        self._real = real
        self.calls = 0

    def heirs(self, group: int, user: int, limit: int) -> list[int]:
        self.calls += 1
        return [] if self.calls == 1 else self._real.heirs(group, user, limit)


def test_where_all_heirs_left_in_between_the_next_run_finds_others(store: Store, users: list[int]) -> None:
    ann, bob, _, _ = users
    group = new_group(store, ann, bob)
    ceremony = Ceremony(store, heirs=Leaving(store.group_roles))
    ceremony.now += LINGER + 1
    assert store.accounts.delete(ann, T0)
    ceremony.departures.run()
    assert owner(store, group) == ann and store.deletions.open(9) == [(ann, T0)]
    ceremony.departures.run()
    assert owner(store, group) == bob and store.deletions.open(9) == []


def test_two_centers_that_see_the_same_account_off_tell_of_it_once(store: Store, users: list[int]) -> None:
    ann, bob, eve, _ = users
    new_group(store, ann, bob, eve)
    ceremonies: Sequence[Ceremony] = (Ceremony(store), Ceremony(store))
    assert store.accounts.delete(ann, T0)
    for ceremony in ceremonies:
        ceremony.departures.run()
    assert sorted(event for ceremony in ceremonies for event, _ in ceremony.told) == ["left", "role"]
