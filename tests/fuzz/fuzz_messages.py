"""Fuzzes messages and every content: `python tests/fuzz/fuzz_messages.py -atheris_runs=N`. Only ProtocolError may come out.

What decodes is encoded again and has to give the same bytes: there is one form of everything but of msgpack. There it has to
give the same value.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol

import atheris

with atheris.instrument_imports(include=["myim_wire"]):
    from myim_wire.account_contents import ExportPart, LoginPage, TerminalPage, decode_account_push, decode_account_request
    from myim_wire.bodies import (
        decode_count,
        decode_error,
        decode_numbered_settling,
        decode_pairs,
        decode_settling,
        encode_pairs,
        split_group_content,
        split_trailer,
    )
    from myim_wire.contents import Credentials, FoundUser, Grant, RenewedToken, decode_lookup, decode_servers
    from myim_wire.errors import ErrorCode, ProtocolError
    from myim_wire.flights import unpad
    from myim_wire.friend_contents import BlockedPage, Changed, FoundPage, FriendPage, RequestPage, Synced, decode_friend_push
    from myim_wire.friend_requests import decode_friend_change_request, decode_friend_request, decode_profile_request
    from myim_wire.group_contents import GroupFetched, GroupPage, GroupState, MemberPage, PendingPage, decode_group_fetch, decode_group_push
    from myim_wire.group_requests import decode_group_request
    from myim_wire.messages import LEGAL_FROM_CENTER, LEGAL_FROM_TERMINAL, Side, check_content, decode_messages, encode_message
    from myim_wire.packing import unpack_map
    from myim_wire.presence_contents import AskOnline, OnlinePage, PresenceChanged, SetPresence
    from myim_wire.profile_contents import Profile, ProfilePage

CONTENTS = (
    unpack_map, decode_servers, decode_lookup, decode_error, decode_pairs, decode_count, decode_settling, split_trailer, unpad,
    Credentials.decode, Grant.decode, RenewedToken.decode, FoundUser.decode, decode_numbered_settling, split_group_content,
    decode_group_fetch,
)  # fmt: skip
VALUES: tuple[Callable[[bytes], Structure], ...] = (
    decode_group_request, decode_group_push, GroupState.decode, GroupPage.decode, MemberPage.decode, PendingPage.decode,
    GroupFetched.decode,
    decode_friend_request, decode_friend_change_request, decode_profile_request, decode_friend_push, Synced.decode, FriendPage.decode,
    RequestPage.decode, BlockedPage.decode, FoundPage.decode, Changed.decode, Profile.decode, ProfilePage.decode,
    SetPresence.decode, AskOnline.decode, OnlinePage.decode, PresenceChanged.decode,
    decode_account_request, decode_account_push, TerminalPage.decode, LoginPage.decode, ExportPart.decode,
)  # fmt: skip


class Structure(Protocol):
    """What is written as it was read."""

    def encode(self) -> bytes:
        """The content."""


def one_input(data: bytes) -> None:
    """Decode as a record's plaintext from either side, and as every content."""
    for legal in (LEGAL_FROM_TERMINAL, LEGAL_FROM_CENTER):
        try:
            messages = decode_messages(data, legal)
        except ProtocolError as error:
            assert error.code in (ErrorCode.BAD_FRAME, ErrorCode.BAD_COMMAND)
            continue
        assert b"".join(encode_message(*message) for message in messages) == data
        for message in messages:
            for side in Side:
                try:
                    check_content(message, side)
                except ProtocolError:
                    pass
    for decode in CONTENTS:
        try:
            value = decode(data)
        except ProtocolError:
            continue
        if decode is decode_pairs:
            assert encode_pairs(*decode_pairs(data)) == data, value
    for read in VALUES:
        try:
            structure = read(data)
        except ProtocolError:
            continue
        assert read(structure.encode()) == structure


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
