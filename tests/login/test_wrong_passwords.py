"""What it costs to be wrong: delays of accounts and terminals, and bounds on what comes from one address."""

import gevent
import pytest

from myim_server.passwords import Passwords
from myim_server.refusals import RequestRefused
from myim_server.store.engine import Store
from myim_server.throttles import SECOND, TrustedNetworks, account_counter
from myim_wire.errors import ErrorCode
from tests.login.house import DAY, PASSWORD, House


def test_the_fifth_failure_delays_the_account_for_all_who_guess_known_name_or_not(house: House) -> None:
    house.register("alice")
    for name in ("alice", "nobody"):
        for i in range(5):
            assert house.refusal(name, "wrong password", terminal="stranger", address=f"10.0.0.{i}").code is ErrorCode.LOGIN_FAILED
        refused = house.refusal(name, PASSWORD, terminal="stranger", address="10.0.0.9")
        assert (refused.code, refused.retry_ms) == (ErrorCode.THROTTLED, 1_000)
    house.now += SECOND
    assert house.log_in("alice", terminal="stranger").new_terminal
    assert house.refusal("nobody", terminal="stranger").code is ErrorCode.LOGIN_FAILED
    assert house.refusal("nobody", terminal="stranger").retry_ms == 2_000


def test_a_success_begins_the_count_anew(house: House) -> None:
    house.register()
    for _ in range(3):
        for _ in range(4):
            assert house.refusal(password="wrong password").code is ErrorCode.LOGIN_FAILED
        house.log_in()


@pytest.mark.parametrize(("failures", "is_let_in"), [(99, True), (100, False), (101, False)])
def test_the_hundredth_failure_in_a_row_stops_new_terminals_until_the_counter_is_cleared(
    house: House, failures: int, is_let_in: bool
) -> None:
    house.register()
    house.fail(failures, terminal="stranger")
    house.now += 365 * DAY
    house.tickets.rotate()
    if not is_let_in:
        assert house.refusal(terminal="stranger").code is ErrorCode.LOGIN_FAILED
        house.store.throttles.clear(account_counter("alice"))
    assert house.log_in(terminal="stranger").user


def test_nobody_can_lock_the_owner_out_of_a_terminal_that_logged_in_before(house: House) -> None:
    house.register()
    house.fail(120, terminal="stranger")
    assert house.log_in(terminal="desk").slot == 0
    assert house.refusal(terminal="stranger").code is ErrorCode.LOGIN_FAILED


def test_a_known_terminal_has_its_own_delays(house: House) -> None:
    house.register()
    for _ in range(5):
        assert house.refusal(password="wrong password").code is ErrorCode.LOGIN_FAILED
    assert house.refusal().code is ErrorCode.THROTTLED
    assert house.log_in(terminal="phone").new_terminal


def test_thirty_failures_from_an_address_in_ten_minutes_stop_all_its_logins_and_registrations(house: House) -> None:
    house.register()
    for i in range(30):
        assert house.refusal(f"nobody{i}").code is ErrorCode.LOGIN_FAILED
    refused = house.refusal(terminal="stranger")
    assert refused.code is ErrorCode.THROTTLED
    assert refused.retry_ms == 600_000
    with pytest.raises(RequestRefused) as registering:
        house.register("bob")
    assert registering.value.code is ErrorCode.THROTTLED
    assert house.log_in(address="192.0.2.8").user
    house.now += 600 * SECOND
    assert house.log_in().user
    for i in range(30):
        assert house.refusal(f"anybody{i}").code is ErrorCode.LOGIN_FAILED
    assert house.refusal(terminal="stranger").code is ErrorCode.THROTTLED


def test_guesses_from_an_address_do_not_lock_out_who_shares_it_and_logged_in_from_this_terminal_before(house: House) -> None:
    house.register("alice")
    house.register("mallory", terminal="guesser")
    for i in range(30):
        assert house.refusal(f"nobody{i}", terminal="guesser").code is ErrorCode.LOGIN_FAILED
    assert house.log_in("alice").slot == 0
    assert house.refusal("alice", terminal="guesser").code is ErrorCode.THROTTLED


def test_twenty_accounts_in_ten_minutes_are_all_an_address_makes(store: Store, passwords: Passwords) -> None:
    house = House(store, passwords, trusted=TrustedNetworks(["198.51.100.0/24"]))
    for i in range(20):
        house.register(f"user{i}", terminal=f"terminal {i}")
    with pytest.raises(RequestRefused) as refused:
        house.register("user20")
    assert (refused.value.code, refused.value.retry_ms) == (ErrorCode.THROTTLED, 600_000)
    assert house.store.accounts.find("user20") is None
    house.register("user20", address="192.0.2.8")
    for i in range(21, 45):
        house.register(f"user{i}", terminal=f"terminal {i}", address="198.51.100.1")
    house.now += 600 * SECOND
    house.register("user99")


def test_accounts_that_are_asked_for_at_once_are_counted_one_by_one(house: House) -> None:
    def register(i: int) -> ErrorCode | None:
        try:
            house.register(f"user{i}", terminal=f"terminal {i}")
        except RequestRefused as refused:
            return refused.code
        return None

    tries = [gevent.spawn(register, i) for i in range(30)]
    gevent.joinall(tries, timeout=60, raise_error=True)
    assert [t.get() for t in tries].count(None) == 20


def test_passwords_that_are_refused_count_as_failures_of_the_address(house: House) -> None:
    for i in range(30):
        with pytest.raises(RequestRefused) as refused:
            house.register(f"user{i}", "password1")
        assert refused.value.code is ErrorCode.PASSWORD_REFUSED
    with pytest.raises(RequestRefused) as last:
        house.register("alice")
    assert last.value.code is ErrorCode.THROTTLED


def test_addresses_in_trusted_networks_are_not_throttled_but_accounts_still_are(store: Store, passwords: Passwords) -> None:
    house = House(store, passwords, trusted=TrustedNetworks(["192.0.2.0/24"]))
    house.register()
    for i in range(40):
        assert house.refusal(f"nobody{i}").code is ErrorCode.LOGIN_FAILED
    for _ in range(5):
        assert house.refusal(password="wrong password").code is ErrorCode.LOGIN_FAILED
    assert house.refusal().code is ErrorCode.THROTTLED


def test_asking_which_names_are_taken_is_counted_for_the_address(house: House) -> None:
    house.register()
    for _ in range(30):
        with pytest.raises(RequestRefused) as refused:
            house.register("alice", terminal="stranger")
        assert refused.value.code is ErrorCode.NAME_TAKEN
    assert house.refusal(terminal="stranger").code is ErrorCode.THROTTLED


def test_parallel_guesses_are_counted_one_by_one(house: House) -> None:
    house.register()
    house.calls.clear()
    guesses = [gevent.spawn(house.refusal, "alice", f"wrong password {i}", "stranger", f"10.0.{i}.1") for i in range(50)]
    gevent.joinall(guesses, timeout=60, raise_error=True)
    codes = [guess.get().code for guess in guesses]
    assert (codes.count(ErrorCode.LOGIN_FAILED), codes.count(ErrorCode.THROTTLED)) == (5, 45)
    assert house.calls.count("verify") == 5
