"""What travels on a link after its handshake: batches of messages, with a MAC and a sequence where no TLS is (docs/links.md, [L-4]).

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
from myim_wire.frames import FrameDecoder

MAX_BATCH_BYTES = 1 << 20
MAC_BYTES = 16
HEAD_BYTES = 4
HEARTBEAT, HEARTBEAT_ANSWER, CONSUMED, GOODBYE = 1, 2, 3, 4
LAST_OWN_KIND = 0x0F  # up to here the kinds are the link's own, those without a name reserved

_LENGTH = struct.Struct(">I")
_TWO_LENGTHS = struct.Struct(">II")
_LENGTH_AND_MAC = struct.Struct(f">I{MAC_BYTES}s")
_U64 = struct.Struct(">Q")
_NUMBERED = struct.Struct(">BQ")
_OWN = {HEARTBEAT: _NUMBERED, HEARTBEAT_ANSWER: _NUMBERED, CONSUMED: _NUMBERED, GOODBYE: struct.Struct(">BH")}


def encode_own(kind: int, number: int) -> bytes:
    """HEARTBEAT, HEARTBEAT_ANSWER (u64, the asker's), CONSUMED (u64, bytes of batches since the link began), GOODBYE (u16, a code)."""
    return _OWN[kind].pack(kind, number)


def decode_own(message: bytes) -> tuple[int, int]:
    """(kind, number) of one of the link's own messages; BAD_FRAME for an unknown kind or a wrong length."""
    form = _OWN.get(message[0])
    if form is None or len(message) != form.size:
        raise _bad("a message of the link's own that is none")
    kind, number = form.unpack(message)
    return kind, number


class BatchEncoder:
    """Messages of one direction in, frames out. key: 32 bytes on a plain link, empty under TLS.

    `produced` counts the bytes of all batches so far, without lengths of frames and MACs.
    """

    __slots__ = ("_keyed", "_sequence", "produced")

    def __init__(self, key: bytes) -> None:
        self._keyed = hashlib.blake2b(digest_size=MAC_BYTES, key=key) if key else None
        self._sequence = 0
        self.produced = 0

    def encode(self, messages: Sequence[bytes]) -> bytes:
        """One frame with at least one message; together at most MAX_BATCH_BYTES less 16, which the caller sees to."""
        if self._keyed is None:
            if len(messages) == 1:
                size = len(messages[0])
                self.produced += size + HEAD_BYTES
                return _TWO_LENGTHS.pack(size + HEAD_BYTES, size) + messages[0]
            body = _join(messages)
            self.produced += len(body)
            return _LENGTH.pack(len(body)) + body
        body = _LENGTH.pack(len(messages[0])) + messages[0] if len(messages) == 1 else _join(messages)
        self.produced += len(body)
        mac = self._keyed.copy()
        mac.update(_U64.pack(self._sequence) + body)
        self._sequence += 1
        return _LENGTH_AND_MAC.pack(len(body) + MAC_BYTES, mac.digest()) + body


class BatchDecoder:
    """Bytes of one direction in, messages out. key as above.

    `consumed` counts the bytes of all batches so far as `produced` does; `has_own`: some of what `feed` returned is for the link itself.
    """

    __slots__ = ("_frames", "_keyed", "_sequence", "consumed", "has_own")

    def __init__(self, key: bytes) -> None:
        self._frames = FrameDecoder(MAX_BATCH_BYTES)
        self._keyed = hashlib.blake2b(digest_size=MAC_BYTES, key=key) if key else None
        self._sequence = 0
        self.consumed = 0
        self.has_own = False

    def feed(self, data: bytes) -> list[bytes]:
        """The messages of all batches that these bytes complete.

        RemoteProtocolError: BAD_RECORD for a batch that is not the next of this link, BAD_FRAME for one that cannot be; the link is over,
        and what else these bytes held is void.
        """
        self.has_own = False
        contents = self._frames.feed(data)
        if len(contents) == 1 and not self._frames.has_stopped:
            return self._split(contents[0])
        messages: list[bytes] = []
        for content in contents:
            messages += self._split(content)
        if self._frames.has_stopped:
            self._frames.feed(b"")  # judges the header it stopped at
        return messages

    def _split(self, body: bytes) -> list[bytes]:
        start, end = 0, len(body)
        if self._keyed is not None:
            self._check(body)
            start = MAC_BYTES
        self.consumed += end - start
        if start == end:
            raise _bad("a batch of nothing")
        messages = []
        read = _LENGTH.unpack_from
        while start < end:
            if start + HEAD_BYTES > end:
                raise _bad("half a length in a batch")
            size = read(body, start)[0]
            start += HEAD_BYTES + size
            if not size or start > end:
                raise _bad("a message longer than its batch, or empty")
            message = body[start - size : start]
            if message[0] <= LAST_OWN_KIND:
                self.has_own = True
            messages.append(message)
        return messages

    def _check(self, content: bytes) -> None:
        assert self._keyed is not None
        mac = self._keyed.copy()
        mac.update(_U64.pack(self._sequence) + content[MAC_BYTES:])
        if not hmac.compare_digest(content[:MAC_BYTES], mac.digest()):
            raise RemoteProtocolError(ErrorCode.BAD_RECORD, "a batch that is not the next of this link")
        self._sequence += 1


def _join(messages: Sequence[bytes]) -> bytes:
    pack = _LENGTH.pack
    return b"".join([part for message in messages for part in (pack(len(message)), message)])


def _bad(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.BAD_FRAME, text)
