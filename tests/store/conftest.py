"""The fixtures of the contract suite: every test that asks for `settings` or `store` runs on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_server.store.engine import Store, StoreSettings, open_store
from tests.store.mariadb import MariaDb


@pytest.fixture(params=["sqlite", "mariadb"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreSettings]:
    """Of a database that does not exist yet (SQLite) or is empty (MariaDB); gone after the test."""
    if backend == "sqlite":
        yield StoreSettings(f"sqlite:///{tmp_path}/myim.db")
        return
    yield request.getfixturevalue("mariadb_settings")


@pytest.fixture
def mariadb_settings(mariadb: MariaDb) -> Iterator[StoreSettings]:
    """For what only the server can do, or do wrong."""
    name = mariadb.new_database()
    yield StoreSettings(mariadb.url(name), mariadb.password_file)
    mariadb.ask(f"DROP DATABASE {name}")


@pytest.fixture
def store(settings: StoreSettings) -> Iterator[Store]:
    opened = open_store(settings)
    yield opened
    opened.close()


@pytest.fixture
def users(store: Store) -> list[int]:
    return [store.accounts.create(f"user{number}", f"User {number}", "hash", now=1) for number in range(4)]
