"""The contract of confirmation: a row goes and its receipt comes in one transaction, once, whoever else confirms."""

import gevent

from myim_server.store.engine import Store, StoreSettings, open_store
from tests.store.mariadb import MariaDb
from tests.store.messages import message, put, rows_of, time_of, times


def test_a_confirmed_message_is_deleted_and_leaves_a_receipt_for_its_sender(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1, slot=5), message(users[0], users[1], 2, slot=5))
    assert store.offline.confirm([(users[0], users[1], time_of(1, 5))]) == 1
    assert times(rows_of(store, users[0])) == [time_of(2, 5)]
    assert store.receipts.page(users[1], 5, 10) == [(users[0], time_of(1, 5))]
    assert store.receipts.page(users[1], 4, 10) == []
    assert store.receipts.page(users[0], 5, 10) == []


def test_confirming_what_is_not_there_does_nothing(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1))
    nearly = [(users[2], users[1], time_of(1)), (users[0], users[2], time_of(1)), (users[0], users[1], time_of(2))]
    assert store.offline.confirm([*nearly, (1 << 63, 0, (1 << 64) - 1)]) == 0
    assert store.offline.confirm([]) == 0
    assert len(rows_of(store, users[0])) == 1


def test_confirming_again_makes_no_second_receipt(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1))
    name = (users[0], users[1], time_of(1))
    assert store.offline.confirm([name, name]) == 1
    store.receipts.drop(users[1], 0, [(users[0], time_of(1))])
    assert store.offline.confirm([name]) == 0
    assert store.receipts.page(users[1], 0, 10) == []


def test_a_qos_0_message_is_not_confirmed(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1, qos=0))
    assert store.offline.confirm([(users[0], users[1], time_of(1))]) == 0
    assert len(rows_of(store, users[0])) == 1


def test_a_message_stored_again_after_its_receipt_leaves_one_receipt(store: Store, users: list[int]) -> None:
    for _ in range(2):
        put(store, message(users[0], users[1], 1))
        assert store.offline.confirm([(users[0], users[1], time_of(1))]) == 1
    assert store.receipts.page(users[1], 0, 10) == [(users[0], time_of(1))]


def test_many_are_confirmed_at_once(store: Store, users: list[int]) -> None:
    targets = [users[0], users[2], users[3]]
    batch = [message(target, users[1], number) for number in range(500) for target in targets]
    put(store, *batch)
    assert store.offline.confirm([one[:3] for one in batch]) == 1500
    assert len(store.receipts.page(users[1], 0, 2000)) == 1500
    assert store.offline.targets_with_rows(users) == set()


def test_receipts_come_in_pages_and_go_when_the_sender_has_them(store: Store, users: list[int]) -> None:
    batch = [message(target, users[1], number) for number in range(300) for target in (users[0], users[2])]
    put(store, *batch)
    store.offline.confirm([one[:3] for one in batch])
    seen = []
    while page := store.receipts.page(users[1], 0, 250):
        seen += page
        store.receipts.drop(users[1], 0, [*page, (users[3], 64)])
    assert sorted(seen) == sorted((one.target, one.time) for one in batch)
    assert [time for _, time in seen] == sorted(time for _, time in seen)
    store.receipts.drop(users[1], 0, [])


def test_of_confirmations_that_race_one_deletes_and_one_receipt_stays(settings: StoreSettings, store: Store, users: list[int]) -> None:
    stores = [store, open_store(settings)]
    put(store, *(message(users[0], users[1], number) for number in range(50)))
    names = [(users[0], users[1], time_of(number)) for number in range(50)]
    orders = [names, names[::-1], names[25:] + names[:25], names[::2] + names[1::2]] * 2
    racing = [gevent.spawn(stores[i % 2].offline.confirm, order) for i, order in enumerate(orders)]
    gevent.joinall(racing, raise_error=True, timeout=60)
    assert sum(one.get() for one in racing) == 50
    assert len(store.receipts.page(users[1], 0, 1000)) == 50
    stores[1].close()


def test_a_confirmation_racing_with_the_resend_loses_nothing(settings: StoreSettings, store: Store, users: list[int]) -> None:
    stores = [store, open_store(settings)]
    name = (users[0], users[1], time_of(1))
    deleted = 0
    for _ in range(20):
        inserting = gevent.spawn(stores[0].offline.insert, [message(users[0], users[1], 1)])
        confirming = gevent.spawn(stores[1].offline.confirm, [name])
        inserting.get(timeout=30)
        deleted += confirming.get(timeout=30)
    deleted += store.offline.confirm([name])
    # However they fell: nothing is left behind, and whoever deleted left the receipt.
    assert deleted >= 1
    assert rows_of(store, users[0]) == []
    assert store.receipts.page(users[1], 0, 10) == [(users[0], time_of(1))]
    stores[1].close()


def test_a_confirmation_that_waited_for_another_makes_no_receipt_of_its_own(mariadb: MariaDb, mariadb_settings: StoreSettings) -> None:
    # The other's receipt was fetched and dropped by the sender meanwhile, so no key of the table would refuse a second one.
    store = open_store(mariadb_settings)
    users = store.accounts.create_all([("a", "A", "hash"), ("b", "B", "hash")], now=1)
    put(store, message(users[0], users[1], 1))
    other = mariadb.connect(mariadb_settings.url.rpartition("/")[2])
    other.query("DELETE FROM offline_messages")
    ours = gevent.spawn(store.offline.confirm, [(users[0], users[1], time_of(1))])
    mariadb.await_lock_wait()
    other.commit()
    assert ours.get(timeout=10) == 0
    assert store.receipts.page(users[1], 0, 10) == []
    other.close()
    store.close()
