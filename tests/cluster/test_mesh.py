"""The links between nodes, over loopback: who gets one, how many there are, what happens when one ends."""

import os
from collections.abc import Callable, Iterator, Sequence

import gevent
import pytest

from cluster.identity import Identity, make_identity
from cluster.mesh import Member, MeshLinkManager, MeshSettings
from cluster.peer_link import LinkLimits, Peer, PeerLink
from tests.server.running import wait_until

SECRET = bytes(range(32))


class Node:
    """One node's links, and what was heard."""

    def __init__(
        self,
        identity: Identity | None = None,
        secret: bytes = SECRET,
        role: str = "center",
        security: str = "plain",
        admits: Callable[[Peer], bool] = lambda peer: False,
        limits: LinkLimits = LinkLimits(),  # noqa: B008
        links_per_peer: int = 1,
        listen: tuple[str, int] | None = ("127.0.0.1", 0),
    ) -> None:
        self.identity = identity or make_identity(os.urandom(32))
        self.told: list[tuple[int, bytes]] = []
        self.life: list[tuple[str, int]] = []
        self.members: list[Member] = []
        settings = MeshSettings(listen, role, security, links_per_peer, limits=limits)
        self.mesh = MeshLinkManager(settings, self.identity, secret, self, lambda: self.members, admits)
        self.mesh.build()
        self.mesh.start()

    @property
    def id(self) -> int:
        return self.identity.node_id

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.mesh.address[1]}"

    def came_up(self, link: PeerLink) -> None:
        self.life.append(("up", link.peer.node))

    def went_down(self, link: PeerLink) -> None:
        self.life.append(("down", link.peer.node))

    def take(self, link: PeerLink, messages: Sequence[bytes]) -> None:
        self.told += [(link.peer.node, message) for message in messages]

    def knows(self, *others: "Node") -> None:
        self.members = [Member(other.address) for other in others]


Making = Callable[..., Node]


@pytest.fixture
def make() -> Iterator[Making]:
    made: list[Node] = []

    def make(**parts: object) -> Node:
        made.append(Node(**parts))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for node in made:
        node.mesh.stop()


@pytest.mark.parametrize("security", ["plain", "tls"])
def test_two_centers_that_know_the_secret_are_linked_and_hear_each_other_in_order(make: Making, security: str) -> None:
    one, two = make(security=security), make()
    two.knows(one)
    wait_until(lambda: one.mesh.linked() == (two.id,) and two.mesh.linked() == (one.id,))
    for number in range(1000):
        assert one.mesh.send(two.id, b"\x10%d" % number)
        assert two.mesh.send(one.id, b"\x10%d" % number, is_urgent=number % 2 == 0)
    expected = [b"\x10%d" % number for number in range(1000)]
    wait_until(lambda: [told for _, told in two.told] == expected and [told for _, told in one.told] == expected)
    assert [status.is_tls for status in one.mesh.links() + two.mesh.links()] == [security == "tls"] * 2


def test_nodes_that_dial_each_other_keep_exactly_one_link(make: Making) -> None:
    nodes = [make() for _ in range(4)]
    for node in nodes:
        node.knows(*[other for other in nodes if other is not node])
    pairs = [(node, other) for node in nodes for other in nodes if other is not node]

    def is_dialed_by_the_lower(node: Node, other: Node) -> bool:
        link = node.mesh.link(other.id)
        return link is not None and link.is_dialer == (node.id < other.id)

    wait_until(lambda: all(is_dialed_by_the_lower(*pair) for pair in pairs))
    assert all(len(node.mesh.linked()) == 3 for node in nodes)
    assert all(node.mesh.send(other.id, b"\x10hello") for node, other in pairs)
    wait_until(lambda: all(len(node.told) == 3 for node in nodes))


def test_another_cluster_secret_gives_no_link(make: Making) -> None:
    one, two = make(), make(secret=bytes(32))
    two.knows(one)
    wait_until(lambda: any("secret" in status.last_error or "HANDSHAKE" in status.last_error for status in two.mesh.links()))
    assert not one.mesh.linked() and not two.mesh.linked() and not one.life


def test_a_link_that_ended_comes_back_and_its_end_is_told_first(make: Making) -> None:
    one, two = make(), make()
    two.knows(one)
    wait_until(lambda: one.mesh.linked() and two.mesh.linked())
    one.mesh.cut(two.id, "a test")
    wait_until(lambda: one.life == [("up", two.id), ("down", two.id), ("up", two.id)])
    wait_until(lambda: two.life == [("up", one.id), ("down", one.id), ("up", one.id)])


def test_an_endpoint_is_linked_only_where_it_is_admitted(make: Making) -> None:
    endpoint = make(role="endpoint", secret=b"", listen=None, links_per_peer=2)
    refusing, admitting = make(), make(admits=lambda peer: peer.fingerprint == endpoint.identity.fingerprint)
    endpoint.members = [Member(node.address, fingerprint=node.identity.fingerprint) for node in (refusing, admitting)]
    wait_until(lambda: len(admitting.mesh.of_role("endpoint")) == 2)
    wait_until(lambda: any("NOT_ALLOWED" in status.last_error or "another link" in status.last_error for status in endpoint.mesh.links()))
    assert not refusing.life
    assert admitting.mesh.linked() == ()


def test_a_pinned_center_is_not_replaced_by_another(make: Making) -> None:
    one, two = make(), make()
    two.members = [Member(one.address, fingerprint=two.identity.fingerprint)]
    wait_until(lambda: any("expected" in status.last_error for status in two.mesh.links()))
    assert not two.life


def test_a_node_does_not_link_to_itself(make: Making) -> None:
    one = make()
    one.knows(one)
    wait_until(lambda: any("itself" in status.last_error or "ended" in status.last_error for status in one.mesh.links()))
    assert not one.life


def test_what_a_peer_does_not_read_is_bounded_at_its_sender(make: Making) -> None:
    limits = LinkLimits(window_bytes=65_536, queue_bytes=65_536, urgent_bytes=131_072)
    one, two = make(limits=limits), make(limits=limits)
    two.knows(one)
    wait_until(lambda: one.mesh.linked() and two.mesh.linked())
    sent = 0
    while one.mesh.send(two.id, b"\x10" + bytes(1000)):
        sent += 1
    assert 60 < sent < 140
    assert one.mesh.send(two.id, b"\x10", is_urgent=True)
    wait_until(lambda: one.mesh.send(two.id, b"\x10more"))
    wait_until(lambda: len(two.told) == sent + 2)


def test_a_stopped_node_says_goodbye(make: Making) -> None:
    one, two = make(), make()
    two.knows(one)
    wait_until(lambda: one.mesh.linked() and two.mesh.linked())
    one.mesh.stop()
    wait_until(lambda: ("down", one.id) in two.life)
    gevent.sleep(0)
    assert any("goodbye" in status.last_error or "refused" in status.last_error for status in two.mesh.links())
