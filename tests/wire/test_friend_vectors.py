"""What the worked examples and the page say about friends, profiles and presence: the library reads it, and has no more and no less."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Protocol

import pytest

from myim_wire.friend_contents import BlockedPage, Changed, FoundPage, FriendPage, RequestPage, Synced, decode_friend_push
from myim_wire.friend_requests import (
    FRIEND_CHANGE_OPS,
    FRIEND_OPS,
    PROFILE_OPS,
    decode_friend_change_request,
    decode_friend_request,
    decode_profile_request,
)  # fmt: skip
from myim_wire.messages import REPLY, Command, Message, Side, check_content
from myim_wire.presence_contents import AskOnline, OnlinePage, PresenceChanged, SetPresence
from myim_wire.profile_contents import Profile, ProfilePage

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "protocol.md").read_text()
COMMANDS = (Command.FRIENDS, Command.FRIEND_CHANGE, Command.SIGNATURE, Command.FRIENDS_ONLINE, Command.PRESENCE)
MESSAGES: list[dict[str, Any]] = json.loads((ROOT / "tests" / "wire" / "vectors" / "messages.json").read_text())["cases"]
CASES = [case for case in MESSAGES if case["command"] in COMMANDS]


class Structure(Protocol):
    """What can be written."""

    def encode(self) -> bytes:
        """The content."""


def asked(command: int, content: bytes) -> Structure:
    """What a terminal says."""
    match command:
        case Command.FRIENDS:
            return decode_friend_request(content)
        case Command.FRIEND_CHANGE:
            return decode_friend_change_request(content)
        case Command.SIGNATURE:
            return decode_profile_request(content)
        case Command.FRIENDS_ONLINE:
            return AskOnline.decode(content)
        case _:
            return SetPresence.decode(content)


def answered(command: int, name: str, content: bytes) -> Structure:
    """What a center replies."""
    match command:
        case Command.FRIENDS:
            pages = {"list": FriendPage, "requests": RequestPage, "blocked": BlockedPage, "search": FoundPage}
            page: Any = pages.get(name.split()[1], Synced)
            return page.decode(content)  # type: ignore[no-any-return]
        case Command.FRIEND_CHANGE:
            return Changed.decode(content)
        case Command.SIGNATURE:
            return Profile.decode(content) if "set" in name else ProfilePage.decode(content)
        case Command.FRIENDS_ONLINE:
            return OnlinePage.decode(content)
        case _:
            return SetPresence.decode(content)


def pushed(command: int, content: bytes) -> Structure:
    """What a center says unasked."""
    return decode_friend_push(content) if command == Command.FRIEND_CHANGE else PresenceChanged.decode(content)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_structures_of_the_page_are_read_and_written_and_have_the_form_of_their_command(case: dict[str, Any]) -> None:
    content, side = bytes.fromhex(case["content"]), Side(case["from"])
    check_content(Message(case["command"], case["flags"], int(case["user"]), int(case["target"]), int(case["time"]), content), side)
    if side is Side.TERMINAL:
        structure = asked(case["command"], content)
    elif case["flags"] & REPLY:
        structure = answered(case["command"], case["name"], content)
    else:
        structure = pushed(case["command"], content)
    assert structure.encode() == content


def test_the_page_has_an_example_of_every_request_and_names_every_operation() -> None:
    examples = [asked(case["command"], bytes.fromhex(case["content"])) for case in CASES if case["from"] == "terminal"]
    assert [getattr(one, "op", None) for one in examples] == [*FRIEND_OPS, *FRIEND_CHANGE_OPS, *PROFILE_OPS, None, None]
    tables = re.findall(r"\n\| (FRIENDS|FRIEND_CHANGE), op \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE)
    named = {command: re.findall(r"^\| (\w+) \|", rows, re.MULTILINE) for command, rows in tables}
    assert named == {"FRIENDS": [*FRIEND_OPS], "FRIEND_CHANGE": [*FRIEND_CHANGE_OPS]}
    assert all(f'{{op: "{op}", ' in PAGE for op in PROFILE_OPS)
