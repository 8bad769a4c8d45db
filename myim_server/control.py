"""The control socket: how an operator on the same machine speaks to a running node.

What lives here: a unix socket in the node's data directory, one JSON line each way, and the two ends of it. What must not: what a
question means (`node` answers it) and how an answer looks on a screen (`admin_live`). Only the node's own user, or root, is heard: the
file has mode 0600, and the kernel is asked who it was that connected. Sizes and times are bounded, and nothing that is asked here can
stall a user.
"""

from __future__ import annotations

import json
import os
import socket as sockets
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import structlog
from gevent.pool import Pool
from gevent.server import StreamServer

FILE_NAME = "control.sock"
QUESTION_BYTES = 4096
ANSWER_BYTES = 4 << 20
QUESTION_SECONDS = 5.0
AT_ONCE = 8

_log = structlog.get_logger(__name__)

Answer = Callable[[Mapping[str, Any]], object]


class ControlRefused(Exception):
    """The node does not answer, or says that it could not; the text is for the operator."""


class ControlSocket:
    """The node's end; `answers` has one function per question, given the whole question, giving what JSON can hold.

    A function may raise ControlRefused, whose text is told, and may block: each question has a greenlet of its own. users: the ids that are
    heard; None: root's and the process's own. question_seconds: for the whole line to come.
    """

    def __init__(
        self,
        data_dir: Path,
        answers: Mapping[str, Answer],
        users: Collection[int] | None = None,
        question_seconds: float = QUESTION_SECONDS,
    ) -> None:
        self._data_dir = data_dir
        self._answers = answers
        self._users = users if users is not None else (0, os.geteuid())
        self._question_seconds = question_seconds
        self._server: StreamServer | None = None

    def build(self) -> None:
        """Bind; takes the place of a socket that a killed node left. Raises OSError, also if a node answers there already."""
        path = self._data_dir / FILE_NAME
        if path.exists() and _somebody_listens(path):
            raise OSError(f"another node runs on {self._data_dir.absolute()}")
        path.unlink(missing_ok=True)
        listener = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            with _reachable(path) as name:
                listener.bind(name)
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(before)
        listener.listen(AT_ONCE)
        self._server = StreamServer(listener, self._serve, spawn=Pool(AT_ONCE))

    def start(self) -> None:
        """Answer questions."""
        if self._server is not None:
            self._server.start()

    def stop(self) -> None:
        """Answer no more, and take the file away; safe to call again."""
        if self._server is not None:
            (self._data_dir / FILE_NAME).unlink(missing_ok=True)
            self._server.stop(timeout=1)
            self._server = None

    def _serve(self, connection: Any, _address: object) -> None:
        """One question and its answer (yields)."""
        try:
            if _user_of(connection) not in self._users:
                return
            with gevent.Timeout(self._question_seconds, TimeoutError):
                line = _read_line(connection, QUESTION_BYTES)
            if line:
                connection.sendall(json.dumps(self._answer(line)).encode() + b"\n")
        except OSError:
            pass  # whoever asked has left, or was too slow to ask
        finally:
            connection.close()

    def _answer(self, line: bytes) -> dict[str, object]:
        try:
            question = json.loads(line)
            answer = self._answers[question["op"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"error": "no such question"}
        try:
            return {"answer": answer(question)}
        except ControlRefused as refused:
            return {"error": str(refused)}
        except Exception as fault:
            _log.error("control_fault", op=question["op"], exc_info=fault)
            return {"error": "a fault of the node; its log has it"}


def ask(data_dir: Path, op: str, seconds: float = 30.0, **fields: object) -> Any:
    """The answer of the node that runs on `data_dir`; raises ControlRefused (blocks)."""
    path = data_dir / FILE_NAME
    try:
        with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            with _reachable(path) as name:
                connection.connect(name)
            connection.sendall(json.dumps({"op": op, **fields}).encode() + b"\n")
            line = _read_line(connection, ANSWER_BYTES)
    except TimeoutError:
        raise ControlRefused(f"the node on {data_dir.absolute()} does not answer") from None
    except OSError as error:
        raise ControlRefused(f"no node runs on {data_dir.absolute()} ({error.strerror or error})") from None
    try:
        said = json.loads(line)
    except ValueError:
        raise ControlRefused(f"the node on {data_dir.absolute()} ended before it answered") from None
    if "error" in said:
        raise ControlRefused(said["error"])
    return said["answer"]


def _read_line(connection: Any, most: int) -> bytes:
    """Up to the line's end, without it; b"" if the peer leaves before, or says more than `most` bytes (yields)."""
    read = bytearray()
    while b"\n" not in read:
        data = connection.recv(65536)
        read += data
        if not data or len(read) > most:
            return b""
    return bytes(read.partition(b"\n")[0])


def _user_of(connection: Any) -> int:
    """Whose process is at the other end."""
    _, user, _ = struct.unpack("3i", connection.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, 12))
    return int(user)


def _somebody_listens(path: Path) -> bool:
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe, _reachable(path) as name:
        probe.settimeout(2)
        try:
            probe.connect(name)
        except OSError:
            return False
    return True


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """A name of at most 107 bytes for the socket, whose own path may be longer than the kernel takes."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
