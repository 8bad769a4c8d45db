"""What terminals say of their presence, and ask of their friends': whether it is allowed now, and how it is answered.

What lives here: the checks on the form of it. What must not: who may see whom (`chat.presence_hall`), sockets, SQL.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from myim_server.chat.presence import Seen
from myim_server.chat.presence_hall import PresenceHall
from myim_server.refusals import RequestRefused
from myim_server.requests import Requests, Talk
from myim_wire.errors import ErrorCode
from myim_wire.messages import Message
from myim_wire.presence_contents import AskOnline, SetPresence


class PresenceCommands:
    """Takes PRESENCE and FRIENDS_ONLINE [P-7.10]."""

    def __init__(self, hall: PresenceHall, requests: Requests) -> None:
        self._hall = hall
        self._requests = requests
        self._asking: set[Talk] = set()

    def begin(self, talk: Talk, then: Callable[[], None]) -> None:
        """A terminal asks for what is stored, for the first time; `then` it may be delivered to."""
        self._hall.begin(talk.party, then)

    def end(self, talk: Talk) -> None:
        """A session ended."""
        self._asking.discard(talk)

    def presence(self, talk: Talk, message: Message, now: float) -> None:
        """PRESENCE: how this session wants to be seen."""
        self._requests.check(talk, message, now, is_empty=False)
        asked = SetPresence.decode(message.content)
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in asked.text):
            raise RequestRefused(ErrorCode.BAD_COMMAND, "control characters", field="text")
        self._hall.change(talk.party, Seen(asked.state, asked.text))
        self._requests.answer(talk, message, asked.encode())

    def online(self, talk: Talk, message: Message, now: float) -> None:
        """FRIENDS_ONLINE: which friends are online, and where."""
        self._requests.check(talk, message, now, is_empty=False)
        asked = AskOnline.decode(message.content)
        if talk in self._asking:
            raise RequestRefused(ErrorCode.SLOW_DOWN, "the question before is not answered yet", retry_ms=1000)
        self._asking.add(talk)

        def done(content: bytes) -> None:
            self._asking.discard(talk)
            self._requests.answer(talk, message, content)

        self._hall.online(talk.party.session.user, asked.after, lambda page: done(page.encode()))
