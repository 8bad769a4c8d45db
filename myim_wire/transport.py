"""The only I/O of this package: a blocking socket with deadlines, for clients, tools and tests. Servers have doors of their own.

It moves bytes and cuts frames; what they mean is `login_handshake`'s and `connection`'s. Deadlines are of the monotonic clock, in
seconds. Under gevent's patching the same code yields instead of blocking; nothing here imports gevent.
"""

from __future__ import annotations

import socket
import time
from collections import deque

from myim_wire.frames import HANDSHAKE_FRAME_CAP, FrameDecoder

READ_BYTES = 65536


class Transport:
    """Owns `sock`. `frames.cap` says how long a frame may be for `read_frame`."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._whole: deque[bytes] = deque()
        self.frames = FrameDecoder(HANDSHAKE_FRAME_CAP)

    @classmethod
    def connect(cls, host: str, port: int, timeout_seconds: float) -> Transport:
        """Dial with TCP_NODELAY; OSError (TimeoutError among them) if that fails."""
        sock = socket.create_connection((host, port), timeout_seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(sock)

    def fileno(self) -> int:
        """The descriptor, for selectors; -1 after `close`."""
        return self._socket.fileno()

    def write(self, data: bytes, deadline: float | None = None) -> None:
        """Send all of `data`; TimeoutError at the deadline, OSError when the connection is gone."""
        if data:
            self._arm(deadline)
            self._socket.sendall(data)

    def read(self, deadline: float | None = None) -> bytes:
        """What has arrived, at least a byte, at most 64 KiB, for `Connection.receive_data`; b"" at the end of the stream."""
        self._arm(deadline)
        return self._socket.recv(READ_BYTES)

    def read_frame(self, deadline: float | None = None) -> bytes:
        """The content of the next frame, for handshakes.

        RemoteProtocolError(BAD_FRAME), TimeoutError at the deadline, EOFError when the stream ends before the frame does.
        """
        while not self._whole:
            data = self.read(deadline)
            if not data:
                raise EOFError("the stream ended" + (" within a frame" if self.frames.has_partial else ""))
            self._whole.extend(self.frames.feed(data))
        return self._whole.popleft()

    def close(self) -> None:
        """Close the socket; harmless when it is closed."""
        self._socket.close()

    def _arm(self, deadline: float | None) -> None:
        if deadline is None:
            self._socket.settimeout(None)
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        self._socket.settimeout(left)
