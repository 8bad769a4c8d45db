"""What raw terminals say about friends, and hear of them."""

from __future__ import annotations

from bench.befriending import befriend_all
from myim_server.node import Node
from myim_wire.errors import ErrorCode
from myim_wire.friend_contents import (
    Changed,
    FoundPage,
    Friend,
    FriendChanged,
    FriendPage,
    RequestPage,
    Synced,
    decode_friend_push,
)
from myim_wire.friend_hashes import NO_ROOT, hash_list
from myim_wire.friend_requests import (
    Accept,
    Ask,
    FriendChangeRequest,
    FriendRequest,
    ListFriends,
    ListRequests,
    ProfileRequest,
    Search,
    SetProfile,
    Sync,
)
from myim_wire.messages import ERROR, REPLY, Command, Message, decode_error
from myim_wire.profile_contents import Profile
from tests.server.running import Person, RawTerminal, make_person

Request = FriendRequest | FriendChangeRequest | ProfileRequest


class Copy:
    """A terminal's copy of its user's list, kept as [P-7.15] says."""

    def __init__(self) -> None:
        self.version = 0
        self.root = NO_ROOT
        self.groups: dict[int, tuple[int, str]] = {}
        self.friends: dict[int, Friend] = {}
        self.fetched = 0  # friends that were sent for it

    def proved_root(self) -> bytes:
        """Of what it holds."""
        groups = [(group, position, name) for group, (position, name) in self.groups.items()]
        return hash_list(groups, [(friend.group, friend.canonical) for friend in self.friends.values()])[0]


class Friendly(RawTerminal):
    """A terminal of somebody who has friends."""

    def __init__(self, node: Node, person: Person, number: int = 1) -> None:
        super().__init__(node, person, number)
        self.copy = Copy()
        self.fetch()

    def reply(self, command: Command, request: Request) -> Message:
        """The whole reply."""
        return self.ask(command, request.encode())

    def answer(self, command: Command, request: Request) -> bytes:
        """The content of a reply that is no refusal."""
        reply = self.reply(command, request)
        assert not reply.flags & ERROR, decode_error(reply.content)
        return reply.content

    def refusal(self, command: Command, request: Request) -> ErrorCode:
        """Why it is refused."""
        reply = self.reply(command, request)
        assert reply.flags & ERROR
        return ErrorCode(decode_error(reply.content).code)

    def change(self, request: FriendChangeRequest) -> Changed:
        """A FRIEND_CHANGE that is not refused."""
        return Changed.decode(self.answer(Command.FRIEND_CHANGE, request))

    def refused(self, request: FriendChangeRequest) -> ErrorCode:
        """Why a FRIEND_CHANGE is refused."""
        return self.refusal(Command.FRIEND_CHANGE, request)

    def set_profile(self, request: SetProfile) -> Profile:
        """One's own profile after that."""
        return Profile.decode(self.answer(Command.SIGNATURE, request))

    def found(self, text: str) -> list[str]:
        """The names that a search finds."""
        return [one.name for one in FoundPage.decode(self.answer(Command.FRIENDS, Search(text))).users]

    def requests(self) -> RequestPage:
        """The first page of requests."""
        return RequestPage.decode(self.answer(Command.FRIENDS, ListRequests()))

    def befriend(self, other: Friendly) -> None:
        """Ask, and be accepted."""
        self.change(Ask(other.person.user))
        other.change(Accept(self.person.user))

    def page(self, group: int, after: int = 0) -> FriendPage:
        """One page of a group."""
        return FriendPage.decode(self.answer(Command.FRIENDS, ListFriends(group, after)))

    def synced(self) -> Synced:
        """The answer to a sync, and nothing done about it."""
        return Synced.decode(self.answer(Command.FRIENDS, Sync(self.copy.version, self.copy.root)))

    def sync(self) -> Synced:
        """Bring the copy up to date, and prove it."""
        copy, answer = self.copy, self.synced()
        if answer.root != copy.root:
            if answer.groups:
                copy.groups = {group.id: (group.position, group.name) for group in answer.groups}
            if answer.has_changes:
                self._put(answer.removed, answer.changed)
            else:
                self._fetch_groups(answer)
        copy.version, copy.root = answer.version, answer.root
        assert copy.proved_root() == copy.root
        return answer

    def _fetch_groups(self, answer: Synced) -> None:
        friends = self.copy.friends
        known = hash_list([(group, *self.copy.groups[group]) for group in self.copy.groups], self._held())[1]
        for group in answer.groups:
            if known[group.id] != group.hash:
                self._put([user for user, friend in friends.items() if friend.group == group.id], ())
                after, is_more = 0, True
                while is_more:
                    page = self.page(group.id, after)
                    assert page.version == answer.version
                    self._put((), page.friends)
                    after, is_more = (page.friends[-1].user if page.friends else 0), page.is_more
        self._put([user for user, friend in friends.items() if friend.group not in self.copy.groups], ())

    def _held(self) -> list[tuple[int, tuple[int, str, str, str, str, str]]]:
        return [(friend.group, friend.canonical) for friend in self.copy.friends.values() if friend.group in self.copy.groups]

    def _put(self, removed: list[int] | tuple[int, ...], changed: tuple[Friend, ...]) -> None:
        for user in removed:
            self.copy.friends.pop(user, None)
        self.copy.friends.update({friend.user: friend for friend in changed})
        self.copy.fetched += len(changed)

    def next_push(self, event: str) -> FriendChanged:
        """The next push of this kind."""

        def is_it(message: Message) -> bool:
            push = _pushed(message)
            return push is not None and push.event == event

        push = _pushed(self.wait_for(is_it))
        assert push is not None
        return push

    def pushes(self) -> list[FriendChanged]:
        """All that has come: whatever was said to this terminal before is here when its own request is answered."""
        self.requests()
        found = [push for push in map(_pushed, self.inbox) if push is not None]
        self.inbox = [message for message in self.inbox if _pushed(message) is None]
        return found


def _pushed(message: Message) -> FriendChanged | None:
    if message.command != Command.FRIEND_CHANGE or message.flags & REPLY:
        return None
    return decode_friend_push(message.content)


def with_friends(node: Node, person: Person, count: int) -> list[int]:
    """Users that are friends of a person who had none, made straight in the store; by id."""
    store = node.store
    assert store is not None
    names = [f"{person.user % 1_000_000}f{number}" for number in range(count)]
    made = sorted(store.accounts.create_all([(name, name, "no password") for name in names], 1))
    befriend_all(store, [(person.user, friend) for friend in made])
    return made


def make_people(node: Node, *names: str) -> list[Friendly]:
    """Users of these names, each with one terminal online."""
    return [Friendly(node, make_person(node, name)) for name in names]


