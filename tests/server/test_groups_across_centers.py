"""Groups across centers: posts and changes reach members wherever they are; all of it is a hint, and who speaks for another is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import gevent
import pytest

from myim_server.chat.group_desk import News
from myim_server.store.group_changes import Removed
from myim_server.store.offline import StoredMessage
from myim_wire import group_peer_messages as wire
from myim_wire import group_requests as asked
from myim_wire.bodies import EXPIRED
from myim_wire.group_contents import GroupChanged
from myim_wire.messages import Command, decode_pairs
from tests.server.group_centers import GroupCenter, GroupTown, Guest


@pytest.fixture
def town(tmp_path: Path) -> Iterator[GroupTown]:
    town = GroupTown(tmp_path)
    yield town
    town.close()


@pytest.fixture
def one(town: GroupTown) -> GroupCenter:
    return town.halls[1]


@pytest.fixture
def two(town: GroupTown) -> GroupCenter:
    return town.halls[2]


def wait(town: GroupTown, guest: Guest, *posts: tuple[int, bytes]) -> None:
    town.settle(lambda: guest.posts == list(posts))


def said(town: GroupTown, kind: int) -> list[tuple[int, int]]:
    return [(source, to) for source, to, message in town.under_way if message[0] == kind]


def test_a_post_reaches_members_at_other_centers_with_its_number(town: GroupTown, one: GroupCenter, two: GroupCenter) -> None:
    alice, bob = one.come(town.alice), two.come(town.bob)
    alice.post(town.group.id, b"a", b"b")
    wait(town, bob, (1, b"a"), (2, b"b"))
    wait(town, alice, (1, b"a"), (2, b"b"))
    bob.post(town.group.id, b"c")
    wait(town, alice, (1, b"a"), (2, b"b"), (3, b"c"))


def test_a_center_without_members_says_so_and_is_told_no_more_until_one_comes(town: GroupTown, one: GroupCenter, two: GroupCenter) -> None:
    alice = one.come(town.alice)
    alice.post(town.group.id, b"a")
    town.settle(lambda: alice.numbers)
    town.pump()
    alice.post(town.group.id, b"b")
    town.settle(lambda: len(alice.numbers) == 2)
    assert said(town, wire.POSTED) == []
    bob = two.come(town.bob)
    town.pump()
    alice.post(town.group.id, b"c")
    wait(town, bob, (3, b"c"))


def test_a_link_that_ended_ends_what_was_said_on_it(town: GroupTown, one: GroupCenter, two: GroupCenter) -> None:
    alice = one.come(town.alice)
    alice.post(town.group.id, b"a")
    town.settle(lambda: alice.numbers)
    town.pump()
    town.cut(1, 2)
    bob = two.come(town.bob)
    town.link(1, 2)
    alice.post(town.group.id, b"b")
    wait(town, bob, (2, b"b"))


def test_who_joins_at_another_center_is_given_what_comes_after(town: GroupTown, one: GroupCenter, two: GroupCenter) -> None:
    alice, carol = one.come(town.alice), two.come(town.carol)
    alice.post(town.group.id, b"before")
    town.settle(lambda: alice.numbers)
    two.ask(town.carol, town.group.id, asked.Join())
    alice.post(town.group.id, b"after")
    wait(town, carol, (2, b"after"))
    assert "joined" in alice.events and "joined" in carol.events


def test_who_is_taken_in_by_somebody_at_another_center_is_given_what_comes_after(
    town: GroupTown, one: GroupCenter, two: GroupCenter
) -> None:
    alice, carol = one.come(town.alice), two.come(town.carol)
    one.ask(town.alice, town.group.id, asked.Change(join="approval"))
    two.ask(town.carol, town.group.id, asked.Join("please"))
    town.settle(lambda: "requested" in alice.events)
    one.ask(town.alice, town.group.id, asked.Approve(town.carol))
    town.settle(lambda: "joined" in carol.events)
    alice.post(town.group.id, b"welcome")
    wait(town, carol, (1, b"welcome"))


def test_who_was_removed_is_given_nothing_even_if_nobody_told_its_center(town: GroupTown, one: GroupCenter, two: GroupCenter) -> None:
    alice, bob = one.come(town.alice), two.come(town.bob)
    alice.post(town.group.id, b"a")
    wait(town, bob, (1, b"a"))
    assert town.store.groups.change(town.group.id, [town.bob], lambda view: [Removed(town.bob)], 1) is not None
    alice.post(town.group.id, b"secret")
    wait(town, alice, (1, b"a"), (2, b"secret"))
    town.settle(lambda: town.group.id not in two.hall.rooms)
    assert bob.posts == [(1, b"a")]


def test_a_post_that_found_no_room_on_the_link_is_offered(town: GroupTown, one: GroupCenter, two: GroupCenter) -> None:
    alice, bob = one.come(town.alice), two.come(town.bob)
    one.base.line.is_full_to = {2}
    alice.post(town.group.id, b"a")
    town.settle(lambda: alice.numbers)
    assert one.base.metrics.mesh_bounced == 1
    two.hall.sweep()
    two.hall.sweep()
    assert bob.offers == [1]


def test_who_joined_and_heard_of_it_from_nobody_is_found_and_offered_what_was_posted(
    town: GroupTown, one: GroupCenter, two: GroupCenter
) -> None:
    alice, carol = one.come(town.alice), two.come(town.carol)
    town.join(town.carol)
    alice.post(town.group.id, b"a")
    town.settle(lambda: alice.numbers)
    two.hall.sweep()
    assert carol.offers == []
    two.hall.look_round()
    assert carol.offers == [1] and two.hall.rooms.is_here(town.group.id, town.carol)
    alice.post(town.group.id, b"b")
    wait(town, carol, (2, b"b"))


def test_who_was_given_all_and_did_not_confirm_it_is_asked_again(town: GroupTown, one: GroupCenter) -> None:
    alice = one.come(town.alice)
    alice.post(town.group.id, b"a")
    wait(town, alice, (1, b"a"))
    one.hall.look_round()
    assert alice.offers == [1]
    town.store.group_cursors.move([(town.group.id, town.alice, 1)])
    one.hall.look_round()
    assert alice.offers == [1]


def test_a_round_looks_after_everybody_once(town: GroupTown, one: GroupCenter) -> None:
    alice, bob = one.come(town.alice), one.come(town.bob)
    alice.post(town.group.id, b"a")
    wait(town, bob, (1, b"a"))
    for _ in range(2):
        one.hall.look_round()
    assert alice.offers == bob.offers == [1]


def test_a_center_that_speaks_for_a_session_it_does_not_hold_is_not_believed(town: GroupTown, one: GroupCenter, two: GroupCenter) -> None:
    one.come(town.alice)
    bob = two.come(town.bob)
    forged = wire.encode_posted((town.alice, 0, 1, 1), town.group.id, 2, 3, [wire.Post(1, 1, 64, 1, b"forged")])
    town.under_way.append((3, 2, forged))
    town.pump()
    for _ in range(4):
        town.pass_time(1.0)
        town.pump()
    assert bob.posts == []


def test_who_joined_straight_in_the_store_is_found_by_the_sweep(town: GroupTown, one: GroupCenter) -> None:
    alice, carol = one.come(town.alice), one.come(town.carol)
    town.join(town.carol)
    one.hall.sweep()
    town.settle(lambda: one.hall.rooms.is_here(town.group.id, town.carol))
    alice.post(town.group.id, b"a")
    wait(town, carol, (1, b"a"))


def test_a_change_of_another_group_than_told_is_a_fault_of_the_peer(town: GroupTown, two: GroupCenter) -> None:
    from myim_wire.errors import RemoteProtocolError

    content = GroupChanged("left", 5, 2, 1, 1).encode()
    with pytest.raises(RemoteProtocolError):
        two.base.peers.table[wire.GROUP_CHANGED](1, wire.encode_group_changed(6, 2, [], content))


def test_senders_are_told_of_what_expired_wherever_they_are(town: GroupTown, one: GroupCenter, two: GroupCenter) -> None:
    alice, bob = one.come(town.alice), two.come(town.bob)
    rows = [StoredMessage(town.carol, user, 64 * number, 1, b"x", 1, number, number) for number, user in ((1, town.alice), (2, town.bob))]
    town.store.offline.insert(rows)
    one.expiry.tell(town.store.offline.purge_expired(1 << 60, 10).names)
    town.pump()
    for guest, time in ((alice, 64), (bob, 128)):
        told = [decode_pairs(message.content) for message in guest.session.told if message.command == Command.RECEIPT]
        assert told == [(EXPIRED, [(town.carol, time)])]


def test_a_link_that_ends_costs_no_walk_over_all_that_was_said_on_it(town: GroupTown, one: GroupCenter) -> None:
    spent = []
    for _ in range(3):
        for group in range(1, 99_000):
            one.peers.table[wire.UNINTERESTED](2, wire.encode_uninterested(group))
            one.peers.table[wire.UNINTERESTED](3, wire.encode_uninterested(group))
        began = perf_counter()
        one.peers.lost(2)
        spent.append(perf_counter() - began)
    assert min(spent) < 0.01


def test_while_a_thousand_are_invited_others_have_their_turn(town: GroupTown, one: GroupCenter) -> None:
    told: list[int] = []
    turns: set[int] = set()

    def others() -> None:
        turns.add(len(told))

    def tell(news: News) -> None:
        told.append(news.change.user)
        gevent.get_hub().loop.run_callback(others)

    one.hall.on_news = tell
    users = town.store.accounts.create_all([(f"guest{number}", f"guest{number}", "no password") for number in range(300)], 1)
    one.ask(town.bob, 0, asked.Create("many", invited=tuple(users)))
    gevent.sleep(0)
    assert len(told) == 301 and len(turns) > 8
