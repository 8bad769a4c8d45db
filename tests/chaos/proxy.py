"""The chaos proxy: a process that carries every connection of a cluster under test, and cuts, mutes, slows, breaks and doubles them.

What lives here: the loop of one process with a listener per directed wire, and the control socket that commands it. What must not:
which faults when (cluster_faults), what the bytes mean. One thread, epoll, no gevent: it shares two cores with what it tests.

    python -m tests.chaos.proxy CONTROL_SOCKET      (one JSON object per line each way; `proxy_control.Proxy` speaks it)
    {"op": "open", "wire": NAME, "to": "host:port", "guarded": bool}  -> {"port": N}
    {"op": "set", "wires": [NAME…] | null for all, "values": {as `proxy_flow.Wire`}}
    {"op": "cut" | "flip" | "break" | "duplicate", "wires": […], "dialer": hex of bytes its first bytes hold}  -> {"count": connections hit}
    {"op": "heal", "wires": […]}    {"op": "count"} -> {"wires": {NAME: {"up", "down", "connections", "open"}}}
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.proxy_flow import MOST_QUEUED_BYTES, Flow, Wire

CHUNK_BYTES = 65_536
MOST_CONNECTIONS = 4_096
TURNS_OF_SMALL_WRITES = 64
_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True, eq=False)
class Pair:
    """One connection: `near` is the dialler's socket, `far` that to the address behind; near is None for a duplicate."""

    wire: Listener
    near: socket.socket | None
    far: socket.socket
    up: Flow = field(default_factory=Flow)
    down: Flow = field(default_factory=Flow)


@dataclass(slots=True, eq=False)
class Listener:
    """One directed wire."""

    name: str
    socket: socket.socket
    to: tuple[str, int]
    is_guarded: bool  # what runs here notices a hole in its stream; else a stream with a hole is reset when the wire is healed
    wire: Wire = field(default_factory=Wire)
    pairs: set[Pair] = field(default_factory=set)
    connections: int = 0
    bytes_up: int = 0  # of connections that are gone
    bytes_down: int = 0
    recorded: bytes = b""  # what the last connection that was closed had sent

    def count(self) -> dict[str, int]:
        """What passed so far."""
        return {
            "up": self.bytes_up + sum(pair.up.passed for pair in self.pairs),
            "down": self.bytes_down + sum(pair.down.passed for pair in self.pairs),
            "connections": self.connections,
            "open": len(self.pairs),
        }


