"""Every exception the SDK raises on purpose: one small family under `MyimError`.

What happens to a single message (received, stored, refused, unknown) is an `Outcome`, not an exception; what happens to the
connection is an event. Exceptions are for calls that could not do what they were asked.
"""

from __future__ import annotations


class MyimError(Exception):
    """Anything this package raises on purpose."""


class ServerUnreachable(MyimError):
    """No server answered as it should; `server` is HOST:PORT or a list of them. Trying again later may help."""

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(f"{server}: {reason}")
        self.server = server
        self.reason = reason


class LoginRefused(MyimError):
    """The login center refused; `code` is one of [P-9] (32-39, 15), `retry_ms` milliseconds after which to try again (0: no hint)."""

    def __init__(self, code: int, text: str, retry_ms: int = 0) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.retry_ms = retry_ms


class IdentityChanged(MyimError):
    """The login center shows another identity than the pinned one [P-4.1]: somebody stands in between, or it was made anew.

    `pinned` and `offered` are the two Ed25519 public keys, 32 bytes each. Nothing secret was sent.
    """

    def __init__(self, server: str, pinned: bytes, offered: bytes) -> None:
        super().__init__(
            f"THE IDENTITY OF {server} HAS CHANGED. Somebody may be reading along; nothing was sent.\n"
            f"  pinned:  {pinned.hex()}\n  offered: {offered.hex()}\n"
            "If its owner confirms the new one, remove the old pin (Terminal.unpin, or `myim unpin`)."
        )
        self.server = server
        self.pinned = pinned
        self.offered = offered


class LoginNeeded(MyimError):
    """The profile holds no token that could serve (never logged in, expired, revoked, another machine): log in with the password."""


class NotConnected(MyimError):
    """There is no session just now and the call needs one; the client goes on trying by itself."""


class RequestRefused(MyimError):
    """A center refused a request (LOOKUP, …); `code` [P-9], `retry_ms` in milliseconds (0: no hint), `field` the wrong field or ""."""

    def __init__(self, code: int, text: str, retry_ms: int = 0, field: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.retry_ms = retry_ms
        self.field = field


class NameUnknown(MyimError):
    """No user of that name that one may know of [P-7.13]."""


class NotSettled(MyimError, TimeoutError):
    """`Handle.wait` ended before the message was settled; it stays in the outbox and is sent on."""


class OutboxFull(MyimError):
    """The outbox holds as much unsettled as it may; wait for settlings."""


class BodyTooLarge(MyimError, ValueError):
    """A body of more than 32,768 bytes [P-3.5]."""


class ProfileRefused(MyimError):
    """A profile or terminal directory cannot be used: in use by another process, readable by others, damaged, of another release."""


class WithinTransaction(MyimError):
    """The call waits for a commit or for the center, and its thread holds a transaction: use `Transaction.send`, or ask before."""


class ClientClosed(MyimError):
    """The client was closed, or another session of the same terminal replaced it [P-5.4]."""
