"""What raw terminals say to groups, and hear of them."""

from __future__ import annotations

from collections.abc import Iterable

from myim_server.node import Node
from myim_wire.bodies import CONFIRMED_GROUPS, decode_numbered_settling, split_group_content
from myim_wire.errors import ErrorCode
from myim_wire.group_contents import (
    GroupBehind,
    GroupChanged,
    GroupFetched,
    GroupState,
    GroupsTold,
    decode_group_push,
    encode_group_fetch,
)
from myim_wire.group_requests import Create, GroupRequest, Join
from myim_wire.messages import ERROR, FIRST, QOS1, REPLY, Command, Message, decode_error, encode_message, encode_pairs
from tests.server.running import Person, RawTerminal


class Member(RawTerminal):
    """A terminal of somebody who is in groups."""

    hears_of_groups = True

    def __init__(self, node: Node, person: Person, number: int = 1) -> None:
        super().__init__(node, person, number)
        self.standings = self.come()

    def come(self) -> GroupsTold:
        """Fetch what is stored, as a session begins; the groups that are told then."""
        named = self.name()
        self.say(encode_message(Command.OFFLINE_FETCH, QOS1, self.person.user, 0, named))
        told = self.wait_for(lambda message: isinstance(_pushed(message), GroupsTold))
        push = _pushed(told)
        assert isinstance(push, GroupsTold)
        return push

    def request(self, group: int, request: GroupRequest) -> Message:
        """The whole reply to a GROUP."""
        named = self.name()
        self.say(encode_message(Command.GROUP, QOS1, self.person.user, group, named, request.encode()))
        return self.wait_for(lambda message: message.command == Command.GROUP and message.time == named and bool(message.flags & REPLY))

    def state(self, group: int, request: GroupRequest) -> GroupState:
        """The group as it is after a change that is not refused."""
        reply = self.request(group, request)
        assert not reply.flags & ERROR, decode_error(reply.content)
        return GroupState.decode(reply.content)

    def refusal(self, group: int, request: GroupRequest) -> ErrorCode:
        """Why a GROUP is refused."""
        reply = self.request(group, request)
        assert reply.flags & ERROR
        return ErrorCode(decode_error(reply.content).code)

    def make_group(self, name: str = "team") -> int:
        """An open group of one's own."""
        return self.state(0, Create(name, join="open")).group

    def join(self, group: int) -> GroupState:
        """Join an open group."""
        return self.state(group, Join())

    def post(self, group: int, body: bytes, *, is_first: bool = True, time: int | None = None) -> int:
        """Send a QoS 1 post; its time."""
        named = time or self.name()
        flags = QOS1 | (FIRST if is_first else 0)
        self.say(encode_message(Command.GROUP_MESSAGE, flags, self.person.user, group, named, body))
        return named

    def answer(self, named: int) -> Message:
        """The reply to the post of this time."""
        return self.wait_for(
            lambda message: message.command == Command.GROUP_MESSAGE and message.time == named and bool(message.flags & REPLY)
        )

    def number_of(self, named: int) -> int:
        """The number that the post of this time was given."""
        reply = self.answer(named)
        assert not reply.flags & ERROR, decode_error(reply.content)
        return decode_numbered_settling(reply.content)[1]

    def code_of(self, named: int) -> ErrorCode:
        """Why the post of this time was refused."""
        reply = self.answer(named)
        assert reply.flags & ERROR
        return ErrorCode(decode_error(reply.content).code)

    def next_post(self) -> tuple[int, bytes]:
        """(number, body) of the next post that is handed over."""
        message = self.wait_for(lambda one: one.command == Command.GROUP_MESSAGE and not one.flags & REPLY)
        number, _, body, _, _, _ = split_group_content(message.content)
        return number, body

    def next_posts(self, count: int) -> list[tuple[int, bytes]]:
        """So many of them."""
        return [self.next_post() for _ in range(count)]

    def next_change(self, event: str, user: int | None = None) -> GroupChanged:
        """The next change of this kind, about this user if one is named."""

        def is_it(message: Message) -> bool:
            push = _pushed(message)
            return isinstance(push, GroupChanged) and push.event == event and user in (None, push.user)

        push = _pushed(self.wait_for(is_it))
        assert isinstance(push, GroupChanged)
        return push

    def next_offer(self) -> GroupBehind:
        """The next word that there is more."""
        push = _pushed(self.wait_for(lambda message: isinstance(_pushed(message), GroupBehind)))
        assert isinstance(push, GroupBehind)
        return push

    def fetch_group(self, group: int, after: int) -> tuple[list[tuple[int, bytes]], GroupFetched]:
        """A fetch of a group: what came before its reply, and that."""
        named = self.name()
        seen = len(self.inbox)
        self.say(encode_message(Command.OFFLINE_FETCH, QOS1, self.person.user, group, named, encode_group_fetch(after)))
        reply = self.wait_for(lambda message: message.command == Command.OFFLINE_FETCH and message.time == named)
        assert not reply.flags & ERROR, decode_error(reply.content)
        rows = [message for message in self.inbox[seen:] if message.command == Command.GROUP_MESSAGE and message.target == group]
        self.inbox = [message for message in self.inbox if message not in rows]
        return [(split_group_content(row.content)[0], split_group_content(row.content)[2]) for row in rows], GroupFetched.decode(
            reply.content
        )

    def confirm_groups(self, *pairs: tuple[int, int]) -> None:
        """All up to number, of each (group, number)."""
        self.say(encode_message(Command.RECEIPT, 0, self.person.user, 0, 0, encode_pairs(CONFIRMED_GROUPS, list(pairs))))


def _pushed(message: Message) -> GroupChanged | GroupBehind | GroupsTold | None:
    if message.command != Command.GROUP or message.flags & REPLY:
        return None
    return decode_group_push(message.content)


def numbers(posts: Iterable[tuple[int, bytes]]) -> list[int]:
    """Their numbers."""
    return [number for number, _ in posts]
