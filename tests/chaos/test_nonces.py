"""No nonce and no place in a sequence is ever used twice; both checks go red where one is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import pytest

from myim_wire.errors import RemoteProtocolError
from myim_wire.link_batches import BatchDecoder, BatchEncoder
from myim_wire.records import SealingKey

KEY, IV = os.urandom(32), os.urandom(12)


class StuckSealingKey(SealingKey):
    """Seals every record under the first nonce."""

    def seal(self, plaintext: bytes) -> bytes:
        self.records = 0
        return super().seal(plaintext)


class StuckEncoder(BatchEncoder):
    """Gives every batch the first place."""

    def encode(self, messages: Sequence[bytes]) -> bytes:
        self._sequence = 0
        return super().encode(messages)


class StuckDecoder(BatchDecoder):
    """Takes every batch for the first."""

    def feed(self, data: bytes) -> list[bytes]:
        self._sequence = 0
        return super().feed(data)


def repeated_records(make: Callable[[bytes, bytes], SealingKey]) -> int:
    """The same plaintext sealed under one key a thousand times: how many frames repeat. GCM gives the same bytes for the same nonce."""
    sealing = make(KEY, IV)
    frames = [sealing.seal(b"the same") for _ in range(1000)]
    return len(frames) - len(set(frames))


def replays_taken(encode: Callable[[bytes], BatchEncoder], decode: Callable[[bytes], BatchDecoder]) -> int:
    """How many messages of a plain link arrive a second time when its bytes are sent again."""
    encoder, decoder = encode(KEY), decode(KEY)
    batches = [encoder.encode([b"\x10message"]) for _ in range(3)]
    for batch in batches:
        assert decoder.feed(batch) == [b"\x10message"]
    try:
        return sum(len(decoder.feed(batch)) for batch in batches)
    except RemoteProtocolError:
        return 0


def test_no_record_is_sealed_under_the_nonce_of_another() -> None:
    assert repeated_records(SealingKey) == 0


def test_a_reused_nonce_is_noticed() -> None:
    assert repeated_records(StuckSealingKey) == 999


def test_no_batch_of_a_plain_link_is_taken_twice() -> None:
    assert replays_taken(BatchEncoder, BatchDecoder) == 0


def test_a_batch_without_a_place_in_a_sequence_is_noticed() -> None:
    assert replays_taken(StuckEncoder, StuckDecoder) == 3


@pytest.mark.parametrize("others", [(BatchEncoder, StuckDecoder), (StuckEncoder, BatchDecoder)])
def test_one_side_alone_cannot_do_without_the_sequence(others: tuple[type[BatchEncoder], type[BatchDecoder]]) -> None:
    encoder, decoder = others[0](KEY), others[1](KEY)
    assert decoder.feed(encoder.encode([b"\x10first"])) == [b"\x10first"]
    with pytest.raises(RemoteProtocolError):
        decoder.feed(encoder.encode([b"\x10second"]))
