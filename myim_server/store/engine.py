"""Opening the store: connections by the settings, the checks of `checks`, and the parts that everybody else is given.

What must not live here: SQL, and anything a table means. Why the settings are a class of their own: the node, the operator's commands and
the tests open the same store, and only the node has a configuration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gevent.threadpool import ThreadPool
from sqlalchemy import URL, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from myim_server.refusals import StoreRefused
from myim_server.secret_files import SecretRefused, read_secret
from myim_server.store import checks
from myim_server.store.accounts import Accounts
from myim_server.store.blocks import Blocks
from myim_server.store.changes import Changes
from myim_server.store.database import MARIADB, MYSQL, SQLITE, Database, Tongue
from myim_server.store.deletions import Deletions
from myim_server.store.endpoints import Endpoints
from myim_server.store.export_pages import ExportPages
from myim_server.store.friends import Friends
from myim_server.store.group_cursors import GroupCursors
from myim_server.store.group_posts import GroupPosts
from myim_server.store.group_purge import GroupPurge
from myim_server.store.group_roles import GroupRoles
from myim_server.store.group_sabotage import twin_of
from myim_server.store.groups import Groups
from myim_server.store.logins import Logins
from myim_server.store.nodes import Nodes
from myim_server.store.offline import Offline
from myim_server.store.own_terminals import OwnTerminals
from myim_server.store.profiles import Profiles
from myim_server.store.receipts import Receipts
from myim_server.store.terminals import Terminals
from myim_server.store.throttles import Throttles
from myim_server.store.tickets import TicketKeys

POOL_WAIT_SECONDS = 3
CONNECT_SECONDS = 4
LOCK_WAIT_SECONDS = 2
SQLITE_READERS = 2
# Ends a greenlet's wait where the time limit of `database` does not reach.
SOCKET_SECONDS = 5


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What to open. `url`: sqlite:///path or mysql://user@host:port/database (or ?unix_socket=path). `pool_size`: connections for writes,
    and as many for reads (SQLite has one writer). `migrate`: bring an older schema up to date (SQLite and an empty database: always).
    The offline limits are per target user; see `mailboxes` for how exact they are. `sabotage`: see `group_sabotage`."""

    url: str
    password_file: Path | None = None
    allow_unflushed: bool = False
    pool_size: int = 8
    migrate: bool = False
    offline_rows_per_user: int = 100_000
    offline_bytes_per_user: int = 268_435_456
    offline_days: int = 30
    group_days: int = 30
    group_rows_per_group: int = 100_000
    friend_removals: int = 1000
    sabotage: str = ""


class Store:
    """The durable parts; each blocks only the calling greenlet and raises StoreUnavailable within 5 s."""

    def __init__(self, database: Database, settings: StoreSettings) -> None:
        self._database = database
        changes = Changes()
        self.accounts = Accounts(database, changes, removals_kept=settings.friend_removals)
        self.terminals = Terminals(database, changes)
        self.own_terminals = OwnTerminals(database, changes)
        self.logins = Logins(database)
        self.deletions = Deletions(database)
        self.export_pages = ExportPages(database)
        self.offline = Offline(database, settings.offline_rows_per_user, settings.offline_bytes_per_user, settings.offline_days)
        self.receipts = Receipts(database)
        self.tickets = TicketKeys(database)
        self.throttles = Throttles(database)
        self.nodes = Nodes(database)
        self.endpoints = Endpoints(database)
        self.friends = Friends(database, settings.friend_removals)
        self.profiles = Profiles(database)
        self.groups = Groups(database)
        broken = settings.sabotage
        self.group_posts = twin_of(GroupPosts, broken)(database, settings.group_rows_per_group)
        self.group_cursors = twin_of(GroupCursors, broken)(database)
        self.group_purge = twin_of(GroupPurge, broken)(database, settings.group_days)
        self.group_roles = GroupRoles(database)
        self.blocks = Blocks(database)

    def close(self) -> None:
        """Close the connections; idempotent."""
        self._database.close()


