"""`client.account`: what an application asks about its user's own account: terminals, logins, an export; a new password.

Every method waits for the answer. What is new about a terminal comes as `NewTerminal`, and comes again until it is acknowledged. Changing
the password of a client that is not running, and ending an account, is `login`'s.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from myim_client.errors import RequestRefused, WithinTransaction
from myim_client.questions import Question, refusal_of
from myim_wire import account_contents as asked
from myim_wire.account_contents import AccountRequest, ExportPart, ListedLogin, ListedTerminal, LoginPage, TerminalPage
from myim_wire.errors import ErrorCode, ProtocolError
from myim_wire.messages import Command

ANSWER_SECONDS = 10.0
MOST_SLOW_DOWNS = 10  # one behind the other
LEAST_PAUSE_SECONDS = 0.05
Answered = TypeVar("Answered")


class OwnAccount:
    """The account of one client's user. Terminals are named by their slots.

    Every method raises RequestRefused, NotConnected (no session, or no answer within 10 s: it may have happened all the same),
    WithinTransaction, and ValueError for what no center could be asked.
    """

    def __init__(
        self, ask: Callable[[Command, bytes], Question], flush: Callable[[], None], is_within: Callable[[], bool],
        change_password: Callable[[str, str], None],
    ) -> None:  # fmt: skip
        """ask: puts a request; flush: writes it; is_within: whether this thread holds a transaction; change_password: (old, new)."""
        self._ask = ask
        self._flush = flush
        self._is_within = is_within
        self._change_password = change_password

    def terminals(self) -> list[ListedTerminal]:
        """The user's terminals, by slot; `is_this` is the one that asks."""
        return self._terminals(asked.ListTerminals())

    def rename_terminal(self, slot: int, name: str) -> list[ListedTerminal]:
        """Call a terminal `name` (≤ 64 characters) from now on; the terminals after that."""
        return self._terminals(asked.RenameTerminal(slot, name))

    def revoke_terminal(self, slot: int | None = None) -> list[ListedTerminal]:
        """End the sessions and tokens of a terminal, or (None) of all others, everywhere within 5 s; the terminals after that."""
        return self._terminals(asked.RevokeTerminal(slot))

    def acknowledge_terminal(self, slot: int) -> list[ListedTerminal]:
        """The user knows of this new terminal: no warning of it any more; the terminals after that."""
        return self._terminals(asked.Acknowledge(slot))

    def logins(self) -> Iterator[ListedLogin]:
        """The logins by password, the latest first; asked for by the page as one goes on."""
        before = 0
        while True:
            page = self._answer(asked.ListLogins(before), LoginPage.decode)
            yield from page.logins
            if not page.is_more or not page.logins:
                return
            before = page.logins[-1].time

    def export(self, path: str | Path) -> int:
        """Write all that is kept of the user into a new file of mode 0600, as one JSON document; its bytes.

        The file is there when it is whole. Raises FileExistsError, OSError besides.
        """
        path = Path(path)
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        draft = path.with_name(f".{path.name}.part")
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as file:
                size = sum(file.write(part) for part in self._parts())
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)
        return size

    def change_password(self, old: str, new: str) -> None:
        """Set a new password: all tokens of the user end, and this client goes on with a new one, in a new session.

        Raises LoginRefused, IdentityChanged, ServerUnreachable.
        """
        self._check_outside()
        self._change_password(old, new)

    def _parts(self) -> Iterator[bytes]:
        number = 0
        while True:
            part = self._part(number)
            yield part.data
            if part.is_last:
                return
            number += 1

    def _part(self, number: int) -> ExportPart:
        """A part; a large export that is fetched quickly comes to be told to slow down, and does."""
        for _ in range(MOST_SLOW_DOWNS):
            try:
                return self._answer(asked.Export(number), ExportPart.decode)
            except RequestRefused as refusal:
                if refusal.code != ErrorCode.SLOW_DOWN:
                    raise
                time.sleep(max(LEAST_PAUSE_SECONDS, refusal.retry_ms / 1000.0))
        return self._answer(asked.Export(number), ExportPart.decode)

    def _terminals(self, request: AccountRequest) -> list[ListedTerminal]:
        return list(self._answer(request, TerminalPage.decode).terminals)

    def _answer(self, request: AccountRequest, decode: Callable[[bytes], Answered]) -> Answered:
        self._check_outside()
        try:
            content = request.encode()
            asked.decode_account_request(content)
            question = self._ask(Command.ACCOUNT, content)
        except ProtocolError as error:
            raise refusal_of(error) from None
        self._flush()
        return question.wait_for(decode, ANSWER_SECONDS)

    def _check_outside(self) -> None:
        if self._is_within():
            raise WithinTransaction("nothing is received within a transaction: ask before or after it")
