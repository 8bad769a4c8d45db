"""The refusals a server part may raise: what a door turns into an answer, and whether it then closes.

Here live the exceptions and nothing else; codes are named by the wire (`myim_wire.errors.ErrorCode`). No rule decides here.
Every layer of the server may import this file, and it imports none of them: a rule deep inside can refuse without knowing who asked.
"""

from myim_wire.errors import ErrorCode

RETRY_STORE_MS = 1000


class RequestRefused(Exception):
    """One request is refused and the connection goes on.

    `code` and `text` are told to the terminal, `retry_ms` after how many milliseconds a retry may help, `field` which field of the
    content was wrong. [P-3.8]
    """

    def __init__(self, code: ErrorCode, text: str = "", retry_ms: int | None = None, field: str | None = None) -> None:
        super().__init__(code, text, retry_ms, field)
        self.code = code
        self.text = text
        self.retry_ms = retry_ms
        self.field = field

    def __str__(self) -> str:
        return f"{self.code.name}: {self.text}" if self.text else self.code.name


class SessionRefused(Exception):
    """The connection is refused: the code is told and the connection closes. [P-3.8] [P-7.6]"""

    def __init__(self, code: ErrorCode, text: str = "") -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return f"{self.code.name}: {self.text}" if self.text else self.code.name


class StoreUnavailable(RequestRefused):
    """The store could not answer or commit in time; nothing is promised about the work, and the same call may be made again.

    The cause (a driver's message) is for logs; the terminal is told only that no durable copy was made.
    """

    def __init__(self, cause: str = "", retry_ms: int = RETRY_STORE_MS) -> None:
        super().__init__(ErrorCode.STORE_UNAVAILABLE, "no durable copy could be made", retry_ms)
        self.cause = cause

    def __str__(self) -> str:
        return f"STORE_UNAVAILABLE: {self.cause}"


class StoreRefused(Exception):
    """The store as it stands must not be used; `reason` names what is wrong and what to do. Raised at start only."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
