"""A node that is stopped and started again on its own data: what was promised before holds after."""

from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from myim_server.node import Node
from myim_server.numbering import Numbering
from myim_wire.contents import RenewedToken
from myim_wire.errors import ErrorCode
from myim_wire.messages import FIRST, QOS1, Command, decode_error, encode_message, split_trailer
from tests.server.running import Person, RawTerminal, make_person, online, start_node, wait_until

RECEIVED, STORED = b"\x01", b"\x02"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Node]]:
    """Starts the node, having stopped the one before."""
    nodes: list[Node] = []

    def start_again() -> Node:
        for node in nodes:
            node.stop()
        nodes.append(start_node(tmp_path))
        return nodes[-1]

    yield start_again
    nodes[-1].stop()


def run(terminal: RawTerminal, target: Person, names: list[int]) -> None:
    flags = [QOS1 | FIRST] + [QOS1] * (len(names) - 1)
    user = terminal.person.user
    terminal.say(*(encode_message(2, flag, user, target.user, named, b"x") for flag, named in zip(flags, names, strict=True)))


def test_what_was_settled_stored_waits_and_what_was_unsettled_is_taken_again_all_once_and_in_order(start: Callable[[], Node]) -> None:
    node = start()
    alice, bob = make_person(node, "alice"), make_person(node, "bob")
    a = online(node, alice, 1)
    names = [a.name() for _ in range(30)]
    run(a, bob, names[:10])
    assert [a.settling_of(named).content for named in names[:10]] == [STORED] * 10
    b = online(node, bob, 1)
    run(a, bob, names[10:20])
    b.next_message()
    stopping = gevent.spawn(node.stop)
    assert decode_error(a.goodbye().content).code == ErrorCode.SHUTDOWN
    assert decode_error(b.goodbye().content).code == ErrorCode.SHUTDOWN
    stopping.join(10)
    told = [message.time for message in a.inbox if message.command == Command.USER_MESSAGE]
    node = start()
    a, b = online(node, alice, 2), online(node, bob, 2)
    run(a, bob, [named for named in names[10:] if named not in told])
    seen: list[int] = []
    while len(seen) < 30:
        got = b.next_message()
        seen.append(got.time)
        b.confirm((alice.user, got.time))
    assert seen == names
    for named in names[10:]:
        assert named in told or a.settling_of(named).content in (RECEIVED, STORED)
    for terminal in (a, b):
        terminal.close()


def test_message_ids_never_repeat_and_accepted_times_never_fall(start: Callable[[], Node]) -> None:
    ids: list[int] = []
    entered: set[int] = set()
    accepted: list[int] = []
    people: list[Person] = []
    names: list[int] = []
    for boot in range(1, 4):
        node = start()
        assert node.store is not None
        people = people or [make_person(node, "alice"), make_person(node, "bob")]
        a = online(node, people[0], boot)
        a.last_time = max(names, default=0)
        mine = [a.name() for _ in range(20)]
        run(a, people[1], mine)
        for named in mine:
            assert a.settling_of(named).content == STORED
        names += mine
        a.close()
        accepted = [row.accepted for row in node.store.offline.page(people[1].user, set(), 100, 1 << 20)[0]]
    b = RawTerminal(node, people[1])
    assert b.fetch() == 60
    for named in names:
        got = b.next_message()
        assert got.time == named
        _, entry, message_id, _ = split_trailer(got.content)
        ids.append(message_id)
        entered.add(entry)
    assert len(set(ids)) == 60 and len(entered) == 1
    assert accepted == sorted(accepted)
    b.close()


def test_ids_and_accepted_times_rise_even_when_the_clock_falls() -> None:
    clock = iter([1000, 500, 2000, 2000])
    numbering = Numbering(3, lambda: next(clock))
    taken = [numbering.take(count) for count in (10, 1, 5, 1)]
    assert [accepted for _, accepted in taken] == [1000, 1011, 2000, 2006]
    assert [first - (3 << 40) for first, _ in taken] == [1, 11, 12, 17]
    assert Numbering(4, lambda: 0).take(1)[0] > taken[-1][0] + 1


def test_tokens_from_before_work_and_those_made_after_do_too(start: Callable[[], Node]) -> None:
    node = start()
    alice = make_person(node, "alice")
    a = online(node, alice, 1)
    renewed = RenewedToken.decode(a.ask(Command.TOKEN).content)
    a.close()
    identity, node_id = node.identity, node.node_id
    node = start()
    assert (node.identity, node.node_id) == (identity, node_id)
    online(node, alice, 2).close()
    again = Person(alice.user, alice.slot, renewed.token, renewed.session_key, alice.terminal_private)
    a = online(node, again, 3)
    latest = RenewedToken.decode(a.ask(Command.TOKEN).content)
    a.close()
    node = start()
    online(node, Person(alice.user, alice.slot, latest.token, latest.session_key, alice.terminal_private), 4).close()


def test_a_token_revoked_before_is_revoked_after(start: Callable[[], Node]) -> None:
    node = start()
    alice = make_person(node, "alice")
    assert node.store is not None
    node.store.accounts.raise_generation(alice.user)
    node = start()
    with pytest.raises(Exception, match="TOKEN_REVOKED"):
        RawTerminal(node, alice, 1)


def test_a_receipt_that_was_not_answered_for_comes_again_after_a_restart(start: Callable[[], Node]) -> None:
    node = start()
    alice, bob = make_person(node, "alice"), make_person(node, "bob")
    a = online(node, alice, 1)
    named = a.write(bob.user, b"tell me when")
    a.settling_of(named)
    b = online(node, bob)
    b.next_message()
    b.confirm((alice.user, named))
    first = a.wait_for(lambda message: message.command == Command.RECEIPT)
    a.close()
    b.close()
    a = online(start(), alice, 2)
    assert a.wait_for(lambda message: message.command == Command.RECEIPT).content == first.content
    a.close()


def test_stop_takes_no_new_sessions_ends_the_open_ones_and_may_be_called_again(start: Callable[[], Node]) -> None:
    node = start()
    alice = make_person(node, "alice")
    a = online(node, alice)
    router = node.router
    stopping = gevent.spawn(node.stop)
    assert decode_error(a.goodbye().content).code == ErrorCode.SHUTDOWN
    a.close()
    stopping.join(10)
    assert stopping.ready()
    with pytest.raises((OSError, EOFError)):
        RawTerminal(node, alice, 2)
    assert router is not None
    wait_until(lambda: not router.parties)
    node.stop()
