"""The contract of groups: made once, changed upon decisions, read as they are."""

from collections.abc import Sequence

import gevent
import pytest

from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.friend_changes import Blocked, Unblocked
from myim_server.store.group_changes import Added, Altered, Asked, Change, MuteSet, Removed, RoleSet, Unasked
from myim_server.store.group_values import Group, Member, Pending, Standing, View
from tests.store import friends
from tests.store.groups import ask, change, dissolve, group_of, join, leave, member_of, new_group, say
from tests.store.messages import T0, time_of

HUGE = (1 << 64) - 1


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


def test_a_name_of_a_group_may_be_any_u64(store: Store, users: list[int]) -> None:
    made, is_new = store.groups.create(users[0], HUGE, "a", "", "open", (), T0)
    assert is_new
    assert store.groups.create(users[0], HUGE, "a", "", "open", (), T0) == (made, False)


def test_of_the_same_creation_at_two_centers_one_makes_the_group(settings: StoreSettings, store: Store, users: list[int]) -> None:
    stores = [store, open_store(settings)]
    calls = [(stores[i % 2].groups, i % 4) for i in range(16)]
    racing = [gevent.spawn(groups.create, users[0], time_of(number), "a", "", "open", users, T0) for groups, number in calls]
    gevent.joinall(racing, raise_error=True, timeout=30)
    ids = [one.get()[0].id for one in racing]
    assert [ids[i] for i in range(16)] == [ids[i % 4] for i in range(16)]
    assert sum(one.get()[1] for one in racing) == 4
    assert ask(store, "SELECT COUNT(*) FROM group_members") == [(4,)]
    assert ask(store, "SELECT COUNT(*) FROM group_pending") == [(12,)]
    stores[1].close()


def test_a_decision_that_raises_changes_nothing_and_is_heard(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])

    def refuse(view: View) -> Sequence[Change]:
        raise KeyError(view.group.version)

    with pytest.raises(KeyError, match="1"):
        store.groups.change(group, users, refuse, T0)
    join(store, group, users[1])
    assert group_of(store, group).version == 2


def test_no_change_is_no_new_version(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    outcome = store.groups.change(group, users, lambda view: [], T0)
    assert outcome is not None and outcome[1] == []
    change(store, group, Asked(users[1], "invited", users[0], "a"), Asked(users[2], "requested", users[2], "b"), Unasked(users[1]))
    assert group_of(store, group).version == 1
    assert store.groups.pending(group, 0, 10) == [Pending(users[2], "requested", users[2], "b", T0)]
    change(store, group, Altered(name="a"), Altered(description="b"), MuteSet(users[0], 5))
    assert group_of(store, group).version == 2


def test_every_change_does_what_it_says(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0], users[1])
    change(store, group, Altered(name="n", description="d" * 1000, join="invitation", is_muted=True))
    assert group_of(store, group)[1:5] == ("n", "d" * 1000, "invitation", True)
    change(store, group, Altered(is_muted=False))
    assert group_of(store, group)[1:5] == ("n", "d" * 1000, "invitation", False)
    change(store, group, RoleSet(users[0], "admin"), RoleSet(users[1], "owner"), MuteSet(users[0], T0 + 9))
    assert group_of(store, group).owner == users[1]
    assert member_of(store, group, users[0]) == Member(users[0], "admin", 0, 0, T0 + 9, T0)
    assert member_of(store, group, users[1]) == Member(users[1], "owner", 0, 0, 0, T0)
    change(store, group, Asked(users[2], "requested", users[2], "a"), Asked(users[2], "invited", users[1], "b"))
    assert store.groups.pending(group, 0, 10) == [Pending(users[2], "invited", users[1], "b", T0)]
    change(store, group, Added(users[2], "member"), MuteSet(users[2], 7), RoleSet(users[2], "admin"), Removed(users[0]))
    assert member_of(store, group, users[2]) == Member(users[2], "admin", 0, 0, 7, T0)
    assert store.groups.pending(group, 0, 10) == []
    assert group_of(store, group).members == 2
    assert store.groups.members(group, 0, 10)[0] == group_of(store, group).version


def test_about_somebody_who_is_no_member_nothing_changes(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0])
    change(store, group, Removed(users[1]), RoleSet(users[2], "admin"), MuteSet(users[3], 5), Unasked(users[1]))
    assert group_of(store, group).members == 1
    assert [member.user for member in store.groups.members(group, 0, 10)[1]] == [users[0]]


def test_who_leaves_and_comes_back_is_new(store: Store, users: list[int]) -> None:
    group = new_group(store, users[0], users[1])
    say(store, group, users[0], 1, 2)
    change(store, group, Removed(users[1]), Added(users[1], "admin"))
    assert member_of(store, group, users[1]) == Member(users[1], "admin", 2, 2, 0, T0)
    change(store, group, Added(users[2], "member"), Removed(users[2]))
    assert group_of(store, group).members == 2
    say(store, group, users[1], 3)
    leave(store, group, users[1])
    join(store, group, users[1])
    assert member_of(store, group, users[1]) == Member(users[1], "member", 3, 3, 0, T0)


