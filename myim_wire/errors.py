"""The error codes of the protocol and the only exceptions that leave this package.

`RemoteProtocolError`: the peer broke the protocol. `LocalProtocolError`: the caller asked for something the protocol does not
allow. Anything else that escapes from a decoder is a bug, and the fuzzers test that sentence. No text for users lives here.
"""

from __future__ import annotations

import enum


class ErrorCode(enum.IntEnum):
    """Every code of [P-9]; the number is what travels."""

    BAD_FRAME = 1
    UNSUPPORTED_VERSION = 2
    BAD_HANDSHAKE = 3
    BAD_RECORD = 4
    REKEY_REQUIRED = 5
    TOO_SLOW = 6
    IDLE = 7
    REPLACED = 8
    DRAINING = 9
    INTERNAL = 10
    TOKEN_INVALID = 11
    TOKEN_EXPIRED = 12
    TOKEN_REVOKED = 13
    STALE_CONNECTION = 14
    BUSY = 15
    ISOLATED = 16
    TIMEOUT = 17
    SHUTDOWN = 18
    LOGIN_FAILED = 32
    THROTTLED = 33
    REGISTRATION_CLOSED = 35
    NAME_INVALID = 36
    NAME_TAKEN = 37
    PASSWORD_REFUSED = 38
    NO_FREE_SLOT = 39
    BAD_COMMAND = 64
    UNKNOWN_COMMAND = 65
    TOO_LARGE = 66
    NOT_ALLOWED = 67
    ID_CONFLICT = 68
    BAD_TIME = 69
    OUT_OF_ORDER = 70
    SLOW_DOWN = 71
    STORE_UNAVAILABLE = 72
    RECIPIENT_FULL = 73
    NOT_MEMBER = 74
    MUTED = 75
    RENEWAL_REFUSED = 76
    LIMIT_REACHED = 77


class ProtocolError(Exception):
    """Something the protocol forbids; `code` says what, `field` which field of a content was wrong (None: not a field)."""

    def __init__(self, code: ErrorCode, text: str = "", field: str | None = None) -> None:
        super().__init__(f"{code.name}: {text}" if text else code.name)
        self.code = code
        self.text = text
        self.field = field


class LocalProtocolError(ProtocolError):
    """The caller of this package was wrong: nothing was sent and no state changed."""


class RemoteProtocolError(ProtocolError):
    """The peer was wrong: answer with `code` and close, or refuse the one message where [P-9] says the connection stays."""


class ReportedError(RemoteProtocolError):
    """The peer itself named `code` in an error flight [P-1.4]. Not authenticated: a reason for an end, never a fact."""


class IdentityChangedError(RemoteProtocolError):
    """The login center showed another identity than the pinned one [P-4.1]; `identity` is what it showed (32 bytes)."""

    def __init__(self, identity: bytes) -> None:
        super().__init__(ErrorCode.BAD_HANDSHAKE, "the login center's identity is not the pinned one")
        self.identity = identity
