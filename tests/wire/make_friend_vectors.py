"""The worked examples of friends: lists with their canonical bytes and hashes, and what is said. Written by `make_vectors`."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

from myim_wire.friend_contents import Friend
from myim_wire.friend_requests import FriendChangeRequest, FriendRequest, ProfileRequest
from myim_wire.messages import QOS1, REPLY, Command
from tests.wire import friend_examples as examples
from tests.wire.fixed import MICROSECONDS, TICKET
from tests.wire.message_cases import message_case

NAME = MICROSECONDS // 64 * 64 + TICKET.slot


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _group(case: tuple[int, int, str], friends: tuple[Friend, ...]) -> dict[str, Any]:
    group, position, name = case
    members = [friend for friend in friends if friend.group == group]
    canonical = b"".join(
        friend.user.to_bytes(8, "big") + b"".join(map(_text, friend.canonical[1:])) for friend in sorted(members, key=lambda one: one.user)
    )
    listed = [
        {
            "user": str(friend.user), "name": friend.name, "remark": friend.remark, "display_name": friend.display_name,
            "avatar": friend.avatar, "signature": friend.signature,
        }
        for friend in members
    ]  # fmt: skip
    return {
        "id": group, "position": position, "name": name, "friends": listed, "canonical": canonical.hex(), "hash": _md5(canonical).hex(),
    }  # fmt: skip


def friends_vector() -> dict[str, Any]:
    """Whole lists, their bytes and hashes computed a second time, straight from the clause."""
    cases = []
    for name, (groups, friends) in examples.LISTS.items():
        listed = [_group(group, friends) for group in groups]
        in_order = sorted(listed, key=lambda group: int(group["id"]))
        canonical = b"".join(
            group["id"].to_bytes(4, "big") + group["position"].to_bytes(4, "big") + _text(group["name"]) for group in in_order
        )
        hashes = b"".join(bytes.fromhex(group["hash"]) for group in in_order)
        root = _md5(canonical) + _md5(hashes) if listed else bytes(32)
        cases.append({"name": name, "groups": listed, "canonical": canonical.hex(), "root": root.hex()})
    return {
        "about": "whole lists, friends and groups in no order; canonical: what is hashed, of a group's friends and of the list of groups; "
        "user ids are decimal strings",
        "cases": cases,
    }


def friend_messages() -> list[dict[str, Any]]:
    """What is said about friends, profiles and presence."""
    ann, c, t = examples.ANN, "center", "terminal"
    times = itertools.count(NAME, 64)
    requests: tuple[tuple[str, Command, tuple[FriendRequest | FriendChangeRequest | ProfileRequest, ...]], ...] = (
        ("friends", Command.FRIENDS, examples.FRIEND_REQUESTS), ("friend change", Command.FRIEND_CHANGE, examples.CHANGE_REQUESTS),
        ("signature", Command.SIGNATURE, examples.PROFILE_REQUESTS),
    )  # fmt: skip
    asked = [
        message_case(f"{name}: {one.op}", t, command, QOS1, ann, 0, next(times), one.encode())
        for name, command, values in requests for one in values
    ]  # fmt: skip
    answered = [
        message_case(f"{name} answered", c, command, REPLY, ann, 0, NAME, content)
        for name, command, content in (
            ("friends: sync, unchanged,", Command.FRIENDS, examples.UNCHANGED.encode()),
            ("friends: sync, one changed and one removed,", Command.FRIENDS, examples.ONE_CHANGED.encode()),
            ("friends: sync, groups changed,", Command.FRIENDS, examples.GROUPS_CHANGED.encode()),
            ("friends: sync, too old,", Command.FRIENDS, examples.TOO_OLD.encode()),
            ("friends: list", Command.FRIENDS, examples.FRIENDS.encode()),
            ("friends: requests", Command.FRIENDS, examples.REQUESTS.encode()),
            ("friends: blocked", Command.FRIENDS, examples.BLOCKED.encode()),
            ("friends: search", Command.FRIENDS, examples.FOUND.encode()),
            ("friend change", Command.FRIEND_CHANGE, examples.CHANGED.encode()),
            ("signature: set", Command.SIGNATURE, examples.MINE.encode()),
            ("signature: get", Command.SIGNATURE, examples.PROFILES.encode()),
            ("friends online", Command.FRIENDS_ONLINE, examples.ONLINE.encode()),
            ("friends online, some,", Command.FRIENDS_ONLINE, examples.SOME_ONLINE.encode()),
            ("presence", Command.PRESENCE, examples.BUSY.encode()),
        )
    ]  # fmt: skip
    return [
        *asked,
        message_case("friends online", t, Command.FRIENDS_ONLINE, QOS1, ann, 0, next(times), examples.ASK_ONLINE.encode()),
        message_case("presence", t, Command.PRESENCE, QOS1, ann, 0, next(times), examples.BUSY.encode()),
        *answered,
        message_case("the list changed", c, Command.FRIEND_CHANGE, 0, 0, 0, 0, examples.LIST_CHANGED.encode()),
        message_case("a request came", c, Command.FRIEND_CHANGE, 0, 0, 0, 0, examples.ASKED.encode()),
        message_case("presences changed", c, Command.PRESENCE, 0, 0, 0, 0, examples.PRESENCES.encode()),
    ]
