"""The contract of offline messages, on both databases: what goes in, in which order it comes out, and when it goes."""

import pytest

from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.offline import DAY, Inserted
from tests.store.messages import T0, message, put, rows_of, time_of, times

ALL_BYTES = bytes(range(256)) * 128


def test_a_stored_message_comes_back_as_it_was(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1, body=ALL_BYTES))
    (row,) = rows_of(store, users[0])
    assert row == message(users[0], users[1], 1, body=ALL_BYTES)._replace(id=row.id)
    assert row.id > 0


@pytest.mark.parametrize("body", [b"", b"'", b"\\", b"\x00", b"%s%d", b"x'); DROP TABLE users; --", "😀".encode(), b"\xff\xfe", b"?:a"])
def test_a_body_is_kept_byte_for_byte(store: Store, users: list[int], body: bytes) -> None:
    put(store, message(users[0], users[1], 1, body=body))
    assert rows_of(store, users[0])[0].body == body


@pytest.mark.parametrize("time", [0, 63, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_time_may_be_any_u64(store: Store, users: list[int], time: int) -> None:
    put(store, message(users[0], users[1], 1)._replace(time=time))
    assert times(rows_of(store, users[0])) == [time]
    assert store.offline.confirm([(users[0], users[1], time)]) == 1
    assert store.receipts.page(users[1], time & 63, 10) == [(users[0], time)]
    store.receipts.drop(users[1], time & 63, [(users[0], time)])
    assert store.receipts.page(users[1], time & 63, 10) == []


def test_nothing_is_inserted_for_nothing(store: Store) -> None:
    assert store.offline.insert([]) == []


def test_a_message_for_nobody_is_refused_and_the_others_are_stored(store: Store, users: list[int]) -> None:
    nobody = [0, 12345, (1 << 63) + 5, (1 << 64) - 1]
    batch = [message(target, users[1], number) for number, target in enumerate([*nobody, users[0]])]
    assert store.offline.insert(batch) == [Inserted.NO_TARGET] * len(nobody) + [Inserted.STORED]


def test_a_user_that_was_nobody_a_moment_ago_is_found(store: Store, users: list[int]) -> None:
    before = store.accounts.existing([*users, 12345])
    late = store.accounts.create("late", "Late", "hash", now=2)
    assert before == set(users)
    put(store, message(late, users[1], 1))


def test_the_same_message_again_is_a_duplicate(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1))
    again = message(users[0], users[1], 1, accepted=T0 + 999_999)._replace(entered=8, message_id=99)
    assert store.offline.insert([again]) == [Inserted.DUPLICATE]
    assert rows_of(store, users[0])[0][:8] == message(users[0], users[1], 1)[:8]


@pytest.mark.parametrize("change", [{"body": b"other"}, {"body": b""}, {"qos": 0}])
def test_the_same_name_with_other_content_is_a_conflict(store: Store, users: list[int], change: dict[str, object]) -> None:
    put(store, message(users[0], users[1], 1))
    assert store.offline.insert([message(users[0], users[1], 1)._replace(**change)]) == [Inserted.CONFLICT]  # type: ignore[arg-type]
    assert rows_of(store, users[0])[0].body == b"body 1"


def test_repeats_within_one_list_are_found_too(store: Store, users: list[int]) -> None:
    one = message(users[0], users[1], 1)
    batch = [one, one, one._replace(body=b"other"), message(users[0], users[1], 2)]
    assert store.offline.insert(batch) == [Inserted.STORED, Inserted.DUPLICATE, Inserted.CONFLICT, Inserted.STORED]
    assert len(rows_of(store, users[0])) == 2


def test_new_messages_among_duplicates_are_stored(store: Store, users: list[int]) -> None:
    put(store, *(message(users[0], users[1], number) for number in range(0, 40, 2)))
    batch = [message(users[0], users[1], number) for number in range(40)]
    assert store.offline.insert(batch) == [Inserted.DUPLICATE, Inserted.STORED] * 20
    assert len(rows_of(store, users[0])) == 40


def test_a_batch_longer_than_a_statement_is_stored_whole(store: Store, users: list[int]) -> None:
    batch = [message(users[0], users[1], number, body=bytes([number]) * 32768) for number in range(80)]
    put(store, *batch)
    assert [row.body for row in rows_of(store, users[0])] == [one.body for one in batch]
    assert store.offline.insert([*batch[40:], message(users[0], users[1], 99)]) == [Inserted.DUPLICATE] * 40 + [Inserted.STORED]


def test_a_duplicate_in_a_later_statement_of_a_batch_leaves_the_earlier_ones_right(store: Store, users: list[int]) -> None:
    batch = [message(users[0], users[1], number, body=bytes([number]) * 32768) for number in range(40)]
    put(store, batch[39])
    assert store.offline.insert(batch) == [Inserted.STORED] * 39 + [Inserted.DUPLICATE]
    assert len(rows_of(store, users[0])) == 40


def test_a_page_is_the_oldest_that_were_not_handed_over(store: Store, users: list[int]) -> None:
    put(store, *(message(users[0], users[1], number) for number in (5, 3, 4, 1, 2)))
    put(store, *(message(users[2], users[1], number) for number in (1, 2)))
    first, is_more = store.offline.page(users[0], set(), 2, 1 << 20)
    assert (len(first), is_more) == (2, True)
    second, is_more = store.offline.page(users[0], {row.id for row in first}, 2, 1 << 20)
    assert (len(second), is_more) == (2, True)
    third, is_more = store.offline.page(users[0], {row.id for row in first + second}, 2, 1 << 20)
    assert (len(third), is_more) == (1, False)
    rows = first + second + third
    assert [(row.accepted, row.id) for row in rows] == sorted((row.accepted, row.id) for row in rows)


def test_a_row_that_is_committed_late_with_an_old_time_is_still_handed_over(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 50))
    handed = {row.id for row in rows_of(store, users[0])}
    put(store, message(users[0], users[2], 10))
    rows, _ = store.offline.page(users[0], handed, 10, 1 << 20)
    assert times(rows) == [time_of(10)]


