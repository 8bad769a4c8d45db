"""What a center counts of groups, and of what expired, it counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_server.node import Node
from myim_server.store.group_values import Post
from myim_server.store.offline import StoredMessage
from myim_wire.bodies import EXPIRED
from myim_wire.messages import Command, decode_pairs
from tests.server.group_terminals import Member
from tests.server.running import Person, start_node, wait_until


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = start_node(tmp_path / "data", delivery={"sweep_seconds": 0.4})
    yield node
    node.stop()


def test_posts_fetches_confirmations_and_what_is_removed_are_counted(node: Node, alice: Person, bob: Person) -> None:
    one = Member(node, alice)
    group = one.make_group()
    one.number_of(one.post(group, b"12345"))
    time = one.post(group, b"67")
    one.number_of(time)
    one.number_of(one.post(group, b"67", time=time))
    one.fetch_group(group, 1)
    one.confirm_groups((group, 1))
    one.confirm_groups((group, 2))
    one.confirm_groups((group, 2))
    metrics = node.metrics
    wait_until(lambda: metrics.group_rows_purged == 2)
    assert (metrics.group_posts, metrics.group_fetched, metrics.group_bytes_purged) == (2, 1, 7)
    assert metrics.group_confirmations in (1, 2)  # gathered, or not


def test_an_offer_is_counted(node: Node, alice: Person) -> None:
    one = Member(node, alice)
    group = one.make_group()
    store = node.store
    assert store is not None
    store.group_posts.post([Post(group, alice.user, 64, b"lost", 1, 1, 1)])
    one.next_offer()
    assert node.metrics.group_offers >= 1


def test_a_message_that_expires_is_counted_and_its_sender_told(node: Node, alice: Person, bob: Person) -> None:
    one = Member(node, alice)
    store = node.store
    assert store is not None
    store.offline.insert([StoredMessage(bob.user, alice.user, 128 | alice.slot, 1, b"x", 1, 1, accepted=1)])
    node._purge(store)
    told = one.wait_for(lambda message: message.command == Command.RECEIPT)
    assert decode_pairs(told.content) == (EXPIRED, [(bob.user, 128 | alice.slot)])
    assert node.metrics.messages_expired == 1


def test_gauges_say_what_is_stored_and_when_the_janitor_walked(node: Node, alice: Person) -> None:
    one = Member(node, alice)
    group = one.make_group()
    for body in (b"a", b"b"):
        one.number_of(one.post(group, body))
    assert node._role is not None
    node._role.groups.janitor.walk(node._trusted_wall())
    gauges = {name: value for name, _, value in node.metrics.gauges()}
    assert gauges["group_backlog_rows"] == 2
    assert gauges["group_backlog_oldest_seconds"] > 1e9 and gauges["group_janitor_last_run_seconds"] > 1e9
