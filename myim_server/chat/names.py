"""What is a user's name: the one form in which names are kept and compared [P-4.12].

What lives here: normalisation and the rule of one script. What must not: whether a name is taken (`accounts`). Why scripts by the first
word of a character's Unicode name: the standard library knows no script property, and within the scripts allowed here that word is it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

LONGEST_NAME = 32
_SHAPE = re.compile(r"[^._-]+(?:[._-][^._-]+)*")
_DIGITS = frozenset("0123456789")
# Unicode's Default_Ignorable_Code_Point: letters and marks among them that show nothing (the fillers of Hangul, two vowels of Khmer) would
# make two names that look the same. Not in the standard library; those whose kind rules them out anyhow stand here for completeness.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_JAPANESE = "JAPANESE OR HAN"
# Scripts in everyday use (UAX 31, table 5); Han is written together with both kana, so they count as one.
_SCRIPTS = {
    "LATIN": "LATIN", "GREEK": "GREEK", "CYRILLIC": "CYRILLIC", "ARMENIAN": "ARMENIAN", "GEORGIAN": "GEORGIAN",
    "HEBREW": "HEBREW", "ARABIC": "ARABIC", "THAANA": "THAANA", "ETHIOPIC": "ETHIOPIC", "DEVANAGARI": "DEVANAGARI",
    "BENGALI": "BENGALI", "GURMUKHI": "GURMUKHI", "GUJARATI": "GUJARATI", "ORIYA": "ORIYA", "TAMIL": "TAMIL", "TELUGU": "TELUGU",
    "KANNADA": "KANNADA", "MALAYALAM": "MALAYALAM", "SINHALA": "SINHALA", "THAI": "THAI", "LAO": "LAO", "TIBETAN": "TIBETAN",
    "MYANMAR": "MYANMAR", "KHMER": "KHMER", "HANGUL": "HANGUL", "BOPOMOFO": "BOPOMOFO", "CJK": _JAPANESE,
    "IDEOGRAPHIC": _JAPANESE, "HIRAGANA": _JAPANESE, "KATAKANA": _JAPANESE, "KATAKANA-HIRAGANA": _JAPANESE,
}  # fmt: skip


class UserName(NamedTuple):
    """`folded` is compared and unique; `shown` keeps the case in which it was registered."""

    folded: str
    shown: str


def parse_name(name: str) -> UserName | None:
    """The name in both forms, or None if no account can have it [P-4.12].

    A name is, after NFKC and case folding, 1 to 32 letters and digits of one script, all of them visible, with single `.`, `_` or `-`
    between them.
    """
    if not 0 < len(name) <= 4 * LONGEST_NAME:  # bounds the work; decomposed letters are longer than what is counted
        return None
    shown = unicodedata.normalize("NFKC", name)
    folded = unicodedata.normalize("NFKC", shown.casefold())
    for form in (shown, folded):
        if not 0 < len(form) <= LONGEST_NAME or _INVISIBLE.search(form) or not _SHAPE.fullmatch(form) or not _is_of_one_script(form):
            return None
    return UserName(folded, shown)


def parse_beginning(text: str) -> str | None:
    """What the folded names begin with that begin so; None if no name does."""
    stem = text.rstrip("._-")
    parsed = parse_name(stem)
    return None if parsed is None or len(text) - len(stem) > 1 else parsed.folded + text[len(stem) :]


def _is_of_one_script(name: str) -> bool:
    scripts = set()
    previous_is_letter = False
    for character in name:
        if character in _DIGITS or character in "._-":
            previous_is_letter = False
            continue
        category = unicodedata.category(character)
        if category[0] not in "LM" or (category[0] == "M" and not previous_is_letter):
            return False
        scripts.add(_SCRIPTS.get(unicodedata.name(character, "").partition(" ")[0]))
        previous_is_letter = True
    return len(scripts) <= 1 and None not in scripts