def test_a_page_ends_before_its_bytes_are_too_many_but_has_at_least_one(store: Store, users: list[int]) -> None:
    put(store, *(message(users[0], users[1], number, body=bytes(size)) for number, size in enumerate((1000, 20000, 600, 32768, 10))))
    sizes = []
    handed: set[int] = set()
    is_more = True
    while is_more:
        rows, is_more = store.offline.page(users[0], handed, 100, 21_600)
        sizes.append([len(row.body) for row in rows])
        handed |= {row.id for row in rows}
    assert sizes == [[1000, 20000, 600], [32768], [10]]


def test_an_empty_page_says_there_is_no_more(store: Store, users: list[int]) -> None:
    assert store.offline.page(users[0], set(), 10, 100) == ([], False)
    assert store.offline.page((1 << 64) - 1, {1, 2}, 10, 100) == ([], False)


def test_ids_of_deleted_rows_are_not_given_again(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1))
    (old,) = rows_of(store, users[0])
    store.offline.delete([old.id])
    put(store, message(users[0], users[1], 2))
    assert rows_of(store, users[0])[0].id > old.id


def test_deleting_leaves_no_receipt(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1, qos=0), message(users[0], users[1], 2, qos=0))
    first, second = rows_of(store, users[0])
    store.offline.delete([first.id, 999_999])
    assert times(rows_of(store, users[0])) == [second.time]
    assert store.receipts.page(users[1], 0, 10) == []


def test_the_users_with_rows_are_found_among_many(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1), message(users[2], users[1], 2), message(users[2], users[1], 3))
    asked = [*users, *range(1, 2500)]
    assert store.offline.targets_with_rows(asked) == {users[0], users[2]}
    assert store.offline.targets_with_rows([]) == set()


def test_old_messages_expire_wherever_their_rows_are(store: Store, users: list[int]) -> None:
    now = T0 + 40 * DAY
    put(store, *(message(users[0], users[1], n, accepted=now - 29 * DAY) for n in range(30)))
    put(store, *(message(users[2], users[1], n, accepted=now - 31 * DAY) for n in range(30)))
    assert sum(store.offline.purge_expired(now, 10).rows for _ in range(10)) == 30
    assert len(rows_of(store, users[0])) == 30
    assert rows_of(store, users[2]) == []


def test_a_purge_takes_no_more_than_it_may(store: Store, users: list[int]) -> None:
    put(store, *(message(users[0], users[1], n) for n in range(30)))
    assert store.offline.purge_expired(T0 + 31 * DAY, 20).rows == 20
    assert store.offline.purge_expired(T0 + 31 * DAY, 20).rows == 10


def test_receipts_that_nobody_fetched_expire_later(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1))
    store.offline.confirm([(users[0], users[1], time_of(1))])
    assert store.offline.purge_expired(T0 + 69 * DAY, 10).rows == 0
    assert store.offline.purge_expired(T0 + 71 * DAY, 10).rows == 1
    assert store.receipts.page(users[1], 0, 10) == []


def test_messages_are_there_after_the_store_was_closed(settings: StoreSettings) -> None:
    store = open_store(settings)
    users = [store.accounts.create(name, name, "hash", now=1) for name in ("a", "b")]
    put(store, message(users[0], users[1], 1))
    store.close()
    again = open_store(settings)
    assert times(rows_of(again, users[0])) == [time_of(1)]
    again.close()
