"""What users may write where others read it beside their own: no controls, nothing that turns or hides what stands around it.

What must not live here: what a name must be to be unique (`names`), lengths (the wire and the tables have them).
"""

from __future__ import annotations

import unicodedata

from myim_server.refusals import RequestRefused
from myim_wire.errors import ErrorCode

# The marks that turn the direction of what stands beside them.
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_BREAKING = "\u2028\u2029"


def check_title(name: str, max_characters: int, what: str) -> str:
    """The name of something as it is kept; RequestRefused NAME_INVALID. It need not be unique, only visible."""
    shown = unicodedata.normalize("NFC", name).strip()
    is_seen = any(c.isprintable() and not c.isspace() for c in shown)
    if not 0 < len(shown) <= max_characters or not _is_sound(shown) or not is_seen:
        raise RequestRefused(ErrorCode.NAME_INVALID, f"{what} is 1 to {max_characters} visible characters", field="name")
    return shown


def check_text(text: str, field: str) -> str:
    """A text of several lines, as it is; RequestRefused BAD_COMMAND for control characters other than line ends."""
    if not _is_sound(text.replace("\n", " ")):
        raise RequestRefused(ErrorCode.BAD_COMMAND, "control characters", field=field)
    return text


def check_line(text: str, field: str) -> str:
    """A text of one line, as it is; RequestRefused BAD_COMMAND for control characters."""
    if not _is_sound(text) or any(c in _BREAKING for c in text):
        raise RequestRefused(ErrorCode.BAD_COMMAND, "control characters", field=field)
    return text


def _is_sound(text: str) -> bool:
    return not any(unicodedata.category(c) in ("Cc", "Cs") or c in _TURNING for c in text)
