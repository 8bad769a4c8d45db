"""People talk through an endpoint as they do without one, over a real link; and a front machine that was lost is shut out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_client import Client, MessageArrived, Terminal, register
from myim_server.node import Node
from myim_wire.errors import ErrorCode
from tests.scenarios.town import take
from tests.server.front import Front, links_of, start_linked_node
from tests.server.running import Person, online, stuff, wait_until


@pytest.fixture(params=["tls", "plain"])
def security(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def node(tmp_path: Path, security: str) -> Iterator[Node]:
    running = start_linked_node(tmp_path / "node", security, login={"registration": "open"}, center={"slow_reader_seconds": 0.2})
    yield running
    running.stop()


@pytest.fixture
def front(node: Node, security: str) -> Iterator[Front]:
    made = Front(node, security)
    made.admit()
    made.start()
    made.wait_linked()
    yield made
    made.stop()


def test_two_people_talk_one_of_them_through_the_endpoint(node: Node, front: Front, alice: Person, bob: Person) -> None:
    through, direct = front.terminal(alice), online(node, bob)
    through.fetch()
    named = through.write(bob.user, b"hello")
    assert direct.next_message().content.startswith(b"hello")
    direct.confirm((alice.user, named))
    assert through.settling_of(named).content == b"\x01"
    back = direct.write(alice.user, b"there")
    assert through.next_message().content.startswith(b"there")
    through.confirm((bob.user, back))
    assert direct.settling_of(back).content == b"\x01"


def test_a_terminals_place_names_its_endpoint(node: Node, front: Front, alice: Person, bob: Person) -> None:
    through, direct = front.terminal(alice), online(node, bob)
    through.fetch()
    assert node.router is not None
    places = [node.router.parties[one.user << 6 | one.slot].place for one in (alice, bob)]
    assert [place.endpoint for place in places] == [front.identity.node_id, node.node_id]
    direct.close()


def test_users_register_log_in_and_chat_by_the_endpoints_two_doors(front: Front, tmp_path: Path) -> None:
    login_server = f"127.0.0.1:{front.endpoint.login_door.server_port}"
    center = ("127.0.0.1", int(front.endpoint.door.server_port or 0))
    clients = []
    for name in ("alice", "bob"):
        terminal = Terminal.open(tmp_path / name)
        account = register(terminal, login_server, name, "seven brown horses run")
        clients.append(Client(terminal, account.path, servers=[center]))
        clients[-1].connect(10)
    alice, bob = clients
    sent = alice.send(bob.user, b"hello")
    (arrived,) = take(bob, MessageArrived)
    assert (arrived.body, arrived.user) == (b"hello", alice.user)
    assert sent.wait(10).is_settled
    for client in clients:
        client.close()


def test_a_refusal_of_the_center_reaches_the_terminal(node: Node, front: Front, alice: Person) -> None:
    assert node.center is not None
    node.center.is_draining = True
    with pytest.raises(Exception, match="DRAINING"):
        front.terminal(alice)


def test_a_terminal_that_does_not_read_is_cut_and_its_messages_are_stored(node: Node, front: Front, alice: Person, bob: Person) -> None:
    slow, sender = front.terminal(bob), online(node, alice)
    slow.fetch()
    stuff(node, sender, bob)
    wait_until(lambda: node.metrics.sessions_closed["TOO_SLOW"] == 1)
    named = sender.write(bob.user, b"later")
    assert sender.settling_of(named).content == b"\x02"
    wait_until(lambda: front.endpoint.connections == 0)


def test_an_end_of_the_center_says_goodbye_through_the_endpoint(node: Node, front: Front, alice: Person) -> None:
    through = front.terminal(alice)
    through.fetch()
    assert node.center is not None
    node.center.close_all(ErrorCode.SHUTDOWN, "the server stops")
    assert through.goodbye()
    wait_until(lambda: front.endpoint.connections == 0)


def test_a_lost_link_ends_sessions_and_terminals_which_come_back_over_the_next(node: Node, front: Front, alice: Person) -> None:
    through = front.terminal(alice)
    through.fetch()
    links_of(node).mesh.cut(front.identity.node_id, "a test")
    with pytest.raises((EOFError, ConnectionResetError)):
        through.goodbye()
    wait_until(lambda: node.router is not None and not node.router.parties)
    front.wait_linked()
    again = front.terminal(alice, 2)
    again.fetch()


def test_an_endpoint_that_was_never_admitted_gets_no_link(node: Node) -> None:
    stranger = Front(node)
    stranger.start()
    stranger.wait_shut_out()
    stranger.stop()


def test_a_revoked_endpoint_loses_its_links_and_terminals_within_one_poll(front: Front, alice: Person) -> None:
    through = front.terminal(alice)
    through.fetch()
    front.revoke()
    with pytest.raises((EOFError, ConnectionResetError)):
        through.goodbye()
    front.wait_shut_out()
