"""The chaos proxy does to connections what it was told, and nothing when told nothing."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import gevent
import pytest
from gevent.server import StreamServer

from tests.chaos.proxy_control import Proxy
from tests.server.running import wait_until

BIG = os.urandom(3_000_000)


class Peer:
    """What stands behind the wire: keeps what each connection said, and answers with it."""

    def __init__(self) -> None:
        self.heard: list[bytearray] = []
        self.ends: list[str] = []  # per connection that has ended: "end" or "reset"
        self.sockets: list[socket.socket] = []
        self.echoes = True
        self.server = StreamServer(("127.0.0.1", 0), self._serve)
        self.server.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"

    def _serve(self, channel: socket.socket, _: object) -> None:
        heard = bytearray()
        self.heard.append(heard)
        self.sockets.append(channel)
        try:
            while data := channel.recv(65536):
                heard += data
                if self.echoes:
                    channel.sendall(data)
            self.ends.append("end")
        except OSError:
            self.ends.append("reset")


class Scene:
    """A proxy with one wire to a peer, and dialled connections through it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.peer, self.proxy, self._stack = Peer(), Proxy(directory), stack
        stack.callback(self.peer.server.stop)
        stack.callback(self.proxy.stop)
        self.port = self.proxy.open("a>b", self.peer.address)

    def dial(self, port: int = 0) -> socket.socket:
        channel = socket.create_connection(("127.0.0.1", port or self.port), timeout=10)
        self._stack.callback(channel.close)
        return channel

    def talking(self) -> socket.socket:
        """A connection that has just carried something both ways."""
        channel = self.dial()
        channel.sendall(b"hello")
        assert read(channel, 5) == b"hello"
        return channel


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(tmp_path / "proxy", stack)


def read(channel: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := channel.recv(65536)):
        data += piece
    return data


def is_silent(channel: socket.socket, seconds: float = 0.3) -> bool:
    channel.settimeout(seconds)
    try:
        return channel.recv(1) == b"never"
    except TimeoutError:
        return True
    finally:
        channel.settimeout(10)


def is_reset(channel: socket.socket) -> bool:
    try:
        while channel.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return False


def is_dial_reset(scene: Scene) -> bool:
    """Whether a new connection is reset, however soon."""
    try:
        return is_reset(scene.dial())
    except ConnectionResetError:  # before connect() returned
        return True


def test_bytes_pass_unchanged_and_are_counted(scene: Scene) -> None:
    channel = scene.dial()
    writer = gevent.spawn(channel.sendall, BIG)
    assert read(channel, len(BIG)) == BIG
    writer.join()
    count = scene.proxy.counts()["a>b"]
    assert (count.up, count.down, count.connections, count.open) == (len(BIG), len(BIG), 1, 1)
    channel.shutdown(socket.SHUT_WR)
    assert channel.recv(1) == b""
    wait_until(lambda: scene.peer.ends == ["end"] and scene.proxy.counts()["a>b"].open == 0)


def test_a_reader_that_stands_still_stops_the_writer_and_costs_no_memory(scene: Scene) -> None:
    scene.peer.echoes = False
    scene.proxy.set(["a>b"], rate=1000.0)
    channel = scene.dial()
    channel.settimeout(1)
    with pytest.raises(TimeoutError):
        for _ in range(100):
            channel.sendall(BIG)


def test_a_cut_resets_both_sides(scene: Scene) -> None:
    channel = scene.talking()
    assert scene.proxy.cut(["a>b"]) == 1
    assert is_reset(channel)
    wait_until(lambda: scene.peer.ends == ["reset"])


def test_a_cut_can_be_meant_for_one_dialler(scene: Scene) -> None:
    channel, other = scene.talking(), scene.dial()
    other.sendall(b"other")
    assert read(other, 5) == b"other"
    assert scene.proxy.cut(["a>b"], b"other") == 1
    assert is_reset(other)
    assert is_silent(channel)


def test_a_refusing_wire_leaves_open_connections_alone(scene: Scene) -> None:
    channel = scene.talking()
    scene.proxy.set(None, is_refusing=True)
    assert is_dial_reset(scene)
    channel.sendall(b"still")
    assert read(channel, 5) == b"still"
    scene.proxy.heal()
    scene.talking()


def test_a_one_way_wire_loses_one_direction_silently(scene: Scene) -> None:
    channel = scene.talking()
    scene.proxy.set(["a>b"], swallow_up=True)
    channel.sendall(b"lost")
    scene.peer.sockets[0].sendall(b"heard")
    assert read(channel, 5) == b"heard"
    scene.proxy.heal(["a>b"])
    channel.sendall(b"after")
    wait_until(lambda: bytes(scene.peer.heard[0]) == b"helloafter")  # the hole stays: the link has to notice


