"""The contract of terminals: slots, generations, what is new about a login, and the log of what was revoked."""

from typing import cast

import gevent
import pytest

from myim_server.store.accounts import NoSuchUser
from myim_server.store.changes import Raised
from myim_server.store.database import Database
from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.terminals import (
    IDLE_BEFORE_REUSE,
    NETWORKS_KEPT,
    Admission,
    Arrival,
    LastLogin,
    NoFreeSlot,
    NoSuchTerminal,
    Terminals,
)
from tests.store.messages import T0, message, put, time_of

HOUR = 3600 * 1_000_000
DAY = 24 * HOUR


def key(number: int) -> bytes:
    return bytes([number]) * 32


def admit(store: Store, user: int, number: int, now: int = T0, network: str = "10.0.0.0/24") -> Admission:
    return store.terminals.admit(user, key(number), b"f" * 32, f"terminal {number} 😀", "10.0.0.9", network, now)


def test_the_first_login_is_new_in_every_way(store: Store, users: list[int]) -> None:
    assert admit(store, users[0], 1) == Admission(0, 1, is_new_terminal=True, is_new_network=True, last_login=None)


def test_the_second_login_knows_the_first(store: Store, users: list[int]) -> None:
    admit(store, users[0], 1)
    last = LastLogin(T0, "10.0.0.9", "terminal 1 😀")
    assert admit(store, users[0], 1, T0 + 1) == Admission(0, 2, is_new_terminal=False, is_new_network=False, last_login=last)


def test_another_terminal_gets_another_slot_and_is_told_of_the_latest_login(store: Store, users: list[int]) -> None:
    admit(store, users[0], 1, T0)
    admit(store, users[0], 2, T0 + 5)
    admission = admit(store, users[0], 3, T0 + 9, network="10.9.9.0/24")
    assert admission == Admission(2, 1, True, True, LastLogin(T0 + 5, "10.0.0.9", "terminal 2 😀"))
    assert [store.terminals.slot_of(users[0], key(number)) for number in (1, 2, 3, 4)] == [0, 1, 2, None]


def test_users_of_one_terminal_have_slots_of_their_own(store: Store, users: list[int]) -> None:
    admit(store, users[0], 1)
    assert admit(store, users[1], 1) == Admission(0, 1, True, True, None)
    assert store.terminals.slot_of(users[2], key(1)) is None


def test_a_65th_terminal_finds_no_slot_until_one_was_idle_for_40_days(store: Store, users: list[int]) -> None:
    for number in range(64):
        assert admit(store, users[0], number, T0 + number).slot == number
    store.terminals.touch(users[0], 0, T0 + DAY)
    with pytest.raises(NoFreeSlot):
        admit(store, users[0], 100, T0 + IDLE_BEFORE_REUSE)
    # The longest idle is not the oldest: slot 0 was seen since.
    admission = admit(store, users[0], 100, T0 + 1 + IDLE_BEFORE_REUSE)
    assert (admission.slot, admission.generation, admission.is_new_terminal) == (1, 2, True)
    assert store.terminals.slot_of(users[0], key(1)) is None


def test_a_reused_slot_does_not_inherit_receipts(store: Store, users: list[int]) -> None:
    for number in range(64):
        admit(store, users[0], number)
    put(store, message(users[1], users[0], 1, slot=0))
    store.offline.confirm([(users[1], users[0], time_of(1, 0))])
    assert admit(store, users[0], 100, T0 + IDLE_BEFORE_REUSE).slot == 0
    assert store.receipts.page(users[0], 0, 10) == []


def test_being_seen_never_goes_back_in_time(store: Store, users: list[int]) -> None:
    for number in range(64):
        admit(store, users[0], number, T0 + 2 * DAY)
    store.terminals.touch(users[0], 0, T0)
    with pytest.raises(NoFreeSlot):
        admit(store, users[0], 100, T0 + DAY + IDLE_BEFORE_REUSE)


class ReadOnly:
    """A database that is asked, and must not be written."""

    def __init__(self, database: Database) -> None:
        self.read = database.read


