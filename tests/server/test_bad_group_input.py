"""What a center does with what nobody should say to groups: a code and a field, and nobody else is disturbed (reliability, rows 58 ff)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgpack
import pytest

from myim_server.config_sections import GroupsSection
from myim_server.node import Node
from myim_wire.errors import ErrorCode
from myim_wire.group_requests import Create, Invite, Join
from myim_wire.messages import ERROR, FIRST, QOS1, Command, decode_error, encode_message
from tests.server.group_terminals import Member
from tests.server.running import Person, config, make_person, start_node

ME, OTHER = "the user's id", "another's id"
POST, FETCH, GROUP = 0x03, 0x0A, 0x0F


class Said(NamedTuple):
    """What a terminal says: user and target are ids, or stand for one."""

    user: int | str
    target: int | str
    command: int
    flags: int
    content: bytes
    slot: int = 0


def packed(value: object) -> bytes:
    return bytes(msgpack.packb(value))


def asked(target: int = 0, /, **fields: object) -> Said:
    return Said(ME, target, GROUP, QOS1, packed(fields))


def made(**fields: object) -> Said:
    return asked(**({"op": "create", "name": "x", "description": "", "join": "open", "invited": []} | fields))


REFUSED: dict[str, tuple[Said, ErrorCode, str | None]] = {
    "a fetch of no group": (Said(ME, 4711, FETCH, QOS1, packed({"after": 0})), ErrorCode.NOT_MEMBER, None),
    "a fetch of a group from nowhere": (Said(ME, 4711, FETCH, QOS1, packed({"after": -1})), ErrorCode.BAD_COMMAND, "after"),
    "a fetch of a group from beyond": (Said(ME, 4711, FETCH, QOS1, packed({"after": (1 << 64) - 1})), ErrorCode.NOT_MEMBER, None),
    "a post to no group": (Said(ME, 4711, POST, QOS1 | FIRST, b"x"), ErrorCode.NOT_MEMBER, None),
    "a post to a group beyond all": (Said(ME, (1 << 64) - 1, POST, QOS1 | FIRST, b"x"), ErrorCode.NOT_MEMBER, None),
    "a post to a user": (Said(ME, OTHER, POST, QOS1 | FIRST, b"x"), ErrorCode.NOT_MEMBER, None),
    "a post to nobody": (Said(ME, 0, POST, QOS1 | FIRST, b"x"), ErrorCode.BAD_COMMAND, "target"),
    "a post without first": (Said(ME, 4711, POST, QOS1, b"x"), ErrorCode.OUT_OF_ORDER, None),
    "a post as another": (Said(OTHER, 4711, POST, QOS1 | FIRST, b"x"), ErrorCode.BAD_COMMAND, "user"),
    "a post with a foreign slot": (Said(ME, 4711, POST, QOS1 | FIRST, b"x", slot=9), ErrorCode.BAD_TIME, "time"),
    "a post one byte too long": (Said(ME, 4711, POST, QOS1 | FIRST, bytes(32769)), ErrorCode.TOO_LARGE, "content"),
    "a QoS 0 post as another": (Said(OTHER, 4711, POST, 0, b"x"), ErrorCode.BAD_COMMAND, "user"),
    "a group request without content": (Said(ME, 0, GROUP, QOS1, b""), ErrorCode.BAD_COMMAND, None),
    "a group request for nothing": (Said(ME, 0, GROUP, QOS1, packed({})), ErrorCode.BAD_COMMAND, "op"),
    "a group request for what is none": (Said(ME, 0, GROUP, QOS1, packed({"op": "destroy"})), ErrorCode.BAD_COMMAND, "op"),
    "a group without a name": (made(name=""), ErrorCode.NAME_INVALID, "name"),
    "a group with an endless name": (made(name="x" * 10_240), ErrorCode.BAD_COMMAND, "name"),
    "a group whose name turns round": (made(name="a\u202eb"), ErrorCode.NAME_INVALID, "name"),
    "a group with an endless description": (made(description="x" * 1001), ErrorCode.BAD_COMMAND, "description"),
    "a group described by controls": (made(description="\0"), ErrorCode.BAD_COMMAND, "description"),
    "a group joined by magic": (made(join="magic"), ErrorCode.BAD_COMMAND, "join"),
    "a group of nobodies": (made(invited=[4711]), ErrorCode.NOT_ALLOWED, "invited"),
    "a group of too many": (made(invited=list(range(1, 1002))), ErrorCode.BAD_COMMAND, "invited"),
    "a group of names": (made(invited=["bob"]), ErrorCode.BAD_COMMAND, None),
    "a group that has an id before it is made": (
        Said(ME, 4711, GROUP, QOS1, made().content), ErrorCode.BAD_COMMAND, "target"
    ),
    "joining no group": (asked(4711, op="join", words=""), ErrorCode.NOT_ALLOWED, None),
    "joining group 0": (asked(0, op="join", words=""), ErrorCode.NOT_ALLOWED, None),
    "joining with controls": (asked(4711, op="join", words="\0"), ErrorCode.BAD_COMMAND, "words"),
    "muting for a negative time": (asked(4711, op="mute", user=1, seconds=-1), ErrorCode.BAD_COMMAND, "seconds"),
    "changing nothing": (asked(4711, op="change"), ErrorCode.BAD_COMMAND, "op"),
    "a role that is none": (asked(4711, op="role", user=1, role="king"), ErrorCode.BAD_COMMAND, "role"),
    "members of no group": (asked(4711, op="members", after=0), ErrorCode.NOT_ALLOWED, None),
    "members after beyond": (asked(4711, op="members", after=-1), ErrorCode.BAD_COMMAND, "after"),
    "a group request as another": (Said(OTHER, 0, GROUP, QOS1, made().content), ErrorCode.BAD_COMMAND, "user"),
    "a group request with a foreign slot": (Said(ME, 0, GROUP, QOS1, made().content, slot=9), ErrorCode.BAD_TIME, "time"),
    "inviting nobody": (asked(4711, op="invite", users=[]), ErrorCode.BAD_COMMAND, "users"),
    "inviting 0": (asked(4711, op="invite", users=[-1]), ErrorCode.BAD_COMMAND, None),
    "a list of a group": (asked(4711, op="list", after=0), ErrorCode.BAD_COMMAND, "target"),
    "dissolving a user": (Said(ME, OTHER, GROUP, QOS1, packed({"op": "dissolve"})), ErrorCode.NOT_ALLOWED, None),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    running = start_node(Path(tmp_path_factory.mktemp("node")))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def people(node: Node) -> tuple[Person, Person]:
    return make_person(node, "alice"), make_person(node, "bob")


@pytest.fixture(scope="module")
def terminal(node: Node, people: tuple[Person, Person]) -> Member:
    return Member(node, people[0])


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_said_to_groups_is_refused_with_its_code_and_the_connection_stays(
    people: tuple[Person, Person], terminal: Member, name: str
) -> None:
    said, code, field = REFUSED[name]
    ids: dict[int | str, int] = {ME: people[0].user, OTHER: people[1].user}
    named = terminal.name() & ~63 | said.slot
    user, target = ids.get(said.user, said.user), ids.get(said.target, said.target)
    assert isinstance(user, int) and isinstance(target, int)
    terminal.say(encode_message(said.command, said.flags, user, target, named, said.content))
    refusal = terminal.wait_for(lambda got: got.time == named and got.command == said.command)
    told = decode_error(refusal.content)
    assert told.code == code
    assert field is None or told.field == field
    assert terminal.fetch() == 0


def test_a_group_has_no_more_members_and_a_user_no_more_groups_than_configured(tmp_path: Path) -> None:
    small = config(tmp_path / "data").model_copy(update={"groups": GroupsSection(members=2, per_user=2, pending=1)})
    node = Node(small)
    node.build()
    node.start()
    try:
        alice, bob, carol = (Member(node, make_person(node, name)) for name in ("alice", "bob", "carol"))
        group = alice.make_group()
        alice.state(group, Invite((bob.person.user,)))
        assert alice.refusal(group, Invite((carol.person.user,))) is ErrorCode.LIMIT_REACHED
        bob.join(group)
        assert carol.refusal(group, Join()) is ErrorCode.LIMIT_REACHED
        alice.make_group()
        assert alice.refusal(0, Create("third")) is ErrorCode.LIMIT_REACHED
    finally:
        node.stop()


def test_invitations_of_others_take_no_place_and_a_repeat_at_the_limit_finds_the_group(tmp_path: Path) -> None:
    small = config(tmp_path / "data").model_copy(update={"groups": GroupsSection(per_user=2)})
    node = Node(small)
    node.build()
    node.start()
    try:
        alice, bob = Member(node, make_person(node, "alice")), Member(node, make_person(node, "bob"))
        for name in ("one", "two"):
            alice.state(0, Create(name, invited=(bob.person.user,)))
        assert bob.make_group("mine")
        named = bob.name()
        for _ in range(2):
            bob.say(encode_message(Command.GROUP, QOS1, bob.person.user, 0, named, Create("second").encode()))
        replies = [bob.wait_for(lambda one: one.command == Command.GROUP and one.time == named) for _ in range(2)]
        assert [bool(reply.flags & ERROR) for reply in replies] == [False, False] and replies[0].content == replies[1].content
    finally:
        node.stop()
