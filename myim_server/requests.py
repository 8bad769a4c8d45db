"""What all requests of a terminal have in common: whether one may be asked, how it is answered, how refused.

What lives here: one session's side of the conversation (`Talk`), and the manners of requests. What must not: any one command (`commands`,
`group_commands`), rules, sockets, SQL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from myim_server.chat.party import Party
from myim_server.metrics import Metrics
from myim_server.pace import Pace
from myim_server.refusals import RequestRefused
from myim_wire.errors import ErrorCode
from myim_wire.messages import REPLY, Message, encode_error, encode_message


class Talk:
    """One session's side of the conversation: its party, its ticket, its connection's rekey, its pace, what it posts to groups."""

    __slots__ = ("party", "ticket", "rekey", "pace", "fetch_times", "is_renewing", "poster", "has_begun")

    def __init__(self, party: Party, ticket: Any, rekey: Callable[[], bytes], pace: Pace) -> None:
        """rekey: seals the frame that answers a terminal's REKEY."""
        self.party = party
        self.ticket = ticket
        self.rekey = rekey
        self.pace = pace
        self.fetch_times: list[int] = []
        self.is_renewing = False  # its token
        self.has_begun = False  # it asked for what is stored
        self.poster: Any = None  # of the few that use groups, what `group_commands` keeps of them


class Requests:
    """Checks, answers and refuses requests."""

    def __init__(self, metrics: Metrics, spawn: Callable[..., Any], log_fault: Callable[[str, BaseException], None]) -> None:
        self._metrics = metrics
        self._spawn = spawn
        self._log_fault = log_fault

    def check(self, talk: Talk, message: Message, now: float, is_empty: bool = True, has_target: bool = False) -> None:
        """What all requests with an answer must be: the user's own, of its slot, not too many; RequestRefused."""
        session = talk.party.session
        if message.user != session.user:
            raise RequestRefused(ErrorCode.BAD_COMMAND, "user is not the logged-in user", field="user")
        if message.time & 63 != session.slot:
            raise RequestRefused(ErrorCode.BAD_TIME, "the time holds another slot", field="time")
        if message.target and not has_target:
            raise RequestRefused(ErrorCode.BAD_COMMAND, "a request to the server has no target", field="target")
        if is_empty and message.content:
            raise RequestRefused(ErrorCode.BAD_COMMAND, "this command has no content", field="content")
        if talk.pace.is_asking_too_much(now):
            raise RequestRefused(ErrorCode.SLOW_DOWN, "too many requests", retry_ms=1000)

    def answer(self, talk: Talk, message: Message, content: bytes) -> None:
        """The reply to a request."""
        talk.party.session.send(encode_message(message.command, REPLY, message.user, message.target, message.time, content))

    def refuse(self, talk: Talk, message: Message, refusal: RequestRefused) -> None:
        """A refusal in place of the reply [P-3.8]."""
        self._metrics.refused[refusal.code.name] += 1
        session = talk.party.session
        session.send(
            encode_error(
                message.command, session.user, message.target, message.time, refusal.code, refusal.text, refusal.retry_ms, refusal.field
            )
        )

    def later(self, talk: Talk, message: Message, ask: Callable[[], bytes]) -> None:
        """Answer from a greenlet of its own, because `ask` may block."""

        def run() -> None:
            try:
                self.answer(talk, message, ask())
            except RequestRefused as refusal:
                self.refuse(talk, message, refusal)
            except Exception as fault:  # a fault of ours: said once in the log, told as INTERNAL, never a silent request
                self._log_fault(talk.party.session.connection_id, fault)
                talk.party.session.goodbye(ErrorCode.INTERNAL, "a fault of the server")

        self._spawn(run)
