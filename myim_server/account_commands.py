"""What terminals ask about their users' accounts: whether it is allowed now, and the exports under way.

What lives here: the checks on the form and the amount of it, and one export per session. What must not: what is answered
(`chat.account_desk`), what an export says (`chat.export`), sockets, SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from myim_server.chat.account_desk import AccountDesk
from myim_server.chat.warnings import Warnings
from myim_server.metrics import Metrics
from myim_server.refusals import RequestRefused
from myim_server.requests import Requests, Talk
from myim_wire.account_contents import Export, ExportPart, decode_account_request
from myim_wire.errors import ErrorCode
from myim_wire.messages import Message

MOST_EXPORTS = 64  # at this center at once: each holds up to some 200 KiB
IDLE_SECONDS = 60.0


class AccountParts(NamedTuple):
    """The parts of a center that know accounts. begin_export: the parts of a user's export, read as they are asked for (blocks)."""

    desk: AccountDesk
    warnings: Warnings
    begin_export: Callable[[int], Iterator[ExportPart]]


class _Exporting:
    """One session's export: how far it is; is_over: its last part was asked for."""

    __slots__ = ("parts", "number", "answer", "is_running", "is_over", "asked_at")

    def __init__(self, parts: Iterator[ExportPart]) -> None:
        self.parts = parts
        self.number = -1
        self.answer = b""
        self.is_running = False
        self.is_over = False
        self.asked_at = 0.0

    def part(self, number: int) -> bytes:
        """The part of this number: the next, or the last once more (blocks)."""
        if number == self.number + 1:
            part = next(self.parts, None)
            if part is None:
                raise _not_that_part()
            self.number, self.answer, self.is_over = number, part.encode(), part.is_last
        return self.answer


class AccountCommands:
    """Takes ACCOUNT [P-7.17]."""

    def __init__(self, parts: AccountParts, requests: Requests, metrics: Metrics) -> None:
        self._parts = parts
        self._requests = requests
        self._metrics = metrics
        self._exports: dict[Talk, _Exporting] = {}

    def begin(self, talk: Talk) -> None:
        """A terminal has asked for what is stored, for the first time or again."""
        self._parts.warnings.begin(talk.party)

    def end(self, talk: Talk) -> None:
        """A session ended."""
        self._exports.pop(talk, None)
        self._parts.warnings.end(talk.party)

    def request(self, talk: Talk, message: Message, now: float) -> None:
        """ACCOUNT."""
        self._requests.check(talk, message, now, is_empty=False)
        asked = decode_account_request(message.content)
        session = talk.party.session
        if isinstance(asked, Export):
            self._export(talk, message, asked.part, now)
        else:
            self._requests.later(talk, message, lambda: self._parts.desk.answer(session.user, session.slot, asked))

    def _export(self, talk: Talk, message: Message, part: int, now: float) -> None:
        exporting = self._exports.get(talk)
        if exporting is not None and exporting.is_running:
            raise RequestRefused(ErrorCode.SLOW_DOWN, "a part of the export is under way", retry_ms=1000)
        if part == 0:  # anew, though part 0 may be the last answered: all may be another by now
            exporting = self._begin(talk, now)
        if exporting is None or part not in (exporting.number, exporting.number + 1):
            raise _not_that_part()
        exporting.is_running = True
        exporting.asked_at = now
        self._requests.later(talk, message, lambda: self._answer(talk, exporting, part))

    def _begin(self, talk: Talk, now: float) -> _Exporting:
        if talk not in self._exports and len(self._exports) >= MOST_EXPORTS:
            self._drop_one(now)
        self._metrics.exports += 1
        exporting = self._exports[talk] = _Exporting(self._parts.begin_export(talk.party.session.user))
        return exporting

    def _drop_one(self, now: float) -> None:
        """One that is over, else one that nobody goes on with."""
        idlest = min(self._exports, key=lambda talk: (not self._exports[talk].is_over, self._exports[talk].asked_at))
        exporting = self._exports[idlest]
        if exporting.is_running or (not exporting.is_over and now - exporting.asked_at < IDLE_SECONDS):
            raise RequestRefused(ErrorCode.BUSY, "too many export at once", retry_ms=5000)
        del self._exports[idlest]

    def _answer(self, talk: Talk, exporting: _Exporting, part: int) -> bytes:
        is_done = False
        try:
            answer = exporting.part(part)
            is_done = True
            return answer
        finally:
            exporting.is_running = False
            if not is_done and self._exports.get(talk) is exporting:  # what was read so far is lost: it begins anew
                del self._exports[talk]


def _not_that_part() -> RequestRefused:
    return RequestRefused(ErrorCode.BAD_COMMAND, "an export goes on part by part, from 0", field="part")
