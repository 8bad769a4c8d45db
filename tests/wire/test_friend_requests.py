"""What terminals ask about friends and profiles [P-7.15], [P-7.16]: read as written, refused by the field that is wrong, within limits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.errors import ErrorCode, ProtocolError
from myim_wire.friend_requests import (
    ASKING,
    FRIEND_CHANGE_OPS,
    FRIEND_OPS,
    PROFILE_OPS,
    SEARCHABLE,
    Accept,
    AddGroup,
    Ask,
    Asking,
    Block,
    ChangeGroup,
    FriendChangeRequest,
    FriendRequest,
    GetProfiles,
    Ignore,
    ListBlocked,
    ListFriends,
    ListRequests,
    MoveFriend,
    ProfileRequest,
    Refuse,
    Remark,
    RemoveFriend,
    RemoveGroup,
    Search,
    Searchable,
    SetProfile,
    Sync,
    Unblock,
    Withdraw,
    decode_friend_change_request,
    decode_friend_request,
    decode_profile_request,
)  # fmt: skip
from myim_wire.packing import pack_map
from tests.wire.friend_examples import CHANGE_REQUESTS, FRIEND_REQUESTS, PROFILE_REQUESTS
from tests.wire.structures import Path, dotted, elements, field_of, places, put, without, wrongly_typed

Request = FriendRequest | FriendChangeRequest | ProfileRequest
Decode = Callable[[bytes], Request]

U64, U32 = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)
ANY_TEXT = st.characters(exclude_categories=["Cs"])
NAME, TEXT = st.text(ANY_TEXT, max_size=64), st.text(ANY_TEXT, max_size=200)
ANY_REQUEST: st.SearchStrategy[Request] = st.one_of(
    st.builds(Sync, U64, st.binary(min_size=32, max_size=32)), st.builds(ListFriends, U32, U64), st.builds(ListRequests, U64),
    st.builds(ListBlocked, U64), st.builds(Search, NAME), st.builds(Ask, U64, TEXT), st.builds(Accept, U64, U32),
    *(st.builds(kind, U64) for kind in (Refuse, Ignore, Withdraw, RemoveFriend, Block, Unblock)),
    st.builds(Remark, U64, NAME), st.builds(MoveFriend, U64, U32), st.builds(AddGroup, NAME, U32), st.builds(RemoveGroup, U32),
    st.builds(ChangeGroup, U32, st.none() | NAME, st.none() | U32).filter(lambda one: one != ChangeGroup(one.group)),
    st.builds(
        SetProfile, st.none() | NAME, st.none() | TEXT, st.none() | TEXT, st.none() | st.sampled_from(SEARCHABLE),
        st.none() | st.sampled_from(ASKING),
    ).filter(lambda one: one != SetProfile()),
    st.builds(GetProfiles, st.lists(U64, min_size=1, max_size=20).map(tuple)),
)  # fmt: skip

DECODERS: dict[str, Decode] = {
    **dict.fromkeys(FRIEND_OPS, decode_friend_request), **dict.fromkeys(FRIEND_CHANGE_OPS, decode_friend_change_request),
    **dict.fromkeys(PROFILE_OPS, decode_profile_request),
}  # fmt: skip
EXAMPLES: dict[str, Request] = {request.op: request for request in (*FRIEND_REQUESTS, *CHANGE_REQUESTS, *PROFILE_REQUESTS)}
FIELDS = [(op, path) for op, request in EXAMPLES.items() for path in places(msgpack.unpackb(request.encode()))]
ELEMENTS = [(op, path) for op, request in EXAMPLES.items() for path in elements(msgpack.unpackb(request.encode()))]
DEFAULTS: dict[tuple[str, str], Any] = {
    ("list", "after"): 0, ("requests", "after"): 0, ("blocked", "after"): 0, ("ask", "words"): "", ("accept", "group"): 0,
    ("change_group", "name"): None, ("change_group", "position"): None, ("set", "display_name"): None, ("set", "avatar"): None,
    ("set", "signature"): None, ("set", "searchable"): None, ("set", "asking"): None,
}  # fmt: skip


def decode(request: Request, content: bytes) -> Request:
    return DECODERS[request.op](content)


def named(value: Any) -> str:
    return value if isinstance(value, str) else dotted(value)


def test_every_request_has_an_example_and_an_operation_of_its_own() -> None:
    kinds = {*get_args(FriendRequest), *get_args(FriendChangeRequest), *get_args(ProfileRequest)}
    assert set(EXAMPLES) == {*FRIEND_OPS, *FRIEND_CHANGE_OPS, *PROFILE_OPS} and {type(one) for one in EXAMPLES.values()} == kinds
    assert len(EXAMPLES) == len(FRIEND_OPS) + len(FRIEND_CHANGE_OPS) + len(PROFILE_OPS)
    assert get_args(Searchable) == SEARCHABLE and get_args(Asking) == ASKING


@given(ANY_REQUEST)
def test_a_request_is_read_as_written(request: Request) -> None:
    assert decode(request, request.encode()) == request


@pytest.mark.parametrize(("op", "path"), FIELDS, ids=named)
def test_a_field_that_is_missing_is_its_default_or_is_refused_by_name(op: str, path: Path) -> None:
    missing = without(EXAMPLES[op].encode(), path)
    if (op, dotted(path)) in DEFAULTS:
        assert getattr(DECODERS[op](missing), dotted(path)) == DEFAULTS[op, dotted(path)]
    else:
        assert field_of(lambda: DECODERS[op](missing)) == dotted(path)


@pytest.mark.parametrize(("op", "path"), [*FIELDS, *ELEMENTS], ids=named)
def test_a_field_that_is_null_or_of_another_type_is_refused_by_name(op: str, path: Path) -> None:
    faults = list(wrongly_typed(EXAMPLES[op].encode(), path))
    assert len(faults) >= 8
    for fault in faults:
        assert field_of(partial(DECODERS[op], fault)) in (dotted(path), dotted((*path, 0)))


@pytest.mark.parametrize(("op", "field", "most", "more"), [
    ("sync", "root", bytes(32), bytes(33)), ("sync", "root", bytes(32), bytes(31)), ("sync", "version", 2**64 - 1, 2**63 - 2**64),
    ("list", "group", 2**32 - 1, 2**32), ("search", "text", "象" * 64, "象" * 65), ("ask", "words", "🙂" * 200, "🙂" * 201),
    ("accept", "group", 2**32 - 1, 2**32), ("remark", "remark", "r" * 64, "r" * 65), ("remark", "remark", "", None),
    ("move", "group", 2**32 - 1, 2**32), ("add_group", "name", "n" * 64, "n" * 65), ("add_group", "position", 2**32 - 1, 2**32),
    ("change_group", "name", "n" * 64, "n" * 65), ("change_group", "position", 0, 2**32), ("change_group", "group", 0, 2**32),
    ("remove_group", "group", 2**32 - 1, 2**32), ("set", "display_name", "d" * 64, "d" * 65), ("set", "avatar", "a" * 255, "a" * 256),
    ("set", "signature", "🙂" * 200, "🙂" * 201), ("set", "signature", "", 0), ("set", "searchable", "everybody", "friends"),
    ("set", "asking", "everybody", "name"), ("get", "users", [2**64 - 1] * 100, [1] * 101), ("get", "users", [0], []),
])  # fmt: skip
def test_a_field_may_reach_its_limit_and_not_pass_it(op: str, field: str, most: Any, more: Any) -> None:
    content = EXAMPLES[op].encode()
    assert getattr(DECODERS[op](put(content, (field,), most)), field) == (tuple(most) if isinstance(most, list) else most)
    assert field_of(lambda: DECODERS[op](put(content, (field,), more))) == field


@pytest.mark.parametrize("op", ["", "SYNC", "befriend", "asked", "describe"])
@pytest.mark.parametrize("decoder", [decode_friend_request, decode_friend_change_request, decode_profile_request])
def test_an_operation_that_is_none_is_refused_as_such(op: str, decoder: Decode) -> None:
    assert field_of(lambda: decoder(pack_map({"op": op}))) == "op"


@pytest.mark.parametrize("op", EXAMPLES)
def test_an_operation_of_another_command_is_refused_as_such(op: str) -> None:
    for decoder in {*DECODERS.values()} - {DECODERS[op]}:
        assert field_of(partial(decoder, EXAMPLES[op].encode())) == "op"


def test_a_change_of_nothing_is_refused_and_one_of_a_single_thing_is_not() -> None:
    assert field_of(lambda: decode_profile_request(SetProfile().encode())) == "op"
    assert field_of(lambda: decode_friend_change_request(ChangeGroup(3).encode())) == "op"
    for profile in (SetProfile(display_name=""), SetProfile(avatar=""), SetProfile(signature=""), SetProfile(asking="nobody")):
        assert decode_profile_request(profile.encode()) == profile
    for group in (ChangeGroup(3, name=""), ChangeGroup(3, position=0)):
        assert decode_friend_change_request(group.encode()) == group


@pytest.mark.parametrize("request_", EXAMPLES.values(), ids=lambda request: request.op)
def test_fields_that_nobody_names_are_ignored(request_: Request) -> None:
    assert decode(request_, pack_map({**msgpack.unpackb(request_.encode()), "unknown": [1, {"x": None}]})) == request_


KEYS = st.sampled_from(["op", "user", "users", "group", "name", "text", "version", "root"])
VALUES: st.SearchStrategy[object] = st.sampled_from([*EXAMPLES, 1, None, [1], [[]], bytes(32)])


@given(st.binary(max_size=100) | st.dictionaries(KEYS, VALUES).map(pack_map))
def test_any_bytes_give_a_request_or_a_bad_command(content: bytes) -> None:
    for decoder in (decode_friend_request, decode_friend_change_request, decode_profile_request):
        try:
            request = decoder(content)
        except ProtocolError as error:
            assert error.code == ErrorCode.BAD_COMMAND and error.field
        else:
            assert decoder(request.encode()) == request
