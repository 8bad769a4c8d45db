"""Sending through a client, against a scripted center: windows, order, retries, outcomes, the outbox over restarts."""

from __future__ import annotations

import threading

import pytest

from myim_client import (
    BodyTooLarge,
    Client,
    Connected,
    OfflineDone,
    OutcomeKind,
)
from myim_wire.errors import ErrorCode
from myim_wire.messages import FIRST, PING_ASK, QOS1, Command, slot_of
from tests.client.scene import Scene, take
from tests.client.scripted_center import ME, SLOT, YOU, wait_until


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
    early = b"more than a first record may hold".ljust(20_000)
    handle = client.send(YOU, early)
    client.connect(10)
    session = scene.center.session()
    wait_until(lambda: session.bodies == [early])
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
