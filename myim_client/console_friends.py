"""What the chat says and does about friends: /friends and all that is typed about them, and the lines that tell what friends did.

What lives here: words in, words out. What must not: the prompt and the screen (`console_chat`), the words for refusals (`console_words`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from myim_client.client import Client
from myim_client.errors import MyimError
from myim_client.events import Event, FriendAccepted, FriendListChanged, FriendRequested, PresenceChanged
from myim_client.printable import printable
from myim_wire.friend_contents import Friend
from myim_wire.presence_contents import SETTABLE_STATES, SettableState

COMMANDS = {
    "/friends": "your friends, and how they are",
    "/add NAME [WORDS]": "ask to be friends",
    "/requests": "who asks to be your friend, and whom you asked",
    "/accept NAME": "be friends with who asked",
    "/refuse NAME": "turn it down; nobody is told",
    "/ignore NAME": "turn it down and hear of it no more; nobody is told",
    "/withdraw NAME": "take your own request back",
    "/unfriend NAME": "be friends no more",
    "/block [NAME]": "hear nothing of NAME any more; without NAME: who is blocked",
    "/unblock NAME": "undo that",
    "/remark NAME [TEXT]": "what you call a friend; only you see it",
    "/status STATE [TEXT]": "online, away, busy or invisible, and a word to it",
    "/signature [TEXT]": "what your friends see below your name; without TEXT: what it is, with -: nothing any more",
    "/find TEXT": "look for users: a name, its first letters, or an id",
}
_OF_A_USER = ("/add", "/accept", "/refuse", "/ignore", "/withdraw", "/unfriend", "/block", "/unblock", "/remark")
_MOST_LINES = 5


class FriendTalk:
    """What is typed about friends in the chat, and what is told of them. `say` prints a line, `people` gives the name of a user to show."""

    def __init__(self, client: Client, say: Callable[[str], None], people: Callable[[int], str]) -> None:
        self._client = client
        self._friends = client.friends
        self._say = say
        self._people = people
        self._known = self._listed()
        self._requesters: set[int] = set()  # whose open requests were told
        self.words: dict[str, Callable[[str], None]] = {
            "/friends": self._list, "/add": self._add, "/requests": self._requests, "/block": self._block, "/remark": self._remark,
            "/status": self._status, "/signature": self._signature, "/find": self._find,
            "/accept": self._done(self._friends.accept, "/accept"),
            "/refuse": self._done(self._friends.refuse, "/refuse"),
            "/ignore": self._done(self._friends.ignore, "/ignore"),
            "/withdraw": self._done(self._friends.withdraw, "/withdraw"),
            "/unfriend": self._done(self._friends.remove, "/unfriend"),
            "/unblock": self._done(self._friends.unblock, "/unblock"),
        }  # fmt: skip

    def lines(self, events: Iterable[Event]) -> list[str]:
        """What these events say of friends; many that came at once become one line."""
        requests: list[str] = []
        changes: list[str] = []
        presences: dict[int, PresenceChanged] = {}
        for event in events:
            if isinstance(event, FriendRequested):
                self._requesters.add(event.user)
                requests.append(self._request_line(event.user, event.words))
            elif isinstance(event, FriendAccepted):
                requests.append(f"* {self._people(event.user)} accepted to be your friend")
            elif isinstance(event, FriendListChanged):
                changes += self._list_changed()
            elif isinstance(event, PresenceChanged) and event.state != "unknown":
                presences[event.user] = event
        if len(changes) > _MOST_LINES:
            changes = [f"* {len(self._known)} friends, {len(changes)} of them changed; /friends lists them"]
        if len(presences) > _MOST_LINES:
            seen = [f"{self._people(one.user)} {one.state}" for one in presences.values()]
            return requests + changes + [f"* {', '.join(seen[:_MOST_LINES])} and {len(seen) - _MOST_LINES} more; /friends lists them"]
        return requests + changes + [self._presence_line(one) for one in presences.values()]

    def requests_meanwhile(self) -> list[str]:
        """The lines for who asked while this chat heard of nothing, each once; asks the center, and has none if that does not answer."""
        try:
            incoming, _ = self._friends.requests()
        except MyimError:
            return []
        asking = [one for one in incoming if not one.is_ignored]
        fresh = [one for one in asking if one.user not in self._requesters]
        self._requesters = {one.user for one in asking}
        if len(fresh) > _MOST_LINES:
            return [f"* {len(fresh)} people ask to be your friends; /requests lists them"]
        return [self._request_line(one.user, one.words) for one in fresh]

    def _request_line(self, user: int, words: str) -> str:
        who, said = self._people(user), f": {printable(words)}" if words else ""
        return f"* {who} asks to be your friend{said}; /accept {who}, /refuse {who} or /ignore {who}"

    def _presence_line(self, event: PresenceChanged) -> str:
        text = f": {printable(event.text)}" if event.text else ""
        return f"* {self._people(event.user)} is {event.state}{text}"

    def _list_changed(self) -> list[str]:
        old, self._known = self._known, self._listed()
        lines: list[str] = []
        for user, friend in self._known.items():
            before = old.get(user)
            if before is None:
                lines.append(f"* {printable(friend.name)} is your friend now")
            elif before.signature != friend.signature:
                what = f"has a new signature: {printable(friend.signature)}" if friend.signature else "has no signature any more"
                lines.append(f"* {printable(friend.name)} {what}")
            elif before.display_name != friend.display_name:
                lines.append(f"* {printable(friend.name)} has another display name: {printable(friend.display_name) or 'none'}")
        gone = [friend for user, friend in old.items() if user not in self._known]
        return lines + [f"* {printable(friend.name)} is not your friend any more" for friend in gone]

    def _listed(self) -> dict[int, Friend]:
        return {friend.user: friend for friend in self._friends.list()}

    # what is typed

    def _user(self, name: str, usage: str) -> int:
        if not name or " " in name:
            raise ValueError("type " + next(command for command in COMMANDS if command.split()[0] == usage))
        return self._client.user_id(name)

    def _done(self, act: Callable[[int], None], usage: str) -> Callable[[str], None]:
        def do(name: str) -> None:
            act(self._user(name, usage))
            self._say("* done")

        return do

    def _list(self, _: str) -> None:
        shown: int | None = None
        names = {group.id: group.name for group in self._friends.groups()}
        for friend in self._friends.list():
            if friend.group != shown and len(names) > 1:
                self._say(f"{printable(names.get(friend.group, '')) or 'in no group'}:")  # which may have gone just now
            shown = friend.group
            self._say(self._friend_line(friend))
        if shown is None:
            self._say("none yet; /add NAME asks somebody")

    def _friend_line(self, friend: Friend) -> str:
        state, text = self._friends.presence_of(friend.user)
        also = ", ".join(printable(name) for name in (friend.remark, friend.display_name) if name)
        status = f": {printable(text)}" if text else ""
        signature = f" — {printable(friend.signature)}" if friend.signature else ""
        return f"  {printable(friend.name)}{f' ({also})' if also else ''}, {state}{status}{signature}"

    def _add(self, rest: str) -> None:
        name, _, words = rest.partition(" ")
        user = self._user(name, "/add")
        if self._friends.get(user) is not None:
            self._say(f"* {self._people(user)} is your friend already")
            return
        self._friends.ask(user, words.strip())
        if self._friends.get(user) is None:
            self._say(f"* {self._people(user)} is asked")

    def _requests(self, _: str) -> None:
        incoming, outgoing = self._friends.requests()
        for request in incoming:
            words = f": {printable(request.words)}" if request.words else ""
            self._say(f"  {printable(request.name)} asks{words}{' (ignored)' if request.is_ignored else ''}")
        for made in outgoing:
            self._say(f"  you asked {printable(made.name)}")
        if not incoming and not outgoing:
            self._say("none")

    def _block(self, name: str) -> None:
        if name:
            self._friends.block(self._user(name, "/block"))
            self._say("* done")
            return
        blocked = [printable(one.name) for one in self._friends.blocked()]
        self._say(" ".join(blocked) or "nobody is blocked")

    def _remark(self, rest: str) -> None:
        name, _, remark = rest.partition(" ")
        self._friends.remark(self._user(name, "/remark"), remark.strip())
        self._say("* done")

    def _status(self, rest: str) -> None:
        state, _, text = rest.partition(" ")
        if state not in SETTABLE_STATES:
            raise ValueError(f"type /status and one of {', '.join(SETTABLE_STATES)}")
        self._client.presence(cast(SettableState, state), text.strip())
        is_hidden = state == "invisible"
        seen = "you look as if you had left, which friends hear some seconds later" if is_hidden else f"friends see you as {state}"
        self._say(f"* {seen}; so it stays, after the next start too")

    def _signature(self, text: str) -> None:
        if text:
            self._client.set_profile(signature="" if text == "-" else text)
            self._say("* done")
            return
        own = self._client.profile_of(self._client.user).signature
        self._say(f"  {printable(own)}" if own else "none; /signature TEXT sets one")

    def _find(self, text: str) -> None:
        if not text:
            raise ValueError("type /find TEXT")
        for found in (users := self._friends.search(text)):
            self._say(f"  {printable(found.name)}{f' ({printable(found.display_name)})' if found.display_name else ''} @{found.user}")
        if not users:
            self._say("nobody who may be found so")


def friend_completions(client: Client) -> list[str]:
    """The lines about friends that may be typed."""
    names = sorted(client.names().values())
    lines = [f"{word} {name}" for word in _OF_A_USER for name in names]
    return lines + [f"/status {state}" for state in SETTABLE_STATES]
