"""A hostile user with a terminal says a hundred thousand things (reliability P20): it learns nothing that it may not know, nobody hears
anything in another's name, and what is the others' stays as it was.

One of the two hostile users throws commands at random and looks at all that comes. The other asks everything twice: about somebody who is
there and may not be known of, and about somebody who is not there, or plainly absent; the answers must be the same, byte for byte. What the
protocol tells whoever has an id (that a message to it can be sent, its name, [P-7.4], [P-7.13], [P-7.15]) is not asked of nobody.
"""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Iterator
from pathlib import Path

import gevent
import gevent.event
import pytest

from myim_server.node import Node
from myim_wire.account_contents import decode_account_push
from myim_wire.errors import LocalProtocolError
from myim_wire.friend_contents import Changed, decode_friend_push
from myim_wire.friend_requests import Unblock
from myim_wire.group_contents import GroupBehind, GroupChanged, GroupState, decode_group_push
from myim_wire.group_requests import Create
from myim_wire.messages import ERROR, FIRST, PING_ASK, QOS1, REPLY, Command, Message, decode_error, decode_pairs, encode_message
from myim_wire.presence_contents import OnlinePage, PresenceChanged, SetPresence
from tests.server.hostile_commands import (
    ABOUT_GROUPS,
    ABOUT_ONESELF,
    ABOUT_SLOTS,
    ABOUT_USERS,
    KNOWN_TO_EXIST,
    WORD,
    Dice,
    Make,
    Named,
    Said,
)
from tests.server.hostile_town import POSTS, SECRET, Citizen, HostileTown
from tests.server.running import RawTerminal, start_node, wait_until

SEED = int(os.environ.get("MYIM_SEED", "20"))
THROWN, TWINS = 93_000, 2_400  # the second in pairs, each with a look at what is one's own: a hundred thousand in all, or more
LOOKS = ("online", "friends", "requests", "blocked", "sync")
AT_ONCE = 64
GHOST = 0x0BADC0DE0BADC0DE
GHOST_GROUP = 0x0BADC0DE0BADC0DF


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    many = 1_000_000
    silence = {"idle_ping_seconds": 1_000, "idle_close_seconds": 3_000}  # the citizens say nothing for as long as all this takes
    pace = {"requests_per_second": many, "messages_per_second": many, **silence}
    budgets = {"searches_per_minute": many, "asks_per_minute": many, "profiles_per_minute": many, "grace_seconds": 0.3}
    node = start_node(tmp_path / "data", center=pace, friends=budgets, groups={"invites_per_minute": many})
    yield node
    node.stop()


class Mallory:
    """A hostile user's terminal, which comes back whenever it was sent away; `judge` sees all it gets."""

    def __init__(self, town: HostileTown, name: str) -> None:
        self.town = town
        self.person = town.hostile[name]
        self.number = 10
        self.said = self.came = self.refused = 0
        self.unseen = {town.user(one) for one in ("bobby", "carol", "ivan", "ivor")}
        self.ids = [town.user(one).to_bytes(8, "big") for one in ("alice", "bobby", "carol", "norah")]
        self.terminal = self._connect()

    def _connect(self) -> RawTerminal:
        self.number += 1
        terminal = RawTerminal(self.town.node, self.person, self.number)
        terminal.hears_of_groups = True
        terminal.fetch()
        return terminal

    def say(self, *messages: bytes) -> bool:
        """One record, and all that comes until a PING behind it is answered; False if the session ended by it."""
        try:
            self.terminal.say(*messages, PING_ASK)
            self.terminal.wait_for(lambda message: message.command == Command.PING)
        except (EOFError, OSError):
            self.terminal.close()
            self.judge_all()
            self.terminal = self._connect()
            return False
        return True

    def wait_for_the_store(self) -> None:
        """Until what was asked before is answered: the store's only writer takes one thing after the other."""
        try:
            self.terminal.ask(Command.FRIEND_CHANGE, Unblock(GHOST).encode())
        except (EOFError, OSError):
            self.terminal = self._connect()

    def judge_all(self) -> None:
        """Look at what came."""
        came, self.terminal.inbox = self.terminal.inbox, []
        for message in came:
            self.judge(message)

    def judge(self, message: Message) -> None:
        """Nothing of others, nothing in others' names."""
        self.came += 1
        command, flags, content = message.command, message.flags, message.content
        assert message.user in (0, self.person.user), message
        assert SECRET.encode() not in content, message
        if flags & ERROR:
            self.refused += 1
            assert not any(one in content for one in self.ids), message
        elif command == Command.FRIENDS_ONLINE:
            assert OnlinePage.decode(content).online == ()
        elif command == Command.RECEIPT:
            assert not {target for target, _ in decode_pairs(content)[1]} & self.unseen, message
        elif flags & REPLY:
            assert message.target != self.town.group, message
        else:
            assert command not in (Command.PRESENCE, Command.USER_MESSAGE, Command.GROUP_MESSAGE, Command.ACCOUNT), message
            assert message.target != self.town.group, message
            assert self.town.group.to_bytes(8, "big") not in content, message


