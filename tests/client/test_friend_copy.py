"""The copy of the friend list: after any changes it is the list again, is proved, and only what differed was fetched."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myim_client.friend_copy import MAX_ROUNDS, NOTHING, FriendCopy, FriendGroup, Syncing
from myim_wire.friend_contents import FriendPage, Synced
from myim_wire.friend_hashes import NO_ROOT
from myim_wire.friend_requests import ListFriends, Sync
from tests.client.friend_world import Copyist, ListKeeper, answer_of, copy_of, friend

USERS = st.integers(1, 12)
GROUPS = st.integers(1, 3)
ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["befriend", "unfriend", "profile", "remark"]), USERS),
    st.tuples(st.just("move"), USERS, st.integers(0, 3)),
    st.tuples(st.sampled_from(["group", "no group"]), GROUPS, st.integers(0, 5)),
    st.tuples(st.sampled_from(["begin", "step", "step", "sync", "lose", "forget changes"])),
)


def change(keeper: ListKeeper, kind: str, number: int, other: int) -> None:
    """One change of the list, by its owner or a friend."""
    friends, groups = dict(keeper.list.friends), dict(keeper.list.groups)
    if kind == "befriend":
        friends.setdefault(number, friend(number))
    elif kind == "unfriend":
        friends.pop(number, None)
    elif kind == "group":
        groups[number] = FriendGroup(number, f"group of {number}", other)
    elif kind == "no group":
        groups.pop(number, None)
        friends = {user: replace(one, group=0) if one.group == number else one for user, one in friends.items()}
    elif number in friends:
        one = friends[number]
        if kind == "move":
            friends[number] = replace(one, group=other if other in groups else 0)
        elif kind == "profile":
            friends[number] = replace(one, signature=f"at {keeper.list.version}")
        else:
            friends[number] = replace(one, remark=f"my {keeper.list.version}")
    keeper.change(friends, groups)


def check_sync(keeper: ListKeeper, copyist: Copyist) -> None:
    """A whole sync, while nothing changes: the copy is the list, and nothing came that had not changed since the copy's version."""
    before = copyist.syncing.copy
    hashes = before.hashes
    keeper.pages.clear()
    keeper.sent.clear()
    keeper.syncs = 0
    copyist.sync()
    assert not copyist.syncing.is_failed
    assert copyist.syncing.copy == keeper.list
    assert keeper.syncs == 1
    if before.root == keeper.list.root:
        assert keeper.sent == keeper.pages == []
    differing = {group for group, digest in keeper.list.hashes.items() if digest != hashes.get(group, _NOBODY)}
    assert set(keeper.pages) <= differing
    assert len(set(keeper.sent)) == len(keeper.sent), "something came twice"
    if before.version and before.version >= keeper.forgotten:
        assert not keeper.pages, "pages were fetched though the changes are known"


_NOBODY = bytes.fromhex("d41d8cd98f00b204e9800998ecf8427e")


@given(st.lists(ACTIONS, max_size=60))
@settings(max_examples=300, deadline=None)
def test_after_any_changes_and_losses_the_copy_is_the_list_and_only_what_differed_was_fetched(actions: list[tuple[object, ...]]) -> None:
    keeper = ListKeeper()
    copyist = Copyist(keeper)
    for kind, *numbers in actions:
        if kind == "begin":
            copyist.begin()
        elif kind == "step":
            copyist.step()
        elif kind == "sync":
            check_sync(keeper, copyist)
        elif kind == "lose":
            copyist.question = None
        elif kind == "forget changes":
            keeper.forgotten = keeper.list.version
        else:
            number, other = (*map(int, map(str, numbers)), 0)[:2]
            change(keeper, str(kind), number, other)
        assert copyist.syncing.copy.is_proved
    check_sync(keeper, copyist)


def test_a_terminal_without_a_copy_fetches_every_group_that_has_somebody_in_it() -> None:
    keeper = ListKeeper()
    keeper.change({user: friend(user, user % 2) for user in range(1, 10)}, {n: FriendGroup(n, "g", n) for n in (1, 2)})
    copyist = Copyist(keeper)
    copyist.sync()
    assert copyist.syncing.copy == keeper.list
    assert keeper.pages == [0, 0, 1, 1]


def test_an_unchanged_list_gives_its_version_and_asks_nothing() -> None:
    syncing = Syncing(copy_of(3, friend(1)))
    assert syncing.begin() == Sync(3, syncing.copy.root)
    assert syncing.synced(Synced(5, syncing.copy.root)) is None
    assert (syncing.copy.version, set(syncing.copy.friends)) == (5, {1})


def test_who_has_no_friend_any_more_and_no_group_has_an_empty_copy() -> None:
    syncing = Syncing(copy_of(3, friend(1)))
    syncing.begin()
    assert syncing.synced(Synced(0, NO_ROOT)) is None
    assert syncing.copy == NOTHING


def test_a_kept_copy_that_is_damaged_is_not_believed() -> None:
    damaged = replace(copy_of(3, friend(1)), friends={1: friend(1, signature="another")})
    assert Syncing(damaged).begin() == Sync(0, NO_ROOT)
    assert Syncing(replace(damaged, friends={1: friend(1, 77)})).copy == NOTHING


@pytest.mark.parametrize("what", ["an unproved change", "a friend of another group", "a friend twice", "more after nothing"])
def test_what_cannot_be_proved_is_fetched_anew_once_and_then_given_up(what: str) -> None:
    old, new = copy_of(3, friend(1)), copy_of(4, friend(1), friend(2))
    syncing = Syncing(old)
    for expected in (Sync(0, NO_ROOT), None):
        (syncing.begin() if expected else None)
        if what == "an unproved change":
            answer = replace(answer_of(new), groups=answer_of(old).groups, changed=(friend(9),), has_changes=True)
            assert syncing.synced(answer) == expected
            continue
        assert syncing.synced(answer_of(new)) == ListFriends(0)
        pages = {
            "a friend of another group": FriendPage((friend(1, 5),), 4, False),
            "a friend twice": FriendPage((friend(1), friend(1)), 4, False),
            "more after nothing": FriendPage((), 4, True),
        }
        assert syncing.paged(pages[what]) == expected
    assert syncing.is_failed
    assert syncing.copy == old


def test_a_list_that_changes_with_every_page_is_given_up_for_now() -> None:
    syncing = Syncing(NOTHING)
    question: object = syncing.begin()
    rounds = 0
    while question is not None:
        rounds += 1
        assert isinstance(syncing.synced(answer_of(copy_of(rounds, friend(rounds)))), ListFriends)
        question = syncing.paged(FriendPage((), rounds + 1, False))
    assert (rounds, syncing.is_failed, syncing.copy) == (MAX_ROUNDS, True, NOTHING)
    syncing.begin()
    assert not syncing.is_failed


def test_a_copy_with_a_text_that_is_none_is_not_proved() -> None:
    assert not FriendCopy(1, NO_ROOT, {0: FriendGroup(0, "", 0)}, {1: friend(1, signature="\ud800")}).is_proved
