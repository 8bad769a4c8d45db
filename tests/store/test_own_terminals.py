"""The contract of what owners see and do: their terminals, warnings of new ones, their logins."""

import pytest

from myim_server.store.changes import Raised
from myim_server.store.engine import Store
from myim_server.store.logins import LOGIN_DAYS, LOGINS_KEPT, Login
from myim_server.store.own_terminals import Unknown
from myim_server.store.terminals import IDLE_BEFORE_REUSE, Admission, NoSuchTerminal
from tests.store.messages import T0

DAY = 24 * 3600 * 1_000_000


def admit(store: Store, user: int, number: int, now: int = T0, name: str | None = None) -> Admission:
    called = f"terminal {number}" if name is None else name
    return store.terminals.admit(user, bytes([number]) * 32, bytes([number]) * 32, called, f"10.0.0.{number}", "10.0.0.0/24", now)


def names(store: Store, user: int) -> list[str]:
    return [one.name for one in store.own_terminals.of(user)]


def test_terminals_are_listed_by_slot_with_when_they_were_seen_first_and_last(store: Store, users: list[int]) -> None:
    admit(store, users[0], 1)
    admit(store, users[0], 2, T0 + 5)
    admit(store, users[0], 1, T0 + 9)
    first, second = store.own_terminals.of(users[0])
    assert (first.slot, first.first_seen, first.last_seen, first.address, first.fingerprint) == (0, T0, T0 + 9, "10.0.0.1", b"\1" * 32)
    assert (second.slot, second.first_seen, second.last_seen) == (1, T0 + 5, T0 + 5)
    assert store.own_terminals.of(users[1]) == []


def test_a_terminal_keeps_the_name_its_owner_gave_it_until_its_slot_is_anothers(store: Store, users: list[int]) -> None:
    admit(store, users[0], 1, name="host")
    admit(store, users[0], 1, T0 + 1, name="other host")
    assert names(store, users[0]) == ["other host"]
    store.own_terminals.rename(users[0], 0, "mine 😀")
    admit(store, users[0], 1, T0 + 2, name="host")
    assert names(store, users[0]) == ["mine 😀"]
    for number in range(2, 65):
        admit(store, users[0], number, T0 + IDLE_BEFORE_REUSE)
    assert admit(store, users[0], 99, T0 + IDLE_BEFORE_REUSE + 3, name="newcomer").slot == 0
    assert names(store, users[0])[0] == "newcomer"
    with pytest.raises(NoSuchTerminal):
        store.own_terminals.rename(users[1], 0, "not mine")


def test_a_users_first_terminal_is_no_warning_and_each_after_it_is_until_acknowledged(store: Store, users: list[int]) -> None:
    for number in (1, 2, 3):
        admit(store, users[0], number, T0 + number)
    admit(store, users[1], 1)
    waiting = [Unknown(1, "terminal 2", "10.0.0.2", T0 + 2), Unknown(2, "terminal 3", "10.0.0.3", T0 + 3)]
    assert store.own_terminals.unknown(users) == {users[0]: waiting}
    admit(store, users[0], 2, T0 + 9)
    assert store.own_terminals.unknown([users[0]]) == {users[0]: waiting}
    assert store.own_terminals.acknowledge(users[0], 1, asking=0)
    assert store.own_terminals.acknowledge(users[0], 1, asking=0)
    assert store.own_terminals.unknown([users[0]]) == {users[0]: waiting[1:]}
    assert store.own_terminals.unknown([]) == {}


def test_a_new_terminal_vouches_for_younger_ones_alone(store: Store, users: list[int]) -> None:
    for number in (1, 2, 3):
        admit(store, users[0], number, T0 + number)
    for slot, asking in ((1, 1), (1, 2), (2, 2), (2, 40)):
        assert not store.own_terminals.acknowledge(users[0], slot, asking)
    assert store.own_terminals.acknowledge(users[0], 2, asking=1)
    assert store.own_terminals.acknowledge(users[0], 1, asking=2)
    with pytest.raises(NoSuchTerminal):
        store.own_terminals.acknowledge(users[0], 9, asking=0)


def test_a_revocation_raises_generations_and_tells_the_log_once(store: Store, users: list[int]) -> None:
    for number in (1, 2, 3):
        admit(store, users[0], number, T0 + number)
    since = store.terminals.change_number()
    assert store.own_terminals.revoke(users[0], 1, asking=0) == 1
    assert store.own_terminals.revoke(users[0], 1, asking=0) == 0
    assert store.own_terminals.revoke(users[0], None, asking=0) == 1
    assert store.terminals.raised_since(since)[0] == [Raised(users[0], 1, 2), Raised(users[0], 2, 2)]
    assert [(one.is_revoked, one.is_told) for one in store.own_terminals.of(users[0])] == [(False, True), (True, True), (True, True)]
    assert store.own_terminals.revoke(users[0], 0, asking=0) == 1  # oneself, too
    with pytest.raises(NoSuchTerminal):
        store.own_terminals.revoke(users[0], 9, asking=0)


