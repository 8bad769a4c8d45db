"""A town that a hostile user may not disturb or look into: who lives there, what only they may know, and what they hear.

What lives here: people, their secrets, terminals that listen, the store's state but for what the hostile ones did in their own names. What
must not: what the hostile ones say (`hostile_commands`), and what must hold (the tests).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import gevent
from sqlalchemy import Connection, Table, select

from myim_server.node import Node
from myim_server.store import schema
from myim_wire.friend_requests import AddGroup, Block, Remark, SetProfile
from myim_wire.group_contents import GroupsTold
from myim_wire.group_requests import Create, Invite, Join
from myim_wire.messages import QOS1, Command, Message
from myim_wire.presence_contents import SetPresence, SettableState
from tests.server.friend_terminals import Friendly
from tests.server.group_terminals import Member
from tests.server.running import Person, add_terminal, make_person, wait_until

SECRET = "unspoken"  # in every text that only friends, or members, or nobody but who wrote it may read
POSTS = 5  # in the group of alice
TABLES = {  # columns: whose row it is, and who made it; those that time changes
    schema.users: (("id",), ()),
    schema.profiles: (("user",), ()),
    schema.terminals: (("user",), ("last_seen",)),
    schema.logins: (("user",), ()),
    schema.friend_lists: (("user",), ("root", "is_stale")),  # of a list that was never asked for
    schema.friend_groups: (("user",), ("hash", "is_stale")),
    schema.friends: (("user",), ()),
    schema.friend_requests: (("user", "asker"), ()),
    schema.blocks: (("user",), ()),
    schema.chat_groups: (("owner",), ()),
    schema.group_members: (("user",), ()),
    schema.group_messages: (("user",), ()),
    schema.offline_messages: (("user",), ()),
}


class Citizen(Member):
    """A terminal that listens from now on, confirms what it is given, and keeps all of it in `heard`."""

    def __init__(self, node: Node, person: Person, state: SettableState, number: int = 2) -> None:
        self._state: SettableState = state
        super().__init__(node, person, number)
        self.heard: list[Message] = []

    def come(self) -> GroupsTold:
        """Be seen so from the start."""
        self.appear(self._state, f"{SECRET} {self._state}")
        return super().come()

    def appear(self, state: SettableState, text: str) -> None:
        """How it wants to be seen."""
        self.ask(Command.PRESENCE, SetPresence(state, text).encode())

    def listen(self) -> None:
        """For good, in a greenlet; what came before is of how the town was made."""
        self.inbox.clear()
        gevent.spawn(self._listen)

    def _listen(self) -> None:
        self.socket.settimeout(None)
        while True:
            try:
                self._read_once()
            except (EOFError, OSError):
                return
            came, self.inbox = self.inbox, []
            self.heard += came
            names = [(one.user, one.time) for one in came if one.command == Command.USER_MESSAGE and one.flags == QOS1]
            if names:
                self.confirm(*names)


class HostileTown:
    """alice is there for all to see. bobby, ivan and ivor are there and invisible, of nina and nell one knows as much, and they are absent.
    carol blocks both hostile ones; bobby and norah, who is absent, are found by nobody and asked by nobody. ivan and nina are trudy's
    friends.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.people = {name: make_person(node, name) for name in ("alice", "bobby", "carol", "norah", "ivan", "nina", "ivor", "nell")}
        self.hostile = {name: make_person(node, name) for name in ("mallory", "trudy")}
        for _ in range(2):
            add_terminal(node, self.people["alice"].user, make_key())
        self._befriend()
        assert node._role is not None
        presence = node._role.presence.hall.presence
        wait_until(lambda: not presence and not presence.is_owing)  # or friends hear later that those went who are invisible next
        seen: dict[str, SettableState] = {"alice": "busy", "bobby": "invisible", "carol": "away", "ivan": "invisible", "ivor": "invisible"}
        self.citizens = {name: Citizen(node, self.people[name], state) for name, state in seen.items()}
        self.group = self._found()
        alice, bob = self.citizens["alice"], self.citizens["bobby"]
        norah, nina = self.people["norah"].user, self.people["nina"].user
        named = [alice.write(norah, f"{SECRET} letter {number}".encode(), is_first=not number) for number in range(5)]
        for one in named:
            alice.settling_of(one)
        bob.settling_of(bob.write(nina, f"{SECRET} letter".encode()))
        for citizen in self.citizens.values():
            citizen.listen()

    def user(self, name: str) -> int:
        """The id of somebody."""
        return (self.people.get(name) or self.hostile[name]).user

    def _befriend(self) -> None:
        everybody = {**self.people, **self.hostile}
        at = {name: Friendly(self.node, everybody[name]) for name in ("alice", "bobby", "carol", "norah", "ivan", "nina", "trudy")}
        for one, other in (("alice", "bobby"), ("alice", "carol"), ("trudy", "ivan"), ("trudy", "nina")):
            at[one].befriend(at[other])
        for name in ("ivan", "nina"):
            at[name].set_profile(SetProfile(signature="hello"))
        for name in ("alice", "bobby", "carol"):
            at[name].set_profile(SetProfile(signature=f"{SECRET} signature", avatar=f"{SECRET} avatar"))
        for name in ("bobby", "norah"):
            at[name].set_profile(SetProfile(searchable="nobody", asking="nobody"))
        at["alice"].change(Remark(self.user("bobby"), f"{SECRET} remark"))
        at["alice"].change(AddGroup(f"{SECRET} friends", 1))
        for person in self.hostile.values():
            at["carol"].change(Block(person.user))
        for terminal in at.values():
            terminal.close()

    def _found(self) -> int:
        """A group that one can only be invited to."""
        alice = self.citizens["alice"]
        members = [self.citizens[name] for name in ("bobby", "carol")]
        group = alice.state(0, Create(f"{SECRET} team", f"{SECRET} plans")).group
        alice.state(group, Invite(tuple(member.person.user for member in members)))
        for member in members:
            member.state(group, Join())
        for number in range(POSTS):
            alice.number_of(alice.post(group, f"{SECRET} post {number}".encode()))
        return group

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that is in the store of others than the hostile ones, but for what these sent, asked, or invited to, as they may."""
        store = self.node.store
        assert store is not None
        hostile = {person.user for person in self.hostile.values()}

        def look(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
            return {table.name: sorted(_rows(connection, table, *columns, hostile)) for table, columns in TABLES.items()}

        return store._database.read(look)


def _rows(
    connection: Connection, table: Table[Any], owners: Iterable[str], passing: Collection[str], hostile: Collection[int]
) -> list[tuple[Any, ...]]:
    kept = [column for column in table.c if column.name not in passing]
    statement = select(*kept)
    if table is schema.friend_lists:  # a list that never had anything in it is as good as none
        statement = statement.where(table.c.version > 0)
    found = connection.execute(statement).mappings()
    return [tuple(repr(value) for value in row.values()) for row in found if not any(row[owner] in hostile for owner in owners)]


def make_key() -> bytes:
    """A terminal's private key."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.generate().private_bytes_raw()
