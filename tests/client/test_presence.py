"""Presence of friends and of oneself, against a scripted center."""

from __future__ import annotations

import pytest

from myim_client import Client, FriendPresence, OfflineDone, PresenceChanged, RequestRefused
from myim_wire.bodies import encode_error_content
from myim_wire.errors import ErrorCode
from myim_wire.friend_contents import FriendPage, Synced
from myim_wire.friend_requests import ListFriends, Sync
from myim_wire.messages import ERROR, Command, Message
from myim_wire.presence_contents import AskOnline, Online, OnlinePage, Presence, SetPresence, SettableState
from tests.client.calls import Call
from tests.client.desk import Desk
from tests.client.friend_world import answer_of, copy_of, friend
from tests.client.scene import Scene, take
from tests.client.scripted_center import Session, wait_until

ALL = copy_of(1, *(friend(user) for user in (8, 9, 10, 11)))
FIRST = Sync(0, bytes(32))


def online_asked(session: Session, count: int = 1) -> Message:
    """The latest FRIENDS_ONLINE, as soon as there were `count`."""
    wait_until(lambda: len(session.of(Command.FRIENDS_ONLINE)) >= count)
    return session.of(Command.FRIENDS_ONLINE)[-1]


def with_friends(scene: Scene) -> tuple[Client, Session]:
    """A client with four friends, which has asked who of them is online."""
    client = scene.connect()
    session = scene.center.session()
    session.reply(session.asked_of_friends(FIRST), answer_of(ALL).encode())
    session.reply(session.asked_of_friends(ListFriends(0)), FriendPage(tuple(ALL.friends.values()), 1, False).encode())
    online_asked(session)
    return client, session


def test_who_is_online_is_asked_by_the_page_and_told(scene: Scene) -> None:
    client, session = with_friends(scene)
    assert AskOnline.decode(online_asked(session).content) == AskOnline()
    assert client.friends.presence_of(8) == FriendPresence("unknown")
    session.reply(online_asked(session), OnlinePage((Online(8, "busy", "hm", ((1, 2),)),), True, True, 9).encode())
    assert AskOnline.decode(online_asked(session, 2).content) == AskOnline(9)
    session.reply(online_asked(session, 2), OnlinePage((Online(11, "online", "", ()),), False).encode())
    assert take(client, PresenceChanged) == PresenceChanged(8, "busy", "hm")
    assert take(client, PresenceChanged) == PresenceChanged(10, "unknown", "")
    assert take(client, PresenceChanged) == PresenceChanged(11, "online", "")
    assert [client.friends.presence_of(user).state for user in (8, 9, 10, 11)] == ["busy", "offline", "unknown", "online"]
    assert client.friends.online() == {8: FriendPresence("busy", "hm"), 11: FriendPresence("online")}


def test_a_push_tells_of_friends_and_of_nobody_else(scene: Scene) -> None:
    client, session = with_friends(scene)
    session.reply(online_asked(session), OnlinePage((), True).encode())
    session.tell_presence(Presence(99, "online", ""), Presence(8, "offline", ""), Presence(9, "away", "lunch"))
    assert take(client, PresenceChanged) == PresenceChanged(9, "away", "lunch")
    assert client.friends.presence_of(99) == FriendPresence("unknown")


def test_a_push_that_overtakes_the_answer_is_not_undone_by_it(scene: Scene) -> None:
    client, session = with_friends(scene)
    session.tell_presence(Presence(8, "online", "new"))
    assert take(client, PresenceChanged) == PresenceChanged(8, "online", "new")
    session.reply(online_asked(session), OnlinePage((Online(9, "online", "", ()),), True).encode())
    assert take(client, PresenceChanged).user == 9
    assert client.friends.presence_of(8) == FriendPresence("online", "new")


def test_without_a_session_nothing_is_known_and_after_it_only_what_is_new_is_told(scene: Scene) -> None:
    client, session = with_friends(scene)
    session.reply(online_asked(session), OnlinePage((Online(8, "online", "", ()), Online(9, "online", "", ())), True).encode())
    for user in (8, 9):
        assert take(client, PresenceChanged).user == user
    session.cut()
    wait_until(lambda: client.friends.presence_of(8).state == "unknown")
    session = scene.center.session(2)
    session.reply(session.asked_of_friends(Sync(1, ALL.root)), Synced(1, ALL.root).encode())
    session.reply(online_asked(session), OnlinePage((Online(8, "online", "", ()),), True).encode())
    assert take(client, PresenceChanged) == PresenceChanged(9, "offline", "")
    assert list(client.friends.online()) == [8]


