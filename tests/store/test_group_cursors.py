"""The contract of cursors: they move up only, and exactly the rows they pass are counted."""

from collections import Counter

import gevent
from hypothesis import given
from hypothesis import strategies as st

from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.group_cursors import LONGEST_LISTED, segments
from myim_server.store.group_purge import DAY
from tests.store.groups import ask, dissolve, join, leave, member_of, new_group, post, say, stored
from tests.store.messages import T0

HUGE = (1 << 64) - 1


def sent(store: Store, group: int) -> list[int]:
    return [row.sent for row in stored(store, group)]


def cursor_of(store: Store, group: int, user: int) -> int:
    member = member_of(store, group, user)
    assert member is not None
    return member.cursor


def test_a_cursor_counts_the_rows_it_passes(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0], users[1])
    say(store, group, users[0], *range(5))
    numbers = [(users[0], 2), (users[1], 4), (users[0], 1), (users[0], 3), (users[1], 6), (users[2], 1)]
    claims = [(group, user, number) for user, number in numbers]
    assert store.group_cursors.move(claims) == [True, True, False, True, False, False]
    assert sent(store, group) == [2, 2, 2, 1, 0]
    assert [cursor_of(store, group, user) for user in users[:2]] == [3, 4]
    assert store.group_cursors.move(claims) == [False] * 6
    assert sent(store, group) == [2, 2, 2, 1, 0]


def test_a_claim_of_what_is_not_posted_yet_is_forgotten(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    early = [(group, users[0], number) for number in (1, HUGE, (1 << 63) - 1, 0)]
    assert store.group_cursors.move(early) == [False] * 4
    say(store, group, users[0], 1, 2)
    assert (sent(store, group), cursor_of(store, group, users[0])) == ([0, 0], 0)
    assert store.group_cursors.move([(group, users[0], HUGE), (group, users[0], 2), (group, users[0], 3)]) == [False, True, False]


def test_nobody_elses_claim_counts(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0], users[1])
    say(store, group, users[0], 1)
    leave(store, group, users[1])
    foreign = [(group, users[1], 1), (group, users[2], 1), (group, HUGE, 1), (group + 1, users[0], 1), (HUGE, users[0], 1), (0, 0, 1)]
    assert store.group_cursors.move(foreign) == [False] * 6
    assert store.group_cursors.move([]) == []
    assert sent(store, group) == [0]
    dissolve(store, group)
    assert store.group_cursors.move([(group, users[0], 1)]) == [False]


def test_a_leaver_is_not_waited_for(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0], users[1])
    say(store, group, users[0], *range(3))
    store.group_cursors.move([(group, users[1], 1)])
    leave(store, group, users[1])
    assert [(row.members, row.sent) for row in stored(store, group)] == [(2, 1), (1, 0), (1, 0)]


def test_of_many_leavers_each_lowers_what_it_has_not(store: Store, users: list[int]) -> None:
    group = new_group(store, *users)
    say(store, group, users[0], *range(5))
    store.group_cursors.move([(group, user, number) for user, number in zip(users[1:], (1, 3, 3), strict=True)])
    for user in users[1:3]:
        leave(store, group, user)
    assert [(row.members, row.sent) for row in stored(store, group)] == [(4, 3), (3, 2), (3, 2), (2, 0), (2, 0)]
    store.group_cursors.move([(group, user, 5) for user in users])
    assert [row.sent for row in stored(store, group)] == [row.members for row in stored(store, group)]


def test_who_joined_confirms_nothing_of_before(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    say(store, group, users[0], 1, 2)
    join(store, group, users[1])
    say(store, group, users[0], 3)
    assert store.group_cursors.move([(group, users[1], 2), (group, users[1], 3)]) == [False, True]
    assert sent(store, group) == [0, 0, 1]


def test_thousands_of_claims_in_many_groups_are_one_call(store: Store) -> None:
    users = store.accounts.create_all([(f"crowd{number}", "Crowd", "hash") for number in range(60)], now=1)
    groups = [new_group(store, *users, number=number) for number in range(40)]
    store.group_posts.post([post(group, users[0], number) for number in range(8) for group in groups])
    claims = [(group, user, 1 + (group + user) % 9) for group in groups for user in users]
    wanted = Counter((group, row) for group, user, number in claims if number <= 8 for row in range(1, number + 1))
    assert sum(store.group_cursors.move(claims * 2)) == sum(number <= 8 for _, _, number in claims)
    for group in groups:
        assert sent(store, group) == [wanted[group, row] for row in range(1, 9)]


def test_long_and_short_spans_are_counted_alike(store: Store, users: list[int]) -> None:
    group = new_group(store, *users)
    last = 3 * LONGEST_LISTED
    say(store, group, users[0], *range(last))
    numbers = (last, LONGEST_LISTED + 1, LONGEST_LISTED + 5, last - 2)
    claims = [(group, user, number) for user, number in zip(users, numbers, strict=True)]
    assert all(store.group_cursors.move(claims))
    assert sent(store, group) == [sum(row <= number for _, _, number in claims) for row in range(1, last + 1)]


def test_a_claim_passes_over_what_is_gone(store: Store, users: list[int]) -> None:
    group = new_group(store, *users[:2])
    say(store, group, users[0], *range(4))
    store.group_posts.post([post(group, users[0], 9, accepted=T0 + 60 * DAY)])
    assert store.group_purge.walk(0, 10, 10, T0 + 61 * DAY)[0] == 4
    assert store.group_cursors.move([(group, users[0], 5), (group, users[1], 2)]) == [True, True]
    assert [(row.number, row.sent) for row in stored(store, group)] == [(5, 1)]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 12), st.integers(0, 12))))
def test_segments_are_the_spans_laid_over_each_other(spans: list[tuple[int, int, int]]) -> None:
    spans = [(group, min(a, b), max(a, b)) for group, a, b in spans]
    wanted = Counter((group, row) for group, above, up_to in spans for row in range(above + 1, up_to + 1))
    found: Counter[tuple[int, int]] = Counter()
    last = (0, 0)
    for group, above, up_to, many in segments(spans):
        assert (group, above) >= last and above < up_to and many > 0
        last = (group, up_to)
        found.update({(group, row): many for row in range(above + 1, up_to + 1)})
    assert found == wanted


def test_the_same_claims_at_two_centers_count_once(settings: StoreSettings, store: Store) -> None:
    users = store.accounts.create_all([(f"crowd{number}", "Crowd", "hash") for number in range(20)], now=1)
    groups = [new_group(store, *users, number=number) for number in range(3)]
    for group in groups:
        say(store, group, users[0], *range(10))
    stores = [store, open_store(settings)]

    def claim(center: Store, turn: int) -> int:
        moved = 0
        for number in range(1, 11):
            claims = [(group, user, number) for group in groups for user in users[turn % 3 :]]
            moved += sum(center.group_cursors.move(claims[::-1] if turn % 2 else claims))
        return moved

    racing = [gevent.spawn(claim, stores[turn % 2], turn) for turn in range(6)]
    gevent.joinall(racing, raise_error=True, timeout=60)
    for group in groups:
        assert sent(store, group) == [20] * 10
    assert ask(store, "SELECT MIN(cursor_number),MAX(cursor_number) FROM group_members") == [(10, 10)]
    stores[1].close()
