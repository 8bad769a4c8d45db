"""The contract of accounts that end: at once nobody is let in and nothing is kept for them; names rest for 40 days, ids are used up."""

import gevent
import pytest

from myim_server.store.accounts import NAME_REST, Accounts, NameTaken
from myim_server.store.changes import Changes, Raised
from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.offline import Inserted
from tests.store.friends import HASHING, MANY, befriend
from tests.store.messages import T0, message, put
from tests.store.traces import traces

DAY = 24 * 3600 * 1_000_000


def test_an_account_that_ended_is_found_by_nobody_and_its_tickets_are_told_to_be_over(store: Store, users: list[int]) -> None:
    store.terminals.admit(users[0], b"k" * 32, b"f" * 32, "desk", "10.0.0.1", "10.0.0.0/24", T0)
    since = store.terminals.change_number()
    assert store.accounts.delete(users[0], T0, was="hash")
    assert store.accounts.get(users[0]) is None and store.accounts.find("user0") is None
    assert store.accounts.existing(users) == set(users[1:])
    assert store.terminals.raised_since(since)[0] == [Raised(users[0], None, 2)]
    assert store.terminals.generations([(users[0], 0)]) == {}
    assert store.deletions.open(10) == [(users[0], T0)]
    assert not store.accounts.delete(users[0], T0 + 1)


def test_an_account_does_not_end_by_a_password_that_was_changed_meanwhile(store: Store, users: list[int]) -> None:
    assert store.accounts.change_password(users[0], "another", was="hash", slot=0) == 2
    assert not store.accounts.delete(users[0], T0, was="hash")
    assert store.accounts.change_password(users[0], "third", was="hash", slot=0) is None
    assert store.deletions.open(10) == []
    assert store.accounts.get(users[0]).password_hash == "another"  # type: ignore[union-attr]


def test_a_name_that_was_given_up_is_free_after_40_days(store: Store, users: list[int]) -> None:
    store.accounts.delete(users[0], T0)
    for now in (T0, T0 + NAME_REST - 1):
        assert store.accounts.is_reserved("user0", now)
        with pytest.raises(NameTaken):
            store.accounts.create("user0", "User 0", "hash", now)
        with pytest.raises(NameTaken):
            store.accounts.create_all([("fresh", "Fresh", "hash"), ("user0", "User 0", "hash")], now)
    assert store.accounts.find("fresh") is None
    assert not store.accounts.is_reserved("user0", T0 + NAME_REST)
    assert store.accounts.create("user0", "User 0", "hash", T0 + NAME_REST) != users[0]


def test_a_name_that_is_given_up_while_somebody_takes_it_goes_to_nobody(settings: StoreSettings, store: Store, users: list[int]) -> None:
    stores = [store, open_store(settings)]

    def take(number: int) -> bool:
        try:
            stores[number % 2].accounts.create("user0", "User 0", "hash", T0)
        except NameTaken:
            return False
        return True

    racing = [gevent.spawn(take, number) for number in range(6)]
    gevent.spawn(stores[1].accounts.delete, users[0], T0).get(timeout=30)
    racing += [gevent.spawn(take, number) for number in range(6)]
    gevent.joinall(racing, raise_error=True, timeout=30)
    assert not any(one.get() for one in racing)
    stores[1].close()


def test_an_id_is_never_given_again(store: Store, users: list[int]) -> None:
    store.accounts.delete(users[0], T0)
    store.deletions.close(users[0], T0 + 1)
    store.deletions.tidy(T0 + 400 * DAY)
    offered = iter([users[0], 77])
    accounts = Accounts(store._database, Changes(), make_id=lambda: next(offered))
    assert accounts.create("new", "New", "hash", T0 + 400 * DAY) == 77


def test_nothing_is_stored_for_who_is_gone_once_that_was_heard(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1), message(users[2], users[1], 1))
    store.offline.forget(users[2])
    store.accounts.delete(users[0], T0)
    store.offline.forget(users[0])
    for number in (2, 3):
        both = [message(users[0], users[1], number), message(users[2], users[1], number)]
        assert store.offline.insert(both) == [Inserted.NO_TARGET, Inserted.STORED]


def test_what_is_the_users_goes_in_pieces_and_what_others_wait_for_stays(store: Store, users: list[int]) -> None:
    ann, bob = users[:2]
    for number in range(5):
        put(store, message(ann, bob, number), message(bob, ann, number))
    store.offline.confirm([(bob, ann, message(bob, ann, 0).time), (ann, bob, message(ann, bob, 0).time)])
    store.accounts.delete(ann, T0)
    assert [store.deletions.wipe(ann, 3) for _ in range(3)] == [3, 1, 0]
    assert traces(store, ann) == {"changes.user", "deletions.user", "offline_messages.user", "receipts.target"}
    store.offline.confirm([(bob, ann, message(bob, ann, 1).time)])  # a receipt for who is gone
    assert "receipts.user" in traces(store, ann)
    store.deletions.tidy(T0)
    assert "receipts.user" not in traces(store, ann)


def test_friends_catch_up_by_version_for_40_days_and_by_comparing_groups_after_that(store: Store, users: list[int]) -> None:
    ann, bob, eve = users[:3]
    befriend(store, ann, bob)
    befriend(store, bob, eve)
    version = store.friends.state(bob).version
    store.accounts.delete(ann, T0)
    assert store.deletions.friends_left(ann) == [(bob, version + 1)]
    assert store.friends.state(bob).version == version + 1
    assert traces(store, ann) == {"changes.user", "deletions.user", "friend_removals.friend"}
    store.deletions.tidy(T0 + NAME_REST - 1)
    assert store.friends.difference(bob, version, MANY, HASHING).changes == ([], [ann])
    store.deletions.tidy(T0 + NAME_REST)
    assert store.friends.difference(bob, version, MANY, HASHING).changes is None
    assert store.friends.difference(bob, version + 1, MANY, HASHING).changes == ([], [])
    assert traces(store, ann) == {"deletions.user"}
    assert store.friends.state(bob).version == version + 1


def test_what_is_open_is_told_until_it_is_closed(store: Store, users: list[int]) -> None:
    for number, user in enumerate(users):
        store.accounts.delete(user, T0 + number)
    assert store.deletions.open(2) == [(users[0], T0), (users[1], T0 + 1)]
    store.deletions.close(users[0], T0 + 9)
    assert [user for user, _ in store.deletions.open(9)] == users[1:]