def test_a_known_terminal_that_was_revoked_comes_back_as_itself_and_an_unknown_one_as_a_new_one(store: Store, users: list[int]) -> None:
    for number in (1, 2, 3):
        admit(store, users[0], number, T0 + number)
    store.own_terminals.acknowledge(users[0], 1, asking=0)
    assert store.own_terminals.revoke(users[0], None, asking=0) == 2
    again = admit(store, users[0], 2, T0 + 9)
    assert (again.slot, again.generation, again.is_new_terminal) == (1, 3, False)
    assert store.own_terminals.unknown([users[0]]) == {}
    stranger = admit(store, users[0], 3, T0 + 10)
    assert (stranger.slot, stranger.is_new_terminal) == (3, True)
    assert store.own_terminals.unknown([users[0]]) == {users[0]: [Unknown(3, "terminal 3", "10.0.0.3", T0 + 10)]}


def test_a_new_terminal_does_not_silence_its_warning_by_revoking_itself(store: Store, users: list[int]) -> None:
    admit(store, users[0], 1, T0 + 1)
    admit(store, users[0], 2, T0 + 2)
    warning = {users[0]: [Unknown(1, "terminal 2", "10.0.0.2", T0 + 2)]}
    assert store.own_terminals.revoke(users[0], 1, asking=1) == 1
    assert store.own_terminals.unknown([users[0]]) == warning
    assert admit(store, users[0], 2, T0 + 9).slot == 1
    assert store.own_terminals.unknown([users[0]]) == warning
    # with the help of another of its kind either
    admit(store, users[0], 3, T0 + 10)
    assert store.own_terminals.revoke(users[0], 1, asking=2) == 1
    assert [one.slot for one in store.own_terminals.unknown([users[0]])[users[0]]] == [2]
    assert admit(store, users[0], 2, T0 + 11).is_new_terminal


def test_a_warning_of_a_terminal_that_a_new_password_logged_out_ends_by_revoking_it(store: Store, users: list[int]) -> None:
    admit(store, users[0], 1, T0 + 1)
    admit(store, users[0], 2, T0 + 2)
    account = store.accounts.get(users[0])
    assert account is not None and store.accounts.change_password(users[0], "another", account.password_hash, 0) == 2
    assert list(store.own_terminals.unknown([users[0]])) == [users[0]]
    assert store.own_terminals.revoke(users[0], 1, asking=0) == 0
    assert store.own_terminals.unknown([users[0]]) == {}


def test_a_terminal_that_is_revoked_has_no_say_any_more(store: Store, users: list[int]) -> None:
    for number in (1, 2, 3):
        admit(store, users[0], number, T0 + number)
    store.own_terminals.revoke(users[0], 1, asking=0)
    assert not store.own_terminals.acknowledge(users[0], 2, asking=1)
    for slot in (0, 2, None):
        with pytest.raises(NoSuchTerminal):
            store.own_terminals.revoke(users[0], slot, asking=1)
    assert [one.is_revoked for one in store.own_terminals.of(users[0])] == [False, True, False]
    assert [one.slot for one in store.own_terminals.unknown([users[0]])[users[0]]] == [2]


def test_what_an_operator_revokes_is_shown_as_revoked(store: Store, users: list[int]) -> None:
    for number in (1, 2):
        admit(store, users[0], number)
    store.terminals.raise_generation(users[0], 1)
    assert [one.is_revoked for one in store.own_terminals.of(users[0])] == [False, True]
    store.accounts.raise_generation(users[0])
    assert [one.is_revoked for one in store.own_terminals.of(users[0])] == [True, True]


def test_logins_are_kept_in_their_order_even_where_the_clock_stands(store: Store, users: list[int]) -> None:
    for _ in range(3):
        admit(store, users[0], 1)
    admit(store, users[0], 2, T0 - 5)
    page = store.logins.page(users[0], 0, 10)
    assert [one.time for one in page] == [T0 + 3, T0 + 2, T0 + 1, T0]
    assert page[-1] == Login(T0, "10.0.0.1", "terminal 1", 0, True, True)
    assert page[0] == Login(T0 + 3, "10.0.0.2", "terminal 2", 1, True, False)
    assert [one.time for one in store.logins.page(users[0], T0 + 2, 1)] == [T0 + 1]
    assert store.logins.page(users[0], (1 << 64) - 1, 10) == page
    assert store.logins.page(users[1], 0, 10) == []


def test_of_many_logins_the_latest_are_kept_and_of_old_ones_none(store: Store, users: list[int]) -> None:
    for number in range(LOGINS_KEPT + 3):
        admit(store, users[0], 1, T0 + number)
    admit(store, users[1], 1, T0 + 10 * DAY)
    times = [one.time for one in store.logins.page(users[0], 0, 1000)]
    assert times == list(range(T0 + LOGINS_KEPT + 2, T0 + 2, -1))
    late = T0 + (LOGIN_DAYS + 1) * DAY
    assert [store.logins.purge(late, 150) for _ in range(3)] == [150, LOGINS_KEPT - 150, 0]
    assert len(store.logins.page(users[1], 0, 10)) == 1
