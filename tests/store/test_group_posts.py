"""The contract of posts: numbered without hole or repeat, kept in their order, and read as a member may."""

from collections.abc import Sequence

import gevent
import pytest

from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.group_changes import Altered, MuteSet, RoleSet
from myim_server.store.group_posts import GroupPosts
from myim_server.store.group_purge import DAY
from myim_server.store.group_values import Post, Posted, PostRefused, Row
from tests.store.groups import ask, change, dissolve, group_of, join, leave, new_group, numbers_of, post, read, say, stored
from tests.store.messages import T0, time_of

HUGE = (1 << 64) - 1
MUTED, NOT_MEMBER = PostRefused.MUTED, PostRefused.NOT_MEMBER


def test_numbers_begin_at_one_and_are_in_the_order_of_the_list(store: Store, users: list[int]) -> None:
    groups = [new_group(store, users[0], users[1], number=number) for number in range(2)]
    posts = [post(groups[number % 2], users[number % 2], number) for number in range(6)]
    assert store.group_posts.post(posts) == [Posted(number // 2 + 1, 2) for number in range(6)]
    assert store.group_posts.post([post(groups[0], users[0], 9)]) == [Posted(4, 2)]
    assert [row.number for row in read(store, groups[0], users[1])] == [1, 2, 3, 4]
    assert [group_of(store, group).number for group in groups] == [4, 3]


def test_nothing_is_posted_in_vain(store: Store) -> None:
    assert store.group_posts.post([]) == []


def test_a_row_is_what_was_posted(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    bodies = [b"", b"\x00'\\\xff" * 8192, bytes(65535)]
    posts = [Post(group, users[0], HUGE - number, body, HUGE, HUGE - 1, T0 + number) for number, body in enumerate(bodies)]
    assert numbers_of(store.group_posts.post(posts)) == [1, 2, 3]
    expected = [Row(number + 1, users[0], HUGE - number, T0 + number, HUGE, HUGE - 1, body) for number, body in enumerate(bodies)]
    assert read(store, group, users[0]) == expected
    assert numbers_of(store.group_posts.post(posts)) == [1, 2, 3]


def test_a_row_waits_for_the_members_of_its_commit(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    say(store, group, users[0], 1)
    join(store, group, users[1])
    say(store, group, users[1], 2)
    leave(store, group, users[0])
    say(store, group, users[1], 3)
    assert [row.members for row in stored(store, group)] == [0, 1, 1]


def test_a_repeat_gets_its_number_back(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    assert say(store, group, users[0], 1, 2) == [1, 2]
    again = [post(group, users[0], 2), post(group, users[0], 3), post(group, users[0], 3), post(group, users[0], 1, body=b"other")]
    assert store.group_posts.post(again) == [Posted(2, 1, True), Posted(3, 1), Posted(3, 1, True), PostRefused.CONFLICT]


def test_a_name_is_one_of_its_user_in_its_group(store: Store, users: list[int]) -> None:
    groups = [new_group(store, users[0], users[1], number=number) for number in range(2)]
    posts = [post(group, user, 1, body=bytes([place])) for place, group in enumerate(groups) for user in users[:2]]
    assert numbers_of(store.group_posts.post(posts)) == [1, 2, 1, 2]


def test_a_name_outlives_what_it_named(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    say(store, group, users[0], 1, 2)
    store.group_cursors.move([(group, users[0], 2)])
    assert store.group_purge.done([group], 10)[0] == 2
    again = [post(group, users[0], 2, body=b"who can tell"), post(group, users[0], 3)]
    assert store.group_posts.post(again) == [Posted(2, 1, True), Posted(3, 1)]
    assert store.group_purge.names(T0 + 8 * DAY + time_of(4), 10) == 3
    assert store.group_posts.post([post(group, users[0], 1)]) == [Posted(4, 1)]


def test_a_repeat_is_told_its_number_whatever_happened_since(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0], users[1], users[2])
    say(store, group, users[1], 1)
    say(store, group, users[2], 1)
    leave(store, group, users[1])
    change(store, group, MuteSet(users[2], HUGE >> 1))
    version = group_of(store, group).version
    names = [(users[1], 2), (users[1], 1), (users[2], 2), (users[2], 1), (users[0], 1)]
    outcomes = store.group_posts.post([post(group, user, number) for user, number in names])
    assert outcomes == [NOT_MEMBER, Posted(1, version, True), MUTED, Posted(2, version, True), Posted(3, version)]


def test_only_members_post(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    posts = [post(group, users[1], 1), post(group + 1, users[0], 2), post(group, users[0], 3), post(HUGE, HUGE, 3)]
    assert store.group_posts.post(posts) == [NOT_MEMBER, NOT_MEMBER, Posted(1, 1), NOT_MEMBER]
    assert store.group_posts.page(group, users[1], 0, 10, 1000) is None
    dissolve(store, group)
    assert store.group_posts.post(posts[2:3]) == [NOT_MEMBER]
    assert store.group_posts.page(group, users[0], 0, 10, 1000) is None


def test_who_is_muted_does_not_post_until_then(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0], users[1], users[2])
    change(store, group, MuteSet(users[1], T0 + 5))
    posts = [post(group, users[1], number, slot=number, accepted=T0 + number) for number in (3, 4, 5, 6)]
    assert [type(one) for one in store.group_posts.post(posts)] == [PostRefused, PostRefused, Posted, Posted]
    change(store, group, Altered(is_muted=True), RoleSet(users[1], "admin"))
    outcomes = store.group_posts.post([post(group, user, 9) for user in users[:3]])
    assert [outcome is MUTED for outcome in outcomes] == [False, False, True]


def test_refusing_a_post_refuses_those_behind_it_in_its_lane(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    change(store, group, MuteSet(users[0], T0 + 5))
    posts = [
        post(group, users[0], 1, accepted=T0),
        post(group, users[0], 2, accepted=T0 + 5),
        post(group, users[0], 3, slot=1, accepted=T0 + 5),
        post(group, users[0], 1, accepted=T0 + 5),
    ]
    assert store.group_posts.post(posts) == [MUTED, MUTED, Posted(1, 2), MUTED]
    assert store.group_posts.post(posts[1:2]) == [Posted(2, 2)]


def test_a_name_used_twice_says_nothing_against_those_behind_it(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    say(store, group, users[0], 1)
    posts = [post(group, users[0], 1, body=b"other"), post(group, users[0], 2), post(group, users[0], 2, body=b"other")]
    assert store.group_posts.post(posts) == [PostRefused.CONFLICT, Posted(2, 1), PostRefused.CONFLICT]


def test_a_full_group_takes_no_more_until_something_went(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    posts = GroupPosts(store._database, rows_per_group=3)
    first = posts.post([post(group, users[0], number) for number in range(5)])
    assert first == [Posted(1, 1), Posted(2, 1), Posted(3, 1), PostRefused.FULL, PostRefused.FULL]
    assert posts.post([post(group, users[0], 4), post(group, users[0], 1)]) == [PostRefused.FULL, Posted(2, 1, True)]
    store.group_cursors.move([(group, users[0], 2)])
    store.group_purge.done([group], 10)
    assert posts.post([post(group, users[0], number) for number in (3, 4, 5)]) == [Posted(4, 1), Posted(5, 1), PostRefused.FULL]
    assert GroupPosts(store._database, rows_per_group=3).post([post(group, users[0], 5)]) == [PostRefused.FULL]


def test_an_empty_group_has_all_its_room_however_high_its_number(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    posts = GroupPosts(store._database, rows_per_group=2)
    for number in range(0, 8, 2):
        assert numbers_of(posts.post([post(group, users[0], number), post(group, users[0], number + 1)])) == [number + 1, number + 2]
        store.group_cursors.move([(group, users[0], number + 2)])
        store.group_purge.done([group], 10)


def test_more_than_a_statement_holds_is_one_transaction(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    large = [post(group, users[0], number, body=bytes(32768)) for number in range(40)]
    assert numbers_of(store.group_posts.post(large)) == list(range(1, 41))
    many = [post(group, users[0], number, body=b"") for number in range(40, 15_000)]
    assert numbers_of(store.group_posts.post(large[:1] + many)) == [1, *range(41, 15_001)]
    assert ask(store, "SELECT COUNT(*),MAX(number) FROM group_messages") == [(15_000, 15_000)]


def page(store: Store, group: int, user: int, after: int, max_rows: int = 100, max_bytes: int = 1 << 20) -> tuple[list[int], int, int]:
    found = store.group_posts.page(group, user, after, max_rows, max_bytes)
    assert found is not None
    rows, up_to, number = found
    return [row.number for row in rows], up_to, number


def test_a_page_says_up_to_where_it_is_all(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    assert page(store, group, users[0], 0) == ([], 0, 0)
    say(store, group, users[0], *range(5))
    assert page(store, group, users[0], 0) == ([1, 2, 3, 4, 5], 5, 5)
    assert page(store, group, users[0], 0, max_rows=2) == ([1, 2], 2, 5)
    assert page(store, group, users[0], 3, max_rows=2) == ([4, 5], 5, 5)
    assert page(store, group, users[0], 2, max_bytes=12) == ([3, 4], 4, 5)
    assert page(store, group, users[0], 2, max_bytes=1) == ([3], 3, 5)
    assert page(store, group, users[0], 5) == page(store, group, users[0], 9) == page(store, group, users[0], HUGE) == ([], 5, 5)


def test_pages_are_each_askers_own_and_those_that_are_the_same_are_read_once(store: Store, users: list[int]) -> None:
    group, other = new_group(store, users[0], users[1]), new_group(store, users[2], number=1)
    say(store, group, users[0], 1, 2)
    say(store, other, users[2], 1)
    join(store, group, users[3])
    say(store, group, users[0], 3)
    asked = [(group, users[place], 0) for place in (0, 2, 1, 3)] + [(other, users[2], 0), (group, users[0], 2)]
    pages = store.group_posts.pages(asked, 10, 1 << 20)
    assert [page and [row.number for row in page[0]] for page in pages] == [[1, 2, 3], None, [1, 2, 3], [3], [1], [3]]
    assert pages == [store.group_posts.page(*one, 10, 1 << 20) for one in asked]
    assert pages[0] is pages[2] and pages[3] is pages[5]


def test_a_page_passes_over_what_is_gone(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    say(store, group, users[0], *range(5))
    store.group_cursors.move([(group, users[0], 3)])
    store.group_purge.done([group], 10)
    assert page(store, group, users[0], 0) == ([4, 5], 5, 5)
    store.group_cursors.move([(group, users[0], 5)])
    assert page(store, group, users[0], 0, max_rows=1) == ([4], 4, 5)
    store.group_purge.done([group], 10)
    assert page(store, group, users[0], 0) == ([], 5, 5)


def test_a_page_of_large_bodies_is_cut_and_complete(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    bodies = [bytes([number]) * (30_000 if number % 3 else 10) for number in range(12)]
    store.group_posts.post([post(group, users[0], number, body=body) for number, body in enumerate(bodies)])
    found: list[bytes] = []
    while len(found) < 12:
        outcome = store.group_posts.page(group, users[0], len(found), 100, 65_536)
        assert outcome is not None
        assert 1 <= len(outcome[0]) <= 4
        found += [row.body for row in outcome[0]]
    assert found == bodies


def test_who_came_later_reads_nothing_of_before(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    say(store, group, users[0], 1, 2)
    join(store, group, users[1])
    assert page(store, group, users[1], 0) == ([], 2, 2)
    say(store, group, users[0], 3)
    assert page(store, group, users[1], 0) == page(store, group, users[1], 1) == ([3], 3, 3)
    assert page(store, group, users[0], 0) == ([1, 2, 3], 3, 3)


def test_posts_of_many_centers_get_each_number_once_and_are_seen_in_their_order(
    settings: StoreSettings, store: Store, users: list[int]
) -> None:
    """Readers race too: what a page says to be all, is all, and stays so (G-9)."""
    groups = [new_group(store, *users, number=number) for number in range(3)]
    stores = [store, open_store(settings)]
    numbers: dict[int, list[int]] = {group: [] for group in groups}
    is_over = False

    def send(center: Store, user: int, slot: int) -> None:
        for begin in range(0, 40, 5):
            batch = [post(groups[(n + slot) % 3], user, n, slot=slot) for n in range(begin, begin + 5)]
            for one, number in zip(batch, numbers_of(center.group_posts.post(batch)), strict=True):
                numbers[one.group].append(number)

    def follow(center: Store, group: int) -> int:
        seen = 0
        while not is_over:
            rows, up_to, _ = page(center, group, users[0], seen, max_rows=7)
            assert rows == list(range(seen + 1, up_to + 1))
            seen = up_to
        return seen

    lanes = [(user, slot) for user in users for slot in (0, 1)]
    senders = [gevent.spawn(send, stores[place % 2], *lane) for place, lane in enumerate(lanes)]
    readers = [gevent.spawn(follow, stores[1], group) for group in groups]
    gevent.joinall(senders, raise_error=True, timeout=60)
    is_over = True
    gevent.joinall(readers, raise_error=True, timeout=60)
    assert sum(map(len, numbers.values())) == 8 * 40
    for group in groups:
        rows = read(store, group, users[0])
        assert sorted(numbers[group]) == [row.number for row in rows] == list(range(1, len(rows) + 1))
        for user, slot in lanes:
            times = [row.time for row in rows if (row.user, row.time & 63) == (user, slot)]
            assert times == sorted(times)
    stores[1].close()


@pytest.mark.parametrize("overlap", [0, 3])
def test_the_same_posts_at_two_centers_are_numbered_once(settings: StoreSettings, store: Store, users: list[int], overlap: int) -> None:
    group = new_group(store, users[0])
    stores = [store, open_store(settings)]
    names = range(60)
    told: list[tuple[int, tuple[int, bool]]] = []

    def store_all(center: Store, size: int) -> None:
        for begin in range(0, len(names), size):
            batch = [post(group, users[0], n) for n in names[begin : begin + size + overlap]]
            told.extend(_places(center.group_posts.post(batch), begin))

    racing = [gevent.spawn(store_all, center, size) for center, size in zip(stores, (4, 7), strict=True)]
    gevent.joinall(racing, raise_error=True, timeout=60)
    rows = read(store, group, users[0])
    assert [row.time for row in rows] == [time_of(n) for n in names]
    assert all(number == place + 1 for place, (number, _) in told)
    assert sum(not is_repeat for _, (_, is_repeat) in told) == 60
    stores[1].close()


def _places(outcomes: Sequence[Posted | PostRefused], begin: int) -> list[tuple[int, tuple[int, bool]]]:
    found = []
    for place, outcome in enumerate(outcomes):
        assert isinstance(outcome, Posted)
        found.append((begin + place, (outcome.number, outcome.is_repeat)))
    return found
