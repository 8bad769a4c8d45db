"""The contract of throttles, ticket keys and node starts."""

import gevent

from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.throttles import Count
from myim_server.store.tickets import WrappedKey


def test_failures_are_counted_by_exact_name(store: Store) -> None:
    names = ["a", "A", "a ", "", "'", "😀" * 500, "a\x00", "\ud800"]
    for number, name in enumerate(names):
        for _ in range(number):
            store.throttles.fail(name, now=5)
    counts = store.throttles.read([*names, "nobody"])
    assert {name: count.failures for name, count in counts.items()} == {name: number for number, name in enumerate(names) if number}
    assert store.throttles.read([]) == {}


def test_a_count_tells_when_it_began_and_until_when_it_holds(store: Store) -> None:
    assert [store.throttles.fail("a", 100, 10), store.throttles.fail("a", 200, 20), store.throttles.fail("a", 150)] == [1, 2, 3]
    assert store.throttles.read(["a"]) == {"a": Count(3, since=100, until=150)}


def test_a_cleared_counter_begins_anew(store: Store) -> None:
    store.throttles.fail("a", 1)
    store.throttles.fail("b", 1)
    store.throttles.clear("a")
    store.throttles.clear("never there")
    assert set(store.throttles.read(["a", "b"])) == {"b"}
    assert store.throttles.fail("a", 9) == 1


def test_no_failure_is_lost_when_many_are_counted_at_once(settings: StoreSettings, store: Store) -> None:
    stores = [store, open_store(settings)]
    racing = [gevent.spawn(stores[i % 2].throttles.fail, "a", i) for i in range(20)]
    gevent.joinall(racing, raise_error=True, timeout=30)
    assert sorted(one.get() for one in racing) == list(range(1, 21))
    stores[1].close()


def test_counters_that_are_over_are_forgotten_in_bounded_steps(store: Store) -> None:
    for number in range(10):
        store.throttles.fail(str(number), now=number)
    assert [store.throttles.purge(before=8, limit=5) for _ in range(3)] == [5, 3, 0]
    assert set(store.throttles.read(map(str, range(10)))) == {"8", "9"}


def test_ticket_keys_come_back_in_their_order(store: Store) -> None:
    wrapped = [bytes([number]) * 60 for number in (9, 0, 255)]
    ids = [store.tickets.add(key, created) for created, key in enumerate(wrapped)]
    assert store.tickets.keys() == [WrappedKey(ids[n], wrapped[n], n) for n in range(3)]
    assert ids == sorted(set(ids))


def test_the_id_of_a_dropped_ticket_key_is_not_given_again(store: Store) -> None:
    old = store.tickets.add(b"old", 1)
    store.tickets.drop([old, 999])
    store.tickets.drop([])
    assert store.tickets.keys() == []
    assert store.tickets.add(b"new", 2) > old


def test_every_start_of_a_node_has_its_own_number(settings: StoreSettings, store: Store) -> None:
    assert [store.nodes.boot(1, 5), store.nodes.boot((1 << 63) - 1, 5), store.nodes.boot(1, 6)] == [1, 1, 2]
    again = open_store(settings)
    assert again.nodes.boot(1, 7) == 3
    again.close()
