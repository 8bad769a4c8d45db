"""Words for people: what a refusal's code means, and the command that helps. Codes are told by their names, never as numbers.

Not here: what happened (`client`), and how it looks on the screen (`console`, `console_chat`).
"""

from __future__ import annotations

import shlex
from pathlib import Path

from myim_client.login import code_name, in_time
from myim_client.printable import printable
from myim_wire.errors import ErrorCode

DEFAULT_SERVER = "127.0.0.1:7400"
DEFAULT_HOME = "~/.myim"

# Where a code is not here, the center's own words say more.
_REASONS: dict[int, str] = {
    ErrorCode.TOO_LARGE: "a message has at most 32,768 bytes",
    ErrorCode.NOT_ALLOWED: "there is no such user, or none that takes this from you",
    ErrorCode.ID_CONFLICT: "another message had this one's name before",
    ErrorCode.BAD_TIME: "the center does not take this message's time; is the clock right?",
    ErrorCode.OUT_OF_ORDER: "a message before it was refused",
    ErrorCode.SLOW_DOWN: "too much at once",
    ErrorCode.STORE_UNAVAILABLE: "the server's database does not answer",
    ErrorCode.RECIPIENT_FULL: "too much is waiting there already",
    ErrorCode.BUSY: "too many ask at once",
    ErrorCode.TOKEN_INVALID: "the login does not serve here any more",
    ErrorCode.TOKEN_EXPIRED: "the login is too old",
    ErrorCode.TOKEN_REVOKED: "logged out, or logged in anew",
    ErrorCode.RENEWAL_REFUSED: "the password is needed again",
    ErrorCode.NOT_MEMBER: "you are not a member of this group",
    ErrorCode.MUTED: "you may not speak there just now",
    ErrorCode.LIMIT_REACHED: "there may be no more",
}
_REASONS_IN_GROUPS: dict[int, str] = {
    ErrorCode.NOT_ALLOWED: "there is no such group or user, or this is not for you to do",
}


def why(code: int, text: str = "", retry_ms: int = 0, is_group: bool = False) -> str:
    """The name of a code of [P-9] and what it means; when to try again, if known.

    `text` (the center's) where there are no words for it, and where it says which limit was reached. is_group: it was about a group.
    """
    words = (is_group and _REASONS_IN_GROUPS.get(code)) or _REASONS.get(code) or printable(text)
    if code == ErrorCode.LIMIT_REACHED and text:
        words = f"{words}: {printable(text)}"
    again = f"; try again {in_time(retry_ms)}" if retry_ms else ""
    return f"{code_name(code)}, {words}{again}" if words else code_name(code) + again


def how_to_log_in(server: str, home: Path, name: str) -> str:
    """What to type to log in as `name`; server and home only where they are not the usual ones."""
    words = ["myim"]
    if server != DEFAULT_SERVER:
        words += ["--server", server]
    if home != Path(DEFAULT_HOME).expanduser():
        words += ["--home", str(home)]
    return shlex.join([*words, "login", name])
