"""What a database must be before it is trusted with messages; every refusal names what is wrong and what to do.

What must not live here: opening connections (`engine`), table definitions (`schema`). Why so strict: a database that does not flush,
cannot hold an emoji or takes packets that are too small works for months, and then loses what was acknowledged.
"""

from typing import Any

import structlog
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from myim_server.refusals import StoreRefused, StoreUnavailable
from myim_server.store.database import SQLITE, Database
from myim_server.store.failures import mysql_code
from myim_server.store.schema import REVISIONS, VERSION_TABLE, metadata

SMALLEST_PACKET = 1 << 20
MIGRATION_WAIT_SECONDS = 4
# Dozens of statements, each of which a slow disk flushes; what is interrupted goes on at the next start.
MIGRATION_SECONDS = 300.0
_MIGRATION_LOCK = "myim-migration"

_CONNECT_ERRORS = {
    1044: "this user has no privilege on database {database!r}",
    1045: "user or password refused",
    1049: "there is no database {database!r}; CREATE DATABASE {database} CHARACTER SET utf8mb4",
    1698: "user or password refused",
}


def check_reachable(engine: Engine) -> None:
    """Raises StoreRefused with the reason if no connection can be made."""
    try:
        engine.connect().close()
    except (SQLAlchemyError, OSError) as error:
        cause = (error.orig if isinstance(error, DBAPIError) else None) or error
        known = _CONNECT_ERRORS.get(mysql_code(cause))
        engine.dispose()
        raise StoreRefused(f"the database cannot be used: {known.format(database=engine.url.database) if known else cause}") from None


def check_mariadb(database: Database, allow_unflushed: bool) -> None:
    """Raises StoreRefused unless the server flushes at commit, takes packets of 1 MiB, and database and tables are utf8mb4 and InnoDB."""
    try:
        unflushed = database.read(_unflushed)
        if unflushed and not allow_unflushed:
            raise StoreRefused(f"the database does not flush at commit: {unflushed}; a settled message could be lost")
        if unflushed:
            structlog.get_logger().warning("store_unflushed", reason=unflushed, risk="a power failure loses settled messages")
        database.read(_check_packets)
        database.read(_check_letters)
        database.read(_check_tables)
    except StoreUnavailable as error:
        raise StoreRefused(f"the database cannot be checked: {error.cause}") from None


def check_sqlite(database: Database) -> None:
    """Raises StoreRefused unless the file can be written, in WAL mode and flushed at commit."""
    try:
        mode, flush = database.write(lambda connection: (_pragma(connection, "journal_mode"), _pragma(connection, "synchronous")))
    except StoreUnavailable as error:
        raise StoreRefused(f"the SQLite file cannot be used: {error.cause}") from None
    if str(mode).lower() != "wal" or flush != 2:
        raise StoreRefused(f"SQLite gives journal_mode={mode}, synchronous={flush} where WAL and 2 (FULL) are needed")


def bring_up_to_date(database: Database, may_migrate: bool) -> None:
    """Brings the schema to this program's version where it may: SQLite, an empty database, or on demand. Raises StoreRefused otherwise."""
    try:
        database.write(lambda connection: _bring_up_to_date(connection, may_migrate or database.tongue is SQLITE), MIGRATION_SECONDS)
    except StoreUnavailable as error:
        raise StoreRefused(f"the schema cannot be brought up to date: {error.cause}") from None


def _bring_up_to_date(connection: Connection, may_migrate: bool) -> None:
    if connection.dialect.name != "mysql":
        _migrate_if_needed(connection, may_migrate)
        return
    # DDL commits by itself there, so two nodes that start at once are held apart by name.
    if not connection.scalar(text(f"SELECT GET_LOCK('{_MIGRATION_LOCK}', {MIGRATION_WAIT_SECONDS})")):
        raise StoreRefused("another node is migrating this database; start again when it is done")
    try:
        _migrate_if_needed(connection, may_migrate)
    finally:
        connection.execute(text(f"SELECT RELEASE_LOCK('{_MIGRATION_LOCK}')"))


