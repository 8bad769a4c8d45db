"""Commands to a chaos proxy from the process that started it.

What lives here: starting it, and one method per command. What must not: bytes (proxy), which faults when (cluster_faults).
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.processes import Process, wait_until


class Count(NamedTuple):
    """What passed one wire: bytes from the dialler (up) and to it (down), connections ever and now."""

    up: int
    down: int
    connections: int
    open: int


class Proxy:
    """A running proxy in a process of its own; `stop` it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "proxy.sock"
        self.process = Process([sys.executable, "-m", "tests.chaos.proxy", str(path)], directory / "proxy.log")
        wait_until(lambda: self._is_up(path), 20, "the chaos proxy")

    def _is_up(self, path: Path) -> bool:
        if not self.process.is_running:
            raise RuntimeError(self.process.tail())
        self._channel = socket.socket(socket.AF_UNIX)
        self._channel.settimeout(30)
        try:
            self._channel.connect(str(path))
        except OSError:
            self._channel.close()
            return False
        self._answers = self._channel.makefile("rb")
        return True

    def _ask(self, op: str, **values: Any) -> dict[str, Any]:
        self._channel.sendall(json.dumps({"op": op, **values}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._answers.readline())
        if "error" in answer:
            raise RuntimeError(f"proxy: {op}: {answer['error']}")
        return answer

    def open(self, wire: str, to: str, is_guarded: bool = True) -> int:
        """The port of a new listener that leads to `to` ("host:port"); is_guarded: what runs there notices missing bytes by itself."""
        return int(self._ask("open", wire=wire, to=to, guarded=is_guarded)["port"])

    def set(self, wires: Sequence[str] | None, **values: Any) -> None:
        """Change what the wires (None: all) do to their bytes, as `proxy_flow.Wire`."""
        self._ask("set", wires=wires, values=values)

    def heal(self, wires: Sequence[str] | None = None) -> None:
        """Undo everything `set`; connections whose end was swallowed are reset now, and unguarded ones that lost bytes."""
        self._ask("heal", wires=wires)

    def cut(self, wires: Sequence[str] | None, dialer: bytes | None = None) -> int:
        """Reset the connections (of the dialler whose first bytes hold `dialer`); how many."""
        return int(self._ask("cut", wires=wires, dialer=dialer.hex() if dialer else None)["count"])

    def break_after(self, wires: Sequence[str] | None, count: int, direction: str = "up") -> int:
        """Reset each connection after `count` more bytes of that direction; how many connections that will hit."""
        return int(self._ask("break", wires=wires, after=count, direction=direction)["count"])

    def flip_after(self, wires: Sequence[str] | None, count: int, direction: str = "up") -> int:
        """Flip one bit of each connection after `count` more bytes of that direction; how many connections that will hit."""
        return int(self._ask("flip", wires=wires, after=count, direction=direction)["count"])

    def duplicate(self, wires: Sequence[str] | None) -> int:
        """Dial anew and say again what an earlier connection's dialler said first (64 KiB); how many."""
        return int(self._ask("duplicate", wires=wires)["count"])

    def counts(self) -> Mapping[str, Count]:
        """What passed each wire since it was opened."""
        return {name: Count(**values) for name, values in self._ask("count")["wires"].items()}

    def stop(self) -> None:
        """End it, and with it every connection."""
        self._answers.close()
        self._channel.close()
        self.process.kill()
