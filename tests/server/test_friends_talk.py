"""Friends on one real center: asked, accepted, kept, removed, blocked, searched; and lists that are compared by hash."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from myim_server.node import Node
from myim_server.store.profile_values import ProfileChange
from myim_wire.contents import FoundUser, encode_lookup
from myim_wire.errors import ErrorCode
from myim_wire.friend_contents import BlockedPage, RequestPage
from myim_wire.friend_hashes import NO_ROOT
from myim_wire.friend_requests import (
    Accept,
    AddGroup,
    Ask,
    Block,
    ChangeGroup,
    GetProfiles,
    Ignore,
    ListBlocked,
    ListRequests,
    MoveFriend,
    Refuse,
    Remark,
    RemoveFriend,
    RemoveGroup,
    Search,
    SetProfile,
    Unblock,
    Withdraw,
)
from myim_wire.messages import ERROR, QOS1, REPLY, Command, Message, decode_error, encode_message
from myim_wire.profile_contents import ProfilePage
from tests.server.friend_terminals import Friendly, make_people, with_friends
from tests.server.running import Person, RawTerminal, add_terminal, start_node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = start_node(tmp_path / "data")
    yield node
    node.stop()


@pytest.fixture
def one(node: Node, alice: Person) -> Friendly:
    return Friendly(node, alice)


@pytest.fixture
def two(node: Node, bob: Person) -> Friendly:
    return Friendly(node, bob)


# ---------------------------------------------------------------------- becoming friends


def test_a_request_that_is_accepted_makes_two_friends(one: Friendly, two: Friendly) -> None:
    assert one.change(Ask(two.person.user, "hello, it is me")) == one.change(Ask(two.person.user, "again"))
    push = two.next_push("asked")
    assert (push.user, push.words, push.version) == (one.person.user, "hello, it is me", 0)
    (request,) = two.requests().incoming
    assert (request.user, request.name, request.words, request.is_ignored) == (one.person.user, "alice", "hello, it is me", False)
    changed = two.change(Accept(one.person.user))
    assert changed.version == 1 and one.next_push("accepted").user == two.person.user
    one.sync()
    two.sync()
    assert two.copy.root == changed.root
    assert [friend.name for friend in one.copy.friends.values()] == ["bob"]
    assert [friend.name for friend in two.copy.friends.values()] == ["alice"]
    assert one.requests().outgoing == () and two.requests().incoming == ()


def test_who_asks_back_accepts(one: Friendly, two: Friendly) -> None:
    one.change(Ask(two.person.user))
    assert two.change(Ask(one.person.user)).version == 1
    assert one.next_push("accepted").version == 1


def test_a_refusal_and_an_ignoring_are_told_to_nobody(one: Friendly, two: Friendly) -> None:
    for answer in (Refuse(one.person.user), Ignore(one.person.user)):
        one.change(Ask(two.person.user))
        before = one.requests()
        two.change(answer)
        assert one.requests() == before and one.pushes() == []
    (kept,) = two.requests().incoming
    assert kept.is_ignored
    one.change(Ask(two.person.user, "please"))
    assert [push.event for push in two.pushes()] == ["asked", "asked"], "once by each of the two first, never of who is ignored"
    two.change(Accept(one.person.user))
    assert one.next_push("accepted")


def test_a_request_that_is_withdrawn_is_gone(one: Friendly, two: Friendly) -> None:
    one.change(Ask(two.person.user))
    one.change(Withdraw(two.person.user))
    assert two.next_push("withdrawn").user == one.person.user
    assert two.requests().incoming == () and one.requests().outgoing == ()
    assert two.refused(Accept(one.person.user)) is ErrorCode.NOT_ALLOWED


def test_who_is_removed_is_out_of_both_lists(one: Friendly, two: Friendly) -> None:
    one.befriend(two)
    two.sync()
    one.change(RemoveFriend(two.person.user))
    answer = two.sync()
    assert answer.removed == (one.person.user,) and two.copy.friends == {} and two.copy.version == 2
    assert one.change(RemoveFriend(two.person.user)).version == 2, "what is so already changes nothing"


def test_a_terminals_changes_reach_the_users_other_terminals_and_not_itself(node: Node, one: Friendly, two: Friendly) -> None:
    other = Friendly(node, add_terminal(node, one.person.user, bytes(range(32))))
    one.befriend(two)
    assert [push.event for push in one.pushes()] == ["list", "accepted"]
    assert [push.event for push in other.pushes()] == ["list", "accepted"]
    assert [push.event for push in two.pushes()] == ["asked"]
    version = one.change(Remark(two.person.user, "Bobby")).version
    assert [(push.event, push.version, push.user) for push in other.pushes()] == [("list", version, 0)]
    assert one.pushes() == two.pushes() == []


def test_a_session_that_has_not_fetched_is_told_nothing(node: Node, one: Friendly, bob: Person) -> None:
    silent = RawTerminal(node, bob)
    one.change(Ask(bob.user))
    assert RequestPage.decode(silent.ask(Command.FRIENDS, ListRequests().encode()).content).incoming
    assert silent.inbox == []


# ---------------------------------------------------------------------- groups and remarks


def test_groups_are_made_changed_and_ended_and_copies_follow(one: Friendly, two: Friendly) -> None:
    one.befriend(two)
    one.sync()
    one.change(AddGroup("work", 3))
    assert one.change(AddGroup("work", 3)).version == 2, "a repeat finds it"
    one.sync()
    (work,) = (group for group in one.copy.groups if group)
    one.change(MoveFriend(two.person.user, work))
    one.change(ChangeGroup(work, name="Office"))
    one.change(Remark(two.person.user, "Bobby"))
    one.sync()
    assert one.copy.groups == {0: (0, ""), work: (3, "Office")}
    (friend,) = one.copy.friends.values()
    assert (friend.group, friend.remark) == (work, "Bobby")
    one.change(RemoveGroup(work))
    one.sync()
    assert one.copy.groups == {0: (0, "")} and one.copy.friends[two.person.user].group == 0
    assert two.sync().version == 1, "what one calls a friend is nobody else's"


def test_group_0_stays_as_it_is(one: Friendly, two: Friendly) -> None:
    one.befriend(two)
    for request in (ChangeGroup(0, name="x"), RemoveGroup(0), ChangeGroup(7, position=1), MoveFriend(two.person.user, 7)):
        assert one.refused(request) is ErrorCode.NOT_ALLOWED
    for name in ("", " ", "a\nb", "\u202e"):
        assert one.refused(AddGroup(name, 0)) is ErrorCode.NAME_INVALID
    assert one.refused(Remark(two.person.user, "a\tb")) is ErrorCode.BAD_COMMAND


# ---------------------------------------------------------------------- what is not told apart


def test_nobody_and_who_blocks_and_who_wants_no_requests_are_not_told_apart(node: Node, one: Friendly, two: Friendly) -> None:
    (private,) = make_people(node, "private")
    two.change(Block(one.person.user))
    private.set_profile(SetProfile(asking="nobody", searchable="nobody"))
    replies = [one.reply(Command.FRIEND_CHANGE, Ask(user)).content for user in (two.person.user, private.person.user, 12345)]
    assert len(set(replies)) == 1
    for command, requests in (
        (Command.FRIENDS, [Search("bob"), Search("private"), Search("nobody")]),
        (Command.SIGNATURE, [GetProfiles((user,)) for user in (two.person.user, private.person.user, 12345)]),
    ):
        assert len({one.answer(command, request) for request in requests}) == 1
    lookups = [one.ask(Command.LOOKUP, encode_lookup(name)).content for name in ("bob", "private", "nobody")]
    assert len(set(lookups)) == 1


def test_a_blocked_friend_sees_nothing_change(one: Friendly, two: Friendly) -> None:
    one.befriend(two)
    one.pushes()

    def seen() -> list[Any]:
        return [
            one.synced(),
            one.page(0),
            one.requests(),
            one.found("bob"),
            one.answer(Command.SIGNATURE, GetProfiles((two.person.user,))),
            one.ask(Command.LOOKUP, encode_lookup("bob")).content,
            one.change(Ask(two.person.user)),
        ]

    before = seen()
    two.change(Block(one.person.user))
    assert seen() == before and one.pushes() == []
    users = BlockedPage.decode(two.answer(Command.FRIENDS, ListBlocked())).users
    assert [(blocked.user, blocked.name) for blocked in users] == [(one.person.user, "alice")]
    two.change(Unblock(one.person.user))
    assert seen() == before and one.pushes() == []
    assert BlockedPage.decode(two.answer(Command.FRIENDS, ListBlocked())).users == ()


def test_a_blocked_users_request_stays_open_in_its_eyes_alone(one: Friendly, two: Friendly) -> None:
    one.change(Ask(two.person.user))
    before = one.requests(), one.change(Ask(two.person.user))
    two.change(Block(one.person.user))
    two.pushes()
    assert (one.requests(), one.change(Ask(two.person.user))) == before
    assert two.requests().incoming == ()
    one.change(Withdraw(two.person.user))
    assert two.pushes() == [] and one.pushes() == []
    assert two.refused(Ask(one.person.user)) is ErrorCode.NOT_ALLOWED, "who is blocked is not asked"


@pytest.mark.parametrize(
    ("searchable", "finds"),
    [("everybody", {"carol", "car", "id", "CAROL"}), ("name", {"carol", "CAROL"}), ("nobody", set())],
)
def test_a_user_is_found_by_what_it_chose(node: Node, one: Friendly, searchable: Any, finds: set[str]) -> None:
    (carol,) = make_people(node, "carol")
    carol.set_profile(SetProfile(searchable=searchable, display_name="Ca"))
    asked = {"carol": "carol", "CAROL": "CAROL", "car": "car", "ca": "ca", "id": str(carol.person.user), "other": "caroline"}
    assert {what for what, text in asked.items() if one.found(text)} == finds
    is_named = not one.ask(Command.LOOKUP, encode_lookup("Carol")).flags & ERROR
    assert is_named == ("carol" in finds)
    by_id = one.ask(Command.LOOKUP, encode_lookup(carol.person.user))
    assert FoundUser.decode(by_id.content) == FoundUser(carol.person.user, "carol"), "who has an id was given it"
    one.befriend(carol)
    assert {what for what, text in asked.items() if one.found(text)} == {"carol", "CAROL", "car", "id"}


# ---------------------------------------------------------------------- profiles


def test_a_new_signature_is_a_change_of_every_friends_list_and_of_no_other(node: Node, one: Friendly, two: Friendly) -> None:
    (carol,) = make_people(node, "carol")
    one.befriend(two)
    two.sync()
    two.pushes()
    profile = one.set_profile(SetProfile(signature="at sea\nfor long", display_name="Alice A."))
    assert (profile.version, profile.signature, profile.searchable, profile.asking) == (1, "at sea\nfor long", "everybody", "everybody")
    assert [(push.event, push.version) for push in two.pushes()] == [("list", 2)] and carol.pushes() == []
    answer = two.sync()
    assert [friend.signature for friend in answer.changed] == ["at sea\nfor long"] and answer.groups == ()
    assert one.set_profile(SetProfile(signature="at sea\nfor long")).version == 1
    assert one.set_profile(SetProfile(asking="nobody")).version == 1 and two.pushes() == []
    page = ProfilePage.decode(two.answer(Command.SIGNATURE, GetProfiles((one.person.user, two.person.user, carol.person.user))))
    assert {(seen.name, seen.display_name, seen.searchable) for seen in page.profiles} == {
        ("alice", "Alice A.", ""),
        ("bob", "", "everybody"),
    }


# ---------------------------------------------------------------------- lists by hash


def statements(node: Node) -> list[str]:
    """All that is asked of the node's database from here on."""
    seen: list[str] = []
    store = node.store
    assert store is not None
    for engine in (store._database._reader, store._database._writer):
        event.listen(engine, "checkout", lambda connection, record, proxy: connection.set_trace_callback(seen.append))
    return seen