def _migrate_if_needed(connection: Connection, may_migrate: bool) -> None:
    version = _version(connection)
    if version == REVISIONS[-1]:
        return
    if version is not None and version not in REVISIONS:
        raise StoreRefused(f"the database is at schema version {version}, newer than this program's {REVISIONS[-1]}; update the program")
    if version is not None and not may_migrate:
        needed = f"this program needs {REVISIONS[-1]}; back it up, then run `myim_server admin migrate`"
        raise StoreRefused(f"the database is at schema version {version}, {needed}")
    # Takes 150 ms to import, and is needed once.
    from myim_server.store.migrations.upgrade import upgrade

    upgrade(connection)


def _version(connection: Connection) -> str | None:
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        versions = connection.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")).all()
        if versions:
            return str(versions[0])
        tables.discard(VERSION_TABLE)
        return None
    foreign = sorted(tables)
    if foreign:
        raise StoreRefused(f"the database holds tables that are not MyIM's ({', '.join(foreign[:3])}); give an empty one")
    return None


def _pragma(connection: Connection, name: str) -> Any:
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def _variables(connection: Connection, *names: str) -> dict[str, str]:
    listed = ", ".join(f"'{name}'" for name in names)
    rows = connection.exec_driver_sql(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({listed})")
    return {str(name): str(value) for name, value in rows}


def _unflushed(connection: Connection) -> str | None:
    found = _variables(connection, "innodb_flush_log_at_trx_commit", "innodb_flush_method", "log_bin", "sync_binlog")
    if (flush := found.get("innodb_flush_log_at_trx_commit")) != "1":
        return f"innodb_flush_log_at_trx_commit is {flush}, set it to 1"
    if "nosync" in (method := found.get("innodb_flush_method", "")).lower():
        return f"innodb_flush_method is {method}"
    # With a binary log the commit is durable in that log alone, and recovery rolls back what is not in it.
    if found.get("log_bin", "OFF") in ("ON", "1") and found.get("sync_binlog") != "1":
        return f"log_bin is on and sync_binlog is {found.get('sync_binlog')}, set it to 1"
    return None


def _check_packets(connection: Connection) -> None:
    size = int(_variables(connection, "max_allowed_packet")["max_allowed_packet"])
    if size < SMALLEST_PACKET:
        raise StoreRefused(f"max_allowed_packet is {size}, at least {SMALLEST_PACKET} is needed")


def _check_letters(connection: Connection) -> None:
    letters = connection.exec_driver_sql("SELECT @@character_set_database").scalar()
    if letters != "utf8mb4":
        name = connection.exec_driver_sql("SELECT DATABASE()").scalar()
        raise StoreRefused(f"database {name!r} is {letters}, not utf8mb4; ALTER DATABASE {name} CHARACTER SET utf8mb4")


def _check_tables(connection: Connection) -> None:
    found = connection.exec_driver_sql(
        "SELECT TABLE_NAME, ENGINE, TABLE_COLLATION FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'"
    )
    for name, engine, collation in found:
        if name not in metadata.tables:
            continue
        if str(engine).lower() != "innodb":
            raise StoreRefused(f"table {name} is {engine}, not InnoDB, and would not roll back; ALTER TABLE {name} ENGINE=InnoDB")
        if not str(collation).startswith("utf8mb4_"):
            mend = f"ALTER TABLE {name} CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
            raise StoreRefused(f"table {name} is {collation}, not utf8mb4; {mend}")
    _check_columns(connection)


def _check_columns(connection: Connection) -> None:
    found = connection.exec_driver_sql(
        "SELECT TABLE_NAME, COLUMN_NAME, CHARACTER_SET_NAME FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = DATABASE() AND CHARACTER_SET_NAME IS NOT NULL AND CHARACTER_SET_NAME <> 'utf8mb4'"
    )
    for table, column, letters in found:
        if table in metadata.tables:
            raise StoreRefused(f"column {table}.{column} is {letters}, not utf8mb4")
