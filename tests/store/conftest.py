"""The fixtures of the contract suite: every test that asks for `settings` or `store` runs on both databases."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.schema import metadata
from tests.store.mariadb import MariaDb


@pytest.fixture(params=["sqlite", "mariadb"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    open_store(StoreSettings(f"sqlite:///{path}")).close()
    return path


@pytest.fixture(scope="session")
def migrated_database(mariadb: MariaDb) -> str:
    name = mariadb.new_database()
    open_store(StoreSettings(mariadb.url(name), mariadb.password_file)).close()
    return name


@pytest.fixture
def settings(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreSettings]:
    """Of a database at the present schema, with nothing in it."""
    if backend == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "myim.db")
        yield StoreSettings(f"sqlite:///{tmp_path}/myim.db")
        return
    server: MariaDb = request.getfixturevalue("mariadb")
    name: str = request.getfixturevalue("migrated_database")
    yield StoreSettings(server.url(name), server.password_file)
    emptied = [f"DELETE FROM {table}" for table in metadata.tables if table != "change_counter"]
    server.run(name, *emptied, "UPDATE change_counter SET number=0")


@pytest.fixture
def mariadb_settings(mariadb: MariaDb) -> Iterator[StoreSettings]:
    """Of an empty database, for what only the server can do, or do wrong."""
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
    return store.accounts.create_all([(f"user{number}", f"User {number}", "hash") for number in range(4)], now=1)
