"""One database as the tables' parts use it: `write` a transaction, `read` something, both ended within five seconds.

What lives here: connections, transactions, their retries and time limits, and the few words in which the two databases differ. What must
not: tables, and anything one of them means. Why retries are here: only this file knows whether a failed transaction can have been
committed.

MariaDB: PyMySQL's sockets are cooperative after the monkey patch, so the calling greenlet just waits. SQLite blocks its thread, so all
work is done in gevent's native threads: one for the only writer, a few for readers. A write's work may be run more than once: it changes
nothing but the database.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import gevent
import pymysql.err
import sqlalchemy.exc
from gevent.threadpool import ThreadPool
from sqlalchemy import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPICursor

from myim_server.refusals import StoreUnavailable
from myim_server.store.failures import Fault, fault_of

T = TypeVar("T")
Work = Callable[[Connection], T]

CALL_SECONDS = 4.5
ATTEMPTS = 8
# Statements are cut below it: SQLite refuses longer ones, and MariaDB's packets are at least 1 MiB where the start lets them through.
STATEMENT_CHARS = 900_000


@dataclass(frozen=True, slots=True)
class Tongue:
    """Where the databases' SQL differs.

    `insert_ignore` passes over existing keys, `locked` and `shared` end a locking read, `row` begins a row of a VALUES list, `joined` is an
    expression of columns' numbers with commas between. `by` after a table's name makes an index the way in: while a table grows the planner
    takes it for empty, and scans it. `update`, `listed` and `delete_listed` are forms for an UPDATE, a query and a DELETE of {table} by the
    {rows} of a VALUES list with {columns}, in their order: a list is joined at a fifth of what as many alternatives in a condition cost.
    `delete` is one for a DELETE by the primary key, `delete_first` one for a DELETE of the {limit} first by {order}.
    """

    insert_ignore: str
    locked: str
    shared: str
    row: str
    joined: Callable[..., str]
    by: Callable[[str], str]
    update: str
    listed: str
    delete_listed: str
    delete: str
    delete_first: str


_LIST = "WITH asked({columns}) AS (VALUES {rows})"
_ASKED = f"({_LIST} SELECT * FROM asked) AS asked"
MARIADB = Tongue(
    insert_ignore="INSERT IGNORE INTO",
    locked=" FOR UPDATE",
    shared=" LOCK IN SHARE MODE",
    row="",
    joined=lambda *columns: f"CONCAT_WS(',', {', '.join(columns)})",
    by=lambda index: f" FORCE INDEX ({index})",
    update=f"UPDATE {_ASKED} STRAIGHT_JOIN {{table}} FORCE INDEX (PRIMARY) ON {{condition}} SET {{change}}",
    listed=f"SELECT {{what}} FROM {_ASKED} STRAIGHT_JOIN {{table}} FORCE INDEX (PRIMARY) ON {{condition}}",
    # By another name: its own is unknown there, says MariaDB.
    delete_listed=f"DELETE here FROM {_ASKED} STRAIGHT_JOIN {{table}} AS here FORCE INDEX (PRIMARY) ON {{condition}}",
    delete="DELETE {table} FROM {table} FORCE INDEX (PRIMARY) WHERE {condition}",
    delete_first="DELETE FROM {table} WHERE {condition} ORDER BY {order} LIMIT {limit:d}",
)
MYSQL = replace(MARIADB, row="ROW")
SQLITE = Tongue(
    insert_ignore="INSERT OR IGNORE INTO",
    locked="",
    shared="",
    row="",
    joined=lambda *columns: " || ',' || ".join(columns),
    by=lambda index: "",
    update=f"{_LIST} UPDATE {{table}} SET {{change}} FROM asked WHERE {{condition}}",
    listed=f"{_LIST} SELECT {{what}} FROM asked CROSS JOIN {{table}} ON {{condition}}",
    delete_listed=f"DELETE FROM {{table}} WHERE rowid IN ({_LIST} SELECT {{table}}.rowid FROM asked CROSS JOIN {{table}} ON {{condition}})",
    delete="DELETE FROM {table} WHERE {condition}",
    delete_first="DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {condition} ORDER BY {order} LIMIT {limit:d})",
)


class Database:
    """Runs work on pooled connections; `threads` = (writer's, readers') where the driver blocks its thread, else None."""

    def __init__(self, writer: Engine, reader: Engine, tongue: Tongue, threads: tuple[ThreadPool, ThreadPool] | None = None) -> None:
        self.tongue = tongue
        self._writer = writer
        self._reader = reader
        self._threads = threads

    def write(self, work: Work[T], seconds: float = CALL_SECONDS) -> T:
        """The result of `work` in one transaction, committed and flushed before the return, within so many seconds; yields.

        Deadlocks and connections that died before the commit are tried again. Raises StoreUnavailable, and what `work` raises itself. After
        StoreUnavailable the transaction may still have been committed.
        """
        return self._within(0, lambda: _transact(self._writer, work), seconds)

    def read(self, work: Work[T]) -> T:
        """The result of `work`, each of whose statements sees what was committed before it began; yields. Raises StoreUnavailable."""
        return self._within(1, lambda: _look(self._reader, work), CALL_SECONDS)

    def close(self) -> None:
        """Close all connections that are not in use; idempotent."""
        for engine in (self._writer, self._reader):
            engine.dispose()
        for pool in self._threads or ():
            pool.kill()

    def _within(self, role: int, call: Callable[[], T], seconds: float) -> T:
        timeout = gevent.Timeout.start_new(seconds)
        try:
            return call() if self._threads is None else _outcome(self._threads[role], call)
        except gevent.Timeout as late:
            if late is not timeout:
                raise
            raise StoreUnavailable(f"no answer within {seconds} s") from None
        finally:
            timeout.close()


def _outcome(pool: ThreadPool, call: Callable[[], T]) -> T:
    # The pool prints what a task raises; so an error comes back as a value. A caller that gave up before its turn never starts.
    def caught() -> tuple[T] | Exception:
        try:
            return (call(),)
        except Exception as error:
            return error

    outcome: tuple[T] | Exception | None = pool.spawn(caught).get()
    if isinstance(outcome, tuple):
        return outcome[0]
    raise outcome or StoreUnavailable("the store is closed")


def _transact(engine: Engine, work: Work[T]) -> T:
    for _ in range(ATTEMPTS):
        pool = engine.pool
        progress = _Progress()
        try:
            return _transact_once(engine, work, progress)
        except Exception as error:
            _judge(error, engine, pool, progress)
            last = error
    raise StoreUnavailable(f"given up after {ATTEMPTS} attempts: {last}") from last


def _look(engine: Engine, work: Work[T]) -> T:
    for _ in range(ATTEMPTS):
        pool = engine.pool
        try:
            with engine.connect() as connection:
                return _guarded(connection, work)
        except Exception as error:
            _judge(error, engine, pool, _Progress())
            last = error
    raise StoreUnavailable(f"given up after {ATTEMPTS} attempts: {last}") from last


@dataclass(slots=True)
class _Progress:
    is_committing: bool = False


def _transact_once(engine: Engine, work: Work[T], progress: _Progress) -> T:
    with engine.connect() as connection:
        transaction = connection.begin()

        def whole(_: Connection) -> T:
            result = work(connection)
            progress.is_committing = True
            transaction.commit()
            return result

        return _guarded(connection, whole)


def _guarded(connection: Connection, work: Work[T]) -> T:
    # Whatever may be in the middle of something (a dead peer, a greenlet that timed out or was killed) must not go back to the pool, and
    # must not be spoken to: an error of the rollback would hide the reason.
    try:
        return work(connection)
    except Exception as error:
        if fault_of(error) is Fault.DEAD:
            connection.invalidate()
        elif connection.in_transaction():
            _roll_back(connection)
        raise
    except BaseException:
        connection.invalidate()
        raise


def _roll_back(connection: Connection) -> None:
    try:
        connection.rollback()
    except Exception:
        connection.invalidate()


def _judge(error: Exception, engine: Engine, pool: object, progress: _Progress) -> None:
    """Returns if the same may be tried again; else raises what the caller shall see."""
    fault = fault_of(error)
    if fault is None:
        raise error
    if fault is Fault.DEAD and engine.pool is pool:
        # The others are as old; the next attempt gets a fresh one.
        engine.dispose()
    if fault is Fault.UNAVAILABLE or (progress.is_committing and fault is Fault.DEAD):
        raise StoreUnavailable(str(error)) from error


def cursor_of(connection: Connection) -> DBAPICursor:
    """The driver's own cursor on this connection, for statements where SQLAlchemy's costs would be felt."""
    return connection.connection.cursor()


def is_duplicate(error: Exception) -> bool:
    """Whether a unique index refused a row."""
    return isinstance(error, sqlalchemy.exc.IntegrityError | pymysql.err.IntegrityError | sqlite3.IntegrityError)
