"""The quota of each target: over it a sender is refused, nobody else is, and it opens again when the target has drained."""

from dataclasses import replace

import pytest

from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.mailboxes import REFUSE_UNREAD_FOR, Mailboxes
from myim_server.store.offline import Inserted
from tests.store.messages import T0, message, put, rows_of

LATER = T0 + 10 * REFUSE_UNREAD_FOR


@pytest.fixture
def settings(settings: StoreSettings) -> StoreSettings:
    return replace(settings, offline_rows_per_user=20, offline_bytes_per_user=10_000)


def test_a_full_mailbox_refuses_and_others_do_not(store: Store, users: list[int]) -> None:
    put(store, *(message(users[0], users[1], number) for number in range(20)))
    assert store.offline.insert([message(users[0], users[1], 20), message(users[2], users[1], 20)]) == [Inserted.FULL, Inserted.STORED]
    assert len(rows_of(store, users[0])) == 20


def test_a_list_fills_a_mailbox_to_the_brim_and_no_further(store: Store, users: list[int]) -> None:
    outcomes = store.offline.insert([message(users[0], users[1], number) for number in range(25)])
    assert outcomes == [Inserted.STORED] * 20 + [Inserted.FULL] * 5


def test_bytes_are_counted_too(store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1, body=bytes(9_990)))
    assert store.offline.insert([message(users[0], users[1], 2, body=bytes(11))]) == [Inserted.FULL]
    put(store, message(users[0], users[1], 3, body=bytes(10)))


def test_what_is_behind_a_refused_message_in_its_lane_is_refused_too(store: Store, users: list[int]) -> None:
    batch = [
        message(users[0], users[1], 1, body=bytes(9_000)),
        message(users[0], users[1], 2, body=bytes(9_000)),
        message(users[0], users[1], 3, body=b"small"),
        message(users[0], users[2], 4, body=b"another lane"),
        message(users[0], users[1], 5, slot=1, body=b"another terminal"),
    ]
    assert store.offline.insert(batch) == [Inserted.STORED, Inserted.FULL, Inserted.FULL, Inserted.STORED, Inserted.STORED]


def test_a_duplicate_needs_no_room(store: Store, users: list[int]) -> None:
    batch = [message(users[0], users[1], number) for number in range(20)]
    put(store, *batch)
    assert store.offline.insert([*batch, message(users[0], users[1], 99)]) == [Inserted.DUPLICATE] * 20 + [Inserted.FULL]


def test_a_drained_mailbox_takes_messages_again(store: Store, users: list[int]) -> None:
    batch = [message(users[0], users[1], number) for number in range(20)]
    put(store, *batch)
    assert store.offline.insert([message(users[0], users[1], 30)]) == [Inserted.FULL]
    store.offline.confirm([one[:3] for one in batch])
    put(store, message(users[0], users[1], 31, accepted=LATER))


def test_what_another_center_stored_is_counted_before_anything_is_refused(settings: StoreSettings, store: Store, users: list[int]) -> None:
    other = open_store(settings)
    put(store, message(users[0], users[1], 0))
    put(other, *(message(users[0], users[1], number) for number in range(1, 20)))
    # This process may store on for a sixteenth of the quota before it looks again.
    outcomes = [store.offline.insert([message(users[0], users[1], number)])[0] for number in range(20, 30)]
    assert outcomes.count(Inserted.STORED) <= 20 / 16 + 1
    assert outcomes[-1] is Inserted.FULL
    other.close()


def test_fills_are_kept_for_a_bounded_number_of_targets() -> None:
    mailboxes = Mailboxes(10, 10)
    for target in range(120_000):
        mailboxes.put(target, 1, 1, T0)
    assert len(mailboxes) <= 50_000


def test_a_full_mailbox_is_counted_at_most_once_a_second() -> None:
    mailboxes = Mailboxes(10, 1000)
    mailboxes.put(1, 10, 10, T0)
    assert mailboxes.unread({1: (1, 1, T0 + 10)}) == []
    assert mailboxes.unread({1: (1, 1, T0 + REFUSE_UNREAD_FOR)}) == [1]
