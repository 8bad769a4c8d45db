"""An account is deleted at the login center of a real node: sessions end, friends and groups hear of it, nothing is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_server.node import Node
from myim_server.store.engine import Store
from myim_wire.errors import ErrorCode, ReportedError
from myim_wire.friend_contents import decode_friend_push
from myim_wire.login_flights import Granted, Refused
from myim_wire.messages import ERROR, REPLY, Command, decode_error
from tests.server.account_terminals import PASSWORD, Device, here
from tests.server.group_terminals import Member
from tests.server.running import Person, RawTerminal, make_person, online, start_node, wait_until
from tests.store.friends import befriend
from tests.store.traces import traces


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    started = start_node(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def store(node: Node) -> Store:
    assert node.store is not None
    return node.store


@pytest.fixture
def laptop(node: Node) -> Device:
    return Device(node, "laptop")


@pytest.fixture
def ann(laptop: Device) -> Person:
    return laptop.person("register", "ann")


@pytest.fixture
def bob(node: Node) -> Person:
    return make_person(node, "bob")


def code_of_settling(terminal: RawTerminal, named: int) -> ErrorCode:
    reply = terminal.settling_of(named)
    assert reply.flags & ERROR
    return ErrorCode(decode_error(reply.content).code)


def test_a_deleted_account_gets_an_empty_grant_its_sessions_end_and_its_password_is_worth_nothing(
    node: Node, laptop: Device, ann: Person
) -> None:
    terminal = here(node, ann)
    grant = laptop.grant("delete", "ann")
    assert (grant.user, grant.token, grant.session_key, grant.servers) == (0, b"", bytes(32), ())
    assert terminal.is_cut_off() is ErrorCode.TOKEN_REVOKED
    with pytest.raises(ReportedError) as refused:
        here(node, ann, 2)
    assert refused.value.code is ErrorCode.TOKEN_REVOKED
    for op in ("login", "delete", "password"):
        decision = laptop.decision(op, "ann", PASSWORD, "another horse entirely")
        assert isinstance(decision, Refused) and decision.code == ErrorCode.LOGIN_FAILED
    decision = laptop.decision("register", "ann")
    assert isinstance(decision, Refused) and decision.code == ErrorCode.NAME_TAKEN
    assert isinstance(laptop.decision("register", "annette"), Granted)


def test_a_wrong_password_deletes_nothing(laptop: Device, ann: Person) -> None:
    decision = laptop.decision("delete", "ann", "wrong password")
    assert isinstance(decision, Refused) and decision.code == ErrorCode.LOGIN_FAILED
    assert isinstance(laptop.decision("login", "ann"), Granted)


def test_who_writes_to_a_deleted_account_is_told_that_there_is_nobody(
    node: Node, store: Store, laptop: Device, ann: Person, bob: Person
) -> None:
    terminal = online(node, bob)
    terminal.settling_of(terminal.write(ann.user, b"stored"))
    laptop.grant("delete", "ann")
    wait_until(lambda: "offline_messages.target" not in traces(store, ann.user))
    assert code_of_settling(terminal, terminal.write(ann.user, b"late")) is ErrorCode.NOT_ALLOWED
    assert "offline_messages.target" not in traces(store, ann.user)


def test_friends_hear_that_their_lists_are_other(node: Node, store: Store, laptop: Device, ann: Person, bob: Person) -> None:
    befriend(store, ann.user, bob.user)
    terminal = online(node, bob)
    laptop.grant("delete", "ann")
    message = terminal.wait_for(lambda one: one.command == Command.FRIEND_CHANGE and not one.flags & REPLY)
    push = decode_friend_push(message.content)
    assert (push.event, push.version) == ("list", store.friends.state(bob.user).version)


def test_members_hear_who_has_their_group_now(node: Node, store: Store, laptop: Device, ann: Person, bob: Person) -> None:
    owner, member = Member(node, ann), Member(node, bob)
    group = owner.make_group()
    member.join(group)
    laptop.grant("delete", "ann")
    assert member.next_change("role").user == bob.user
    assert member.next_change("left").user == ann.user
    named = member.post(group, b"mine now")
    assert member.number_of(named) == 1


def test_within_seconds_nothing_is_left_of_it(node: Node, store: Store, laptop: Device, ann: Person, bob: Person) -> None:
    owner = Member(node, ann)
    owner.make_group()
    writer = online(node, bob)
    writer.settling_of(writer.write(ann.user, b"x"))
    befriend(store, ann.user, bob.user)
    laptop.grant("delete", "ann")
    expected = {"changes.user", "deletions.user", "friend_removals.friend"}
    wait_until(lambda: traces(store, ann.user) <= expected | {"receipts.target"})
