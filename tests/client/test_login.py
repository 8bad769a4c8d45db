"""Register, log in, ask for servers: what is kept, what is refused, and the pin."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_client import (
    Client,
    IdentityChanged,
    LoginRefused,
    ProfileRefused,
    ServerUnreachable,
    Terminal,
    ask_servers,
    change_password,
    delete_account,
    login,
    register,
)
from myim_client.addresses import spelled, split_address
from myim_client.profile import Profile
from myim_wire.contents import LastLogin, Server
from myim_wire.errors import ErrorCode
from tests.client.scripted_center import ME, SLOT, YOU
from tests.client.scripted_login import ScriptedLogin

SERVERS = (Server(1, "center", "127.0.0.1", 7401, 0, 0, False), Server(2, "endpoint", "::1", 7402, 1, 9, True))


@pytest.fixture
def center() -> Iterator[ScriptedLogin]:
    made = ScriptedLogin()
    yield made
    made.close()


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal.open(tmp_path / "home")


def test_registering_keeps_the_account_in_the_profile(center: ScriptedLogin, terminal: Terminal) -> None:
    center.servers = SERVERS
    given = register(terminal, center.address, "Alice", "a good password")
    assert given.path == terminal.profile_path(center.address, "alice")
    assert (given.account.user, given.account.name, given.account.slot, given.account.servers) == (ME, "Alice", SLOT, SERVERS)
    assert 11 * 3600 < given.account.renew_at / 1_000_000 - time.time() < 13 * 3600
    profile = Profile.open(given.path)
    assert profile.account() == given.account
    profile.close()
    assert [(c.op, c.name, c.password) for c in center.credentials] == [("register", "Alice", "a good password")]
    assert center.credentials[0].terminal_public_key == terminal.public_key


def test_the_password_is_kept_nowhere(center: ScriptedLogin, terminal: Terminal) -> None:
    register(terminal, center.address, "alice", "pass-word-that-is-secret")
    for file in terminal.directory.iterdir():
        assert b"pass-word-that-is-secret" not in file.read_bytes(), file.name


def test_a_login_tells_of_the_one_before(center: ScriptedLogin, terminal: Terminal) -> None:
    center.last_login = LastLogin(1_000_000, "192.0.2.7", "laptop")
    given = login(terminal, center.address, "alice", "p" * 8)
    assert (given.last_login, given.is_new_terminal, given.is_new_network) == (center.last_login, True, False)
    assert center.credentials[0].op == "login"


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.LOGIN_FAILED,
        ErrorCode.THROTTLED,
        ErrorCode.REGISTRATION_CLOSED,
        ErrorCode.NAME_INVALID,
        ErrorCode.NAME_TAKEN,
        ErrorCode.PASSWORD_REFUSED,
        ErrorCode.NO_FREE_SLOT,
        ErrorCode.BUSY,
    ],
)
def test_a_refusal_says_why_in_words_and_leaves_no_profile(center: ScriptedLogin, terminal: Terminal, code: ErrorCode) -> None:
    center.refusal = (code, 2500)
    with pytest.raises(LoginRefused) as raised:
        register(terminal, center.address, "alice", "p" * 8)
    assert (raised.value.code, raised.value.retry_ms) == (code, 2500)
    assert len(str(raised.value)) > 10 and code.name not in str(raised.value)
    assert not terminal.profile_path(center.address, "alice").exists()


def test_a_refused_login_leaves_the_old_account_in_place(center: ScriptedLogin, terminal: Terminal) -> None:
    before = register(terminal, center.address, "alice", "p" * 8)
    center.refusal = (ErrorCode.LOGIN_FAILED, 0)
    with pytest.raises(LoginRefused):
        login(terminal, center.address, "alice", "wrong one")
    profile = Profile.open(before.path)
    assert profile.account() == before.account
    profile.close()


def test_a_busy_login_center_is_told_from_a_broken_one(center: ScriptedLogin, terminal: Terminal) -> None:
    center.error_flight = ErrorCode.BUSY
    with pytest.raises(LoginRefused, match="busy"):
        login(terminal, center.address, "alice", "p" * 8)
    center.error_flight = ErrorCode.INTERNAL
    with pytest.raises(ServerUnreachable, match="INTERNAL"):
        login(terminal, center.address, "alice", "p" * 8)


@pytest.mark.parametrize(("code", "words"), [(ErrorCode.DRAINING, "being emptied"), (ErrorCode.ISOLATED, "cut off")])
def test_a_front_that_takes_no_logins_is_told_in_words(center: ScriptedLogin, terminal: Terminal, code: ErrorCode, words: str) -> None:
    center.error_flight = code
    with pytest.raises(ServerUnreachable, match=f"{words}.*; use another one, or try again later"):
        login(terminal, center.address, "alice", "p" * 8)


GARBAGE = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x00\x00\x00\x03abc", b"\x00"]
UNFIT = [("n" * 10_000, "p" * 8), ("alice", "p" * 1_000_000), ("a\udcff", "p" * 8), ("alice", "\ud800" * 8)]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_whatever_answers_instead_of_a_login_center_is_unreachable(center: ScriptedLogin, terminal: Terminal, garbage: bytes) -> None:
    center.garbage = garbage
    with pytest.raises(ServerUnreachable):
        login(terminal, center.address, "alice", "p" * 8)
    assert center.credentials == []
    assert terminal.pin(center.address) is None


def test_nobody_listening_is_unreachable(center: ScriptedLogin, terminal: Terminal) -> None:
    center.close()
    with pytest.raises(ServerUnreachable, match="refused"):
        login(terminal, center.address, "alice", "p" * 8)


def test_the_identity_is_pinned_at_first_and_a_change_stops_loudly_before_any_secret(center: ScriptedLogin, terminal: Terminal) -> None:
    register(terminal, center.address, "alice", "p" * 8)
    assert terminal.pin(center.address) == center.identity
    center.identity_private = bytes([1]) * 32
    with pytest.raises(IdentityChanged, match="HAS CHANGED") as raised:
        login(terminal, center.address, "alice", "p" * 8)
    assert (raised.value.pinned, raised.value.offered) == (terminal.pin(center.address), center.identity)
    assert len(center.credentials) == 1
    with pytest.raises(IdentityChanged):
        ask_servers(terminal, center.address)
    terminal.unpin(center.address)
    login(terminal, center.address, "alice", "p" * 8)
    assert terminal.pin(center.address) == center.identity


def test_a_configured_identity_counts_from_the_first_login(center: ScriptedLogin, terminal: Terminal) -> None:
    with pytest.raises(IdentityChanged):
        login(terminal, center.address, "alice", "p" * 8, identity=bytes([9]) * 32)
    assert terminal.pin(center.address) is None
    login(terminal, center.address, "alice", "p" * 8, identity=center.identity)
    assert terminal.pin(center.address) == center.identity


def test_the_identity_is_pinned_before_credentials_go_out_and_whatever_becomes_of_them(center: ScriptedLogin, terminal: Terminal) -> None:
    center.refusal = (ErrorCode.LOGIN_FAILED, 0)
    with pytest.raises(LoginRefused):
        login(terminal, center.address, "alice", "p" * 8)
    assert terminal.pin(center.address) == center.identity
    center.identity_private = bytes([1]) * 32
    with pytest.raises(IdentityChanged):
        login(terminal, center.address, "alice", "p" * 8)
    assert len(center.credentials) == 1


def test_one_server_has_one_pin_and_one_profile_however_it_is_spelled(terminal: Terminal) -> None:
    terminal.keep_pin("Host.example", bytes([3]) * 32)
    assert terminal.pin("host.example:7400") == bytes([3]) * 32
    assert terminal.profile_path("Host.example", "a") == terminal.profile_path("host.example:07400", "a")
    assert terminal.unpin("HOST.example:7400")
    assert spelled("::1") == spelled("[::1]") == "[::1]:7400"


def test_the_server_list_is_told_before_any_login(center: ScriptedLogin, terminal: Terminal) -> None:
    center.servers = SERVERS
    assert ask_servers(terminal, center.address) == SERVERS
    assert center.credentials == []


@pytest.mark.parametrize(("name", "password"), UNFIT, ids=["name", "password", "name of bytes", "password of surrogates"])
def test_names_and_passwords_that_fit_no_flight_are_refused_here(
    center: ScriptedLogin, terminal: Terminal, name: str, password: str
) -> None:
    with pytest.raises(LoginRefused):
        login(terminal, center.address, name, password)
    assert center.credentials == []


def test_a_profile_in_use_costs_no_login(center: ScriptedLogin, terminal: Terminal) -> None:
    given = register(terminal, center.address, "alice", "p" * 8)
    with Client(terminal, given.path), pytest.raises(ProfileRefused, match="in use"):
        login(terminal, center.address, "alice", "p" * 8)
    assert len(center.credentials) == 1


def test_another_slot_makes_old_messages_unknown(center: ScriptedLogin, terminal: Terminal) -> None:
    given = register(terminal, center.address, "alice", "p" * 8)
    with Client(terminal, given.path, settled_events=True) as client:
        client.send(YOU, b"never sent")
    center.slot = SLOT + 1
    login(terminal, center.address, "alice", "p" * 8)
    with Client(terminal, given.path, settled_events=True) as client:
        assert client.unsettled == 0
        assert [event.outcome.kind.value for event in client.take(1)] == ["unknown"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("h:1", ("h", 1)),
        ("127.0.0.1:65535", ("127.0.0.1", 65535)),
        ("host.example", ("host.example", 7400)),
        ("[::1]:7", ("::1", 7)),
        ("[::1]", ("::1", 7400)),
        ("::1", ("::1", 7400)),
    ],
)
def test_an_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert split_address(text) == address


@pytest.mark.parametrize("text", ["", ":", "h:", "h:0", "h:65536", "h:abc", "h:-1", "h:1 ", "h:１", ":7400", "[]:1"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_address(text)


def test_a_changed_password_gives_a_new_login_and_is_kept_nowhere(center: ScriptedLogin, terminal: Terminal) -> None:
    register(terminal, center.address, "alice", "p" * 8)
    given = change_password(terminal, center.address, "alice", "p" * 8, "new-and-secret-password")
    assert [(c.op, c.password, c.new_password) for c in center.credentials[1:]] == [("password", "p" * 8, "new-and-secret-password")]
    with Client(terminal, given.path) as client:
        assert client.courier.account == given.account
    for file in terminal.directory.iterdir():
        assert b"new-and-secret-password" not in file.read_bytes(), file.name


def test_a_deletion_needs_no_profile_and_leaves_it_alone(center: ScriptedLogin, terminal: Terminal) -> None:
    given = register(terminal, center.address, "alice", "p" * 8)
    before = given.path.read_bytes()
    with Client(terminal, given.path):
        delete_account(terminal, center.address, "alice", "p" * 8)
    assert center.credentials[1].op == "delete"
    assert given.path.exists() and len(given.path.read_bytes()) >= len(before)


def test_a_refused_deletion_and_one_that_is_answered_with_a_login_are_told(center: ScriptedLogin, terminal: Terminal) -> None:
    center.refusal = (ErrorCode.LOGIN_FAILED, 0)
    with pytest.raises(LoginRefused):
        delete_account(terminal, center.address, "alice", "p" * 8)
    center.refusal = None
    center.is_deleting = False
    with pytest.raises(ServerUnreachable, match="something else"):
        delete_account(terminal, center.address, "alice", "p" * 8)
