"""What one session suffers or does is nobody else's: faults, revocations, last words, a process that stood still."""

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gevent
import pytest

from myim_server.chat.party import Party
from myim_server.commands import Commands
from myim_server.node import Node
from myim_server.requests import Talk
from myim_server.sessions import Session
from myim_wire.center_handshake import CenterClient
from myim_wire.connection import Connection
from myim_wire.errors import ErrorCode, ReportedError
from myim_wire.messages import QOS1, Command, Message, decode_error, encode_message
from tests.server.running import Person, online, start_node, wait_until


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = start_node(tmp_path, tokens={"poll_seconds": 0.05})
    yield node
    node.stop()


def party_of(node: Node, person: Person) -> Party:
    assert node.router is not None
    return node.router.parties[person.user << 6 | person.slot]


class Broken:
    """Raises whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError("a bug")


def test_a_fault_while_one_session_is_flushed_leaves_the_others_their_messages(node: Node, alice: Person, bob: Person) -> None:
    a, b = online(node, alice), online(node, bob)
    unlucky, witness = party_of(node, alice).session, party_of(node, bob).session
    unlucky._sealer = Broken()
    unlucky.send(encode_message(Command.SERVERS, QOS1, 0, 0, 0, b""))
    witness.send(encode_message(Command.USER_MESSAGE, 0, alice.user, bob.user, 64, b"hello" + bytes(24)))
    assert b.next_message().time == 64
    with pytest.raises((EOFError, ConnectionError)):
        a.next_message()
    b.close()


def test_a_fault_while_one_session_is_looked_after_ends_that_session_alone(node: Node, alice: Person, bob: Person) -> None:
    a, b = online(node, alice), online(node, bob)
    assert node.center is not None
    node.center._conversations[party_of(node, alice).session].connection = Broken()  # type: ignore[assignment]
    silent = party_of(node, bob).session
    silent.last_heard -= 1000
    node.center.look_after()
    assert decode_error(b.goodbye().content).code == ErrorCode.IDLE
    with pytest.raises((EOFError, ConnectionError)):
        a.next_message()


class Unwalked(dict[int, Party]):
    """A table that may be looked into, not walked through."""

    def values(self) -> Any:
        raise AssertionError("everybody was looked at")

    __iter__ = values


def test_a_revocation_looks_at_the_sessions_of_its_user_alone(node: Node, alice: Person, bob: Person) -> None:
    a, b = online(node, alice), online(node, bob)
    assert node.router is not None and node.store is not None
    node.router.parties = Unwalked(node.router.parties)
    node.store.accounts.raise_generation(alice.user)
    assert decode_error(a.goodbye().content).code == ErrorCode.TOKEN_REVOKED
    assert b.fetch() == 0
    node.router.parties = dict(dict.items(node.router.parties))
    b.close()


@pytest.mark.parametrize("say", [Session.farewell, Session.cut, lambda session: session.goodbye(ErrorCode.BUSY, "go")])
def test_with_its_last_word_a_session_is_no_target_any_more_whatever_its_peer_does(
    node: Node, alice: Person, bob: Person, say: Callable[[Session], None]
) -> None:
    a, b = online(node, alice), online(node, bob)
    say(party_of(node, bob).session)
    begun = time.monotonic()
    named = a.write(bob.user, b"for the next session")
    assert a.settling_of(named).content == b"\x02"  # stored at once, not when the reader has ended
    assert time.monotonic() - begun < 0.8
    for terminal in (a, b):
        terminal.close()


def test_a_process_that_stood_still_lets_its_terminals_speak_before_it_calls_them_silent(node: Node, alice: Person) -> None:
    a = online(node, alice)
    center = node.center
    assert center is not None
    center._parts = center._parts._replace(now=lambda: time.monotonic() + 3600)
    center.look_after()
    center.look_after()
    assert a.fetch() == 0
    a.close()


def test_who_is_in_the_middle_of_the_handshake_when_the_server_stops_is_told_so(node: Node, alice: Person, bob: Person) -> None:
    center = node.center
    assert center is not None
    address = ("127.0.0.1", center.server_port)
    silent, waiting = socket.create_connection(address, timeout=5), socket.create_connection(address, timeout=5)
    client = CenterClient(alice.token, alice.session_key, alice.terminal_private, bytes(32), bytes(range(32)), 1)
    waiting.sendall(client.connect())
    accepted = waiting.recv(65536)
    assert accepted
    wait_until(lambda: center.handshakes_running == 2)
    begun = time.monotonic()
    node.stop()
    assert time.monotonic() - begun < 4
    for one in (silent, waiting):
        connection = Connection.for_terminal(client)
        with pytest.raises(ReportedError) as refused:
            connection.receive_data(one.recv(65536))
        assert refused.value.code == ErrorCode.DRAINING
        one.close()


class Noting:
    """Commands that note which messages came in one piece, and in which turn of the hub."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self.turn = 0
        self.pieces: list[tuple[int, list[int]]] = []
        self.begin, self.end = commands.begin, commands.end

    def receive(self, talk: Talk, messages: Sequence[Message], now: float) -> None:
        self.pieces.append((self.turn, [message.time >> 32 for message in messages]))
        self._commands.receive(talk, messages, now)

    def count_turns(self) -> None:
        while True:
            self.turn += 1
            gevent.sleep(0)


def test_who_sends_much_at_once_lets_others_have_their_turn_between_records_and_never_within_one(
    node: Node, alice: Person, bob: Person
) -> None:
    center = node.center
    assert center is not None
    noting = Noting(center._parts.commands)
    center._parts = center._parts._replace(commands=noting)  # type: ignore[arg-type]
    a = online(node, alice)
    turns = gevent.spawn(noting.count_turns)
    noting.pieces.clear()
    records = [
        a.connection.seal(b"".join(encode_message(Command.USER_MESSAGE, 0, alice.user, bob.user, r << 32, bytes(70)) for _ in range(20)))
        for r in range(1, 31)
    ]
    a.socket.sendall(b"".join(records))
    wait_until(lambda: sum(len(times) for _, times in noting.pieces) == 600)
    turns.kill()
    for _, times in noting.pieces:
        assert all(times.count(record) == 20 for record in set(times))
    together = Counter[int]()
    for turn, times in noting.pieces:
        together[turn] += len(times)
    assert max(together.values()) <= 200
    a.close()
