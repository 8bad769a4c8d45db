"""Groups in the console: how they are called, what `/group` does, and the lines that tell what happened in one.

Nothing here prints by itself or knows which group one talks to (`console_chat`); the words for refusals are in `console_words`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from myim_client.addresses import typed_number
from myim_client.client import Client
from myim_client.errors import RequestRefused
from myim_client.events import GroupChangeArrived
from myim_client.printable import printable
from myim_client.terminal import fold_name
from myim_wire.errors import ErrorCode
from myim_wire.group_contents import GroupState
from myim_wire.group_requests import JOINS, JoinRule, SettableRole

GROUP_COMMANDS = {
    "/group create NAME [open|approval|invitation]": "make a group; the last word says how one joins (by invitation)",
    "/group list": "your groups, invitations and requests",
    "/group join #ID [WORDS]": "join, accept an invitation, or ask to be let in",
    "/group leave [#GROUP]": "leave the group (the one you talk to), or turn its invitation down",
    "/group invite NAME…": "invite people",
    "/group pending": "who is invited, and who asks to be let in",
    "/group approve NAME": "let in who asked",
    "/group decline NAME": "turn a request down, or take an invitation back",
    "/group members": "who is in it",
    "/group remove NAME": "put somebody out",
    "/group role NAME admin|member": "make an admin of somebody, or a plain member",
    "/group handover NAME": "make somebody else the owner",
    "/group mute NAME SECONDS": "let somebody say nothing for so long; 0 ends it",
    "/group muteall on|off": "let only owner and admins speak, or all again",
    "/group rename NEW NAME": "give it another name",
    "/group describe TEXT": "say what it is for",
    "/group dissolve": "end it, for all",
}
_MEMBERS = ("owner", "admin", "member")


class GroupNames:
    """What groups are called here: #NAME where only one of that name is known, else #ID. Names of groups one has left are remembered."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._names: dict[int, str] = {}

    def label(self, group: int) -> str:
        """What to show for a group."""
        states = self._client.groups.known()
        self._names.update((state.group, state.name) for state in states)
        name = self._names.get(group, "")
        is_alone = not any(state.group != group and fold_name(state.name) == fold_name(name) for state in states)
        return f"#{printable(name)}" if name and is_alone else f"#{group}"

    def name(self, group: int) -> str | None:
        """The name of a group, None where it is not known."""
        self._names.update((state.group, state.name) for state in self._client.groups.known())
        return self._names.get(group)

    def labels(self) -> list[str]:
        """What can be typed after /to."""
        return sorted(self.label(state.group) for state in self._client.groups.known() if state.role in _MEMBERS)

    def is_member(self, group: int) -> bool:
        """Whether the user is in a group; asks the center where that is not known here. Raises MyimError."""
        known = any(state.group == group and state.role in _MEMBERS for state in self._client.groups.known())
        return known or self._client.groups.describe(group).role in _MEMBERS

    def find(self, called: str) -> int:
        """The id of #NAME or #ID; ValueError if there is none, or more than one, of that name."""
        name = called.removeprefix("#").strip()
        folded = fold_name(name)
        states = self._client.groups.known()
        found = [state.group for state in states if fold_name(state.name) == folded]
        group = typed_number(name, below=1 << 64)
        if group and (not found or any(state.group == group for state in states)):
            return group
        if len(found) > 1:
            raise ValueError(f"several groups are called {name}: " + ", ".join(f"#{group}" for group in found))
        if not found:
            raise ValueError(f"no group here is called {name}; /group list says which there are")
        return found[0]


