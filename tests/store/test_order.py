"""The order rule: within one lane (target, user, slot) `accepted` rises in the order of storing.

Whatever clocks say, and whoever else stores.
"""

from contextlib import closing

import gevent
import pytest

from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.offline import Inserted, StoredMessage
from tests.store.mariadb import MariaDb
from tests.store.messages import T0, message, put, rows_of, time_of, times


def accepted(rows: list[StoredMessage]) -> list[int]:
    return [row.accepted for row in rows]


def test_accepted_rises_in_the_order_of_the_list_though_the_clock_falls(store: Store, users: list[int]) -> None:
    put(store, *(message(users[0], users[1], number, accepted=T0 - 1000 * number) for number in range(10)))
    rows = rows_of(store, users[0])
    assert times(rows) == [time_of(number) for number in range(10)]
    assert accepted(rows) == sorted(set(accepted(rows)))


def test_accepted_rises_though_the_clock_stands_still(store: Store, users: list[int]) -> None:
    put(store, *(message(users[0], users[1], number, accepted=T0) for number in (3, 1, 2)))
    assert times(rows_of(store, users[0])) == [time_of(number) for number in (3, 1, 2)]


def test_a_later_list_goes_above_the_rows_that_are_there(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1, accepted=T0 + 3600_000_000))
    put(store, message(users[0], users[1], 2, accepted=T0), message(users[0], users[1], 3, accepted=T0 - 5))
    assert times(rows_of(store, users[0])) == [time_of(1), time_of(2), time_of(3)]


def test_a_clock_that_is_right_is_left_alone(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1, accepted=T0 + 10))
    put(store, message(users[0], users[1], 2, accepted=T0 + 20), message(users[0], users[2], 3, accepted=T0 + 20))
    assert accepted(rows_of(store, users[0])) == [T0 + 10, T0 + 20, T0 + 20]


def test_what_follows_a_duplicate_goes_above_it(settings: StoreSettings, store: Store, users: list[int]) -> None:
    other = open_store(settings)
    put(other, message(users[0], users[1], 1, accepted=T0 + 3600_000_000))
    batch = [message(users[0], users[1], number, accepted=T0 + number) for number in (1, 2)]
    assert store.offline.insert(batch) == [Inserted.DUPLICATE, Inserted.STORED]
    assert times(rows_of(store, users[0])) == [time_of(1), time_of(2)]
    other.close()


def test_a_lane_that_went_to_another_center_and_came_back_is_still_in_order(
    settings: StoreSettings, store: Store, users: list[int]
) -> None:
    other = open_store(settings)
    put(store, message(users[0], users[1], 1, accepted=T0))
    put(other, message(users[0], users[1], 2, accepted=T0 + 3600_000_000))
    put(store, message(users[0], users[1], 3, accepted=T0 + 1))
    assert times(rows_of(store, users[0])) == [time_of(1), time_of(2), time_of(3)]
    other.close()


@pytest.mark.parametrize("ahead", [0, 1])
def test_two_centers_that_race_with_the_same_lane_leave_it_in_order(
    settings: StoreSettings, store: Store, users: list[int], ahead: int
) -> None:
    # Both have the same unsettled messages, cut into other groups, and clocks an hour apart; which comes first is left to the databases.
    stores = [store, open_store(settings)]
    skews = [0, 3600_000_000] if ahead else [3600_000_000, 0]
    names = range(60)
    outcomes: list[Inserted] = []

    def store_all(center: Store, skew: int, group: int) -> None:
        for begin in range(0, len(names), group):
            batch = [message(users[0], users[1], n, accepted=T0 + n * 64 + skew) for n in names[begin : begin + group]]
            outcomes.extend(center.offline.insert(batch))

    racing = [gevent.spawn(store_all, center, skew, group) for center, skew, group in zip(stores, skews, (3, 7), strict=True)]
    gevent.joinall(racing, raise_error=True, timeout=60)
    rows = rows_of(store, users[0])
    assert times(rows) == [time_of(n) for n in names]
    assert sorted(outcome.name for outcome in outcomes) == ["DUPLICATE"] * 60 + ["STORED"] * 60
    stores[1].close()


def test_many_senders_racing_to_one_target_each_keep_their_order(settings: StoreSettings, store: Store, users: list[int]) -> None:
    stores = [store, open_store(settings)]

    def send(center: Store, sender: int, slot: int) -> None:
        for begin in range(0, 40, 4):
            put(center, *(message(users[0], sender, n, slot=slot, accepted=T0 - 64 * n) for n in range(begin, begin + 4)))

    lanes = [(sender, slot) for sender in users[1:] for slot in (0, 1)]
    racing = [gevent.spawn(send, stores[i % 2], *lane) for i, lane in enumerate(lanes)]
    gevent.joinall(racing, raise_error=True, timeout=60)
    rows = rows_of(store, users[0])
    for sender, slot in lanes:
        assert [row.time for row in rows if (row.user, row.time & 63) == (sender, slot)] == [time_of(n, slot) for n in range(40)]
    stores[1].close()


def test_a_race_with_a_transaction_that_commits_in_the_middle_is_won_by_reading_its_row(
    mariadb: MariaDb, mariadb_settings: StoreSettings
) -> None:
    """The other center's row is found by the unique index alone: its transaction is open when ours looks for the highest `accepted`."""
    with closing(open_store(mariadb_settings)) as store, closing(mariadb.connect(mariadb_settings.url.rpartition("/")[2])) as other:
        users = [store.accounts.create(name, name, "hash", now=1) for name in ("a", "b")]
        values = f"({users[0]},{users[1]},{time_of(1)},0,1,{T0 + 3600_000_000},7,1,6,'body 1')"
        other.query(f"INSERT INTO offline_messages (target,user,time,slot,qos,accepted,entered,message_id,size,body) VALUES {values}")
        batch = [message(users[0], users[1], number, accepted=T0 + number) for number in (1, 2)]
        ours = gevent.spawn(store.offline.insert, batch)
        mariadb.await_lock_wait()
        other.commit()
        assert ours.get(timeout=10) == [Inserted.DUPLICATE, Inserted.STORED]
        assert times(rows_of(store, users[0])) == [time_of(1), time_of(2)]
