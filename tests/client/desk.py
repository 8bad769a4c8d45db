"""A courier without a socket, with clocks that stand still."""

from __future__ import annotations

from pathlib import Path

from myim_client.courier import Courier
from myim_client.inbox import Inbox
from myim_client.profile import DAY_US, Profile
from myim_wire.messages import QOS1, REPLY, Message, decode_messages
from tests.client.scripted_center import YOU, make_profile


class Desk:
    """A courier with clocks that stand still."""

    def __init__(self, directory: Path) -> None:
        _, path = make_profile(directory, renew_at=DAY_US * 50, expires_at=DAY_US * 51)
        self.now_us = DAY_US * 10
        self.profile = Profile.open(path)
        self.inbox = Inbox()
        self.courier = Courier(self.profile, self.inbox, True, lambda: self.now_us, lambda: 0.5)
        self.courier.begin("here", 0.0)

    def due(self, now: float) -> list[Message]:
        return decode_messages(b"".join(self.courier.due(now)))

    def send(self, body: bytes = b"x") -> int:
        with self.profile.transaction():
            return self.courier.outbox.keep(YOU, body).time

    def hear(self, now: float, *messages: Message) -> None:
        self.courier.receive(messages, now)

    def reply_to(self, question: Message, content: bytes, flags: int = 0) -> Message:
        return question._replace(flags=QOS1 | REPLY | flags, content=content)