def test_being_seen_is_written_once_an_hour_at_most(store: Store, users: list[int]) -> None:
    for number in range(64):
        admit(store, users[0], number)
    reading = Terminals(cast(Database, ReadOnly(store.terminals._database)), store.terminals._changes)
    reading.touch(users[0], 0, T0 + HOUR)
    reading.touch(users[0], 0, T0 - DAY)
    reading.touch(users[0], 99, T0 + DAY)
    store.terminals.touch(users[0], 0, T0 + HOUR + 1)
    assert admit(store, users[0], 100, T0 + IDLE_BEFORE_REUSE).slot == 1


def test_terminals_that_log_in_at_once_get_different_slots(settings: StoreSettings, store: Store, users: list[int]) -> None:
    stores = [store, open_store(settings)]
    racing = [gevent.spawn(admit, stores[number % 2], users[0], number) for number in range(16)]
    gevent.joinall(racing, raise_error=True, timeout=30)
    assert sorted(one.get().slot for one in racing) == list(range(16))
    assert store.terminals.change_number() == 16
    stores[1].close()


def test_nobody_is_not_admitted(store: Store) -> None:
    with pytest.raises(NoSuchUser):
        admit(store, 12345, 1)
    assert store.terminals.change_number() == 0


def test_many_are_admitted_in_one_transaction(store: Store, users: list[int]) -> None:
    arrivals = [Arrival(user, key(number), b"f" * 32, "", "::1", "::/48", T0) for user in users for number in (1, 2)]
    assert [admission.slot for admission in store.terminals.admit_all(arrivals)] == [0, 1] * 4
    assert store.terminals.admit_all([]) == []


def test_only_the_latest_networks_are_remembered(store: Store, users: list[int]) -> None:
    for number in range(NETWORKS_KEPT + 1):
        assert admit(store, users[0], 1, T0 + number, f"10.0.{number}.0/24").is_new_network
    assert not admit(store, users[0], 1, T0 + 999, "10.0.1.0/24").is_new_network
    assert admit(store, users[0], 1, T0 + 1000, "10.0.0.0/24").is_new_network


def test_generations_are_told_for_those_that_exist(store: Store, users: list[int]) -> None:
    admit(store, users[0], 1)
    admit(store, users[0], 2)
    admit(store, users[1], 1)
    store.accounts.raise_generation(users[0])
    store.terminals.raise_generation(users[0], 1)
    asked = [(users[0], 0), (users[0], 1), (users[1], 0), (users[1], 5), (users[2], 0), (7, 7)]
    assert store.terminals.generations(asked) == {(users[0], 0): (2, 1), (users[0], 1): (2, 2), (users[1], 0): (1, 1)}
    assert store.terminals.generations([]) == {}


def test_raising_a_terminal_that_is_not_there_is_an_error(store: Store, users: list[int]) -> None:
    with pytest.raises(NoSuchTerminal):
        store.terminals.raise_generation(users[0], 3)


def test_the_log_tells_what_rose_since(store: Store, users: list[int]) -> None:
    assert store.terminals.raised_since(0) == ([], 0)
    admit(store, users[0], 1)
    rows, number = store.terminals.raised_since(0)
    assert rows == [Raised(users[0], 0, 1)]
    store.terminals.raise_generation(users[0], 0)
    store.accounts.raise_generation(users[1])
    assert store.terminals.raised_since(number) == ([Raised(users[0], 0, 2), Raised(users[1], None, 2)], number + 2)
    assert store.terminals.raised_since(number + 2) == ([], number + 2)


def test_a_poll_misses_no_change_however_the_commits_race(settings: StoreSettings, store: Store, users: list[int]) -> None:
    stores = [store, open_store(settings)]
    racing = [gevent.spawn(stores[i % 2].accounts.raise_generation, users[i % 4]) for i in range(40)]
    seen: list[Raised] = []
    number = 0
    while len(seen) < 40 and not (all(one.ready() for one in racing) and store.terminals.change_number() == number):
        rows, number = store.terminals.raised_since(number)
        seen += rows
        gevent.sleep(0)
    gevent.joinall(racing, raise_error=True)
    assert sorted(seen) == sorted(Raised(user, None, generation) for user in users for generation in range(2, 12))
    stores[1].close()
