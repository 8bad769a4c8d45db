"""One connection to a center: a socket and the wire's `Connection`. Any thread may `flush`, one thread reads.

Only bytes and keys live here; what to say is the courier's, whether to connect again the journey's. Flushing never blocks another
flusher: whoever comes while one writes leaves a mark, and the writer goes round once more. So all that is ready goes out as one
record, order is that of taking, and the reader is never held up by a writer.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

from myim_wire.center_handshake import CenterClient
from myim_wire.connection import Connection
from myim_wire.errors import ProtocolError
from myim_wire.messages import REPLY, Command, Message
from myim_wire.records import MAX_PLAINTEXT_BYTES

HANDSHAKE_SECONDS = 5.0
STALLED_SECONDS = 15.0
REKEY_SECONDS = 24 * 3600.0
READ_BYTES = 65536


class LinkLost(Exception):
    """The connection is gone; the text says why, for people."""


class Link:
    """An open connection; `flush` until `close`."""

    def __init__(self, sock: socket.socket, connection: Connection, take: Callable[[], list[bytes]]) -> None:
        self._socket = sock
        self._connection = connection
        self._take = take
        self._writing = threading.Lock()
        self._is_dirty = False
        self._is_over = False
        self._has_written = False
        self._keyed_at = time.monotonic()

    @classmethod
    def open(cls, host: str, port: int, client: CenterClient, take: Callable[[], list[bytes]]) -> Link:
        """Dial and shake hands, within 5 s each; `take` gives the messages that are due.

        Raises OSError, LinkLost, RemoteProtocolError (ReportedError: the center said why not).
        """
        try:
            sock = socket.create_connection((host, port), HANDSHAKE_SECONDS)
        except UnicodeError as error:  # a host name no resolver takes
            raise LinkLost(str(error)) from None
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection.for_terminal(client)
            sock.sendall(client.connect())
            end = time.monotonic() + HANDSHAKE_SECONDS
            while not connection.is_open:
                sock.settimeout(max(0.001, end - time.monotonic()))
                data = sock.recv(READ_BYTES)
                if not data:
                    raise LinkLost("the center closed during the handshake")
                connection.receive_data(data)
            return cls(sock, connection, take)
        except BaseException:
            sock.close()
            raise

    def receive(self, timeout: float) -> list[Message] | None:
        """The messages of what arrives within `timeout` seconds; [] if nothing. None: the center has ended its direction.

        Raises LinkLost, RemoteProtocolError.
        """
        try:
            self._socket.settimeout(max(0.001, timeout))
            data = self._socket.recv(READ_BYTES)
        except TimeoutError:
            return []
        except OSError as error:
            raise LinkLost(error.strerror or str(error)) from None
        if not data:
            raise LinkLost("the connection was closed without a word")
        connection = self._connection
        messages = connection.receive_data(data)
        for message in messages:
            if message.command == Command.REKEY:
                self._rekey(message)
        if connection.is_peer_closed and not messages:
            return None
        return messages

    def flush(self) -> None:
        """Write what is due. Never raises: a lost connection shows itself to the reader."""
        self._is_dirty = True
        while self._is_dirty and self._writing.acquire(blocking=False):
            try:
                self._is_dirty = False
                messages = self._take()
                if messages and not self._is_over:
                    self._write(self._seal(messages))
            except (OSError, ProtocolError):
                self.cut()
            finally:
                self._writing.release()

    def keep_keys_fresh(self, now: float) -> None:
        """Start a rekey when a limit is reached [P-2.5]."""
        if self._connection.is_rekey_due or now - self._keyed_at >= REKEY_SECONDS:
            self._start_rekey()

    def cut(self) -> None:
        """End both directions at once; the reader notices. Safe from any thread, any number of times."""
        self._is_over = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def say_goodbye(self, goodbye: bytes) -> None:
        """Send what is due and then `goodbye` as the last; the center answers and closes, which the reader sees."""
        self.flush()
        with self._writing:
            if not self._is_over:
                self._is_over = True
                try:
                    self._write(self._connection.seal(goodbye))
                except (OSError, ProtocolError):
                    self.cut()

    def close(self) -> None:
        """Say the empty record if that is still possible, and close."""
        with self._writing:
            self._is_over = True
            try:
                self._write(self._connection.close())
            except (OSError, ProtocolError):
                pass
            self._socket.close()

    def _rekey(self, message: Message) -> None:
        if not message.flags & REPLY:
            if not self._connection.is_rekeying:
                self._start_rekey()
            return
        with self._writing:
            try:
                self._write(self._connection.finish_rekey())
                self._keyed_at = time.monotonic()
            except (OSError, ProtocolError):
                self.cut()

    def _start_rekey(self) -> None:
        with self._writing:
            try:
                if not self._connection.is_rekeying and not self._is_over:
                    self._write(self._connection.start_rekey(os.urandom(32)))
            except (OSError, ProtocolError):
                self.cut()

    def _seal(self, messages: list[bytes]) -> bytes:
        frames = []
        batch: list[bytes] = []
        size = 0
        for message in messages:
            if size + len(message) > MAX_PLAINTEXT_BYTES:
                frames.append(self._connection.seal(b"".join(batch)))
                batch, size = [], 0
            batch.append(message)
            size += len(message)
            if not self._has_written:
                # the first record may fill 4 KiB only [P-1.2], and everything waits for it anyway
                self._has_written = True
                frames.append(self._connection.seal(batch.pop()))
                size = 0
        if batch:
            frames.append(self._connection.seal(b"".join(batch)))
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _write(self, data: bytes) -> None:
        """Send all; the time-out of each step is the reader's, so several may pass before the peer counts as stalled."""
        view = memoryview(data)
        moved_at = time.monotonic()
        while view:
            try:
                view = view[self._socket.send(view) :]
                moved_at = time.monotonic()
            except TimeoutError:
                if time.monotonic() - moved_at >= STALLED_SECONDS:
                    raise
