"""Batches of a link: what goes in comes out, in whatever pieces it travels; on a plain link nothing else does."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.link_batches import (
    CONSUMED,
    GOODBYE,
    HEARTBEAT,
    HEARTBEAT_ANSWER,
    LAST_OWN_KIND,
    MAX_BATCH_BYTES,
    BatchDecoder,
    BatchEncoder,
    decode_own,
    encode_own,
)
from tests.wire.fixed import fixed

KEY = fixed("link key")
KEYS = [KEY, b""]
MESSAGES = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20)


@given(batches=st.lists(MESSAGES, max_size=6), key=st.sampled_from(KEYS), step=st.integers(1, 400))
def test_messages_come_out_as_they_went_in_whatever_the_pieces(batches: list[list[bytes]], key: bytes, step: int) -> None:
    encoder, decoder = BatchEncoder(key), BatchDecoder(key)
    stream = b"".join(encoder.encode(batch) for batch in batches)
    found = [message for at in range(0, len(stream), step) for message in decoder.feed(stream[at : at + step])]
    assert found == [message for batch in batches for message in batch]
    assert decoder.consumed == encoder.produced == sum(4 + len(message) for message in found)


@pytest.mark.parametrize("messages", [[b"\x10one"], [b"\x10one", b"\x80two"]])
def test_a_frame_is_as_the_page_of_links_says(messages: list[bytes]) -> None:
    body = b"".join(struct.pack(">I", len(message)) + message for message in messages)
    assert BatchEncoder(b"").encode(messages) == struct.pack(">I", len(body)) + body
    encoder = BatchEncoder(KEY)
    for sequence in range(3):
        mac = hashlib.blake2b(struct.pack(">Q", sequence) + body, key=KEY, digest_size=16).digest()
        assert encoder.encode(messages) == struct.pack(">I", 16 + len(body)) + mac + body


@pytest.mark.parametrize("kind", [HEARTBEAT, HEARTBEAT_ANSWER, CONSUMED, GOODBYE])
def test_the_links_own_messages_are_marked_and_read_back(kind: int) -> None:
    decoder, marks = BatchDecoder(b""), []
    for message in (b"\x10x", encode_own(kind, 40_000), b"\x10x"):
        assert decoder.feed(BatchEncoder(b"").encode([message])) == [message]
        marks.append(decoder.has_own)
    assert marks == [False, True, False]
    assert decode_own(encode_own(kind, 40_000)) == (kind, 40_000)


@pytest.mark.parametrize("kind", range(LAST_OWN_KIND + 1))
def test_an_own_message_of_another_length_or_an_unknown_kind_is_refused(kind: int) -> None:
    for size in (0, 1, 2, 3, 7, 8, 9, 100):
        is_right = {GOODBYE: 2, HEARTBEAT: 8, HEARTBEAT_ANSWER: 8, CONSUMED: 8}.get(kind) == size
        if not is_right:
            with pytest.raises(RemoteProtocolError):
                decode_own(bytes([kind]) + bytes(size))


# ---------------------------------------------------------------------- on a plain link, nothing but the next batch


def stream(count: int = 3) -> list[bytes]:
    encoder = BatchEncoder(KEY)
    return [encoder.encode([b"\x10%d" % number, b"\x11more"]) for number in range(count)]


def test_any_bit_of_a_batch_flipped_is_refused() -> None:
    (frame,) = stream(1)
    for bit in range(32, 8 * len(frame)):
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteProtocolError) as refusal:
            BatchDecoder(KEY).feed(bytes(changed))
        assert refusal.value.code is ErrorCode.BAD_RECORD


def test_a_length_with_any_bit_flipped_gives_no_message() -> None:
    frames = stream(4)
    for bit in range(32):
        changed = bytearray(b"".join(frames))
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert BatchDecoder(KEY).feed(bytes(changed)) == []  # it waits for the rest of a longer one
        except RemoteProtocolError:
            continue


@pytest.mark.parametrize("order", [(0, 0), (1,), (0, 2), (1, 0), (0, 1, 0), (0, 1, 1), (0, 2, 1)])
def test_batches_doubled_dropped_swapped_or_replayed_are_refused(order: tuple[int, ...]) -> None:
    frames, decoder = stream(), BatchDecoder(KEY)
    with pytest.raises(RemoteProtocolError) as refusal:
        for number in order:
            decoder.feed(frames[number])
    assert refusal.value.code is ErrorCode.BAD_RECORD


def test_a_batch_of_the_other_direction_or_another_link_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        BatchDecoder(KEY).feed(BatchEncoder(fixed("another key")).encode([b"\x10x"]))
    with pytest.raises(RemoteProtocolError):
        BatchDecoder(KEY).feed(BatchEncoder(b"").encode([b"\x10x"]))


# ---------------------------------------------------------------------- nonsense


@pytest.mark.parametrize("length", [0, MAX_BATCH_BYTES + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("key", KEYS)
def test_a_frame_of_an_impossible_length_is_refused_at_its_header(length: int, key: bytes) -> None:
    for before in (b"", BatchEncoder(key).encode([b"\x10x"])):
        with pytest.raises(RemoteProtocolError) as refusal:
            BatchDecoder(key).feed(before + struct.pack(">I", length))
        assert refusal.value.code is ErrorCode.BAD_FRAME


BODIES = {
    "an empty message": struct.pack(">I", 0),
    "an empty one behind another": struct.pack(">I1sI", 1, b"\x10", 0),
    "half a length": b"\x00\x00\x00",
    "a length and nothing": struct.pack(">I", 1),
    "longer than the batch": struct.pack(">I", 3) + b"\x10x",
    "longest of all": struct.pack(">I", 0xFFFFFFFF) + b"\x10x",
    "bytes behind the last": struct.pack(">I", 1) + b"\x10" + b"\x00",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_batch_that_does_not_add_up_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        BatchDecoder(b"").feed(struct.pack(">I", len(body)) + body)
    assert refusal.value.code is ErrorCode.BAD_FRAME
    mac = hashlib.blake2b(bytes(8) + body, key=KEY, digest_size=16).digest()
    with pytest.raises(RemoteProtocolError) as refusal:
        BatchDecoder(KEY).feed(struct.pack(">I", 16 + len(body)) + mac + body)
    assert refusal.value.code is ErrorCode.BAD_FRAME


@pytest.mark.parametrize("size", [1, 15, 16])
def test_a_batch_without_a_mac_or_with_nothing_behind_it_is_refused(size: int) -> None:
    mac = hashlib.blake2b(bytes(8), key=KEY, digest_size=16).digest()
    with pytest.raises(RemoteProtocolError):
        BatchDecoder(KEY).feed(struct.pack(">I", size) + mac[:size])