def test_the_hole_of_a_wire_that_would_not_notice_it_is_a_reset_when_healed(scene: Scene) -> None:
    port = scene.proxy.open("unguarded", scene.peer.address, is_guarded=False)
    channel = scene.dial(port)
    scene.proxy.set(["unguarded"], swallow_down=True)
    channel.sendall(b"hello")
    assert is_silent(channel)
    scene.proxy.heal(["unguarded"])
    assert is_reset(channel)


def test_a_half_open_connection_hides_the_end_of_either_side_until_it_is_healed(scene: Scene) -> None:
    channel = scene.talking()
    scene.proxy.set(["a>b"], swallow_up=True, swallow_down=True)
    scene.peer.sockets[0].close()
    channel.sendall(b"anybody?")
    assert is_silent(channel)
    scene.proxy.heal(["a>b"])
    assert is_reset(channel)


def test_held_bytes_arrive_after_the_partition(scene: Scene) -> None:
    channel = scene.talking()
    scene.proxy.set(["a>b"], hold_up=True)
    channel.sendall(b"later")
    assert is_silent(channel)
    scene.proxy.heal(["a>b"])
    assert read(channel, 5) == b"later"


def test_a_delay_is_kept_for_every_byte_and_nothing_overtakes(scene: Scene) -> None:
    channel = scene.talking()
    scene.proxy.set(["a>b"], delay=0.2)
    start = time.monotonic()
    channel.sendall(b"slow")
    assert read(channel, 4) == b"slow"
    assert time.monotonic() - start >= 0.4
    channel.sendall(b"1")
    scene.proxy.set(["a>b"], delay=0.0)
    channel.sendall(b"2")
    assert read(channel, 2) == b"12"


def test_a_throttled_wire_passes_so_many_bytes_a_second(scene: Scene) -> None:
    channel = scene.talking()
    scene.proxy.set(["a>b"], rate=100_000.0)
    start = time.monotonic()
    channel.sendall(BIG[:50_000])
    assert read(channel, 50_000) == BIG[:50_000]
    assert 0.5 <= time.monotonic() - start < 5


def test_single_byte_segments_carry_everything(scene: Scene) -> None:
    scene.proxy.set(["a>b"], segment=1)
    channel = scene.dial()
    channel.sendall(BIG[:2_000])
    assert read(channel, 2_000) == BIG[:2_000]


def test_a_connection_breaks_within_a_frame(scene: Scene) -> None:
    channel = scene.talking()
    assert scene.proxy.break_after(["a>b"], 3) == 1
    channel.sendall(b"frame")
    assert is_reset(channel)
    wait_until(lambda: scene.peer.ends == ["reset"])
    assert bytes(scene.peer.heard[0]) in (b"hello", b"hellofra")  # a reset may overtake what was sent before it


@pytest.mark.parametrize("direction", ["up", "down"])
def test_exactly_one_bit_is_flipped(scene: Scene, direction: str) -> None:
    channel = scene.talking()
    scene.proxy.flip_after(["a>b"], 10, direction)
    channel.sendall(bytes(20))
    answer = read(channel, 20)
    assert answer == bytes(10) + b"\x10" + bytes(9)
    assert (bytes(scene.peer.heard[0][5:]) == answer) == (direction == "up")


def test_a_duplicate_says_again_what_an_earlier_connection_said(scene: Scene) -> None:
    channel = scene.talking()
    assert scene.proxy.duplicate(["a>b"]) == 1
    wait_until(lambda: [bytes(heard) for heard in scene.peer.heard] == [b"hello", b"hello"])
    assert is_silent(channel)
    wait_until(lambda: scene.peer.ends == ["end"] and scene.proxy.counts()["a>b"].open == 1)


def test_nobody_behind_the_wire_is_a_reset(scene: Scene) -> None:
    scene.peer.server.stop()
    assert is_dial_reset(scene)


def test_a_wrong_command_is_an_error_and_the_proxy_goes_on(scene: Scene) -> None:
    with pytest.raises(RuntimeError, match="KeyError"):
        scene.proxy.set(["a>b"], no_such_fault=True)
    with pytest.raises(RuntimeError, match="KeyError"):
        scene.proxy.cut(["no such wire"])
    scene.talking()


def test_the_proxy_costs_little_and_leaves_no_descriptor(scene: Scene) -> None:
    before = len(os.listdir(f"/proc/{scene.proxy.process.pid}/fd"))
    for _ in range(50):
        channel = scene.talking()
        channel.close()
    wait_until(lambda: len(os.listdir(f"/proc/{scene.proxy.process.pid}/fd")) == before)
