"""QoS 0 messages are shown at most once, and what is not shown is counted: attempted − shown = the metric (P5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from cluster.directory import Place
from myim_server.chat.lane import Letter
from myim_server.chat.party import Party
from myim_server.node import Node
from myim_wire.messages import PING_ASK, REPLY, Command, encode_message
from tests.server.running import Person, RawTerminal, online, start_node, wait_until
from tests.server.three_centers import FakeCenter, FakeSession, Town

WHISPERS = 400
BURST = 250  # over 200 at once are too many; 200 too many end the session


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = start_node(tmp_path / "node", center={"messages_per_second": 100})
    yield node
    node.stop()


def shown(terminals: Sequence[RawTerminal]) -> Counter[int]:
    """How often each message was handed to a terminal, by its time."""
    messages = (message for terminal in terminals for message in terminal.inbox)
    return Counter(one.time for one in messages if one.command == Command.USER_MESSAGE and not one.flags & REPLY)


def heard(terminal: RawTerminal) -> None:
    """The center has taken all that was said."""
    terminal.say(PING_ASK)
    terminal.wait_for(lambda one: one.command == Command.PING)


def test_what_one_center_does_not_hand_over_it_has_counted(node: Node, alice: Person, bob: Person) -> None:
    """The target here, not asking for what is stored yet, away; at last far more at once than anybody may send."""
    assert node.router is not None
    a, attempted, terminals = online(node, alice), 0, []
    for number, burst in enumerate((20, 20, 20, 20, 20, BURST)):
        if number % 3 == 0:
            terminals.append(RawTerminal(node, bob, number + 1))
            heard(terminals[-1])
        elif number % 3 == 1:
            terminals[-1].fetch()
        attempted += burst
        a.say(*(encode_message(Command.USER_MESSAGE, 0, alice.user, bob.user, a.name(), b"%d" % at) for at in range(burst)))
        wait_until(lambda so_far=attempted: node.metrics.qos0_accepted == so_far)  # type: ignore[misc]
        if number % 3 == 1:
            heard(terminals[-1])
            terminals[-1].say(encode_message(Command.GOODBYE, 0, bob.user, 0, 0))
            terminals[-1].wait_for(lambda one: one.command == Command.GOODBYE)
            wait_until(lambda: node.router and not node.router.inboxes.of(bob.user))
    terminals.append(online(node, bob, 9))

    def is_accounted_for() -> bool:
        terminals[-1].poll()
        return attempted - len(shown(terminals)) == node.metrics.qos0_dropped

    wait_until(is_accounted_for)
    assert set(shown(terminals).values()) == {1}
    assert BURST - 220 <= node.metrics.qos0_dropped < attempted - 20
    a.close()


class Crowd:
    """Bob's sessions at three centers, one after the other, and Alice at the first."""

    def __init__(self, town: Town, random: Random) -> None:
        self.town, self.random, self.number = town, random, 0
        self.sessions: list[FakeSession] = []
        self.party: Party | None = None
        self.center: FakeCenter | None = None

    def move(self) -> None:
        """Bob leaves, and is away, or at another center, fetching or not."""
        self.number += 1
        if self.party is not None and self.center is not None:
            self.center.router.go_offline(self.party.session)
        self.center = self.random.choice([None, *self.town.centers.values()])
        if self.center is not None:
            session, self.party = self.center.come(self.town.bob, number=self.number, is_fetching=self.random.random() < 0.8)
            self.sessions.append(session)

    def shown(self) -> Counter[bytes]:
        """How often each body was handed over."""
        return Counter(body for session in self.sessions for body in session.bodies)


@pytest.mark.parametrize("seed", range(3))
def test_what_no_center_hands_over_one_of_them_has_counted(town: Town, seed: int) -> None:
    """The directory is wrong, links are full, the target moves while messages are under way, its claim is refused."""
    random, one = Random(seed), town.centers[1]
    bob = Crowd(town, random)
    _, hers = one.come(town.alice)
    for number in range(1, WHISPERS + 1):
        if random.random() < 0.3:
            bob.move()
        if random.random() < 0.1:
            one.finder.wrong[town.bob] = [Place(random.choice((2, 3)), 0, 0, 1, 1)] * random.randrange(2)
        else:
            one.finder.wrong.pop(town.bob, None)
        one.line.is_full_to = {2, 3} if random.random() < 0.1 else set()
        is_forged = random.random() < 0.05
        for center in (2, 3):
            town.centers[center].finder.wrong[town.alice] = [Place(9, 9, 0, 9, 9)] if is_forged else [Place(1, 1, 0, 1, 1)]
        one.router.send_once(hers, town.bob, Letter(number << 6, b"%d" % number, number, 1_000_000 + number, town.now))
        if random.random() < 0.5:
            town.pump()
    town.pump()
    town.pass_time(1.0)
    town.pump()

    def dropped() -> int:
        return sum(center.metrics.qos0_dropped for center in town.centers.values())

    def is_accounted_for() -> bool:
        bob.move()
        return WHISPERS - len(bob.shown()) == dropped()

    town.settle(is_accounted_for)
    assert set(bob.shown().values()) == {1}
    assert 0 < dropped() < WHISPERS / 2
