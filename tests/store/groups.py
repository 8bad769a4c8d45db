"""Groups for the store's tests, with the parts that do not matter filled in, and the rows as an outsider would read them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from myim_server.store.engine import Store
from myim_server.store.group_changes import Added, Change, Dissolved, Removed
from myim_server.store.group_values import Group, Member, Post, Posted, PostRefused, Row
from tests.store.messages import T0, time_of


def new_group(store: Store, *members: int, number: int = 0) -> int:
    """The id of a group whose owner is the first; `number` makes another of the same owner."""
    group, is_new = store.groups.create(members[0], time_of(number), "group", "", "open", (), T0)
    assert is_new
    if members[1:]:
        change(store, group.id, *(Added(user, "member") for user in members[1:]))
    return group.id


def change(store: Store, group: int, *changes: Change) -> None:
    """Does these changes to a group that is there."""
    users = [one.user for one in changes if isinstance(one, Added | Removed)]
    assert store.groups.change(group, users, lambda view: changes, T0) is not None


def group_of(store: Store, group: int) -> Group:
    state = store.groups.state(group, 0)
    assert state is not None
    return state[0]


def member_of(store: Store, group: int, user: int) -> Member | None:
    state = store.groups.state(group, user)
    return None if state is None else state[1]


def join(store: Store, group: int, user: int) -> None:
    change(store, group, Added(user, "member"))


def leave(store: Store, group: int, user: int) -> None:
    change(store, group, Removed(user))


def dissolve(store: Store, group: int) -> None:
    change(store, group, Dissolved())


def post(group: int, user: int, number: int, *, slot: int = 0, body: bytes | None = None, accepted: int | None = None) -> Post:
    """The n-th post of the user's terminal."""
    time = time_of(number, slot)
    content = b"post %d" % number if body is None else body
    return Post(group, user, time, content, entered=7, message_id=number + 1, accepted=time if accepted is None else accepted)


def say(store: Store, group: int, user: int, *numbers: int, slot: int = 0) -> list[int]:
    """The numbers of the user's posts, which must be taken."""
    return numbers_of(store.group_posts.post([post(group, user, number, slot=slot) for number in numbers]))


def numbers_of(outcomes: Sequence[Posted | PostRefused]) -> list[int]:
    numbers = []
    for outcome in outcomes:
        assert isinstance(outcome, Posted)
        numbers.append(outcome.number)
    return numbers


def read(store: Store, group: int, user: int, after: int = 0) -> list[Row]:
    """All that the member gets."""
    page = store.group_posts.page(group, user, after, 10_000, 1 << 30)
    assert page is not None
    rows, up_to, number = page
    assert up_to == number
    return rows


class Stored(NamedTuple):
    """What a row waits for, and how far it is."""

    number: int
    members: int
    sent: int


def stored(store: Store, group: int) -> list[Stored]:
    """The counts of all rows of the group, in their order."""
    rows = ask(store, f"SELECT number,members,sent FROM group_messages WHERE chat_group={group} ORDER BY number")
    return [Stored(*row) for row in rows]


def ask(store: Store, statement: str) -> list[tuple[Any, ...]]:
    """The rows of a statement of numbers alone."""
    return [tuple(row) for row in store._database.read(lambda connection: connection.exec_driver_sql(statement).all())]
