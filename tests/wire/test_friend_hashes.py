"""The canonical form and its hashes [P-7.14]: whatever the order given, other for every other list, and as the page's script has them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from myim_wire.errors import ErrorCode, LocalProtocolError
from myim_wire.friend_contents import Friend
from myim_wire.friend_hashes import (
    NO_ROOT,
    CanonicalFriend,
    GroupHash,
    encode_friend,
    encode_text,
    hash_friends,
    hash_group_list,
    hash_list,
    root_of,
)  # fmt: skip

ROOT = Path(__file__).parent.parent.parent
VECTOR = Path("tests/wire/vectors/friends.json")
CASES: list[dict[str, Any]] = json.loads((ROOT / VECTOR).read_text())["cases"]

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
U64, U32 = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)
FRIENDS = st.lists(st.builds(Friend, U64, U32, TEXT, TEXT, TEXT, TEXT, TEXT), max_size=6, unique_by=lambda friend: friend.user)
GROUPS = st.lists(st.tuples(U32, U32, TEXT), min_size=1, max_size=5, unique_by=lambda group: group[0])
LISTS = st.tuples(GROUPS, FRIENDS).map(lambda made: (made[0], inside(*made)))


def inside(groups: list[tuple[int, int, str]], friends: list[Friend]) -> list[tuple[int, CanonicalFriend]]:
    """The friends, each in one of the groups."""
    return [(groups[friend.group % len(groups)][0], friend.canonical) for friend in friends]


def friend_of(case: dict[str, Any]) -> CanonicalFriend:
    return int(case["user"]), *(case[name] for name in ("name", "remark", "display_name", "avatar", "signature"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_lists_of_the_page_have_its_bytes_and_hashes(case: dict[str, Any]) -> None:
    groups = [(group["id"], group["position"], group["name"]) for group in case["groups"]]
    friends = [(group["id"], friend_of(friend)) for group in case["groups"] for friend in group["friends"]]
    root, hashes = hash_list(groups, friends)
    assert root.hex() == case["root"] and {group["id"]: group["hash"] for group in case["groups"]} == {
        group: value.hex() for group, value in hashes.items()
    }
    for group in case["groups"]:
        members = sorted(friend_of(friend) for friend in group["friends"])
        assert b"".join(map(encode_friend, members)).hex() == group["canonical"] and hash_friends(members).hex() == group["hash"]
    if groups:
        assert hash_group_list(groups) == hashlib.md5(bytes.fromhex(case["canonical"])).digest() == root[:16]


def test_the_examples_are_of_every_kind_of_list() -> None:
    assert CASES[0]["root"] == NO_ROOT.hex() and len({case["root"] for case in CASES}) == len(CASES)
    many = CASES[-1]["groups"]
    assert [group["id"] for group in many] != sorted(group["id"] for group in many)
    users = [[int(friend["user"]) for friend in group["friends"]] for group in many]
    assert [] in users and any(inside_of != sorted(inside_of) for inside_of in users)


@given(LISTS, st.randoms(use_true_random=False))
def test_the_order_given_changes_nothing(made: tuple[list[tuple[int, int, str]], list[tuple[int, CanonicalFriend]]], chance: Any) -> None:
    groups, friends = made
    before = hash_list(groups, friends)
    chance.shuffle(groups)
    chance.shuffle(friends)
    assert hash_list(groups, friends) == before


@given(LISTS, LISTS)
def test_lists_that_differ_have_roots_that_differ(one: Any, other: Any) -> None:
    assume([*map(sorted, one)] != [*map(sorted, other)])
    assert hash_list(*one)[0] != hash_list(*other)[0]


@given(LISTS)
def test_the_root_is_of_the_list_of_groups_and_of_their_hashes(made: Any) -> None:
    root, hashes = hash_list(*made)
    assert root == root_of(hash_group_list(made[0]), hashes) and root != NO_ROOT
    assert root[16:] == hashlib.md5(b"".join(hashes[group] for group in sorted(hashes))).digest()
    for group, value in hashes.items():
        assert value == hash_friends(friend for inside_of, friend in made[1] if inside_of == group)


@given(FRIENDS, st.integers(1, 3))
def test_a_group_may_be_hashed_in_pages(friends: list[Friend], size: int) -> None:
    ascending = sorted(friend.canonical for friend in friends)
    group = GroupHash()
    for start in range(0, len(ascending), size):
        group.add(ascending[start : start + size])
    assert group.digest() == hash_friends(ascending)


def test_who_never_had_anything_has_zeros() -> None:
    assert hash_list([], []) == (bytes(32), {})


@pytest.mark.parametrize("text", ["\ud800", "x" * 65_536])
def test_what_has_no_canonical_form_is_refused(text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode_text(text)
    assert caught.value.code == ErrorCode.BAD_COMMAND


def script() -> str:
    """The script of the page, as it stands there."""
    (found,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "protocol.md").read_text(), re.DOTALL)
    return str(found)


def run_script(directory: Path) -> subprocess.CompletedProcess[str]:
    """The script, run where the vectors are, by a Python that sees nothing but its standard library."""
    return subprocess.run([sys.executable, "-I", "-S", "-c", script()], cwd=directory, capture_output=True, text=True, timeout=60)


def copied(tmp_path: Path) -> Path:
    (tmp_path / VECTOR).parent.mkdir(parents=True)
    shutil.copy(ROOT / VECTOR, tmp_path / VECTOR)
    return tmp_path / VECTOR


def test_the_script_of_the_page_has_ten_lines_and_reproduces_the_vectors(tmp_path: Path) -> None:
    assert len(script().splitlines()) <= 10
    copied(tmp_path)
    done = run_script(tmp_path)
    assert done.returncode == 0 and done.stdout.split() == [case["root"] for case in CASES], done.stderr


@pytest.mark.parametrize(("old", "new"), [
    ("nine", "nino"), ('"id": 200', '"id": 201'), ('"position": 1', '"position": 2'), ('"42"', '"44"'),
])  # fmt: skip
def test_the_script_of_the_page_finds_what_is_otherwise(old: str, new: str, tmp_path: Path) -> None:
    path = copied(tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    done = run_script(tmp_path)
    assert done.returncode and "AssertionError" in done.stderr