def throw_all(mallory: Mallory) -> None:
    """Commands at random."""
    town = mallory.town
    users = [person.user for person in town.people.values()] + [GHOST]
    dice = Dice(SEED, (mallory.person.user, mallory.person.slot), users, [*town.people, "nobody"], [town.group, GHOST_GROUP])
    while mallory.said < THROWN:
        record = []
        for _ in range(AT_ONCE):
            said = dice.throw()
            stamp = mallory.terminal.name() & ~63 | said.slot
            try:
                record.append(encode_message(said.command, said.flags, said.user, said.target, stamp, said.content))
            except LocalProtocolError:  # flags that no message can have
                continue
            mallory.said += 1
        mallory.say(*record)
        mallory.wait_for_the_store()
        mallory.judge_all()


class Trudy(Mallory):
    """Asks twice."""

    def __init__(self, town: HostileTown) -> None:
        super().__init__(town, "trudy")
        self.dice = random.Random(SEED)
        named = self.terminal.ask(Command.GROUP, Create(WORD).encode())
        self.own_group = GroupState.decode(named.content).group
        self.pairs = 0
        self.differing: list[str] = []

    def ask_all(self, throwing: gevent.Greenlet[..., None]) -> None:
        """Pairs, until there are enough and the other has thrown all."""
        while self.pairs < TWINS or not throwing.ready():
            self.ask(*self._twins())
            self.pairs += 1
            self.said += 1
            command, make = ABOUT_ONESELF[self.dice.choice(LOOKS)]
            self.judge(self.terminal.ask(command, make(self.dice, Named(GHOST, "", 0, 0))))
            self.judge_all()

    def _twins(self) -> tuple[str, Command, list[Said]]:
        """What is asked, and of whom."""
        way = self.dice.randrange(10)
        nobody = Named(0, "", 0, 0)
        if way < 2:
            kind = self.dice.choice(list(ABOUT_GROUPS))
            one, two = (nobody._replace(group=group, user=self.person.user) for group in (self.town.group, GHOST_GROUP))
            return self._pair(kind, ABOUT_GROUPS[kind], one, two, "group")
        if way == 2:
            kind = self.dice.choice(list(ABOUT_SLOTS))
            slots = [slot for slot in (0, 1, 2, 3, 40) if slot != self.person.slot]
            return self._pair(kind, ABOUT_SLOTS[kind], nobody._replace(slot=slots[0]), nobody._replace(slot=slots[-1]), "")
        names = self.dice.choice((("bobby", "ghost"), ("carol", "norah"), ("ivan", "nina"), ("ivor", "nell")))
        users = [GHOST if name == "ghost" else self.town.user(name) for name in names]
        one, two = (Named(user, name, self.own_group, 0) for user, name in zip(users, names, strict=True))
        is_in_group = way == 3
        kinds = ("approve", "decline", "remove", "role", "hand_over", "mute", "invite") if is_in_group else tuple(ABOUT_USERS)
        unasked = {"receipt"} | ({*KNOWN_TO_EXIST, "invite"} if GHOST in users else set()) | ({"remove"} if names[0] == "ivan" else set())
        if is_in_group:
            unasked.discard("remove")
        kind = self.dice.choice([kind for kind in kinds if kind not in unasked])
        made = ABOUT_GROUPS[kind] if is_in_group else ABOUT_USERS[kind]
        return self._pair(f"{kind} {names}", made, one, two, "group" if is_in_group else "message" if kind == "message" else "")

    def _pair(self, kind: str, made: tuple[Command, Make], one: Named, two: Named, to: str) -> tuple[str, Command, list[Said]]:
        command, make = made
        flags = QOS1 | FIRST if command in (Command.USER_MESSAGE, Command.GROUP_MESSAGE) else QOS1
        seed = self.dice.getrandbits(32)
        saids = []
        for it in (one, two):
            target = it.group if to == "group" else it.user if to == "message" else 0
            saids.append(Said(command, flags, self.person.user, target, self.person.slot, make(random.Random(seed), it), it))
        return kind, command, saids

    def ask(self, kind: str, command: Command, saids: list[Said]) -> None:
        """Both at once, in any order; their answers must be the same but for ids, names and times."""
        stamps = [self.terminal.name() for _ in saids]
        messages = [
            encode_message(command, said.flags, said.user, said.target, stamp, said.content)
            for said, stamp in zip(saids, stamps, strict=True)
        ]
        self.dice.shuffle(messages)
        self.said += 2
        self.terminal.say(*messages)
        answers = [self.terminal.wait_for(lambda one, stamp=stamp: one.time == stamp and one.flags & REPLY > 0) for stamp in stamps]  # type: ignore[misc]
        plain = [_plain(answer, said) for answer, said in zip(answers, saids, strict=True)]
        if plain[0] != plain[1]:
            self.differing.append(f"{kind}: {plain[0]!r} {plain[1]!r}")
        for answer in answers:
            self.judge(answer)


