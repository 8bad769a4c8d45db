"""What travels on a link after its handshake: batches of messages, with a MAC and a sequence where no TLS is (docs/links.md, [L-3]).

What lives here: the bytes of a batch and the link's own messages. What must not: sockets, TLS, windows (`cluster.peer_link`), what other
messages mean.

    frame   length u32 ‖ [mac 16, plain links only] ‖ messages          message   length u32 ‖ kind u8 ‖ payload
    mac = BLAKE2b(key of the direction, sequence u64 ‖ messages), 16 bytes; the sequence starts at 0 and rises by one with each batch
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Sequence

from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.frames import FrameDecoder, encode_length

MAX_BATCH_BYTES = 1 << 20
HEARTBEAT, HEARTBEAT_ANSWER, CONSUMED, GOODBYE = 1, 2, 3, 4
_MAC_BYTES = 16
_HEAD_BYTES = 4
_LENGTH = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_OWN = struct.Struct(">BQ")


def encode_own(kind: int, number: int) -> bytes:
    """HEARTBEAT, HEARTBEAT_ANSWER (microseconds of the asker's clock), CONSUMED (bytes of batches since the link began), GOODBYE (code)."""
    return _OWN.pack(kind, number)


def decode_own(message: bytes) -> int:
    """The number of one of the link's own messages; BAD_FRAME."""
    if len(message) != _OWN.size:
        raise RemoteProtocolError(ErrorCode.BAD_FRAME, "a message of the link of another size")
    number: int = _U64.unpack_from(message, 1)[0]
    return number


class BatchEncoder:
    """Messages of one direction in, frames out. key: 32 bytes on a plain link, empty under TLS."""

    __slots__ = ("_key", "_sequence")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._sequence = 0

    def encode(self, messages: Sequence[bytes]) -> bytes:
        """One frame; together at most MAX_BATCH_BYTES less 16, which the caller sees to."""
        if len(messages) == 1:
            body = _LENGTH.pack(len(messages[0])) + messages[0]
        else:
            body = b"".join([part for message in messages for part in (_LENGTH.pack(len(message)), message)])
        if not self._key:
            return encode_length(len(body)) + body
        mac = _mac(self._key, self._sequence, body)
        self._sequence += 1
        return encode_length(len(body) + _MAC_BYTES) + mac + body


class BatchDecoder:
    """Bytes of one direction in, messages out; `consumed` counts the bytes of all batches so far, without their MACs."""

    __slots__ = ("_frames", "_key", "_sequence", "consumed")

    def __init__(self, key: bytes) -> None:
        self._frames = FrameDecoder(MAX_BATCH_BYTES)
        self._key = key
        self._sequence = 0
        self.consumed = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages of all batches that these bytes complete; RemoteProtocolError(BAD_FRAME) for anything else than the next batch."""
        messages: list[bytes] = []
        frames = self._frames.feed(data)
        for content in frames:
            body = self._body(content)
            self.consumed += len(body)
            messages += _split(body)
        if self._frames.has_stopped:
            self._frames.feed(b"")  # judges the header it stopped at
        return messages

    def _body(self, content: bytes) -> bytes:
        if not self._key:
            return content
        body = content[_MAC_BYTES:]
        if not hmac.compare_digest(content[:_MAC_BYTES], _mac(self._key, self._sequence, body)):
            raise RemoteProtocolError(ErrorCode.BAD_FRAME, "a batch that is not the next of this link")
        self._sequence += 1
        return body


def batch_bytes(message: bytes) -> int:
    """What a message takes in a batch."""
    return _HEAD_BYTES + len(message)


def _mac(key: bytes, sequence: int, body: bytes) -> bytes:
    digest = hashlib.blake2b(_U64.pack(sequence), digest_size=_MAC_BYTES, key=key)
    digest.update(body)
    return digest.digest()


def _split(body: bytes) -> list[bytes]:
    messages = []
    start, end = 0, len(body)
    while start < end:
        if start + _HEAD_BYTES > end:
            raise RemoteProtocolError(ErrorCode.BAD_FRAME, "half a length in a batch")
        size = _LENGTH.unpack_from(body, start)[0]
        start += _HEAD_BYTES + size
        if not size or start > end:
            raise RemoteProtocolError(ErrorCode.BAD_FRAME, "a message longer than its batch, or empty")
        messages.append(body[start - size : start])
    return messages
