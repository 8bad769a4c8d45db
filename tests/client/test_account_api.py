"""`client.account` against a scripted center: what each method asks and gives; warnings; a password changed by a running client."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from myim_client import (
    Client,
    Disconnected,
    LoginRefused,
    NewTerminal,
    NotConnected,
    OwnAccount,
    PasswordNeeded,
    RequestRefused,
    WithinTransaction,
)
from myim_wire import account_contents as wire
from myim_wire.account_contents import (
    AccountRequest,
    Acknowledge,
    Export,
    ExportPart,
    ListedLogin,
    ListedTerminal,
    ListLogins,
    ListTerminals,
    LoginPage,
    RenameTerminal,
    RevokeTerminal,
    TerminalPage,
    decode_account_request,
)
from myim_wire.errors import ErrorCode
from myim_wire.messages import Command, Message, encode_message
from tests.client.calls import Call
from tests.client.scene import Scene, take
from tests.client.scripted_center import ME, SLOT, Session, make_profile, wait_until
from tests.client.scripted_login import ScriptedLogin

PHONE = ListedTerminal(1, "phone", "0a1b2c3d", 1, 2, "192.0.2.9", True, False, True, False)
LAPTOP = ListedTerminal(SLOT, "laptop", "98fedc76", 0, 3, "192.0.2.7", True, True, False, False)
LOGIN = ListedLogin(90, "192.0.2.9", "phone", 1, True, False)


def asked(session: Session, count: int = 1) -> tuple[Message, AccountRequest]:
    """The `count`-th question about the account, as soon as it is there."""
    wait_until(lambda: len(session.of(Command.ACCOUNT)) >= count)
    message = session.of(Command.ACCOUNT)[count - 1]
    return message, decode_account_request(message.content)


REQUESTS: list[tuple[Callable[[OwnAccount], object], AccountRequest]] = [
    (lambda account: account.terminals(), ListTerminals()),
    (lambda account: account.rename_terminal(1, "手机"), RenameTerminal(1, "手机")),
    (lambda account: account.revoke_terminal(1), RevokeTerminal(1)),
    (lambda account: account.revoke_terminal(), RevokeTerminal()),
    (lambda account: account.acknowledge_terminal(1), Acknowledge(1)),
]


@pytest.mark.parametrize(("act", "request_"), REQUESTS)
def test_what_concerns_terminals_is_asked_of_nobody_else_and_answered_with_all_of_them(
    scene: Scene, act: Callable[[OwnAccount], object], request_: AccountRequest
) -> None:
    client = scene.connect()
    call = Call(lambda: act(client.account))
    message, request = asked(scene.center.session())
    assert (message.user, message.target, request) == (ME, 0, request_)
    scene.center.session().reply(message, TerminalPage((PHONE, LAPTOP)).encode())
    assert call.wait() == [PHONE, LAPTOP]


def test_logins_are_asked_for_by_the_page(scene: Scene) -> None:
    client, session = scene.connect(), scene.center.session()
    call = Call(lambda: list(client.account.logins()))
    later = replace(LOGIN, time=99)
    for count, (before, page) in enumerate([(0, LoginPage((later, LOGIN), True)), (90, LoginPage((), False))], 1):
        message, request = asked(session, count)
        assert request == ListLogins(before)
        session.reply(message, page.encode())
    assert call.wait() == [later, LOGIN]


def test_an_export_is_written_part_by_part_and_is_there_when_it_is_whole(scene: Scene, tmp_path: Path) -> None:
    client, session, path = scene.connect(), scene.center.session(), tmp_path / "mine.json"
    document = json.dumps({"messages": ["x" * 30_000] * 4}).encode()
    call = Call(lambda: client.account.export(path))
    pieces = [document[:49_152], document[49_152:98_304], document[98_304:]]
    for number, piece in enumerate(pieces):
        message, request = asked(session, number + 1)
        assert request == Export(number) and not path.exists()
        session.reply(message, ExportPart(number, piece, number == 2).encode())
    assert call.wait() == len(document)
    assert path.read_bytes() == document and os.stat(path).st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        client.account.export(path)


def test_an_export_that_ends_in_the_middle_leaves_no_file(scene: Scene, tmp_path: Path) -> None:
    client, session = scene.connect(), scene.center.session()
    call = Call(lambda: client.account.export(tmp_path / "mine.json"))
    session.reply(asked(session)[0], ExportPart(0, b"{", False).encode())
    session.refuse(asked(session, 2)[0], ErrorCode.STORE_UNAVAILABLE, 1000)
    with pytest.raises(RequestRefused):
        call.wait()
    assert [path.name for path in tmp_path.iterdir() if "mine" in path.name] == []


def test_an_export_that_is_too_quick_slows_down_and_goes_on(scene: Scene, tmp_path: Path) -> None:
    client, session = scene.connect(), scene.center.session()
    call = Call(lambda: client.account.export(tmp_path / "mine.json"))
    session.reply(asked(session)[0], ExportPart(0, b"{", False).encode())
    for count in (2, 3):
        message, request = asked(session, count)
        assert request == Export(1)
        session.refuse(message, ErrorCode.SLOW_DOWN, 1)
    session.reply(asked(session, 4)[0], ExportPart(1, b"}", True).encode())
    assert call.wait() == 2
    assert (tmp_path / "mine.json").read_bytes() == b"{}"


@pytest.mark.parametrize("act", [lambda account: account.terminals(), lambda account: list(account.logins())])
def test_an_answer_that_is_none_is_raised_as_what_the_page_says(scene: Scene, act: Callable[[OwnAccount], Any]) -> None:
    client, session = scene.connect(), scene.center.session()
    call = Call(lambda: act(client.account))
    session.reply(asked(session)[0], b"\x80")
    with pytest.raises(NotConnected, match="something else"):
        call.wait()


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda account: account.rename_terminal(63, "x"), RequestRefused),
        (lambda account: account.terminals(), RequestRefused),
    ],
)
def test_a_refusal_and_a_lost_session_are_raised(scene: Scene, act: Callable[[OwnAccount], Any], error: type[Exception]) -> None:
    client, session = scene.connect(), scene.center.session()
    call = Call(lambda: act(client.account))
    wait_until(lambda: session.of(Command.ACCOUNT))
    session.refuse(session.of(Command.ACCOUNT)[0], ErrorCode.NOT_ALLOWED)
    with pytest.raises(error):
        call.wait()
    call = Call(lambda: act(client.account))
    wait_until(lambda: len(session.of(Command.ACCOUNT)) == 2)
    session.cut()
    with pytest.raises(NotConnected):
        call.wait()


@pytest.mark.parametrize(
    ("act", "field"),
    [
        (lambda account: account.rename_terminal(64, "x"), "slot"),
        (lambda account: account.rename_terminal(1, "x" * 65), "name"),
        (lambda account: account.acknowledge_terminal(-1), "slot"),
    ],
)
def test_what_no_center_takes_is_not_asked(scene: Scene, act: Callable[[OwnAccount], Any], field: str) -> None:
    client = scene.connect()
    with pytest.raises(ValueError, match=f"^{field}: "):
        act(client.account)
    assert scene.center.session().of(Command.ACCOUNT) == []


def test_within_a_transaction_nothing_is_asked(scene: Scene) -> None:
    client = scene.connect()
    with client.transaction(), pytest.raises(WithinTransaction):
        client.account.terminals()
    with client.transaction(), pytest.raises(WithinTransaction):
        client.account.change_password("old", "new")


def test_a_new_terminal_is_an_event_and_what_is_not_known_is_ignored(scene: Scene) -> None:
    client, session = scene.connect(), scene.center.session()
    session.send(encode_message(Command.ACCOUNT, 0, 0, 0, 0, b"\x81\xa5event\xa5other"))
    session.send(encode_message(Command.ACCOUNT, 0, 0, 0, 0, wire.NewTerminal(1, "phone", "192.0.2.9", 77).encode()))
    assert take(client, NewTerminal) == NewTerminal(1, "phone", "192.0.2.9", 77)
    assert client.courier.ignored == 1


# ------------------------------------------------------------------ a password that is changed by a running client


@pytest.fixture
def login_center() -> Iterator[ScriptedLogin]:
    made = ScriptedLogin()
    yield made
    made.close()


@pytest.fixture
def running(scene: Scene, login_center: ScriptedLogin) -> Client:
    scene.terminal, scene.path = make_profile(scene.path.parent.parent, login_server=login_center.address, token=b"old token")
    scene.center.session_keys[b"old token"] = bytes([ME]) * 32
    return scene.connect()


def test_a_running_client_goes_on_with_the_token_that_its_new_password_gave(
    scene: Scene, login_center: ScriptedLogin, running: Client
) -> None:
    running.account.change_password("old password", "new password")
    assert [(c.op, c.name, c.password, c.new_password) for c in login_center.credentials] == [
        ("password", "me", "old password", "new password")
    ]
    scene.center.session().goodbye(ErrorCode.TOKEN_REVOKED)
    scene.center.session(2)
    assert scene.center.tokens == [b"old token", b"token of %d" % ME]
    wait_until(lambda: running.is_online)
    events = running.take(0.1, limit=100)
    assert not any(isinstance(event, PasswordNeeded) for event in events)
    assert [event.code for event in events if isinstance(event, Disconnected)] == [ErrorCode.TOKEN_REVOKED]


def test_a_session_that_ends_before_the_new_token_is_here_waits_for_it(
    scene: Scene, login_center: ScriptedLogin, running: Client
) -> None:
    with running._journey.logging_in:  # as while the login center decides
        scene.center.session().goodbye(ErrorCode.TOKEN_REVOKED)
        take(running, Disconnected)
        running._log_in_as("password", "old password", "new password")
    scene.center.session(2)
    assert not any(isinstance(event, PasswordNeeded) for event in running.take(0.1, limit=100))


def test_a_refused_change_leaves_the_session_as_it_is(scene: Scene, login_center: ScriptedLogin, running: Client) -> None:
    login_center.refusal = (ErrorCode.PASSWORD_REFUSED, 0)
    with pytest.raises(LoginRefused):
        running.account.change_password("old password", "x")
    assert running.is_online and running.courier.account.token == b"old token"
