"""Presence between friends on a real center: who is told, who is not, and what an invisible user or a block looks like from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_server.config_sections import FriendsSection
from myim_server.node import Node
from myim_wire.friend_requests import Block, Unblock
from myim_wire.messages import QOS1, REPLY, Command, Message, encode_message
from myim_wire.presence_contents import AskOnline, OnlinePage, PresenceChanged, SetPresence
from tests.server.friend_terminals import Friendly, make_people
from tests.server.running import RawTerminal, config, start_node, wait_until

STORED = b"\x02"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    quick = config(tmp_path / "data", delivery={"sweep_seconds": 0.5})
    node = Node(quick.model_copy(update={"friends": FriendsSection(grace_seconds=0.3)}))
    node.build()
    node.start()
    yield node
    node.stop()


@pytest.fixture
def friends(node: Node) -> tuple[Friendly, Friendly]:
    alice, bob = make_people(node, "alice", "bob")
    alice.befriend(bob)
    wait_until(lambda: online(bob) and online(alice))
    return alice, bob


def say(who: Friendly, state: str, text: str = "") -> None:
    named = who.name()
    content = SetPresence(state, text).encode()  # type: ignore[arg-type]
    who.say(encode_message(Command.PRESENCE, QOS1, who.person.user, 0, named, content))
    who.wait_for(lambda message: message.command == Command.PRESENCE and message.time == named and bool(message.flags & REPLY))


def online(who: Friendly) -> dict[int, tuple[str, str]]:
    named = who.name()
    who.say(encode_message(Command.FRIENDS_ONLINE, QOS1, who.person.user, 0, named, AskOnline().encode()))
    reply = who.wait_for(lambda message: message.command == Command.FRIENDS_ONLINE and message.time == named)
    page = OnlinePage.decode(reply.content)
    assert page.is_complete
    return {one.user: (one.state, one.text) for one in page.online}


def await_presence(who: Friendly, user: int, state: str, text: str = "") -> None:
    """Until it is told so; what was told before, as that somebody who has just become a friend is online, is passed over."""

    def is_it(message: Message) -> bool:
        if message.command != Command.PRESENCE or message.flags & REPLY:
            return False
        return any((one.user, one.state, one.text) == (user, state, text) for one in PresenceChanged.decode(message.content).changes)

    who.wait_for(is_it)
    who.inbox = [message for message in who.inbox if message.command != Command.PRESENCE]


def is_settling(message: Message) -> bool:
    return message.command == Command.USER_MESSAGE and bool(message.flags & REPLY)


def test_friends_see_each_other_come_change_and_go(node: Node, friends: tuple[Friendly, Friendly]) -> None:
    alice, bob = friends
    wait_until(lambda: online(bob) == {alice.person.user: ("online", "")})
    say(alice, "busy", "baking")
    await_presence(bob, alice.person.user, "busy", "baking")
    alice.close()
    await_presence(bob, alice.person.user, "offline")
    assert online(bob) == {}
    again = Friendly(node, alice.person, number=2)
    await_presence(bob, alice.person.user, "online")
    again.close()


def states_until(who: Friendly, user: int, state: str) -> list[str]:
    """How the user was said to appear, in order, until it is so."""
    states: list[str] = []
    while state not in states:
        push = who.wait_for(lambda message: message.command == Command.PRESENCE and not message.flags & REPLY)
        states += [one.state for one in PresenceChanged.decode(push.content).changes if one.user == user]
    return states


def test_a_reconnect_within_the_grace_tells_nobody(tmp_path: Path) -> None:
    node = start_node(tmp_path / "slow", friends={"grace_seconds": 60})
    alice, bob = make_people(node, "alice", "bob")
    alice.befriend(bob)
    wait_until(lambda: online(bob))
    alice.close()
    wait_until(lambda: node.router is not None and not node.router.inboxes.of(alice.person.user))
    hall = node._role.presence.hall if node._role is not None else None
    wait_until(lambda: hall is not None and not hall._is_telling and not hall._is_handing)  # what was due is told
    assert online(bob) == {}
    again = Friendly(node, alice.person, number=2)
    say(again, "away")
    assert "offline" not in states_until(bob, alice.person.user, "away")
    again.close()
    node.stop()


def test_who_is_no_friend_is_told_nothing_and_sees_nobody(node: Node, friends: tuple[Friendly, Friendly]) -> None:
    alice, bob = friends
    (carol,) = make_people(node, "carol")
    assert online(carol) == {}
    say(alice, "away")
    await_presence(bob, alice.person.user, "away")
    carol.poll()
    assert not [message for message in carol.inbox if message.command == Command.PRESENCE]


def test_who_is_invisible_is_offline_to_friends_in_pushes_lists_and_settlings(node: Node, friends: tuple[Friendly, Friendly]) -> None:
    alice, bob = friends
    say(alice, "invisible")
    await_presence(bob, alice.person.user, "offline")
    assert online(bob) == {}
    named = bob.write(alice.person.user, b"are you there?")
    assert bob.settling_of(named).content == STORED
    message = alice.next_message()
    assert message.time == named
    alice.confirm((bob.person.user, named))
    store = node.store
    assert store is not None
    wait_until(lambda: not store.offline.targets_with_rows([alice.person.user]))
    bob.fetch()
    bob.poll()
    assert not [one for one in bob.inbox if one.command == Command.RECEIPT]
    say(alice, "online")
    receipt = bob.wait_for(lambda one: one.command == Command.RECEIPT)
    assert receipt.content[0] == 3
    await_presence(bob, alice.person.user, "online")


def test_a_receipt_of_who_hid_and_left_goes_to_its_sender_when_he_comes_to_be_seen(node: Node, friends: tuple[Friendly, Friendly]) -> None:
    alice, bob = friends
    say(alice, "invisible")
    named = bob.write(alice.person.user, b"are you there?")
    assert bob.settling_of(named).content == STORED
    assert alice.next_message().time == named
    alice.confirm((bob.person.user, named))
    store = node.store
    assert store is not None
    wait_until(lambda: store.receipts.held_for([alice.person.user]))
    alice.close()
    wait_until(lambda: node.router is not None and not node.router.inboxes.of(alice.person.user))
    again = Friendly(node, alice.person, number=2)
    receipt = bob.wait_for(lambda one: one.command == Command.RECEIPT)
    assert receipt.content[0] == 3
    wait_until(lambda: not store.receipts.held_for([alice.person.user]))
    again.close()


def test_hiding_while_a_message_is_on_its_way_settles_it_as_stored(node: Node, friends: tuple[Friendly, Friendly]) -> None:
    alice, bob = friends
    named = bob.write(alice.person.user, b"hello")
    alice.next_message()
    say(alice, "invisible")
    alice.confirm((bob.person.user, named))
    assert bob.settling_of(named).content == STORED
    assert alice.next_message().time == named


def test_who_comes_invisible_is_never_seen(node: Node, friends: tuple[Friendly, Friendly]) -> None:
    alice, bob = friends
    wait_until(lambda: online(bob))
    alice.close()
    await_presence(bob, alice.person.user, "offline")
    hidden = RawTerminal(node, alice.person, 2)
    hidden.say(encode_message(Command.PRESENCE, QOS1, alice.person.user, 0, hidden.name(), SetPresence("invisible").encode()))
    hidden.fetch()
    assert online(bob) == {}
    bob.poll()
    assert not [one for one in bob.inbox if one.command == Command.PRESENCE and not one.flags & REPLY]


def test_a_blocked_sender_learns_nothing_and_is_never_shown(node: Node, friends: tuple[Friendly, Friendly]) -> None:
    alice, bob = friends
    alice.change(Block(bob.person.user))
    wait_until(lambda: node._role is not None and node._role.presence.hall.is_blocked(alice.person.user, bob.person.user))
    named = bob.write(alice.person.user, b"let me in")
    assert bob.settling_of(named).content == STORED
    store = node.store
    assert store is not None
    wait_until(lambda: not store.offline.targets_with_rows([alice.person.user]))
    alice.poll()
    assert not [one for one in alice.inbox if one.command == Command.USER_MESSAGE]
    assert store.receipts.users_with_receipts([bob.person.user]) == set()
    assert online(bob) == {}
    alice.change(Unblock(bob.person.user))
    wait_until(lambda: node._role is not None and not node._role.presence.hall.is_blocked(alice.person.user, bob.person.user))
    later = bob.write(alice.person.user, b"thank you", is_first=True)
    assert alice.next_message().time == later


def test_who_asks_before_it_is_known_whose_friend_one_is_gets_no_false_offline(node: Node, friends: tuple[Friendly, Friendly]) -> None:
    alice, bob = friends
    wait_until(lambda: online(bob))
    say(alice, "invisible")
    alice.close()
    await_presence(bob, alice.person.user, "offline")
    for number in range(2, 7):
        again = RawTerminal(node, alice.person, number)
        named = [again.name() for _ in range(3)]
        again.say(
            encode_message(Command.PRESENCE, QOS1, alice.person.user, 0, named[0], SetPresence("invisible").encode()),
            encode_message(Command.OFFLINE_FETCH, QOS1, alice.person.user, 0, named[1]),
            encode_message(Command.FRIENDS_ONLINE, QOS1, alice.person.user, 0, named[2], AskOnline().encode()),
        )
        reply = again.wait_for(lambda message: message.command == Command.FRIENDS_ONLINE)
        assert [one.user for one in OnlinePage.decode(reply.content).online] == [bob.person.user]
        again.close()
