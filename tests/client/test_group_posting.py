"""Posting to groups, against a scripted center: outcomes with numbers, order and retries as for users, the outbox over restarts."""

from __future__ import annotations

import pytest

from myim_client import BodyTooLarge, Client, MessageSettled, OutcomeKind, ReceiptArrived
from myim_wire.errors import ErrorCode
from myim_wire.messages import FIRST, QOS1, Command, Message
from tests.client.scene import Scene, take
from tests.client.scripted_center import ME, YOU, Session, wait_until

TEAM, OTHER = 900, 901


def posts(session: Session, count: int = 1) -> list[Message]:
    """The posts that came, as soon as there are so many."""
    wait_until(lambda: len(session.of(Command.GROUP_MESSAGE)) >= count)
    return session.of(Command.GROUP_MESSAGE)


def test_a_post_is_settled_by_its_number_and_over(scene: Scene) -> None:
    client = scene.connect()
    handle = client.post(TEAM, "grüß euch")
    session = scene.center.session()
    (message,) = posts(session)
    assert (message.user, message.target, message.time, message.content) == (ME, TEAM, handle.time, "grüß euch".encode())
    assert message.flags == QOS1 | FIRST
    session.settle_post(message, 7)
    outcome = handle.wait(10)
    assert (outcome.kind, outcome.number, outcome.is_settled, client.unsettled) == (OutcomeKind.STORED, 7, True, 0)
    session.tell_receipt((TEAM, handle.time))  # of posts there are no receipts
    wait_until(lambda: session.of(Command.RECEIPT, is_reply=True))
    assert [event for event in client.take(0.1) if isinstance(event, ReceiptArrived)] == []
    scene.leave()
    assert scene.rows("SELECT * FROM myim_outbox") == []


def test_the_posts_of_a_transaction_are_kept_with_it_and_settled_events_say_that_they_are_posts(scene: Scene) -> None:
    client = scene.connect(settled_events=True)
    with client.transaction() as transaction:
        handle = transaction.post(TEAM, b"x")
    session = scene.center.session()
    session.settle_post(posts(session)[0], 7)
    event = take(client, MessageSettled)
    assert (event.target, event.time, event.is_post, event.outcome.number) == (TEAM, handle.time, True, 7)
    event.done()
    assert scene.rows("SELECT * FROM myim_outbox") == []


@pytest.mark.parametrize("code", [ErrorCode.NOT_MEMBER, ErrorCode.MUTED, ErrorCode.NOT_ALLOWED, ErrorCode.ID_CONFLICT])
def test_a_final_refusal_is_the_outcome_and_those_behind_go_on(scene: Scene, code: ErrorCode) -> None:
    client = scene.connect()
    refused, later = client.post(TEAM, b"1"), client.post(TEAM, b"2")
    session = scene.center.session()
    first, second = posts(session, 2)
    session.refuse(first, code)
    assert (refused.wait(10).kind, refused.wait(10).code) == (OutcomeKind.REFUSED, code)
    session.refuse(second, ErrorCode.OUT_OF_ORDER)
    again = posts(session, 3)[2]
    assert (again.time, again.flags) == (second.time, QOS1 | FIRST)
    session.settle_post(again, 1)
    assert later.wait(10).number == 1


def test_a_refusal_that_invites_it_holds_that_group_alone(scene: Scene) -> None:
    client = scene.connect()
    handles = [client.post(TEAM, b"1"), client.post(TEAM, b"2"), client.post(OTHER, b"3")]
    session = scene.center.session()
    first, second, other = posts(session, 3)
    assert [bool(message.flags & FIRST) for message in (first, second, other)] == [True, False, True]
    session.refuse(first, ErrorCode.STORE_UNAVAILABLE, 10)
    session.settle_post(other, 1)
    session.refuse(second, ErrorCode.OUT_OF_ORDER)
    again = posts(session, 5)[3:]
    assert [(message.time, bool(message.flags & FIRST)) for message in again] == [(first.time, True), (second.time, False)]
    for number, message in enumerate(again, 1):
        session.settle_post(message, number)
    assert [handle.wait(10).number for handle in handles] == [1, 2, 1]


def test_a_group_and_a_user_of_one_number_are_two_targets(scene: Scene) -> None:
    client = scene.connect()
    post, message = client.post(YOU, b"to all"), client.send(YOU, b"to one")
    session = scene.center.session()
    (came,) = posts(session)
    wait_until(lambda: session.bodies)
    assert came.flags == session.of(Command.USER_MESSAGE)[0].flags == QOS1 | FIRST
    session.refuse(came, ErrorCode.NOT_MEMBER)
    session.settle(session.of(Command.USER_MESSAGE)[0], 1)
    assert (post.wait(10).kind, message.wait(10).kind) == (OutcomeKind.REFUSED, OutcomeKind.RECEIVED)


def test_a_receipt_for_a_user_of_a_groups_number_settles_no_post(scene: Scene) -> None:
    client = scene.connect()
    handle = client.post(TEAM, b"x")
    session = scene.center.session()
    session.tell_receipt((TEAM, posts(session)[0].time))
    wait_until(lambda: session.of(Command.RECEIPT, is_reply=True))
    assert (handle.outcome, client.unsettled) == (None, 1)


def test_posts_are_sent_again_at_every_session_and_after_a_restart_with_the_same_name(scene: Scene) -> None:
    client = scene.connect()
    client.post(TEAM, b"1")
    client.send(YOU, b"between")
    client.post(TEAM, b"2")
    sent = posts(scene.center.session(), 2)
    scene.connect()
    session = scene.center.session(2)
    again = posts(session, 2)
    assert [(message.time, message.content) for message in again] == [(message.time, message.content) for message in sent]
    assert session.bodies == [b"between"]
    assert [bool(message.flags & FIRST) for message in again] == [True, False]


def test_qos_0_is_written_when_online_and_kept_nowhere(scene: Scene) -> None:
    client = Client(scene.terminal, scene.path, servers=[scene.center.address])
    scene.client = client
    client.post(TEAM, b"nobody hears", qos=0)
    client.connect(10)
    assert client.post(TEAM, b"light", qos=0).wait(0).kind is OutcomeKind.UNKNOWN
    (message,) = posts(scene.center.session())
    assert (message.content, message.flags, message.target) == (b"light", 0, TEAM)


@pytest.mark.parametrize("group", [0, -1, 1 << 64])
def test_a_group_that_cannot_be_is_refused_at_once(scene: Scene, group: int) -> None:
    client = scene.connect()
    with pytest.raises(ValueError, match="not a group's id"):
        client.post(group, b"x")
    with client.transaction() as transaction, pytest.raises(ValueError, match="not a group's id"):
        transaction.post(group, b"x")


def test_a_body_may_fill_32768_bytes_and_no_more(scene: Scene) -> None:
    client = scene.connect()
    client.post(TEAM, bytes(32768))
    with pytest.raises(BodyTooLarge):
        client.post(TEAM, bytes(32769))
