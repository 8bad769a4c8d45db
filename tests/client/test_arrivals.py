"""What arrives at a client: shown once, confirmed after the commit, shared transactions, copies, receipts, settled events."""

from __future__ import annotations

import sqlite3

import pytest

from myim_client import (
    MessageArrived,
    MessageExpired,
    MessageSettled,
    OutcomeKind,
    ReceiptArrived,
)
from myim_client.events import Event
from myim_wire.messages import PING_ASK, QOS1, Command
from tests.client.scene import Scene, confirmed, take
from tests.client.scripted_center import ME, YOU, delivery, wait_until


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


def test_a_commit_that_fails_confirms_nothing(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    session.deliver(YOU, 64, b"x")
    event = take(client, MessageArrived)
    client.profile.execute("PRAGMA foreign_keys = ON")
    with client.transaction() as transaction:
        transaction.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        transaction.execute("CREATE TABLE b (a INTEGER REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(sqlite3.IntegrityError):
        with client.transaction() as transaction:
            transaction.execute("INSERT INTO b VALUES (1)")
            transaction.done(event)
    client.send(YOU, b"flushes all that is due")
    wait_until(lambda: session.bodies)
    assert confirmed(session) == []
    assert take(client, MessageArrived) is event


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


def test_a_message_that_expired_is_told_and_its_receipt_awaited_no_more(scene: Scene) -> None:
    client = scene.connect()
    handle = client.send(YOU, b"x")
    session = scene.center.session()
    wait_until(lambda: session.bodies)
    session.settle(session.of(Command.USER_MESSAGE)[0], 2)
    handle.wait(10)
    session.tell_expired((YOU, handle.time), (YOU, 64), (ME, handle.time))
    event = take(client, MessageExpired)
    assert (event.target, event.time) == (YOU, handle.time)
    session.tell_expired((YOU, handle.time))
    session.tell_receipt((YOU, handle.time))
    wait_until(lambda: session.of(Command.RECEIPT, is_reply=True))
    assert [event for event in client.take(0.1) if isinstance(event, MessageExpired | ReceiptArrived)] == []
    scene.leave()
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


def test_a_receipt_for_a_message_whose_settling_was_lost_settles_it_and_is_answered_only_once_it_was_shown(scene: Scene) -> None:
    client = scene.connect()
    handle = client.send(YOU, b"x")
    session = scene.center.session()
    wait_until(lambda: session.bodies)
    session.tell_receipt((YOU, handle.time))
    assert handle.wait(10).kind is OutcomeKind.STORED
    events: list[Event] = []
    while not (events and isinstance(events[-1], ReceiptArrived)):
        events += client.take(10)
    session.send(PING_ASK)
    wait_until(lambda: session.of(Command.PING))
    assert not session.of(Command.RECEIPT, is_reply=True)  # were the application killed now, the center would tell it again
    with client.transaction() as transaction:
        transaction.done(*events)
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
