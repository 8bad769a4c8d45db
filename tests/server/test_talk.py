"""Two raw terminals and a real center: what a sender is told, what a target is handed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_server.node import Node
from myim_wire.contents import FoundUser, RenewedToken, decode_servers, encode_lookup
from myim_wire.errors import ErrorCode, ReportedError
from myim_wire.messages import (
    ERROR,
    FIRST,
    PING_ANSWER,
    PING_ASK,
    QOS1,
    REPLY,
    Command,
    decode_error,
    decode_pairs,
    encode_message,
    split_trailer,
)
from tests.server.running import Person, RawTerminal, add_terminal, make_person, online, start_node, wait_until

RECEIVED, STORED = b"\x01", b"\x02"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    running = start_node(tmp_path)
    yield running
    running.stop()


def test_a_message_is_settled_as_received_only_after_the_targets_receipt(node: Node, alice: Person, bob: Person) -> None:
    a, b = online(node, alice), online(node, bob)
    named = a.write(bob.user, b"hello")
    got = b.next_message()
    assert (got.user, got.time, split_trailer(got.content)[0]) == (alice.user, named, b"hello")
    assert not a.inbox
    b.confirm((alice.user, named))
    assert a.settling_of(named).content == RECEIVED


def test_a_message_to_an_absent_user_is_stored_and_fetched_and_its_receipt_reaches_the_sender(
    node: Node, alice: Person, bob: Person
) -> None:
    a = online(node, alice)
    named = a.write(bob.user, "héllo 🙂".encode())
    assert a.settling_of(named).content == STORED
    b = RawTerminal(node, bob)
    assert b.fetch() == 1
    got = b.next_message()
    assert split_trailer(got.content)[0] == "héllo 🙂".encode()
    b.confirm((alice.user, named))
    receipt = a.wait_for(lambda message: message.command == Command.RECEIPT)
    assert decode_pairs(receipt.content) == (3, [(bob.user, named)])
    a.say(encode_message(Command.RECEIPT, REPLY, 0, alice.user, receipt.time))
    assert node.store is not None
    receipts = node.store.receipts
    wait_until(lambda: receipts.page(alice.user, alice.slot, 10) == [])


def test_stored_messages_are_handed_over_before_newer_ones_and_in_order(node: Node, alice: Person, bob: Person) -> None:
    a = online(node, alice)
    stored = []
    for _ in range(6):
        stored += [a.write(bob.user, f"stored {i}".encode()) for i in range(50)]
        for named in stored[-50:]:
            assert a.settling_of(named).content == STORED
    b = RawTerminal(node, bob)
    b.say(encode_message(Command.OFFLINE_FETCH, QOS1, bob.user, 0, b.name()))
    live = a.write(bob.user, b"live")
    seen: list[int] = []
    while len(seen) < 301:
        got = b.next_message()
        seen.append(got.time)
        b.confirm((alice.user, got.time))
    assert seen == [*stored, live]


def test_a_message_without_a_receipt_in_time_is_stored(tmp_path: Path) -> None:
    node = start_node(tmp_path, delivery={"receipt_seconds": 0.3, "attempt_seconds": 1})
    alice, bob = make_person(node, "alice"), make_person(node, "bob")
    a, b = online(node, alice), online(node, bob)
    named = a.write(bob.user, b"are you there")
    assert b.next_message().time == named
    assert a.settling_of(named).content == STORED
    node.stop()


def test_when_the_targets_session_ends_its_unconfirmed_messages_are_stored(node: Node, alice: Person, bob: Person) -> None:
    a, b = online(node, alice), online(node, bob)
    named = a.write(bob.user, b"last words")
    b.next_message()
    b.close()
    assert a.settling_of(named).content == STORED
    again = RawTerminal(node, bob, 2)
    assert again.fetch() == 1


def test_a_resend_of_a_settled_message_is_answered_at_once_and_not_shown_again(node: Node, alice: Person, bob: Person) -> None:
    a, b = online(node, alice), online(node, bob)
    named = a.write(bob.user, b"once")
    b.next_message()
    b.confirm((alice.user, named))
    a.settling_of(named)
    a.write(bob.user, b"once", time=named)
    assert a.settling_of(named).content == RECEIVED
    marker = a.write(bob.user, b"marker")
    assert b.next_message().time == marker


def test_a_name_used_twice_with_other_content_is_refused_while_owned(node: Node, alice: Person, bob: Person) -> None:
    a, b = online(node, alice), online(node, bob)
    named = a.write(bob.user, b"one")
    b.next_message()
    a.write(bob.user, b"two", time=named)
    assert decode_error(a.settling_of(named).content).code == ErrorCode.ID_CONFLICT
    b.confirm((alice.user, named))
    assert a.settling_of(named).content == RECEIVED


def test_a_name_used_twice_with_other_content_is_refused_while_stored(node: Node, alice: Person, bob: Person) -> None:
    a = online(node, alice)
    named = a.write(bob.user, b"one")
    a.settling_of(named)
    a.close()
    again = online(node, alice, 2)
    again.write(bob.user, b"two", time=named)
    assert decode_error(again.settling_of(named).content).code == ErrorCode.ID_CONFLICT


def test_a_name_used_twice_with_other_content_in_one_session_is_refused_after_it_was_stored(
    node: Node, alice: Person, bob: Person
) -> None:
    a = online(node, alice)
    named = a.write(bob.user, b"one")
    a.settling_of(named)
    a.write(bob.user, b"two", time=named)
    assert decode_error(a.settling_of(named).content).code == ErrorCode.ID_CONFLICT
    a.write(bob.user, b"one", time=named)
    assert a.settling_of(named).content == STORED


def test_every_fetch_is_answered(node: Node, alice: Person) -> None:
    a = RawTerminal(node, alice)
    names = [a.name(), a.name()]
    a.say(*(encode_message(Command.OFFLINE_FETCH, QOS1, alice.user, 0, named) for named in names))
    for named in names:
        a.wait_for(lambda message, named=named: message.command == Command.OFFLINE_FETCH and message.time == named)  # type: ignore[misc]


def test_of_more_messages_than_may_be_unsettled_the_first_are_taken_and_the_rest_refused(
    node: Node, alice: Person, bob: Person
) -> None:
    a, b = online(node, alice), online(node, bob)
    names = [a.name() for _ in range(300)]
    a.say(
        *(
            encode_message(Command.USER_MESSAGE, QOS1 | (FIRST if named == names[0] else 0), alice.user, bob.user, named, b"x")
            for named in names
        )
    )
    assert [b.next_message().time for _ in range(256)] == names[:256]
    for named in names[256:]:
        assert decode_error(a.settling_of(named).content).code == ErrorCode.SLOW_DOWN
    b.confirm(*((alice.user, named) for named in names[:256]))
    for named in names[:256]:
        assert a.settling_of(named).content == RECEIVED


def test_a_message_not_flagged_first_is_refused_when_nothing_before_it_was_taken(node: Node, alice: Person, bob: Person) -> None:
    a = online(node, alice)
    named = a.write(bob.user, b"second", is_first=False)
    assert decode_error(a.settling_of(named).content).code == ErrorCode.OUT_OF_ORDER
    assert a.settling_of(a.write(bob.user, b"first")).content == STORED


def test_a_newer_session_of_the_terminal_replaces_the_older(node: Node, alice: Person, bob: Person) -> None:
    old = online(node, bob, 1)
    new = online(node, bob, 2)
    assert decode_error(old.goodbye().content).code == ErrorCode.REPLACED
    a = online(node, alice)
    named = a.write(bob.user, b"to the newer")
    assert new.next_message().time == named


def test_both_terminals_of_a_user_are_online_and_the_first_receipt_settles(node: Node, alice: Person, bob: Person) -> None:
    phone = online(node, bob)
    laptop = online(node, add_terminal(node, bob.user, bytes(range(32))))
    a = online(node, alice)
    named = a.write(bob.user, b"everywhere")
    got = [phone.next_message(), laptop.next_message()]
    assert sorted(message.flags & QOS1 for message in got) == [0, 1]
    phone.confirm((alice.user, named))
    laptop.confirm((alice.user, named))
    assert a.settling_of(named).content == RECEIVED


def test_the_senders_other_terminals_get_a_copy(node: Node, alice: Person, bob: Person) -> None:
    a, b = online(node, alice), online(node, bob)
    other = online(node, add_terminal(node, alice.user, bytes(range(1, 33))))
    named = a.write(bob.user, b"copy me")
    b.next_message()
    copy = other.next_message()
    assert (copy.user, copy.target, copy.time, copy.flags & QOS1) == (alice.user, bob.user, named, 0)


def test_qos_0_is_handed_once_and_never_confirmed(node: Node, alice: Person, bob: Person) -> None:
    a, b = online(node, alice), online(node, bob)
    named = a.name()
    a.say(encode_message(Command.USER_MESSAGE, 0, alice.user, bob.user, named, b"by the way"))
    got = b.next_message()
    assert (got.time, got.flags & QOS1) == (named, 0)


def test_qos_0_to_an_absent_user_is_stored_and_deleted_before_it_is_handed(node: Node, alice: Person, bob: Person) -> None:
    a = online(node, alice)
    a.say(encode_message(Command.USER_MESSAGE, 0, alice.user, bob.user, a.name(), b"by the way"))
    assert node.store is not None
    offline = node.store.offline
    wait_until(lambda: offline.targets_with_rows([bob.user]))
    b = RawTerminal(node, bob)
    b.fetch()
    assert split_trailer(b.next_message().content)[0] == b"by the way"
    assert not offline.targets_with_rows([bob.user])


def test_qos_0_to_a_terminal_that_is_here_but_has_not_fetched_is_kept_for_its_fetch(node: Node, alice: Person, bob: Person) -> None:
    a, b = online(node, alice), RawTerminal(node, bob)
    b.say(PING_ASK)
    b.wait_for(lambda message: message.command == Command.PING)
    a.say(encode_message(Command.USER_MESSAGE, 0, alice.user, bob.user, a.name(), b"by the way"))
    assert node.store is not None
    offline = node.store.offline
    wait_until(lambda: offline.targets_with_rows([bob.user]))
    b.fetch()
    assert split_trailer(b.next_message().content)[0] == b"by the way"


def test_ping_is_answered_and_answers_nothing(node: Node, alice: Person) -> None:
    a = online(node, alice)
    a.say(PING_ASK, PING_ANSWER, PING_ASK)
    assert [a.wait_for(lambda message: message.command == Command.PING).flags for _ in range(2)] == [0, 0]


def test_goodbye_is_answered_and_ends_with_an_empty_record(node: Node, alice: Person) -> None:
    a = online(node, alice)
    a.say(encode_message(Command.GOODBYE, 0, alice.user, 0, 0))
    assert a.goodbye().flags & (REPLY | ERROR) == REPLY
    with pytest.raises(EOFError):
        a.wait_for(lambda message: False)
    assert a.connection.is_peer_closed


def test_servers_token_and_lookup_are_answered(node: Node, alice: Person, bob: Person) -> None:
    a = online(node, alice)
    assert node.center is not None
    servers = decode_servers(a.ask(Command.SERVERS).content)
    assert [(server.role, server.port) for server in servers] == [("center", node.center.server_port)]
    found = a.ask(Command.LOOKUP, encode_lookup("BOB"))
    assert not found.flags & ERROR
    assert FoundUser.decode(found.content) == FoundUser(bob.user, "bob")
    assert a.ask(Command.LOOKUP, encode_lookup(bob.user)).content == found.content
    unknown = a.ask(Command.LOOKUP, encode_lookup("nobody"))
    assert decode_error(unknown.content).code == ErrorCode.NOT_ALLOWED
    renewed = RenewedToken.decode(a.ask(Command.TOKEN).content)
    again = RawTerminal(node, Person(alice.user, alice.slot, renewed.token, renewed.session_key, alice.terminal_private), 2)
    assert again.fetch() == 0


def test_a_rekey_goes_on_without_losing_a_message(node: Node, alice: Person, bob: Person) -> None:
    a, b = online(node, alice), online(node, bob)
    a.socket.sendall(a.connection.start_rekey(bytes(range(32))))
    before = a.write(bob.user, b"under the old key")
    a.wait_for(lambda message: message.command == Command.REKEY)
    a.socket.sendall(a.connection.finish_rekey())
    after = a.write(bob.user, b"under the new key", is_first=False)
    assert [b.next_message().time, b.next_message().time] == [before, after]
    b.confirm((alice.user, before), (alice.user, after))
    assert a.settling_of(after).content == RECEIVED


def test_a_lower_or_known_connection_number_is_refused_and_disturbs_nobody(node: Node, alice: Person) -> None:
    a = online(node, alice, 5)
    for number in (5, 4):
        with pytest.raises(Exception, match="STALE_CONNECTION"):
            RawTerminal(node, alice, number)
    a.say(PING_ASK)
    a.wait_for(lambda message: message.command == Command.PING)


def test_a_revoked_token_closes_the_session_and_admits_no_other(tmp_path: Path) -> None:
    node = start_node(tmp_path)
    alice = make_person(node, "alice")
    a = online(node, alice)
    assert node.store is not None
    node.store.accounts.raise_generation(alice.user)
    assert decode_error(a.goodbye().content).code == ErrorCode.TOKEN_REVOKED
    with pytest.raises(Exception, match="TOKEN_REVOKED"):
        RawTerminal(node, alice, 2)
    node.stop()


def test_a_ticket_revoked_while_its_first_record_is_awaited_gets_no_session(node: Node, alice: Person) -> None:
    terminal = RawTerminal(node, alice)  # both flights are exchanged, no record yet
    assert node.store is not None and node.router is not None
    node.store.accounts.raise_generation(alice.user)
    wait_until(lambda: _is_revoked(node, alice))
    terminal.say(encode_message(Command.OFFLINE_FETCH, QOS1, alice.user, 0, terminal.name()))
    with pytest.raises((ReportedError, EOFError)):
        terminal.wait_for(lambda message: True)
    assert not node.router.parties


def _is_revoked(node: Node, person: Person) -> bool:
    try:
        RawTerminal(node, person, 2).close()
    except ReportedError as error:
        return error.code is ErrorCode.TOKEN_REVOKED
    return False
