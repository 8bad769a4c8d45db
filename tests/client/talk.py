"""A chat of the console without a screen, against a scripted center."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from myim_client import Client
from myim_client.console_chat import Chat
from myim_wire.contents import FoundUser, encode_lookup
from myim_wire.friend_contents import RequestPage
from myim_wire.group_contents import Standing
from myim_wire.group_requests import GroupRequest
from myim_wire.messages import Command, Message
from tests.client.scripted_center import ScriptedCenter, make_profile, wait_until


class Talk:
    """A chat whose screen is a list of lines."""

    def __init__(self, directory: Path, standings: tuple[Standing, ...] = ()) -> None:
        self.terminal, self.path = make_profile(directory)
        self.center = ScriptedCenter(self.terminal)
        self.center.groups = list(standings)
        self.center.requests = RequestPage((), ())
        self.lines: list[str] = []
        self.open()

    def open(self) -> None:
        self.client = Client(self.terminal, self.path, servers=[self.center.address], settled_events=True)
        self.client.connect(10)
        self.chat = Chat(self.client, self.lines.append)

    def until(self, words: str) -> str:
        """The line with these words, as soon as it is printed."""

        def look() -> bool:
            events = self.client.take(0.05)
            if events:
                self.chat.show(events)
            return any(words in line for line in self.lines)

        wait_until(look)
        return next(line for line in self.lines if words in line)

    def looking(self, words: str) -> Callable[[], str]:
        """Begin to look for the line with these words, while the test answers what is asked for it; gives it as soon as it is printed."""
        found: list[str] = []
        looking = threading.Thread(target=lambda: found.append(self.until(words)))
        looking.start()

        def line() -> str:
            looking.join(10)
            return found[0]

        return line

    def type_and_answer(self, line: str, user: int, name: str) -> None:
        """Type a line that asks for a name, and answer the look-up."""
        typing = threading.Thread(target=self.chat.type, args=(line,))
        typing.start()
        wait_until(lambda: self.center.sessions)
        session = self.center.sessions[-1]
        asked = encode_lookup(line.split()[1])
        wait_until(lambda: any(question.content == asked for question in session.of(Command.LOOKUP)))
        session.reply(session.of(Command.LOOKUP)[-1], FoundUser(user, name).encode())
        typing.join(10)

    def type_and_ask(self, line: str, kind: type[GroupRequest]) -> tuple[threading.Thread, Message]:
        """Type a line that asks something about groups: the thread that types, and the question."""
        session = self.center.session()
        count = len(session.questions(kind))
        typing = threading.Thread(target=self.chat.type, args=(line,))
        typing.start()
        return typing, session.asked(kind, count + 1)

    def type_and_get(self, line: str, kind: type[GroupRequest], content: bytes) -> Message:
        """Type a line that asks something about groups, and answer it; the question."""
        typing, asked = self.type_and_ask(line, kind)
        self.center.sessions[-1].reply(asked, content)
        typing.join(10)
        assert not typing.is_alive()
        return asked
