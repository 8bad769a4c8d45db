"""The bridge to the store: who gets which answer, when a read begins, and what happens when there is none."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import gevent
import pytest
from gevent.event import Event

from myim_server.chat.inbox import Inbox, Read, Window
from myim_server.chat.lane import Letter
from myim_server.chat.shelf import Shelf, ShelfLimits
from myim_server.refusals import StoreUnavailable
from myim_server.store.offline import Inserted, StoredMessage
from myim_wire.errors import ErrorCode
from tests.server.running import wait_until


class Offline:
    """A store in memory that says what it was asked."""

    def __init__(self) -> None:
        self.rows: list[StoredMessage] = []
        self.inserted: list[list[StoredMessage]] = []
        self.confirmed: list[list[tuple[int, int, int]]] = []
        self.pages: list[tuple[int, int, int]] = []
        self.deleted: list[int] = []
        self.outcomes: dict[int, Inserted] = {}
        self.is_open = Event()
        self.is_open.set()
        self.fault: Exception | None = None
        self.fails_on = 0

    def _begin(self) -> None:
        self.is_open.wait()
        if self.fault:
            raise self.fault

    def insert(self, messages: Sequence[StoredMessage]) -> list[Inserted]:
        self.inserted.append(list(messages))
        self._begin()
        if self.fails_on in {message.time for message in messages}:
            raise StoreUnavailable("away")
        return [self.outcomes.get(message.time, Inserted.STORED) for message in messages]

    def page(self, target: int, handed: Collection[int], limit: int, max_bytes: int) -> tuple[list[StoredMessage], bool]:
        self.pages.append((target, limit, max_bytes))
        rows = [row for row in self.rows if row.target == target and row.id not in handed]
        self._begin()
        return rows[:limit], len(rows) > limit

    def targets_with_rows(self, user_ids: Iterable[int]) -> set[int]:
        self._begin()
        return {row.target for row in self.rows} & set(user_ids)

    def confirm(self, names: Sequence[tuple[int, int, int]], is_held: bool = False) -> int:
        self.confirmed.append(list(names))
        self._begin()
        return len(names)

    def delete(self, row_ids: Iterable[int]) -> None:
        self._begin()
        self.deleted += row_ids


@pytest.fixture
def offline() -> Offline:
    return Offline()


@pytest.fixture
def shelf(offline: Offline) -> Shelf:
    return Shelf(offline, 77, ShelfLimits(batch_rows=10, linger_seconds=0.001, store_seconds=5.0), gevent.spawn)


def letters(*times: int) -> list[Letter]:
    return [Letter(time, b"body", 1000 + time, 2000 + time, 0.0) for time in times]


def answers() -> tuple[list[Any], Callable[[Any], None]]:
    got: list[Any] = []
    return got, got.append


def test_letters_of_many_lanes_are_stored_together_and_each_lane_hears_of_its_own(shelf: Shelf, offline: Offline) -> None:
    offline.outcomes = {2: Inserted.DUPLICATE, 3: Inserted.CONFLICT, 4: Inserted.FULL, 5: Inserted.NO_TARGET}
    one, done_one = answers()
    other, done_other = answers()
    shelf.put(1, 9, letters(1, 2, 3), done_one, 0.0)
    shelf.put(2, 9, letters(4, 5), done_other, 0.0)
    wait_until(lambda: one and other)
    assert one == [[(1, None), (2, None), (3, ErrorCode.ID_CONFLICT)]]
    assert other == [[(4, ErrorCode.RECIPIENT_FULL), (5, ErrorCode.NOT_ALLOWED)]]
    (batch,) = offline.inserted
    assert [(row.target, row.user, row.time, row.qos, row.entered, row.message_id, row.accepted) for row in batch] == [
        (9, 1, 1, 1, 77, 1001, 2001),
        (9, 1, 2, 1, 77, 1002, 2002),
        (9, 1, 3, 1, 77, 1003, 2003),
        (9, 2, 4, 1, 77, 1004, 2004),
        (9, 2, 5, 1, 77, 1005, 2005),
    ]


def test_a_flood_of_qos_0_keeps_qos_1_waiting_for_one_transaction_at_most_and_what_is_too_much_of_it_is_dropped(
    shelf: Shelf, offline: Offline
) -> None:
    offline.is_open.clear()
    flood, done_flood = answers()
    for time in range(1, 2001):
        shelf.put_once(5, 9, letters(time)[0], 1, done_flood)
    assert flood == [False] * (2000 - 256)
    got, done = answers()
    shelf.put(1, 9, letters(7000), done, 0.0)
    wait_until(lambda: len(offline.inserted) == 2)
    assert [[row.user for row in batch] for batch in offline.inserted] == [[5] * 64, [1]]
    offline.is_open.set()
    wait_until(lambda: got and len(flood) == 2000)
    assert flood.count(True) == 256 and {row.qos for batch in offline.inserted for row in batch if row.user == 5} == {0}


def test_a_transaction_has_at_most_batch_rows_and_one_that_fails_fails_nobody_elses(shelf: Shelf, offline: Offline) -> None:
    offline.fails_on = 60
    got: dict[int, Any] = {}
    times = {1: range(1, 7), 2: range(11, 15), 3: range(21, 24), 4: range(31, 64), 5: range(71, 73)}
    for user, chosen in times.items():
        shelf.put(user, 9, letters(*chosen), lambda answer, user=user: got.__setitem__(user, answer), 0.0)  # type: ignore[misc]
    wait_until(lambda: len(got) == 5)
    batches = [[row.time for row in batch] for batch in offline.inserted]
    assert batches[:2] == [[*times[1], *times[2]], [*times[3]]]
    assert batches[2:] == [[*range(31, 41)], [*range(41, 51)], [*range(51, 61)], [71, 72]]
    assert isinstance(got[4], StoreUnavailable)
    assert all(got[user] == [(time, None) for time in times[user]] for user in (1, 2, 3, 5))


def test_long_bodies_make_a_transaction_shorter(shelf: Shelf, offline: Offline) -> None:
    got, done = answers()
    shelf.put(1, 9, [Letter(time, bytes(6000), time, time, 0.0) for time in range(1, 6)], done, 0.0)
    wait_until(lambda: got)
    assert [len(batch) for batch in offline.inserted] == [3, 2]
    assert [time for time, _ in got[0]] == [1, 2, 3, 4, 5]


def test_nobody_is_answered_before_the_commit(shelf: Shelf, offline: Offline) -> None:
    offline.is_open.clear()
    got, done = answers()
    shelf.put(1, 9, letters(1), done, 0.0)
    wait_until(lambda: offline.inserted)
    assert got == []
    offline.is_open.set()
    wait_until(lambda: got)


def test_a_failure_is_everybodys_answer(shelf: Shelf, offline: Offline) -> None:
    offline.fault = StoreUnavailable("away")
    got, done = answers()
    inbox = Inbox(9, 0, Window())
    shelf.put(1, 9, letters(1), done, 0.0)
    shelf.put(2, 9, letters(2), done, 0.0)
    shelf.read(inbox, done)
    shelf.confirm(inbox, [(1, 1)], done)
    wait_until(lambda: len(got) == 4)
    assert all(isinstance(answer, StoreUnavailable) for answer in got)


def test_what_takes_too_long_is_answered_once_and_what_has_not_begun_is_not_stored(shelf: Shelf, offline: Offline) -> None:
    offline.is_open.clear()
    begun, done_begun = answers()
    waiting, done_waiting = answers()
    later, done_later = answers()
    shelf.put(1, 9, letters(1), done_begun, 100.0)
    wait_until(lambda: offline.inserted)
    shelf.put(2, 9, letters(2), done_waiting, 101.0)
    shelf.put(3, 9, letters(3), done_later, 103.0)
    shelf.tick(104.9)
    assert begun == []
    shelf.tick(106.5)
    assert [type(answer) for answer in begun + waiting] == [StoreUnavailable, StoreUnavailable] and later == []
    offline.is_open.set()
    wait_until(lambda: later)
    assert later == [[(3, None)]]
    assert [[row.time for row in batch] for batch in offline.inserted] == [[1], [3]]
    assert len(begun) == len(waiting) == 1
    shelf.tick(1000.0)
    assert len(later) == 1


def row(number: int, target: int = 9, qos: int = 1) -> StoredMessage:
    return StoredMessage(target, 1, number, qos, b"body", 77, number, number, number)


def test_a_read_takes_what_was_not_handed_and_fits_the_window(shelf: Shelf, offline: Offline) -> None:
    offline.rows = [row(number) for number in range(1, 10)]
    inbox = Inbox(9, 0, Window(rows=6, row_bytes=100, page_rows=4))
    inbox.handed = {1: (1, 1, 4), 2: (1, 2, 4), 3: (1, 3, 4)}
    inbox.unconfirmed_rows, inbox.unconfirmed_bytes = 3, 12
    got, done = answers()
    shelf.read(inbox, done)
    wait_until(lambda: got)
    assert [one.id for one in got[0][0]] == [4, 5, 6] and got[0][1]
    assert offline.pages == [(9, 3, 88)]


def test_many_reads_ask_first_who_has_rows_at_all(shelf: Shelf, offline: Offline) -> None:
    offline.rows = [row(1, target=3)]
    got, done = answers()
    for user in range(10):
        shelf.read(Inbox(user, 0, Window()), done)
    wait_until(lambda: len(got) == 10)
    assert [target for target, _, _ in offline.pages] == [3]
    assert [len(rows) for rows, _ in got] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]


def test_a_read_asked_for_during_a_read_begins_after_it_was_asked_for(shelf: Shelf, offline: Offline) -> None:
    offline.is_open.clear()
    first, done_first = answers()
    second, done_second = answers()
    shelf.read(Inbox(9, 0, Window()), done_first)
    wait_until(lambda: offline.pages)
    offline.rows = [row(1)]
    shelf.read(Inbox(9, 1, Window()), done_second)
    offline.is_open.set()
    wait_until(lambda: first and second)
    assert ([len(rows) for rows, _ in first], [len(rows) for rows, _ in second]) == ([0], [1])


def test_rows_of_qos_0_are_deleted_before_they_are_given_out(shelf: Shelf, offline: Offline) -> None:
    offline.rows = [row(1), row(2, qos=0), row(3, qos=0)]
    got: list[list[int]] = []
    shelf.read(Inbox(9, 0, Window()), lambda page: got.append(list(offline.deleted)))
    wait_until(lambda: got)
    assert got == [[2, 3]]


def test_rows_of_qos_0_stay_for_the_next_session_when_this_one_leaves_during_the_read(shelf: Shelf, offline: Offline) -> None:
    offline.rows = [row(1), row(2, qos=0)]
    offline.is_open.clear()
    inbox = Inbox(9, 0, Window())
    got, done = answers()
    shelf.read(inbox, done)
    wait_until(lambda: offline.pages)
    inbox.close()
    offline.is_open.set()
    wait_until(lambda: got)
    assert (offline.deleted, list(got[0][0])) == ([], [])


def test_a_read_takes_one_page_of_what_a_blocked_sender_stored_and_the_inbox_reads_on(shelf: Shelf, offline: Offline) -> None:
    """Else a hundred thousand rows of it are one read, which everybody else's reads wait for, and as deep a recursion."""
    offline.rows = [row(number) for number in range(1, 301)]
    shelf.is_blocked, shelf.blocked_by = lambda target, sender: (target, sender) == (9, 1), lambda target: {1}
    inbox = Inbox(9, 0, Window())
    inbox.fetch()
    got, done = answers()
    shelf.read(inbox, done)
    wait_until(lambda: got)
    assert (got, len(offline.pages), offline.deleted) == ([([], True)], 1, list(range(1, 129)))
    rows, is_more = got[0]
    assert inbox.read_done(rows, is_more, 0.0) == [Read(inbox)]


