"""What is said about presence [P-7.10]: read as written, refused by the field that is wrong, within what a message holds."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.errors import ErrorCode, LocalProtocolError, ProtocolError
from myim_wire.messages import REPLY, Command, encode_message
from myim_wire.packing import pack_map
from myim_wire.pages import fitting
from myim_wire.presence_contents import (
    MAX_ONLINE_LISTED,
    ONLINE_STATES,
    SEEN_STATES,
    SETTABLE_STATES,
    AskOnline,
    Online,
    OnlinePage,
    OnlineState,
    Presence,
    PresenceChanged,
    SeenState,
    SetPresence,
    SettableState,
)  # fmt: skip
from tests.wire.friend_examples import BUSY, ONLINE, PRESENCES, SOME_ONLINE
from tests.wire.structures import Decode, Path, dotted, elements, field_of, places, put, without, wrongly_typed

STRUCTURES: dict[str, tuple[Decode, bytes]] = {
    "set": (SetPresence.decode, BUSY.encode()), "ask": (AskOnline.decode, AskOnline(7).encode()),
    "online": (OnlinePage.decode, ONLINE.encode()), "some": (OnlinePage.decode, SOME_ONLINE.encode()),
    "changed": (PresenceChanged.decode, PRESENCES.encode()),
}  # fmt: skip
FIELDS = [(name, path) for name, (_, content) in STRUCTURES.items() for path in places(msgpack.unpackb(content))]
ELEMENTS = [(name, path) for name, (_, content) in STRUCTURES.items() for path in elements(msgpack.unpackb(content))]

U64 = st.integers(0, 2**64 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
PLACES = st.lists(st.tuples(U64, U64), max_size=4).map(tuple)
ONLINES = st.builds(Online, U64, st.sampled_from(ONLINE_STATES), TEXT, PLACES)
CHANGES = st.builds(Presence, U64, st.sampled_from(SEEN_STATES), TEXT)
Structure = SetPresence | AskOnline | OnlinePage | PresenceChanged
ANY_STRUCTURE: st.SearchStrategy[Structure] = st.one_of(
    st.builds(SetPresence, st.sampled_from(SETTABLE_STATES), TEXT), st.builds(AskOnline, U64),
    st.builds(OnlinePage.of, st.lists(ONLINES, max_size=4), st.booleans(), U64),
    st.builds(PresenceChanged, st.lists(CHANGES, max_size=4).map(tuple)),
)  # fmt: skip
MOST = 2**64 - 1


def named(value: Any) -> str:
    return value if isinstance(value, str) else dotted(value)


def test_the_words_of_states_are_those_of_their_types_and_invisible_is_never_seen() -> None:
    assert (get_args(SettableState), get_args(OnlineState), get_args(SeenState)) == (SETTABLE_STATES, ONLINE_STATES, SEEN_STATES)
    assert "invisible" not in (*ONLINE_STATES, *SEEN_STATES) and set(SEEN_STATES) == {"offline", *ONLINE_STATES}


@given(ANY_STRUCTURE)
def test_a_structure_is_read_as_written(structure: Structure) -> None:
    assert type(structure).decode(structure.encode()) == structure


def test_who_is_online_from_the_first_on_is_asked_by_the_empty_map() -> None:
    assert AskOnline().encode() == b"\x80" and AskOnline.decode(b"\x80") == AskOnline(0)


@pytest.mark.parametrize(("name", "path"), FIELDS, ids=named)
def test_a_field_that_is_missing_is_empty_or_is_refused_by_name(name: str, path: Path) -> None:
    decode, content = STRUCTURES[name]
    missing = without(content, path)
    if path[-1] in ("text", "after"):
        assert decode(missing) == decode(put(content, path, "" if path[-1] == "text" else 0))
    else:
        assert field_of(lambda: decode(missing)) == dotted(path)


@pytest.mark.parametrize(("name", "path"), [*FIELDS, *ELEMENTS], ids=named)
def test_a_field_that_is_null_or_of_another_type_is_refused_by_name(name: str, path: Path) -> None:
    decode, content = STRUCTURES[name]
    faults = list(wrongly_typed(content, path))
    assert len(faults) >= 8
    for fault in faults:
        assert (field_of(partial(decode, fault)) or "").startswith(dotted(path))


@pytest.mark.parametrize(("name", "path", "most", "more"), [
    ("set", ("state",), "invisible", "offline"), ("set", ("text",), "🙂" * 100, "🙂" * 101), ("ask", ("after",), MOST, -1),
    ("online", ("online", 0, "state"), "busy", "invisible"), ("online", ("online", 0, "state"), "away", "offline"),
    ("online", ("online", 0, "text"), "t" * 100, "t" * 101), ("online", ("online", 0, "places"), [[MOST, MOST]] * 64, [[1, 1]] * 65),
    ("online", ("online",), [ONLINE.online[1].to_map()] * 300, [ONLINE.online[1].to_map()] * 301),
    ("some", ("up_to",), MOST, 0), ("some", ("up_to",), 1, -1),
    ("changed", ("changes", 0, "state"), "offline", "invisible"), ("changed", ("changes", 0, "text"), "t" * 100, "t" * 101),
    ("changed", ("changes",), [{"user": 1, "state": "away"}] * 500, [{"user": 1, "state": "away"}] * 501),
])  # fmt: skip
def test_a_field_may_reach_its_limit_and_not_pass_it(name: str, path: Path, most: Any, more: Any) -> None:
    decode, content = STRUCTURES[name]
    decode(put(content, path, most))
    assert field_of(lambda: decode(put(content, path, more))) == dotted(path)


@pytest.mark.parametrize("row", [[], [1], [1, 2, 3]])
def test_a_place_is_of_two_numbers(row: list[int]) -> None:
    assert field_of(lambda: OnlinePage.decode(put(ONLINE.encode(), ("online", 0, "places", 1), row))) == "online.0.places.1"


@pytest.mark.parametrize("name", STRUCTURES)
def test_fields_that_nobody_names_are_ignored(name: str) -> None:
    decode, content = STRUCTURES[name]
    assert decode(pack_map({**msgpack.unpackb(content), "unknown": [1, {"x": None}]})) == decode(content)


def fits(content: bytes) -> bool:
    return len(encode_message(Command.FRIENDS_ONLINE, REPLY, MOST, MOST, MOST, content, (1, 2))) < 65_520


@pytest.mark.parametrize(("text", "sessions", "least"), [("", 1, 300), ("🙂" * 100, 1, 130), ("", 16, 70), ("🙂" * 100, 64, 19)])
def test_a_page_of_those_online_is_cut_to_what_one_message_holds(text: str, sessions: int, least: int) -> None:
    online = Online(MOST, "online", text, ((MOST, MOST),) * sessions)
    page = OnlinePage.of([online] * 301, True)
    assert least <= len(page.online) <= 300 and page.is_more and page.is_complete and page.up_to == MOST
    assert fits(page.encode()) and OnlinePage.decode(page.encode()) == page
    assert OnlinePage.of([online] * least, False) == OnlinePage((online,) * least, False)


MANY_PLACES = st.lists(st.just((MOST, 1)), max_size=64).map(tuple)


@given(st.lists(st.builds(Online, st.integers(1, MOST), st.sampled_from(ONLINE_STATES), TEXT, MANY_PLACES)))
def test_who_surely_fits_a_page_fits_it_and_is_packed_alike(some: list[Online]) -> None:
    rows = tuple(some * 20)[:301]
    page = OnlinePage.of(rows, True)
    assert (page.online, page.is_more) == fitting(rows, MAX_ONLINE_LISTED, Online.to_map)
    written = {"online": [one.to_map() for one in page.online], "is_complete": True, "is_more": page.is_more}
    assert page.encode() == pack_map({**written, "up_to": page.up_to} if page.up_to else written)


def test_a_text_that_is_none_is_refused_on_the_quick_way_too() -> None:
    with pytest.raises(LocalProtocolError):
        OnlinePage((Online(1, "online", "\ud800", ()),), True).encode()


def test_a_page_says_where_the_next_begins_though_nobody_is_online() -> None:
    online = [Online(user, "online", "", ()) for user in range(1, 302)]
    assert OnlinePage.of([], True, 7) == OnlinePage((), True, True, 7) and OnlinePage.of([], True) == OnlinePage((), True)
    assert OnlinePage.of(online, True, 999).up_to == 300 and OnlinePage.of(online[:2], True, 999).up_to == 999
    for page in (OnlinePage((), True, True), OnlinePage((), True, False, 7)):
        with pytest.raises(LocalProtocolError):
            page.encode()


@pytest.mark.parametrize(("text", "least"), [("", 500), ("t" * 100, 400), ("🙂" * 100, 140)])
def test_changes_are_parted_into_as_many_pushes_as_it_takes(text: str, least: int) -> None:
    changes = [Presence(user, "online", text) for user in range(MOST - 1200, MOST)]
    pushes = list(PresenceChanged.parted(changes))
    assert [change for push in pushes for change in push.changes] == changes and all(fits(push.encode()) for push in pushes)
    assert all(least <= len(push.changes) <= 500 for push in pushes[:-1]) and list(PresenceChanged.parted([])) == []
    assert [PresenceChanged.decode(push.encode()) for push in pushes] == pushes
    contents = list(PresenceChanged.contents([change.pack() for change in changes]))
    assert [change for content in contents for change in PresenceChanged.decode(content).changes] == changes
    assert all(fits(content) for content in contents) and len(contents) <= len(pushes) + 1 and not list(PresenceChanged.contents([]))


@given(st.lists(CHANGES, max_size=40))
def test_a_push_is_the_structure_that_msgpack_makes_of_it(changes: list[Presence]) -> None:
    whole = pack_map({"changes": [change.to_map() for change in changes]})
    assert PresenceChanged(tuple(changes)).encode() == whole
    assert list(PresenceChanged.contents([change.pack() for change in changes])) == ([whole] if changes else [])


def test_what_no_push_holds_is_not_written() -> None:
    for changes in ((Presence(1, "online", "\ud800"),), (Presence(1, "online", ""),) * 501):
        with pytest.raises(LocalProtocolError):
            PresenceChanged(changes).encode()


STARTS = [b"\x82\xa5state", b"\xa4away", b"\xa4text", b"\xa6online", b"\x91", b"\x82", b"\xa6places", b"\xa7changes", b"\x92\x01\x02"]


@given(st.binary(max_size=100) | st.lists(st.sampled_from(STARTS)).map(b"".join))
def test_any_bytes_give_a_structure_or_a_bad_command(content: bytes) -> None:
    for decode, _ in STRUCTURES.values():
        try:
            decode(content)
        except ProtocolError as error:
            assert error.code == ErrorCode.BAD_COMMAND and error.field
