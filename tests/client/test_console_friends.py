"""Friends in the chat: what is typed, what is asked, what is printed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_client import Event, FriendListChanged, OfflineDone, PresenceChanged
from myim_client.console_chat import completions
from myim_client.console_friends import COMMANDS
from myim_wire.contents import FoundUser
from myim_wire.errors import ErrorCode
from myim_wire.friend_contents import (
    BlockedPage,
    BlockedUser,
    Changed,
    FoundPage,
    FoundProfile,
    Friend,
    FriendPage,
    IncomingRequest,
    OutgoingRequest,
    RequestPage,
    Synced,
)
from myim_wire.friend_requests import (
    Accept,
    Ask,
    Block,
    FriendChangeRequest,
    FriendRequest,
    GetProfiles,
    Ignore,
    ListBlocked,
    ListFriends,
    ListRequests,
    ProfileRequest,
    Refuse,
    Remark,
    RemoveFriend,
    Search,
    SetProfile,
    Sync,
    Unblock,
    Withdraw,
)
from myim_wire.messages import Command
from myim_wire.presence_contents import Online, OnlinePage, Presence, SetPresence
from myim_wire.profile_contents import Profile, ProfilePage
from tests.client.friend_world import answer_of, copy_of
from tests.client.scripted_center import ME, YOU, Session, wait_until
from tests.client.talk import Talk

BOB = Friend(YOU, 0, "bob", "", "", "", "")
ONE = copy_of(1, BOB)
DONE = Changed(1, ONE.root).encode()


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    made = Talk(tmp_path)
    yield made
    made.client.close()
    made.center.close()


def with_bob(talk: Talk) -> Session:
    """Somebody who has one friend, of whom nothing is known yet."""
    session = talk.center.session()
    session.reply(session.asked_of_friends(Sync(0, bytes(32))), answer_of(ONE).encode())
    session.reply(session.asked_of_friends(ListFriends(0)), FriendPage((BOB,), 1, False).encode())
    talk.until("bob is your friend now")
    talk.lines.clear()
    return session


def type_and_get(talk: Talk, line: str, asked: FriendRequest | FriendChangeRequest | ProfileRequest, answer: bytes) -> list[str]:
    """Type a line, answer what it asks; what was printed."""
    count = len(talk.lines)
    typing = threading.Thread(target=talk.chat.type, args=(line,))
    typing.start()
    session = talk.center.session()
    session.reply(session.asked_of_friends(asked), answer)
    typing.join(10)
    return talk.lines[count:]


CHANGES: list[tuple[str, FriendChangeRequest, list[str]]] = [
    ("/accept bob", Accept(YOU), ["* done"]),
    ("/refuse bob", Refuse(YOU), ["* done"]),
    ("/ignore BOB", Ignore(YOU), ["* done"]),
    ("/withdraw bob", Withdraw(YOU), ["* done"]),
    (f"/unfriend @{YOU}", RemoveFriend(YOU), ["* done"]),
    ("/block bob", Block(YOU), ["* done"]),
    ("/unblock bob", Unblock(YOU), ["* done"]),
    ("/remark bob my dear", Remark(YOU, "my dear"), ["* done"]),
    ("/remark bob", Remark(YOU, ""), ["* done"]),
    (f"/add @{YOU + 1}", Ask(YOU + 1), [f"* @{YOU + 1} is asked"]),
    (f"/add @{YOU + 1} hello there", Ask(YOU + 1, "hello there"), [f"* @{YOU + 1} is asked"]),
]


def test_what_is_typed_is_asked_and_answered(talk: Talk) -> None:
    with_bob(talk)
    for line, asked, printed in CHANGES:
        assert type_and_get(talk, line, asked, DONE) == printed, line


def test_who_accepted_is_called_by_a_name_that_was_not_known_here(talk: Talk) -> None:
    session = talk.center.session()
    talk.center.is_lookup_answered = False
    session.tell_friends("accepted", 1, YOU)
    line = talk.looking("accepted")
    wait_until(lambda: session.of(Command.LOOKUP))
    session.reply(session.of(Command.LOOKUP)[0], FoundUser(YOU, "bob").encode())
    assert line() == "* bob accepted to be your friend"


def test_who_is_a_friend_is_not_asked_to_be_one(talk: Talk) -> None:
    session = with_bob(talk)
    talk.chat.type("/add bob hello there")
    assert talk.lines == ["* bob is your friend already"]
    assert session.of(Command.FRIEND_CHANGE) == []


def test_friends_are_listed_with_how_they_are(talk: Talk) -> None:
    session = with_bob(talk)
    talk.chat.type("/friends")
    assert talk.lines == ["  bob, unknown"]
    wait_until(lambda: session.of(Command.FRIENDS_ONLINE))
    session.reply(session.of(Command.FRIENDS_ONLINE)[0], OnlinePage((Online(YOU, "busy", "a\x1bb", ()),), True).encode())
    assert talk.until("busy") == "* bob is busy: a\ufffdb"
    two = copy_of(2, Friend(YOU, 0, "bob", "dear", "Bobby", "", "here\nforged"))
    session.tell_friends("list", 2)
    session.reply(session.asked_of_friends(Sync(1, ONE.root)), Synced(2, two.root, (), tuple(two.friends.values()), (), True).encode())
    assert talk.until("signature") == "* bob has a new signature: here\ufffdforged"
    talk.chat.type("/friends")
    assert talk.lines[-1] == "  bob (dear, Bobby), busy: a\ufffdb — here\ufffdforged"


def test_who_has_no_friends_is_told_what_to_do(talk: Talk) -> None:
    talk.chat.type("/friends")
    assert talk.lines == ["none yet; /add NAME asks somebody"]


def test_what_friends_do_is_told(talk: Talk) -> None:
    session = with_bob(talk)
    session.tell_presence(Presence(YOU, "online", ""))
    talk.until("* bob is online")
    session.tell_presence(Presence(YOU, "offline", ""))
    talk.until("* bob is offline")
    session.tell_friends("accepted", 1, YOU)
    talk.until("* bob accepted to be your friend")
    empty = copy_of(2)
    session.tell_friends("list", 2)
    session.reply(session.asked_of_friends(Sync(1, ONE.root)), Synced(2, empty.root, (), (), (YOU,), True).encode())
    talk.until("* bob is not your friend any more")


def test_a_request_is_told_with_the_name_of_who_asks_and_what_to_type(talk: Talk) -> None:
    talk.client.courier.names[YOU + 1] = "eve"
    talk.center.session().tell_friends("asked", 0, YOU + 1, "let me\x1b in")
    assert talk.until("asks") == "* eve asks to be your friend: let me\ufffd in; /accept eve, /refuse eve or /ignore eve"


def test_requests_that_came_while_the_chat_was_away_are_told_once_and_may_be_accepted_by_name(talk: Talk) -> None:
    eve, dan = IncomingRequest(YOU + 1, "eve", "hi\x1b", 1, False), IncomingRequest(YOU + 2, "dan", "", 1, True)
    talk.center.requests = RequestPage((eve, dan), (OutgoingRequest(5, "pam", "", 1),))
    assert talk.until("asks") == "* eve asks to be your friend: hi\ufffd; /accept eve, /refuse eve or /ignore eve"
    assert not any("dan" in line or "pam" in line for line in talk.lines)
    talk.lines.clear()
    talk.chat.show([OfflineDone(0)])  # another session
    assert talk.lines == []
    assert type_and_get(talk, "/accept eve", Accept(YOU + 1), Changed(0, bytes(32)).encode()) == ["* done"]
    assert talk.center.session().of(Command.LOOKUP) == []
    talk.center.requests = RequestPage(tuple(IncomingRequest(user, f"n{user}", "", 1, False) for user in range(20, 26)), ())
    talk.chat.show([OfflineDone(0)])
    assert talk.lines[-1] == "* 6 people ask to be your friends; /requests lists them"
    talk.center.close()
    wait_until(lambda: not talk.client.is_online)
    talk.chat.show([OfflineDone(0)])  # nobody can be asked: nothing is told, and the chat goes on
    assert talk.lines[-1] == "* 6 people ask to be your friends; /requests lists them"


def test_a_name_that_is_not_known_yet_is_looked_up(talk: Talk) -> None:
    typing = threading.Thread(target=talk.chat.type, args=("/add eve",))
    typing.start()
    session = talk.center.session()
    wait_until(lambda: session.of(Command.LOOKUP))
    session.reply(session.of(Command.LOOKUP)[0], FoundUser(YOU, "Eve").encode())
    session.reply(session.asked_of_friends(Ask(YOU)), Changed(0, bytes(32)).encode())
    typing.join(10)
    assert talk.lines == ["* Eve is asked"]


def test_requests_blocked_and_found_are_listed(talk: Talk) -> None:
    talk.center.requests = None
    page = RequestPage((IncomingRequest(3, "eve", "hi", 1, True),), (OutgoingRequest(5, "dan", "", 1),), False)
    assert type_and_get(talk, "/requests", ListRequests(), page.encode()) == ["  eve asks: hi (ignored)", "  you asked dan"]
    blocked = BlockedPage((BlockedUser(4, "mallory"),), False)
    assert type_and_get(talk, "/block", ListBlocked(), blocked.encode()) == ["mallory"]
    found = FoundPage((FoundProfile(5, "dan", "Dan"), FoundProfile(6, "dana", "")))
    assert type_and_get(talk, "/find dan", Search("dan"), found.encode()) == ["  dan (Dan) @5", "  dana @6"]
    assert type_and_get(talk, "/find xyz", Search("xyz"), FoundPage(()).encode()) == ["nobody who may be found so"]


def test_ones_own_status_and_signature_are_set(talk: Talk) -> None:
    session = talk.center.session()
    typing = threading.Thread(target=talk.chat.type, args=("/status invisible not here",))
    typing.start()
    wait_until(lambda: session.of(Command.PRESENCE))
    assert SetPresence.decode(session.of(Command.PRESENCE)[0].content) == SetPresence("invisible", "not here")
    session.reply(session.of(Command.PRESENCE)[0], SetPresence("invisible", "not here").encode())
    typing.join(10)
    assert talk.lines == ["* you look as if you had left, which friends hear some seconds later; so it stays, after the next start too"]
    mine = Profile(ME, "me", "", "", "gone fishing", 1, "name", "everybody").encode()
    assert type_and_get(talk, "/signature gone fishing", SetProfile(signature="gone fishing"), mine) == ["* done"]
    own = ProfilePage((Profile.decode(mine),)).encode()
    assert type_and_get(talk, "/signature", GetProfiles((ME,)), own) == ["  gone fishing"]
    assert type_and_get(talk, "/signature -", SetProfile(signature=""), mine) == ["* done"]


def test_many_changes_at_once_are_one_line(talk: Talk) -> None:
    with_bob(talk)
    events: list[Event] = [PresenceChanged(user, "online", "") for user in range(100, 110)]
    talk.chat.show([*events, FriendListChanged(1)])
    assert talk.lines == ["* @100 online, @101 online, @102 online, @103 online, @104 online and 5 more; /friends lists them"]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/add", "! type /add NAME [WORDS]"),
        ("/accept two words", "! type /accept NAME"),
        ("/remark", "! type /remark NAME [TEXT]"),
        ("/find", "! type /find TEXT"),
        ("/status asleep", "! type /status and one of online, away, busy, invisible"),
    ],
)
def test_a_line_that_cannot_be_is_answered(talk: Talk, line: str, answer: str) -> None:
    talk.chat.type(line)
    assert talk.lines == [answer]


def test_a_refusal_is_shown_with_its_reason(talk: Talk) -> None:
    typing = threading.Thread(target=talk.chat.type, args=(f"/add @{YOU}",))
    typing.start()
    session = talk.center.session()
    session.refuse(session.asked_of_friends(Ask(YOU)), ErrorCode.NOT_ALLOWED)
    typing.join(10)
    assert talk.lines == ["! refused: NOT_ALLOWED, there is no such user, or none that takes this from you"]


def test_help_and_completion_know_every_command(talk: Talk) -> None:
    with_bob(talk)
    talk.chat.type("/help")
    text = "\n".join(talk.lines)
    assert [command for command in COMMANDS if command not in text] == []
    assert completions(talk.client, "/unfr") == ["/unfriend", "/unfriend bob"]
    assert completions(talk.client, "/remark b") == ["/remark bob"]
    assert completions(talk.client, "/status i") == ["/status invisible"]
