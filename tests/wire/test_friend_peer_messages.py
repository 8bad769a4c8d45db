"""What centers tell each other about friends [L-5]: its bytes, read as written, and every way a peer can get them wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from myim_wire.friend_contents import FriendChanged
from myim_wire.friend_peer_messages import (
    MAX_FRIENDS_TOLD,
    MAX_PRESENCES,
    MAX_PUSH_BYTES,
    Placed,
    Told,
    decode_friend_told,
    decode_presence_ask,
    decode_presence_places,
    decode_presence_told,
    encode_friend_told,
    encode_presence_ask,
    encode_presence_places,
    encode_presence_told,
    parted,
)  # fmt: skip
from myim_wire.peer_messages import MAX_TOLD
from myim_wire.presence_contents import MAX_PLACES, ONLINE_STATES, SEEN_STATES

Decode = Callable[[bytes], object]
MAX_MESSAGE_BYTES = 262_140  # [L-7.6]
MOST = 2**64 - 1
U64, U32 = st.integers(0, MOST), st.integers(0, 2**32 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
IDS = st.lists(U64, min_size=1, max_size=5).map(tuple)
TOLD = st.builds(Told, U64, st.integers(0, 63), U32, U64, st.sampled_from(SEEN_STATES), TEXT, IDS)
PLACED = st.builds(Placed, U64, st.sampled_from(ONLINE_STATES), TEXT, st.just(()) | IDS)

BUSY = Told(1, 5, 2, 3, "busy", "é", (42, 43))
GONE = Told(4, 63, 2, 3, "offline", "", (42,))
AWAY = Placed(1, "away", "é", (0, 6))
MESSAGES: dict[Decode, bytes] = {
    decode_presence_told: encode_presence_told([BUSY, GONE]), decode_presence_ask: encode_presence_ask(7, 1, [42, 43]),
    decode_presence_places: encode_presence_places(7, [AWAY, Placed(2, "online", "")]),
    decode_friend_told: encode_friend_told([42], b"news"),
}  # fmt: skip


def is_refused(decode: Decode, message: bytes) -> bool:
    try:
        decode(message)
    except RemoteProtocolError as error:
        assert error.code == ErrorCode.BAD_FRAME
        return True
    return False


def u64(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "big") for number in numbers)


def test_the_layouts_are_these_bytes() -> None:
    busy = u64(1) + b"\5\0\0\0\2" + u64(3) + b"\3\0\2\xc3\xa9" + b"\0\2" + u64(42, 43)
    assert encode_presence_told([BUSY]) == b"\x30" + busy
    assert encode_presence_told([BUSY, GONE]) == b"\x30" + busy + u64(4) + b"\x3f\0\0\0\2" + u64(3) + b"\0\0\0\0\1" + u64(42)
    assert encode_presence_ask(7, 1, [42, 43]) == b"\x31\0\0\0\7" + u64(1, 42, 43)
    assert encode_presence_places(7, [AWAY]) == b"\x32\0\0\0\7" + u64(1) + b"\2\0\2\xc3\xa9\2" + u64(0, 6)
    assert encode_friend_told([42, 43], b"news") == b"\x33\0\2" + u64(42, 43) + b"news"


@given(st.lists(TOLD, min_size=1, max_size=5))
def test_presences_are_read_as_written(told: list[Told]) -> None:
    assert decode_presence_told(encode_presence_told(told)) == told


@given(U32, U64, IDS, st.lists(PLACED, max_size=5))
def test_a_question_and_its_answer_are_read_as_written(question: int, asker: int, users: tuple[int, ...], placed: list[Placed]) -> None:
    assert decode_presence_ask(encode_presence_ask(question, asker, users)) == (question, asker, users)
    assert decode_presence_places(encode_presence_places(question, placed)) == (question, placed)


@given(IDS, st.binary(min_size=1, max_size=100))
def test_a_push_for_users_elsewhere_is_read_as_written(users: tuple[int, ...], content: bytes) -> None:
    assert decode_friend_told(encode_friend_told(users, content)) == (users, content)


def test_the_longest_push_of_all_has_room() -> None:
    assert len(FriendChanged("withdrawn", MOST, MOST, "🙂" * 200).encode()) <= MAX_PUSH_BYTES


def test_lists_may_reach_their_limit_and_not_pass_it() -> None:
    for count, is_bad in ((MAX_PRESENCES, False), (MAX_PRESENCES + 1, True), (0, True)):
        assert is_refused(decode_presence_told, encode_presence_told([GONE] * count)) == is_bad
        assert is_refused(decode_presence_ask, encode_presence_ask(7, 1, [1] * count)) == is_bad
        assert is_refused(decode_presence_places, encode_presence_places(7, [AWAY] * count)) == (is_bad and count > 0)
    for count, is_bad in ((MAX_FRIENDS_TOLD, False), (MAX_FRIENDS_TOLD + 1, True), (0, True)):
        assert is_refused(decode_presence_told, encode_presence_told([GONE._replace(friends=(1,) * count)])) == is_bad
    for count, is_bad in ((MAX_PLACES, False), (MAX_PLACES + 1, True), (0, False)):
        assert is_refused(decode_presence_places, encode_presence_places(7, [AWAY._replace(endpoints=(1,) * count)])) == is_bad
    for count, is_bad in ((MAX_TOLD, False), (MAX_TOLD + 1, True), (0, True)):
        assert is_refused(decode_friend_told, encode_friend_told([1] * count, b"x")) == is_bad
    for size, is_bad in ((1, False), (MAX_PUSH_BYTES, False), (0, True), (MAX_PUSH_BYTES + 1, True)):
        assert is_refused(decode_friend_told, encode_friend_told([1], bytes(size))) == is_bad


def test_the_longest_text_is_read_and_a_longer_one_neither_written_nor_read() -> None:
    longest = GONE._replace(text="🙂" * 100)
    assert decode_presence_told(encode_presence_told([longest])) == [longest]
    with pytest.raises(LocalProtocolError):
        encode_presence_told([GONE._replace(text="t" * 101)])
    assert is_refused(decode_presence_told, encode_presence_told([GONE]).replace(b"\0\0\0\0\1", b"\0\0\x65" + b"t" * 101 + b"\0\1"))
    with pytest.raises(LocalProtocolError):
        encode_presence_places(7, [AWAY._replace(text="\ud800")])


def test_the_longest_messages_fit_a_link() -> None:
    longest = "🙂" * 100
    friends = (MOST,) * (MAX_FRIENDS_TOLD // MAX_PRESENCES)
    assert len(encode_presence_told([Told(MOST, 63, 2**32 - 1, MOST, "busy", longest, friends)] * MAX_PRESENCES)) <= MAX_MESSAGE_BYTES
    assert len(encode_presence_told([GONE._replace(text=longest, friends=(1,) * MAX_FRIENDS_TOLD)])) <= MAX_MESSAGE_BYTES
    assert len(encode_presence_places(7, [Placed(MOST, "busy", longest, (MOST,) * 16)] * MAX_PRESENCES)) <= MAX_MESSAGE_BYTES


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(U64, st.integers(0, 20_000)), max_size=4), st.integers(0, 700))
def test_what_is_told_goes_in_parts_that_each_fit_and_miss_nobody(counts: list[tuple[int, int]], singles: int) -> None:
    told = [GONE._replace(user=user, friends=range(count)) for user, count in counts]
    told += [GONE._replace(user=user) for user in range(singles)]
    parts = list(parted(told))
    assert all(0 < len(part) <= MAX_PRESENCES and sum(len(one.friends) for one in part) <= MAX_FRIENDS_TOLD for part in parts)
    expected = [(one.user, friend) for one in told for friend in one.friends]
    assert [(one.user, friend) for part in parts for one in part for friend in one.friends] == expected
    assert all(part == decode_presence_told(encode_presence_told(part)) for part in ([_tuples(one) for one in part] for part in parts))


def _tuples(told: Told) -> Told:
    return told._replace(friends=tuple(told.friends))


@pytest.mark.parametrize("decode", MESSAGES, ids=lambda decode: decode.__name__)
def test_a_message_of_another_kind_is_refused(decode: Decode) -> None:
    message = MESSAGES[decode]
    assert [kind for kind in range(256) if not is_refused(decode, bytes([kind]) + message[1:])] == [message[0]]


def test_messages_cut_off_inside_an_entry_are_refused() -> None:
    told, places = MESSAGES[decode_presence_told], MESSAGES[decode_presence_places]
    wholes = {len(encode_presence_told([BUSY])), len(told)}
    assert {end for end in range(len(told) + 1) if not is_refused(decode_presence_told, told[:end])} == wholes
    wholes = {5, len(encode_presence_places(7, [AWAY])), len(places)}
    assert {end for end in range(len(places) + 1) if not is_refused(decode_presence_places, places[:end])} == wholes
    ask, push = MESSAGES[decode_presence_ask], MESSAGES[decode_friend_told]
    assert {end for end in range(len(ask) + 1) if not is_refused(decode_presence_ask, ask[:end])} == {len(ask) - 8, len(ask)}
    assert {end for end in range(len(push) + 1) if not is_refused(decode_friend_told, push[:end])} == set(range(12, len(push) + 1))


@pytest.mark.parametrize(("decode", "place", "byte"), [
    (decode_presence_told, 9, 64), (decode_presence_told, 22, 4), (decode_presence_told, 25, 0xFF), (decode_presence_told, 28, 0),
    (decode_presence_told, 27, 1), (decode_presence_told, 24, 0xFF), (decode_presence_places, 13, 0), (decode_presence_places, 13, 4),
    (decode_presence_places, 16, 0xFF), (decode_presence_places, 18, 65), (decode_presence_places, 18, 255),
])  # fmt: skip
def test_slots_states_texts_and_counts_that_cannot_be_are_refused(decode: Decode, place: int, byte: int) -> None:
    message = MESSAGES[decode]
    assert not is_refused(decode, message) and is_refused(decode, message[:place] + bytes([byte]) + message[place + 1 :])


@given(st.binary(max_size=200) | st.tuples(st.sampled_from([*MESSAGES.values()]), st.integers(0, 60), st.binary(max_size=3)).map(
    lambda made: made[0][: made[1]] + made[2] + made[0][made[1] + len(made[2]) :]
))  # fmt: skip
def test_any_bytes_give_a_message_or_a_bad_frame(message: bytes) -> None:
    for decode in MESSAGES:
        is_refused(decode, message)