class Loop:
    """All listeners, all connections, one epoll."""

    def __init__(self, control: socket.socket) -> None:
        self._epoll = select.epoll()
        self._actions: dict[int, Callable[[int], None]] = {}
        self._masks: dict[int, int] = {}
        self._listeners: dict[str, Listener] = {}
        self._waiting: set[Pair] = set()  # pairs with bytes that are due later or go out in small writes
        self._watch(control, select.EPOLLIN, lambda events: self._accept_control(control))

    def run(self) -> None:
        """As long as the process that started this one lives."""
        parent = os.getppid()
        while os.getppid() == parent:
            for descriptor, events in self._epoll.poll(self._patience()):
                action = self._actions.get(descriptor)
                if action is not None:
                    action(events)
            for pair in list(self._waiting):
                self._turn(pair)

    def _patience(self) -> float:
        if not self._waiting:
            return 1.0
        now = time.monotonic()
        due = min((flow.queue[0][0] for pair in self._waiting for flow in (pair.up, pair.down) if flow.queue), default=now)
        return max(0.001, min(due - now, 1.0))

    def _watch(self, channel: socket.socket, mask: int, action: Callable[[int], None]) -> None:
        channel.setblocking(False)
        self._actions[channel.fileno()] = action
        self._interest(channel, mask)

    def _unwatch(self, channel: socket.socket) -> None:
        self._interest(channel, 0)
        self._actions.pop(channel.fileno(), None)

    def _interest(self, channel: socket.socket, mask: int) -> None:
        """Without interest a socket is not registered at all: epoll would tell of its end again and again."""
        descriptor = channel.fileno()
        before = self._masks.pop(descriptor, 0)
        if mask:
            self._masks[descriptor] = mask
        if mask and before:
            if mask != before:
                self._epoll.modify(descriptor, mask)
        elif mask:
            self._epoll.register(descriptor, mask)
        elif before:
            self._epoll.unregister(descriptor)

    # Connections.

    def _accept(self, listener: Listener) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            near, _ = listener.socket.accept()
            if listener.wire.is_refusing or len(self._actions) > MOST_CONNECTIONS:
                _reset(near)
                return
            listener.connections += 1
            self._connect(listener, near)

    def _connect(self, listener: Listener, near: socket.socket | None) -> Pair:
        far = socket.socket()
        far.setblocking(False)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        far.connect_ex(listener.to)
        pair = Pair(listener, near, far)
        listener.pairs.add(pair)
        if near is not None:
            pair.up.record = bytearray()
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._watch(near, select.EPOLLIN, lambda events: self._happened(pair, near, events))
        # EPOLLOUT: nothing is read from or written to the far side before it is connected.
        self._watch(far, select.EPOLLIN | select.EPOLLOUT, lambda events: self._happened(pair, far, events))
        return pair

    def _happened(self, pair: Pair, channel: socket.socket, events: int) -> None:
        is_up = channel is pair.near
        flow, wire = pair.up if is_up else pair.down, pair.wire.wire
        is_held = wire.hold_up if is_up else wire.hold_down
        if events & ~select.EPOLLOUT and not flow.has_ended and not is_held:
            try:
                self._read(pair, flow, channel.recv(CHUNK_BYTES), is_up)
            except BlockingIOError:
                pass
            except OSError:
                if not (wire.swallow_up if is_up else wire.swallow_down):
                    self._end(pair)
                    return
                self._read(pair, flow, b"", is_up)
        self._turn(pair)

    def _read(self, pair: Pair, flow: Flow, data: bytes, is_up: bool) -> None:
        wire = pair.wire.wire
        is_swallowed = wire.swallow_up if is_up else wire.swallow_down
        is_for_nobody = pair.near is None and not is_up
        if data:
            flow.took(data, wire, is_swallowed or is_for_nobody, time.monotonic())
        else:
            flow.has_ended = True
            flow.is_shut = is_swallowed or is_for_nobody  # then nobody is to be told
            flow.is_orphaned = is_swallowed

    def _turn(self, pair: Pair) -> None:
        """Write what can be written, and say what to wait for."""
        now, wire = time.monotonic(), pair.wire.wire
        waits = False
        for flow, sink in ((pair.up, pair.far), (pair.down, pair.near)):
            if sink is None:
                continue
            outcome = self._write(flow, sink, wire, now)
            if outcome is None:
                is_silent = (wire.swallow_down or wire.hold_down) if flow is pair.up else (wire.swallow_up or wire.hold_up)
                if not is_silent or flow.is_broken:
                    self._end(pair)
                    return
                flow.drop()
            waits |= bool(outcome)
        self._waiting.discard(pair)
        if waits:
            self._waiting.add(pair)
        if pair.up.is_shut and pair.down.is_shut and not (pair.up.is_orphaned or pair.down.is_orphaned):
            self._end(pair, is_orderly=True)
            return
        self._interests(pair, now)

    def _write(self, flow: Flow, sink: socket.socket, wire: Wire, now: float) -> bool | None:
        """True: call again soon, bytes wait for their time; None: the connection is broken."""
        turns = 0
        while (piece := flow.ready(now)) is not None:
            part = piece[: wire.segment] if wire.segment else piece
            try:
                count = sink.send(part) if part else 0
            except BlockingIOError:
                return False  # EPOLLOUT tells
            except OSError as error:
                if error.errno == errno.ENOTCONN:  # yet
                    return False
                return None
            flow.wrote(count)
            if count < len(part):
                return False
            turns += bool(wire.segment)
            if turns >= TURNS_OF_SMALL_WRITES:
                return True
        if flow.is_broken and not flow.queue:
            return None
        if flow.has_ended and not flow.queue and not flow.is_shut:
            flow.is_shut = True
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
        return bool(flow.queue)

    def _interests(self, pair: Pair, now: float) -> None:
        wire = pair.wire.wire
        for channel, source, sink, is_held in (
            (pair.near, pair.up, pair.down, wire.hold_up),
            (pair.far, pair.down, pair.up, wire.hold_down),
        ):
            if channel is None:
                continue
            mask = 0 if source.has_ended or source.is_full or is_held else select.EPOLLIN
            if sink.ready(now) is not None and pair not in self._waiting:
                mask |= select.EPOLLOUT
            self._interest(channel, mask)

    def _end(self, pair: Pair, is_orderly: bool = False) -> None:
        """Close both sides, by RST unless both have said their end."""
        listener = pair.wire
        if pair not in listener.pairs:
            return
        listener.pairs.discard(pair)
        self._waiting.discard(pair)
        listener.bytes_up += pair.up.passed
        listener.bytes_down += pair.down.passed
        if pair.up.record:
            listener.recorded = bytes(pair.up.record)
        for channel in (pair.near, pair.far):
            if channel is not None:
                self._unwatch(channel)
                if is_orderly:
                    channel.close()
                else:
                    _reset(channel)

    # Commands.

    def _accept_control(self, control: socket.socket) -> None:
        channel, _ = control.accept()
        heard = bytearray()

        def take(events: int) -> None:
            try:
                data = channel.recv(CHUNK_BYTES)
            except OSError:
                data = b""
            heard.extend(data)
            while b"\n" in heard:
                line, _, rest = bytes(heard).partition(b"\n")
                heard[:] = rest
                channel.sendall(json.dumps(self._command(json.loads(line))).encode() + b"\n")
            if not data:
                self._unwatch(channel)
                channel.close()

        self._watch(channel, select.EPOLLIN, take)

    def _command(self, command: dict[str, Any]) -> dict[str, Any]:
        try:
            named = command.get("wires")
            listeners = list(self._listeners.values()) if named is None else [self._listeners[name] for name in named]
            pairs = [pair for listener in listeners for pair in listener.pairs if _is_of(pair, command.get("dialer"))]
            match command["op"]:
                case "open":
                    return {"port": self._open(command["wire"], command["to"], command["guarded"])}
                case "set":
                    for listener in listeners:
                        listener.wire.change(command["values"])
                    self._look_again(listeners)
                case "heal":
                    self._heal(listeners)
                case "count":
                    return {"wires": {listener.name: listener.count() for listener in listeners}}
                case "duplicate":
                    return {"count": sum(self._duplicate(listener) for listener in listeners)}
                case "cut":
                    for pair in pairs:
                        self._end(pair)
                case "flip" | "break" as word:
                    for pair in pairs:
                        flow = pair.up if command["direction"] == "up" else pair.down
                        setattr(flow, f"{word}_at", command["after"])
                case other:
                    return {"error": f"unknown command {other}"}
            return {"count": len(pairs)}
        except (KeyError, ValueError, TypeError, OSError) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def _open(self, name: str, to: str, is_guarded: bool) -> int:
        host, _, port = to.rpartition(":")
        door = socket.create_server(("127.0.0.1", 0), backlog=1024)
        listener = self._listeners[name] = Listener(name, door, (host, int(port)), is_guarded)
        self._watch(door, select.EPOLLIN, lambda events: self._accept(listener))
        return int(door.getsockname()[1])

    def _heal(self, listeners: Iterable[Listener]) -> None:
        for listener in listeners:
            listener.wire = Wire()
            for pair in list(listener.pairs):
                is_orphaned = pair.up.is_orphaned or pair.down.is_orphaned
                has_hole = pair.up.has_hole or pair.down.has_hole
                if is_orphaned or (has_hole and not listener.is_guarded):
                    self._end(pair)
        self._look_again(listeners)

    def _look_again(self, listeners: Iterable[Listener]) -> None:
        for listener in listeners:
            for pair in list(listener.pairs):
                self._turn(pair)

    def _duplicate(self, listener: Listener) -> int:
        """Dial the address behind, and say what an earlier connection said."""
        recorded = listener.recorded or next((bytes(pair.up.record) for pair in listener.pairs if pair.up.record), b"")
        if not recorded:
            return 0
        pair = self._connect(listener, None)
        pair.up.took(recorded[:MOST_QUEUED_BYTES], Wire(), False, time.monotonic())
        pair.up.has_ended = True
        return 1


def _is_of(pair: Pair, dialer: str | None) -> bool:
    return dialer is None or (pair.up.record is not None and bytes.fromhex(dialer) in pair.up.record)


def _reset(channel: socket.socket) -> None:
    with contextlib.suppress(OSError):
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    channel.close()


def main() -> None:
    """Serve until killed or left alone."""
    path = sys.argv[1]
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    control = socket.socket(socket.AF_UNIX)
    control.bind(path)
    os.chmod(path, 0o600)
    control.listen(16)
    Loop(control).run()


if __name__ == "__main__":
    main()
