"""`client.friends`: what an application asks about friends, requests, profiles and presence, one typed method each.

What is read from the copy (`list`, `groups`, `presence_of`, `online`) asks nobody; `friend_courier` keeps it up. Every other method waits
for the center's answer. Who may do what is the center's to say (NOT_ALLOWED, LIMIT_REACHED, SLOW_DOWN, … [P-9]).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from myim_client.courier import Courier
from myim_client.errors import NameUnknown, WithinTransaction
from myim_client.friend_copy import FriendGroup
from myim_client.friend_courier import Asked, FriendPresence
from myim_client.questions import refusal_of
from myim_wire import friend_requests as asked
from myim_wire.errors import ProtocolError
from myim_wire.friend_contents import (
    BlockedPage,
    BlockedUser,
    Changed,
    FoundPage,
    FoundProfile,
    Friend,
    IncomingRequest,
    OutgoingRequest,
    RequestPage,
)
from myim_wire.friend_requests import Asking, FriendChangeRequest, Searchable
from myim_wire.messages import Command
from myim_wire.presence_contents import SetPresence, SettableState
from myim_wire.profile_contents import Profile, ProfilePage

ANSWER_SECONDS = 10.0
_READERS: dict[int, Callable[[bytes], Asked]] = {
    Command.FRIENDS: asked.decode_friend_request, Command.FRIEND_CHANGE: asked.decode_friend_change_request,
    Command.SIGNATURE: asked.decode_profile_request,
}  # fmt: skip
Answered = TypeVar("Answered")


class Friends:
    """The friends of one client. Users and friend groups are ids.

    Every method that asks raises RequestRefused, NotConnected (no session, or no answer within 10 s: it may have happened all the same),
    WithinTransaction, and ValueError for what no center could be asked. A change returns when the copy shows it.
    """

    def __init__(self, courier: Courier, flush: Callable[[], None]) -> None:
        """flush: writes what was asked."""
        self._courier = courier
        self._flush = flush

    # the copy

    @property
    def version(self) -> int:
        """The version of the copy; 0 for who never had a friend."""
        return self._courier.friends.copy.version

    def list(self, group: int | None = None) -> Sequence[Friend]:
        """The friends (in one group), as the copy has them: by group, in a group by user id."""
        copy = self._courier.friends.copy
        friends = [friend for friend in copy.friends.values() if group is None or friend.group == group]
        return sorted(friends, key=lambda friend: (copy.groups[friend.group].position, friend.group, friend.user))

    def get(self, user: int) -> Friend | None:
        """One friend, None if the copy has none such."""
        return self._courier.friends.copy.friends.get(user)

    def groups(self) -> Sequence[FriendGroup]:
        """The friend groups in the order in which they are shown; group 0, named "", is for who is in no other."""
        return sorted(self._courier.friends.copy.groups.values(), key=lambda group: (group.position, group.id))

    def presence_of(self, user: int) -> FriendPresence:
        """How a friend is seen, as far as is known."""
        with self._courier.profile.lock:
            return self._courier.friends.presence(user)

    def online(self) -> dict[int, FriendPresence]:
        """Friends that are known to be online, away or busy, by user id."""
        with self._courier.profile.lock:
            seen = {user: self._courier.friends.presence(user) for user in self._courier.friends.copy.friends}
        return {user: presence for user, presence in seen.items() if presence.state not in ("offline", "unknown")}

    # requests

    def ask(self, user: int, words: str = "") -> None:
        """Ask a user to be a friend, with words (≤ 200 characters); who had asked oneself is a friend at once."""
        self._change(asked.Ask(user, words))

    def accept(self, user: int, group: int = 0) -> None:
        """Be friends with who asked, in one of the own friend groups."""
        self._change(asked.Accept(user, group))

    def refuse(self, user: int) -> None:
        """Turn a request down; who asked is not told."""
        self._change(asked.Refuse(user))

    def ignore(self, user: int) -> None:
        """Turn a request down and let it stay, to be accepted later perhaps; who asked is not told, and cannot ask again."""
        self._change(asked.Ignore(user))

    def withdraw(self, user: int) -> None:
        """Take one's own request back."""
        self._change(asked.Withdraw(user))

    def requests(self) -> tuple[Sequence[IncomingRequest], Sequence[OutgoingRequest]]:
        """The open requests to this user and by this user, each by the other's user id."""
        incoming: tuple[IncomingRequest, ...] = ()
        outgoing: tuple[OutgoingRequest, ...] = ()
        after = 0
        while True:
            page = self._answer(Command.FRIENDS, asked.ListRequests(after), RequestPage.decode)
            self._learn([(one.user, one.name) for one in page.incoming] + [(one.user, one.name) for one in page.outgoing])
            incoming += page.incoming
            outgoing += page.outgoing
            last = max([after, *(one.user for one in page.incoming), *(one.user for one in page.outgoing)])
            if not page.is_more or last <= after:
                return incoming, outgoing
            after = last

    # friends and groups

    def remove(self, user: int) -> None:
        """Be friends no more, on both lists."""
        self._change(asked.RemoveFriend(user))

    def block(self, user: int) -> None:
        """See and hear nothing of a user any more, who is not told."""
        self._change(asked.Block(user))

    def unblock(self, user: int) -> None:
        """Undo a block."""
        self._change(asked.Unblock(user))

    def blocked(self) -> Iterator[BlockedUser]:
        """Who is blocked, by user id; asked for by the page as one goes on."""
        after = 0
        while True:
            page = self._answer(Command.FRIENDS, asked.ListBlocked(after), BlockedPage.decode)
            self._learn(page.users)
            yield from page.users
            if not page.is_more or not page.users:
                return
            after = page.users[-1].user

    def remark(self, user: int, remark: str) -> None:
        """Call a friend so (≤ 64 characters, "" for nothing); nobody else sees it."""
        self._change(asked.Remark(user, remark))

    def move(self, user: int, group: int) -> None:
        """Put a friend into another group."""
        self._change(asked.MoveFriend(user, group))

    def add_group(self, name: str, position: int = 0) -> None:
        """Make a friend group (name ≤ 64 characters); groups are shown by position."""
        self._change(asked.AddGroup(name, position))

    def change_group(self, group: int, *, name: str | None = None, position: int | None = None) -> None:
        """Rename or move a friend group; None: as it is."""
        self._change(asked.ChangeGroup(group, name, position))

    def remove_group(self, group: int) -> None:
        """End a friend group; its friends go to group 0."""
        self._change(asked.RemoveGroup(group))

    # users

    def search(self, text: str) -> Sequence[FoundProfile]:
        """At most 20 users that may be found: by their name, its first three letters or more, or their id in digits."""
        return self._answer(Command.FRIENDS, asked.Search(text), FoundPage.decode).users

    def profile_of(self, user: int) -> Profile:
        """The profile of a friend, or of oneself. Raises NameUnknown for all others."""
        page = self._answer(Command.SIGNATURE, asked.GetProfiles((user,)), ProfilePage.decode)
        if not page.profiles:
            raise NameUnknown(f"@{user} is not a friend")
        return page.profiles[0]

    def set_profile(
        self, *, display_name: str | None = None, avatar: str | None = None, signature: str | None = None,
        searchable: Searchable | None = None, asking: Asking | None = None,
    ) -> Profile:  # fmt: skip
        """Change the own profile (≤ 64, 255 and 200 characters; None: as it is); the profile after that."""
        request = asked.SetProfile(display_name, avatar, signature, searchable, asking)
        return self._answer(Command.SIGNATURE, request, Profile.decode)

    def presence(self, state: SettableState, text: str = "") -> None:
        """How this terminal is seen by friends from now on, in later sessions too, from their very beginning; text ≤ 100, none of control.

        Without a session it is kept for the next. Raises RequestRefused, NotConnected (kept all the same), WithinTransaction, ValueError.
        """
        self._check_outside()
        try:
            wanted = SetPresence.decode(SetPresence(state, text).encode())
        except ProtocolError as error:
            raise refusal_of(error) from None
        if any(unicodedata.category(character) == "Cc" for character in text):
            raise ValueError("control characters in a status text")  # refused by centers at every session, were it kept
        question = self._courier.set_presence(wanted)
        self._flush()
        if question is not None:
            question.wait(ANSWER_SECONDS)

    def _change(self, request: FriendChangeRequest) -> None:
        self._answer(Command.FRIEND_CHANGE, request, Changed.decode)

    def _learn(self, names: Iterable[tuple[int, str]]) -> None:
        """Who does not want to be found by name is so found by who has to do with them all the same: `Client.user_id`."""
        with self._courier.profile.lock:
            for user, name in names:
                self._courier.learn(user, name)

    def _answer(self, command: Command, request: Asked, decode: Callable[[bytes], Answered]) -> Answered:
        self._check_outside()
        try:
            _READERS[command](request.encode())
            question = self._courier.ask_friends(command, request)
        except ProtocolError as error:
            raise refusal_of(error) from None
        self._flush()
        return question.wait_for(decode, ANSWER_SECONDS)

    def _check_outside(self) -> None:
        if self._courier.profile.is_within:
            raise WithinTransaction("nothing is received within a transaction: ask before or after it")
