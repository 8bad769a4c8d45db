"""Fixtures of the login tests: a clock, ticket keys in a list and the tickets over them, a login center's door, and accounts."""

from collections.abc import Iterator

import pytest

from myim_server.login import LoginCenter, LoginLimits
from myim_server.metrics import Metrics
from myim_server.passwords import Passwords
from myim_server.store.engine import Store
from myim_server.tickets import Tickets
from tests.login.door import Decisions, OpenCenter, start_center
from tests.login.house import CHEAP, House
from tests.login.ticket_keys import Clock, KeyRows, make

# The databases of the store's own suite: a test here that asks for `store` runs on both.
from tests.store.conftest import backend, migrated_database, migrated_file, settings, store  # noqa: F401


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rows() -> KeyRows:
    return KeyRows()


@pytest.fixture
def tickets(rows: KeyRows, clock: Clock) -> Tickets:
    made = make(rows, clock)
    made.rotate()
    return made


@pytest.fixture
def decisions() -> Decisions:
    return Decisions()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def open_center(decisions: Decisions, metrics: Metrics) -> Iterator[OpenCenter]:
    opened: list[LoginCenter] = []

    def open_center(limits: LoginLimits) -> LoginCenter:
        opened.append(start_center(decisions, metrics, limits))
        return opened[-1]

    yield open_center
    for center in opened:
        center.stop(0)


@pytest.fixture
def center(open_center: OpenCenter) -> LoginCenter:
    return open_center(LoginLimits())


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(threads=2, queue=200, cost=CHEAP)
    yield made
    made.close()


@pytest.fixture
def house(store: Store, passwords: Passwords) -> House:  # noqa: F811
    return House(store, passwords)
