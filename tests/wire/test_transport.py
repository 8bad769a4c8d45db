"""The blocking adapter: whole frames with deadlines over a real socket pair."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from myim_wire.errors import RemoteProtocolError
from myim_wire.frames import encode_frame
from myim_wire.transport import Transport


@pytest.fixture
def ends() -> Iterator[tuple[Transport, socket.socket]]:
    left, right = socket.socketpair()
    transport = Transport(left)
    yield transport, right
    transport.close()
    right.close()


def test_frames_come_out_whole_and_one_at_a_time(ends: tuple[Transport, socket.socket]) -> None:
    transport, peer = ends
    peer.sendall(encode_frame(b"one") + encode_frame(b"two") + encode_frame(b"three")[:5])
    deadline = time.monotonic() + 5
    assert [transport.read_frame(deadline), transport.read_frame(deadline)] == [b"one", b"two"]
    peer.sendall(encode_frame(b"three")[5:])
    assert transport.read_frame(deadline) == b"three"


def test_silence_ends_at_the_deadline(ends: tuple[Transport, socket.socket]) -> None:
    transport, _ = ends
    for wait in (0.02, -1.0):
        with pytest.raises(TimeoutError):
            transport.read_frame(time.monotonic() + wait)
    with pytest.raises(TimeoutError):
        transport.write(bytes(50_000_000), time.monotonic() + 0.02)


def test_the_end_of_the_stream_is_told_from_the_end_of_a_frame(ends: tuple[Transport, socket.socket]) -> None:
    transport, peer = ends
    peer.sendall(b"\x00\x00\x00\x05abc")
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError, match="within a frame"):
        transport.read_frame(time.monotonic() + 5)
    assert transport.read(time.monotonic() + 5) == b""


def test_a_bad_header_is_a_protocol_error(ends: tuple[Transport, socket.socket]) -> None:
    transport, peer = ends
    peer.sendall(bytes(4))
    with pytest.raises(RemoteProtocolError):
        transport.read_frame(time.monotonic() + 5)


def test_it_dials_writes_and_reads_without_a_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = Transport.connect("127.0.0.1", listener.getsockname()[1], 5)
        peer, _ = listener.accept()
        with peer:
            transport.write(b"")
            transport.write(b"hello")
            assert peer.recv(100) == b"hello"
            peer.sendall(b"there")
            assert transport.read() == b"there" and transport.fileno() >= 0
        transport.close()
        assert transport.fileno() == -1
