"""The login connection as the terminal walks it [P-4]: register, log in, change the password, end the account, ask for servers.

What a login gives goes into the profile. The handshake itself is `myim_wire.login_handshake`; here are the socket, the pin, the
deadline and the words for people. The password is never kept.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

from myim_client.addresses import split_address
from myim_client.errors import IdentityChanged, LoginNeeded, LoginRefused, ProfileRefused, ServerUnreachable
from myim_client.profile import Account, Profile
from myim_client.terminal import Terminal
from myim_wire.contents import Grant, LastLogin, Operation, RenewedToken, Server
from myim_wire.errors import ErrorCode, IdentityChangedError, LocalProtocolError, ProtocolError, ReportedError
from myim_wire.login_flights import Granted, IdentityShown, LoginClientEvent, Refused, ServerKeyCertified, ServersListed
from myim_wire.login_handshake import LoginClient
from myim_wire.transport import Transport

CONNECT_SECONDS = 5.0
DECISION_SECONDS = 30.0

_WORDS: dict[int, str] = {
    ErrorCode.BUSY: "the login center is busy",
    ErrorCode.DRAINING: "this server is being emptied; use another one",
    ErrorCode.ISOLATED: "this server is cut off from the others; use another one",
    ErrorCode.LOGIN_FAILED: "wrong name or password, or the account is locked",
    ErrorCode.THROTTLED: "too many failed logins",
    ErrorCode.REGISTRATION_CLOSED: "registration is closed here",
    ErrorCode.NAME_INVALID: "a name has 1 to 32 letters and digits of one script, and . _ - between them",
    ErrorCode.NAME_TAKEN: "the name is taken",
    ErrorCode.PASSWORD_REFUSED: "the password is too short (8 characters), too common, or contains the name",
    ErrorCode.NO_FREE_SLOT: "the user has 64 terminals that were active within 40 days",
}


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """What a login gave: the account, now in the profile at `path`, and what the user should know about the login before.

    `is_new_terminal`, `is_new_network`: the first login of this user from here; a warning unless it is expected.
    """

    account: Account
    path: Path
    last_login: LastLogin | None
    is_new_terminal: bool
    is_new_network: bool


def code_name(code: int) -> str:
    """The name of a code of [P-9]; of one that this release does not know, that it is unknown."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"UNKNOWN_CODE_{code}"


