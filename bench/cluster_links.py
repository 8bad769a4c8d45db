"""What one link between two mesh managers carries: messages and bytes per second, CPU of both ends, a message there and back.

What lives here: both ends, each a process of its own, and the part of the bench that starts them. What must not: what centers say over
links. The messages are as long as one letter of 100 bytes on its way between centers.

    python -m bench.cluster_links listen|dial --port N --core N --security plain|tls [--pid LISTENER --seconds S]
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # only the ends are patched, not the bench that imports the part
    from gevent import monkey

    monkey.patch_all()

import argparse
import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import gevent

from bench.cluster_options import Options
from bench.figures import Figures
from bench.processes import Process, cpu_seconds, free_port
from cluster.identity import make_identity
from cluster.mesh import Member, MeshLinkManager, MeshSettings
from cluster.peer_link import PeerLink

MESSAGE_BYTES = 144
ECHO = b"\x11"  # any kind of the mesh: it comes back
ONE_WAY = b"\x10"
SECRET = b"the benches' cluster secret 1234"
LINK_SECONDS = 20.0
TRIPS = 2_000


class End:
    """One end's events: counts what comes, sends echoes back."""

    def __init__(self) -> None:
        self.link: PeerLink | None = None
        self.taken = self.echoes = 0
        self.batches = 0

    def came_up(self, link: PeerLink) -> None:
        """The one link."""
        self.link = link

    def went_down(self, link: PeerLink) -> None:
        """Over."""
        self.link = None

    def take(self, link: PeerLink, messages: Sequence[bytes]) -> None:
        """Count one batch."""
        self.batches += 1
        if messages[0][:1] == ECHO:
            self.echoes += len(messages)
            for message in messages:
                link.send(message)
        else:
            self.taken += len(messages)


class Asker(End):
    """The dialling end of echoes: sends the next when one came."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        self.sent_at = 0.0
        self.trips: list[float] = []

    def take(self, link: PeerLink, messages: Sequence[bytes]) -> None:
        """One trip is over."""
        self.trips.append(time.perf_counter() - self.sent_at)
        if len(self.trips) < TRIPS:
            self.ask(link)

    def ask(self, link: PeerLink) -> None:
        """Begin a trip."""
        self.sent_at = time.perf_counter()
        link.send(ECHO * MESSAGE_BYTES)


def mesh(port: int, security: str, end: End, is_listener: bool) -> MeshLinkManager:
    """One end's manager, started."""
    settings = MeshSettings(("127.0.0.1", port) if is_listener else None, security=security)
    members = [] if is_listener else [Member(f"127.0.0.1:{port}")]
    manager = MeshLinkManager(settings, make_identity(os.urandom(32)), SECRET, end, lambda: members)
    manager.build()
    manager.start()
    return manager


def dial(port: int, security: str, pid: int, seconds: float) -> dict[str, float]:
    """Throughput one way with the link kept full, then echoes one at a time."""
    end = Asker()
    manager = mesh(port, security, end, is_listener=False)
    until = time.monotonic() + LINK_SECONDS
    while end.link is None:
        if time.monotonic() > until:
            raise SystemExit("no link within 20 s")
        gevent.sleep(0.01)
    link, message = end.link, ONE_WAY * MESSAGE_BYTES
    _fill(link, message, seconds / 4)
    own, other, start = time.process_time(), cpu_seconds(pid), time.perf_counter()
    sent = _fill(link, message, seconds)
    took, own, other = time.perf_counter() - start, time.process_time() - own, cpu_seconds(pid) - other
    while link.status().queued_bytes:
        gevent.sleep(0.01)
    gevent.sleep(0.2)  # the other end is still taking
    trip_own, trip_other = time.process_time(), cpu_seconds(pid)
    end.ask(link)
    while len(end.trips) < TRIPS:
        gevent.sleep(0.05)
    trip_own, trip_other = time.process_time() - trip_own, cpu_seconds(pid) - trip_other
    manager.stop()
    return {
        "rate": sent / took,
        "megabytes": sent * MESSAGE_BYTES / took / 1e6,
        "sender_us": own / sent * 1e6,
        "receiver_us": other / sent * 1e6,
        "trip_us": sorted(end.trips)[TRIPS // 2] * 1e6,
        "trip_cpu_us": (trip_own + trip_other) / TRIPS * 1e6,
    }


def _fill(link: PeerLink, message: bytes, seconds: float) -> int:
    """Send whatever the link takes, for so long, and until it took something: a full one may be slow to empty; how many messages."""
    sent, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until or (not sent and link.is_open):
        for _ in range(1000):
            if not link.send(message):
                break
            sent += 1
        gevent.sleep(0)
    return sent


def measure_links(figures: Figures, directory: Path, options: Options) -> None:
    """Both ends on cores of their own, a new link each time."""
    for security in ("plain", "tls") * options.repeats:
        port = free_port()
        common = [sys.executable, "-m", "bench.cluster_links"]
        fixed = ["--port", str(port), "--security", security]
        listener = Process([*common, "listen", *fixed, "--core", str(options.cores[0])], directory / "links.log")
        try:
            listener.await_listening(port)
            ask = [*common, "dial", *fixed, "--core", str(options.cores[1]), "--pid", str(listener.pid), "--seconds", str(options.seconds)]
            done = subprocess.run(ask, capture_output=True, text=True, timeout=120)
            if done.returncode:
                raise RuntimeError(f"the dialling end failed: {done.stderr[-2000:]} {listener.tail()}")
        finally:
            listener.kill()
        said = json.loads(done.stdout.splitlines()[-1])  # the link logs to stdout too
        for name, unit, key in (
            ("rate", "messages/s", "rate"), ("bytes of messages", "MB/s", "megabytes"), ("CPU of the sender", "µs", "sender_us"),
            ("CPU of the receiver", "µs", "receiver_us"), ("there and back, p50", "µs", "trip_us"),
            ("there and back, CPU of both", "µs", "trip_cpu_us"),
        ):  # fmt: skip
            figures.add(f"{security} link, {name}", unit, round(said[key], 2))


def main() -> None:
    """One end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=("listen", "dial"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--security", choices=("plain", "tls"), required=True)
    parser.add_argument("--pid", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    if options.verb == "dial":
        print(json.dumps(dial(options.port, options.security, options.pid, options.seconds)))
        return
    mesh(options.port, options.security, End(), is_listener=True)
    gevent.get_hub().join()


if __name__ == "__main__":
    main()
