"""A locator with a fake mesh, a moody directory and a clock that is a number."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import gevent
from gevent.event import Event

from cluster import locator as rules
from cluster.directory import Place
from cluster.locator import Bounds, Locator
from cluster.memory_directory import MemoryDirectory
from myim_wire.peer_messages import decode_ask, encode_places

HERE, EAST, WEST = 10, 20, 30
ANN, BOB, EVE = 1, 2, 3


class FakeMesh:
    """Notes what is sent."""

    def __init__(self, *linked: int) -> None:
        self.nodes = list(linked)
        self.full: set[int] = set()
        self.sent: list[tuple[int, bytes]] = []

    def linked(self) -> Sequence[int]:
        return self.nodes

    def send(self, node: int, message: bytes, is_urgent: bool = False) -> bool:
        assert is_urgent
        if node in self.full:
            return False
        self.sent.append((node, message))
        return True

    def asked(self) -> list[tuple[int, int, set[int]]]:
        """(center, question, users) of each question sent."""
        return [(node, number, set(users)) for node, message in self.sent for number, users in [decode_ask(message[1:])]]


class Moody(MemoryDirectory):
    """A directory that answers, hangs or fails, as told; counts its questions."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[set[int]] = []
        self.mood: Callable[[], Mapping[int, Sequence[Place]] | None] | None = None

    def find(self, users: Collection[int]) -> Mapping[int, Sequence[Place]] | None:
        self.questions.append(set(users))
        return super().find(users) if self.mood is None else self.mood()


class World:
    """A locator and what it stands on; the time is `time`."""

    def __init__(self, bounds: Bounds) -> None:
        self.time = 1000.0
        self.directory = Moody()
        self.mesh = FakeMesh(EAST, WEST)
        self.local: dict[int, list[Place]] = {}
        self.threads: list[gevent.Greenlet[..., object]] = []
        self.answers: list[list[Place]] = []
        self.never = Event()
        self.locator = Locator(
            self.directory, self.mesh, HERE, lambda user: self.local.get(user, []), self.spawn, lambda: self.time,
            lambda seconds: self.never.wait(), bounds,
        )  # fmt: skip

    def spawn(self, work: Callable[..., object], *parts: object) -> gevent.Greenlet[..., object]:
        self.threads.append(gevent.spawn(work, *parts))
        return self.threads[-1]

    def turn(self) -> None:
        """Let everything that can run do so."""
        for _ in range(5):
            gevent.sleep(0)

    def after(self, seconds: float) -> None:
        """Time passes; looked after in small steps, as the watch does."""
        end = self.time + seconds
        while self.time < end - 1e-9:
            self.time = min(end, self.time + rules.TICK_SECONDS)
            self.locator.look_after()
            self.turn()

    def find(self, user: int) -> None:
        self.locator.find(user, lambda places: self.answers.append(list(places)))

    def found(self, user: int) -> list[Place]:
        """The answer to a question that is answered without time passing."""
        before = len(self.answers)
        self.find(user)
        self.turn()
        assert len(self.answers) == before + 1
        return self.answers[-1]

    def hang(self) -> Mapping[int, Sequence[Place]] | None:
        self.never.wait()
        return None


def place(center: int = EAST, slot: int = 0, number: int = 1, generation: int = 1) -> Place:
    return Place(center, center, slot, generation, number)


def answer(world: World, center: int, number: int, places: Mapping[int, Sequence[Place]]) -> None:
    world.locator.took_answer(center, encode_places(number, {user: [one[1:] for one in ones] for user, ones in places.items()})[1:])