def test_what_the_store_does_not_call_blocked_any_more_is_not_deleted_for_it(shelf: Shelf, offline: Offline) -> None:
    offline.rows = [row(1), row(2)._replace(user=2)]
    shelf.is_blocked, shelf.blocked_by = lambda target, sender: True, lambda target: {2}
    got, done = answers()
    shelf.read(Inbox(9, 0, Window()), done)
    wait_until(lambda: got)
    assert ([one.user for one in got[0][0]], offline.deleted) == ([1], [2])


def test_a_transaction_confirms_five_thousand_names_at_most(shelf: Shelf, offline: Offline) -> None:
    got, done = answers()
    for user, count in ((1, 3000), (2, 1500), (3, 1500), (4, 12_000)):
        shelf.confirm(Inbox(user, 0, Window()), [(1, time) for time in range(count)], done)
    wait_until(lambda: len(got) == 4)
    assert [len(names) for names in offline.confirmed] == [4500, 1500, 5000, 5000, 2000]


def test_confirmations_of_many_sessions_go_together(shelf: Shelf, offline: Offline) -> None:
    got, done = answers()
    shelf.confirm(Inbox(8, 0, Window()), [(1, 64), (1, 128)], done)
    shelf.confirm(Inbox(9, 0, Window()), [(2, 64)], done)
    wait_until(lambda: len(got) == 2)
    assert offline.confirmed == [[(8, 1, 64), (8, 1, 128), (9, 2, 64)]]


def test_who_has_rows_is_asked_of_the_store(shelf: Shelf, offline: Offline) -> None:
    offline.rows = [row(1, target=3)]
    assert shelf.users_with_rows([1, 2, 3]) == {3}
