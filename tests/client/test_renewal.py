"""How often a client asks for a token, or logs in with the password, by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from myim_client import Client, LoginRefused, PasswordNeeded, ServerUnreachable
from myim_client.errors import MyimError, NotConnected, RequestRefused
from myim_client.renewal import LOGIN_SECONDS, RENEWAL_SECONDS, PasswordLogins, Renewal
from myim_wire.errors import ErrorCode
from tests.client.scene import Scene, take
from tests.client.scripted_center import make_profile, wait_until
from tests.client.scripted_login import ScriptedLogin


@pytest.fixture
def login_center() -> Iterator[ScriptedLogin]:
    made = ScriptedLogin()
    yield made
    made.close()


def with_password(scene: Scene, login_center: ScriptedLogin, asked: list[int]) -> Client:
    """A client whose token does not serve, and that knows a password; `asked` grows each time it is asked for."""
    scene.terminal, scene.path = make_profile(scene.path.parent.parent, login_server=login_center.address)
    scene.center.refusal = ErrorCode.TOKEN_EXPIRED

    def password() -> str:
        asked.append(len(scene.center.attempts))
        return "p" * 8

    scene.client = Client(scene.terminal, scene.path, servers=[scene.center.address], password=password)
    scene.client.connect(0)
    return scene.client


def test_a_wrong_password_is_tried_once_and_then_the_user_is_asked(scene: Scene, login_center: ScriptedLogin) -> None:
    login_center.refusal = (ErrorCode.LOGIN_FAILED, 0)
    asked: list[int] = []
    client = with_password(scene, login_center, asked)
    assert "wrong name or password" in take(client, PasswordNeeded).reason
    wait_until(lambda: len(scene.center.attempts) >= 2)
    assert len(asked) == len(login_center.credentials) == 1
    assert client._journey._logins.is_over


def test_an_application_that_fails_to_give_a_password_does_not_end_the_client(scene: Scene, login_center: ScriptedLogin) -> None:
    scene.terminal, scene.path = make_profile(scene.path.parent.parent, login_server=login_center.address)
    scene.center.refusal = ErrorCode.TOKEN_EXPIRED

    def password() -> str:
        raise RuntimeError("the secret is in here")

    scene.client = Client(scene.terminal, scene.path, servers=[scene.center.address], password=password)
    scene.client.connect(0)
    reason = take(scene.client, PasswordNeeded).reason
    assert "RuntimeError" in reason and "secret" not in reason
    wait_until(lambda: len(scene.center.attempts) >= 2)
    assert not scene.client._journey.is_over


def test_a_token_that_does_not_serve_though_it_is_new_is_not_replaced_at_once(scene: Scene, login_center: ScriptedLogin) -> None:
    asked: list[int] = []
    with_password(scene, login_center, asked)
    wait_until(lambda: len(scene.center.attempts) >= 2)
    assert len(asked) == len(login_center.credentials) == 1
    assert all(count < 2 for count in asked)


def test_the_password_is_given_once_a_minute_at_most() -> None:
    logins = PasswordLogins()
    assert [logins.may_begin(now) for now in (0.0, 1.0, LOGIN_SECONDS - 0.1, LOGIN_SECONDS, LOGIN_SECONDS + 1)] == [
        True,
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(("retry_ms", "seconds"), [(0, LOGIN_SECONDS), (5_000, LOGIN_SECONDS), (300_000, 301.0)])
def test_a_login_center_that_says_when_to_come_again_is_obeyed(retry_ms: int, seconds: float) -> None:
    logins = PasswordLogins()
    assert logins.may_begin(0.0)
    logins.failed(LoginRefused(ErrorCode.THROTTLED, "too many", retry_ms), 1.0)
    assert [logins.may_begin(seconds - 0.1), logins.may_begin(seconds)] == [False, True]


@pytest.mark.parametrize(
    ("error", "is_over"),
    [
        (LoginRefused(ErrorCode.LOGIN_FAILED, "wrong"), True),
        (LoginRefused(ErrorCode.BUSY, "busy"), False),
        (ServerUnreachable("h:1", "refused"), False),
    ],
    ids=["wrong", "busy", "unreachable"],
)
def test_only_a_wrong_password_ends_the_trying(error: MyimError, is_over: bool) -> None:
    logins = PasswordLogins()
    assert logins.may_begin(0.0)
    logins.failed(error, 0.0)
    assert logins.is_over is is_over
    assert logins.may_begin(1e9) is not is_over


def test_a_renewal_is_due_from_its_time_on_and_asked_for_once_an_hour() -> None:
    renewal = Renewal()
    assert not renewal.is_due(100, 99, 0.0)
    assert renewal.is_due(100, 100, 0.0)
    assert not renewal.is_due(100, 200, RENEWAL_SECONDS - 1)
    assert renewal.is_due(100, 200, RENEWAL_SECONDS)
    assert renewal.failed(NotConnected("gone"), RENEWAL_SECONDS) == ""
    assert renewal.is_due(100, 200, RENEWAL_SECONDS)
    assert "no more" in renewal.failed(RequestRefused(ErrorCode.RENEWAL_REFUSED, "no more"), RENEWAL_SECONDS)
    assert not renewal.is_due(100, 200, RENEWAL_SECONDS + 40)
