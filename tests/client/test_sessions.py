"""A client's sessions: goodbye, takeover, the next server, tokens, rekeys, questions, and profiles that do not fit."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from myim_client import (
    Client,
    ClientClosed,
    Disconnected,
    LoginNeeded,
    MessageArrived,
    NameUnknown,
    NotConnected,
    PasswordNeeded,
    ProfileRefused,
    Terminal,
)
from myim_wire.contents import FoundUser, RenewedToken, Server, decode_lookup, encode_servers
from myim_wire.errors import ErrorCode
from myim_wire.messages import PING_ASK, Command, encode_message
from tests.chaos.proxy_control import Proxy
from tests.client.scene import Scene, confirmed, take
from tests.client.scripted_center import YOU, ScriptedCenter, make_profile, wait_until


def test_a_ping_is_answered(scene: Scene) -> None:
    scene.connect()
    session = scene.center.session()
    session.send(PING_ASK)
    wait_until(lambda: [m.flags for m in session.of(Command.PING)] == [0])


def test_goodbye_is_said_on_close_after_what_was_due(scene: Scene) -> None:
    client = scene.connect()
    client.send(YOU, b"last")
    client.close()
    session = scene.center.session()
    wait_until(lambda: session.is_ended)
    assert session.received[-1].command == Command.GOODBYE
    assert session.bodies == [b"last"]
    with pytest.raises(ClientClosed):
        client.send(YOU, b"too late")


def test_a_client_closed_while_it_connects_never_comes_online(scene: Scene, tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "proxy")
    try:
        host, port = scene.center.address
        wire = ("127.0.0.1", proxy.open("wire", f"{host}:{port}"))
        proxy.set(["wire"], hold_down=True)  # the center's answer comes late, as from one that was stopped for a while
        client = scene.client = Client(scene.terminal, scene.path, servers=[wire])
        client.connect(timeout=0)
        wait_until(lambda: scene.center.attempts)
        client.close()
        proxy.heal(["wire"])
        wait_until(lambda: proxy.counts()["wire"].open == 0)
        assert scene.center.sessions == []
    finally:
        proxy.stop()


def test_a_replaced_client_stops_for_good(scene: Scene) -> None:
    client = scene.connect()
    scene.center.session().goodbye(ErrorCode.REPLACED)
    event = take(client, Disconnected)
    assert (event.code, event.is_final) == (ErrorCode.REPLACED, True)
    assert client.take(1) == []
    assert len(scene.center.attempts) == 1


def test_a_draining_server_is_left_for_the_next_of_the_list(scene: Scene) -> None:
    other = ScriptedCenter(scene.terminal)
    scene.client = Client(scene.terminal, scene.path, servers=[scene.center.address, other.address])
    scene.client.connect(10)
    scene.center.session().goodbye(ErrorCode.DRAINING)
    assert other.session().number == 2
    other.close()


def test_the_list_a_center_tells_is_used_and_kept(scene: Scene) -> None:
    other = ScriptedCenter(scene.terminal)
    make = [Server(1, "center", "127.0.0.1", port, priority, 0, False) for port, priority in ((scene.center.port, 1), (other.port, 2))]
    scene.terminal, scene.path = make_profile(scene.path.parent.parent, servers=(make[0],))
    scene.center.servers = make
    scene.client = Client(scene.terminal, scene.path)
    scene.client.connect(10)
    wait_until(lambda: scene.client is not None and len(scene.client.courier.account.servers) == 2)
    scene.center.session().goodbye(ErrorCode.DRAINING)
    assert other.session().number == 2
    scene.leave()
    other.close()
    scene.client = Client(scene.terminal, scene.path)
    assert scene.client.courier.account.servers == tuple(make)


def test_a_list_told_unasked_is_followed_over_a_server_that_refuses(scene: Scene) -> None:
    other = ScriptedCenter(scene.terminal)
    gone = ScriptedCenter(scene.terminal)
    gone.close()
    ports = [(scene.center.port, 1), (gone.port, 2), (other.port, 3)]
    told = [Server(1, "endpoint", "127.0.0.1", port, priority, 0, False) for port, priority in ports]
    scene.terminal, scene.path = make_profile(scene.path.parent.parent, servers=(told[0],))
    scene.client = Client(scene.terminal, scene.path)
    scene.client.connect(10)
    scene.center.session().send(encode_message(Command.SERVERS, 0, 0, 0, 0, encode_servers(told)))
    wait_until(lambda: scene.client is not None and len(scene.client.courier.account.servers) == 3)
    began = time.monotonic()
    scene.center.session().goodbye(ErrorCode.SHUTDOWN)
    assert other.session().number == 3  # 2 was spent on the one that refused
    assert time.monotonic() - began < 2.0
    scene.leave()
    other.close()


def test_a_server_that_said_it_drains_is_not_the_first_one_tried_in_the_next_round(scene: Scene) -> None:
    other = ScriptedCenter(scene.terminal)
    scene.client = Client(scene.terminal, scene.path, servers=[scene.center.address, other.address])
    scene.client.connect(10)
    scene.center.session().goodbye(ErrorCode.DRAINING)
    other.session().cut()
    assert other.session(2).number == 3
    scene.leave()
    other.close()


@pytest.mark.parametrize("is_gone", [True, False], ids=["nobody listens", "it says it drains"])
def test_who_refuses_is_known_to_have_refused(scene: Scene, is_gone: bool) -> None:
    if is_gone:
        scene.center.close()
    scene.center.refusal = ErrorCode.DRAINING
    scene.client = Client(scene.terminal, scene.path, servers=[scene.center.address])
    scene.client.connect(0)
    journey = scene.client._journey
    wait_until(lambda: journey._is_refused)


def test_a_terminal_too_many_is_not_back_at_once(scene: Scene) -> None:
    client = scene.connect()
    scene.center.session().goodbye(ErrorCode.BUSY)
    assert take(client, Disconnected).code == ErrorCode.BUSY
    journey = client._journey
    wait_until(lambda: journey._itinerary.delay() >= 15.0)
    assert len(scene.center.attempts) == 1


def test_a_stale_connection_number_is_raised_by_leaps(scene: Scene) -> None:
    scene.center.refusal = ErrorCode.STALE_CONNECTION
    client = Client(scene.terminal, scene.path, servers=[scene.center.address])
    scene.client = client
    client.connect(0)
    wait_until(lambda: len(scene.center.attempts) >= 3)
    scene.center.refusal = None
    client.connect(10)
    assert scene.center.attempts[2] > 1_000_000


def test_a_token_that_does_not_serve_asks_for_the_password(scene: Scene) -> None:
    scene.center.refusal = ErrorCode.TOKEN_EXPIRED
    client = Client(scene.terminal, scene.path, servers=[scene.center.address])
    scene.client = client
    with pytest.raises(NotConnected, match="TOKEN_EXPIRED"):
        client.connect(0.5)
    assert isinstance(take(client, PasswordNeeded), PasswordNeeded)


def test_the_token_is_renewed_at_half_its_life_and_used_at_the_next_connection(scene: Scene) -> None:
    scene.terminal, scene.path = make_profile(scene.path.parent.parent, renew_at=1)
    client = scene.connect()
    session = scene.center.session()
    wait_until(lambda: session.of(Command.TOKEN))
    scene.center.session_keys[b"renewed"] = bytes(32)
    session.reply(session.of(Command.TOKEN)[0], RenewedToken(b"renewed", bytes(32), 1_000_000, 3_000_000_000_000).encode())
    wait_until(lambda: client.courier.account.token == b"renewed")
    session.cut()
    scene.center.session(2)
    assert scene.center.tokens[-1] == b"renewed"
    assert scene.center.attempts == [1, 2]


def test_a_refused_renewal_asks_for_the_password_and_the_session_goes_on(scene: Scene) -> None:
    scene.terminal, scene.path = make_profile(scene.path.parent.parent, renew_at=1)
    client = scene.connect()
    session = scene.center.session()
    wait_until(lambda: session.of(Command.TOKEN))
    session.refuse(session.of(Command.TOKEN)[0], ErrorCode.RENEWAL_REFUSED)
    take(client, PasswordNeeded)
    session.deliver(YOU, 64, b"still here")
    take(client, MessageArrived)


def test_a_rekey_the_center_asks_for_loses_nothing(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    wait_until(lambda: session.of(Command.SERVERS))
    for round_number in range(3):
        session.ask_rekey()
        client.send(YOU, b"during %d" % round_number)
        wait_until(lambda: len([m for m in session.received if m.command == Command.REKEY and not m.content]) > round_number)  # noqa: B023
        session.deliver(YOU, 64 * (round_number + 1), b"after")
        take(client, MessageArrived).done()
    wait_until(lambda: len(session.bodies) == 3 and len(confirmed(session)) == 3)
    assert scene.center.errors == []


def test_a_name_is_looked_up_once_and_kept(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    found: list[int] = []
    asking = threading.Thread(target=lambda: found.append(client.user_id("Bob")))
    asking.start()
    wait_until(lambda: session.of(Command.LOOKUP))
    question = session.of(Command.LOOKUP)[0]
    assert decode_lookup(question.content) == "Bob"
    session.reply(question, FoundUser(YOU, "bob").encode())
    asking.join(10)
    assert found == [YOU]
    client = scene.connect()
    assert client.user_id("BOB") == YOU
    session = scene.center.session(2)
    session.deliver(YOU, 64, b"x")
    assert take(client, MessageArrived).name == "bob"
    assert session.of(Command.LOOKUP) == []


def test_an_unknown_name_is_said_to_be_unknown(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            client.send("nobody", b"x")
        except NameUnknown as error:
            raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: session.of(Command.LOOKUP))
    session.refuse(session.of(Command.LOOKUP)[0], ErrorCode.NOT_ALLOWED)
    asking.join(10)
    assert len(raised) == 1


def test_a_question_fails_with_its_session(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            client.user_id("bob")
        except NotConnected as error:
            raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: session.of(Command.LOOKUP))
    session.cut()
    asking.join(10)
    assert len(raised) == 1


def test_a_profile_is_used_by_one_client_at_a_time(scene: Scene) -> None:
    scene.connect()
    with pytest.raises(ProfileRefused, match="in use"):
        Client(scene.terminal, scene.path)


def test_a_profile_of_another_terminal_needs_a_login(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(LoginNeeded):
        Client(Terminal.open(tmp_path / "other"), scene.path)


def test_a_client_without_a_server_says_why_it_is_not_connected(scene: Scene) -> None:
    scene.center.close()
    scene.client = Client(scene.terminal, scene.path, servers=[scene.center.address])
    with pytest.raises(NotConnected, match=r"127\.0\.0\.1"):
        scene.client.connect(0.3)