def _plain(answer: Message, said: Said) -> tuple[object, ...]:
    """An answer without what differs for whoever asks: the version of the asker's own list and group, which two changes in a row raise."""
    assert answer.target == said.target
    content: object = answer.content.replace(said.about.user.to_bytes(8, "big"), b"id").replace(said.about.name.encode() or b"\0", b"name")
    if not answer.flags & ERROR and answer.command == Command.FRIEND_CHANGE:
        content = type(Changed.decode(answer.content))
    elif not answer.flags & ERROR and answer.command == Command.GROUP:
        content = dataclasses.replace(GroupState.decode(answer.content), version=0)
    elif answer.flags & ERROR:
        content = decode_error(answer.content)
    return answer.command, answer.flags, content


def live(town: HostileTown, is_over: gevent.event.Event) -> int:
    """The others have their lives meanwhile; how many letters alice wrote to bobby."""
    alice = town.citizens["alice"]
    letters = 0
    while not is_over.wait(0.1):
        alice.write(town.user("bobby"), f"{SECRET} live {letters}".encode())
        letters += 1
        alice.say(
            encode_message(Command.PRESENCE, QOS1, alice.person.user, 0, alice.name(), SetPresence("away", f"{SECRET} {letters}").encode())
        )
    return letters


def check_heard(town: HostileTown, name: str, citizen: Citizen) -> None:
    """Nothing came in another's name, and nothing at all from who is blocked."""
    hostile = {person.user for person in town.hostile.values()}
    friends = {"alice": ("bobby", "carol"), "bobby": ("alice",), "carol": ("alice",), "ivan": ("trudy",), "ivor": ()}[name]
    for message in citizen.heard:
        command, body = message.command, message.content
        assert command != Command.GOODBYE, (name, message)
        if message.flags & REPLY:
            continue
        if command in (Command.USER_MESSAGE, Command.GROUP_MESSAGE):
            assert (SECRET.encode() in body) == (message.user not in hostile), (name, message)
            assert message.user not in hostile or (name != "carol" and command == Command.USER_MESSAGE), (name, message)
        elif command == Command.PRESENCE:
            assert {one.user for one in PresenceChanged.decode(body).changes} <= {town.user(friend) for friend in friends}, (name, message)
        elif command == Command.FRIEND_CHANGE:
            push = decode_friend_push(body)
            assert push.event in ("asked", "withdrawn") and push.user in hostile, (name, push)
            assert name not in ("bobby", "carol"), (name, push)
        elif command == Command.GROUP:
            told = decode_group_push(body)
            if isinstance(told, GroupBehind):  # of the five posts that were there before, and not one more
                assert told == GroupBehind(town.group, POSTS), (name, told)
            else:
                assert isinstance(told, GroupChanged) and told.actor in hostile and told.group != town.group, (name, told)
        elif command == Command.ACCOUNT:  # her own other terminals, of which she is told until she says that they are hers
            assert name == "alice" and decode_account_push(body).slot in (1, 2), (name, message)
        else:
            assert command in (Command.RECEIPT, Command.PING), (name, message)


def test_a_hostile_user_learns_nothing_tells_nobody_anything_in_other_names_and_changes_nothing(node: Node) -> None:
    town = HostileTown(node)
    mallory, trudy = Mallory(town, "mallory"), Trudy(town)
    for citizen in town.citizens.values():
        citizen.heard.clear()
    before = town.state()
    over = gevent.event.Event()
    life = gevent.spawn(live, town, over)
    throwing = gevent.spawn(throw_all, mallory)
    trudy.ask_all(throwing)
    throwing.get()
    over.set()
    letters = life.get()
    assert trudy.differing == []
    bob = town.citizens["bobby"]
    wait_until(lambda: sum(one.command == Command.USER_MESSAGE and one.user == town.user("alice") for one in bob.heard) == letters)
    bodies = [one.content[:-24] for one in bob.heard if one.command == Command.USER_MESSAGE and one.user == town.user("alice")]
    assert bodies == [f"{SECRET} live {number}".encode() for number in range(letters)]
    for name, citizen in town.citizens.items():
        check_heard(town, name, citizen)
    store = node.store
    assert store is not None
    wait_until(lambda: not store.offline.targets_with_rows([town.user("bobby")]))
    after = town.state()
    assert {name: set(before[name]) ^ set(rows) for name, rows in after.items() if rows != before[name]} == {}
    assert mallory.refused > mallory.said // 20 and mallory.came > mallory.said // 5  # most was looked at, and answered
    assert not node.metrics.store_failures
    assert mallory.said + trudy.said >= 100_000
    print(f"{mallory.said} thrown, {mallory.came} came, {mallory.refused} refused, {trudy.pairs} pairs, seed {SEED}")
