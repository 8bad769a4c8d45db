"""What centers say about groups [P-7.7] to [P-7.9]: read as written, refused by the field that is wrong, within what a message holds."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.errors import ErrorCode, ProtocolError
from myim_wire.group_contents import (
    EVENTS,
    ROLES,
    Event,
    GroupBehind,
    GroupChanged,
    GroupFetched,
    GroupPage,
    GroupPush,
    GroupState,
    GroupsTold,
    ListedMember,
    ListedPending,
    MemberPage,
    PendingPage,
    Role,
    Standing,
    decode_group_fetch,
    decode_group_push,
    encode_group_fetch,
)  # fmt: skip
from myim_wire.group_requests import JOINS
from myim_wire.messages import REPLY, Command, encode_message
from myim_wire.packing import pack_map
from tests.wire.group_examples import BEHIND, CHANGED, FETCHED, GROUPS, MEMBERS, PENDING, STATE, TOLD
from tests.wire.structures import Decode, Path, dotted, elements, field_of, places, put, without, wrongly_typed

STRUCTURES: dict[str, tuple[Decode, bytes]] = {
    "state": (GroupState.decode, STATE.encode()), "groups": (GroupPage.decode, GROUPS.encode()),
    "members": (MemberPage.decode, MEMBERS.encode()), "pending": (PendingPage.decode, PENDING.encode()),
    "changed": (decode_group_push, CHANGED.encode()), "behind": (decode_group_push, BEHIND.encode()),
    "told": (decode_group_push, TOLD.encode()), "fetch": (decode_group_fetch, encode_group_fetch(16)),
    "fetched": (GroupFetched.decode, FETCHED.encode()),
}  # fmt: skip
FIELDS = [(name, path) for name, (_, content) in STRUCTURES.items() for path in places(msgpack.unpackb(content))]
ELEMENTS = [(name, path) for name, (_, content) in STRUCTURES.items() for path in elements(msgpack.unpackb(content))]

U64 = st.integers(0, 2**64 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)
U32 = st.integers(0, 2**32 - 1)
STATES = st.builds(GroupState, U64, TEXT, TEXT, st.sampled_from(JOINS), st.booleans(), U64, U64, U32, st.sampled_from(ROLES), U64, U64, U64)
MEMBERS_LISTED = st.builds(ListedMember, U64, st.sampled_from(["owner", "admin", "member"]), U64, U64)
PENDING_LISTED = st.builds(ListedPending, U64, st.sampled_from(["requested", "invited"]), U64, TEXT, U64)
PAGES = st.one_of(
    st.builds(GroupPage, st.lists(STATES, max_size=4).map(tuple), st.booleans()),
    st.builds(MemberPage, st.lists(MEMBERS_LISTED, max_size=4).map(tuple), U64, st.booleans()),
    st.builds(PendingPage, st.lists(PENDING_LISTED, max_size=4).map(tuple), st.booleans()),
    STATES,
)
PUSHES = st.one_of(
    st.builds(GroupChanged, st.sampled_from(EVENTS), U64, U64, U64, U64),
    st.builds(GroupBehind, U64, U64),
    st.builds(GroupsTold, st.lists(st.builds(Standing, U64, U64, U64, U64, U64), max_size=5).map(tuple), st.booleans()),
)


def named(value: Any) -> str:
    return value if isinstance(value, str) else dotted(value)


def test_the_words_of_roles_and_events_are_those_of_their_types() -> None:
    assert get_args(Role) == ROLES and get_args(Event) == EVENTS


@given(PAGES)
def test_an_answer_is_read_as_written(answer: GroupState | GroupPage | MemberPage | PendingPage) -> None:
    assert type(answer).decode(answer.encode()) == answer


@given(PUSHES)
def test_a_push_is_read_as_written_and_told_apart_by_its_event(push: GroupPush) -> None:
    assert decode_group_push(push.encode()) == push


@given(U64, U64)
def test_a_fetch_and_its_answer_are_read_as_written(one: int, other: int) -> None:
    fetched = GroupFetched(min(one, other), max(one, other))
    assert decode_group_fetch(encode_group_fetch(one)) == one and GroupFetched.decode(fetched.encode()) == fetched


def test_a_fetch_that_ends_beyond_the_groups_number_is_refused() -> None:
    assert field_of(lambda: GroupFetched.decode(GroupFetched(18, 17).encode())) == "up_to"


@pytest.mark.parametrize(("name", "path"), FIELDS, ids=named)
def test_a_field_that_is_missing_is_refused_by_name(name: str, path: Path) -> None:
    decode, content = STRUCTURES[name]
    assert field_of(lambda: decode(without(content, path))) == dotted(path)


@pytest.mark.parametrize(("name", "path"), [*FIELDS, *ELEMENTS], ids=named)
def test_a_field_that_is_null_or_of_another_type_is_refused_by_name(name: str, path: Path) -> None:
    decode, content = STRUCTURES[name]
    faults = list(wrongly_typed(content, path))
    assert len(faults) >= 8
    for fault in faults:
        assert (field_of(partial(decode, fault)) or "").startswith(dotted(path))


@pytest.mark.parametrize(("name", "path", "most", "more"), [
    ("state", ("name",), "n" * 64, "n" * 65), ("state", ("description",), "d" * 1000, "d" * 1001),
    ("state", ("members",), 2**32 - 1, 2**32),
    ("state", ("join",), "open", "closed"), ("state", ("role",), "none", "friend"), ("members", ("members", 0, "role"), "admin", "invited"),
    ("pending", ("pending", 0, "kind"), "invited", "member"), ("pending", ("pending", 0, "words"), "w" * 200, "w" * 201),
    ("groups", ("groups",), [STATE.to_map()] * 100, [STATE.to_map()] * 101),
    ("members", ("members",), [MEMBERS.members[0].to_map()] * 200, [MEMBERS.members[0].to_map()] * 201),
    ("pending", ("pending",), [PENDING.pending[0].to_map()] * 100, [PENDING.pending[0].to_map()] * 101),
    ("told", ("groups",), [[2**64 - 1] * 5] * 500, [[1] * 5] * 501), ("changed", ("event",), "dissolved", "exploded"),
    ("fetch", ("after",), 2**64 - 1, -1),
])  # fmt: skip
def test_a_field_may_reach_its_limit_and_not_pass_it(name: str, path: Path, most: Any, more: Any) -> None:
    decode, content = STRUCTURES[name]
    decode(put(content, path, most))
    assert field_of(lambda: decode(put(content, path, more))) == dotted(path)


@pytest.mark.parametrize("row", [[], [1] * 4, [1] * 6])
def test_a_membership_told_is_of_five_numbers(row: list[int]) -> None:
    assert field_of(lambda: decode_group_push(put(TOLD.encode(), ("groups", 1), row))) == "groups.1"


@pytest.mark.parametrize("name", STRUCTURES)
def test_fields_that_nobody_names_are_ignored(name: str) -> None:
    decode, content = STRUCTURES[name]
    assert decode(pack_map({**msgpack.unpackb(content), "unknown": [1, {"x": None}]})) == decode(content)


def fits(content: bytes) -> bool:
    return len(encode_message(Command.GROUP, REPLY, 2**64 - 1, 2**64 - 1, 2**64 - 1, content, (1, 2))) < 65_520


MOST = 2**64 - 1
LONG = GroupState(MOST, "🙂" * 64, "🙂" * 1000, "invitation", True, MOST, MOST, 2**32 - 1, "requested", MOST, MOST, MOST)
SHORT = GroupState(1, "n", "", "open", False, 0, 0, 0, "none", 0, 0, 0)
WORDY, SILENT = ListedPending(MOST, "requested", MOST, "🙂" * 200, MOST), ListedPending(1, "invited", 2, "", 3)


@pytest.mark.parametrize(("group", "least"), [(LONG, 14), (SHORT, 100)])
def test_a_page_of_groups_is_cut_to_what_one_message_holds(group: GroupState, least: int) -> None:
    page = GroupPage.of([group] * 101, False)
    assert least <= len(page.groups) <= 100 and page.is_more and fits(page.encode()) and GroupPage.decode(page.encode()) == page
    assert GroupPage.of([group] * least, False) == GroupPage((group,) * least, False)
    assert GroupPage.of([group], True).is_more and GroupPage.of([], False) == GroupPage((), False)


@pytest.mark.parametrize(("pending", "least"), [(WORDY, 70), (SILENT, 100)])
def test_a_page_of_requests_is_cut_to_what_one_message_holds(pending: ListedPending, least: int) -> None:
    page = PendingPage.of([pending] * 101, False)
    assert least <= len(page.pending) <= 100 and page.is_more and fits(page.encode()) and PendingPage.decode(page.encode()) == page
    assert PendingPage.of([pending] * least, False) == PendingPage((pending,) * least, False)
    assert PendingPage.of([pending], True).is_more and PendingPage.of([], False) == PendingPage((), False)


def test_the_longest_lists_of_members_and_memberships_fit_a_message() -> None:
    members = MemberPage((ListedMember(MOST, "member", MOST, MOST),) * 200, MOST, True)
    told = GroupsTold((Standing(MOST, MOST, MOST, MOST, MOST),) * 500, False)
    assert fits(members.encode()) and MemberPage.decode(members.encode()) == members
    assert fits(told.encode()) and decode_group_push(told.encode()) == told


@given(st.binary(max_size=100) | st.lists(st.sampled_from([b"\x82\xa5event", b"\xa6groups", b"\xa6behind", b"\x91", b"\x95", b"\x01"])).map(
    b"".join
))  # fmt: skip
def test_any_bytes_give_a_structure_or_a_bad_command(content: bytes) -> None:
    for decode, _ in STRUCTURES.values():
        try:
            decode(content)
        except ProtocolError as error:
            assert error.code == ErrorCode.BAD_COMMAND and error.field
