"""The arithmetic of login throttles: delays, windows, the names of counters, the gate."""

import gevent
import pytest

from myim_server import throttles
from myim_server.throttles import SECOND, Gate, TrustedNetworks

NOW = 1_800_000_000 * SECOND


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (4, 0), (5, 1), (6, 2), (7, 4), (14, 512), (15, 900), (16, 900), (99, 900), (10_000, 900)]
)
def test_the_fifth_failure_waits_a_second_and_each_further_one_twice_as_long_up_to_15_minutes(failures: int, seconds: int) -> None:
    assert throttles.account_delay(failures) == seconds * SECOND


@pytest.mark.parametrize(("failures", "locked"), [(99, False), (100, True), (101, True)])
def test_a_hundred_failures_in_a_row_lock(failures: int, locked: bool) -> None:
    assert throttles.is_locked(failures) is locked


@pytest.mark.parametrize(
    ("failures", "seconds_left", "wait_seconds"),
    [(4, 0, 0), (5, 1, 1), (5, 0, 0), (5, -9, 0), (7, 3, 3), (7, 3600, 4), (20, 900, 900), (99, 86_400, 900), (100, 900, 0), (101, 9, 0)],
)
def test_the_wait_is_what_is_left_of_the_delay_and_never_more_than_the_delay_though_clocks_step(
    failures: int, seconds_left: int, wait_seconds: int
) -> None:
    assert throttles.account_wait(failures, NOW + seconds_left * SECOND, NOW) == wait_seconds * SECOND


def test_a_locked_counter_is_held_for_longer_than_any_purge_waits() -> None:
    assert throttles.account_hold(5) == SECOND
    assert throttles.account_hold(100) > 50 * 365 * 24 * 3600 * SECOND


@pytest.mark.parametrize(
    ("failures", "seconds_ago", "wait_seconds"),
    [(29, 0, 0), (30, 0, 600), (30, 599, 1), (30, 600, 0), (1000, 100, 500), (30, -3600, 0)],
)
def test_an_address_with_30_failures_waits_for_the_end_of_its_ten_minutes(failures: int, seconds_ago: int, wait_seconds: int) -> None:
    assert throttles.address_wait(failures, NOW - seconds_ago * SECOND, NOW) == wait_seconds * SECOND


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::1", True),
    ],
)
def test_an_address_counter_is_one_ipv4_address_or_one_ipv6_64(one: str, other: str, same: bool) -> None:
    assert (throttles.address_counter(one) == throttles.address_counter(other)) is same


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.77", "192.0.2.0/24"), ("::ffff:192.0.2.77", "192.0.2.0/24"), ("2001:db8:5:6::1", "2001:db8:5::/48")],
)
def test_a_network_is_an_ipv4_24_or_an_ipv6_48(address: str, network: str) -> None:
    assert throttles.network_of(address) == network


def test_an_account_counter_does_not_hold_the_name() -> None:
    assert "alice" not in throttles.account_counter("alice")
    assert len(throttles.account_counter("x" * 4096)) < 64


def test_trusted_networks_hold_their_addresses_and_no_others() -> None:
    trusted = TrustedNetworks(["10.0.0.0/8", "2001:db8::/32"])
    assert "10.1.2.3" in trusted
    assert "::ffff:10.1.2.3" in trusted
    assert "2001:db8::9" in trusted
    assert "11.0.0.1" not in trusted
    assert "10.1.2.3" not in TrustedNetworks([])


def test_the_gate_lets_one_attempt_per_counter_through_and_forgets_counters_nobody_holds() -> None:
    gate = Gate()
    inside: list[str] = []
    most: list[int] = []

    def attempt(counter: str) -> None:
        with gate.one_at_a_time(counter):
            inside.append(counter)
            most.append(inside.count(counter))
            gevent.spawn(int).join()  # lets the others run
            inside.remove(counter)

    gevent.joinall([gevent.spawn(attempt, counter) for counter in ("a", "b") * 20], timeout=10, raise_error=True)
    assert len(most) == 40
    assert set(most) == {1}
    assert len(gate) == 0
