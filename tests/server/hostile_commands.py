"""Commands that a hostile terminal says: of every kind, well-formed and malformed, about users, groups, slots and names of others.

What lives here: the dice. What must not: connections, and what must come of it. The same seed says the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgpack

from myim_wire import account_contents as account
from myim_wire import friend_requests as friends
from myim_wire import group_requests as groups
from myim_wire.contents import encode_lookup
from myim_wire.group_contents import encode_group_fetch
from myim_wire.messages import FIRST, QOS1, REPLY, Command, encode_pairs
from myim_wire.presence_contents import AskOnline, SetPresence

WORD = "hostile words"
Make = Callable[[random.Random, "Named"], bytes]


class Named(NamedTuple):
    """Whom and what a command is about."""

    user: int
    name: str
    group: int
    slot: int


def _text(dice: random.Random) -> str:
    return dice.choice(("", WORD, WORD * 9, "\x00", "é" * 30))


# What is about a user: (command, the content). Those after KNOWN_TO_EXIST tell who has an id whether it is anybody's, as the page allows.
ABOUT_USERS: dict[str, tuple[Command, Make]] = {
    "ask": (Command.FRIEND_CHANGE, lambda dice, it: friends.Ask(it.user, _text(dice)).encode()),
    "accept": (Command.FRIEND_CHANGE, lambda dice, it: friends.Accept(it.user, dice.choice((0, 0, 1, 9))).encode()),
    "refuse": (Command.FRIEND_CHANGE, lambda dice, it: friends.Refuse(it.user).encode()),
    "ignore": (Command.FRIEND_CHANGE, lambda dice, it: friends.Ignore(it.user).encode()),
    "withdraw": (Command.FRIEND_CHANGE, lambda dice, it: friends.Withdraw(it.user).encode()),
    "remove": (Command.FRIEND_CHANGE, lambda dice, it: friends.RemoveFriend(it.user).encode()),
    "unblock": (Command.FRIEND_CHANGE, lambda dice, it: friends.Unblock(it.user).encode()),
    "remark": (Command.FRIEND_CHANGE, lambda dice, it: friends.Remark(it.user, dice.choice(("", WORD))).encode()),
    "move": (Command.FRIEND_CHANGE, lambda dice, it: friends.MoveFriend(it.user, dice.choice((0, 0, 7))).encode()),
    "profiles": (Command.SIGNATURE, lambda dice, it: friends.GetProfiles((it.user,)).encode()),
    "search id": (Command.FRIENDS, lambda dice, it: friends.Search(str(it.user)).encode()),
    "search name": (Command.FRIENDS, lambda dice, it: friends.Search(it.name[: dice.choice((3, 9))]).encode()),
    "name": (Command.LOOKUP, lambda dice, it: encode_lookup(it.name)),
    "receipt": (Command.RECEIPT, lambda dice, it: encode_pairs(1, [(it.user, 64)])),
    "block": (Command.FRIEND_CHANGE, lambda dice, it: friends.Block(it.user).encode()),
    "id": (Command.LOOKUP, lambda dice, it: encode_lookup(it.user)),
    "message": (Command.USER_MESSAGE, lambda dice, it: WORD.encode()),
}
KNOWN_TO_EXIST = ("block", "id", "message")
ABOUT_GROUPS: dict[str, tuple[Command, Make]] = {
    **{
        type_.op: (Command.GROUP, lambda dice, it, make=type_: make().encode())  # type: ignore[misc]
        for type_ in (groups.Join, groups.Leave, groups.Dissolve, groups.Describe, groups.ListMembers, groups.ListPending)
    },
    **{
        type_.op: (Command.GROUP, lambda dice, it, make=type_: make(it.user).encode())  # type: ignore[misc]
        for type_ in (groups.Approve, groups.Decline, groups.Remove, groups.HandOver)
    },
    "role": (Command.GROUP, lambda dice, it: groups.SetRole(it.user, "admin").encode()),
    "mute": (Command.GROUP, lambda dice, it: groups.Mute(it.user, dice.choice((0, 60))).encode()),
    "change": (Command.GROUP, lambda dice, it: groups.Change(name=WORD).encode()),
    "invite": (Command.GROUP, lambda dice, it: groups.Invite((it.user,)).encode()),
    "fetch": (Command.OFFLINE_FETCH, lambda dice, it: encode_group_fetch(dice.choice((0, 3)))),
    "post": (Command.GROUP_MESSAGE, lambda dice, it: WORD.encode()),
}
ABOUT_SLOTS: dict[str, tuple[Command, Make]] = {
    "rename": (Command.ACCOUNT, lambda dice, it: account.RenameTerminal(it.slot, WORD).encode()),
    "revoke": (Command.ACCOUNT, lambda dice, it: account.RevokeTerminal(it.slot).encode()),
    "acknowledge": (Command.ACCOUNT, lambda dice, it: account.Acknowledge(it.slot).encode()),
}
ABOUT_ONESELF: dict[str, tuple[Command, Make]] = {
    "sync": (Command.FRIENDS, lambda dice, it: friends.Sync(dice.randrange(5), dice.randbytes(32)).encode()),
    "friends": (Command.FRIENDS, lambda dice, it: friends.ListFriends(dice.randrange(3), it.user & dice.choice((0, -1))).encode()),
    "requests": (Command.FRIENDS, lambda dice, it: friends.ListRequests(it.user & dice.choice((0, -1))).encode()),
    "blocked": (Command.FRIENDS, lambda dice, it: friends.ListBlocked(it.user & dice.choice((0, -1))).encode()),
    "add_group": (Command.FRIEND_CHANGE, lambda dice, it: friends.AddGroup(WORD, dice.randrange(9)).encode()),
    "remove_group": (Command.FRIEND_CHANGE, lambda dice, it: friends.RemoveGroup(dice.randrange(9)).encode()),
    "set": (Command.SIGNATURE, lambda dice, it: friends.SetProfile(signature=_text(dice)).encode()),
    "online": (Command.FRIENDS_ONLINE, lambda dice, it: AskOnline(it.user & dice.choice((0, -1))).encode()),
    "presence": (Command.PRESENCE, lambda dice, it: SetPresence(dice.choice(("online", "invisible")), _text(dice)).encode()),
    "create": (Command.GROUP, lambda dice, it: groups.Create(WORD, invited=(it.user,)).encode()),
    "list": (Command.GROUP, lambda dice, it: groups.ListGroups().encode()),
    "terminals": (Command.ACCOUNT, lambda dice, it: account.ListTerminals().encode()),
    "logins": (Command.ACCOUNT, lambda dice, it: account.ListLogins().encode()),
    "export": (Command.ACCOUNT, lambda dice, it: account.Export(dice.choice((0, 0, 1))).encode()),
    "receipt of posts": (Command.RECEIPT, lambda dice, it: encode_pairs(2, [(it.group, 3)])),
    "servers": (Command.SERVERS, lambda dice, it: b""),
    "fetch all": (Command.OFFLINE_FETCH, lambda dice, it: b""),
    "token": (Command.TOKEN, lambda dice, it: b""),
}
EVERYTHING = {**ABOUT_USERS, **ABOUT_GROUPS, **ABOUT_SLOTS, **ABOUT_ONESELF}
_SELDOM = frozenset({"create", "export", "token", "set"})  # 1 in so many of the others: they are dear, or fill what is limited
_RECEIPTS = (Command.RECEIPT,)


class Said(NamedTuple):
    """One message of the hostile terminal, to be encoded."""

    command: int
    flags: int
    user: int
    target: int
    slot: int
    content: bytes
    about: Named


class Dice:
    """Throws commands of `me`, who has this slot, about these users, names, groups and slots."""

    def __init__(self, seed: int, me: tuple[int, int], users: Sequence[int], names: Sequence[str], group_ids: Sequence[int]) -> None:
        self.random = random.Random(seed)
        self._me, self._slot = me
        self._users, self._names, self._groups = users, names, group_ids
        self._slots = [slot for slot in range(64) if slot != self._slot]
        self._kinds = [kind for kind in EVERYTHING for _ in range(1 if kind in _SELDOM else 40)]

    def named(self) -> Named:
        """Somebody and something."""
        dice = self.random
        return Named(dice.choice(self._users), dice.choice(self._names), dice.choice(self._groups), dice.choice(self._slots))

    def throw(self) -> Said:
        """One in six is sound; the others are of another's, or malformed, or nothing at all."""
        dice, it = self.random, self.named()
        kind = dice.choice(self._kinds)
        command, make = EVERYTHING[kind]
        content = make(dice, it)
        target = it.user if command == Command.USER_MESSAGE else it.group if kind in ABOUT_GROUPS else 0
        flags = 0 if command in _RECEIPTS else QOS1 | FIRST if command in (Command.USER_MESSAGE, Command.GROUP_MESSAGE) else QOS1
        said = Said(command, flags, self._me, target, self._slot, content, it)
        fault = dice.randrange(40)
        if fault < 9:
            return said._replace(user=dice.choice(self._users))
        if fault < 15:
            return said._replace(slot=dice.choice(self._slots))
        if fault < 24:
            return said._replace(content=self._broken(content))
        if fault < 29:
            return said._replace(target=dice.choice((it.user, it.group, 0, self._me)))
        if fault < 31:
            return said._replace(flags=dice.choice((0, QOS1, FIRST, QOS1 | FIRST, REPLY, REPLY | QOS1)))
        if fault < 33:
            return said._replace(command=dice.choice(list(_SAFE)))
        if fault == 33 and dice.randrange(80) == 0:
            return said._replace(command=dice.choice((0x04, 0x10, 0x3F, int(Command.GOODBYE), int(Command.REKEY))))
        return said

    def _broken(self, content: bytes) -> bytes:
        dice, way = self.random, self.random.randrange(5)
        if way == 0:
            return content[: dice.randrange(len(content) + 1)]
        if way == 1:
            return content + dice.randbytes(dice.randrange(1, 9))
        if way == 2 and content:
            place = dice.randrange(len(content))
            return content[:place] + dice.randbytes(1) + content[place + 1 :]
        if way == 3:
            return dice.randbytes(dice.randrange(60))
        return bytes(msgpack.packb({dice.choice(("op", "user", "users", "slot")): self._anything(2), "op": dice.choice(list(EVERYTHING))}))

    def _anything(self, depth: int) -> Any:
        dice = self.random
        choices: list[Any] = [
            dice.getrandbits(64),
            -1,
            None,
            True,
            1.5,
            "x" * dice.randrange(300),
            dice.randbytes(9),
            dice.choice(self._users),
        ]
        return [self._anything(depth - 1)] * dice.randrange(4) if depth and dice.randrange(2) else dice.choice(choices)


_SAFE = frozenset(int(command) for command, _ in EVERYTHING.values())
