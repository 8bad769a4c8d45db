"""The links between nodes, over loopback: who gets one, how many there are, what happens when one ends."""

from __future__ import annotations

import os
import socket
from typing import Any

import gevent
import pytest
from gevent.server import StreamServer

from cluster.identity import make_identity
from cluster.mesh import Member
from cluster.peer_link import LinkLimits
from myim_wire.errors import ErrorCode
from myim_wire.link_batches import GOODBYE, HEARTBEAT, encode_own
from tests.cluster.nodes import Making, Node, join, wait_until
from tests.cluster.raw_peer import RawPeer


@pytest.mark.parametrize("security", ["plain", "tls"])
def test_two_centers_that_know_the_secret_are_linked_and_hear_each_other_in_order(make: Making, security: str) -> None:
    one, two = make(security=security), make()
    join(two, one)
    assert one.mesh.linked() == (two.id,) and two.mesh.linked() == (one.id,)
    for number in range(1000):
        assert one.mesh.send(two.id, b"\x10%d" % number)
        assert two.mesh.send(one.id, b"\x10%d" % number, is_urgent=number % 2 == 0)
    expected = [b"\x10%d" % number for number in range(1000)]
    wait_until(lambda: [told for _, told in two.told] == expected and [told for _, told in one.told] == expected)
    assert [status.is_tls for status in one.mesh.links() + two.mesh.links()] == [security == "tls"] * 2


@pytest.mark.parametrize("security", ["plain", "tls"])
def test_nodes_that_all_dial_each_other_keep_exactly_one_link_and_lose_none(make: Making, security: str) -> None:
    nodes = [make(security=security) for _ in range(5)]
    for node in nodes:
        node.knows(*[other for other in nodes if other is not node])
    wait_until(lambda: all(len(node.mesh.linked()) == 4 for node in nodes))
    pairs = [(node, other) for node in nodes for other in nodes if other is not node]
    assert all(node.link_to(other).is_dialer != other.link_to(node).is_dialer for node, other in pairs)
    assert all(node.mesh.send(other.id, b"\x10hello") for node, other in pairs)
    everybody = {node.id for node in nodes}
    wait_until(lambda: all(len(node.told) == 4 and {told for told, _ in node.told} == everybody - {node.id} for node in nodes))
    assert all(len(node.life) == 4 for node in nodes), "no link came up only to go down"


@pytest.mark.parametrize("is_lower", [True, False])
def test_of_two_nodes_that_dial_each_other_at_once_the_lower_keeps_its_dial(make: Making, is_lower: bool) -> None:
    node = make()
    ids = iter(lambda: make_identity(os.urandom(32)), None)
    other = next(identity for identity in ids if (identity.node_id > node.id) == is_lower)
    with socket.create_server(("127.0.0.1", 0)) as server:
        node.members = [Member(f"127.0.0.1:{server.getsockname()[1]}")]
        dialed = RawPeer(node, other).answer(server)  # the node has proven itself and waits
    dialing = RawPeer(node, other).prove()
    if is_lower:
        assert dialing.hear_out() == [encode_own(GOODBYE, ErrorCode.BUSY)]
        dialed.say(encode_own(HEARTBEAT, 1))
    else:
        assert dialing.hear_until(HEARTBEAT)
        dialed.socket.settimeout(2.0)  # at once, not when the handshake's time is over
        assert dialed.hear_out() == []
    wait_until(lambda: node.mesh.linked() == (other.node_id,))
    link = node.mesh.link(other.node_id)
    assert link is not None and link.is_dialer == is_lower
    assert node.life == [("up", other.node_id)]


def test_another_cluster_secret_gives_no_link(make: Making) -> None:
    one, two = make(), make(secret=bytes(32))
    two.knows(one)
    wait_until(lambda: any("secret" in error for error in two.errors))
    assert not one.life and not two.life


@pytest.mark.parametrize("who", ["dialer", "listener"])
def test_a_link_that_ended_comes_back_and_its_end_is_told_first(make: Making, who: str) -> None:
    one, two = make(), make()
    join(two, one)
    cutting, cut = (two, one) if who == "dialer" else (one, two)
    cutting.mesh.cut(cut.id, "a test")
    wait_until(lambda: one.life == [("up", two.id), ("down", two.id), ("up", two.id)])
    wait_until(lambda: two.life == [("up", one.id), ("down", one.id), ("up", one.id)])
    assert one.mesh.send(two.id, b"\x10again")
    wait_until(lambda: two.told == [(one.id, b"\x10again")])


def test_a_link_whose_peer_lost_it_is_replaced_within_seconds_by_the_one_the_peer_dials(make: Making) -> None:
    one, two = make(), make()
    pipe = Pipe(one)
    two.members = [Member(pipe.address)]
    wait_until(lambda: one.mesh.linked() and two.mesh.linked())
    pipe.is_dead = True  # one hears nothing of the end
    two.mesh.cut(one.id, "its network broke")
    two.members = [Member(one.address)]
    wait_until(lambda: one.life == [("up", two.id), ("down", two.id), ("up", two.id)], seconds=6.0)
    pipe.close()


def test_a_link_that_is_alive_is_not_replaced_by_another_dial(make: Making) -> None:
    one, two = make(), make()
    _, kept = join(two, one)
    again = make(identity=two.identity, listen=None)  # the same node, as if it had forgotten
    again.knows(one)
    wait_until(lambda: any("goodbye: BUSY" in error for error in again.errors))
    assert one.mesh.link(two.id) is kept and kept.is_open
    assert one.life == [("up", two.id)] and not again.life


