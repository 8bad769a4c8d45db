"""What centers say about friends and profiles [P-7.15], [P-7.16]: read as written, refused by the wrong field, within a message."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.errors import ErrorCode, ProtocolError
from myim_wire.friend_contents import (
    FRIEND_EVENTS,
    MAX_CHANGED,
    MAX_REMOVED,
    BlockedPage,
    BlockedUser,
    Changed,
    FoundPage,
    FoundProfile,
    Friend,
    FriendChanged,
    FriendEvent,
    FriendPage,
    HashedGroup,
    IncomingRequest,
    OutgoingRequest,
    RequestPage,
    Synced,
    decode_friend_push,
)  # fmt: skip
from myim_wire.friend_requests import ASKING, SEARCHABLE
from myim_wire.messages import REPLY, Command, encode_message
from myim_wire.packing import pack_map
from myim_wire.profile_contents import Profile, ProfilePage
from tests.wire import friend_examples as examples
from tests.wire.friend_examples import ROOT
from tests.wire.structures import Decode, Path, dotted, elements, field_of, places, put, without, wrongly_typed

STRUCTURES: dict[str, tuple[Decode, bytes]] = {
    "synced": (Synced.decode, examples.GROUPS_CHANGED.encode()), "unchanged": (Synced.decode, examples.ONE_CHANGED.encode()),
    "friends": (FriendPage.decode, examples.FRIENDS.encode()), "requests": (RequestPage.decode, examples.REQUESTS.encode()),
    "blocked": (BlockedPage.decode, examples.BLOCKED.encode()), "found": (FoundPage.decode, examples.FOUND.encode()),
    "changed": (Changed.decode, examples.CHANGED.encode()), "push": (decode_friend_push, examples.ASKED.encode()),
    "mine": (Profile.decode, examples.MINE.encode()), "profiles": (ProfilePage.decode, examples.PROFILES.encode()),
}  # fmt: skip
FIELDS = [(name, path) for name, (_, content) in STRUCTURES.items() for path in places(msgpack.unpackb(content))]
ELEMENTS = [(name, path) for name, (_, content) in STRUCTURES.items() for path in elements(msgpack.unpackb(content))]
LEFT_OUT: dict[str, object] = {
    **dict.fromkeys(("remark", "display_name", "avatar", "signature", "words", "searchable", "asking"), ""),
    **dict.fromkeys(("groups", "changed", "removed"), ()), "has_changes": False,
}  # fmt: skip

U64, U32 = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)
ROOTS, HASHES = st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16)
ANY_FRIEND = st.builds(Friend, U64, U32, TEXT, TEXT, TEXT, TEXT, TEXT)
ANY_GROUP = st.builds(HashedGroup, U32, TEXT, U32, HASHES)
ANY_PROFILE = st.builds(Profile, U64, TEXT, TEXT, TEXT, TEXT, U64, st.sampled_from([*SEARCHABLE, ""]), st.sampled_from([*ASKING, ""]))


def tuples(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=4).map(tuple)


Answer = Synced | FriendPage | RequestPage | BlockedPage | FoundPage | Changed | Profile | ProfilePage
ANY_ANSWER: st.SearchStrategy[Answer] = st.one_of(
    st.builds(Synced, U64, ROOTS, tuples(ANY_GROUP), tuples(ANY_FRIEND), tuples(U64), st.booleans()),
    st.builds(FriendPage, tuples(ANY_FRIEND), U64, st.booleans()),
    st.builds(
        RequestPage, tuples(st.builds(IncomingRequest, U64, TEXT, TEXT, U64, st.booleans())),
        tuples(st.builds(OutgoingRequest, U64, TEXT, TEXT, U64)), st.booleans(),
    ),
    st.builds(BlockedPage, tuples(st.builds(BlockedUser, U64, TEXT)), st.booleans()),
    st.builds(FoundPage, tuples(st.builds(FoundProfile, U64, TEXT, TEXT))), st.builds(Changed, U64, ROOTS),
    ANY_PROFILE, st.builds(ProfilePage, tuples(ANY_PROFILE), st.booleans()),
)  # fmt: skip


def named(value: Any) -> str:
    return value if isinstance(value, str) else dotted(value)


def test_the_words_of_events_are_those_of_their_type() -> None:
    assert get_args(FriendEvent) == FRIEND_EVENTS


@given(ANY_ANSWER)
def test_an_answer_is_read_as_written(answer: Answer) -> None:
    assert type(answer).decode(answer.encode()) == answer


@given(st.builds(FriendChanged, st.sampled_from(FRIEND_EVENTS), U64, U64, TEXT))
def test_a_push_is_read_as_written(push: FriendChanged) -> None:
    assert decode_friend_push(push.encode()) == push


def test_rows_are_read_as_what_they_are() -> None:
    requests = RequestPage.decode(examples.REQUESTS.encode())
    assert requests.incoming[0].is_ignored and requests.outgoing[0].words == "it is Ann"
    assert BlockedPage.decode(examples.BLOCKED.encode()).users[0].name == "eve"
    assert FoundPage.decode(examples.FOUND.encode()).users[0].display_name == "Bobby 🙂"


@pytest.mark.parametrize(("name", "path"), FIELDS, ids=named)
def test_a_field_that_is_missing_is_empty_or_is_refused_by_name(name: str, path: Path) -> None:
    decode, content = STRUCTURES[name]
    missing = without(content, path)
    if path[-1] in LEFT_OUT and (name in ("synced", "unchanged") or path[-1] not in ("groups", "changed")):
        value = decode(missing)
        for step in path:
            value = value[step] if isinstance(value, tuple) and isinstance(step, int) else getattr(value, step)
        assert value == LEFT_OUT[path[-1]]
    else:
        assert field_of(lambda: decode(missing)) == dotted(path)


@pytest.mark.parametrize(("name", "path"), [*FIELDS, *ELEMENTS], ids=named)
def test_a_field_that_is_null_or_of_another_type_is_refused_by_name(name: str, path: Path) -> None:
    decode, content = STRUCTURES[name]
    faults = list(wrongly_typed(content, path))
    assert len(faults) >= 8
    for fault in faults:
        assert (field_of(partial(decode, fault)) or "").startswith(dotted(path))


GROUP, BOB = examples.HASHED_GROUPS[1].to_map(), examples.BOB_LISTED.to_map()
INCOMING, OUTGOING = examples.REQUESTS.incoming[0].to_map(), examples.REQUESTS.outgoing[0].to_map()


@pytest.mark.parametrize(("name", "path", "most", "more"), [
    ("synced", ("root",), bytes(32), bytes(31)), ("synced", ("groups",), [GROUP] * 128, [GROUP] * 129),
    ("synced", ("changed",), [BOB] * 100, [BOB] * 101), ("synced", ("groups", 1, "hash"), bytes(16), bytes(17)),
    ("unchanged", ("removed",), [2**64 - 1] * 1000, [1] * 1001), ("synced", ("groups", 1, "id"), 2**32 - 1, 2**32),
    ("synced", ("groups", 1, "position"), 2**32 - 1, 2**32), ("synced", ("groups", 1, "name"), "n" * 64, "n" * 65),
    ("synced", ("changed", 0, "group"), 2**32 - 1, 2**32), ("synced", ("changed", 0, "remark"), "r" * 64, "r" * 65),
    ("friends", ("friends",), [BOB] * 100, [BOB] * 101), ("friends", ("friends", 0, "display_name"), "d" * 64, "d" * 65),
    ("friends", ("friends", 0, "avatar"), "a" * 255, "a" * 256), ("friends", ("friends", 0, "signature"), "🙂" * 200, "🙂" * 201),
    ("requests", ("incoming",), [INCOMING] * 100, [INCOMING] * 101), ("requests", ("outgoing",), [OUTGOING] * 100, [OUTGOING] * 101),
    ("requests", ("incoming", 0, "words"), "w" * 200, "w" * 201), ("requests", ("outgoing", 0, "words"), "w" * 200, "w" * 201),
    ("blocked", ("users",), [{"user": 1, "name": "n"}] * 100, [{"user": 1, "name": "n"}] * 101),
    ("found", ("users",), [{"user": 1, "name": "n"}] * 20, [{"user": 1, "name": "n"}] * 21),
    ("found", ("users", 0, "display_name"), "d" * 64, "d" * 65), ("changed", ("root",), bytes(32), bytes(16)),
    ("push", ("event",), "withdrawn", "refused"), ("push", ("words",), "w" * 200, "w" * 201), ("mine", ("searchable",), "nobody", "no"),
    ("mine", ("asking",), "everybody", "name"), ("mine", ("avatar",), "a" * 255, "a" * 256),
    ("profiles", ("profiles",), [{"user": 1, "name": "n", "version": 0}] * 100, [{"user": 1, "name": "n", "version": 0}] * 101),
    ("profiles", ("profiles", 0, "display_name"), "d" * 64, "d" * 65), ("profiles", ("profiles", 0, "signature"), "s" * 200, "s" * 201),
])  # fmt: skip
def test_a_field_may_reach_its_limit_and_not_pass_it(name: str, path: Path, most: Any, more: Any) -> None:
    decode, content = STRUCTURES[name]
    decode(put(content, path, most))
    assert field_of(lambda: decode(put(content, path, more))) == dotted(path)


@pytest.mark.parametrize("name", STRUCTURES)
def test_fields_that_nobody_names_are_ignored(name: str) -> None:
    decode, content = STRUCTURES[name]
    assert decode(pack_map({**msgpack.unpackb(content), "unknown": [1, {"x": None}]})) == decode(content)


MOST = 2**64 - 1
LONG = Friend(MOST, 2**32 - 1, "🙂" * 32, "🙂" * 64, "🙂" * 64, "🙂" * 255, "🙂" * 200)
SHORT = Friend(1, 0, "n", "", "", "", "")
WIDE = HashedGroup(2**32 - 1, "🙂" * 64, 2**32 - 1, bytes(16))


def fits(content: bytes, command: Command = Command.FRIENDS) -> bool:
    return len(encode_message(command, REPLY, MOST, MOST, MOST, content, (1, 2))) < 65_520


def test_an_unchanged_list_is_told_in_a_hundred_bytes_with_all_that_is_around() -> None:
    synced = Synced(2**32 - 1, ROOT)
    message = encode_message(Command.FRIENDS, REPLY, MOST, 0, MOST, synced.encode())
    assert 4 + len(message) + 16 <= 100
    assert Synced.of(2**32 - 1, ROOT, ROOT, examples.HASHED_GROUPS, ([], [])) == synced


def test_one_changed_friend_in_full_is_told_in_a_kibibyte_whatever_the_groups() -> None:
    friend = Friend(MOST, 2**32 - 1, "n" * 32, "r" * 64, "d" * 64, "a" * 255, "s" * 200)
    known = ROOT[:16] + bytes(16)
    synced = Synced.of(MOST, ROOT, known, [WIDE] * 101, ([friend], []))
    assert synced == Synced(MOST, ROOT, (), (friend,), (), True)
    assert 4 + len(encode_message(Command.FRIENDS, REPLY, MOST, 0, MOST, synced.encode())) + 16 <= 1024


def test_the_list_of_groups_is_told_where_it_is_another_and_where_changes_are_not_known_any_more() -> None:
    known_groups, other_groups = ROOT[:16] + bytes(16), bytes(16) + ROOT[16:]
    groups, changes = examples.HASHED_GROUPS, ([examples.BOB_LISTED], [5])
    assert Synced.of(9, ROOT, known_groups, groups, changes) == Synced(9, ROOT, (), (examples.BOB_LISTED,), (5,), True)
    assert Synced.of(9, ROOT, other_groups, groups, changes) == Synced(9, ROOT, groups, (examples.BOB_LISTED,), (5,), True)
    assert Synced.of(9, ROOT, known_groups, groups, None) == Synced(9, ROOT, groups)


@pytest.mark.parametrize(("changed", "removed", "has_changes"), [
    ([SHORT] * MAX_CHANGED, [MOST] * MAX_REMOVED, True), ([SHORT] * (MAX_CHANGED + 1), [], False), ([], [MOST] * (MAX_REMOVED + 1), False),
    ([LONG] * 9, [], True), ([LONG] * 10, [], False), ([LONG] * 9, [MOST] * 100, True), ([LONG] * 9, [MOST] * 1000, False),
])  # fmt: skip
def test_changes_that_one_message_does_not_hold_are_as_if_not_known(changed: list[Friend], removed: list[int], has_changes: bool) -> None:
    synced = Synced.of(MOST, ROOT, bytes(32), [WIDE] * 128, (changed, removed))
    assert synced.has_changes == has_changes == bool(synced.changed or synced.removed) and len(synced.groups) == 128
    assert fits(synced.encode()) and Synced.decode(synced.encode()) == synced


@pytest.mark.parametrize(("friend", "least"), [(LONG, 24), (SHORT, 100)])
def test_a_page_of_friends_is_cut_to_what_one_message_holds(friend: Friend, least: int) -> None:
    page = FriendPage.of([friend] * 101, MOST, False)
    assert least <= len(page.friends) <= 100 and page.is_more and fits(page.encode()) and FriendPage.decode(page.encode()) == page
    assert FriendPage.of([friend] * least, 7, False) == FriendPage((friend,) * least, 7, False)
    assert FriendPage.of([friend], 7, True).is_more and FriendPage.of([], 7, False) == FriendPage((), 7, False)


def test_a_page_of_requests_is_both_kinds_by_user_as_many_as_one_message_holds() -> None:
    incoming = [IncomingRequest(user, "🙂" * 32, "🙂" * 200, MOST, True) for user in range(0, 100, 2)]
    outgoing = [OutgoingRequest(user, "🙂" * 32, "🙂" * 200, MOST) for user in range(1, 100, 2)]
    page = RequestPage.of(incoming, outgoing, False)
    count = len(page.incoming) + len(page.outgoing)
    assert 60 <= count < 100 and page.is_more and fits(page.encode()) and RequestPage.decode(page.encode()) == page
    assert {one.user for one in page.incoming} | {one.user for one in page.outgoing} == set(range(count))
    short = [OutgoingRequest(user, "n", "", 0) for user in range(101)]
    assert len(RequestPage.of([], short, False).outgoing) == 100 and not RequestPage.of([], short[:100], False).is_more
    assert RequestPage.of([], [], True).is_more


def test_a_page_of_profiles_is_cut_to_what_one_message_holds() -> None:
    long = Profile(MOST, "🙂" * 32, "🙂" * 64, "🙂" * 255, "🙂" * 200, MOST, "everybody", "everybody")
    page = ProfilePage.of([long] * 100)
    assert 27 <= len(page.profiles) < 100 and page.is_more and fits(page.encode(), Command.SIGNATURE)
    assert ProfilePage.of([long] * 27) == ProfilePage((long,) * 27) and ProfilePage.decode(page.encode()) == page


def test_the_longest_lists_of_blocked_and_found_fit_a_message() -> None:
    blocked = BlockedPage((BlockedUser(MOST, "🙂" * 32),) * 100, True)
    found = FoundPage((FoundProfile(MOST, "🙂" * 32, "🙂" * 64),) * 20)
    assert fits(blocked.encode()) and BlockedPage.decode(blocked.encode()) == blocked
    assert fits(found.encode()) and FoundPage.decode(found.encode()) == found


STARTS = [b"\x82\xa7version\x01", b"\xa4root\xc4\x20", bytes(32), b"\x83\xa6groups", b"\x91", b"\xa7removed", b"\xa5event", b"\xa4list"]


@given(st.binary(max_size=100) | st.lists(st.sampled_from(STARTS)).map(b"".join))
def test_any_bytes_give_a_structure_or_a_bad_command(content: bytes) -> None:
    for decode, _ in STRUCTURES.values():
        try:
            decode(content)
        except ProtocolError as error:
            assert error.code == ErrorCode.BAD_COMMAND and error.field
