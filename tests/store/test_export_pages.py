"""The contract of what is read for an export alone: in order, in pages, nothing of whom the user blocks."""

from __future__ import annotations

import pytest

from myim_server.store.engine import Store
from myim_server.store.export_pages import WaitingMessage
from myim_server.store.friend_changes import Blocked, GroupAdded
from tests.store.friends import befriend, change
from tests.store.groups import join, new_group, numbers_of, post, say
from tests.store.messages import T0, message, put


def waiting(store: Store, user: int) -> list[WaitingMessage]:
    """All pages, one behind the other."""
    found: list[WaitingMessage] = []
    after = (0, 0)
    while page := store.export_pages.messages(user, after):
        found += page
        after = page[-1].accepted, page[-1].id
    return found


@pytest.mark.parametrize(("count", "size"), [(450, 1), (9, 32_768)])
def test_messages_are_read_in_the_order_they_would_be_handed_over_each_once(
    store: Store, users: list[int], count: int, size: int
) -> None:
    ann, bob, eve, _ = users
    same = [message(ann, bob, number, accepted=T0, body=bytes([number % 256]) * size) for number in range(count)]
    put(store, *same, message(ann, eve, 1, accepted=T0 - 5, qos=0, body=b"first"), message(bob, ann, 1))
    rows, _ = store.offline.page(ann, set(), 10_000, 1 << 30)
    found = waiting(store, ann)
    assert [(one.id, one.user, one.time, one.qos, one.accepted, one.body) for one in found] == [
        (row.id, row.user, row.time, row.qos, row.accepted, row.body) for row in rows
    ]
    assert len(found) == count + 1 and {one.name for one in found} == {"User 1", "User 2"}


def test_messages_of_who_is_blocked_are_none_and_of_who_is_gone_have_no_name(store: Store, users: list[int]) -> None:
    ann, bob, eve, dan = users
    put(store, message(ann, bob, 1), message(ann, eve, 2), message(ann, dan, 3))
    change(store, ann, eve, Blocked())
    store.accounts.delete(dan, T0)
    assert [(one.user, one.name) for one in waiting(store, ann)] == [(bob, "User 1"), (dan, "")]
    assert waiting(store, bob) == []


def test_friends_are_read_by_id_and_groups_with_them(store: Store, users: list[int]) -> None:
    ann, *others = users
    change(store, ann, 0, GroupAdded("work", 3))
    befriend(store, ann, *others, group=1)
    first = store.export_pages.friends(ann, 0, 2)
    rest = store.export_pages.friends(ann, first[-1][0].user, 2)
    assert [one.user for one, _ in (*first, *rest)] == sorted(others) and {one.group for one, _ in first} == {1}
    assert all(since >= T0 for _, since in (*first, *rest))
    assert [(one.id, one.name, one.position) for one in store.export_pages.friend_groups(ann)] == [(0, "", 0), (1, "work", 3)]


def test_posts_are_read_that_are_ones_own_or_not_confirmed_and_nothing_from_before_one_came(store: Store, users: list[int]) -> None:
    ann, bob, eve, _ = users
    group = new_group(store, bob)
    say(store, group, bob, 1)
    join(store, group, ann)
    say(store, group, bob, 2, 3)
    say(store, group, ann, 4)
    say(store, group, bob, 5)
    assert [(one.number, one.user, one.name) for one in store.export_pages.posts(ann, group, 0)] == [
        (2, bob, "User 1"), (3, bob, "User 1"), (4, ann, "User 0"), (5, bob, "User 1"),
    ]  # fmt: skip
    store.group_cursors.move([(group, ann, 4)])
    found = store.export_pages.posts(ann, group, 0)
    assert [(one.number, one.body) for one in found] == [(4, b"post 4"), (5, b"post 5")]
    assert [one.number for one in store.export_pages.posts(ann, group, 4)] == [5]
    assert store.export_pages.posts(ann, group, 5) == store.export_pages.posts(eve, group, 0) == []


def test_a_page_of_posts_holds_no_more_than_it_may(store: Store, users: list[int]) -> None:
    ann, bob = users[:2]
    group = new_group(store, ann, bob)
    posts = [post(group, bob, number, body=bytes(30_000)) for number in range(9)]
    numbers_of(store.group_posts.post(posts))
    found = [one.number for one in store.export_pages.posts(ann, group, 0)]
    assert found == [1, 2, 3, 4]
    assert [one.number for one in store.export_pages.posts(ann, group, 4)] == [5, 6, 7, 8]


def test_networks_and_blocks_are_told_with_their_times(store: Store, users: list[int]) -> None:
    ann, bob = users[:2]
    store.terminals.admit(ann, bytes(32), bytes(32), "laptop", "192.0.2.7", "192.0.2.0/24", T0)
    change(store, ann, bob, Blocked())
    assert store.export_pages.networks(ann) == [("192.0.2.0/24", T0)]
    assert [one[:2] for one in store.export_pages.blocked(ann, 0, 9)] == [(bob, "User 1")]
    assert store.export_pages.blocked(ann, 0, 9)[0][2] >= T0
    assert store.export_pages.networks(bob) == []
    assert store.export_pages.blocked(bob, 0, 9) == []


def test_an_account_is_told_to_its_owner_while_it_is_there(store: Store, users: list[int]) -> None:
    holder = store.export_pages.holder(users[0])
    assert holder is not None and (holder.user, holder.name, holder.created) == (users[0], "User 0", 1)
    store.accounts.delete(users[0], T0)
    assert store.export_pages.holder(users[0]) is None
