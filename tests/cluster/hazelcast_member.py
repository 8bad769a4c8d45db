"""A real Hazelcast member under a test, directories on it, and somebody who writes what nobody should."""

import os
import pickle
import random
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
from hazelcast.serialization.data import Data

from cluster.directory import Place
from cluster.entries import ONLINE, SERVERS, Entries, Listed, online_key
from cluster.hazelcast_client import Connected, Value, answered, block_of, connect, gather
from cluster.hazelcast_directory import HazelcastDirectory, Pace

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "scripts" / "hazelcast.sh"
KEY = b"the directory key of these tests"
# Tests run beside others on few cores: only those of promptness have little patience.
QUICK = Pace(look=0.2, find=5.0, answer=5.0, connect=5.0, sweep=1.0, lease_looks=8)
PROMPT = QUICK._replace(find=0.8, answer=0.8)
PICKLE, JAVA, JSON, STRING = -120, -100, -130, -11


def wait_until(condition: Callable[[], object], deadline: float = 15.0, pause: float = 0.01) -> None:
    """Yields until the condition holds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "the condition did not come to hold in time"
        gevent.sleep(pause)


class Member:
    """One member with its files in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def start(self, *options: str, **environment: str) -> None:
        done = subprocess.run([SCRIPT, "start", self.directory, *options], capture_output=True, text=True, timeout=120,
                              env={**os.environ, **environment})
        assert done.returncode == 0, done.stderr
        self.address = f"127.0.0.1:{int(done.stdout)}"

    def stop(self) -> None:
        subprocess.run([SCRIPT, "stop", self.directory], check=True, timeout=60)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Every thread stopped while this lasts."""
        os.kill(self.pid, signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")
        wait_until(lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks.iterdir()))
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    @property
    def pid(self) -> int:
        return int((self.directory / "member.pid").read_text())

    @property
    def cluster_name(self) -> str:
        return (self.directory / "cluster-name").read_text()


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    warning = info

    def count(self, event: str) -> int:
        return sum(line[0] == event for line in self.lines)


class Center:
    """A directory as a center has it, with what it counted, logged and was told."""

    def __init__(self, member: Member, node: int, pace: Pace = QUICK, **changed: object) -> None:
        self.node, self.counts, self.log = node, Counter[str](), Lines()
        self.published: list[tuple[int, Place]] = []
        settings: dict[str, object] = {"cluster_name": member.cluster_name, "members": [member.address], **changed}
        self.directory = HazelcastDirectory(
            key=KEY, node_id=node, now=time.monotonic, log=self.log, count=lambda name: self.counts.update([name]), pace=pace,
            **settings)  # type: ignore[arg-type]
        self.directory.on_published = lambda user, place: self.published.append((user, place))

    def sits(self, user: int, slot: int = 0, number: int = 1) -> Place:
        """Publishes a session here."""
        place = Place(self.node, self.node, slot, 1, number)
        self.directory.publish(user, place)
        return place

    def finds(self, user: int) -> list[Place] | None:
        answer = self.directory.find([user])
        return None if answer is None else list(answer[user])

    def settled(self) -> None:
        """Returns when everything published is in the map."""
        wait_until(lambda: self.directory.is_available and not self.directory.waiting)


@contextmanager
def centers(member: Member, *nodes: int, pace: Pace = QUICK, **changed: object) -> Iterator[list[Center]]:
    """Directories that are connected."""
    made = [Center(member, node, pace, **changed) for node in nodes]
    try:
        for one in made:
            one.directory.start()
        for one in made:
            wait_until(lambda one=one: one.directory.is_available)  # type: ignore[misc]
        yield made
    finally:
        for one in made:
            one.directory.stop()


@contextmanager
def dying_center(member: Member, node: int, *users: int) -> Iterator[subprocess.Popen[str]]:
    """A center in a process of its own that lists these users; when this begins they are listed. To be killed."""
    told = [member.address, str(member.directory / "cluster-name"), str(node), *map(str, users)]
    process = subprocess.Popen([sys.executable, "-m", "tests.cluster.one_center", *told], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "listed\n"
        yield process
    finally:
        process.kill()
        process.wait()


class Stranger:
    """Somebody who reached the member and writes into our maps what he likes; knows no key."""

    def __init__(self, member: Member, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self.connected: Connected = connect([member.address], member.cluster_name, (ONLINE, SERVERS), 5)
        self.writes = 0

    def close(self) -> None:
        self.connected.close()

    def clear(self) -> None:
        """Takes everything out of both maps."""
        for one in self.connected.maps.values():
            rows = answered(gather([one.read_all()], 5))[0]
            answered(gather([one.delete(key) for key, _ in rows], 5))

    def put(self, name: str, key: bytes, value: Value) -> None:
        self.writes += 1
        answered(gather([self.connected.maps[name].put(key, value, 600)], 5))

    def value(self, user: int) -> bytes | None:
        """What a user's entry is now."""
        answers = answered(gather(self.connected.maps[ONLINE].read([online_key(user)]), 5))
        blocks = list(answers[0].values())
        return Value(blocks[0]).data if blocks else None

    def garbage(self, user: int) -> Value:
        """Something that no center wrote."""
        kinds = (
            lambda: Value.of(self._random.randbytes(self._random.randrange(200))),
            lambda: foreign(PICKLE, pickle.dumps(["x"] * 5)),
            lambda: foreign(JAVA, b"\xac\xed\x00\x05"),
            lambda: Value.of(Entries(b"another cluster's key").places(user, [Listed(Place(66, 66, 0, 9, 9), 1)])),
        )
        return self._random.choice(kinds)()

    def rampage(self, users: list[int], seconds: float) -> None:
        """About a hundred writes a second into both maps, deletions included."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            user = self._random.choice(users)
            if self._random.random() < 0.3:
                self.writes += 1
                answered(gather([self.connected.maps[ONLINE].delete(online_key(user))], 5))
            else:
                self.put(ONLINE, online_key(user), self.garbage(user))
            self.put(SERVERS, self._random.randbytes(self._random.randrange(1, 20)), self.garbage(user))
            gevent.sleep(0.02)


def foreign(type_id: int, payload: bytes) -> Value:
    """A value of another serializer's type."""
    return Value(Data(struct.pack(">ii", 0, type_id) + payload))  # type: ignore[no-untyped-call]


__all__ = ["KEY", "PROMPT", "QUICK", "Center", "Member", "Stranger", "block_of", "centers", "dying_center", "foreign", "wait_until"]
