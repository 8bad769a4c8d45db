"""The client against a center that does what the test says: real sockets, the real wire, scripted answers."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from myim_client import (
    BodyTooLarge,
    Client,
    ClientClosed,
    Connected,
    Disconnected,
    Event,
    LoginNeeded,
    MessageArrived,
    MessageSettled,
    NameUnknown,
    NotConnected,
    OfflineDone,
    OutcomeKind,
    PasswordNeeded,
    ProfileRefused,
    ReceiptArrived,
    Terminal,
)
from myim_wire.bodies import decode_pairs
from myim_wire.contents import FoundUser, RenewedToken, Server, decode_lookup
from myim_wire.errors import ErrorCode
from myim_wire.messages import FIRST, PING_ASK, QOS1, Command, slot_of
from tests.client.scripted_center import ME, SLOT, YOU, ScriptedCenter, Session, delivery, make_profile, wait_until


class Scene:
    """A profile, a center, and clients of that profile, one at a time."""

    def __init__(self, directory: Path) -> None:
        self.terminal, self.path = make_profile(directory)
        self.center = ScriptedCenter(self.terminal)
        self.client: Client | None = None

    def connect(self, settled_events: bool = False) -> Client:
        self.leave()
        self.client = Client(self.terminal, self.path, servers=[self.center.address], settled_events=settled_events)
        self.client.connect(10)
        return self.client

    def leave(self) -> None:
        if self.client is not None:
            self.client.close()

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.path) as database:
            return database.execute(sql).fetchall()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.leave()
    made.center.close()


Kind = TypeVar("Kind", bound=Event)


def take(client: Client, kind: type[Kind]) -> Kind:
    """The next event of a kind; others are dropped, durable ones without being done."""
    found: list[Kind] = []

    def look() -> bool:
        found.extend(event for event in client.take(0.1, limit=1) if isinstance(event, kind))
        return bool(found)

    wait_until(look)
    return found[0]


def confirmed(session: Session) -> list[tuple[int, int]]:
    """All names the terminal confirmed in this session."""
    return [pair for message in session.of(Command.RECEIPT) for pair in decode_pairs(message.content)[1]]


def test_a_session_begins_with_offline_fetch_in_a_record_of_its_own(scene: Scene) -> None:
    client = scene.connect()
    client.send(YOU, b"hello")
    session = scene.center.session()
    wait_until(lambda: session.bodies)
    assert session.received[0].command == Command.OFFLINE_FETCH
    assert isinstance(take(client, Connected), Connected)
    assert take(client, OfflineDone).count == 0


@pytest.mark.parametrize(("answer", "kind"), [(1, OutcomeKind.RECEIVED), (2, OutcomeKind.STORED)])
def test_the_handle_says_what_the_center_settled(scene: Scene, answer: int, kind: OutcomeKind) -> None:
    client = scene.connect()
    handle = client.send(YOU, "grüß dich")
    session = scene.center.session()
    wait_until(lambda: session.bodies)
    message = session.of(Command.USER_MESSAGE)[0]
    assert (message.user, message.target, message.time, message.content) == (ME, YOU, handle.time, "grüß dich".encode())
    assert message.flags == QOS1 | FIRST
    assert slot_of(message.time) == SLOT
    session.settle(message, answer)
    assert handle.wait(10).kind is kind
    assert client.unsettled == 0


def test_a_final_refusal_is_the_outcome_with_code_and_text(scene: Scene) -> None:
    client = scene.connect()
    handle = client.send(YOU, b"x")
    session = scene.center.session()
    wait_until(lambda: session.bodies)
    session.refuse(session.of(Command.USER_MESSAGE)[0], ErrorCode.NOT_ALLOWED)
    outcome = handle.wait(10)
    assert (outcome.kind, outcome.code, outcome.text) == (OutcomeKind.REFUSED, ErrorCode.NOT_ALLOWED, "refused")
    assert len(session.bodies) == 1


def test_after_a_refusal_that_invites_it_the_refused_and_all_behind_are_sent_again(scene: Scene) -> None:
    client = scene.connect()
    handles = client.send_many((YOU, b"%d" % i) for i in range(3))
    session = scene.center.session()
    wait_until(lambda: len(session.bodies) == 3)
    first, second, third = session.of(Command.USER_MESSAGE)
    assert [bool(m.flags & FIRST) for m in (first, second, third)] == [True, False, False]
    session.settle(first, 1)
    session.refuse(second, ErrorCode.STORE_UNAVAILABLE, 10)
    session.refuse(third, ErrorCode.OUT_OF_ORDER)
    wait_until(lambda: len(session.bodies) == 5)
    again = session.of(Command.USER_MESSAGE)[3:]
    assert [(m.time, bool(m.flags & FIRST)) for m in again] == [(second.time, True), (third.time, False)]
    for message in again:
        session.settle(message, 2)
    assert [handle.wait(10).kind.value for handle in handles] == ["received", "stored", "stored"]


def test_no_more_than_64_are_unsettled_and_the_rest_follows(scene: Scene) -> None:
    client = scene.connect()
    client.send_many((YOU, b"%d" % i) for i in range(100))
    session = scene.center.session()
    wait_until(lambda: len(session.bodies) == 64)
    session.send(PING_ASK)
    wait_until(lambda: session.of(Command.PING))
    assert len(session.bodies) == 64
    for message in session.of(Command.USER_MESSAGE)[:10]:
        session.settle(message, 1)
    wait_until(lambda: len(session.bodies) == 74)


def test_many_messages_share_records(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    wait_until(lambda: session.of(Command.SERVERS))
    before = session.records
    client.send_many((YOU, b"%d" % i) for i in range(64))
    wait_until(lambda: len(session.bodies) == 64)
    assert session.records - before <= 3


def test_large_messages_are_split_into_records(scene: Scene) -> None:
    client = scene.connect()
    bodies = [bytes([i]) * 32768 for i in range(5)]
    client.send_many((YOU, body) for body in bodies)
    session = scene.center.session()
    wait_until(lambda: len(session.bodies) == 5)
    assert session.bodies == bodies


def test_a_new_session_sends_all_unsettled_again_in_their_order_and_the_earliest_first(scene: Scene) -> None:
    client = scene.connect()
    client.send_many((YOU, b"%d" % i) for i in range(3))
    session = scene.center.session()
    wait_until(lambda: len(session.bodies) == 3)
    session.settle(session.of(Command.USER_MESSAGE)[0], 1)
    wait_until(lambda: client.unsettled == 2)
    session.cut()
    second = scene.center.session(2)
    client.send(YOU, b"new")
    wait_until(lambda: len(second.bodies) == 3)
    assert second.bodies == [b"1", b"2", b"new"]
    assert [bool(m.flags & FIRST) for m in second.of(Command.USER_MESSAGE)] == [True, False, False]
    assert [m.time for m in second.of(Command.USER_MESSAGE)][:2] == [m.time for m in session.of(Command.USER_MESSAGE)][1:]
    assert client.resent == 2


def test_the_outbox_outlives_the_process_and_names_go_on_rising(scene: Scene) -> None:
    client = scene.connect()
    handle = client.send(YOU, b"kept")
    scene.leave()
    client = scene.connect()
    second = client.send(YOU, b"later")
    session = scene.center.session(2)
    wait_until(lambda: len(session.bodies) == 2)
    assert [m.time for m in session.of(Command.USER_MESSAGE)] == [handle.time, second.time]
    assert second.time > handle.time


def test_what_was_sent_while_away_goes_out_at_the_next_session(scene: Scene) -> None:
    client = Client(scene.terminal, scene.path, servers=[scene.center.address])
    scene.client = client
    handle = client.send(YOU, b"early")
    client.connect(10)
    session = scene.center.session()
    wait_until(lambda: session.bodies == [b"early"])
    session.settle(session.of(Command.USER_MESSAGE)[0], 1)
    assert handle.wait(10).is_settled


def test_the_connection_number_rises_with_every_attempt_and_over_restarts(scene: Scene) -> None:
    scene.connect()
    scene.center.session().cut()
    scene.center.session(2)
    scene.connect()
    scene.center.session(3)
    numbers = scene.center.attempts
    assert numbers[0] == 1
    assert numbers == sorted(set(numbers))


def test_a_message_is_confirmed_only_after_the_commit(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    session.deliver(YOU, 64, b"hello")
    event = take(client, MessageArrived)
    assert (event.user, event.body, event.text, event.time) == (YOU, b"hello", "hello", 64)
    assert (event.entered, event.message_id, event.qos) == (1, 64, 1)
    assert not event.is_copy
    with client.transaction() as transaction:
        transaction.done(event)
        session.send(PING_ASK)
        assert confirmed(session) == []
    wait_until(lambda: confirmed(session) == [(YOU, 64)])


def test_event_done_confirms_at_once_and_only_once(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    session.deliver(YOU, 64, b"hello")
    event = take(client, MessageArrived)
    event.done()
    event.done()
    session.deliver(YOU, 128, b"next")
    take(client, MessageArrived).done()
    wait_until(lambda: (YOU, 128) in confirmed(session))
    assert confirmed(session) == [(YOU, 64), (YOU, 128)]


def test_the_iterator_confirms_what_the_loop_came_back_from(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    session.send(*(delivery(YOU, 64 * i, b"%d" % i) for i in range(1, 4)))
    for event in client.events(10):
        if isinstance(event, MessageArrived) and event.time == 128:
            break
    wait_until(lambda: confirmed(session) == [(YOU, 64)])
    assert [event.time for event in client.take(1) if isinstance(event, MessageArrived)] == [128, 192]


def test_a_rolled_back_transaction_confirms_nothing_and_gives_the_events_again_in_order(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    session.send(*(delivery(YOU, 64 * i, b"%d" % i) for i in range(1, 4)))
    first, second = take(client, MessageArrived), take(client, MessageArrived)
    with pytest.raises(ZeroDivisionError):
        with client.transaction() as transaction:
            transaction.execute("CREATE TABLE notes (body BLOB)")
            transaction.done(first, second)
            transaction.send(YOU, b"never")
            raise ZeroDivisionError
    assert [take(client, MessageArrived).time for _ in range(3)] == [64, 128, 192]
    assert scene.rows("SELECT name FROM sqlite_master WHERE name = 'notes'") == []
    assert scene.rows("SELECT * FROM myim_seen") == []
    assert session.bodies == [] and confirmed(session) == []


def test_the_applications_rows_and_its_messages_are_one_transaction_with_the_seen_set(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    session.deliver(YOU, 64, b"hello")
    event = take(client, MessageArrived)
    with client.transaction() as transaction:
        transaction.execute("CREATE TABLE notes (body BLOB)")
        transaction.execute("INSERT INTO notes VALUES (?)", (event.body,))
        transaction.send(event.user, b"answer")
        transaction.done(event)
    wait_until(lambda: session.bodies == [b"answer"])
    assert scene.rows("SELECT body FROM notes") == [(b"hello",)]
    assert scene.rows("SELECT user, time FROM myim_seen") == [(YOU, 64)]
    assert len(scene.rows("SELECT * FROM myim_outbox")) == 1


def test_a_repeat_is_not_shown_twice_and_confirmed_again(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    session.deliver(YOU, 64, b"hello")
    session.deliver(YOU, 64, b"hello")
    take(client, MessageArrived).done()
    wait_until(lambda: confirmed(session) == [(YOU, 64)])
    session.deliver(YOU, 64, b"hello")
    wait_until(lambda: confirmed(session) == [(YOU, 64)] * 2)
    client = scene.connect()
    session = scene.center.session(2)
    session.deliver(YOU, 64, b"hello")
    wait_until(lambda: confirmed(session) == [(YOU, 64)])
    assert [event for event in client.take(0.1) if isinstance(event, MessageArrived)] == []
    assert client.repeats == 1


def test_ids_of_64_bits_are_kept_exactly(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    big = (1 << 64) - 1
    session.deliver(big, big, b"big")
    event = take(client, MessageArrived)
    assert (event.user, event.time) == (big, big)
    event.done()
    session.deliver(big, big, b"big")
    wait_until(lambda: confirmed(session) == [(big, big)] * 2)
    handle = client.send(big, b"back")
    wait_until(lambda: session.bodies == [b"back"])
    assert session.of(Command.USER_MESSAGE)[0].target == handle.target == big


def test_qos_0_and_copies_are_shown_and_not_confirmed_but_a_promise_behind_a_copy_is(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    session.deliver(YOU, 64, b"light", qos=0)
    session.deliver(ME, 128, b"my own", qos=0, target=YOU)
    session.deliver(YOU, 192, b"copy", qos=0)
    session.deliver(YOU, 192, b"copy", qos=QOS1)
    light, own, promised = (take(client, MessageArrived) for _ in range(3))
    assert (light.is_copy, own.is_copy, own.target) == (False, True, YOU)
    wait_until(lambda: promised.qos == 1)
    with client.transaction() as transaction:
        transaction.done(light, own, promised)
    wait_until(lambda: confirmed(session) == [(YOU, 192)])
    assert len(scene.rows("SELECT * FROM myim_seen")) == 3


def test_confirmations_of_one_transaction_share_one_receipt(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    session.send(*(delivery(YOU, 64 * i, b"x") for i in range(1, 51)))
    events = [take(client, MessageArrived) for _ in range(50)]
    with client.transaction() as transaction:
        transaction.done(*events)
    wait_until(lambda: len(confirmed(session)) == 50)
    assert len(session.of(Command.RECEIPT)) == 1


def test_a_receipt_is_shown_once_and_answered_after_the_commit(scene: Scene) -> None:
    client = scene.connect()
    handle = client.send(YOU, b"x")
    session = scene.center.session()
    wait_until(lambda: session.bodies)
    session.settle(session.of(Command.USER_MESSAGE)[0], 2)
    handle.wait(10)
    session.tell_receipt((YOU, handle.time))
    event = take(client, ReceiptArrived)
    assert (event.target, event.time) == (YOU, handle.time)
    assert session.of(Command.RECEIPT, is_reply=True) == []
    event.done()
    wait_until(lambda: session.of(Command.RECEIPT, is_reply=True))
    answer = session.of(Command.RECEIPT, is_reply=True)[0]
    assert (answer.user, answer.target, answer.time, answer.content) == (0, ME, 640, b"")
    session.tell_receipt((YOU, handle.time), notice=704)
    wait_until(lambda: len(session.of(Command.RECEIPT, is_reply=True)) == 2)
    assert [event for event in client.take(0.1) if isinstance(event, ReceiptArrived)] == []
    assert scene.rows("SELECT * FROM myim_outbox") == []


def test_a_receipt_that_was_not_shown_comes_again_after_a_restart(scene: Scene) -> None:
    client = scene.connect()
    handle = client.send(YOU, b"x")
    session = scene.center.session()
    wait_until(lambda: session.bodies)
    session.settle(session.of(Command.USER_MESSAGE)[0], 2)
    handle.wait(10)
    session.tell_receipt((YOU, handle.time))
    take(client, ReceiptArrived)
    client = scene.connect()
    session = scene.center.session(2)
    session.tell_receipt((YOU, handle.time))
    assert take(client, ReceiptArrived).time == handle.time


def test_a_receipt_for_a_message_whose_settling_was_lost_settles_it(scene: Scene) -> None:
    client = scene.connect()
    handle = client.send(YOU, b"x")
    session = scene.center.session()
    wait_until(lambda: session.bodies)
    session.tell_receipt((YOU, handle.time))
    assert handle.wait(10).kind is OutcomeKind.RECEIVED
    wait_until(lambda: session.of(Command.RECEIPT, is_reply=True))


def test_settled_events_come_again_until_the_application_has_them(scene: Scene) -> None:
    client = scene.connect(settled_events=True)
    handle = client.send(YOU, b"x")
    session = scene.center.session()
    wait_until(lambda: session.bodies)
    session.settle(session.of(Command.USER_MESSAGE)[0], 1)
    assert take(client, MessageSettled).time == handle.time
    client = scene.connect(settled_events=True)
    session = scene.center.session(2)
    wait_until(lambda: session.bodies == [b"x"])
    session.settle(session.of(Command.USER_MESSAGE)[0], 1)
    event = take(client, MessageSettled)
    assert event.outcome.kind is OutcomeKind.RECEIVED
    event.done()
    assert scene.rows("SELECT * FROM myim_outbox") == []


def test_a_ping_is_answered(scene: Scene) -> None:
    scene.connect()
    session = scene.center.session()
    session.send(PING_ASK)
    wait_until(lambda: [m.flags for m in session.of(Command.PING)] == [0])


def test_goodbye_is_said_on_close_after_what_was_due(scene: Scene) -> None:
    client = scene.connect()
    client.send(YOU, b"last")
    client.close()
    session = scene.center.session()
    wait_until(lambda: session.is_ended)
    assert session.received[-1].command == Command.GOODBYE
    assert session.bodies == [b"last"]
    with pytest.raises(ClientClosed):
        client.send(YOU, b"too late")


def test_a_replaced_client_stops_for_good(scene: Scene) -> None:
    client = scene.connect()
    scene.center.session().goodbye(ErrorCode.REPLACED)
    event = take(client, Disconnected)
    assert (event.code, event.is_final) == (ErrorCode.REPLACED, True)
    assert client.take(1) == []
    assert len(scene.center.attempts) == 1


def test_a_draining_server_is_left_for_the_next_of_the_list(scene: Scene) -> None:
    other = ScriptedCenter(scene.terminal)
    scene.client = Client(scene.terminal, scene.path, servers=[scene.center.address, other.address])
    scene.client.connect(10)
    scene.center.session().goodbye(ErrorCode.DRAINING)
    assert other.session().number == 2
    other.close()


def test_the_list_a_center_tells_is_used_and_kept(scene: Scene) -> None:
    other = ScriptedCenter(scene.terminal)
    make = [Server(1, "center", "127.0.0.1", port, priority, 0, False) for port, priority in ((scene.center.port, 1), (other.port, 2))]
    scene.terminal, scene.path = make_profile(scene.path.parent.parent, servers=(make[0],))
    scene.center.servers = make
    scene.client = Client(scene.terminal, scene.path)
    scene.client.connect(10)
    wait_until(lambda: scene.client is not None and len(scene.client.courier.account.servers) == 2)
    scene.center.session().goodbye(ErrorCode.DRAINING)
    assert other.session().number == 2
    scene.leave()
    other.close()
    scene.client = Client(scene.terminal, scene.path)
    assert scene.client.courier.account.servers == tuple(make)


def test_a_stale_connection_number_is_raised_by_leaps(scene: Scene) -> None:
    scene.center.refusal = ErrorCode.STALE_CONNECTION
    client = Client(scene.terminal, scene.path, servers=[scene.center.address])
    scene.client = client
    client.connect(0)
    wait_until(lambda: len(scene.center.attempts) >= 3)
    scene.center.refusal = None
    client.connect(10)
    assert scene.center.attempts[2] > 1_000_000


def test_a_token_that_does_not_serve_asks_for_the_password(scene: Scene) -> None:
    scene.center.refusal = ErrorCode.TOKEN_EXPIRED
    client = Client(scene.terminal, scene.path, servers=[scene.center.address])
    scene.client = client
    with pytest.raises(NotConnected, match="TOKEN_EXPIRED"):
        client.connect(0.5)
    assert isinstance(take(client, PasswordNeeded), PasswordNeeded)


def test_the_token_is_renewed_at_half_its_life_and_used_at_the_next_connection(scene: Scene) -> None:
    scene.terminal, scene.path = make_profile(scene.path.parent.parent, renew_at=1)
    client = scene.connect()
    session = scene.center.session()
    wait_until(lambda: session.of(Command.TOKEN))
    scene.center.session_keys[b"renewed"] = bytes(32)
    session.reply(session.of(Command.TOKEN)[0], RenewedToken(b"renewed", bytes(32), 1_000_000, 3_000_000_000_000).encode())
    wait_until(lambda: client.courier.account.token == b"renewed")
    session.cut()
    scene.center.session(2)
    assert scene.center.tokens[-1] == b"renewed"
    assert scene.center.attempts == [1, 2]


def test_a_refused_renewal_asks_for_the_password_and_the_session_goes_on(scene: Scene) -> None:
    scene.terminal, scene.path = make_profile(scene.path.parent.parent, renew_at=1)
    client = scene.connect()
    session = scene.center.session()
    wait_until(lambda: session.of(Command.TOKEN))
    session.refuse(session.of(Command.TOKEN)[0], ErrorCode.RENEWAL_REFUSED)
    take(client, PasswordNeeded)
    session.deliver(YOU, 64, b"still here")
    take(client, MessageArrived)


def test_a_rekey_the_center_asks_for_loses_nothing(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    wait_until(lambda: session.of(Command.SERVERS))
    for round_number in range(3):
        session.ask_rekey()
        client.send(YOU, b"during %d" % round_number)
        wait_until(lambda: len([m for m in session.received if m.command == Command.REKEY and not m.content]) > round_number)  # noqa: B023
        session.deliver(YOU, 64 * (round_number + 1), b"after")
        take(client, MessageArrived).done()
    wait_until(lambda: len(session.bodies) == 3 and len(confirmed(session)) == 3)
    assert scene.center.errors == []


def test_a_name_is_looked_up_once_and_kept(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    found: list[int] = []
    asking = threading.Thread(target=lambda: found.append(client.user_id("Bob")))
    asking.start()
    wait_until(lambda: session.of(Command.LOOKUP))
    question = session.of(Command.LOOKUP)[0]
    assert decode_lookup(question.content) == "Bob"
    session.reply(question, FoundUser(YOU, "bob").encode())
    asking.join(10)
    assert found == [YOU]
    client = scene.connect()
    assert client.user_id("BOB") == YOU
    session = scene.center.session(2)
    session.deliver(YOU, 64, b"x")
    assert take(client, MessageArrived).name == "bob"
    assert session.of(Command.LOOKUP) == []


def test_an_unknown_name_is_said_to_be_unknown(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            client.send("nobody", b"x")
        except NameUnknown as error:
            raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: session.of(Command.LOOKUP))
    session.refuse(session.of(Command.LOOKUP)[0], ErrorCode.NOT_ALLOWED)
    asking.join(10)
    assert len(raised) == 1


def test_a_question_fails_with_its_session(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            client.user_id("bob")
        except NotConnected as error:
            raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: session.of(Command.LOOKUP))
    session.cut()
    asking.join(10)
    assert len(raised) == 1


@pytest.mark.parametrize("target", [0, -1, ME, 1 << 64])
def test_a_target_that_cannot_be_is_refused_at_once(scene: Scene, target: int) -> None:
    client = scene.connect()
    with pytest.raises(ValueError, match="not another user"):
        client.send(target, b"x")


def test_a_body_may_fill_32768_bytes_and_no_more(scene: Scene) -> None:
    client = scene.connect()
    client.send(YOU, bytes(32768))
    client.send(YOU, b"")
    with pytest.raises(BodyTooLarge):
        client.send(YOU, bytes(32769))
    session = scene.center.session()
    wait_until(lambda: [len(body) for body in session.bodies] == [32768, 0])


def test_qos_0_is_written_when_online_and_dropped_otherwise(scene: Scene) -> None:
    client = Client(scene.terminal, scene.path, servers=[scene.center.address])
    scene.client = client
    client.send(YOU, b"nobody hears", qos=0)
    client.connect(10)
    assert client.send(YOU, b"light", qos=0).wait(0).kind is OutcomeKind.UNKNOWN
    session = scene.center.session()
    wait_until(lambda: session.bodies == [b"light"])
    assert session.of(Command.USER_MESSAGE)[0].flags == 0


def test_threads_that_send_at_once_share_flushes_and_keep_their_own_order(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()

    def send(number: int) -> None:
        for i in range(20):
            client.send(YOU + 1 + number, b"%d" % i)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    wait_until(lambda: len(session.bodies) == 60)
    for number in range(3):
        messages = [m for m in session.of(Command.USER_MESSAGE) if m.target == YOU + 1 + number]
        assert [m.content for m in messages] == [b"%d" % i for i in range(20)]
    times = [message.time for message in session.of(Command.USER_MESSAGE)]
    assert times == sorted(set(times))


def test_a_profile_is_used_by_one_client_at_a_time(scene: Scene) -> None:
    scene.connect()
    with pytest.raises(ProfileRefused, match="in use"):
        Client(scene.terminal, scene.path)


def test_a_profile_of_another_terminal_needs_a_login(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(LoginNeeded):
        Client(Terminal.open(tmp_path / "other"), scene.path)


def test_a_client_without_a_server_says_why_it_is_not_connected(scene: Scene) -> None:
    scene.center.close()
    scene.client = Client(scene.terminal, scene.path, servers=[scene.center.address])
    with pytest.raises(NotConnected, match=r"127\.0\.0\.1"):
        scene.client.connect(0.3)
