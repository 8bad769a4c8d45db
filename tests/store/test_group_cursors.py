"""The contract of cursors: they move up only, and exactly the rows they pass are counted."""

from myim_server.store.engine import Store
from tests.store.groups import leave, new_group, say, stored


def test_a_cursor_counts_the_rows_it_passes(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0], users[1])
    say(store, group, users[0], *range(5))
    numbers = [(users[0], 2), (users[1], 4), (users[0], 1), (users[0], 3), (users[1], 6), (users[2], 1)]
    claims = [(group, user, number) for user, number in numbers]
    assert store.group_cursors.move(claims) == [True, True, False, True, False, False]
    assert [row.sent for row in stored(store, group)] == [2, 2, 2, 1, 0]
    assert store.group_cursors.move(claims) == [False] * 6
    assert [row.sent for row in stored(store, group)] == [2, 2, 2, 1, 0]


def test_a_leaver_is_not_waited_for(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0], users[1])
    say(store, group, users[0], *range(3))
    store.group_cursors.move([(group, users[1], 1)])
    leave(store, group, users[1])
    assert [(row.members, row.sent) for row in stored(store, group)] == [(2, 1), (1, 0), (1, 0)]
