"""Nobody can tell who hides from who is not there (issue 6): neither a stranger nor a friend by an invisible user, nor a blocked sender by
who blocks it. What is compared is all that comes back, byte for byte, and how long the settling of a message takes.

Times are compared in pairs that are written side by side, in either order: one to who is there and hides, one to who is absent. On a
busy machine both are as late; so the medians are near each other, if nothing systematic makes one of them later.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

from myim_server.node import Node
from myim_wire.contents import encode_lookup
from myim_wire.friend_contents import Changed
from myim_wire.friend_requests import Ask, Block, GetProfiles, Search, SetProfile
from myim_wire.messages import ERROR, REPLY, Command, Message
from myim_wire.presence_contents import AskOnline, OnlinePage, PresenceChanged
from tests.server.friend_terminals import Friendly
from tests.server.hostile_town import Citizen
from tests.server.running import Person, RawTerminal, make_person, start_node, wait_until

PAIRS = 240
LATER = 1 << 62  # the number of a connection that comes after all others of its terminal
MOST_RATIO = 1.5  # of medians; a mean lag of a quarter of a settling would show, a busy machine does not


class Hidden(NamedTuple):
    """Who asks, of whom: one that is there and is not to be seen, one that is absent and else alike; names of one length. bell: a friend of
    the asker; when it is heard of, all that happened before has been told."""

    asker: Person
    there: Person
    absent: Person
    bell: Person


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = start_node(tmp_path / "data", friends={"grace_seconds": 0.3, "searches_per_minute": 1000, "asks_per_minute": 1000})
    yield node
    node.stop()


def people(node: Node) -> Hidden:
    """With profiles that say the same."""
    asker, there, absent, bell = (make_person(node, name) for name in ("watch", "there", "apart", "chime"))
    for person in (there, absent):
        terminal = Friendly(node, person)
        terminal.set_profile(SetProfile(display_name="someone", signature="hello"))
        terminal.close()
    befriend(node, asker, bell)
    return Hidden(asker, there, absent, bell)


def befriend(node: Node, asker: Person, *others: Person) -> None:
    """The asker and each of them."""
    number = time.time_ns() // 1000  # of a connection: rises, and leaves room for those of a test
    terminal = Friendly(node, asker, number)
    for person in others:
        other = Friendly(node, person, number)
        terminal.befriend(other)
        other.close()
    terminal.close()


def hide(node: Node, who: Hidden) -> None:
    """The one comes, invisible from the start, when nobody is there any more."""
    assert node._role is not None
    presence = node._role.presence.hall.presence
    wait_until(lambda: not presence and not presence.is_owing)
    Citizen(node, who.there, "invisible", LATER).listen()


def by_a_stranger(node: Node) -> Hidden:
    """Of an invisible user."""
    who = people(node)
    hide(node, who)
    return who


def by_a_friend(node: Node) -> Hidden:
    """Of an invisible user."""
    who = people(node)
    befriend(node, who.asker, who.there, who.absent)
    hide(node, who)
    return who


def by_who_is_blocked(node: Node) -> Hidden:
    """By a user that is there for everybody else, and was the friend of who is blocked; the absent one lets itself be found no more."""
    who = people(node)
    befriend(node, who.asker, who.there, who.absent)
    terminal = Friendly(node, who.there, LATER - 1)
    terminal.change(Block(who.asker.user))
    terminal.close()
    assert node._role is not None
    presence = node._role.presence.hall.presence
    wait_until(lambda: not presence and not presence.is_owing)
    Citizen(node, who.there, "online", LATER).listen()
    return who


SCENES = (by_a_stranger, by_a_friend, by_who_is_blocked)


def contents(who: Person, name: str) -> list[tuple[Command, bytes]]:
    """Questions about somebody."""
    return [
        (Command.LOOKUP, encode_lookup(name)),
        (Command.LOOKUP, encode_lookup(who.user)),
        (Command.FRIENDS, Search(name).encode()),
        (Command.FRIENDS, Search(name[:4]).encode()),
        (Command.FRIENDS, Search(str(who.user)).encode()),
        (Command.SIGNATURE, GetProfiles((who.user,)).encode()),
        (Command.FRIEND_CHANGE, Ask(who.user, "hello").encode()),
    ]


def plain(message: Message, who: Person, name: str) -> tuple[object, ...]:
    """What came, without whom it was about, and when."""
    content: object = message.content.replace(who.user.to_bytes(8, "big"), b"user").replace(name.encode(), b"name")
    if message.command == Command.FRIEND_CHANGE and not message.flags & ERROR:
        content = Changed.decode(message.content)  # the asker's own list, which is the same after both
    return message.command, message.flags, message.user, message.target == who.user, content


@pytest.mark.parametrize("scene", SCENES)
def test_who_is_not_to_be_seen_is_answered_for_as_who_is_absent_and_nothing_is_pushed(node: Node, scene: Callable[[Node], Hidden]) -> None:
    who = scene(node)
    asker = RawTerminal(node, who.asker, LATER)
    asker.fetch()
    answers = []
    for person, name in ((who.there, "there"), (who.absent, "apart")):
        came = [asker.ask(command, content) for command, content in contents(person, name)]
        came += [asker.settling_of(asker.write(person.user, b"are you there?", is_first=first)) for first in (True, False, False)]
        answers.append([plain(message, person, name) for message in came])
    assert answers[0] == answers[1]
    page = OnlinePage.decode(asker.ask(Command.FRIENDS_ONLINE, AskOnline().encode()).content)
    assert page == OnlinePage((), True)
    Citizen(node, who.bell, "online", LATER).listen()
    told = asker.wait_for(lambda message: message.command == Command.PRESENCE)
    assert [one.user for one in PresenceChanged.decode(told.content).changes] == [who.bell.user]
    assert asker.inbox == []


@pytest.mark.parametrize("scene", SCENES)
def test_a_message_to_who_is_not_to_be_seen_settles_as_one_to_who_is_absent_in_bytes_and_time(
    node: Node, scene: Callable[[Node], Hidden]
) -> None:
    who = scene(node)
    asker = RawTerminal(node, who.asker, LATER)
    asker.fetch()
    dice, took = random.Random(6), {who.there.user: list[float](), who.absent.user: list[float]()}
    settlings = set()
    for _ in range(PAIRS):
        for person in dice.sample((who.there, who.absent), 2):
            begun = time.perf_counter()
            settling = asker.settling_of(asker.write(person.user, b"a letter"))
            took[person.user].append(time.perf_counter() - begun)
            settlings.add((settling.flags, settling.content))
    assert settlings == {(REPLY, b"\x02")}
    hidden, absent = (median(took[person.user]) for person in (who.there, who.absent))
    assert max(hidden, absent) / min(hidden, absent) < MOST_RATIO, (hidden, absent)
    asker.poll()
    assert asker.inbox == []