def open_store(settings: StoreSettings) -> Store:
    """The store, checked and at this program's schema version; yields.

    Raises StoreRefused with the reason: not reachable, no privilege, not flushed at commit, not utf8mb4, not InnoDB, packets too small,
    another schema version.
    """
    try:
        url = make_url(settings.url)
    except ArgumentError:
        raise StoreRefused(f"store url {settings.url!r} is not a url; write sqlite:///path or mysql://user@host:port/database") from None
    kind = url.get_backend_name()
    if kind == "sqlite":
        return _open_sqlite(url, settings)
    if kind in ("mysql", "mariadb"):
        return _open_mariadb(url, settings)
    raise StoreRefused(f"store url {settings.url!r}: {kind} is not supported; write sqlite:///path or mysql://user@host:port/database")


def _open_sqlite(url: URL, settings: StoreSettings) -> Store:
    if not url.database or url.database == ":memory:":
        raise StoreRefused("a store in memory would lose what it acknowledged; write sqlite:///path")
    writer = _sqlite_engine(url, 1)
    reader = _sqlite_engine(url, SQLITE_READERS)
    event.listen(writer, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    database = Database(writer, reader, SQLITE, (ThreadPool(1), ThreadPool(SQLITE_READERS)))
    return _checked(database, settings, lambda: checks.check_sqlite(database))


def _sqlite_engine(url: URL, size: int) -> Engine:
    arguments = {"check_same_thread": False, "isolation_level": None, "timeout": LOCK_WAIT_SECONDS, "cached_statements": 32}
    engine = create_engine(url, poolclass=QueuePool, pool_size=size, max_overflow=0, pool_reset_on_return=None, connect_args=arguments)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000"):
            connection.execute(f"PRAGMA {pragma}").fetchall()

    return engine


def _open_mariadb(url: URL, settings: StoreSettings) -> Store:
    if settings.password_file is not None:
        try:
            url = url.set(password=read_secret(settings.password_file).decode())
        except (SecretRefused, UnicodeDecodeError) as error:
            raise StoreRefused(f"store password: {error}") from None
    if not url.database:
        raise StoreRefused("the store url names no database; write mysql://user@host:port/database")
    url = url.set(drivername="mysql+pymysql")
    writer = _mariadb_engine(url, settings.pool_size, is_writer=True)
    reader = _mariadb_engine(url, settings.pool_size, is_writer=False)
    checks.check_reachable(writer)
    database = Database(writer, reader, _tongue(writer))
    return _checked(database, settings, lambda: checks.check_mariadb(database, settings.allow_unflushed))


def _tongue(engine: Engine) -> Tongue:
    return MARIADB if getattr(engine.dialect, "is_mariadb", False) else MYSQL


def _mariadb_engine(url: URL, size: int, is_writer: bool) -> Engine:
    # Read committed: a locking read locks the rows it finds and no gaps, so writers of different names do not meet.
    session = f"SET SESSION innodb_lock_wait_timeout={LOCK_WAIT_SECONDS}, group_concat_max_len=1048576, sql_mode='STRICT_ALL_TABLES'"
    arguments = {
        "charset": "utf8mb4",
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": SOCKET_SECONDS,
        "write_timeout": SOCKET_SECONDS,
        "init_command": session,
    }
    return create_engine(
        url,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        # Every transaction is ended by `database`, which does not give back a connection that is in one.
        pool_reset_on_return=None,
        isolation_level="READ COMMITTED" if is_writer else "AUTOCOMMIT",
        skip_autocommit_rollback=not is_writer,
        connect_args=arguments,
    )


def _checked(database: Database, settings: StoreSettings, check: Callable[[], None]) -> Store:
    try:
        check()
        checks.bring_up_to_date(database, settings.migrate)
    except BaseException:
        database.close()
        raise
    return Store(database, settings)
