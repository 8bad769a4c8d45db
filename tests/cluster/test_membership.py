"""Who belongs to the cluster, merged from the config, the directory and what peers say."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.directory import Server
from cluster.membership import KEPT_SECONDS, MEMBER, UNMET_SECONDS, Member, Membership
from cluster.memory_directory import MemoryDirectory
from myim_wire.errors import RemoteProtocolError
from myim_wire.packing import pack_map

ME, EAST, WEST, FRONT = 10, 20, 30, 40


def server(node: int, role: str = "center", **changes: Any) -> Server:
    link = "" if role == "endpoint" else f"10.0.0.{node}:7420"
    return Server(node, role, f"im{node}", 7401, 10, 0, False, link, 100)._replace(**changes)


class World:
    """A membership, its directory, its clock."""

    def __init__(self, *static: str) -> None:
        self.time = 50.0
        self.directory = MemoryDirectory()
        self.membership = Membership(self.directory, static, ME, lambda: self.time)

    def tell(self, node: int, *servers: Server) -> None:
        other = Membership(MemoryDirectory(), [], node, lambda: 0.0)
        other.publish(servers)
        message = other.announce()
        assert message[0] == MEMBER
        self.membership.took(node, message[1:])


def test_static_peers_come_first_in_their_order_then_the_listed_by_node() -> None:
    world = World("b:1", "a:1", "b:1")
    for node in (WEST, EAST):
        world.directory.publish_server(server(node))
    assert world.membership.members() == [
        Member("b:1"), Member("a:1"), Member("10.0.0.20:7420", EAST), Member("10.0.0.30:7420", WEST),
    ]  # fmt: skip


def test_we_are_never_our_own_peer() -> None:
    world = World("10.0.0.10:7420", "me.example:7420", "a:1")
    world.membership.publish([server(ME), server(ME, "login")])
    assert world.membership.members() == [Member("me.example:7420"), Member("a:1")]
    assert not world.membership.is_self("me.example:7420")
    world.membership.learned("me.example:7420", ME)
    assert world.membership.is_self("me.example:7420")
    assert world.membership.members() == [Member("a:1")]


def test_an_address_that_is_ours_by_the_directory_of_an_earlier_life_is_not_dialled() -> None:
    world = World()
    world.directory.publish_server(server(ME, incarnation=1))
    assert world.membership.members() == [] and world.membership.servers() == []


def test_a_static_peer_and_its_listing_are_one_once_it_is_known_who_answers_there() -> None:
    world = World("a:1")
    world.directory.publish_server(server(EAST))
    assert len(world.membership.members()) == 2
    world.membership.learned("a:1", EAST)
    assert world.membership.members() == [Member("a:1", EAST)]


def test_a_static_peer_listed_with_the_same_address_is_one_from_the_start() -> None:
    world = World("10.0.0.20:7420")
    world.directory.publish_server(server(EAST))
    assert world.membership.members() == [Member("10.0.0.20:7420", EAST)]


def test_who_answered_before_it_was_listed_is_one_with_its_listing() -> None:
    world = World("a:1")
    world.membership.learned("a:1", EAST)
    world.tell(EAST, server(EAST))
    assert world.membership.members() == [Member("a:1", EAST)]


def test_a_node_that_began_a_new_life_is_tried_at_both_addresses() -> None:
    world = World("a:1")
    world.directory.publish_server(server(EAST))
    world.membership.learned("a:1", EAST)
    world.directory.publish_server(server(EAST, link="elsewhere:2", incarnation=200))
    assert world.membership.members() == [Member("a:1"), Member("elsewhere:2", EAST)]


def test_nobody_is_dialled_who_has_no_link_door_and_no_endpoint() -> None:
    world = World()
    world.directory.publish_server(server(EAST, link=""))
    world.tell(WEST, server(FRONT, "endpoint", link="10.0.0.40:1"))
    assert world.membership.members() == []


def test_a_node_of_two_roles_is_one_peer() -> None:
    world = World()
    world.directory.publish_server(server(EAST, "login"))
    assert world.membership.members() == [Member("10.0.0.20:7420", EAST, role="login")]
    world.directory.publish_server(server(EAST))
    assert world.membership.members() == [Member("10.0.0.20:7420", EAST)]


def test_servers_are_the_union_of_directory_peers_and_ourselves_best_first() -> None:
    world = World()
    world.membership.publish([server(ME, priority=30)])
    world.directory.publish_server(server(EAST, priority=20))
    world.tell(WEST, server(WEST, priority=10), server(FRONT, "endpoint", priority=5))
    assert [(one.node, one.role) for one in world.membership.servers()] == [
        (FRONT, "endpoint"), (WEST, "center"), (EAST, "center"), (ME, "center"),
    ]  # fmt: skip


@pytest.mark.parametrize(("listed", "told", "load"), [(1, 2, 7), (2, 1, 3), (2, 2, 7)])
def test_the_newest_incarnation_counts_and_the_peers_own_word_before_the_directory(listed: int, told: int, load: int) -> None:
    world = World()
    world.directory.publish_server(server(EAST, incarnation=listed, load=3))
    world.tell(EAST, server(EAST, incarnation=told, load=7))
    assert [one.load for one in world.membership.servers()] == [load]


def test_of_ourselves_only_our_own_word_counts() -> None:
    world = World()
    world.membership.publish([server(ME, load=1)])
    world.directory.publish_server(server(ME, load=99, incarnation=999))
    world.tell(EAST, server(EAST, load=5), server(ME, "endpoint", load=98))
    assert [(one.node, one.role, one.load) for one in world.membership.servers()] == [(ME, "center", 1), (EAST, "center", 5)]


def test_what_a_peer_told_is_forgotten_fifteen_seconds_after_its_link_ended() -> None:
    world = World()
    world.tell(EAST, server(EAST))
    world.time += 1000
    assert len(world.membership.servers()) == 1
    world.membership.lost(EAST)
    world.time += KEPT_SECONDS - 0.1
    assert len(world.membership.servers()) == 1
    world.time += 0.2
    assert world.membership.servers() == [] and world.membership.members() == []


def test_a_peer_that_came_back_in_time_is_kept() -> None:
    world = World()
    world.tell(EAST, server(EAST))
    world.membership.lost(EAST)
    world.tell(EAST, server(EAST, load=5))
    world.time += 2 * KEPT_SECONDS
    assert [one.load for one in world.membership.servers()] == [5]


def test_an_endpoint_that_left_us_is_not_listed_any_more_unless_another_center_has_it() -> None:
    world = World()
    world.membership.publish([server(ME), server(FRONT, "endpoint")])
    world.membership.publish([server(ME)])
    assert [one.node for one in world.membership.servers()] == [ME]
    world.tell(EAST, server(FRONT, "endpoint"))
    assert [one.node for one in world.membership.servers()] == [ME, FRONT]


def test_what_is_here_is_put_into_the_directory_but_for_endpoints_which_may_leave_before_this_node_does() -> None:
    world = World()
    world.membership.publish([server(ME), server(FRONT, "endpoint")])
    assert list(world.directory.servers()) == [server(ME)]


class Silent(MemoryDirectory):
    """A directory that answers when the test says so."""

    is_available = False


def test_until_a_directory_has_answered_there_may_be_centers_that_nobody_knows() -> None:
    directory = Silent()
    membership = Membership(directory, [], ME, lambda: 0.0)
    assert membership.is_unsure()
    directory.is_available = True
    assert not membership.is_unsure()
    directory.is_available = False
    assert not membership.is_unsure()  # all that it listed are known


def test_a_center_that_went_while_the_directory_was_silent_may_be_there_all_the_same() -> None:
    world = World()
    directory = world.directory = Silent()
    world.membership = Membership(directory, [], ME, lambda: world.time)
    directory.is_available = True
    world.tell(EAST, server(EAST))
    world.tell(WEST, server(WEST, "login"))
    assert not world.membership.is_unsure()
    directory.is_available = False
    world.membership.lost(WEST)
    assert not world.membership.is_unsure()
    world.membership.lost(EAST)
    world.time += KEPT_SECONDS + 1
    assert world.membership.servers() == [] and world.membership.is_unsure()
    world.tell(EAST, server(EAST))
    assert not world.membership.is_unsure()
    world.membership.lost(EAST)
    directory.is_available = True
    assert not world.membership.is_unsure()


def test_whoever_the_config_names_may_be_there_until_he_was_met_or_a_minute_is_over() -> None:
    world = World("10.0.0.20:7420", "a:1", "10.0.0.10:7420")
    world.membership.publish([server(ME)])
    assert world.membership.is_unsure()
    world.tell(EAST, server(EAST))
    assert world.membership.is_unsure()
    world.membership.learned("a:1", WEST)
    assert not world.membership.is_unsure()
    other = World("b:1")
    other.time += UNMET_SECONDS
    assert not other.membership.is_unsure()


def entry(**changes: object) -> dict[str, object]:
    return {
        "node": EAST, "role": "center", "host": "h", "port": 1, "priority": 1, "load": 1, "draining": False, "link": "h:2",
        "incarnation": 1, **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff" * 20,
        pack_map({}),
        pack_map({"servers": [1]}),
        pack_map({"servers": [entry(node=WEST)]}),
        pack_map({"servers": [entry(role="king")]}),
        pack_map({"servers": [entry(port=65536)]}),
        pack_map({"servers": [entry(load=128)]}),
        pack_map({"servers": [entry(link="x" * 256)]}),
        pack_map({"servers": [entry(), entry(node=-1)]}),
        pack_map({"servers": [{"node": EAST, "role": "endpoint"}] * 201}),
    ],
)
def test_nonsense_and_speaking_for_another_node_is_the_peers_fault_and_changes_nothing(payload: bytes) -> None:
    world = World()
    with pytest.raises(RemoteProtocolError):
        world.membership.took(EAST, payload)
    assert world.membership.servers() == []


def test_the_largest_announcement_fits_its_own_limits() -> None:
    world = World()
    world.tell(EAST, server(EAST), *(server(1000 + number, "endpoint") for number in range(300)))
    assert len(world.membership.servers()) == 200
