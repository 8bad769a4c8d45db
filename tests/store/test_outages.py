"""When the database is gone, frozen, full or busy: an answer within five seconds, the process goes on, and nothing has to be restarted."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import gevent
import pytest
from gevent.event import Event
from sqlalchemy import Connection

from myim_server.refusals import StoreUnavailable
from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.offline import Inserted
from tests.store.mariadb import MariaDb, wait_until
from tests.store.messages import message, put, rows_of

# Five, and what a loaded machine needs to notice.
PROMISED_SECONDS = 5.5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    """A server of this file's own: others must not see it stop."""
    server = MariaDb(tmp_path_factory.mktemp("outages"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def store(server: MariaDb) -> Iterator[Store]:
    store = open_store(StoreSettings(server.url(server.new_database()), server.password_file))
    yield store
    store.close()


@pytest.fixture
def users(store: Store) -> list[int]:
    return store.accounts.create_all([(f"user{number}", f"User {number}", "hash") for number in range(4)], now=1)


def fill_pools(store: Store) -> None:
    """Leaves open connections in both pools, which the outage then kills."""
    calls = [gevent.spawn(call) for _ in range(8) for call in (lambda: store.nodes.boot(1, 1), store.tickets.keys)]
    gevent.joinall(calls, timeout=30)


def is_refused_in_time(*calls: Callable[[], object]) -> bool:
    """Whether each of the calls, made at once, is refused with StoreUnavailable as soon as promised."""

    def call_it(call: Callable[[], object]) -> bool:
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable):
            call()
        return time.monotonic() - begun < PROMISED_SECONDS

    called = [gevent.spawn(call_it, call) for call in calls]
    gevent.joinall(called, raise_error=True)
    return all(one.value for one in called)


@contextmanager
def ticking() -> Iterator[list[float]]:
    """The moments at which the hub had its turn, a hundred in a second."""
    ticks: list[float] = []
    timer = gevent.get_hub().loop.timer(0, 0.01)
    timer.start(lambda: ticks.append(time.monotonic()))
    yield ticks
    timer.close()


def calls_of(store: Store, users: list[int]) -> list[Callable[[], object]]:
    return [
        lambda: store.offline.insert([message(users[0], users[1], 1)]),
        lambda: store.offline.page(users[0], set(), 10, 1000),
        lambda: store.offline.confirm([(users[0], users[1], 64)]),
        lambda: store.offline.targets_with_rows(users),
        lambda: store.accounts.find("user1"),
        lambda: store.terminals.raised_since(0),
        lambda: store.throttles.fail("a", 1),
    ]


def test_a_frozen_database_is_unavailable_in_time_for_however_many_callers(server: MariaDb, store: Store, users: list[int]) -> None:
    fill_pools(store)
    server.freeze()
    try:
        with ticking() as ticks:
            assert is_refused_in_time(*calls_of(store, users) * 6)
        assert max(b - a for a, b in pairwise(ticks)) < 2
    finally:
        server.thaw()
    outcomes = store.offline.insert([message(users[0], users[1], 1)])
    assert outcomes in ([Inserted.STORED], [Inserted.DUPLICATE])


def test_a_stopped_database_is_unavailable_and_then_available_again_without_a_restart(
    server: MariaDb, store: Store, users: list[int]
) -> None:
    put(store, message(users[0], users[1], 0))
    fill_pools(store)
    server.stop()
    try:
        assert is_refused_in_time(*calls_of(store, users))
    finally:
        server.start()
    fill_pools(store)
    put(store, message(users[0], users[1], 1))
    assert len(rows_of(store, users[0])) == 2


def test_a_restart_that_nobody_noticed_is_not_noticed_afterwards(server: MariaDb, store: Store, users: list[int]) -> None:
    fill_pools(store)
    server.stop()
    server.start()
    inserts = [gevent.spawn(put, store, message(users[0], users[1], number)) for number in range(20)]
    gevent.joinall(inserts, raise_error=True, timeout=30)
    assert len(rows_of(store, users[0])) == 20


def test_killed_connections_are_replaced(server: MariaDb, store: Store, users: list[int]) -> None:
    fill_pools(store)
    server.ask("KILL USER myim@127.0.0.1")
    put(store, message(users[0], users[1], 1))
    assert len(rows_of(store, users[0])) == 1


def test_a_read_only_database_is_unavailable_for_writes_alone(server: MariaDb, store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 0))
    server.ask("SET GLOBAL read_only=1")
    try:
        assert is_refused_in_time(lambda: store.offline.insert([message(users[0], users[1], 1)]), lambda: store.throttles.fail("a", 1))
        assert len(rows_of(store, users[0])) == 1
    finally:
        server.ask("SET GLOBAL read_only=0")
    put(store, message(users[0], users[1], 1))


