"""Centers as values: routers with their peers, one store, and a mesh that moves when the test says so; no sockets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import gevent

from cluster.directory import Place
from cluster.memory_directory import MemoryDirectory
from myim_server.chat.inbox import Window
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.lane import Letter, Patience
from myim_server.chat.lanes import Lanes
from myim_server.chat.party import Party
from myim_server.chat.peers import Peers
from myim_server.chat.post import Post
from myim_server.chat.router import Router, Surroundings
from myim_server.chat.shelf import Shelf, ShelfLimits
from myim_server.metrics import Metrics
from myim_server.sessions import Session, Sessions
from myim_server.store.engine import Store, StoreSettings, open_store
from myim_wire.errors import ErrorCode
from myim_wire.messages import ERROR, REPLY, Command, Message, decode_messages, split_trailer


class FakeSession:
    """A terminal that keeps what it is told."""

    connection_id = "of a test"

    def __init__(self, user: int, slot: int, number: int) -> None:
        self.user, self.slot, self.key = user, slot, user << 6 | slot
        self.incarnation = (1, number)
        self.told: list[Message] = []
        self.closed_with: ErrorCode | None = None

    def send(self, data: bytes) -> None:
        """Keep whole messages."""
        self.told += decode_messages(data)

    def send_many(self, messages: list[bytes], size: int) -> None:
        """Keep them all."""
        self.send(b"".join(messages))

    def goodbye(self, code: ErrorCode, text: str) -> None:
        """Keep why it ended."""
        self.closed_with = self.closed_with or code

    @property
    def bodies(self) -> list[bytes]:
        """Bodies of the messages it was given, in their order."""
        return [split_trailer(one.content)[0] for one in self.told if one.command == Command.USER_MESSAGE and not one.flags & REPLY]

    @property
    def settled(self) -> dict[int, int]:
        """time -> outcome of what it sent."""
        replies = [one for one in self.told if one.command == Command.USER_MESSAGE and one.flags & REPLY and not one.flags & ERROR]
        return {one.time: one.content[0] for one in replies}


class Line:
    """The mesh of one center: what is sent waits until the town delivers it."""

    def __init__(self, town: Town, node: int) -> None:
        self._town = town
        self._node = node
        self.is_full_to: set[int] = set()

    def send(self, node: int, message: bytes, is_urgent: bool = False) -> bool:
        """Queue, if there is a link with room."""
        if node not in self.linked() or (node in self.is_full_to and not is_urgent):
            return False
        self._town.under_way.append((self._node, node, message))
        return True

    def linked(self) -> Sequence[int]:
        """All but those that were cut off."""
        return [node for node in self._town.centers if node != self._node and frozenset((node, self._node)) not in self._town.cuts]

    def cut(self, node: int, reason: str) -> None:
        """End the link."""
        self._town.cut(self._node, node)


class DictFinder:
    """What one center believes about where users are; wrong[user] overrides the truth."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self.wrong: dict[int, list[Place]] = {}
        self.doubts: list[tuple[int, int]] = []
        self.kept_shortly: list[int] = []

    def known(self, user: int) -> Sequence[Place] | None:
        """Nothing is cached."""
        return None

    def find(self, user: int, done: Callable[[Sequence[Place]], None]) -> None:
        """The truth, or what the test made of it."""
        found = self._town.directory.find([user]) or {}
        done(self.wrong.get(user, found.get(user, ())))

    def doubt(self, user: int, center: int) -> None:
        """Noted."""
        self.doubts.append((user, center))

    def keep_shortly(self, user: int) -> None:
        """Noted."""
        self.kept_shortly.append(user)

    def note(self, user: int, place: Place) -> None: ...
    def forget_center(self, center: int) -> None: ...
    def took_ask(self, center: int, payload: bytes) -> None: ...
    def took_answer(self, center: int, payload: bytes) -> None: ...