class GroupConsole:
    """Does what `/group` says; `say` prints a line, `people` gives the name of a user to show."""

    def __init__(self, client: Client, names: GroupNames, say: Callable[[str], None], people: Callable[[int], str]) -> None:
        self._client = client
        self._groups = client.groups
        self._names = names
        self._say = say
        self._people = people
        self._commands: dict[str, Callable[[int, str], GroupState | None]] = {
            "leave": lambda group, _: self._leave(group),
            "invite": self._invite,
            "pending": self._pending,
            "approve": lambda group, who: self._groups.approve(group, self._user(who)),
            "decline": lambda group, who: self._groups.decline(group, self._user(who)),
            "members": self._members,
            "remove": lambda group, who: self._groups.remove(group, self._user(who)),
            "role": self._role,
            "handover": lambda group, who: self._groups.hand_over(group, self._user(who)),
            "mute": self._mute,
            "muteall": self._mute_all,
            "rename": lambda group, name: self._groups.change(group, name=_needed(name)),
            "describe": lambda group, text: self._groups.change(group, description=text),
            "dissolve": self._dissolve,
        }

    def act(self, line: str, group: int | None) -> int | None:
        """Do what stands after /group, in `group` where it needs one; the group to talk to from then on, if that follows.

        Raises ValueError (with what to type), MyimError.
        """
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        try:
            if word == "create":
                return self._create(rest)
            if word == "join":
                return self._join(rest)
            if word == "list" and not rest:
                self._list()
                return None
            command = self._commands.get(word)
            if command is None:
                self.help()
                return None
            if word == "leave" and rest:
                group = self._names.find(rest)
            if group is None:
                raise ValueError("in which group? /to #NAME")
            state = command(group, rest)
        except _Wrong:
            raise ValueError("type " + next(usage for usage in GROUP_COMMANDS if usage.split()[1] == word)) from None
        if state is not None:
            self._say(f"* done in {self._names.label(group)}")
        return None

    def help(self) -> None:
        """Say what there is."""
        width = max(map(len, GROUP_COMMANDS))
        for command, meaning in GROUP_COMMANDS.items():
            self._say(f"  {command:{width}} {meaning}")

    def _user(self, name: str) -> int:
        if not name or " " in name:
            raise _Wrong
        return self._client.user_id(name)

    def _create(self, rest: str) -> int:
        name, _, join = rest.rpartition(" ")
        if join not in JOINS or not name:
            name, join = rest, "invitation"
        state = self._groups.create(_needed(name.strip()), join=cast(JoinRule, join))
        self._say(f"* made {self._names.label(state.group)} (#{state.group}); what you type goes to it")
        return state.group

    def _join(self, rest: str) -> int | None:
        called, _, words = rest.partition(" ")
        try:
            group = self._names.find(_needed(rest))  # of a name with blanks
            words = ""
        except ValueError:
            group = self._names.find(called)
        state = self._groups.join(group, words.strip())
        if state.role not in _MEMBERS:
            self._say(f"* you have asked to be let into {self._names.label(group)}")
            return None
        self._say(f"* you are in {self._names.label(group)}; what you type goes to it")
        return group

    def _list(self) -> None:
        states = self._groups.mine()
        for state in states:
            self._say(f"  {self._names.label(state.group)} (#{state.group}): {_described(state)}")
        if not states:
            self._say("none yet; /group create NAME makes one")

    def _leave(self, group: int) -> GroupState:
        try:
            return self._groups.leave(group)
        except RequestRefused as refusal:
            own = any(state.group == group and state.role == "owner" for state in self._groups.known())
            if refusal.code != ErrorCode.NOT_ALLOWED or not own:
                raise
            raise ValueError("it is yours: first /group handover NAME, or end it with /group dissolve") from None

    def _dissolve(self, group: int, rest: str) -> GroupState:
        _no_more(rest)  # who names another group means that one, and this cannot be undone
        return self._groups.dissolve(group)

    def _invite(self, group: int, names: str) -> GroupState:
        return self._groups.invite(group, [self._client.user_id(name) for name in _needed(names).split()])

    def _pending(self, group: int, rest: str) -> None:
        _no_more(rest)
        found = list(self._groups.pending(group))
        self._client.learn_names([user for one in found for user in (one.user, one.by) if user])
        for one in found:
            words = f": {printable(one.words)}" if one.words else ""
            told = f"asks to be let in{words}" if one.kind == "requested" else f"is invited by {self._people(one.by)}"
            self._say(f"  {self._people(one.user)} {told}")
        if not found:
            self._say("nobody")

    def _members(self, group: int, rest: str) -> None:
        _no_more(rest)
        found = list(self._groups.members(group))
        self._client.learn_names(member.user for member in found)
        for member in found:
            self._say(f"  {self._people(member.user)}{'' if member.role == 'member' else ', ' + member.role}")

    def _role(self, group: int, rest: str) -> GroupState:
        name, _, role = rest.rpartition(" ")
        if role not in ("admin", "member"):
            raise _Wrong
        return self._groups.set_role(group, self._user(name.strip()), cast(SettableRole, role))

    def _mute(self, group: int, rest: str) -> GroupState:
        name, _, seconds = rest.rpartition(" ")
        number = typed_number(seconds, below=1 << 32)
        if number is None:
            raise _Wrong
        return self._groups.mute(group, self._user(name.strip()), number)

    def _mute_all(self, group: int, rest: str) -> GroupState:
        if rest not in ("on", "off"):
            raise _Wrong
        return self._groups.change(group, is_muted=rest == "on")


class _Wrong(Exception):
    """What was typed after the command cannot be."""


def _no_more(rest: str) -> None:
    if rest:
        raise ValueError("it is about the group you talk to, and nothing more is typed; /to #NAME changes the group")


def _needed(text: str) -> str:
    if not text:
        raise _Wrong
    return text


def _described(state: GroupState) -> str:
    if state.role == "invited":
        return f"you are invited; /group join #{state.group}, or decline it with /group leave #{state.group}"
    if state.role == "requested":
        return "you have asked to be let in"
    count = f"{state.members} member{'s' * (state.members != 1)}"
    words = [state.role, count, {"open": "open to all", "approval": "who asks is let in", "invitation": "by invitation"}[state.join]]
    return ", ".join(words + ["only owner and admins speak"] * state.is_muted + [printable(state.description)] * bool(state.description))


def change_line(event: GroupChangeArrived, own: int, label: str, people: Callable[[int], str]) -> str:
    """What a change says to people."""
    actor = "you" if event.actor == own else people(event.actor)
    user = "you" if event.user == own else people(event.user)
    is_self = event.actor == event.user
    told = {
        "created": f"{actor} made {label}",
        "joined": f"{user} joined {label}" if is_self else f"{actor} let {user} into {label}",
        "left": f"{user} left {label}",
        "removed": f"{actor} removed {user} from {label}",
        "invited": f"{actor} invited {user} to {label}" + (f"; /group join #{event.group}" if event.user == own else ""),
        "requested": f"{user} asks to be let into {label}" + ("" if event.user == own else f"; /group approve {user}"),
        "declined": f"{actor} took back what waited in {label}" if is_self else f"{actor} declined {user} in {label}",
        "role": f"{actor} gave {user} another role in {label}",
        "muted": f"{actor} changed whether {user} may speak in {label}",
        "changed": f"{actor} changed {label}",
        "dissolved": f"{actor} dissolved {label}",
    }
    return f"* {told[event.event]}"
