"""Names: one form to keep and compare them in, one script, nothing that looks like another name [P-4.12]."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_server.chat.names import parse_name

SAME = [
    ("Alice", "alice"),
    ("ALICE", "alice"),
    ("ＡＬＩＣＥ", "alice"),
    ("e\u0301mile", "émile"),
    ("Straße", "strasse"),
    ("ﬃ", "ffi"),
    ("𝒜lice", "alice"),
    ("a.b_c-d", "a.b_c-d"),
    ("张三", "张三"),
    ("佐々木タナカーの", "佐々木タナカーの"),
    ("김철수", "김철수"),
    ("Иван", "иван"),
    ("हिन्दी", "हिन्दी"),
    ("สมชาย7", "สมชาย7"),
    ("1", "1"),
    ("a" * 32, "a" * 32),
]
NOT_NAMES = [
    "", " ", "a b", " alice", "alice ", "ali\tce", "alice\0", "a\u202eb", "a\u200bb", "\ufeffa",
    "p\u0430ypal",  # a Cyrillic а among Latin letters
    "аlice", "alic\u0435", "Ωmega1x", "张三abc", "김abc",
    ".a", "a.", "-", "_", "a..b", "a.-b", "a" * 33, "x" * 10_240, "ß" * 17,
    "a@b", "a/b", "a:b", "a'b", "%s", "${x}", "*)(uid=*", "٣", "½", "②²x%",
    "a\u0301\u0302\u0489", "\u0301a", "1\u0e31", "🐎", "\U0010ffff", "a\nb",
]  # fmt: skip


@pytest.mark.parametrize(("typed", "folded"), SAME)
def test_a_name_is_compared_after_nfkc_and_case_folding(typed: str, folded: str) -> None:
    name = parse_name(typed)
    assert name is not None
    assert name.folded == folded


@pytest.mark.parametrize("typed", NOT_NAMES)
def test_what_is_not_letters_and_digits_of_one_script_is_no_name(typed: str) -> None:
    assert parse_name(typed) is None


@pytest.mark.parametrize("invisible", "\u115f\u1160\u3164\uffa0\u17b4\u17b5\u034f\u180b\ufe0f\u00ad\u2060\U000e0100")
@pytest.mark.parametrize("around", ["김{}철수", "កម្ព{}ុជា", "a{}b"])
def test_a_letter_that_shows_nothing_is_in_no_name(around: str, invisible: str) -> None:
    assert parse_name(around.format("")) is not None
    assert parse_name(around.format(invisible)) is None
    assert parse_name(invisible) is None


def test_the_shown_name_keeps_its_case() -> None:
    name = parse_name("McDonald")
    assert name is not None
    assert name.shown == "McDonald"


@given(st.text(max_size=40))
def test_a_folded_name_folds_to_itself(typed: str) -> None:
    name = parse_name(typed)
    if name is not None:
        assert parse_name(name.folded) == (name.folded, name.folded)
        again = parse_name(name.shown)
        assert again == name
