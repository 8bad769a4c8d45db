"""The contract of posts: numbered without hole or repeat, and read as a member may."""

from myim_server.store.engine import Store
from myim_server.store.group_values import Posted, PostRefused
from tests.store.groups import new_group, post, read, say


def test_numbers_begin_at_one_and_are_in_the_order_of_the_list(store: Store, users: list[int]) -> None:
    groups = [new_group(store, users[0], users[1], number=number) for number in range(2)]
    posts = [post(groups[number % 2], users[number % 2], number) for number in range(6)]
    assert store.group_posts.post(posts) == [Posted(number // 2 + 1, 2) for number in range(6)]
    assert store.group_posts.post([post(groups[0], users[0], 9)]) == [Posted(4, 2)]
    assert [row.number for row in read(store, groups[0], users[1])] == [1, 2, 3, 4]


def test_a_repeat_gets_its_number_back(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    assert say(store, group, users[0], 1, 2) == [1, 2]
    again = [post(group, users[0], 2), post(group, users[0], 3), post(group, users[0], 3), post(group, users[0], 1, body=b"other")]
    assert store.group_posts.post(again) == [Posted(2, 1, True), Posted(3, 1), Posted(3, 1, True), PostRefused.CONFLICT]


def test_only_members_post(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    posts = [post(group, users[1], 1), post(group + 1, users[0], 2), post(group, users[0], 3)]
    assert store.group_posts.post(posts) == [PostRefused.NOT_MEMBER, PostRefused.NOT_MEMBER, Posted(1, 1)]
    assert store.group_posts.page(group, users[1], 0, 10, 1000) is None
