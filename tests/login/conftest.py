"""Fixtures of the login tests: a clock, ticket keys in a list, and the tickets over them."""

import pytest

from tests.login.ticket_keys import Clock, KeyRows, make

# The databases of the store's own suite: a test here that asks for `store` runs on both.
from tests.store.conftest import backend, migrated_database, migrated_file, settings, store  # noqa: F401


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rows():
    return KeyRows()


@pytest.fixture
def tickets(rows, clock):
    made = make(rows, clock)
    made.rotate()
    return made
