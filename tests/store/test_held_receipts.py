"""Receipts that are held: nobody learns of them before their target may be seen."""

import gevent

from myim_server.store.engine import Store, StoreSettings, open_store
from tests.store.messages import T0, message, put, rows_of, time_of

DAY = 24 * 3600 * 1_000_000


def test_a_held_receipt_is_nobodys_until_it_is_released(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1), message(users[0], users[1], 2, slot=3), message(users[0], users[2], 3))
    names = [(users[0], users[1], time_of(1)), (users[0], users[1], time_of(2, 3)), (users[0], users[2], time_of(3))]
    assert store.offline.confirm(names, is_held=True) == 3
    assert rows_of(store, users[0]) == [] and store.receipts.users_with_receipts(users) == set()
    assert store.receipts.held_for(users) == {users[0]}
    assert sorted(store.receipts.release(users[0], 2) + store.receipts.release(users[0], 2)) == sorted(
        [(users[1], 0), (users[1], 3), (users[2], 0)]
    )
    assert store.receipts.page(users[1], 0, 10) == [(users[0], time_of(1))]
    assert store.receipts.page(users[1], 3, 10) == [(users[0], time_of(2, 3))]
    assert store.receipts.release(users[0], 10) == [] and store.receipts.held_for(users) == set()


def test_of_those_that_are_held_the_old_ones_go(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1))
    store.offline.confirm([(users[0], users[1], time_of(1))], is_held=True)
    assert store.offline.purge_expired(T0 + 69 * DAY, 10).rows == 0
    assert store.offline.purge_expired(T0 + 71 * DAY, 10).rows == 1
    assert store.receipts.release(users[0], 10) == []


def test_of_two_centers_that_release_at_once_one_makes_the_receipt(store: Store, settings: StoreSettings, users: list[int]) -> None:
    """Else the other makes it again, when its sender has confirmed it."""
    other = open_store(settings)
    numbers = range(1, 41)
    put(store, *(message(users[0], users[1], number) for number in numbers))
    store.offline.confirm([(users[0], users[1], time_of(number)) for number in numbers], is_held=True)
    released = [gevent.spawn(one.receipts.release, users[0], 100) for one in (store, other) * 2]
    gevent.joinall(released, raise_error=True)
    assert sorted(len(one.get()) for one in released) == [0, 0, 0, 40]
    other.close()