def test_an_unchanged_list_costs_one_query_and_at_most_100_bytes(node: Node, alice: Person) -> None:
    with_friends(node, alice, 20)
    one = Friendly(node, alice)
    one.sync()
    asked = statements(node)
    reply = one.synced()
    assert len(asked) == 1 and asked[0].startswith("SELECT version,root,is_stale FROM friend_lists WHERE user=")
    assert len(reply.encode()) <= 100 and (reply.groups, reply.changed, reply.removed) == ((), (), ())


def test_one_friend_changed_of_500_is_at_most_1_kib(node: Node, alice: Person) -> None:
    store = node.store
    assert store is not None
    friends = with_friends(node, alice, 500)
    one = Friendly(node, alice)
    for name in ("work", "school", "family"):
        one.change(AddGroup(name, 1))
    one.sync()
    assert len(one.copy.friends) == 500
    store.profiles.set(friends[250], ProfileChange(display_name="d" * 64, avatar="a" * 255, signature="s" * 200))
    assert len(one.synced().encode()) <= 1024
    before = one.copy.fetched
    one.sync()
    assert one.copy.fetched == before + 1
    one.change(Remark(friends[0], "first"))
    one.change(RemoveFriend(friends[1]))
    assert len(one.synced().encode()) <= 1024
    one.sync()


