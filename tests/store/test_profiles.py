"""Profiles in the store: what friends see of them, whose lists are other by a change, who finds whom."""

from __future__ import annotations

import pytest

from bench.befriending import befriend_all
from myim_server.store.engine import Store
from myim_server.store.friend_changes import Blocked, GroupAdded, Moved
from myim_server.store.profile_values import Found, Profile, ProfileChange
from tests.store.friends import HASHING, befriend, change, listed, root_from_scratch, set_profile


def test_who_set_nothing_has_a_profile_of_nothing(store: Store, users: list[int]) -> None:
    assert store.profiles.own(users[0]) == Profile(users[0], "User 0", "", "", "", 0, "everybody", "everybody")
    assert store.profiles.own(12345) is None
    assert store.profiles.set(12345, ProfileChange(signature="x")) is None


def test_what_is_set_stays_and_the_rest_is_as_before(store: Store, users: list[int]) -> None:
    set_profile(store, users[0], display_name="é 字 🙂", avatar="a://1")
    set_profile(store, users[0], signature="hello\nyou", searchable="name")
    set_profile(store, users[0], display_name="", asking="nobody")
    assert store.profiles.own(users[0]) == Profile(users[0], "User 0", "", "a://1", "hello\nyou", 3, "name", "nobody")


def test_the_version_counts_what_friends_see(store: Store, users: list[int]) -> None:
    versions = []
    twice, both = {"signature": "a"}, {"signature": "", "asking": "nobody"}
    for values in (twice, twice, {"asking": "nobody"}, {"searchable": "nobody"}, both):
        set_profile(store, users[0], **values)
        profile = store.profiles.own(users[0])
        assert profile is not None
        versions.append(profile.version)
    assert versions == [1, 1, 1, 1, 2]


def test_a_change_makes_the_lists_of_friends_other_and_nobody_elses(store: Store, users: list[int]) -> None:
    one, two, three, four = users
    befriend(store, one, two, three)
    befriend(store, two, four)
    change(store, two, 0, GroupAdded("work", 1))
    change(store, two, one, Moved(1))
    for user in users:
        store.friends.freshen(user, HASHING)
    versions = {user: store.friends.state(user).version for user in users}
    assert set_profile(store, one, signature="at sea") == {two: versions[two] + 1, three: versions[three] + 1}
    for user in users:
        state = store.friends.state(user)
        assert (state.version, state.is_stale) == ((versions[user] + 1, True) if user in (two, three) else (versions[user], False))
        assert store.friends.freshen(user, HASHING).root == root_from_scratch(store, user)
    assert listed(store, two)[one].signature == "at sea"
    found = store.friends.difference(two, versions[two], (9, 9), HASHING)
    assert found.changes is not None and [friend.user for friend in found.changes[0]] == [one]
    assert set_profile(store, one, asking="nobody") == set_profile(store, one, signature="at sea") == {}


def test_a_change_reaches_more_friends_than_one_statement_takes(store: Store) -> None:
    one, *others = store.accounts.create_all([(f"many{number}", f"many{number}", "hash") for number in range(1002)], now=1)
    befriend_all(store, [(one, other) for other in others])
    assert set_profile(store, one, signature="to all") == dict.fromkeys(others, 2)
    for other in (others[0], others[500], others[-1]):
        assert [friend.signature for friend in store.friends.page(other, 0, 0, 9)[1]] == ["to all"]
        assert store.friends.state(other)[::2] == (2, True)


def test_one_sees_ones_own_profile_and_those_of_friends(store: Store, users: list[int]) -> None:
    one, two, three, _ = users
    befriend(store, one, two)
    change(store, two, one, Blocked())
    set_profile(store, two, signature="x")
    seen = store.profiles.seen(one, [three, two, one, two, 12345])
    assert [(profile.user, profile.signature) for profile in seen] == sorted([(one, ""), (two, "x")])
    assert store.profiles.seen(three, [one, two]) == [] == store.profiles.seen(one, [])


# ---------------------------------------------------------------------- who finds whom


def names(found: list[Found]) -> list[str]:
    return [one.name for one in found]


@pytest.fixture
def people(store: Store) -> dict[str, int]:
    listed = ["anna", "annabel", "annabella", "bert", "anno", "zoe"]
    return dict(zip(listed, store.accounts.create_all([(name, name.title(), "hash") for name in listed], now=1), strict=True))


def test_a_beginning_finds_names_in_their_order_and_no_more_than_asked_for(store: Store, people: dict[str, int]) -> None:
    asker = people["zoe"]
    assert names(store.profiles.search(asker, None, "anna", None, 20)) == ["Anna", "Annabel", "Annabella"]
    assert names(store.profiles.search(asker, None, "ann", None, 2)) == ["Anna", "Annabel"]
    assert names(store.profiles.search(asker, "anno", "ann", people["bert"], 3)) == ["Anno", "Bert", "Anna"]
    assert names(store.profiles.search(asker, "anna", "anna", people["anna"], 20)) == ["Anna", "Annabel", "Annabella"]
    assert store.profiles.search(asker, None, None, None, 20) == store.profiles.search(asker, "ann", None, 12345, 20) == []
    assert store.profiles.search(asker, "a%", "a_n", None, 20) == []


@pytest.mark.parametrize(
    ("searchable", "by_name", "by_beginning", "by_id"),
    [("everybody", True, True, True), ("name", True, False, False), ("nobody", False, False, False)],
)
def test_strangers_find_by_what_was_chosen_and_friends_always(
    store: Store, people: dict[str, int], searchable: str, by_name: bool, by_beginning: bool, by_id: bool
) -> None:
    anna, bert = people["anna"], people["bert"]
    set_profile(store, anna, searchable=searchable, display_name="An")

    def finds(asker: int) -> tuple[bool, bool, bool, bool]:
        me = Found(anna, "Anna", "An")
        search = store.profiles.search
        ways = (search(asker, "anna", None, None, 9), search(asker, None, "anna", None, 9), search(asker, None, None, anna, 9))
        return (*(me in found for found in ways), store.profiles.find(asker, "anna") == me)  # type: ignore[return-value]

    assert finds(bert) == (by_name, by_beginning, by_id, by_name)
    assert finds(anna) == (True, True, True, True)
    change(store, anna, bert, Blocked())
    assert finds(bert) == (False, False, False, False)
    assert finds(people["zoe"]) == (by_name, by_beginning, by_id, by_name)
    befriend(store, anna, bert)
    assert finds(bert) == (True, True, True, True), "a block is not seen by who is a friend"
