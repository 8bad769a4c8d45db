"""Questions to the center that have one reply each (LOOKUP, TOKEN, SERVERS, OFFLINE_FETCH): which are open, and who hears the reply.

A question lives as long as its session; a caller that waits is told when the session ends. Nothing is sent here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from myim_client.errors import NotConnected, RequestRefused
from myim_wire.bodies import decode_error
from myim_wire.errors import LocalProtocolError, ProtocolError
from myim_wire.messages import ERROR, Message

Answer = Callable[[bytes, Exception | None], None]
Answered = TypeVar("Answered")


class Question:
    """One question to the center; `wait` gives the content of its reply."""

    def __init__(self) -> None:
        self._answered = threading.Event()
        self._content = b""
        self._error: Exception | None = None

    def answer(self, content: bytes, error: Exception | None = None) -> None:
        """The reply came, or never will."""
        self._content, self._error = content, error
        self._answered.set()

    def wait(self, timeout: float) -> bytes:
        """The reply's content after at most `timeout` seconds. Raises RequestRefused, NotConnected."""
        if not self._answered.wait(timeout):
            raise NotConnected(f"no answer within {timeout} s")
        if self._error is not None:
            raise self._error
        return self._content

    def wait_for(self, decode: Callable[[bytes], Answered], timeout: float) -> Answered:
        """The reply as a value. Raises RequestRefused, NotConnected, which the answer of a center that says something else is, too."""
        content = self.wait(timeout)
        try:
            return decode(content)
        except ProtocolError as error:
            raise NotConnected(f"the center answered with something else: {error}") from None


def refusal_of(error: ProtocolError) -> ValueError:
    """What is raised for a request that no center takes, so that it is not asked: which field is wrong, in words for people."""
    is_ours = isinstance(error, LocalProtocolError) or not error.field
    return ValueError(str(error) if is_ours else f"{error.field}: too long, or nothing that may be asked")


class Questions:
    """The open questions of one session, by the time that names them."""

    def __init__(self) -> None:
        self._open: dict[int, Answer] = {}

    def ask(self, time: int, answer: Answer) -> None:
        """`answer` hears the reply to the question named `time`."""
        self._open[time] = answer

    def replied(self, message: Message) -> bool:
        """Hand a reply to whoever asked; False if nobody did."""
        answer = self._open.pop(message.time, None)
        if answer is None:
            return False
        if message.flags & ERROR:
            why = decode_error(message.content)
            answer(b"", RequestRefused(why.code, why.text, why.retry_ms or 0, why.field or ""))
            return True
        try:
            answer(message.content, None)
        except ProtocolError as error:  # it ends the session; who waits is told now, and not when its time is over
            answer(b"", NotConnected(f"the center answered with something else: {error}"))
            raise
        return True

    def drop(self, reason: str) -> None:
        """The session is over: whoever asked is told, by NotConnected."""
        dropped, self._open = self._open, {}
        for answer in dropped.values():
            answer(b"", NotConnected(reason))
