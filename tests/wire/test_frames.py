"""Frames [P-1], and the rows of reliability §4.1 that are decided at the header."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.errors import ErrorCode, LocalProtocolError, ProtocolError, RemoteProtocolError
from myim_wire.frames import HANDSHAKE_FRAME_CAP, SESSION_FRAME_CAP, FrameDecoder, encode_frame


def refused(data: bytes, cap: int = HANDSHAKE_FRAME_CAP) -> ErrorCode:
    with pytest.raises(RemoteProtocolError) as caught:
        FrameDecoder(cap).feed(data)
    return caught.value.code


@pytest.mark.parametrize("cap", [HANDSHAKE_FRAME_CAP, SESSION_FRAME_CAP])
@pytest.mark.parametrize("length", [0, 1, "cap", "cap+1", 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_length_is_judged_at_the_header_and_unsigned(cap: int, length: int | str) -> None:
    number = {"cap": cap, "cap+1": cap + 1}.get(length, 0) if isinstance(length, str) else length
    header = number.to_bytes(4, "big")
    if 0 < number <= cap:
        decoder = FrameDecoder(cap)
        assert decoder.feed(header) == [] and decoder.has_partial
        assert decoder.feed(bytes(number)) == [bytes(number)] and not decoder.has_partial
    else:
        assert refused(header, cap) == ErrorCode.BAD_FRAME
        decoder = FrameDecoder(cap)
        decoder.feed(header[:3])
        with pytest.raises(RemoteProtocolError):
            decoder.feed(header[3:])


def test_a_huge_length_allocates_nothing() -> None:
    tracemalloc.start()
    try:
        refused(b"\xff\xff\xff\xff", SESSION_FRAME_CAP)
        FrameDecoder(SESSION_FRAME_CAP).feed(SESSION_FRAME_CAP.to_bytes(4, "big"))
        assert tracemalloc.get_traced_memory()[1] < 16_384
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"SSH-2.0-OpenSSH_9.2\r\n", b"\xffSMBr\x00\x00\x00"]
)
def test_other_protocols_end_at_the_first_header(data: bytes) -> None:
    assert refused(data) == ErrorCode.BAD_FRAME


def test_a_frame_split_anywhere_is_the_same_frame() -> None:
    data = encode_frame(b"first") + encode_frame(b"second")
    for at in range(len(data) + 1):
        decoder = FrameDecoder()
        assert decoder.feed(data[:at]) + decoder.feed(data[at:]) == [b"first", b"second"]
        assert not decoder.has_partial


def test_frames_before_a_bad_header_are_handed_out_before_it_is_judged() -> None:
    decoder = FrameDecoder(16)
    assert decoder.feed(encode_frame(b"whole") + encode_frame(bytes(17))) == [b"whole"]
    assert decoder.has_stopped
    with pytest.raises(RemoteProtocolError):
        decoder.feed(b"")


def test_a_cap_that_rises_between_two_frames_lets_the_second_through() -> None:
    decoder = FrameDecoder(16)
    assert decoder.feed(encode_frame(b"whole") + encode_frame(bytes(17))) == [b"whole"]
    decoder.cap = 17
    assert decoder.feed(b"") == [bytes(17)]
    assert not decoder.has_stopped and not decoder.has_partial


@pytest.mark.parametrize("size", [0, SESSION_FRAME_CAP + 1])
def test_a_frame_that_no_peer_would_take_is_not_written(size: int) -> None:
    with pytest.raises(LocalProtocolError):
        encode_frame(bytes(size))


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.lists(st.integers(1, 40), min_size=1))
def test_any_frames_in_any_pieces_come_out_whole(contents: list[bytes], steps: list[int]) -> None:
    data = b"".join(map(encode_frame, contents))
    decoder, out, at, turn = FrameDecoder(), [], 0, 0
    while at < len(data):
        step = steps[turn % len(steps)]
        out += decoder.feed(data[at : at + step])
        at, turn = at + step, turn + 1
    assert out == contents


@given(st.lists(st.binary(max_size=64), max_size=6), st.integers(1, 100))
def test_any_bytes_give_frames_or_a_protocol_error(pieces: list[bytes], cap: int) -> None:
    decoder = FrameDecoder(cap)
    try:
        for piece in pieces:
            for content in decoder.feed(piece):
                assert 0 < len(content) <= cap
    except ProtocolError as error:
        assert error.code == ErrorCode.BAD_FRAME
