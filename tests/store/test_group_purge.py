"""The contract of the janitor's table half: what everybody has and what is too old goes, and nothing else."""

from myim_server.store.engine import Store
from myim_server.store.group_purge import DAY
from tests.store.groups import new_group, say, stored
from tests.store.messages import T0


def test_what_every_member_has_goes(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0], users[1])
    say(store, group, users[0], *range(3))
    store.group_cursors.move([(group, users[0], 3), (group, users[1], 2)])
    assert store.group_purge.backlog(10)[0] == 2
    assert store.group_purge.preview(T0) == (2, 12)
    assert store.group_purge.done([group], 1) == (1, 6)
    assert store.group_purge.done([group, 5], 10) == (1, 6)
    assert [row.number for row in stored(store, group)] == [3]
    assert store.group_purge.walk(0, 10, 10, T0 + 29 * DAY) == (0, 0, 0)
    assert store.group_purge.walk(0, 10, 10, T0 + 31 * DAY) == (1, 6, 0)
    assert say(store, group, users[0], 9) == [4]


def test_names_outlive_the_rows_by_eight_days(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    say(store, group, users[0], 1, 2)
    assert store.group_purge.names(T0 + 8 * DAY, 10) == 0
    assert store.group_purge.names(T0 + 9 * DAY, 1) == 1
    assert store.group_purge.names(T0 + 9 * DAY, 10) == 1