def test_a_copy_that_is_too_old_or_broken_fetches_only_the_groups_that_differ(node: Node, alice: Person) -> None:
    friends = with_friends(node, alice, 230)
    one = Friendly(node, alice)
    one.change(AddGroup("half", 1))
    one.sync()
    for friend in friends[:110]:
        one.change(MoveFriend(friend, 1))
    answer = one.sync()
    assert not answer.has_changes and len(one.copy.friends) == 230
    before = one.copy.fetched
    one.change(Remark(friends[0], "x"))
    one.copy.version, one.copy.root = one.synced().version, bytes(range(32))
    answer = one.sync()
    assert not answer.has_changes and one.copy.fetched == before + 110, "the other group's hash is right"


def test_who_never_had_a_friend_has_version_0_and_no_root(one: Friendly) -> None:
    answer = one.sync()
    assert (answer.version, answer.root, answer.groups) == (0, NO_ROOT, ())
    one.copy.version, one.copy.root = 9, bytes(range(32))
    answer = one.synced()
    assert (answer.version, answer.root, answer.groups, answer.has_changes) == (0, NO_ROOT, (), False)


# ---------------------------------------------------------------------- what is too much


def test_searches_and_requests_and_profiles_have_budgets(node: Node, alice: Person) -> None:
    one = Friendly(node, alice)
    for command, request, most in (
        (Command.FRIENDS, Search("somebody"), 60),
        (Command.FRIEND_CHANGE, Ask(1), 60),
        (Command.SIGNATURE, SetProfile(signature=""), 10),
    ):
        names = [one.name() for _ in range(most + 1)]  # in one record, so that no time passes between them
        one.say(*(encode_message(command, QOS1, alice.user, 0, named, request.encode()) for named in names))
        codes = [code_of(one.wait_for(partial(is_reply, named))) for named in names]
        assert codes[-1] is ErrorCode.SLOW_DOWN and ErrorCode.SLOW_DOWN not in codes[:-1]