def test_who_has_no_friends_asks_not_who_is_online(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    session.reply(session.asked_of_friends(FIRST), Synced(0, bytes(32)).encode())
    calling = Call(lambda: client.presence("away"))
    wait_until(lambda: session.of(Command.PRESENCE))
    session.reply(session.of(Command.PRESENCE)[0], SetPresence("away").encode())
    calling.wait()
    assert session.of(Command.FRIENDS_ONLINE) == []


def replied(desk: Desk, command: int, content: bytes, now: float) -> Message:
    """Answer the one question of this kind that is due; what it was."""
    (question,) = [message for message in desk.due(now) if message.command == command]
    desk.hear(now, desk.reply_to(question, content))
    return question


def settled_in(desk: Desk, is_complete: bool) -> None:
    """A session, 1 s old, that has the list and has asked who is online: nobody."""
    replied(desk, Command.FRIENDS, answer_of(ALL).encode(), 1.0)
    replied(desk, Command.FRIENDS, FriendPage(tuple(ALL.friends.values()), 1, False).encode(), 1.0)
    replied(desk, Command.FRIENDS_ONLINE, OnlinePage((), is_complete).encode(), 1.0)


def test_what_a_lost_push_did_not_tell_is_known_a_quarter_of_an_hour_later(desk: Desk) -> None:
    settled_in(desk, is_complete=True)
    assert desk.due(900.9) == [] and desk.courier.friends.deadline(900.9) == 901.0
    two = copy_of(2, *ALL.friends.values(), friend(12))
    changes = Synced(2, two.root, (), (friend(12),), (), True)
    asked = replied(desk, Command.FRIENDS, changes.encode(), 901.0)
    assert asked.content == Sync(1, ALL.root).encode()
    replied(desk, Command.FRIENDS_ONLINE, OnlinePage((Online(8, "online", "", ()),), True).encode(), 901.0)
    assert 12 in desk.courier.friends.copy.friends
    assert desk.courier.friends.presence(8) == FriendPresence("online")
    assert desk.due(1800.9) == [] and len(desk.due(1801.0)) == 1


def test_who_is_online_is_asked_again_soon_where_not_all_could_be_said(desk: Desk) -> None:
    settled_in(desk, is_complete=False)
    assert desk.courier.friends.presence(8) == FriendPresence("unknown")
    assert desk.due(60.9) == []
    replied(desk, Command.FRIENDS_ONLINE, OnlinePage((), True).encode(), 61.0)
    assert desk.courier.friends.presence(8) == FriendPresence("offline")
    assert desk.due(900.0) == []


def test_who_wants_to_hide_is_hidden_though_the_words_are_refused(desk: Desk) -> None:
    desk.courier.set_presence(SetPresence("invisible", "words that a later center takes for bad"))
    desk.courier.end("lost")
    desk.courier.begin("here", 1.0)
    (question,) = [message for message in desk.due(1.0) if message.command == Command.PRESENCE]
    desk.hear(1.0, desk.reply_to(question, encode_error_content(ErrorCode.BAD_COMMAND, "no", field="text"), ERROR))
    question = replied(desk, Command.PRESENCE, SetPresence("invisible").encode(), 1.0)
    assert SetPresence.decode(question.content) == SetPresence("invisible")
    assert [message for message in desk.due(7.0) if message.command == Command.PRESENCE] == []


def presences(session: Session) -> list[SetPresence]:
    """What the terminal said of itself."""
    return [SetPresence.decode(message.content) for message in session.of(Command.PRESENCE)]


def set_presence(client: Client, session: Session, state: SettableState, text: str = "") -> None:
    """Set it, and answer."""
    calling = Call(lambda: client.presence(state, text))
    wait_until(lambda: SetPresence(state, text) in presences(session))
    session.reply(session.of(Command.PRESENCE)[-1], SetPresence(state, text).encode())
    calling.wait()


def test_who_is_invisible_says_so_before_it_can_be_seen_in_every_later_session(scene: Scene) -> None:
    client = scene.connect()
    set_presence(client, scene.center.session(), "invisible", "hidden")
    for number in (2, 3):
        if number == 2:
            scene.center.sessions[-1].cut()
        else:
            scene.connect()
        session = scene.center.session(number)
        wait_until(lambda session=session: session.of(Command.SERVERS))  # type: ignore[misc]
        assert [message.command for message in session.received][:2] == [Command.PRESENCE, Command.OFFLINE_FETCH]
        assert presences(session) == [SetPresence("invisible", "hidden")]


def test_who_is_plainly_online_need_not_say_so(scene: Scene) -> None:
    client = scene.connect()
    set_presence(client, scene.center.session(), "busy")
    set_presence(client, scene.center.session(), "online")
    scene.connect()
    session = scene.center.session(2)
    wait_until(lambda: session.of(Command.SERVERS))
    assert session.of(Command.PRESENCE) == []


def test_a_presence_without_a_session_is_kept_for_the_next(scene: Scene) -> None:
    client = Client(scene.terminal, scene.path)
    client.presence("invisible")
    client.close()
    scene.connect()
    session = scene.center.session()
    wait_until(lambda: session.of(Command.SERVERS))
    assert presences(session) == [SetPresence("invisible")]


def test_a_presence_that_is_refused_is_raised_and_kept(scene: Scene) -> None:
    client = scene.connect()
    take(client, OfflineDone)
    session = scene.center.session()
    calling = Call(lambda: client.presence("invisible"))
    wait_until(lambda: session.of(Command.PRESENCE))
    session.refuse(session.of(Command.PRESENCE)[0], ErrorCode.SLOW_DOWN)
    with pytest.raises(RequestRefused):
        calling.wait()
    scene.connect()
    wait_until(lambda: presences(scene.center.session(2)) == [SetPresence("invisible")])


@pytest.mark.parametrize(("state", "text"), [("asleep", ""), ("busy", "x" * 101), ("busy", "\ud800"), ("invisible", "a\tb")])
def test_a_presence_that_no_center_would_take_is_refused_at_once_and_not_kept(scene: Scene, state: SettableState, text: str) -> None:
    client = scene.connect()
    with pytest.raises(ValueError):
        client.presence(state, text)
    assert scene.rows("SELECT * FROM myim_presence") == []