def in_time(milliseconds: int) -> str:
    """"in 3 s", "in 2 min": rounded up, so that who waits so long has waited long enough."""
    seconds = -(-milliseconds // 1000)
    return f"in {seconds} s" if seconds <= 120 else f"in {-(-seconds // 60)} min"


def _why(code: int, retry_ms: int) -> str:
    words = _WORDS.get(code) or f"refused: {code_name(code)}"
    if retry_ms:
        return f"{words}; try again {in_time(retry_ms)}"
    return f"{words}; try again later" if code in (ErrorCode.BUSY, ErrorCode.THROTTLED) else words


def register(
    terminal: Terminal, server: str, name: str, password: str, *, path: str | Path | None = None, identity: bytes | None = None
) -> LoggedIn:
    """Make the account `name` at the login center `server` (HOST:PORT) and log in; the rest as `login`.

    A profile that belongs to an account already is ProfileRefused before anything is made at the server.
    """
    return _log_in(terminal, server, "register", name, password, path, identity)


def login(
    terminal: Terminal, server: str, name: str, password: str, *, path: str | Path | None = None, identity: bytes | None = None
) -> LoggedIn:
    """Log in with the password and keep account and token in the profile (default `terminal.profile_path(server, name)`).

    `identity` (32 bytes) is the login center's, if it is known beforehand; else the pinned one, else the one shown is trusted and
    pinned. Raises LoginRefused, IdentityChanged, ServerUnreachable, ProfileRefused, ValueError (server).
    """
    return _log_in(terminal, server, "login", name, password, path, identity)


def change_password(
    terminal: Terminal, server: str, name: str, old: str, new: str, *, path: str | Path | None = None, identity: bytes | None = None
) -> LoggedIn:
    """Set the password `new`: all tokens of the user end, and this terminal is logged in anew; the rest as `login`.

    A running client has its profile in use: `client.account.change_password` is its way.
    """
    return _log_in(terminal, server, "password", name, old, path, identity, new)


def delete_account(terminal: Terminal, server: str, name: str, password: str, *, identity: bytes | None = None) -> None:
    """End the account for good: everything of the user goes, its name rests for 40 days. Raises as `login`.

    The profile stays as it is: what it holds is the application's to remove.
    """
    if _proven(terminal, server, "delete", name, password, identity).user:
        raise ServerUnreachable(server, "it answered with something else")


def ask_servers(terminal: Terminal, server: str) -> tuple[Server, ...]:
    """The server list of the login center, best first, without logging in [P-4.10]. Raises as `login`."""
    walk = _Walk(terminal, server, terminal.pin(server))
    try:
        walk.greet()
        event = walk.step(walk.client.ask_servers())
    finally:
        walk.close()
    if not isinstance(event, ServersListed):
        raise ServerUnreachable(server, "it answered with something else")
    return event.servers


def _log_in(
    terminal: Terminal, server: str, op: Operation, name: str, password: str, path: str | Path | None, identity: bytes | None,
    new_password: str = "",
) -> LoggedIn:  # fmt: skip
    path = Path(path) if path is not None else terminal.profile_path(server, name)
    # opened first: a profile in use, or a full disk, must not cost a login (a login ends the sessions of the one before)
    is_new = not path.exists()
    profile = Profile.open(path, create=True)
    try:
        if op == "register":
            _check_unused(profile)
        logged_in = log_in_to(profile, terminal, server, op, name, password, identity, new_password)
    except BaseException:
        profile.close()
        if is_new:
            path.unlink(missing_ok=True)
        raise
    profile.close()
    return logged_in


def _check_unused(profile: Profile) -> None:
    try:
        account = profile.account()
    except LoginNeeded:
        return
    raise ProfileRefused(
        f"{account.name} (@{account.user}) is registered here already, in {profile.path}: log in, or, if this server is another "
        "installation now, use another terminal directory (--home)"
    )


def log_in_to(
    profile: Profile, terminal: Terminal, server: str, op: Operation, name: str, password: str, identity: bytes | None = None,
    new_password: str = "",
) -> LoggedIn:  # fmt: skip
    """As `login`, into an open profile. The identity is pinned once it is proven, whether or not the login succeeds."""
    grant = _proven(terminal, server, op, name, password, identity, new_password)
    now_us = time.time_ns() // 1000
    account = Account(
        login_server=server, user=grant.user, name=grant.name, slot=grant.slot, terminal_key=terminal.public_key, token=b"",
        session_key=b"", renew_at=0, expires_at=0, servers=grant.servers,
    ).renewed(RenewedToken(grant.token, grant.session_key, grant.issued, grant.expires), now_us)  # fmt: skip
    profile.log_in(account)
    return LoggedIn(account, profile.path, grant.last_login, grant.new_terminal, grant.new_network)


def _proven(
    terminal: Terminal, server: str, op: Operation, name: str, password: str, identity: bytes | None, new_password: str = ""
) -> Grant:
    walk = _Walk(terminal, server, identity or terminal.pin(server))
    try:
        # before any secret goes out, and whatever becomes of it: who stands between at the first login is noticed at the second
        _keep_identity(terminal, server, walk.greet(), is_known=identity is not None)
        return walk.present(op, name, password, new_password)
    finally:
        walk.close()


def _keep_identity(terminal: Terminal, server: str, shown: bytes, is_known: bool) -> None:
    if is_known:
        terminal.keep_pin(server, shown)
    elif (pinned := terminal.trust(server, shown)) != shown:
        raise IdentityChanged(server, pinned, shown)


class _Walk:
    """One login connection, flight by flight."""

    def __init__(self, terminal: Terminal, server: str, pinned: bytes | None) -> None:
        self._server = server
        self._pinned = pinned
        self._deadline = time.monotonic() + CONNECT_SECONDS
        host, port = split_address(server)
        self.client = LoginClient(os.urandom(32), os.urandom(32), terminal.fingerprint, terminal.secret, pinned)
        try:
            self._transport = Transport.connect(host, port, CONNECT_SECONDS)
        except (OSError, UnicodeError) as error:
            raise ServerUnreachable(server, getattr(error, "strerror", None) or str(error)) from None

    def close(self) -> None:
        self._transport.close()

    def greet(self) -> bytes:
        """Flights 1 and 2: the identity the center proved."""
        event = self.step(self.client.hello())
        assert isinstance(event, IdentityShown)
        return event.identity

    def present(self, op: Operation, name: str, password: str, new_password: str) -> Grant:
        """Flights 3 to 6."""
        event = self.step(self.client.present_terminal())
        assert isinstance(event, ServerKeyCertified)
        # hashing waits in a queue at the center; the handshake's own deadline does not count that
        self._deadline = time.monotonic() + DECISION_SECONDS
        try:
            frame = self.client.credentials(op, name, password, platform.node()[:64], new_password)
        except (LocalProtocolError, UnicodeEncodeError):
            raise LoginRefused(ErrorCode.LOGIN_FAILED, "no name or password can be so long, or made of such characters") from None
        event = self.step(frame)
        if isinstance(event, Refused):
            raise LoginRefused(event.code, _why(event.code, event.retry_ms), event.retry_ms)
        assert isinstance(event, Granted)
        return event.grant

    def step(self, frame: bytes) -> LoginClientEvent:
        """Send a flight and take the answer."""
        try:
            self._transport.write(frame, self._deadline)
            return self.client.receive(self._transport.read_frame(self._deadline))[0]
        except IdentityChangedError as error:
            raise IdentityChanged(self._server, self._pinned or b"", error.identity) from None
        except ProtocolError as error:
            if error.code == ErrorCode.BUSY:
                raise LoginRefused(error.code, _why(error.code, 0)) from None
            words = _WORDS.get(error.code) if isinstance(error, ReportedError) else None
            raise ServerUnreachable(self._server, f"{words}, or try again later" if words else str(error)) from None
        except TimeoutError:
            raise ServerUnreachable(self._server, "no answer in time") from None
        except (OSError, EOFError) as error:
            raise ServerUnreachable(self._server, getattr(error, "strerror", None) or str(error)) from None
