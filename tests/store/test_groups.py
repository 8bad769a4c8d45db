"""The contract of groups: made once, changed upon decisions, read as they are."""

from myim_server.store.engine import Store
from myim_server.store.group_changes import Added, Asked
from myim_server.store.group_values import Group, Member, Pending, Standing, View
from tests.store.groups import ask, change, dissolve, new_group, say
from tests.store.messages import T0, time_of


def test_a_group_is_made_once_for_a_name(store: Store, users: list[int]) -> None:
    made, is_new = store.groups.create(users[0], time_of(1), "gröup 😀", "a\nb", "approval", [users[1], users[0], 99], T0)
    assert is_new
    assert made == Group(made.id, "gröup 😀", "a\nb", "approval", False, users[0], 0, 1, 1, T0)
    assert store.groups.create(users[0], time_of(1), "other", "", "open", [users[2]], T0 + 5) == (made, False)
    assert store.groups.create(users[0], time_of(2), "other", "", "open", [], T0)[0].id != made.id
    assert store.groups.state(made.id, users[0]) == (made, Member(users[0], "owner", 0, 0, 0, T0), None)
    assert store.groups.state(made.id, users[1]) == (made, None, Pending(users[1], "invited", users[0], "", T0))
    assert store.groups.state(made.id, users[2]) == (made, None, None)
    assert store.groups.state(made.id + 1, users[0]) is None


def test_a_decision_sees_what_there_is_of_the_users_it_asks_for(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0], users[1])
    new_group(store, users[1], number=1)
    change(store, group, Asked(users[2], "requested", users[2], "please"))
    seen: list[View] = []

    def decide(view: View) -> list[Added]:
        seen.append(view)
        return [Added(users[2], "admin")]

    outcome = store.groups.change(group, [*users[1:], 99], decide, T0 + 1)
    assert outcome is not None
    assert seen[0].group.version == 2
    assert set(seen[0].members) == {users[1]}
    assert seen[0].pending == {users[2]: Pending(users[2], "requested", users[2], "please", T0)}
    assert seen[0].requests == 1
    assert seen[0].memberships == {users[1]: 2, users[2]: 0, users[3]: 0, 99: 0}
    assert seen[0].existing == set(users[1:])
    after, changes = outcome
    assert changes == [Added(users[2], "admin")]
    assert (after.group.version, after.group.members, after.requests) == (3, 3, 0)
    assert after.members[users[2]] == Member(users[2], "admin", 0, 0, 0, T0 + 1)


def test_who_joins_begins_at_the_groups_number(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    say(store, group, users[0], 1, 2, 3)
    change(store, group, Added(users[1], "member"))
    state = store.groups.state(group, users[1])
    assert state is not None and state[1] is not None
    assert (state[1].cursor, state[1].joined, state[0].number) == (3, 3, 3)
    assert store.groups.standings(users[:3]) == {
        users[0]: [Standing(group, 2, 3, 0, 0)],
        users[1]: [Standing(group, 2, 3, 3, 3)],
        users[2]: [],
    }
    assert store.groups.members_among(group, None) == (2, {users[0]: 0, users[1]: 3})
    assert store.groups.members_among(group, users[1:]) == (2, {users[1]: 3})
    assert store.groups.members_among(group, []) == (2, {})
    assert store.groups.members_among(group + 1, None) is None
    assert store.groups.numbers([group, 5]) == {group: (3, 2)}
    assert [store.groups.is_member(group, user) for user in users[:3]] == [True, True, False]


def test_a_dissolved_group_is_gone(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0], users[1])
    change(store, group, Asked(users[2], "invited", users[0], ""))
    say(store, group, users[0], 1)
    dissolve(store, group)
    assert store.groups.state(group, users[0]) is None
    assert store.groups.change(group, [], lambda view: [], T0) is None
    assert store.groups.of_user(users[0], 0, 10) == store.groups.of_user(users[2], 0, 10) == []
    assert store.group_purge.walk(0, 10, 10, T0)[0] == 1
    assert ask(store, "SELECT COUNT(*) FROM group_messages") == [(0,)]
