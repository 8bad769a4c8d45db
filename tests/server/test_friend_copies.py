"""After any changes on any terminals every terminal's copy is the store's list, and it fetched only what differed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_server.node import Node
from myim_wire.friend_requests import (
    Accept,
    AddGroup,
    Ask,
    Block,
    ChangeGroup,
    FriendChangeRequest,
    Ignore,
    MoveFriend,
    Refuse,
    Remark,
    RemoveFriend,
    RemoveGroup,
    SetProfile,
    Unblock,
    Withdraw,
)
from myim_wire.messages import Command
from tests.server.friend_terminals import Friendly
from tests.server.running import add_terminal, make_person, start_node

STEPS = 80


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = start_node(tmp_path / "data", friends={"changes_kept": 2, "asks_per_minute": 10_000, "profiles_per_minute": 10_000})
    yield node
    node.stop()


def step(draw: random.Random, terminal: Friendly, users: list[int]) -> None:
    """One request, allowed or not."""
    other = draw.choice(users)
    groups = [*terminal.copy.groups, 9]
    kinds: list[FriendChangeRequest] = [
        Ask(other), Ask(other), Accept(other, draw.choice(groups)), Accept(other), Refuse(other), Ignore(other), Withdraw(other),
        RemoveFriend(other), Block(other), Unblock(other), Remark(other, f"é{draw.randrange(9)}"), MoveFriend(other, draw.choice(groups)),
        AddGroup(f"g{draw.randrange(9)}", draw.randrange(3)), ChangeGroup(draw.choice(groups), position=draw.randrange(9)),
        RemoveGroup(draw.choice(groups)),
    ]  # fmt: skip
    if draw.random() < 0.2:
        terminal.set_profile(SetProfile(signature=f"字{draw.randrange(3)}"))
    else:
        terminal.reply(Command.FRIEND_CHANGE, draw.choice(kinds))


@pytest.mark.parametrize("seed", range(3))
def test_every_terminals_copy_becomes_the_stores_list(node: Node, seed: int) -> None:
    draw = random.Random(seed)
    people = [make_person(node, f"user{number}") for number in range(4)]
    people += [add_terminal(node, person.user, bytes([number + 1]) * 32) for number, person in enumerate(people)]
    terminals = [Friendly(node, person) for person in people]
    users = [person.user for person in people[:4]]
    for _ in range(STEPS):
        terminal = draw.choice(terminals)
        step(draw, terminal, users)
        if draw.random() < 0.3:
            sync_and_prove(draw.choice(terminals))
    for terminal in terminals:
        sync_and_prove(terminal)
    for one, two in zip(terminals[:4], terminals[4:], strict=True):
        assert (one.copy.friends, one.copy.groups, one.copy.root) == (two.copy.friends, two.copy.groups, two.copy.root)
        for friend in one.copy.friends:
            assert one.person.user in terminals[users.index(friend)].copy.friends
        before = one.copy.fetched
        assert one.sync().changed == () and one.copy.fetched == before


def sync_and_prove(terminal: Friendly) -> None:
    """The copy becomes the list, which its root proves; a friend that is sent one by one is one that changed."""
    version, before, fetched = terminal.copy.version, dict(terminal.copy.friends), terminal.copy.fetched
    answer = terminal.sync()
    assert (answer.version == version) <= (before == terminal.copy.friends and terminal.copy.fetched == fetched)
    if answer.has_changes and answer.version == version + 1:
        assert all(before.get(friend.user) != friend for friend in answer.changed)