def test_joins_that_race_are_decided_one_after_another(settings: StoreSettings, store: Store) -> None:
    users = store.accounts.create_all([(f"racer{number}", "Racer", "hash") for number in range(12)], now=1)
    group = new_group(store, users[0])
    stores = [store, open_store(settings)]

    def join_if_there_is_room(number: int) -> int:
        user = users[number]

        def decide(view: View) -> Sequence[Change]:
            return [Added(user, "member")] if view.group.members < 5 else []

        outcome = stores[number % 2].groups.change(group, [user], decide, T0)
        assert outcome is not None
        return len(outcome[1])

    racing = [gevent.spawn(join_if_there_is_room, number) for number in range(1, 12)]
    gevent.joinall(racing, raise_error=True, timeout=30)
    assert sum(one.get() for one in racing) == 4
    assert group_of(store, group)[7:9] == (5, 5)
    assert len(store.groups.members(group, 0, 100)[1]) == 5
    stores[1].close()


def test_groups_of_a_user_come_in_pages(store: Store, users: list[int]) -> None:
    mine = [new_group(store, users[0], number=number) for number in range(3)]
    asked = [new_group(store, users[1], number=number) for number in range(3)]
    for group in asked:
        change(store, group, Asked(users[0], "requested", users[0], "?"))
    found = store.groups.of_user(users[0], 0, 4)
    found += store.groups.of_user(users[0], found[-1][0].id, 4)
    assert [group.id for group, _, _ in found] == sorted(mine + asked)
    assert {group.id for group, member, pending in found if member is not None and pending is None} == set(mine)
    assert {group.id for group, member, pending in found if member is None and pending is not None} == set(asked)
    assert store.groups.of_user(users[0], HUGE, 10) == store.groups.of_user(users[3], 0, 10) == []


def test_members_and_pendings_come_in_pages(store: Store) -> None:
    users = sorted(store.accounts.create_all([(f"many{number}", "Many", "hash") for number in range(9)], now=1))
    group = new_group(store, *users[:5])
    change(store, group, *(Asked(user, "invited", users[0], "") for user in users[5:]))
    version, first = store.groups.members(group, 0, 3)
    assert (version, [member.user for member in first]) == (2, users[:3])
    assert [member.user for member in store.groups.members(group, users[2], 3)[1]] == users[3:5]
    assert store.groups.members(group, users[4], 3) == store.groups.members(group, HUGE, 3) == (2, [])
    assert store.groups.members(group + 1, 0, 3) == (0, [])
    assert [pending.user for pending in store.groups.pending(group, users[5], 2)] == users[6:8]
    assert store.groups.pending(group, HUGE, 2) == store.groups.pending(group + 1, 0, 2) == []


def test_a_thousand_are_asked_and_ten_thousand_are_looked_for_at_once(store: Store, users: list[int]) -> None:
    many = store.accounts.create_all([(f"many{number}", "Many", "hash") for number in range(1000)], now=1)
    group, _ = store.groups.create(users[0], 64, "g", "", "invitation", many, T0)
    assert len(store.groups.pending(group.id, 0, 2000)) == 1000
    outcome = store.groups.change(group.id, many, lambda view: [Added(user, "member") for user in sorted(view.pending)], T0)
    assert outcome is not None
    assert (outcome[0].group.members, len(outcome[0].members), outcome[0].requests) == (1001, 1000, 0)
    among = [*range(1, 10_000), *many[:10]]
    assert store.groups.members_among(group.id, among) == (2, dict.fromkeys(many[:10], 0))
    assert len(store.groups.standings(many)) == 1000


def test_nobody_and_nothing_is_asked_for_in_vain(store: Store, users: list[int]) -> None:
    assert not store.groups.standings([])
    assert not store.groups.numbers([])
    assert store.groups.standings([HUGE, 5]) == {HUGE: [], 5: []}
    assert store.groups.numbers([HUGE, 0]) == {}
    assert store.groups.state(HUGE, HUGE) is None
    assert store.groups.members_among(HUGE, [HUGE]) is None
    assert not store.groups.is_member(HUGE, users[0])
    group = new_group(store, users[0])
    assert store.groups.members_among(group, [HUGE, 0]) == (1, {})
    assert store.groups.of_user(HUGE, 0, 10) == []


def test_an_invitation_by_who_is_blocked_is_in_no_list_of_ones_own_till_he_is_not(store: Store, users: list[int]) -> None:
    group, other = new_group(store, users[0]), new_group(store, users[2], number=1)
    for asked, by in ((group, users[0]), (other, users[2])):
        change(store, asked, Asked(users[1], "invited", by, ""))
    friends.change(store, users[1], users[0], Blocked())
    assert [one.id for one, _, _ in store.groups.of_user(users[1], 0, 10)] == [other]
    assert [one.user for one in store.groups.pending(group, 0, 10)] == [users[1]]
    change(store, group, Added(users[1], "member"))
    assert {one.id for one, _, _ in store.groups.of_user(users[1], 0, 10)} == {group, other}
    friends.change(store, users[1], users[2], Blocked())
    assert [one.id for one, _, _ in store.groups.of_user(users[1], 0, 10)] == [group]
    friends.change(store, users[1], users[2], Unblocked())
    assert len(store.groups.of_user(users[1], 0, 10)) == 2