def is_reply(named: int, message: Message) -> bool:
    return message.time == named and bool(message.flags & REPLY)


def code_of(reply: Message) -> ErrorCode | None:
    return ErrorCode(decode_error(reply.content).code) if reply.flags & ERROR else None


def test_malformed_requests_are_refused_with_the_field(one: Friendly) -> None:
    for command in (Command.FRIENDS, Command.FRIEND_CHANGE, Command.SIGNATURE):
        for content in (b"", b"\x80", b"\x81\xa2op\xa1x", b"\xff"):
            reply = one.ask(command, content)
            assert code_of(reply) is ErrorCode.BAD_COMMAND
    assert one.refused(Ask(one.person.user)) is ErrorCode.BAD_COMMAND
    assert one.refused(Block(0)) is ErrorCode.NOT_ALLOWED
    assert one.refused(Ask((1 << 64) - 1, "")) is ErrorCode.NOT_ALLOWED
    assert one.refused(Ask(5, "a\x00b")) is ErrorCode.BAD_COMMAND


def rows(node: Node, table: str) -> int:
    """As an outsider reads the table."""
    with sqlite3.connect(node._config.store_url.removeprefix("sqlite:///")) as connection:
        return int(connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


def test_asking_for_who_is_not_there_leaves_nothing_behind(node: Node, one: Friendly) -> None:
    for user in range(2, 20):
        one.refused(Ask(user))
        one.refused(Block(user))
        one.change(RemoveFriend(user))
    assert rows(node, "friend_requests") == rows(node, "blocks") == 0 and rows(node, "friend_lists") <= 1
