"""Two nodes change what is between the same users at once: lists agree with each other and with their hashes, and nothing is left over."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import gevent
import pytest
from gevent.event import Event

from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.friend_changes import (
    Befriended,
    Blocked,
    Change,
    GroupAdded,
    GroupRemoved,
    Moved,
    Remarked,
    Requested,
    Unblocked,
    Unfriended,
)
from myim_server.store.friend_values import View
from myim_server.store.profile_values import ProfileChange
from tests.store.friends import HASHING, befriend, listed, root_from_scratch, view
from tests.store.mariadb import MariaDb
from tests.store.messages import T0


@pytest.fixture
def stores(store: Store, settings: StoreSettings) -> Iterator[tuple[Store, Store]]:
    other = open_store(settings)
    yield store, other
    other.close()


def decide(view: View, draw: random.Random) -> Sequence[Change]:
    """Something that may be done upon this view."""
    if not view.other:
        own = [group for group in view.groups if group]
        return (GroupRemoved(own[0]),) if own and draw.random() < 0.5 else (GroupAdded(f"g{draw.random()}", 0),)
    if not view.exists:
        return ()
    if view.kept is None:
        toggled = Unblocked() if view.blocks else Blocked()
        return draw.choice([(Befriended(0),), (Requested("x"),), (toggled,)])
    return draw.choice([(Unfriended(),), (Remarked(f"r{draw.random()}"),), (Moved(draw.choice(list(view.groups))),)])


def test_lists_agree_after_two_nodes_changed_them_at_once(stores: tuple[Store, Store], users: list[int]) -> None:
    counted = dict.fromkeys(users, 0)

    def work(seed: int) -> None:
        draw = random.Random(seed)
        store = stores[seed % 2]
        for _ in range(25):
            one, two = draw.sample(users, 2)
            if draw.random() < 0.25:
                done = store.profiles.set(one, ProfileChange(signature=f"s{draw.random()}"))
                assert done is not None
                versions = done[1]
            else:
                other = two if draw.random() < 0.8 else 0
                outcome = store.friends.change(one, other, lambda view: decide(view, draw), T0)
                assert outcome is not None
                versions = dict(outcome.versions)
            for user in versions:
                counted[user] += 1
            if draw.random() < 0.3:
                store.friends.freshen(one, HASHING)

    gevent.joinall([gevent.spawn(work, seed) for seed in range(8)], timeout=110, raise_error=True)
    for user in users:
        state = stores[0].friends.freshen(user, HASHING)
        assert state == stores[1].friends.state(user) == (counted[user], root_from_scratch(stores[1], user), False)
        for friend in listed(stores[0], user):
            assert user in listed(stores[1], friend)
            assert view(stores[0], user, friend).outgoing is None


def test_one_of_two_that_ask_each_other_at_once_accepts(stores: tuple[Store, Store], users: list[int]) -> None:
    def ask(view: View) -> Sequence[Change]:
        if view.kept is not None:
            return ()
        return (Befriended(0),) if view.incoming else (Requested("x"),)

    for one, two in ((0, 1), (2, 3), (1, 2), (3, 0)):
        pair = (users[one], users[two])
        racing = [gevent.spawn(stores[0].friends.change, *pair, ask, T0), gevent.spawn(stores[1].friends.change, *pair[::-1], ask, T0)]
        gevent.joinall(racing, timeout=60, raise_error=True)
        assert pair[1] in listed(stores[0], pair[0]) and pair[0] in listed(stores[1], pair[1])
        assert stores[0].friends.requests(pair[0], 0, 9) == ([], [])


def test_a_new_profile_is_in_the_list_of_who_became_a_friend_meanwhile(stores: tuple[Store, Store], users: list[int]) -> None:
    one, *others = users
    for round_ in range(5):
        setting = gevent.spawn(stores[0].profiles.set, one, ProfileChange(signature=f"round {round_}"))
        racing = [gevent.spawn(stores[1].friends.change, other, one, toggle, T0) for other in others]
        gevent.joinall(racing, timeout=60, raise_error=True)
        assert setting.get(timeout=60)
        for other in others:
            state = stores[1].friends.freshen(other, HASHING)
            assert state.root == root_from_scratch(stores[0], other)
            shown = listed(stores[1], other).get(one)
            assert shown is None or shown.signature == f"round {round_}"


def test_who_becomes_a_friend_while_lists_are_being_locked_is_shown_the_new_profile(
    mariadb: MariaDb, mariadb_settings: StoreSettings
) -> None:
    store, other = open_store(mariadb_settings), open_store(mariadb_settings)
    one, two = store.accounts.create_all([("one", "one", "hash"), ("two", "two", "hash")], now=1)
    has_locked, may_end = Event(), Event()

    def decide_late(view: View) -> Sequence[Change]:
        has_locked.set()
        may_end.wait(timeout=4)
        return (Befriended(0),)

    befriending = gevent.spawn(store.friends.change, two, one, decide_late, T0)
    assert has_locked.wait(timeout=10)
    setting = gevent.spawn(other.profiles.set, one, ProfileChange(signature="new"))
    mariadb.await_lock_wait()
    may_end.set()
    assert befriending.get(timeout=30) is not None
    done = setting.get(timeout=30)
    assert done is not None and done[1] == {two: 2}
    assert listed(store, two)[one].signature == "new"
    store.close()
    other.close()


def toggle(view: View) -> Sequence[Change]:
    return (Befriended(0),) if view.kept is None else (Unfriended(),)


def test_nothing_is_made_with_who_is_being_deleted(stores: tuple[Store, Store], users: list[int]) -> None:
    gone, *others = users
    befriend(stores[0], gone, others[0])

    def pester(other: int) -> None:
        for kind in (Requested("x"), Befriended(0), Blocked()) * 4:
            taken = kind

            def decide_(view: View, taken: Change = taken) -> Sequence[Change]:
                is_done = view.blocks if isinstance(taken, Blocked) else view.kept is not None
                return (taken,) if view.exists and not is_done else ()

            stores[1].friends.change(other, gone, decide_, T0)

    deletion = gevent.spawn(stores[0].accounts.delete, gone, T0)
    gevent.joinall([gevent.spawn(pester, other) for other in others], timeout=60, raise_error=True)
    assert deletion.get(timeout=60)
    for other in others:
        assert gone not in listed(stores[0], other)
        seen = view(stores[0], other, gone)
        assert (seen.exists, seen.kept, seen.incoming, seen.outgoing, seen.blocks) == (False, None, None, None, False)
        assert stores[0].friends.freshen(other, HASHING).root == root_from_scratch(stores[0], other)
    assert stores[0].friends.state(gone).version == 0
