"""Frames: `length u32 ‖ content` [P-1.1]. What a content means is not known here; it follows from the state of the connection.

The length is judged at the header, before anything is kept for it [P-1.2]. The caller raises `cap` when the handshake is over;
therefore `feed` stops in front of a header that does not fit and judges it anew at the next call, when whole frames came before
it: one of them may be the one that raises the cap.
"""

from __future__ import annotations

import struct

from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError

HANDSHAKE_FRAME_CAP = 4096
SESSION_FRAME_CAP = 65536
HEADER_BYTES = 4

_LENGTH = struct.Struct(">I")
encode_length = _LENGTH.pack
_read_length = _LENGTH.unpack_from


def encode_frame(content: bytes) -> bytes:
    """The frame around `content` (1 to 65,536 bytes); LocalProtocolError for any other size [P-1.1]."""
    if not 0 < len(content) <= SESSION_FRAME_CAP:
        raise LocalProtocolError(ErrorCode.BAD_FRAME, f"a frame cannot hold {len(content)} bytes")
    return encode_length(len(content)) + content


class FrameDecoder:
    """Bytes of one direction in, contents of whole frames out.

    `cap` is the longest content allowed (bytes) and may be set between two calls. `has_stopped`: the last call stopped in front
    of a header that does not fit.
    """

    __slots__ = ("_buffer", "cap", "has_stopped")

    def __init__(self, cap: int = HANDSHAKE_FRAME_CAP) -> None:
        self.cap = cap
        self._buffer = bytearray()
        self.has_stopped = False

    @property
    def has_partial(self) -> bool:
        """Whether bytes wait for the rest of their frame."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The contents of all frames that `data` completes, in order.

        A length of 0 or above `cap` raises RemoteProtocolError(BAD_FRAME), but only when no whole frame came before it in this
        call; otherwise those are returned, `has_stopped` is true, and the next call (of `b""` too) judges the header.
        """
        if not self._buffer and len(data) >= HEADER_BYTES:
            length = _read_length(data)[0]
            if not 0 < length <= self.cap:
                raise _bad_length(length)
            if length == len(data) - HEADER_BYTES:
                return [data[HEADER_BYTES:]]
        return self._feed_slowly(data)

    def _feed_slowly(self, data: bytes) -> list[bytes]:
        buffer = self._buffer
        buffer += data
        self.has_stopped = False
        contents: list[bytes] = []
        offset = 0
        size = len(buffer)
        while size - offset >= HEADER_BYTES:
            length = _read_length(buffer, offset)[0]
            if not 0 < length <= self.cap:
                if contents:
                    self.has_stopped = True
                    break
                raise _bad_length(length)
            end = offset + HEADER_BYTES + length
            if end > size:
                break
            contents.append(bytes(buffer[offset + HEADER_BYTES : end]))
            offset = end
        if offset:
            del buffer[:offset]
        return contents


def _bad_length(length: int) -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.BAD_FRAME, f"a frame of {length} bytes is not allowed here")
