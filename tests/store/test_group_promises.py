"""P9, P10 and P11 as far as the store holds them: a model in which everything is compared, races in which what must always hold is counted
anew, and tables with one mechanism broken, which must be found."""

import random
from collections.abc import Callable
from contextlib import closing
from typing import Any

import gevent
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as examples
from hypothesis.stateful import run_state_machine_as_test

from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.group_changes import Added, Removed
from myim_server.store.group_sabotage import JanitorByCounter, NumberReadThenWrite, RepeatsCount
from tests.store.group_model import Machine, Parts
from tests.store.group_races import Race
from tests.store.groups import new_group, post
from tests.store.mariadb import MariaDb
from tests.store.messages import T0

PLAIN = examples(deadline=None, database=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)


@pytest.fixture
def crowd(store: Store) -> list[int]:
    return store.accounts.create_all([(f"crowd{number}", "Crowd", "hash") for number in range(7)], now=1)


def run(of_parts: Parts, of_users: list[int], chosen: examples) -> None:
    class Bound(Machine):
        parts = of_parts
        users = of_users

    run_state_machine_as_test(Bound, settings=chosen)


def broken(store: Store, name: str) -> Parts:
    parts, database = Parts.of(store), store._database
    if name == "number_read_then_write":
        return parts._replace(posts=NumberReadThenWrite(database))
    if name == "janitor_by_counter":
        return parts._replace(purge=JanitorByCounter(database))
    return parts._replace(cursors=RepeatsCount(database))


def test_the_store_does_what_the_model_says(store: Store, users: list[int], backend: str) -> None:
    many = 25 if backend == "sqlite" else 8
    run(Parts.of(store), users, examples(PLAIN, max_examples=many, stateful_step_count=40))


@pytest.mark.parametrize("name", ["janitor_by_counter", "count_repeats"])
def test_a_broken_table_does_not_do_what_the_model_says(store: Store, users: list[int], name: str) -> None:
    chosen = examples(PLAIN, max_examples=300, stateful_step_count=30, phases=[Phase.generate], derandomize=True)
    with pytest.raises(AssertionError):
        run(broken(store, name), users, chosen)


def test_two_centers_keep_every_promise(settings: StoreSettings, store: Store, crowd: list[int]) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    with closing(open_store(settings)) as other:
        Race([Parts.of(store), Parts.of(other)], crowd, seed, lambda: None).run()


def test_two_centers_keep_every_promise_while_their_connections_are_killed(mariadb: MariaDb, mariadb_settings: StoreSettings) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    killed = []

    def kill() -> None:
        found = mariadb.ask("SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id>0")
        if found:
            killed.append(chance.choice(found)[0])
            mariadb.kill(killed[-1])

    with closing(open_store(mariadb_settings)) as store, closing(open_store(mariadb_settings)) as other:
        for race in range(10):  # one in which nobody was in a transaction when it was looked proves nothing
            users = store.accounts.create_all([(f"crowd{race}x{number}", "Crowd", "hash") for number in range(7)], now=1)
            Race([Parts.of(store), Parts.of(other)], users, seed + race, kill).run()
            if killed:
                return
    pytest.fail("nothing was killed")


def test_locks_are_taken_in_an_order_that_knows_no_deadlock(mariadb: MariaDb, mariadb_settings: StoreSettings) -> None:
    """Everything that locks more than one row, over the same few groups, from two centers."""
    chance = random.Random(7)
    with closing(open_store(mariadb_settings)) as store, closing(open_store(mariadb_settings)) as other:
        users = store.accounts.create_all([(f"crowd{number}", "Crowd", "hash") for number in range(8)], now=1)
        groups = [new_group(store, *users, number=number) for number in range(4)]

        def send(center: Store, slot: int) -> None:
            for begin in range(0, 100, 10):
                posts = [post(chance.choice(groups), chance.choice(users), number, slot=slot) for number in range(begin, begin + 10)]
                center.group_posts.post(posts)

        def claim(center: Store, most: int) -> None:
            for number in range(1, 20):
                claims = [(group, user, number) for group in groups for user in users]
                center.group_cursors.move(chance.sample(claims, most))

        def come_and_go(center: Store, user: int) -> None:
            for group in chance.choices(groups, k=8):
                for one in (Removed(user), Added(user, "member")):
                    center.groups.change(group, [user], lambda view, one=one: [one], T0)  # type: ignore[misc]

        def sweep(center: Store, limit: int) -> None:
            for _ in range(20):
                center.group_purge.done(chance.sample(groups, 3), limit)

        def deadlocks() -> list[tuple[Any, ...]]:
            return mariadb.ask("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")

        before = deadlocks()
        workers: list[tuple[Callable[[Store, int], None], int]] = [(send, 0), (send, 1), (claim, 9), (claim, 30), (sweep, 5), (sweep, 50)]
        workers += [(come_and_go, user) for user in users[:4]]
        racing: list[Any] = [gevent.spawn(work, (store, other)[place % 2], value) for place, (work, value) in enumerate(workers)]
        gevent.joinall(racing, raise_error=True, timeout=120)
        assert all(one.ready() for one in racing)
        assert deadlocks() == before and before


@pytest.mark.parametrize("name", ["number_read_then_write", "count_repeats"])
def test_a_broken_table_does_not_keep_every_promise(settings: StoreSettings, store: Store, crowd: list[int], name: str) -> None:
    with closing(open_store(settings)) as other, pytest.raises(AssertionError):
        for seed in range(20):
            Race([broken(store, name), broken(other, name)], crowd, seed, lambda: None).run()
