"""One terminal after another, several at once, and their ends: nothing lost, nothing settled in two ways, late acts do not count."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import gevent
import pytest

from myim_server.node import Node
from myim_wire.errors import ErrorCode
from myim_wire.messages import ERROR, FIRST, QOS1, REPLY, Command, Message, decode_error, encode_message, split_trailer
from tests.server.running import Person, RawTerminal, add_terminal, make_person, online, start_node, stuff, wait_until

RECEIVED, STORED = b"\x01", b"\x02"
GONE = (OSError, EOFError)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    running = start_node(Path(tmp_path_factory.mktemp("node")), tokens={"poll_seconds": 0.2}, delivery={"sweep_seconds": 1})
    yield running
    running.stop()


@pytest.fixture
def alice(node: Node, request: pytest.FixtureRequest) -> Person:
    return make_person(node, f"alice.{abs(hash(request.node.name)) % 1_000_000}")


@pytest.fixture
def bob(node: Node, request: pytest.FixtureRequest) -> Person:
    return make_person(node, f"bob.{abs(hash(request.node.name)) % 1_000_000}")


class Target:
    """An application that shows each message once and confirms all, through one session after another of the same terminal."""

    def __init__(self, node: Node, person: Person) -> None:
        self.node = node
        self.person = person
        self.number = 0
        self.shown: list[int] = []
        self.readers: list[gevent.Greenlet[[RawTerminal], None]] = []
        self.terminal: RawTerminal
        self.take_over()

    def take_over(self) -> None:
        self.number += 1
        self.terminal = terminal = RawTerminal(self.node, self.person, self.number)
        terminal.say(encode_message(Command.OFFLINE_FETCH, QOS1, self.person.user, 0, terminal.name()))
        self.readers.append(gevent.spawn(self._read, terminal))

    def _read(self, terminal: RawTerminal) -> None:
        with suppress(*GONE):
            while True:
                got = terminal.wait_for(lambda message: message.command == Command.USER_MESSAGE and bool(message.flags & QOS1), 60)
                if got.time not in self.shown:
                    self.shown.append(got.time)
                terminal.confirm((got.user, got.time))

    def close(self) -> None:
        self.terminal.close()
        gevent.joinall(self.readers, timeout=10)


class Sender:
    """A terminal that sends again what is not settled, in order, through one session after another [P-8.2], [P-8.4]."""

    def __init__(self, node: Node, person: Person, target: Person) -> None:
        self.node = node
        self.person = person
        self.target = target
        self.number = 1
        self.last_time = 0
        self.unsettled: list[int] = []
        self.told: defaultdict[int, set[bytes]] = defaultdict(set)
        self.terminal = online(node, person, 1)

    def name(self) -> int:
        self.terminal.last_time = self.last_time
        self.last_time = self.terminal.name()
        return self.last_time

    def write(self) -> None:
        named = self.name()
        self.unsettled.append(named)
        self._say([named], is_first=len(self.unsettled) == 1)

    def _say(self, names: list[int], is_first: bool) -> None:
        user, target = self.person.user, self.target.user
        firsts = [is_first] + [False] * (len(names) - 1)
        with suppress(*GONE):
            self.terminal.say(
                *(encode_message(2, QOS1 | FIRST * one, user, target, named, b"x") for one, named in zip(firsts, names, strict=True))
            )

    def late(self, old: RawTerminal) -> int:
        """Say something through a session that was replaced; its name."""
        named = self.name()
        with suppress(*GONE):
            old.say(encode_message(2, QOS1 | FIRST, self.person.user, self.target.user, named, b"late"))
        return named

    def take_over(self) -> RawTerminal:
        """Writing through the old session goes on while the new one shakes hands; returns the old one."""
        self.number += 1
        coming = gevent.spawn(online, self.node, self.person, self.number)
        while not coming.ready():
            if len(self.unsettled) < 30:
                self.write()
            gevent.sleep(0)
        self.listen()
        old, self.terminal = self.terminal, coming.get()
        self.again()
        return old

    def again(self) -> None:
        if self.unsettled:
            self._say(self.unsettled, is_first=True)

    def listen(self) -> None:
        """Take the answers that have come; what was refused is sent again."""
        with suppress(*GONE):
            self.terminal.poll()
        replies = [one for one in self.terminal.inbox if one.command == Command.USER_MESSAGE and one.flags & REPLY]
        self.terminal.inbox.clear()
        for reply in replies:
            if not reply.flags & ERROR:
                self.told[reply.time].add(reply.content)
                if reply.time in self.unsettled:
                    self.unsettled.remove(reply.time)
        if any(reply.flags & ERROR for reply in replies):
            self.again()


def test_three_hundred_takeovers_under_traffic_lose_nothing_settle_nothing_twice_and_hear_no_late_word(
    node: Node, alice: Person, bob: Person
) -> None:
    target = Target(node, bob)
    sender = Sender(node, alice, bob)
    late = []
    for _ in range(150):
        old = sender.take_over()
        late.append(sender.late(old))
        target.take_over()
        sender.write()
        sender.listen()
        old.close()
    wait_until(lambda: (sender.listen(), not sender.unsettled)[1], 30)  # type: ignore[func-returns-value]
    names = sorted(sender.told)
    wait_until(lambda: len(target.shown) >= len(names))
    assert len(names) > 300 and not set(names) & set(late)
    assert target.shown == names
    assert all(len(outcomes) == 1 for outcomes in sender.told.values())
    assert node.router is not None
    assert len(node.router.parties) == 2
    sender.terminal.close()
    target.close()
    wait_until(lambda: node.router is not None and not node.router.parties and not node.router.lanes.terminals)


def code_of(message: Message) -> ErrorCode:
    return ErrorCode(decode_error(message.content).code)


def test_a_replaced_session_that_does_not_read_cannot_act_any_more(node: Node, alice: Person, bob: Person) -> None:
    old, b = online(node, alice, 1), online(node, bob)
    assert node.router is not None
    session = node.router.parties[alice.user << 6 | alice.slot].session
    stuff(node, b, alice)
    new = online(node, alice, 2)
    assert session.is_closing and not session.is_over
    old.write(bob.user, b"late")
    named = new.write(bob.user, b"in time")
    assert b.next_message().time == named
    b.confirm((alice.user, named))
    assert new.settling_of(named).content == RECEIVED
    b.fetch()
    assert b.inbox == []
    for terminal in (old, new, b):
        terminal.close()


def test_a_resend_after_a_takeover_is_answered_from_memory(node: Node, alice: Person, bob: Person) -> None:
    a, b = online(node, alice, 1), online(node, bob)
    named = a.write(bob.user, b"once")
    b.next_message()
    b.confirm((alice.user, named))
    assert a.settling_of(named).content == RECEIVED
    again = online(node, alice, 2)
    b.close()
    again.write(bob.user, b"once", time=named)
    assert again.settling_of(named).content == RECEIVED
    assert node.store is not None and not node.store.offline.targets_with_rows([bob.user])
    a.close()
    again.close()


def test_a_lane_is_opened_to_the_terminal_that_was_active_last(node: Node, alice: Person, bob: Person) -> None:
    phone, laptop = online(node, bob), online(node, add_terminal(node, bob.user, bytes(range(32))))
    a, another = online(node, alice), online(node, add_terminal(node, alice.user, bytes(range(1, 33))))
    phone.ask(Command.SERVERS)
    for sender, active, passive in ((a, phone, laptop), (another, laptop, phone)):
        active.ask(Command.SERVERS)
        named = sender.write(bob.user, b"to the active one")
        got, copy = active.next_message(), passive.next_message()
        assert (got.time, got.flags & QOS1, copy.time, copy.flags & QOS1) == (named, QOS1, named, 0)
        active.confirm((got.user, named))
        assert sender.settling_of(named).content == RECEIVED
        active.inbox.clear()
        passive.inbox.clear()
    for terminal in (phone, laptop, a, another):
        terminal.close()


def test_when_the_terminal_with_the_lane_goes_the_other_gets_its_messages(node: Node, alice: Person, bob: Person) -> None:
    phone = online(node, bob)
    a = online(node, alice)
    named = a.write(bob.user, b"which of you?")
    assert phone.next_message().flags & QOS1
    laptop = online(node, add_terminal(node, bob.user, bytes(range(32))))
    phone.close()
    got = laptop.next_message()
    assert (got.time, got.flags & QOS1) == (named, QOS1)
    laptop.confirm((alice.user, named))
    assert a.settling_of(named).content in (RECEIVED, STORED)
    for terminal in (laptop, a):
        terminal.close()


def test_what_was_in_flight_at_the_senders_goodbye_is_delivered_and_answered_to_its_next_session(
    node: Node, alice: Person, bob: Person
) -> None:
    a, b = online(node, alice, 1), online(node, bob)
    names = [a.name() for _ in range(5)]
    flags = [QOS1 | FIRST] + [QOS1] * 4
    goodbye = encode_message(Command.GOODBYE, 0, alice.user, 0, 0)
    a.say(*(encode_message(2, flag, alice.user, bob.user, named, b"x") for flag, named in zip(flags, names, strict=True)), goodbye)
    assert not a.goodbye().flags & ERROR
    assert [b.next_message().time for _ in names] == names
    again = online(node, alice, 2)
    b.confirm(*((alice.user, named) for named in names))
    for named in names:
        assert again.settling_of(named).content in (RECEIVED, STORED)
    for terminal in (a, b, again):
        terminal.close()


def test_what_is_in_flight_to_a_target_that_says_goodbye_is_stored_for_it(node: Node, alice: Person, bob: Person) -> None:
    a, b = online(node, alice), online(node, bob, 1)
    names = [a.write(bob.user, b"x", is_first=i == 0) for i in range(5)]
    for _ in names:
        b.next_message()
    b.say(encode_message(Command.RECEIPT, 0, bob.user, 0, 0, b"\x01" + alice.user.to_bytes(8, "big") + names[0].to_bytes(8, "big")),
          encode_message(Command.GOODBYE, 0, bob.user, 0, 0))  # fmt: skip
    assert not b.goodbye().flags & ERROR
    assert [a.settling_of(named).content for named in names] == [RECEIVED] + [STORED] * 4
    again = RawTerminal(node, bob, 2)
    assert again.fetch() == 4
    assert [again.next_message().time for _ in range(4)] == names[1:]
    for terminal in (a, b, again):
        terminal.close()


def test_revoking_one_terminal_ends_its_session_and_leaves_the_other(node: Node, alice: Person, bob: Person) -> None:
    lost, kept = online(node, alice), online(node, add_terminal(node, alice.user, bytes(range(32))))
    b = online(node, bob)
    assert node.store is not None
    node.store.terminals.raise_generation(alice.user, alice.slot)
    assert code_of(lost.goodbye()) == ErrorCode.TOKEN_REVOKED
    with pytest.raises(Exception, match="TOKEN_REVOKED"):
        RawTerminal(node, alice, 2)
    named = b.write(alice.user, b"still there?")
    assert split_trailer(kept.next_message().content)[0] == b"still there?"
    kept.confirm((bob.user, named))
    assert b.settling_of(named).content == RECEIVED
    for terminal in (lost, kept, b):
        terminal.close()
