"""Any sequence of changes by any users leaves lists that agree with each other, with their hashes, and with every copy that catches up."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, cast

from hypothesis import HealthCheck
from hypothesis import settings as limits
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.friend_changes import (
    Answered,
    Befriended,
    Blocked,
    GroupAdded,
    GroupAltered,
    GroupRemoved,
    Moved,
    Remarked,
    Requested,
    Unblocked,
    Unfriended,
    Withdrawn,
)
from myim_server.store.friend_values import Friend
from tests.store import friends as of_store
from tests.store.friends import HASHING

KEPT = 3
LIMITS = limits(max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
people = st.integers(0, 3)
words = st.text(st.sampled_from("aé字🙂"), max_size=3)
_numbers = count()


class Model(RuleBasedStateMachine):
    """Four users, what each list must hold, and copies of lists as terminals keep them."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        number = next(_numbers)
        names = [f"m{number}u{place}" for place in range(4)]
        self.users = store.accounts.create_all([(name, name.upper(), "hash") for name in names], now=1)
        self.names = {user: name.upper() for user, name in zip(self.users, names, strict=True)}
        self.versions = dict.fromkeys(self.users, 0)
        self.friends: dict[int, dict[int, tuple[int, str]]] = {user: {} for user in self.users}
        self.groups: dict[int, dict[int, tuple[str, int]]] = {user: {} for user in self.users}
        self.requests: dict[tuple[int, int], tuple[str, str]] = {}
        self.blocks: set[tuple[int, int]] = set()
        self.shown = dict.fromkeys(self.users, ("", "", ""))
        self.copies: list[tuple[int, int, dict[int, Friend]]] = []

    # ------------------------------------------------------------------ changes

    def do(self, one: int, two: int, *changes: Any, others: tuple[int, ...] = ()) -> None:
        """Changes by `one` that make these lists other."""
        for user in others:
            self.versions[user] += 1
            self.groups[user].setdefault(0, ("", 0))
        versions = of_store.change(self.store, one, two, *changes)
        assert versions == {user: self.versions[user] for user in others}

    @rule(a=people, b=people, group=people)
    def befriend(self, a: int, b: int, group: int) -> None:
        one, two = self.users[a], self.users[b]
        if one == two or two in self.friends[one]:
            return
        inside = group if group in self.groups[one] else 0
        self.friends[one][two], self.friends[two][one] = (inside, ""), (0, "")
        self.requests.pop((one, two), None)
        self.requests.pop((two, one), None)
        self.do(one, two, Befriended(inside), others=(one, two))

    @rule(a=people, b=people)
    def unfriend(self, a: int, b: int) -> None:
        one, two = self.users[a], self.users[b]
        if two in self.friends[one]:
            del self.friends[one][two], self.friends[two][one]
            self.do(one, two, Unfriended(), others=(one, two))

    @rule(a=people, b=people, remark=words)
    def remark(self, a: int, b: int, remark: str) -> None:
        one, two = self.users[a], self.users[b]
        if two in self.friends[one]:
            self.friends[one][two] = (self.friends[one][two][0], remark)
            self.do(one, two, Remarked(remark), others=(one,))

    @rule(a=people, b=people, group=people)
    def move(self, a: int, b: int, group: int) -> None:
        one, two = self.users[a], self.users[b]
        if two in self.friends[one] and group in self.groups[one]:
            self.friends[one][two] = (group, self.friends[one][two][1])
            self.do(one, two, Moved(group), others=(one,))

    @rule(a=people, name=words, position=people)
    def add_group(self, a: int, name: str, position: int) -> None:
        user = self.users[a]
        before = set(of_store.view(self.store, user).groups) | {0}
        self.do(user, 0, GroupAdded(name, position), others=(user,))
        (new,) = set(of_store.view(self.store, user).groups) - before
        self.groups[user][new] = (name, position)

    @rule(a=people, name=words, position=people, place=people)
    def alter_group(self, a: int, name: str, position: int, place: int) -> None:
        user = self.users[a]
        own = [group for group in self.groups[user] if group]
        if own:
            group = own[place % len(own)]
            self.groups[user][group] = (name, position)
            self.do(user, 0, GroupAltered(group, name, position), others=(user,))

    @rule(a=people, place=people)
    def remove_group(self, a: int, place: int) -> None:
        user = self.users[a]
        own = [group for group in self.groups[user] if group]
        if own:
            gone = own[place % len(own)]
            del self.groups[user][gone]
            kept = self.friends[user]
            self.friends[user] = {friend: (0 if group == gone else group, remark) for friend, (group, remark) in kept.items()}
            self.do(user, 0, GroupRemoved(gone), others=(user,))

    @rule(a=people, b=people, said=words)
    def ask(self, a: int, b: int, said: str) -> None:
        one, two = self.users[a], self.users[b]
        if one != two:
            self.requests[two, one] = ("open", said)
            self.do(one, two, Requested(said))

    @rule(a=people, b=people)
    def withdraw(self, a: int, b: int) -> None:
        one, two = self.users[a], self.users[b]
        self.requests.pop((two, one), None)
        self.do(one, two, Withdrawn())

    @rule(a=people, b=people, state=st.sampled_from(("ignored", "refused")))
    def answer(self, a: int, b: int, state: str) -> None:
        one, two = self.users[a], self.users[b]
        if (one, two) in self.requests:
            self.requests[one, two] = (state, self.requests[one, two][1])
        self.do(one, two, Answered(state))

    @rule(a=people, b=people)
    def block(self, a: int, b: int) -> None:
        one, two = self.users[a], self.users[b]
        is_blocked = (one, two) in self.blocks
        self.blocks ^= {(one, two)}
        self.do(one, two, Unblocked() if is_blocked else Blocked())

    @rule(a=people, display_name=words, signature=st.none() | words)
    def set_profile(self, a: int, display_name: str, signature: str | None) -> None:
        user = self.users[a]
        before = self.shown[user]
        after = self.shown[user] = (display_name, "", before[2] if signature is None else signature)
        others = () if before == after else tuple(self.friends[user])
        for friend in others:
            self.versions[friend] += 1
        told = of_store.set_profile(self.store, user, display_name=display_name, signature=signature)
        assert told == {friend: self.versions[friend] for friend in others}

    # ------------------------------------------------------------------ copies

    @rule(a=people)
    def keep_a_copy(self, a: int) -> None:
        user = self.users[a]
        self.copies.append((user, self.versions[user], self.expected(user)))

    @precondition(lambda self: self.copies)
    @rule(place=st.integers(0, 20))
    def catch_up(self, place: int) -> None:
        user, version, friends = self.copies.pop(place % len(self.copies))
        found = self.store.friends.difference(user, version, (2, 2), HASHING)
        assert (found.version, found.root) == (self.versions[user], of_store.root_from_scratch(self.store, user))
        present = self.expected(user)
        if found.changes is None:
            changed = [friend for friend in present if present[friend] != friends.get(friend)]
            gone = friends.keys() - present.keys()
            # Who was out and in again counts twice, and more may be forgotten than what this copy missed.
            assert version < self.versions[user] and (len(changed) > 2 or len(gone) > 2 or self.versions[user] - version > 2)
            return
        changed_friends, removed = found.changes
        friends = {friend: kept for friend, kept in friends.items() if friend not in removed}
        friends.update({friend.user: friend for friend in changed_friends})
        assert friends == present

    def expected(self, user: int) -> dict[int, Friend]:
        return {
            friend: Friend(friend, group, self.names[friend], remark, *self.shown[friend])
            for friend, (group, remark) in self.friends[user].items()
        }

    # ------------------------------------------------------------------ what always holds

    @rule(a=people)
    def look_at_one(self, a: int) -> None:
        self.check_list(self.users[a])

    def teardown(self) -> None:
        for user in self.users:
            self.check_list(user)
            self.check_requests(user)
        assert {(one, two) for one, blocked in self.store.blocks.of(self.users).items() for two in blocked} == self.blocks
        hearing = {
            user: {friend for friend in self.friends[user] if not {(user, friend), (friend, user)} & self.blocks} for user in self.users
        }
        assert self.store.friends.friends_of(self.users) == hearing

    def check_list(self, user: int) -> None:
        assert of_store.listed(self.store, user) == self.expected(user)
        groups = of_store.view(self.store, user).groups
        assert {group.id: (group.name, group.position) for group in groups.values()} == self.groups[user]
        state = self.store.friends.freshen(user, HASHING)
        assert state == self.store.friends.state(user)
        assert state == (self.versions[user], of_store.root_from_scratch(self.store, user), False)

    def check_requests(self, user: int) -> None:
        incoming, outgoing = self.store.friends.requests(user, 0, 100)
        asked = {(one.user, one.words, one.is_ignored) for one in incoming}
        held = {who: said for (mine, who), said in self.requests.items() if mine == user and said[0] != "refused"}
        assert asked == {(who, said, state == "ignored") for who, (state, said) in held.items()}
        assert {one.user for one in outgoing} == {target for target, asker in self.requests if asker == user}


def test_lists_versions_roots_and_copies_agree_after_any_changes(settings: StoreSettings) -> None:
    store = open_store(replace(settings, friend_removals=KEPT))
    try:
        machine = cast(type[RuleBasedStateMachine], partial(Model, store))
        run_state_machine_as_test(machine, settings=LIMITS)
    finally:
        store.close()
