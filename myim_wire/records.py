"""Records: the sealed content of a frame [P-2]. One object per direction and key; what is inside is not known here.

The sequence is never sent, so these objects are the only place that counts it: one `seal` and one `open` each advance it by one,
and a key object is thrown away with its key. AES-GCM is cryptography's: 0.8 µs a record, where pycryptodome's takes 80.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from myim_wire.frames import SESSION_FRAME_CAP, encode_length

KEY_BYTES = 32
IV_BYTES = 12
TAG_BYTES = 16
MAX_PLAINTEXT_BYTES = SESSION_FRAME_CAP - TAG_BYTES
HARD_LIMIT_RECORDS = 1 << 24
HARD_LIMIT_BYTES = 64 << 30
SOFT_LIMIT_RECORDS = 1 << 20
SOFT_LIMIT_BYTES = 4 << 30


class SealingKey:
    """Seals one direction under one key: `key` 32 bytes, `iv` 12 bytes [P-2.1].

    `records` counts what was sealed and is the next sequence; `bytes_sealed` counts contents (tags included).
    """

    __slots__ = ("_encrypt", "_iv", "bytes_sealed", "records")

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._encrypt = AESGCM(key).encrypt
        self._iv = int.from_bytes(iv, "big")
        self.records = 0
        self.bytes_sealed = 0

    @property
    def is_due(self) -> bool:
        """Whether the soft limits say that a rekey should start [P-2.5]."""
        return self.records >= SOFT_LIMIT_RECORDS or self.bytes_sealed >= SOFT_LIMIT_BYTES

    def seal(self, plaintext: bytes) -> bytes:
        """The whole frame (length included) that carries `plaintext` as the next record.

        LocalProtocolError: BAD_FRAME above 65,520 bytes, REKEY_REQUIRED when the key is used up [P-2.5].
        """
        size = len(plaintext) + TAG_BYTES
        sequence = self.records
        total = self.bytes_sealed + size
        if sequence >= HARD_LIMIT_RECORDS or total > HARD_LIMIT_BYTES:
            raise LocalProtocolError(ErrorCode.REKEY_REQUIRED, "the sealing key is used up")
        if size > SESSION_FRAME_CAP:
            raise LocalProtocolError(ErrorCode.BAD_FRAME, f"a record cannot hold {len(plaintext)} bytes")
        header = encode_length(size)
        self.records = sequence + 1
        self.bytes_sealed = total
        return header + self._encrypt((self._iv ^ sequence).to_bytes(IV_BYTES, "big"), plaintext, header)


class OpeningKey:
    """Opens one direction under one key; the mirror of `SealingKey`. `bytes_opened` counts contents (tags included)."""

    __slots__ = ("_decrypt", "_iv", "bytes_opened", "records")

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._decrypt = AESGCM(key).decrypt
        self._iv = int.from_bytes(iv, "big")
        self.records = 0
        self.bytes_opened = 0

    @property
    def is_due(self) -> bool:
        """Whether the soft limits say that a rekey should start [P-2.5]."""
        return self.records >= SOFT_LIMIT_RECORDS or self.bytes_opened >= SOFT_LIMIT_BYTES

    def open(self, content: bytes) -> bytes:
        """The plaintext of the next record, from a frame's content.

        RemoteProtocolError: BAD_RECORD for every cause alike [P-2.4], REKEY_REQUIRED when the key is used up [P-2.5].
        """
        size = len(content)
        sequence = self.records
        total = self.bytes_opened + size
        if sequence >= HARD_LIMIT_RECORDS or total > HARD_LIMIT_BYTES:
            raise RemoteProtocolError(ErrorCode.REKEY_REQUIRED, "the opening key is used up")
        try:
            plaintext = self._decrypt((self._iv ^ sequence).to_bytes(IV_BYTES, "big"), content, encode_length(size))
        except InvalidTag:
            raise RemoteProtocolError(ErrorCode.BAD_RECORD, "a record did not open") from None
        self.records = sequence + 1
        self.bytes_opened = total
        return plaintext
