"""The contract of accounts: exact names, ids that are found, generations that rise."""

import gevent
import pytest

from myim_server.store.accounts import Account, Accounts, NameTaken, NoSuchUser
from myim_server.store.changes import Changes, Raised
from myim_server.store.engine import Store, StoreSettings, open_store

SQL = ["' OR '1'='1", "x'); DROP TABLE users; --", "\\", "%s", "%(a)s", "{0}", "a\x00b", ":name", "?"]
NAMES = ["alice", "ALICE", "älice", "a😀👩‍👩‍👧", "名前", *SQL]


def test_every_name_is_another_account(store: Store) -> None:
    ids = [store.accounts.create(name, f"shown {name}", "hash", now=5) for name in NAMES]
    assert len(set(ids)) == len(NAMES)
    for name, user_id in zip(NAMES, ids, strict=True):
        expected = Account(user_id, name, f"shown {name}", "hash", generation=1, is_locked=False)
        assert store.accounts.find(name) == expected
        assert store.accounts.get(user_id) == expected


def test_ids_have_63_bits_and_are_not_0(store: Store, users: list[int]) -> None:
    assert all(0 < user_id < 1 << 63 for user_id in users)


def test_a_name_is_taken_once(store: Store, users: list[int]) -> None:
    with pytest.raises(NameTaken):
        store.accounts.create("user1", "Another", "hash", now=2)
    assert store.accounts.find("user1").shown_name == "User 1"  # type: ignore[union-attr]


def test_of_many_that_take_one_name_at_once_one_gets_it(settings: StoreSettings, store: Store) -> None:
    stores = [store, open_store(settings)]

    def create(center: Store) -> bool:
        try:
            return bool(center.accounts.create("wanted", "Wanted", "hash", now=1))
        except NameTaken:
            return False

    racing = [gevent.spawn(create, stores[i % 2]) for i in range(8)]
    gevent.joinall(racing, raise_error=True, timeout=30)
    assert sum(one.get() for one in racing) == 1
    stores[1].close()


def test_an_id_that_is_in_use_is_not_given_again(store: Store, users: list[int]) -> None:
    offered = iter([users[0], users[1], 77])
    accounts = Accounts(store._database, Changes(), make_id=lambda: next(offered))
    assert accounts.create("new", "New", "hash", now=1) == 77


def test_many_accounts_are_made_at_once_or_none(store: Store, users: list[int]) -> None:
    ids = store.accounts.create_all([(f"bulk{n}", f"Bulk {n}", "hash") for n in range(1500)], now=1)
    assert store.accounts.existing(ids) == set(ids)
    with pytest.raises(NameTaken):
        store.accounts.create_all([("fresh", "Fresh", "hash"), ("user1", "Taken", "hash")], now=1)
    assert store.accounts.find("fresh") is None
    assert store.accounts.create_all([], now=1) == []


def test_nobody_is_found_under_another_name(store: Store, users: list[int]) -> None:
    assert [store.accounts.find(name) for name in ("", "user", "User1", "user1 ", " user1", "user%", "user_")] == [None] * 7
    assert [store.accounts.get(user_id) for user_id in (0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)] == [None] * 5


def test_existing_ids_are_told_from_others(store: Store, users: list[int]) -> None:
    assert store.accounts.existing([*users, 0, 5, (1 << 64) - 1, *range(10, 2500)]) == set(users)
    assert store.accounts.existing([]) == set()


def test_hash_and_lock_are_kept(store: Store, users: list[int]) -> None:
    assert store.accounts.rehash(users[0], "new hash", was="hash")
    assert not store.accounts.rehash(users[0], "newer hash", was="hash")
    store.accounts.lock(users[0])
    store.accounts.lock(users[0])
    assert store.accounts.get(users[0]) == Account(users[0], "user0", "User 0", "new hash", 1, True)
    store.accounts.unlock(users[0])
    assert not store.accounts.get(users[0]).is_locked  # type: ignore[union-attr]
    assert not store.accounts.get(users[1]).is_locked  # type: ignore[union-attr]


def test_what_is_done_to_nobody_is_an_error(store: Store) -> None:
    for act in (store.accounts.lock, store.accounts.unlock, store.accounts.raise_generation):
        with pytest.raises(NoSuchUser):
            act(12345)
    assert not store.accounts.rehash(12345, "hash", was="hash")
    assert store.accounts.change_password(12345, "hash", "hash", 0) is None
    assert not store.accounts.delete(12345, now=1)
    assert store.terminals.raised_since(0) == ([], 0)


def test_a_generation_rises_and_the_log_tells(store: Store, users: list[int]) -> None:
    assert [store.accounts.raise_generation(users[0]) for _ in range(3)] == [2, 3, 4]
    assert store.accounts.get(users[0]).generation == 4  # type: ignore[union-attr]
    assert store.terminals.raised_since(1) == ([Raised(users[0], None, 3), Raised(users[0], None, 4)], 3)


def test_a_password_hash_is_not_shown(store: Store, users: list[int]) -> None:
    assert "hash" not in repr(store.accounts.get(users[0]))
