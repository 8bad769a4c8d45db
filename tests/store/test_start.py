"""What a store refuses at start, each named; and that it makes or brings up to date what it may."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, create_engine, make_url

from myim_server.refusals import StoreRefused
from myim_server.store.engine import StoreSettings, open_store
from myim_server.store.migrations.upgrade import configuration, upgrade
from myim_server.store.schema import REVISIONS, VERSION_TABLE, metadata
from tests.store.mariadb import MariaDb


def database_of(settings: StoreSettings) -> str:
    return str(make_url(settings.url).database)


def reason(settings: StoreSettings) -> str:
    with pytest.raises(StoreRefused) as refused:
        open_store(settings)
    return refused.value.reason


def opens(settings: StoreSettings) -> bool:
    open_store(settings).close()
    return True


@contextmanager
def variable(server: MariaDb, name: str, value: int) -> Iterator[None]:
    ((before,),) = server.ask(f"SELECT @@GLOBAL.{name}")
    server.ask(f"SET GLOBAL {name}={value}")
    try:
        yield
    finally:
        server.ask(f"SET GLOBAL {name}={before}")


@pytest.mark.parametrize("flush", [0, 2])
def test_a_server_that_does_not_flush_at_commit_is_refused_unless_that_is_allowed(
    mariadb: MariaDb, mariadb_settings: StoreSettings, flush: int
) -> None:
    with variable(mariadb, "innodb_flush_log_at_trx_commit", flush):
        assert f"does not flush at commit: innodb_flush_log_at_trx_commit is {flush}" in reason(mariadb_settings)
        assert opens(replace(mariadb_settings, allow_unflushed=True))
    assert opens(mariadb_settings)


def test_a_binary_log_that_is_not_flushed_is_refused(tmp_path: Path) -> None:
    server = MariaDb(tmp_path)
    server.start("--log-bin", "--sync-binlog=0")
    try:
        settings = StoreSettings(server.url(server.new_database()), server.password_file)
        assert "log_bin is on and sync_binlog is 0" in reason(settings)
        server.ask("SET GLOBAL sync_binlog=1")
        assert opens(settings)
    finally:
        server.stop()


def test_packets_smaller_than_a_statement_are_refused(mariadb: MariaDb, mariadb_settings: StoreSettings) -> None:
    with variable(mariadb, "max_allowed_packet", 1 << 19):
        assert "max_allowed_packet is 524288" in reason(mariadb_settings)
    with variable(mariadb, "max_allowed_packet", 1 << 20):
        assert opens(mariadb_settings)


@pytest.mark.parametrize("letters", ["latin1", "utf8mb3"])
def test_a_database_that_is_not_utf8mb4_is_refused(mariadb: MariaDb, letters: str) -> None:
    name = mariadb.new_database(letters)
    assert f"is {letters}, not utf8mb4" in reason(StoreSettings(mariadb.url(name), mariadb.password_file))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER TABLE offline_messages ENGINE=MyISAM", "table offline_messages is MyISAM, not InnoDB"),
        ("ALTER TABLE users CONVERT TO CHARACTER SET latin1", "table users is latin1_swedish_ci, not utf8mb4"),
        ("ALTER TABLE users CONVERT TO CHARACTER SET utf8mb3", "table users is utf8mb3_general_ci, not utf8mb4"),
        ("ALTER TABLE users MODIFY name VARCHAR(128) CHARACTER SET latin1 NOT NULL", "column users.name is latin1, not utf8mb4"),
    ],
)
def test_a_table_of_the_wrong_kind_is_refused(mariadb: MariaDb, mariadb_settings: StoreSettings, statement: str, expected: str) -> None:
    assert opens(mariadb_settings)
    mariadb.run(database_of(mariadb_settings), statement)
    assert expected in reason(mariadb_settings)


def test_a_table_of_somebody_elses_beside_ours_is_left_alone(mariadb: MariaDb, mariadb_settings: StoreSettings) -> None:
    assert opens(mariadb_settings)
    mariadb.run(database_of(mariadb_settings), "CREATE TABLE theirs (a INT) ENGINE=MyISAM CHARACTER SET latin1")
    assert opens(mariadb_settings)


@pytest.mark.parametrize("version", ["0006", "9999", "abc"])
def test_a_newer_schema_is_refused_by_its_number(settings: StoreSettings, version: str) -> None:
    store = open_store(settings)
    stamp(settings, version)
    store.close()
    assert f"schema version {version}, newer than this program's {REVISIONS[-1]}" in reason(settings)
    assert "newer" in reason(replace(settings, migrate=True))
    stamp(settings, REVISIONS[-1])


def test_an_older_schema_on_a_server_is_refused_until_it_is_migrated_on_demand(mariadb: MariaDb, mariadb_settings: StoreSettings) -> None:
    make_old(mariadb_settings, "0001")
    needed = f"this program needs {REVISIONS[-1]}; back it up, then run `myim_server admin migrate`"
    assert f"schema version 0001, {needed}" in reason(mariadb_settings)
    assert opens(replace(mariadb_settings, migrate=True))
    assert opens(mariadb_settings)


def test_an_older_sqlite_file_is_migrated_and_keeps_its_users(tmp_path: Path) -> None:
    settings = StoreSettings(f"sqlite:///{tmp_path}/old.db")
    make_old(settings, "0001")
    with sqlite3.connect(tmp_path / "old.db") as file:
        file.execute("INSERT INTO users VALUES (5, 'old', 'Old', 'hash', 1, 0, 1)")
    store = open_store(settings)
    assert store.accounts.find("old") is not None
    assert store.offline.targets_with_rows([5]) == set()
    store.close()


def test_an_interrupted_migration_goes_on_at_the_next_start(mariadb: MariaDb, mariadb_settings: StoreSettings) -> None:
    # As if the process had died after some of the tables: DDL commits by itself there.
    assert opens(mariadb_settings)
    name = database_of(mariadb_settings)
    undone = ("DROP TABLE offline_messages", "DROP INDEX receipts_age ON receipts", "DROP TABLE nodes")
    mariadb.run(name, f"DELETE FROM {VERSION_TABLE}", *undone)
    assert opens(mariadb_settings)
    assert differences(mariadb_settings) == []
    assert mariadb.ask("SELECT COUNT(*) FROM change_counter", database=name) == [(1,)]


def test_the_migrated_tables_are_those_of_the_schema(settings: StoreSettings) -> None:
    assert opens(settings)
    assert differences(settings) == []


def test_the_schema_knows_every_revision() -> None:
    found = [script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS


def test_somebody_elses_database_is_refused(mariadb: MariaDb, mariadb_settings: StoreSettings, tmp_path: Path) -> None:
    mariadb.run(database_of(mariadb_settings), "CREATE TABLE invoices (a INT)")
    with sqlite3.connect(tmp_path / "other.db") as file:
        file.execute("CREATE TABLE invoices (a INT)")
    for settings in (mariadb_settings, StoreSettings(f"sqlite:///{tmp_path}/other.db")):
        assert "tables that are not MyIM's (invoices)" in reason(settings)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "is not a url"),
        ("myim.db", "is not a url"),
        ("postgresql://a@b/c", "postgresql is not supported"),
        ("sqlite://", "in memory would lose"),
        ("sqlite:///:memory:", "in memory would lose"),
        ("sqlite:////nonexistent/myim.db", "unable to open"),
        ("sqlite:////proc/self/status", "cannot be used"),
        ("mysql://myim@127.0.0.1:1/myim", "cannot be used"),
        ("mysql://myim@127.0.0.1:1", "names no database"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_with_the_reason(url: str, expected: str) -> None:
    assert expected in reason(StoreSettings(url))


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_bytes(b"certainly not a database, but long enough to be read as one" * 100)
    assert "not a database" in reason(StoreSettings(f"sqlite:///{tmp_path}/text.db"))


def test_wrong_credentials_and_missing_rights_are_named(mariadb: MariaDb, mariadb_settings: StoreSettings, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not the password")
    wrong.chmod(0o600)
    assert "user or password refused" in reason(replace(mariadb_settings, password_file=wrong))
    assert "user or password refused" in reason(replace(mariadb_settings, password_file=None))
    assert "no privilege on database 'mysql'" in reason(replace(mariadb_settings, url=mariadb.url("mysql")))
    wrong.chmod(0o644)
    assert "chmod 600" in reason(replace(mariadb_settings, password_file=wrong))


def test_a_database_that_is_not_there_is_named(mariadb: MariaDb, mariadb_settings: StoreSettings) -> None:
    mariadb.ask("GRANT ALL ON `absent`.* TO myim@127.0.0.1")
    assert "there is no database 'absent'" in reason(replace(mariadb_settings, url=mariadb.url("absent")))


def test_a_user_that_may_only_read_is_refused(mariadb: MariaDb, mariadb_settings: StoreSettings) -> None:
    name = database_of(mariadb_settings)
    mariadb.ask(f"REVOKE ALL ON {name}.* FROM myim@127.0.0.1")
    mariadb.ask(f"GRANT SELECT ON {name}.* TO myim@127.0.0.1")
    assert "denied" in reason(mariadb_settings)


def test_a_password_is_never_in_a_reason_or_in_the_settings(mariadb: MariaDb, mariadb_settings: StoreSettings) -> None:
    secret = mariadb.password_file.read_text().strip()
    assert secret not in repr(mariadb_settings)
    assert secret not in reason(replace(mariadb_settings, url=mariadb.url("absent_too")))


def stamp(settings: StoreSettings, version: str) -> None:
    engine = create_engine(url_of(settings))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num='{version}'")
    engine.dispose()


def make_old(settings: StoreSettings, revision: str) -> None:
    engine = create_engine(url_of(settings))
    with engine.begin() as connection:
        upgrade(connection, revision)
    engine.dispose()


def differences(settings: StoreSettings) -> list[object]:
    engine = create_engine(url_of(settings))
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}), metadata)
    engine.dispose()
    return list(found)


def url_of(settings: StoreSettings) -> URL:
    url = make_url(settings.url)
    if url.get_backend_name() == "sqlite":
        return url
    assert settings.password_file is not None
    return url.set(drivername="mysql+pymysql", password=settings.password_file.read_text().rstrip("\n"))
