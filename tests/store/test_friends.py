"""Friends in the store, case by case: lists and their versions, hashes, what is known of older copies, requests, blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import insert, update

from bench.befriending import befriend_all
from myim_server.refusals import RequestRefused
from myim_server.store import friend_roots
from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.friend_changes import (
    Answered,
    Befriended,
    Blocked,
    GroupAdded,
    GroupRemoved,
    Moved,
    Remarked,
    Unblocked,
    Withdrawn,
)
from myim_server.store.friend_values import NO_ROOT, Hashing, ListState
from myim_server.store.schema import friends, profiles
from myim_wire.errors import ErrorCode
from tests.store.friends import (
    HASHING,
    MANY,
    Digest,
    ask,
    befriend,
    change,
    hash_of,
    listed,
    root_from_scratch,
    root_of,
    set_profile,
    unfriend,
    view,
)
from tests.store.messages import T0

LAST_ID = (1 << 63) - 1


class Counting(Digest):
    """How many groups were hashed."""

    count = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).count += 1


def make_users(store: Store, count: int) -> list[int]:
    """So many, by id."""
    return sorted(store.accounts.create_all([(f"many{number}", f"Many {number}", "hash") for number in range(count)], now=1))


# ---------------------------------------------------------------------- lists


def test_who_never_had_a_friend_has_version_0_and_no_root(store: Store, users: list[int]) -> None:
    assert store.friends.state(users[0]) == store.friends.freshen(users[0], HASHING) == ListState(0, NO_ROOT, False)
    ask(store, users[0], users[1])
    assert store.friends.state(users[0]) == store.friends.state(users[1]) == ListState(0, NO_ROOT, False)
    assert store.friends.page(users[0], 0, 0, 10) == (0, []) == store.friends.page(12345, 0, 0, 10)


def test_a_list_that_lost_its_last_friend_goes_on_counting(store: Store, users: list[int]) -> None:
    befriend(store, users[0], users[1])
    unfriend(store, users[0], users[1])
    state = store.friends.freshen(users[0], HASHING)
    assert (state.version, state.root) == (2, root_from_scratch(store, users[0])) and state.root != NO_ROOT


def test_only_groups_in_which_something_changed_are_hashed_anew(store: Store, users: list[int]) -> None:
    one, *others = users
    befriend(store, one, *others)
    change(store, one, 0, GroupAdded("work", 1))
    change(store, one, others[0], Moved(1))
    counting = Hashing(Counting, root_of)
    store.friends.freshen(one, counting)
    for changes, hashed in (((Remarked("x"),), 1), ((Moved(0),), 2), ((Remarked("y"),), 1)):
        change(store, one, others[0], *changes)
        before = Counting.count
        assert store.friends.freshen(one, counting).root == root_from_scratch(store, one)
        assert Counting.count - before == hashed
        assert store.friends.freshen(one, counting) == store.friends.state(one) and Counting.count - before == hashed


def test_pages_are_by_id_and_by_group(store: Store) -> None:
    one, *others = make_users(store, 8)
    befriend(store, one, *others)
    change(store, one, 0, GroupAdded("work", 1))
    change(store, one, others[2], Moved(1))
    kept = [other for other in others if other != others[2]]
    version, page = store.friends.page(one, 0, 0, 4)
    assert version == 9 and [friend.user for friend in page] == kept[:4]
    assert [friend.user for friend in store.friends.page(one, 0, page[-1].user, 4)[1]] == kept[4:]
    assert [friend.user for friend in store.friends.page(one, 1, 0, 4)[1]] == [others[2]]
    for nothing in ((one, 7, 0), (one, 0, LAST_ID), (one, 0, LAST_ID + 1), (one, 0, (1 << 64) - 1)):
        assert store.friends.page(*nothing, 4) == (9, [])


def test_an_id_of_a_group_is_never_given_again(store: Store, users: list[int]) -> None:
    for number in (1, 2, 3):
        change(store, users[0], 0, GroupAdded("group", 0))
        assert set(view(store, users[0]).groups) == {0, number}
        change(store, users[0], 0, GroupRemoved(number))


def test_a_group_larger_than_one_reading_is_hashed_whole(store: Store) -> None:
    one, *others = make_users(store, 301)
    befriend_all(store, [(one, other) for other in others])
    assert [friend.user for friend in store.friends.page(one, 0, 0, 1000)[1]] == others
    assert store.friends.freshen(one, HASHING).root == root_from_scratch(store, one)


def test_the_longest_texts_are_hashed_whole(store: Store) -> None:
    one, *others = make_users(store, friend_roots.READ_AT_ONCE + 2)
    befriend_all(store, [(one, other) for other in others])
    texts = {"display_name": "😀" * 64, "avatar": "😀" * 255, "signature": "😀" * 200}
    rows = [{"user": other, "version": 1, "searchable": 0, "asking": 0, **texts} for other in others]
    store._database.write(lambda connection: connection.execute(insert(profiles), rows))
    store._database.write(lambda connection: connection.execute(update(friends).values(remark="😀" * 64)))
    page = store.friends.page(one, 0, 0, 1000)[1]
    assert len(page) == len(others) and page[0].signature == texts["signature"]
    assert store.friends.freshen(one, HASHING).root == root_of([view(store, one).groups[0]._replace(hash=hash_of(page))])


def test_a_refusal_changes_nothing(store: Store, users: list[int]) -> None:
    def refuse(view: object) -> tuple[()]:
        raise RequestRefused(ErrorCode.NOT_ALLOWED)

    with pytest.raises(RequestRefused):
        store.friends.change(users[0], users[1], refuse, T0)
    assert store.friends.change(12345, users[1], refuse, T0) is None, "who is gone decides nothing"


# ---------------------------------------------------------------------- older copies


def test_a_copy_learns_what_changed_since_its_version(store: Store, users: list[int]) -> None:
    one, two, three, four = users
    befriend(store, one, two, three)
    befriend(store, one, four)
    change(store, one, two, Remarked("x"))
    unfriend(store, one, three)
    found = store.friends.difference(one, 2, MANY, HASHING)
    assert found.version == 5 and found.changes is not None
    assert ({friend.user for friend in found.changes[0]}, found.changes[1]) == ({two, four}, [three])
    befriend(store, one, three)
    found = store.friends.difference(one, 4, MANY, HASHING)
    assert found.changes is not None and ([friend.user for friend in found.changes[0]], found.changes[1]) == ([three], [])
    assert store.friends.difference(one, 6, MANY, HASHING).changes == ([], [])


def test_a_copy_learns_where_the_friends_of_a_group_that_ended_are(store: Store, users: list[int]) -> None:
    one, two, three, _ = users
    befriend(store, one, two, three)
    change(store, one, 0, GroupAdded("work", 1))
    change(store, one, two, Moved(1))
    change(store, one, 0, GroupRemoved(1))
    found = store.friends.difference(one, 4, MANY, HASHING)
    assert [group.id for group in found.groups] == [0] and found.changes is not None
    assert [(friend.user, friend.group) for friend in found.changes[0]] == [(two, 0)]


def test_who_has_no_copy_is_told_of_no_removals(store: Store, users: list[int]) -> None:
    befriend(store, users[0], users[1], users[2])
    unfriend(store, users[0], users[1])
    found = store.friends.difference(users[0], 0, MANY, HASHING)
    assert found.changes is not None and ([friend.user for friend in found.changes[0]], found.changes[1]) == ([users[2]], [])


def test_what_is_more_than_asked_for_or_from_the_future_is_not_told(store: Store, users: list[int]) -> None:
    befriend(store, users[0], *users[1:])
    assert store.friends.difference(users[0], 0, (2, 2), HASHING).changes is None
    assert store.friends.difference(users[0], 4, MANY, HASHING).changes is None
    for user in users[1:]:
        unfriend(store, users[0], user)
    assert store.friends.difference(users[0], 3, (2, 2), HASHING).changes is None
    assert store.friends.difference(users[0], 4, (2, 2), HASHING).changes is not None


def test_a_list_remembers_so_many_removals_and_says_so_to_older_copies(settings: StoreSettings) -> None:
    store = open_store(replace(settings, friend_removals=2))
    one, *others = make_users(store, 6)
    befriend(store, one, *others)
    for other in others[:3]:
        unfriend(store, one, other)
    found = store.friends.difference(one, 6, MANY, HASHING)
    assert found.changes is not None and sorted(found.changes[1]) == sorted(others[1:3])
    assert store.friends.difference(one, 5, MANY, HASHING).changes is None
    assert store.friends.difference(one, 0, MANY, HASHING).changes is not None
    store.close()


# ---------------------------------------------------------------------- what a decision sees


def test_a_view_shows_both_users(store: Store, users: list[int]) -> None:
    one, two, three, four = users
    befriend(store, one, two, three)
    befriend(store, four, three)
    ask(store, four, one)
    change(store, one, four, Answered("ignored"))
    change(store, four, one, Blocked())
    change(store, one, two, Blocked())
    set_profile(store, four, asking="nobody")
    seen = view(store, one, four)
    assert (seen.exists, seen.kept, seen.friends, seen.others_friends, seen.others_version) == (True, None, 2, 1, 1)
    assert (seen.incoming, seen.outgoing, seen.others_requests, seen.own_requests) == ("ignored", None, 0, 0)
    assert (seen.blocks, seen.is_blocked, seen.blocked, seen.is_askable) == (False, True, 1, False)
    back = view(store, four, one)
    assert (back.incoming, back.outgoing, back.others_requests, back.own_requests) == (None, "ignored", 1, 1)
    assert (back.blocks, back.is_blocked, back.blocked, back.is_askable) == (True, False, 1, True)
    friends = view(store, one, three)
    assert friends.kept is not None and (friends.kept.group, friends.kept.remark) == (0, "")
    nobody = view(store, one, 12345)
    assert (nobody.exists, nobody.kept, nobody.is_askable) == (False, None, True)


# ---------------------------------------------------------------------- requests and blocks


def test_requests_are_listed_by_the_others_id(store: Store) -> None:
    one, *others = make_users(store, 6)
    for other in others[:3]:
        ask(store, other, one, f"from {other}")
    for other in others[3:]:
        ask(store, one, other)
    incoming, outgoing = store.friends.requests(one, 0, 2)
    assert [(came.user, came.words, came.made) for came in incoming] == [(other, f"from {other}", T0) for other in others[:2]]
    assert [went.user for went in outgoing] == others[3:5]
    assert [[went.user for went in both] for both in store.friends.requests(one, others[1], 10)] == [[others[2]], others[3:]]
    assert store.friends.requests(one, LAST_ID + 1, 10) == ([], [])


def test_who_asked_sees_its_request_whatever_became_of_it(store: Store, users: list[int]) -> None:
    one, two = users[:2]
    ask(store, one, two, "please")
    before = store.friends.requests(one, 0, 9)
    for state, is_seen in (("ignored", [True]), ("refused", [])):
        change(store, two, one, Answered(state))
        assert store.friends.requests(one, 0, 9) == before
        assert [came.is_ignored for came in store.friends.requests(two, 0, 9)[0]] == is_seen
    ask(store, one, two, "again")
    assert [came.words for came in store.friends.requests(two, 0, 9)[0]] == ["again"]
    change(store, one, two, Withdrawn())
    assert store.friends.requests(one, 0, 9) == store.friends.requests(two, 0, 9) == ([], [])


def test_requests_between_two_are_over_when_they_are_friends(store: Store, users: list[int]) -> None:
    ask(store, users[0], users[1])
    ask(store, users[1], users[0])
    ask(store, users[2], users[0])
    befriend(store, users[1], users[0])
    assert [[one.user for one in both] for both in store.friends.requests(users[0], 0, 9)] == [[users[2]], []]


def test_blocks_are_listed_by_id(store: Store) -> None:
    one, *others = make_users(store, 5)
    for other in others[:3]:
        change(store, one, other, Blocked())
    names = dict(store.friends.blocked(one, 0, 9))
    assert sorted(names) == others[:3] and all(name.startswith("Many ") for name in names.values())
    change(store, one, others[1], Unblocked())
    assert [user for user, _ in store.friends.blocked(one, 0, 9)] == [others[0], others[2]]
    assert store.friends.blocked(one, others[0], 9) == [(others[2], names[others[2]])]
    assert store.friends.blocked(one, LAST_ID + 1, 9) == [] == store.friends.blocked(one, 0, 0)
    assert store.blocks.of([one, *others]) == {one: {others[0], others[2]}, **{other: set() for other in others}}


def test_friends_hear_of_each_other_unless_one_blocks_the_other(store: Store, users: list[int]) -> None:
    one, two, three, four = users
    befriend(store, one, two, three, four)
    befriend(store, two, three)
    change(store, one, two, Blocked())
    change(store, four, one, Blocked())
    change(store, two, four, Blocked())
    assert store.friends.friends_of(users) == {one: {three}, two: {three}, three: {one, two}, four: set()}
    assert store.friends.friends_of([three, 12345]) == {three: {one, two}, 12345: set()}
    assert store.friends.friends_of([]) == {}


# ---------------------------------------------------------------------- an account ends


def test_who_is_deleted_is_out_of_all_lists_and_nothing_is_left_between(settings: StoreSettings) -> None:
    store = open_store(replace(settings, friend_removals=1))
    one, *others = make_users(store, 5)
    befriend(store, one, *others[:3])
    befriend(store, others[0], others[1], others[2])
    unfriend(store, others[0], others[1])
    ask(store, one, others[3])
    ask(store, others[3], one)
    change(store, one, others[0], Blocked())
    change(store, others[0], one, Blocked())
    set_profile(store, one, signature="last words")
    versions = [store.friends.freshen(other, HASHING).version for other in others]
    assert store.accounts.delete(one, now=T0)
    for other, before in zip(others[:3], versions[:3], strict=True):
        found = store.friends.difference(other, before, MANY, HASHING)
        assert found.version == before + 1 and found.changes == ([], [one]) and one not in listed(store, other)
        assert found.root == root_from_scratch(store, other)
    assert store.friends.difference(others[0], versions[0] - 2, MANY, HASHING).changes is None, "one removal is remembered"
    assert store.friends.state(others[3]) == ListState(0, NO_ROOT, False)
    assert store.friends.requests(others[3], 0, 9) == ([], []) and store.blocks.of([one, others[0]]) == {one: set(), others[0]: set()}
    assert store.friends.state(one) == ListState(0, NO_ROOT, False)
    assert not view(store, others[0], one).exists
    assert store.friends.change(one, others[0], lambda view: (Befriended(0),), T0) is None
    store.close()
