"""What terminals ask about groups [P-7.7]: read as written, refused by the field that is wrong, within limits."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.errors import ErrorCode, ProtocolError
from myim_wire.group_requests import (
    JOINS,
    OPS,
    Approve,
    Change,
    Create,
    Decline,
    Describe,
    Dissolve,
    GroupRequest,
    HandOver,
    Invite,
    Join,
    JoinRule,
    Leave,
    ListGroups,
    ListMembers,
    ListPending,
    Mute,
    Remove,
    SetRole,
    decode_group_request,
)  # fmt: skip
from myim_wire.packing import pack_map
from tests.wire.group_examples import REQUESTS
from tests.wire.structures import Path, dotted, elements, field_of, places, put, without, wrongly_typed

U64, U32 = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)
RULES = st.sampled_from(JOINS)
USERS = st.lists(U64, max_size=20).map(tuple)
ANY_REQUEST = st.one_of(
    st.builds(Create, NAME, TEXT, RULES, USERS), st.builds(Join, TEXT), st.builds(Invite, USERS.filter(bool)),
    *(st.builds(kind, U64) for kind in (Approve, Decline, Remove, HandOver, ListGroups, ListMembers, ListPending)),
    st.builds(SetRole, U64, st.sampled_from(["admin", "member"])), st.builds(Mute, U64, U32), st.builds(Leave), st.builds(Dissolve),
    st.builds(Describe),
    st.builds(Change, st.none() | NAME, st.none() | TEXT, st.none() | RULES, st.none() | st.booleans()).filter(lambda one: one != Change()),
)  # fmt: skip

BY_OP = {request.op: request for request in REQUESTS}
FIELDS = [(op, path) for op, request in BY_OP.items() for path in places(msgpack.unpackb(request.encode()))]
ELEMENTS = [(op, path) for op, request in BY_OP.items() for path in elements(msgpack.unpackb(request.encode()))]
DEFAULTS: dict[tuple[str, str], Any] = {
    ("create", "description"): "", ("create", "join"): "invitation", ("create", "invited"): (), ("join", "words"): "",
    ("list", "after"): 0, ("members", "after"): 0, ("pending", "after"): 0,
    ("change", "name"): None, ("change", "description"): None, ("change", "join"): None, ("change", "is_muted"): None,
}  # fmt: skip


def named(value: Any) -> str:
    return value if isinstance(value, str) else dotted(value)


def test_every_request_has_an_example_and_every_rule_of_joining_a_name() -> None:
    assert set(BY_OP) == set(OPS) and {type(request) for request in REQUESTS} == set(get_args(GroupRequest))
    assert get_args(JoinRule) == JOINS


@given(ANY_REQUEST)
def test_a_request_is_read_as_written(request: GroupRequest) -> None:
    assert decode_group_request(request.encode()) == request


@pytest.mark.parametrize(("op", "path"), FIELDS, ids=named)
def test_a_field_that_is_missing_is_its_default_or_is_refused_by_name(op: str, path: Path) -> None:
    missing = without(BY_OP[op].encode(), path)
    if (op, dotted(path)) in DEFAULTS:
        assert getattr(decode_group_request(missing), dotted(path)) == DEFAULTS[op, dotted(path)]
    else:
        assert field_of(lambda: decode_group_request(missing)) == dotted(path)


@pytest.mark.parametrize(("op", "path"), [*FIELDS, *ELEMENTS], ids=named)
def test_a_field_that_is_null_or_of_another_type_is_refused_by_name(op: str, path: Path) -> None:
    faults = list(wrongly_typed(BY_OP[op].encode(), path))
    assert len(faults) >= 8
    for fault in faults:
        assert field_of(partial(decode_group_request, fault)) in (dotted(path), dotted((*path, 0)))


@pytest.mark.parametrize(("op", "field", "most", "more"), [
    ("create", "name", "n" * 64, "n" * 65), ("create", "description", "d" * 1000, "d" * 1001),
    ("change", "name", "象" * 64, "象" * 65), ("change", "description", "🙂" * 1000, "🙂" * 1001), ("join", "words", "w" * 200, "w" * 201),
    ("create", "invited", [2**64 - 1] * 1000, [1] * 1001), ("invite", "users", [2**64 - 1] * 1000, [1] * 1001),
    ("mute", "seconds", 2**32 - 1, 2**32), ("invite", "users", [0], []), ("create", "join", "open", "Open"),
    ("role", "role", "member", "owner"),
])  # fmt: skip
def test_a_field_may_reach_its_limit_and_not_pass_it(op: str, field: str, most: Any, more: Any) -> None:
    content = BY_OP[op].encode()
    assert getattr(decode_group_request(put(content, (field,), most)), field) == (tuple(most) if isinstance(most, list) else most)
    assert field_of(lambda: decode_group_request(put(content, (field,), more))) == field


@pytest.mark.parametrize("op", ["", "CREATE", "destroy", "behind", "joined"])
def test_an_operation_that_is_none_is_refused_as_such(op: str) -> None:
    assert field_of(lambda: decode_group_request(pack_map({"op": op}))) == "op"


def test_a_change_of_nothing_is_refused_and_one_of_a_single_thing_is_not() -> None:
    assert field_of(lambda: decode_group_request(Change().encode())) == "op"
    assert decode_group_request(Change(is_muted=False).encode()) == Change(is_muted=False)
    assert decode_group_request(Change(description="").encode()) == Change(description="")


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.op)
def test_fields_that_nobody_names_are_ignored(request_: GroupRequest) -> None:
    assert decode_group_request(pack_map({**msgpack.unpackb(request_.encode()), "unknown": [1, {"x": None}]})) == request_


KEYS = st.sampled_from(["op", "user", "users", "name"])
VALUES: st.SearchStrategy[object] = st.sampled_from([*OPS, 1, None, [1], [[]]])


@given(st.binary(max_size=100) | st.dictionaries(KEYS, VALUES).map(pack_map))
def test_any_bytes_give_a_request_or_a_bad_command(content: bytes) -> None:
    try:
        request = decode_group_request(content)
    except ProtocolError as error:
        assert error.code == ErrorCode.BAD_COMMAND and error.field
    else:
        assert decode_group_request(request.encode()) == request