def test_a_row_that_somebody_else_keeps_locked_is_unavailable_in_time(server: MariaDb, store: Store, users: list[int]) -> None:
    put(store, message(users[0], users[1], 1))
    other = server.connect(store._database._writer.url.database)
    other.query("SELECT * FROM offline_messages FOR UPDATE")
    assert is_refused_in_time(lambda: store.offline.confirm([(users[0], users[1], message(users[0], users[1], 1).time)]))
    other.rollback()
    assert store.offline.confirm([(users[0], users[1], message(users[0], users[1], 1).time)]) == 1
    other.close()


def test_a_deadlock_is_tried_again_and_both_transactions_are_done(store: Store, users: list[int]) -> None:
    has_first = {0: Event(), 1: Event()}
    runs = []

    def crosswise(mine: int) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            runs.append(mine)
            connection.exec_driver_sql(f"UPDATE users SET created=created+1 WHERE id={users[mine]}")
            has_first[mine].set()
            has_first[1 - mine].wait(3)
            connection.exec_driver_sql(f"UPDATE users SET created=created+1 WHERE id={users[1 - mine]}")

        return work

    both = [gevent.spawn(store._database.write, crosswise(mine)) for mine in (0, 1)]
    gevent.joinall(both, raise_error=True, timeout=20)
    assert len(runs) == 3
    created = store._database.read(lambda connection: connection.exec_driver_sql("SELECT created FROM users WHERE created>1").fetchall())
    assert [row[0] for row in created] == [3, 3]


def test_a_write_whose_greenlet_is_killed_leaves_nothing_half_done(server: MariaDb, store: Store, users: list[int]) -> None:
    entered = Event()

    def half(connection: Connection) -> None:
        connection.exec_driver_sql(f"UPDATE users SET created=99 WHERE id={users[0]}")
        entered.set()
        Event().wait()

    killed = gevent.spawn(store._database.write, half)
    entered.wait()
    killed.kill()
    inserts = [gevent.spawn(put, store, message(users[0], users[1], number)) for number in range(10)]
    gevent.joinall(inserts, raise_error=True, timeout=30)
    wait_until(lambda: server.ask("SELECT COUNT(*) FROM information_schema.INNODB_TRX") == [(0,)], pause=0.2)
    assert store._database.read(lambda connection: connection.exec_driver_sql("SELECT COUNT(*) FROM users WHERE created=99").scalar()) == 0


def test_a_mistake_of_ours_is_not_called_an_outage(store: Store) -> None:
    with pytest.raises(Exception, match="syntax") as raised:
        store._database.write(lambda connection: connection.exec_driver_sql("SELEKT 1"))
    assert not isinstance(raised.value, StoreUnavailable)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "myim.db"


@pytest.fixture
def embedded(file: Path) -> Iterator[Store]:
    store = open_store(StoreSettings(f"sqlite:///{file}"))
    yield store
    store.close()


def test_a_sqlite_file_locked_by_another_process_is_unavailable_in_time_and_blocks_nobody(file: Path, embedded: Store) -> None:
    users = embedded.accounts.create_all([("a", "A", "hash"), ("b", "B", "hash")], now=1)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with ticking() as ticks:
        assert is_refused_in_time(*[lambda: embedded.offline.insert([message(users[0], users[1], 1)])] * 5)
    assert max(b - a for a, b in pairwise(ticks)) < 2
    assert embedded.offline.targets_with_rows(users) == set()
    other.execute("ROLLBACK")
    put(embedded, message(users[0], users[1], 2))
    other.close()


def test_a_full_disk_is_unavailable_until_there_is_room(embedded: Store) -> None:
    users = embedded.accounts.create_all([("a", "A", "hash"), ("b", "B", "hash")], now=1)

    def pages(most: int) -> None:
        embedded._database.write(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={most}").fetchall())

    pages(1)  # SQLite takes the present size for it
    batch = [message(users[0], users[1], number, body=bytes(32768)) for number in range(10)]
    assert is_refused_in_time(lambda: embedded.offline.insert(batch))
    assert rows_of(embedded, users[0]) == []
    pages(1 << 20)
    put(embedded, *batch)


def test_sqlite_flushes_at_every_commit(embedded: Store) -> None:
    found = embedded._database.write(
        lambda connection: [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    )
    assert found == ["wal", 2]


def test_a_closed_store_may_be_closed_again(embedded: Store) -> None:
    embedded.close()
    embedded.close()
