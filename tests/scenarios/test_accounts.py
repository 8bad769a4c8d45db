"""People look after their accounts: a new terminal is noticed, a lost one cut off, a password changed, all exported, then deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_client import (
    Connected,
    Disconnected,
    LoginRefused,
    MessageArrived,
    NameUnknown,
    NewTerminal,
    OutcomeKind,
    PasswordNeeded,
    delete_account,
    login,
    register,
)
from myim_wire.errors import ErrorCode
from tests.scenarios.town import PASSWORD, Town, take

NEW_PASSWORD = "nine grey geese fly"


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    made.start()
    yield made
    made.close()


def test_a_thief_who_knows_the_password_is_noticed_cut_off_and_locked_out(town: Town) -> None:
    alice = town.register("alice")
    thief = town.log_in("alice", "the thiefs")
    warning = take(alice, NewTerminal)[0]
    assert (warning.slot, warning.address) == (1, "127.0.0.1")
    shown = alice.account.revoke_terminal(warning.slot)
    assert shown[1].is_revoked
    assert take(thief, Disconnected)[0].code == ErrorCode.TOKEN_REVOKED
    take(thief, PasswordNeeded)
    alice.account.change_password(PASSWORD, NEW_PASSWORD)
    take(alice, Connected)  # with the new token
    with pytest.raises(LoginRefused):
        login(thief.terminal, town.login_server, "alice", PASSWORD, path=town.directory / "other.db")
    assert [one.terminal != "" for one in alice.account.logins()] == [True] * 3
    bob = town.register("bob")
    alice.send("bob", "I am still here")
    assert take(bob, MessageArrived)[0].text == "I am still here"


def test_everything_is_taken_along_and_then_nothing_is_left(town: Town, tmp_path: Path) -> None:
    alice, bob = town.register("alice"), town.register("bob")
    alice.close()
    assert bob.send("alice", "for later").wait(20).kind is OutcomeKind.STORED
    alice = town.again(alice)
    file = tmp_path / "alice.json"
    assert alice.account.export(file) > 100
    kept = json.loads(file.read_text())
    assert kept["account"]["name"] == "alice" and [one["text"] for one in kept["messages"]] == ["for later"]
    delete_account(alice.terminal, town.login_server, "alice", PASSWORD)
    assert take(alice, Disconnected)[0].code == ErrorCode.TOKEN_REVOKED
    assert bob.send(alice.user, "too late").wait(20).kind is OutcomeKind.REFUSED
    with pytest.raises(NameUnknown):
        town.again(bob)._look_up("alice")
    with pytest.raises(LoginRefused) as refused:
        register(town.terminal("another"), town.login_server, "alice", PASSWORD)
    assert refused.value.code == ErrorCode.NAME_TAKEN