class FakeCenter:
    """One center: its router and peers, and the terminals that come to it."""

    def __init__(self, town: Town, node: int, store: Store) -> None:
        self.node = node
        self.town = town
        self.metrics = Metrics()
        self.line = Line(town, node)
        self.finder = DictFinder(town)
        self.sessions = Sessions(16)
        shelf = Shelf(store.offline, node, ShelfLimits(), gevent.spawn)
        around = Surroundings(
            node, lambda: town.now, gevent.spawn, self.sessions, town.directory, shelf, store.receipts, self.metrics, self.finder,
            Post(self.line),
        )  # fmt: skip
        self.router = Router(around, Lanes(Patience()), Inboxes(), Window())
        self.peers = Peers(node, self.router, self.finder, self.sessions, lambda: town.now, town.later, self.metrics)

    def come(self, user: int, slot: int = 0, number: int = 1, is_fetching: bool = True) -> tuple[FakeSession, Party]:
        """A terminal connects and asks for what is stored."""
        session = FakeSession(user, slot, number)
        party = self.router.come_online(cast(Session, session), self.node)
        if is_fetching:
            self.router.carry_out(party.inbox.fetch())
            self.town.settle(lambda: not party.inbox.is_fetch_answer_due)
        return session, party

    def write(self, party: Party, target: int, *bodies: bytes, first: int = 1, is_first: bool = True) -> list[int]:
        """A terminal sends; returns the times."""
        times = [(first + position) << 6 | party.session.slot for position in range(len(bodies))]
        letters = [Letter(time, body, time, time, self.town.now) for time, body in zip(times, bodies, strict=True)]
        lane = self.router.lanes.lane(party.session.user, party.session.slot, target)
        self.router.carry_out(lane.take(letters, is_first, self.town.now))
        return times

    def confirm(self, party: Party, *names: tuple[int, int]) -> None:
        """A terminal's receipt."""
        self.router.receipt(party, names)


class Town:
    """Centers 1, 2, 3 over one store."""

    def __init__(self, path: Path, centers: Iterable[int] = (1, 2, 3)) -> None:
        self.now = 100.0
        self.directory = MemoryDirectory()
        self.under_way: deque[tuple[int, int, bytes]] = deque()
        self.cuts: set[frozenset[int]] = set()
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.centers: dict[int, FakeCenter] = {}
        self.store = open_store(StoreSettings(f"sqlite:///{path / 'town.db'}"))
        self.alice, self.bob, self.carol = (self.store.accounts.create(name, name, "no password", 1) for name in ("alice", "bob", "carol"))
        for node in centers:
            self.centers[node] = FakeCenter(self, node, self.store)

    def later(self, seconds: float, act: Callable[[], Any]) -> None:
        """A timer."""
        self.due.append((self.now + seconds, act))

    def pass_time(self, seconds: float) -> None:
        """Timers that are due go off; lanes and inboxes tick."""
        self.now += seconds
        due, self.due = [one for one in self.due if one[0] <= self.now], [one for one in self.due if one[0] > self.now]
        for _, act in due:
            act()
        for center in self.centers.values():
            for lane in list(center.router.busy_lanes):
                center.router.carry_out(lane.tick(self.now))
            for inbox in list(center.router.busy_inboxes):
                center.router.carry_out(inbox.tick(self.now))

    def pump(self) -> None:
        """Everything that is under way arrives, and what it causes."""
        while self.under_way:
            source, to, message = self.under_way.popleft()
            self.centers[to].peers.table[message[0]](source, message)

    def settle(self, is_so: Callable[[], object], seconds: float = 5.0) -> None:
        """Deliver and let the store work until it is so."""
        with gevent.Timeout(seconds, AssertionError("it did not come about")):
            while True:
                self.pump()
                if is_so():
                    return
                gevent.sleep(0.001)

    def cut(self, one: int, other: int) -> None:
        """The link ends, with all that is on it."""
        self.cuts.add(frozenset((one, other)))
        self.under_way = deque(item for item in self.under_way if {item[0], item[1]} != {one, other})
        self.centers[one].peers.went_down(other)
        self.centers[other].peers.went_down(one)

    def link(self, one: int, other: int) -> None:
        """The link is there again."""
        self.cuts.discard(frozenset((one, other)))
        self.centers[one].peers.came_up(other)
        self.centers[other].peers.came_up(one)

    def close(self) -> None:
        """End the store."""
        self.store.close()
