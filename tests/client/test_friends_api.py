"""`client.friends` against a scripted center: what each method asks, when the copy is synced, what is told and what is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from myim_client import (
    Client,
    FriendAccepted,
    FriendListChanged,
    FriendRequested,
    Friends,
    NameUnknown,
    NotConnected,
    RequestRefused,
    WithinTransaction,
)
from myim_client.friend_copy import FriendCopy, FriendGroup
from myim_wire.errors import ErrorCode
from myim_wire.friend_contents import (
    BlockedPage,
    BlockedUser,
    Changed,
    FoundPage,
    FoundProfile,
    FriendPage,
    IncomingRequest,
    OutgoingRequest,
    RequestPage,
    Synced,
)
from myim_wire.friend_hashes import NO_ROOT
from myim_wire.friend_requests import (
    Accept,
    AddGroup,
    Ask,
    Block,
    ChangeGroup,
    FriendChangeRequest,
    GetProfiles,
    Ignore,
    ListBlocked,
    ListFriends,
    ListRequests,
    MoveFriend,
    Refuse,
    Remark,
    RemoveFriend,
    RemoveGroup,
    Search,
    SetProfile,
    Sync,
    Unblock,
    Withdraw,
)
from myim_wire.messages import Command
from myim_wire.profile_contents import Profile, ProfilePage
from tests.client.calls import Call
from tests.client.friend_world import answer_of, copy_of, friend
from tests.client.scene import Scene, take
from tests.client.scripted_center import YOU, Session, wait_until

FIRST = Sync(0, NO_ROOT)
ONE = copy_of(1, friend(YOU))


def fetched(session: Session, copy: FriendCopy, asked: Sync = FIRST) -> None:
    """Answer a sync of a terminal without a copy, and its pages; all friends are in group 0."""
    session.reply(session.asked_of_friends(asked), answer_of(copy).encode())
    if copy.friends:
        page = FriendPage(tuple(copy.friends.values()), copy.version, False)
        session.reply(session.asked_of_friends(ListFriends(0)), page.encode())


def with_a_friend(scene: Scene) -> tuple[Client, Session]:
    """A client that has one friend."""
    client = scene.connect()
    session = scene.center.session()
    fetched(session, ONE)
    assert take(client, FriendListChanged) == FriendListChanged(1)
    return client, session


CHANGES: list[tuple[Callable[[Friends], object], FriendChangeRequest]] = [
    (lambda friends: friends.ask(YOU, "hello"), Ask(YOU, "hello")),
    (lambda friends: friends.accept(YOU, 3), Accept(YOU, 3)),
    (lambda friends: friends.refuse(YOU), Refuse(YOU)),
    (lambda friends: friends.ignore(YOU), Ignore(YOU)),
    (lambda friends: friends.withdraw(YOU), Withdraw(YOU)),
    (lambda friends: friends.remove(YOU), RemoveFriend(YOU)),
    (lambda friends: friends.block(YOU), Block(YOU)),
    (lambda friends: friends.unblock(YOU), Unblock(YOU)),
    (lambda friends: friends.remark(YOU, "dear"), Remark(YOU, "dear")),
    (lambda friends: friends.move(YOU, 3), MoveFriend(YOU, 3)),
    (lambda friends: friends.add_group("work", 2), AddGroup("work", 2)),
    (lambda friends: friends.change_group(3, name="home"), ChangeGroup(3, "home", None)),
    (lambda friends: friends.remove_group(3), RemoveGroup(3)),
]


def test_every_change_is_asked_and_answered(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    for call, request in CHANGES:
        calling = Call(lambda call=call: call(client.friends))  # type: ignore[misc]
        message = session.asked_of_friends(request)
        assert message.target == 0
        session.reply(message, Changed(0, NO_ROOT).encode())
        assert calling.wait() is None


def test_the_list_is_fetched_after_connecting_and_kept_for_the_next_session(scene: Scene) -> None:
    client, _ = with_a_friend(scene)
    assert client.friends.list() == [friend(YOU)]
    assert client.names()[YOU] == f"user{YOU}"
    scene.leave()
    client = scene.connect()
    session = scene.center.session(2)
    assert client.friends.list() == [friend(YOU)]
    session.reply(session.asked_of_friends(Sync(1, ONE.root)), Synced(2, ONE.root).encode())
    wait_until(lambda: client.friends.version == 2)
    assert len(session.of(Command.FRIENDS)) == 1


def test_a_push_brings_the_changes_since_the_copy(scene: Scene) -> None:
    client, session = with_a_friend(scene)
    session.tell_friends("list", 1)
    session.tell_friends("list", 2)
    two = copy_of(2, friend(YOU, signature="new"), friend(9))
    changes = Synced(2, two.root, (), tuple(two.friends.values()), (), True)
    session.reply(session.asked_of_friends(Sync(1, ONE.root)), changes.encode())
    assert take(client, FriendListChanged) == FriendListChanged(2)
    assert client.friends.list() == list(two.friends.values())
    assert len(session.of(Command.FRIENDS)) == 3
    scene.leave()
    assert Client(scene.terminal, scene.path).friends.list() == list(two.friends.values())


def test_a_change_returns_when_the_copy_shows_it(scene: Scene) -> None:
    client, session = with_a_friend(scene)
    two = copy_of(2, friend(YOU, remark="dear"))
    calling = Call(lambda: client.friends.remark(YOU, "dear"))
    session.reply(session.asked_of_friends(Remark(YOU, "dear")), Changed(2, two.root).encode())
    message = session.asked_of_friends(Sync(1, ONE.root))
    assert not calling.is_over
    session.reply(message, Synced(2, two.root, (), tuple(two.friends.values()), (), True).encode())
    calling.wait()
    assert [one.remark for one in client.friends.list()] == ["dear"]


@pytest.mark.parametrize("end", ["refusal", "cut"])
def test_a_change_that_happened_is_not_waited_for_when_the_list_does_not_come(scene: Scene, end: str) -> None:
    client, session = with_a_friend(scene)
    calling = Call(lambda: client.friends.remark(YOU, "dear"))
    session.reply(session.asked_of_friends(Remark(YOU, "dear")), Changed(2, bytes(32)).encode())
    message = session.asked_of_friends(Sync(1, ONE.root))
    if end == "refusal":
        session.refuse(message, ErrorCode.STORE_UNAVAILABLE)
    else:
        session.cut()
    assert calling.wait() is None


def test_a_copy_that_cannot_be_proved_is_fetched_anew(scene: Scene) -> None:
    client, session = with_a_friend(scene)
    session.tell_friends("list", 2)
    two = copy_of(2, friend(9))
    session.reply(session.asked_of_friends(Sync(1, ONE.root)), Synced(2, two.root, (), (), (5,), True).encode())
    session.asked_of_friends(FIRST, 2)
    session.reply(session.asked_of_friends(FIRST, 2), answer_of(two).encode())
    session.reply(session.asked_of_friends(ListFriends(0), 2), FriendPage((friend(9),), 2, False).encode())
    assert take(client, FriendListChanged) == FriendListChanged(2)
    assert client.friends.list() == [friend(9)]


def test_a_file_whose_copy_was_damaged_fetches_it_anew(scene: Scene) -> None:
    with_a_friend(scene)
    scene.leave()
    scene.rows("UPDATE myim_friends SET signature = 'forged'")
    client = scene.connect()
    assert client.friends.list() == []
    fetched(scene.center.session(2), ONE)
    take(client, FriendListChanged)
    assert client.friends.list() == [friend(YOU)]
    scene.leave()
    assert Client(scene.terminal, scene.path).friends.list() == [friend(YOU)]


def test_what_others_do_about_requests_is_told(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    session.tell_friends("asked", 0, YOU, "it is me")
    session.tell_friends("withdrawn", 0, YOU)
    session.tell_friends("accepted", 0, 9)
    assert take(client, FriendRequested) == FriendRequested(YOU, "it is me")
    assert take(client, FriendAccepted) == FriendAccepted(9)


def test_lists_are_asked_for_by_the_page(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    came, made = IncomingRequest(3, "eve", "hi", 1, False), OutgoingRequest(5, "dan", "", 1)
    calling = Call(client.friends.requests)
    session.reply(session.asked_of_friends(ListRequests()), RequestPage((came,), (made,), True).encode())
    session.reply(session.asked_of_friends(ListRequests(5)), RequestPage((), (), False).encode())
    assert calling.wait() == ((came,), (made,))
    calling = Call(lambda: list(client.friends.blocked()))
    session.reply(session.asked_of_friends(ListBlocked()), BlockedPage((BlockedUser(4, "mallory"),), True).encode())
    session.reply(session.asked_of_friends(ListBlocked(4)), BlockedPage((), False).encode())
    assert calling.wait() == [BlockedUser(4, "mallory")]
    calling = Call(lambda: client.friends.search("dan"))
    session.reply(session.asked_of_friends(Search("dan")), FoundPage((FoundProfile(5, "dan", "Dan"),)).encode())
    assert calling.wait() == (FoundProfile(5, "dan", "Dan"),)


def test_who_is_in_ones_lists_is_found_by_name_though_no_search_finds_it(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    calling = Call(client.friends.requests)
    page = RequestPage((IncomingRequest(3, "Eve", "", 1, False),), (OutgoingRequest(5, "dan", "", 1),), False)
    session.reply(session.asked_of_friends(ListRequests()), page.encode())
    calling.wait()
    calling = Call(lambda: list(client.friends.blocked()))
    session.reply(session.asked_of_friends(ListBlocked()), BlockedPage((BlockedUser(4, "mallory"),), False).encode())
    calling.wait()
    assert [client.user_id(name) for name in ("eve", "dan", "Mallory")] == [3, 5, 4]
    assert session.of(Command.LOOKUP) == []


def test_an_answer_that_is_none_is_raised_as_what_the_page_says_and_the_session_goes_on(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    for call, request in (
        (lambda: client.friends.search("dan"), Search("dan")),
        (client.friends.requests, ListRequests()),
        (lambda: list(client.friends.blocked()), ListBlocked()),
        (lambda: client.set_profile(signature="x"), SetProfile(signature="x")),
    ):
        calling = Call(call)
        session.reply(session.asked_of_friends(request), b"\x80")
        with pytest.raises(NotConnected, match="something else"):
            calling.wait()
    assert client.is_online


def test_an_answer_that_ends_the_session_is_raised_at_once(scene: Scene) -> None:
    client = scene.connect()
    for count, (call, command) in enumerate((
        (lambda: client.friends.block(YOU), Command.FRIEND_CHANGE), (lambda: client.user_id("eve"), Command.LOOKUP),
    ), 1):  # fmt: skip
        session = scene.center.session(count)
        wait_until(lambda: client.is_online)
        calling = Call(call)
        wait_until(lambda session=session, command=command: session.of(command))  # type: ignore[misc]
        session.reply(session.of(command)[0], b"\x80")
        with pytest.raises(NotConnected, match="something else"):
            calling.wait()


def test_profiles_are_asked_for_and_set(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    theirs = Profile(YOU, "bob", "Bob", "", "here", 3)
    calling = Call(lambda: client.profile_of(YOU))
    session.reply(session.asked_of_friends(GetProfiles((YOU,))), ProfilePage((theirs,)).encode())
    assert calling.wait() == theirs
    calling = Call(lambda: client.profile_of(9))
    session.reply(session.asked_of_friends(GetProfiles((9,))), ProfilePage(()).encode())
    with pytest.raises(NameUnknown):
        calling.wait()
    mine = replace(theirs, user=7, searchable="name", asking="everybody")
    calling = Call(lambda: client.set_profile(signature="here", searchable="name"))
    session.reply(session.asked_of_friends(SetProfile(signature="here", searchable="name")), mine.encode())
    assert calling.wait() == mine


def test_friends_are_listed_by_group_in_the_order_of_the_groups(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    groups = (FriendGroup(2, "work", 5), FriendGroup(3, "home", 1))
    copy = copy_of(1, friend(1, 2), friend(2, 3), friend(3), groups=groups)
    session.reply(session.asked_of_friends(FIRST), answer_of(copy).encode())
    for group, user in ((0, 3), (2, 1), (3, 2)):
        session.reply(session.asked_of_friends(ListFriends(group)), FriendPage((friend(user, group),), 1, False).encode())
    take(client, FriendListChanged)
    assert [one.user for one in client.friends.list()] == [3, 2, 1]
    assert [one.user for one in client.friends.list(2)] == [1]
    assert [group.name for group in client.friends.groups()] == ["", "home", "work"]
    assert client.friends.get(2) == friend(2, 3)


def test_a_refusal_is_raised_with_its_code(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    calling = Call(lambda: client.friends.ask(YOU))
    session.refuse(session.asked_of_friends(Ask(YOU)), ErrorCode.NOT_ALLOWED)
    with pytest.raises(RequestRefused) as caught:
        calling.wait()
    assert caught.value.code == ErrorCode.NOT_ALLOWED


def test_nothing_is_asked_without_a_session_within_a_transaction_or_with_no_text(scene: Scene) -> None:
    client = scene.connect()
    with client.transaction(), pytest.raises(WithinTransaction):
        client.friends.ask(YOU)
    with pytest.raises(ValueError, match="utf-8"):
        client.friends.ask(YOU, "\ud800")
    for call, field in (
        (lambda: client.friends.ask(YOU, "x" * 201), "words"),
        (lambda: client.set_profile(signature="x" * 201), "signature"),
        (lambda: client.friends.remark(YOU, "x" * 65), "remark"),
        (client.set_profile, "op"),
    ):
        with pytest.raises(ValueError, match=field):
            call()
    session = scene.center.session()
    assert session.of(Command.FRIEND_CHANGE) == session.of(Command.SIGNATURE) == []
    scene.leave()
    scene.client = Client(scene.terminal, scene.path)
    with pytest.raises(NotConnected):
        scene.client.friends.requests()
