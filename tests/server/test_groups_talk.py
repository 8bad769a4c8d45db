"""Groups on one real center: made, joined, posted to, caught up with, confirmed, emptied."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_server.node import Node
from myim_wire.errors import ErrorCode
from myim_wire.friend_requests import Block, Unblock
from myim_wire.group_contents import GroupPage, MemberPage, PendingPage
from myim_wire.group_requests import (
    Approve,
    Change,
    Create,
    Decline,
    Describe,
    Dissolve,
    HandOver,
    Invite,
    Join,
    Leave,
    ListGroups,
    ListMembers,
    ListPending,
    Mute,
    Remove,
    SetRole,
)
from myim_wire.messages import Command, encode_message
from tests.server.group_terminals import Member, numbers
from tests.server.running import Person, make_person, start_node, wait_until


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = start_node(tmp_path / "data", delivery={"sweep_seconds": 0.5})
    yield node
    node.stop()


@pytest.fixture
def carol(node: Node) -> Person:
    return make_person(node, "carol")


def rows_left(node: Node) -> int:
    """As an outsider reads the table."""
    with sqlite3.connect(node._config.store_url.removeprefix("sqlite:///")) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM group_messages").fetchone()[0])


def test_posts_reach_every_member_and_their_poster_in_one_order(node: Node, alice: Person, bob: Person) -> None:
    one, two = Member(node, alice), Member(node, bob)
    group = one.make_group()
    two.join(group)
    times = [one.post(group, b"a%d" % number, is_first=number == 0) for number in range(3)]
    assert [one.number_of(time) for time in times] == [1, 2, 3]
    assert two.number_of(two.post(group, b"b")) == 4
    posts = [(1, b"a0"), (2, b"a1"), (3, b"a2"), (4, b"b")]
    assert one.next_posts(4) == posts and two.next_posts(4) == posts


def test_who_was_away_gets_what_it_missed_and_who_joins_late_nothing_older(node: Node, alice: Person, bob: Person, carol: Person) -> None:
    one = Member(node, alice)
    group = one.make_group()
    away = Member(node, bob)
    away.join(group)
    away.close()
    for number in range(3):
        one.number_of(one.post(group, b"%d" % number))
    late = Member(node, carol)
    assert late.join(group).joined == 3
    one.number_of(one.post(group, b"all"))
    assert late.next_post() == (4, b"all")
    back = Member(node, bob, number=2)
    assert [(told.group, told.number, told.cursor, told.joined) for told in back.standings.groups] == [(group, 4, 0, 0)]
    posts, fetched = back.fetch_group(group, 0)
    assert (numbers(posts), fetched.up_to, fetched.number) == ([1, 2, 3, 4], 4, 4)
    posts, fetched = late.fetch_group(group, 0)
    assert (numbers(posts), fetched.up_to) == ([4], 4)


def test_what_every_member_has_confirmed_is_gone(node: Node, alice: Person, bob: Person) -> None:
    one, two = Member(node, alice), Member(node, bob)
    group = one.make_group()
    two.join(group)
    one.number_of(one.post(group, b"x"))
    one.number_of(one.post(group, b"y"))
    one.confirm_groups((group, 2))
    two.confirm_groups((group, 1))
    wait_until(lambda: rows_left(node) == 1)
    two.confirm_groups((group, 2))
    wait_until(lambda: rows_left(node) == 0)
    assert one.fetch_group(group, 0)[1].up_to == 2


def test_a_repeat_is_told_its_number_even_after_everybody_has_it(node: Node, alice: Person) -> None:
    one = Member(node, alice)
    group = one.make_group()
    time = one.post(group, b"x")
    assert one.number_of(time) == 1
    assert one.number_of(one.post(group, b"x", time=time)) == 1
    assert one.code_of(one.post(group, b"other", time=time)) is ErrorCode.ID_CONFLICT
    one.confirm_groups((group, 1))
    wait_until(lambda: rows_left(node) == 0)
    assert one.number_of(one.post(group, b"x", time=time)) == 1
    assert one.next_post() == (1, b"x")
    assert one.number_of(one.post(group, b"next")) == 2


def test_a_post_behind_a_refused_one_is_refused_until_one_is_flagged_first(node: Node, alice: Person, bob: Person) -> None:
    one, two = Member(node, alice), Member(node, bob)
    group = one.make_group()
    two.join(group)
    one.state(group, Mute(bob.user, 60))
    first, second = two.post(group, b"1"), two.post(group, b"2", is_first=False)
    assert (two.code_of(first), two.code_of(second)) == (ErrorCode.MUTED, ErrorCode.OUT_OF_ORDER)
    one.state(group, Mute(bob.user, 0))
    assert two.code_of(two.post(group, b"2", is_first=False, time=second)) is ErrorCode.OUT_OF_ORDER
    assert two.number_of(two.post(group, b"1", time=first)) == 1
    assert two.number_of(two.post(group, b"2", is_first=False, time=second)) == 2


def test_nobody_posts_where_he_is_no_member(node: Node, alice: Person, bob: Person) -> None:
    one, two = Member(node, alice), Member(node, bob)
    group = one.make_group()
    assert two.code_of(two.post(group, b"x")) is ErrorCode.NOT_MEMBER
    assert two.code_of(two.post(12345, b"x")) is ErrorCode.NOT_MEMBER
    two.join(group)
    assert two.number_of(two.post(group, b"x")) == 1
    one.state(group, Remove(bob.user))
    assert two.code_of(two.post(group, b"y")) is ErrorCode.NOT_MEMBER
    one.number_of(one.post(group, b"secret"))
    assert one.next_posts(2) == [(1, b"x"), (2, b"secret")]
    two.poll()
    assert numbers([two.next_post()]) == [1] and not [message for message in two.inbox if message.command == Command.GROUP_MESSAGE]


def test_every_change_is_told_to_the_members_that_are_online(node: Node, alice: Person, bob: Person, carol: Person) -> None:
    one, two, three = Member(node, alice), Member(node, bob), Member(node, carol)
    group = one.make_group()
    two.join(group)
    one.next_change("joined", bob.user)
    one.state(group, Invite((carol.user,)))
    assert three.next_change("invited").actor == alice.user
    three.join(group)
    two.next_change("joined", carol.user)
    one.state(group, SetRole(bob.user, "admin"))
    assert two.next_change("role").user == bob.user
    two.state(group, Change(name="crew"))
    assert three.next_change("changed").actor == bob.user
    two.state(group, Mute(carol.user, 60))
    assert three.next_change("muted").user == carol.user
    three.state(group, Leave())
    assert one.next_change("left").user == carol.user
    one.state(group, HandOver(bob.user))
    assert two.state(group, Describe()).role == "owner"
    two.state(group, Remove(alice.user))
    assert one.next_change("removed").user == alice.user
    two.state(group, Dissolve())
    assert two.next_change("dissolved").group == group
    assert two.refusal(group, Describe()) is ErrorCode.NOT_ALLOWED


def test_a_group_by_approval_takes_in_who_is_approved(node: Node, alice: Person, bob: Person, carol: Person) -> None:
    one, two, three = Member(node, alice), Member(node, bob), Member(node, carol)
    group = one.state(0, Create("club", "of friends", "approval")).group
    assert two.state(group, Join("let me in")).role == "requested"
    three.state(group, Join())
    assert one.next_change("requested").user == bob.user
    page = PendingPage.decode(one.request(group, ListPending()).content)
    assert {(one.user, one.kind, one.words) for one in page.pending} == {
        (bob.user, "requested", "let me in"),
        (carol.user, "requested", ""),
    }
    assert two.refusal(group, ListMembers()) is ErrorCode.NOT_ALLOWED
    one.state(group, Approve(bob.user))
    assert two.next_change("joined").user == bob.user
    one.state(group, Decline(carol.user))
    assert three.next_change("declined").user == carol.user
    members = MemberPage.decode(two.request(group, ListMembers()).content)
    assert {(one.user, one.role) for one in members.members} == {(alice.user, "owner"), (bob.user, "member")}
    listed = GroupPage.decode(two.request(0, ListGroups()).content)
    assert [(one.name, one.description, one.role) for one in listed.groups] == [("club", "of friends", "member")]


def test_creating_twice_under_one_name_makes_one_group(node: Node, alice: Person) -> None:
    one = Member(node, alice)
    named = one.name()
    for _ in range(2):
        one.say(encode_message(Command.GROUP, 1, alice.user, 0, named, Create("team").encode()))
        one.wait_for(lambda message: message.command == Command.GROUP and message.time == named and bool(message.flags & 0x40))
    assert len(GroupPage.decode(one.request(0, ListGroups()).content).groups) == 1


def test_a_group_by_invitation_cannot_be_told_from_none(node: Node, alice: Person, bob: Person) -> None:
    one, two = Member(node, alice), Member(node, bob)
    group = one.state(0, Create("secret")).group
    for request in (Join(), Leave(), Describe(), ListMembers(), ListPending(), Invite((bob.user,)), Remove(alice.user), Dissolve()):
        there, nowhere = two.request(group, request), two.request(4711, request)
        assert there.content == nowhere.content


def test_who_is_blocked_invites_unheard_and_learns_nothing_by_it(node: Node, alice: Person, bob: Person, carol: Person) -> None:
    one, two, three = Member(node, alice), Member(node, bob), Member(node, carol)
    two.ask(Command.FRIEND_CHANGE, Block(alice.user).encode())
    group = one.state(0, Create("spam", invited=(bob.user,))).group
    for person in (bob, carol):
        one.state(group, Invite((person.user,)))
    three.next_change("invited", carol.user)
    listed = PendingPage.decode(one.request(group, ListPending()).content).pending
    assert {pending.user for pending in listed} == {bob.user, carol.user}
    assert GroupPage.decode(two.request(0, ListGroups()).content).groups == ()
    assert not [message for message in two.inbox if message.command == Command.GROUP]
    two.ask(Command.FRIEND_CHANGE, Unblock(alice.user).encode())
    assert [state.group for state in GroupPage.decode(two.request(0, ListGroups()).content).groups] == [group]
    one.state(0, Create("tea", invited=(bob.user,)))
    two.next_change("invited", bob.user)


def test_a_qos_0_message_reaches_who_is_online_and_is_not_stored(node: Node, alice: Person, bob: Person) -> None:
    one, two = Member(node, alice), Member(node, bob)
    group = one.make_group()
    two.join(group)
    one.say(encode_message(Command.GROUP_MESSAGE, 0, alice.user, group, one.name(), b"psst"))
    assert two.next_post() == (0, b"psst") and one.next_post() == (0, b"psst")
    assert rows_left(node) == 0


def test_a_qos_0_message_of_who_may_not_speak_is_dropped_and_counted(node: Node, alice: Person, bob: Person) -> None:
    one, two = Member(node, alice), Member(node, bob)
    group = one.make_group()
    one.state(group, Change(is_muted=True))
    two.join(group)
    two.say(encode_message(Command.GROUP_MESSAGE, 0, bob.user, group, two.name(), b"psst"))
    two.say(encode_message(Command.GROUP_MESSAGE, 0, bob.user, 999, two.name(), b"psst"))
    wait_until(lambda: node.metrics.qos0_dropped == 2)


def test_every_terminal_of_a_member_is_given_the_posts_and_any_confirms(node: Node, alice: Person, bob: Person) -> None:
    from tests.server.running import add_terminal

    one, two = Member(node, alice), Member(node, bob)
    other = Member(node, add_terminal(node, bob.user, bytes(range(32))))
    group = one.make_group()
    two.join(group)
    assert other.next_change("joined").user == bob.user
    one.number_of(one.post(group, b"x"))
    assert two.next_post() == other.next_post() == (1, b"x")
    other.confirm_groups((group, 1))
    one.confirm_groups((group, 1))
    wait_until(lambda: rows_left(node) == 0)


def test_confirmations_of_what_is_not_ones_own_change_nothing(node: Node, alice: Person, bob: Person, carol: Person) -> None:
    one, two, stranger = Member(node, alice), Member(node, bob), Member(node, carol)
    group = one.make_group()
    two.join(group)
    one.number_of(one.post(group, b"x"))
    stranger.confirm_groups((group, 1), (4711, 1))
    wait_until(lambda: node.metrics.receipts_ignored == 2)
    two.confirm_groups((group, 99))
    for _ in range(5):
        one.confirm_groups((group, 1))
    wait_until(lambda: node.metrics.group_confirmations == 1)
    store = node.store
    assert store is not None
    assert [standing.cursor for standing in store.groups.standings([alice.user])[alice.user]] == [1]
    assert [standing.cursor for standing in store.groups.standings([bob.user])[bob.user]] == [0]
    assert rows_left(node) == 1


def test_a_confirmation_of_what_was_never_posted_does_not_hide_a_true_one(node: Node, alice: Person) -> None:
    one = Member(node, alice)
    group = one.make_group()
    number = one.number_of(one.post(group, b"x"))
    one.confirm_groups((group, number + 1_000_000))
    one.confirm_groups((group, number))
    wait_until(lambda: rows_left(node) == 0, 5)


def test_a_leaver_is_not_waited_for(node: Node, alice: Person, bob: Person) -> None:
    one, two = Member(node, alice), Member(node, bob)
    group = one.make_group()
    two.join(group)
    one.number_of(one.post(group, b"x"))
    one.confirm_groups((group, 1))
    wait_until(lambda: node.metrics.group_confirmations == 1)
    two.state(group, Leave())
    wait_until(lambda: rows_left(node) == 0)


def test_a_post_that_nobody_was_told_of_is_offered_by_the_sweep(node: Node, alice: Person, bob: Person) -> None:
    from myim_server.store.group_values import Post

    one, two = Member(node, alice), Member(node, bob)
    group = one.make_group()
    two.join(group)
    store = node.store
    assert store is not None
    store.group_posts.post([Post(group, alice.user, 64, b"lost", 1, 1, 1)])  # as by a center that died at once
    assert two.next_offer().number == 1
    assert two.fetch_group(group, 0)[0] == [(1, b"lost")]


def test_fetches_come_in_pages_and_say_up_to_where_that_is_all(node: Node, alice: Person) -> None:
    one = Member(node, alice)
    group = one.make_group()
    for _ in range(5):
        one.number_of(one.post(group, bytes(15_000)))
    posts, fetched = one.fetch_group(group, 0)
    assert (numbers(posts)[-1], fetched.up_to, fetched.number) == (2, 2, 5)
    posts, fetched = one.fetch_group(group, 4)
    assert (numbers(posts)[-1], fetched.up_to) == (5, 5)
