"""The contract of the janitor's table half: what everybody has and what is too old goes, from the head, and nothing else."""

from contextlib import closing

import gevent

from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.group_purge import DAY
from tests.store.groups import ask, dissolve, join, leave, new_group, post, say, stored
from tests.store.mariadb import MariaDb
from tests.store.messages import T0, time_of

HUGE = (1 << 64) - 1


def left(store: Store, group: int) -> list[int]:
    return [row.number for row in stored(store, group)]


def confirm(store: Store, group: int, users: list[int], number: int) -> None:
    assert all(store.group_cursors.move([(group, user, number) for user in users]))


def test_what_every_member_has_goes(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0], users[1])
    say(store, group, users[0], *range(3))
    confirm(store, group, users[:1], 3)
    assert store.group_purge.done([group], 10) == (0, 0)
    confirm(store, group, users[1:2], 2)
    assert store.group_purge.backlog(10) == (3, time_of(0))
    assert store.group_purge.preview(T0) == (2, 12)
    assert store.group_purge.done([group], 1) == (1, 6)
    assert store.group_purge.done([group, 5, HUGE], 10) == (1, 6)
    assert left(store, group) == [3]
    assert store.group_purge.backlog(10) == (1, time_of(2))
    assert say(store, group, users[0], 9) == [4]


def test_nothing_is_removed_in_vain(store: Store) -> None:
    assert store.group_purge.done([], 10) == store.group_purge.preview(T0) == store.group_purge.backlog(10) == (0, 0)
    assert store.group_purge.walk(0, 10, 10, T0) == store.group_purge.walk(HUGE >> 1, 10, 10, T0) == (0, 0, 0)
    assert store.group_purge.names(T0, 10) == 0


def test_a_row_waits_for_its_own_members_and_no_others(store: Store, users: list[int]) -> None:
    group = new_group(store, *users[:3])
    say(store, group, users[0], 1)
    confirm(store, group, users[:1], 1)
    leave(store, group, users[0])
    confirm(store, group, users[1:2], 1)
    join(store, group, users[3])
    # Two have it and three are there now; two are there and two have it: neither is what counts.
    assert store.group_purge.done([group], 10) == (0, 0)
    leave(store, group, users[3])
    assert store.group_purge.done([group], 10) == (0, 0)
    confirm(store, group, users[2:3], 1)
    assert store.group_purge.done([group], 10) == (1, 6)


def test_what_the_last_one_who_lacks_it_leaves_behind_goes(store: Store, users: list[int]) -> None:
    group = new_group(store, *users[:2])
    say(store, group, users[0], 1, 2)
    confirm(store, group, users[:1], 2)
    leave(store, group, users[1])
    assert store.group_purge.done([group], 10)[0] == 2


def test_what_is_too_old_goes(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    store.group_posts.post([post(group, users[0], number, accepted=T0 + number * DAY) for number in range(4)])
    assert store.group_purge.walk(0, 10, 10, T0 + 30 * DAY) == (0, 0, 0)
    assert store.group_purge.preview(T0 + 32 * DAY) == (2, 12)
    assert store.group_purge.walk(0, 10, 10, T0 + 32 * DAY) == (2, 12, 0)
    assert store.group_purge.done([group], 10) == (0, 0)
    assert left(store, group) == [3, 4]


def test_rows_go_from_the_head_only(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    ages = (0, 9, 0, 9)
    store.group_posts.post([post(group, users[0], number, accepted=T0 + age * DAY) for number, age in enumerate(ages)])
    assert store.group_purge.walk(0, 10, 10, T0 + 31 * DAY)[0] == 1
    assert left(store, group) == [2, 3, 4]
    assert store.group_purge.walk(0, 10, 10, T0 + 40 * DAY)[0] == 3


def test_a_walk_goes_through_all_groups_in_steps(store: Store, users: list[int]) -> None:
    groups = sorted(new_group(store, users[0], number=number) for number in range(5))
    for group in groups:
        say(store, group, users[0], *range(3))
        confirm(store, group, users[:1], 2)
    assert store.group_purge.walk(0, 2, 3, T0) == (3, 18, groups[1] - 1)
    assert left(store, groups[1]) == [2, 3]
    assert store.group_purge.walk(groups[1] - 1, 1, 3, T0) == (1, 6, groups[1])
    assert store.group_purge.walk(groups[1], 2, 100, T0) == (4, 24, groups[3])
    assert store.group_purge.walk(groups[3], 2, 100, T0) == (2, 12, 0)
    assert [left(store, group) for group in groups] == [[3]] * 5


def test_what_dissolved_groups_leave_goes_in_steps(store: Store, users: list[int]) -> None:
    groups = [new_group(store, users[0], number=number) for number in range(3)]
    for group in groups:
        say(store, group, users[0], *range(3))
    dissolve(store, groups[0])
    dissolve(store, groups[1])
    assert store.group_purge.preview(T0) == (6, 36)
    assert [store.group_purge.walk(5, 10, 4, T0) for _ in range(2)] == [(4, 24, 5), (2, 12, 0)]
    assert ask(store, "SELECT COUNT(*) FROM group_leftovers") == [(1,)]
    assert store.group_purge.walk(0, 10, 4, T0)[0] == 0
    assert ask(store, "SELECT COUNT(*) FROM group_leftovers") == [(0,)]
    assert ask(store, "SELECT COUNT(*),MIN(chat_group),MAX(chat_group) FROM group_messages") == [(3, groups[2], groups[2])]


def test_names_outlive_the_rows_by_eight_days(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    say(store, group, users[0], 1, 2, 3)
    assert store.group_purge.names(time_of(1) + 8 * DAY, 10) == 0
    assert store.group_purge.names(T0 + 9 * DAY, 2) == 2
    assert ask(store, "SELECT number FROM group_names") == [(3,)]
    assert store.group_purge.names(T0 + 9 * DAY, 2) == 1


def test_of_janitors_that_race_one_counts_a_row(settings: StoreSettings, store: Store, users: list[int]) -> None:
    groups = [new_group(store, users[0], number=number) for number in range(4)]
    for group in groups:
        say(store, group, users[0], *range(25))
        confirm(store, group, users[:1], 25)
    with closing(open_store(settings)) as other:

        def work(center: Store, turn: int) -> int:
            order = groups[::-1] if turn % 2 else groups
            return sum(center.group_purge.done(order, 7)[0] + center.group_purge.walk(0, 3, 5, T0)[0] for _ in range(10))

        racing = [gevent.spawn(work, (store, other)[turn % 2], turn) for turn in range(4)]
        gevent.joinall(racing, raise_error=True, timeout=60)
    assert sum(one.get() for one in racing) == 100
    assert ask(store, "SELECT COUNT(*) FROM group_messages") == [(0,)]


def test_what_was_found_is_asked_again_where_it_is_removed(mariadb: MariaDb, mariadb_settings: StoreSettings) -> None:
    """A janitor that stood still between looking and removing meets what another did meanwhile."""
    with closing(open_store(mariadb_settings)) as store:
        users = store.accounts.create_all([("a", "A", "hash"), ("b", "B", "hash")], now=1)
        group = new_group(store, *users)
        say(store, group, users[0], *range(4))
        confirm(store, group, users, 2)
        purge = store.group_purge
        heads = purge._read(lambda cursor: purge._heads(cursor, [group], 10, purge._is_done()))
        assert purge.done([group], 1)[0] == 1
        assert purge._remove(heads, []) == (1, 6)
        assert purge._remove([head._replace(end=100) for head in heads], []) == (0, 0)
        assert left(store, group) == [3, 4]
