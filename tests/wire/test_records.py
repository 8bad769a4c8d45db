"""Records [P-2], and the rows of reliability §4.2."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from myim_wire.records import (
    HARD_LIMIT_BYTES,
    HARD_LIMIT_RECORDS,
    MAX_PLAINTEXT_BYTES,
    SOFT_LIMIT_BYTES,
    SOFT_LIMIT_RECORDS,
    OpeningKey,
    SealingKey,
)
from tests.wire.fixed import fixed

KEY, IV = fixed("key"), fixed("iv")[:12]


def pair() -> tuple[SealingKey, OpeningKey]:
    return SealingKey(KEY, IV), OpeningKey(KEY, IV)


def refused(opening: OpeningKey, content: bytes) -> RemoteProtocolError:
    before = opening.records
    with pytest.raises(RemoteProtocolError) as caught:
        opening.open(content)
    assert opening.records == before
    return caught.value


def test_every_flipped_bit_of_a_frame_of_100_bytes_is_the_same_error() -> None:
    frame = SealingKey(KEY, IV).seal(bytes(80))
    assert len(frame) == 100
    errors = set()
    for bit in range(32, 800):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        errors.add(str(refused(OpeningKey(KEY, IV), bytes(flipped[4:]))))
    errors.add(str(refused(OpeningKey(KEY, IV), frame[4:-1])))
    assert errors == {"BAD_RECORD: a record did not open"}


def test_the_length_bytes_are_authenticated() -> None:
    forged = AESGCM(KEY).encrypt(IV, b"text", b"\x00\x00\x00\x15")
    assert refused(OpeningKey(KEY, IV), forged).code == ErrorCode.BAD_RECORD


def test_a_replayed_a_skipped_and_a_swapped_record_do_not_open() -> None:
    sealing, opening = pair()
    first, second, third = (sealing.seal(text)[4:] for text in (b"1", b"2", b"3"))
    assert refused(opening, second).code == ErrorCode.BAD_RECORD
    assert opening.open(first) == b"1"
    assert refused(opening, first).code == ErrorCode.BAD_RECORD
    assert refused(opening, third).code == ErrorCode.BAD_RECORD
    assert opening.open(second) == b"2" and opening.open(third) == b"3"


@pytest.mark.parametrize("size", range(16))
def test_a_content_shorter_than_the_tag_does_not_open(size: int) -> None:
    assert refused(OpeningKey(KEY, IV), bytes(size)).code == ErrorCode.BAD_RECORD


def test_an_empty_record_opens_as_empty() -> None:
    sealing, opening = pair()
    assert opening.open(sealing.seal(b"")[4:]) == b""


def test_the_last_record_of_a_key_is_number_2_to_the_24th() -> None:
    sealing, opening = pair()
    sealing.records = opening.records = HARD_LIMIT_RECORDS - 1
    last = sealing.seal(b"last")[4:]
    assert opening.open(last) == b"last"
    with pytest.raises(LocalProtocolError) as caught:
        sealing.seal(b"one more")
    assert caught.value.code == ErrorCode.REKEY_REQUIRED
    assert refused(opening, last).code == ErrorCode.REKEY_REQUIRED


def test_a_key_carries_at_most_64_gib() -> None:
    sealing, opening = pair()
    sealing.bytes_sealed = opening.bytes_opened = HARD_LIMIT_BYTES - 20
    last = sealing.seal(b"four")[4:]
    assert opening.open(last) == b"four"
    with pytest.raises(LocalProtocolError):
        sealing.seal(b"")
    assert refused(opening, bytes(16)).code == ErrorCode.REKEY_REQUIRED


@pytest.mark.parametrize(("records", "size", "is_due"), [
    (SOFT_LIMIT_RECORDS - 2, 0, False), (SOFT_LIMIT_RECORDS - 1, 0, True), (0, SOFT_LIMIT_BYTES - 21, False),
    (0, SOFT_LIMIT_BYTES - 20, True),
])  # fmt: skip
def test_a_rekey_is_due_at_the_soft_limits(records: int, size: int, is_due: bool) -> None:
    sealing, opening = pair()
    sealing.records = opening.records = records
    sealing.bytes_sealed = opening.bytes_opened = size
    opening.open(sealing.seal(b"four")[4:])
    assert (sealing.is_due, opening.is_due) == (is_due, is_due)


def test_a_record_holds_as_much_as_a_frame() -> None:
    sealing, opening = pair()
    assert len(opening.open(sealing.seal(bytes(MAX_PLAINTEXT_BYTES))[4:])) == MAX_PLAINTEXT_BYTES
    with pytest.raises(LocalProtocolError):
        sealing.seal(bytes(MAX_PLAINTEXT_BYTES + 1))


def test_no_nonce_repeats_under_a_key() -> None:
    sealing = SealingKey(KEY, IV)
    assert len({sealing.seal(b"the same text") for _ in range(1000)}) == 1000


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_what_is_sealed_in_order_opens_in_order(plaintexts: list[bytes]) -> None:
    sealing, opening = pair()
    assert [opening.open(sealing.seal(text)[4:]) for text in plaintexts] == plaintexts
    assert sealing.bytes_sealed == opening.bytes_opened == sum(len(text) + 16 for text in plaintexts)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_bad_record(content: bytes) -> None:
    assert refused(OpeningKey(KEY, IV), content).code == ErrorCode.BAD_RECORD
