"""How long failed logins make the next one wait: pure rules over counts that the store keeps.

What lives here: the delays and windows of the login throttles, the names of their counters, and the gate that lets one attempt per counter
through at a time. What must not: the store, clocks, sockets. Why a gate: two attempts that both read "4 failures" would both be tried, and
a thousand parallel guesses would count as one. Times are microseconds since 1970, waits are microseconds.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gevent.lock import BoundedSemaphore

SECOND = 1_000_000
FREE_FAILURES = 5
LONGEST_DELAY = 15 * 60 * SECOND
FAILURES_TO_LOCK = 100
LOCK_HOLD = 100 * 365 * 24 * 3600 * SECOND
ADDRESS_FAILURES = 30
ADDRESS_WINDOW = 10 * 60 * SECOND


def account_delay(failures: int) -> int:
    """The wait after the n-th failure in a row: none below 5, then 1 s doubling to 15 min."""
    if failures < FREE_FAILURES:
        return 0
    return min(LONGEST_DELAY, SECOND << min(failures - FREE_FAILURES, 20))


def is_locked(failures: int) -> bool:
    """Whether so many failures in a row stop the counter until the operator unlocks it."""
    return failures >= FAILURES_TO_LOCK


def account_hold(failures: int) -> int:
    """For how long the counter must be kept after the n-th failure: its delay, and practically for ever once it is locked."""
    return LOCK_HOLD if is_locked(failures) else account_delay(failures)


def account_wait(failures: int, until: int, now: int) -> int:
    """What is left of the delay that ends at `until`; none for a locked counter, whose attempts fail like wrong passwords."""
    return 0 if is_locked(failures) else min(max(0, until - now), account_delay(failures))


def is_window_over(since: int, now: int) -> bool:
    """Whether the ten minutes that began at `since` are over; a clock set back ends them too."""
    return not 0 <= now - since < ADDRESS_WINDOW


def address_wait(failures: int, since: int, now: int, most: int = ADDRESS_FAILURES) -> int:
    """The wait of an address with `failures` (of `most`) in the window that began at `since`: 0, or until the window ends."""
    if failures < most or is_window_over(since, now):
        return 0
    return since + ADDRESS_WINDOW - now


def account_counter(normalised_name: str) -> str:
    """The counter of all terminals that never logged in to this name; names that nobody has are counted alike."""
    return "name:" + hashlib.sha256(normalised_name.encode()).hexdigest()[:32]


def terminal_counter(user_id: int, slot: int) -> str:
    """The own counter of a terminal that logged in before, so that strangers' failures do not lock its owner out."""
    return f"terminal:{user_id}:{slot}"


def address_counter(address: str) -> str:
    """The counter of an address: the IPv4 address, or the /64 that an IPv6 host can pick its addresses from."""
    parsed = _unmapped(address)
    if parsed.version == 6:
        return f"address:{ipaddress.ip_network((parsed, 64), strict=False).network_address}"
    return f"address:{parsed}"


def registration_counter(address: str) -> str:
    """The counter of the accounts made from an address."""
    return "registrations:" + address_counter(address)


def network_of(address: str) -> str:
    """The network that "new network" speaks of: IPv4 /24, IPv6 /48 [P-4.8]."""
    parsed = _unmapped(address)
    return str(ipaddress.ip_network((parsed, 24 if parsed.version == 4 else 48), strict=False))


def _unmapped(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else parsed


class TrustedNetworks:
    """Networks whose addresses are not throttled (the accounts still are)."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def __contains__(self, address: object) -> bool:
        parsed = _unmapped(str(address))
        return any(parsed in network for network in self._networks)


class Gate:
    """Lets one attempt per counter through at a time, in this process; the others wait in their order."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[BoundedSemaphore, int]] = {}

    def __len__(self) -> int:
        return len(self._locks)

    @contextmanager
    def one_at_a_time(self, counter: str) -> Iterator[None]:
        """Hold the counter; yields to other greenlets while another attempt has it."""
        lock, users = self._locks.get(counter, (None, 0))
        lock = lock or BoundedSemaphore(1)
        self._locks[counter] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            lock, users = self._locks.pop(counter)
            if users > 1:
                self._locks[counter] = (lock, users - 1)