def test_an_endpoint_is_linked_only_where_it_is_admitted(make: Making) -> None:
    endpoint = make(role="endpoint", secret=b"", listen=None, links_per_peer=2)
    refusing, admitting = make(), make(admits=lambda peer: peer.fingerprint == endpoint.identity.fingerprint)
    endpoint.members = [Member(node.address, fingerprint=node.identity.fingerprint) for node in (refusing, admitting)]
    wait_until(lambda: len(admitting.mesh.of_role("endpoint")) == 2)
    wait_until(lambda: any("NOT_ALLOWED" in error for error in endpoint.errors))
    assert not refusing.life
    assert admitting.mesh.linked() == ()


@pytest.mark.parametrize("pin", ["", "node", "fingerprint"])
def test_a_node_that_is_not_the_expected_one_gets_no_proof(make: Making, pin: str) -> None:
    role = "center" if pin else "endpoint"
    one, two = make(admits=lambda peer: True), make(role=role)
    expected = make().identity
    two.members = [Member(one.address, expected.node_id if pin == "node" else 0, expected.fingerprint if pin == "fingerprint" else "")]
    wait_until(lambda: any("expected" in error or "has to know" in error for error in two.errors))
    assert not two.life and not one.life


@pytest.mark.parametrize("roles", [("login", "login"), ("endpoint", "login"), ("endpoint", "endpoint"), ("center", "endpoint")])
def test_nodes_that_have_nothing_to_say_to_each_other_are_not_linked(make: Making, roles: tuple[str, str]) -> None:
    two, one = make(role=roles[0], admits=lambda peer: True), make(role=roles[1], admits=lambda peer: True)
    two.members = [Member(one.address, fingerprint=one.identity.fingerprint)]
    wait_until(lambda: any("NOT_ALLOWED" in error for error in two.errors))
    assert not two.life and not one.life


def test_a_login_node_is_linked_to_centers_and_is_no_center(make: Making) -> None:
    login, one, two = make(role="login"), make(), make()
    login.knows(one)
    two.knows(login)
    wait_until(lambda: login.mesh.linked() == (one.id, two.id) or login.mesh.linked() == (two.id, one.id))
    wait_until(lambda: one.mesh.link(login.id) and two.mesh.link(login.id))
    assert one.mesh.linked() == () and two.mesh.linked() == ()


def test_a_node_that_is_told_to_dial_itself_notices_and_says_nothing_more(make: Making) -> None:
    one, two = make(), make()
    one.knows(one, two)
    wait_until(lambda: one.mesh.linked() == (two.id,))
    wait_until(lambda: not one.mesh._shaking)
    assert one.errors == [] and one.life == [("up", two.id)]


def test_a_stopped_node_says_goodbye_and_leaves_no_greenlet_and_no_socket(make: Making) -> None:
    one, two = make(), make()
    link, _ = join(two, one)
    one.mesh.stop()
    wait_until(lambda: ("down", one.id) in two.life)
    assert link.last_error == "the peer said goodbye: SHUTDOWN"
    assert not one.mesh._links and not one.mesh._dialers and not len(one.mesh._accepted)
    one.mesh.stop()


def test_a_node_that_is_no_longer_a_member_keeps_its_link_and_is_not_dialled_again(make: Making) -> None:
    one, two = make(), make()
    link, _ = join(two, one)
    two.members = []
    wait_until(lambda: not two.mesh._wanted)
    assert link.is_open
    one.mesh.cut(two.id, "a test")
    wait_until(lambda: ("down", one.id) in two.life and not two.mesh._dialers)
    assert two.mesh.links() == []


def test_more_unfinished_handshakes_than_64_are_turned_away_and_nobody_else_is(make: Making) -> None:
    one, two = make(), make()
    join(two, one)
    hosts = [f"127.0.0.{number}" for number in range(2, 7)]  # each has a share of 16
    idle = [socket.create_connection(one.mesh.address, source_address=(host, 0)) for host in hosts for _ in range(16)]
    wait_until(lambda: one.mesh._shaking.total() == 64)
    late = socket.create_connection(("127.0.0.1", one.mesh.address[1]), timeout=5)
    assert late.recv(1) == b""
    assert one.mesh.send(two.id, b"\x10still here")
    wait_until(lambda: two.told)
    for connection in idle:
        connection.close()
    wait_until(lambda: not one.mesh._shaking.total())


def test_what_a_peer_does_not_read_is_bounded_at_its_sender(make: Making) -> None:
    limits = LinkLimits(window_bytes=65_536, queue_bytes=65_536, urgent_bytes=131_072)
    one, two = make(limits=limits), make(limits=limits)
    join(two, one)
    sent = 0
    while one.mesh.send(two.id, b"\x10" + bytes(1000)):
        sent += 1
    assert 60 < sent < 140
    assert one.mesh.send(two.id, b"\x10", is_urgent=True)
    wait_until(lambda: one.mesh.send(two.id, b"\x10more"))
    wait_until(lambda: len(two.told) == sent + 2)


class Pipe:
    """Passes bytes on to a node until it is dead; then it swallows them, and neither side hears of an end."""

    def __init__(self, node: Node) -> None:
        self.is_dead = False
        self._node = node
        self._ends: list[Any] = []
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def _serve(self, near: Any, _: Any) -> None:
        far = gevent.socket.create_connection(("127.0.0.1", self._node.mesh.address[1]))
        self._ends += [near, far]
        gevent.joinall([gevent.spawn(self._pass, near, far), gevent.spawn(self._pass, far, near)])

    def _pass(self, source: Any, target: Any) -> None:
        try:
            while data := source.recv(65536):
                if not self.is_dead:
                    target.sendall(data)
            if not self.is_dead:
                target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        for end in self._ends:
            end.close()
        self._server.stop()
