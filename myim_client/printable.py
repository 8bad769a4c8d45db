"""What others sent, made safe to print: a message must not move the cursor, rename the window, turn the line round, or stop the reader."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

_TURNERS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


_LATEST = 253_402_300_799 - 2 * 24 * 3600  # two days before the end of the year 9999, so that no time zone lies beyond it


def local_time(time_us: int) -> datetime:
    """Microseconds since 1970, any u64, in this machine's time zone; what lies beyond the calendar becomes its end."""
    return datetime.fromtimestamp(min(time_us / 1_000_000, _LATEST), UTC).astimezone()


def printable(text: str, keep_lines: bool = False) -> str:
    """`text` with control characters, lone surrogates and marks of writing direction replaced by U+FFFD; tabs become spaces.

    Line ends stay if `keep_lines`, with the lines after the first indented, so that none can pass for another sender's.
    """
    out: list[str] = []
    for character in text:
        if character == "\n" and keep_lines:
            out.append("\n    ")
        elif character == "\t":
            out.append("    ")
        elif character in _TURNERS or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            out.append("\ufffd")
        else:
            out.append(character)
    return "".join(out)
