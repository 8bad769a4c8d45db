"""What centers tell each other about groups [L-5]: its bytes, read as written, and every way a peer can get them wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.group_peer_messages import (
    MAX_CHANGE_BYTES,
    Post,
    Posted,
    decode_group_changed,
    decode_interested,
    decode_posted,
    decode_uninterested,
    encode_group_changed,
    encode_interested,
    encode_posted,
    encode_uninterested,
)  # fmt: skip
from myim_wire.peer_messages import MAX_TOLD, decode_expired, encode_expired
from tests.wire.group_examples import CHANGED

U64, U32 = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)
SLOT = 5
NAME = 64 * 9 + SLOT
SENDERS = st.tuples(U64, st.integers(0, 63), U32, U64)
POSTS = st.lists(st.builds(Post, U64, U64, U64, U64, st.binary(max_size=80)), min_size=1, max_size=5)
SENDER = (1, SLOT, 2, 3)
ONE = encode_posted(SENDER, 4, 5, 6, [Post(7, 8, NAME, 9, b"body")])
TWO = encode_posted(SENDER, 4, 5, 6, [Post(7, 8, NAME, 9, b"body"), Post(8, 9, NAME + 64, 10, b"")])
NEWS = encode_group_changed(4, 5, [42, 43], CHANGED.encode())
DECODERS: list[Callable[[bytes], object]] = [decode_posted, decode_group_changed, decode_uninterested, decode_interested]


def is_refused(decode: Callable[[bytes], object], message: bytes) -> bool:
    try:
        decode(message)
    except RemoteProtocolError as error:
        assert error.code == ErrorCode.BAD_FRAME
        return True
    return False


def u64(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "big") for number in numbers)


def test_the_layouts_are_these_bytes() -> None:
    post = u64(7, 8, NAME, 9) + b"\0\4body"
    head = b"\x20" + u64(1) + b"\5\0\0\0\2" + u64(3, 4, 5, 6)
    posts = [Post(7, 8, NAME, 9, b"body"), Post(8, 9, NAME + 64, 10, b"")]
    assert encode_posted(SENDER, 4, 5, 6, posts[:1]) == head + b"\0\1" + post
    assert encode_posted(SENDER, 4, 5, 6, posts) == head + b"\0\2" + post + u64(8, 9, NAME + 64, 10) + b"\0\0"
    assert encode_group_changed(4, 5, [42, 43], b"news") == b"\x21" + u64(4, 5) + b"\0\2" + u64(42, 43) + b"news"
    assert encode_uninterested(4) == b"\x22" + u64(4)
    assert encode_interested([4, 5]) == b"\x23" + u64(4, 5)


@given(SENDERS, U64, U64, U64, POSTS)
def test_posts_are_read_as_written(sender: tuple[int, int, int, int], group: int, version: int, entered: int, posts: list[Post]) -> None:
    posts = [post._replace(time=post.time & -64 | sender[1]) for post in posts]
    posted = decode_posted(encode_posted(sender, group, version, entered, posts))
    assert posted == Posted(*sender, group, version, entered, posts) and all(type(post) is Post for post in posted.posts)


def test_the_longest_body_is_read_and_a_longer_one_refused() -> None:
    for size, is_bad in ((32_768, False), (32_769, True)):
        assert is_refused(decode_posted, encode_posted(SENDER, 4, 5, 6, [Post(0, 8, NAME, 9, bytes(size))])) == is_bad


@given(U64, U64, st.lists(U64, max_size=20), st.binary(min_size=1, max_size=100))
def test_a_change_is_read_as_written(group: int, version: int, users: list[int], content: bytes) -> None:
    assert decode_group_changed(encode_group_changed(group, version, users, content)) == (group, version, tuple(users), content)


@given(st.lists(U64, min_size=1, max_size=20))
def test_what_interests_a_center_is_read_as_written(groups: list[int]) -> None:
    assert decode_interested(encode_interested(groups)) == tuple(groups)
    assert decode_uninterested(encode_uninterested(groups[0])) == groups[0]


def test_lists_may_reach_their_limit_and_not_pass_it() -> None:
    for count, is_bad in ((MAX_TOLD, False), (MAX_TOLD + 1, True)):
        assert is_refused(decode_interested, encode_interested([1] * count)) == is_bad
        assert is_refused(decode_group_changed, encode_group_changed(4, 5, [1] * count, b"x")) == is_bad
    for size, is_bad in ((1, False), (MAX_CHANGE_BYTES, False), (0, True), (MAX_CHANGE_BYTES + 1, True)):
        assert is_refused(decode_group_changed, encode_group_changed(4, 5, [], bytes(size))) == is_bad


@pytest.mark.parametrize("message", [ONE, TWO], ids=["one post", "two posts"])
def test_posts_cut_off_anywhere_or_with_a_byte_more_are_refused(message: bytes) -> None:
    assert all(is_refused(decode_posted, message[:end]) for end in range(len(message))) and is_refused(decode_posted, message + b"\0")


@pytest.mark.parametrize(("place", "byte"), [(9, 6), (9, 64), (9, 255), (47, 0), (47, 2), (46, 1)])
def test_posts_of_another_slot_or_of_another_count_than_told_are_refused(place: int, byte: int) -> None:
    assert is_refused(decode_posted, ONE[:place] + bytes([byte]) + ONE[place + 1 :])


@pytest.mark.parametrize(("decode", "message"), [
    *((decode_group_changed, message) for message in (b"", NEWS[:18], NEWS[: 19 + 15], NEWS[: 19 + 16])),
    (decode_group_changed, b"\x21" + u64(4, 5) + b"\xff\xff" + bytes(2000)),
    *((decode_uninterested, message) for message in (b"", b"\x22", b"\x22" + bytes(7), b"\x22" + bytes(9))),
    *((decode_interested, message) for message in (b"", b"\x23", b"\x23" + bytes(7), b"\x23" + bytes(17))),
])  # fmt: skip
def test_a_message_of_another_size_than_told_is_refused(decode: Callable[[bytes], object], message: bytes) -> None:
    assert is_refused(decode, message)


@pytest.mark.parametrize(("decode", "message"), [
    (decode_posted, ONE), (decode_group_changed, NEWS), (decode_uninterested, b"\x22" + bytes(8)), (decode_interested, b"\x23" + bytes(8)),
])  # fmt: skip
def test_a_message_of_another_kind_is_refused(decode: Callable[[bytes], object], message: bytes) -> None:
    assert [kind for kind in range(256) if not is_refused(decode, bytes([kind]) + message[1:])] == [message[0]]


@given(U64, st.integers(0, 63), st.lists(st.tuples(U64, U64), max_size=5))
def test_messages_that_expired_are_read_as_written(user: int, slot: int, pairs: list[tuple[int, int]]) -> None:
    message = encode_expired(user, slot, pairs)
    assert message[0] == 0x1E and decode_expired(message) == (user, slot, pairs)
    assert is_refused(decode_expired, message + b"\0") and is_refused(decode_expired, message[:9])
    assert is_refused(decode_expired, message[:9] + b"\x40" + message[10:])


@given(st.binary(max_size=200) | st.tuples(st.sampled_from([ONE, TWO, NEWS]), st.integers(0, 60), st.binary(max_size=3)).map(
    lambda made: made[0][: made[1]] + made[2] + made[0][made[1] + len(made[2]) :]
))  # fmt: skip
def test_any_bytes_give_a_message_or_a_bad_frame(message: bytes) -> None:
    for decode in DECODERS:
        is_refused(decode, message)
