"""The console's account: `myim password`, `myim delete`, and /terminals, /logins, /export in the chat."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_client.console_chat import completions
from myim_client.console_place import HISTORY_SUFFIX
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
    NewTerminal,
    RenameTerminal,
    RevokeTerminal,
    TerminalPage,
    decode_account_request,
)
from myim_wire.errors import ErrorCode
from myim_wire.messages import Command, encode_message
from tests.client.command_line import PASSWORD, Console
from tests.client.scripted_center import SLOT, wait_until
from tests.client.talk import Talk

TERMINALS = TerminalPage((
    ListedTerminal(1, "pho\x1bne", "0a1b2c3d", 1_000_000, 2_000_000, "192.0.2.9", True, False, True, False),
    ListedTerminal(SLOT, "laptop", "98fedc76", 0, 3_000_000, "192.0.2.7", True, True, False, False),
    ListedTerminal(9, "", "00000000", 0, 0, "::1", False, False, False, True),
))  # fmt: skip


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path / "home")
    yield made
    made.close()


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    made = Talk(tmp_path)
    yield made
    made.client.close()
    made.center.close()


def type_and_answer(talk: Talk, line: str, answer: bytes) -> AccountRequest:
    """Type a line, answer what it asks; what that was."""
    typing = threading.Thread(target=talk.chat.type, args=(line,))
    session = talk.center.session()
    count = len(session.of(Command.ACCOUNT))
    typing.start()
    wait_until(lambda: len(session.of(Command.ACCOUNT)) > count)
    message = session.of(Command.ACCOUNT)[-1]
    session.reply(message, answer)
    typing.join(10)
    return decode_account_request(message.content)


# ------------------------------------------------------------------ commands


def test_a_password_is_changed_with_both_from_stdin(console: Console) -> None:
    console.register()
    result = console.run("password", "me", "--password-stdin", typed=f"{PASSWORD}\na newer one\n")
    assert result.exit_code == 0, result.output
    assert "changed" in result.output and PASSWORD not in result.output
    asked = console.login_center.credentials[-1]
    assert (asked.op, asked.name, asked.password, asked.new_password) == ("password", "me", PASSWORD, "a newer one")


def test_a_password_is_changed_with_both_from_files(console: Console, tmp_path: Path) -> None:
    files = []
    for name, content in (("old", PASSWORD), ("new", "a newer one")):
        files.append(tmp_path / name)
        files[-1].write_text(content + "\n")
        files[-1].chmod(0o600)
    result = console.run("password", "me", "--password-file", str(files[0]), "--new-password-file", str(files[1]))
    assert result.exit_code == 0, result.output
    assert console.login_center.credentials[-1].new_password == "a newer one"
    assert console.run("password", "me", "--password-file", str(files[0])).exit_code == 2


@pytest.mark.parametrize("typed", ["", PASSWORD, f"{PASSWORD}\n", f"{PASSWORD}\n\n"])
def test_without_a_new_password_nobody_is_asked(console: Console, typed: str) -> None:
    assert console.run("password", "me", "--password-stdin", typed=typed).exit_code == 2
    assert console.login_center.connections == 0


def test_a_refused_change_ends_with_1_and_says_why(console: Console) -> None:
    console.login_center.refusal = (ErrorCode.PASSWORD_REFUSED, 0)
    result = console.run("password", "me", "--password-stdin", typed=f"{PASSWORD}\nshort\n")
    assert result.exit_code == 1 and "too short" in result.stderr


def test_a_deletion_asks_for_the_name_and_removes_what_is_kept_here(console: Console) -> None:
    console.register()
    profile = console.terminal.profile_path(console.login_center.address, "me")
    profile.with_name(profile.name + HISTORY_SUFFIX).write_text("+what was typed")
    assert profile.exists()
    result = console.run("delete", "me", "--password-stdin", typed=f"ME\n{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    assert "40 days" in result.output and "for good" not in result.output.replace("This ends the account me:", "")
    assert (console.login_center.credentials[-1].op, console.login_center.credentials[-1].password) == ("delete", PASSWORD)
    assert [path.name for path in console.home.iterdir() if path.name.startswith(profile.name)] == []


@pytest.mark.parametrize("typed", ["", "you\n", f"{PASSWORD}\n{PASSWORD}\n", "me\n", "\n"])
def test_without_the_name_or_the_password_nothing_is_deleted(console: Console, typed: str) -> None:
    console.register()
    connections = console.login_center.connections
    assert console.run("delete", "me", "--password-stdin", typed=typed).exit_code == 2
    assert console.login_center.connections == connections
    assert console.terminal.profile_path(console.login_center.address, "me").exists()


def test_a_refused_deletion_removes_nothing(console: Console) -> None:
    console.register()
    console.login_center.refusal = (ErrorCode.LOGIN_FAILED, 0)
    assert console.run("delete", "me", "--password-stdin", typed=f"me\n{PASSWORD}\n").exit_code == 1
    assert console.terminal.profile_path(console.login_center.address, "me").exists()


@pytest.mark.parametrize("command", ["password", "delete"])
def test_help_ends_with_0_and_needs_nobody(console: Console, command: str) -> None:
    assert console.run(command, "--help").exit_code == 0
    assert console.run(command, "me", "--password", "secret").exit_code == 2


# ------------------------------------------------------------------ the chat


def test_a_new_terminal_is_warned_of_with_what_to_do(talk: Talk) -> None:
    talk.center.session().send(encode_message(Command.ACCOUNT, 0, 0, 0, 0, NewTerminal(1, "ph\x1bone", "192.0.2.9", 1_000_000).encode()))
    line = talk.until("NEW TERMINAL")
    assert "slot 1" in line and "192.0.2.9" in line and "/terminals ok 1" in line and "/terminals revoke 1" in line
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("/terminals", ListTerminals()),
        ("/terminals rename 1 my old phone", RenameTerminal(1, "my old phone")),
        ("/terminals revoke 1", RevokeTerminal(1)),
        ("/terminals revoke all", RevokeTerminal()),
        ("/terminals ok 1", Acknowledge(1)),
    ],
)
def test_terminals_are_shown_after_whatever_is_done_to_them(talk: Talk, line: str, request_: AccountRequest) -> None:
    assert type_and_answer(talk, line, TERMINALS.encode()) == request_
    phone, laptop, third = talk.lines[-3:]
    assert "0a1b2c3d" in phone and "online" in phone and "NEW" in phone and "first" in phone and "\x1b" not in phone
    assert "this one" in laptop and "first" not in laptop
    assert "(no name)" in third and "logged out" in third


@pytest.mark.parametrize("line", [f"/terminals {what}" for what in ("dance", "revoke", "revoke 64", "ok x", "rename 1")])
def test_what_is_no_request_about_terminals_asks_nobody(talk: Talk, line: str) -> None:
    talk.chat.type(line)
    assert talk.lines[-1].startswith("! ")
    assert talk.center.session().of(Command.ACCOUNT) == []


def test_what_is_not_for_this_terminal_to_say_is_told_in_words_about_terminals(talk: Talk) -> None:
    typing = threading.Thread(target=talk.chat.type, args=("/terminals ok 9",))
    typing.start()
    session = talk.center.session()
    wait_until(lambda: session.of(Command.ACCOUNT))
    session.refuse(session.of(Command.ACCOUNT)[0], ErrorCode.NOT_ALLOWED)
    typing.join(10)
    assert talk.lines[-1].startswith("! refused: NOT_ALLOWED, you have no such terminal, or")


def test_logins_are_shown_the_latest_first(talk: Talk) -> None:
    logins = (ListedLogin(2_000_000, "192.0.2.9", "phone", 1, True, True), ListedLogin(1_000_000, "::1", "", 0, False, False))
    assert type_and_answer(talk, "/logins", LoginPage(logins, False).encode()) == ListLogins()
    assert "phone" in talk.lines[-2] and "new terminal and new network" in talk.lines[-2]
    assert "(no name)" in talk.lines[-1] and "new" not in talk.lines[-1]


def test_an_export_is_written_to_the_file_that_is_named(talk: Talk, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    assert type_and_answer(talk, f"/export {path}", ExportPart(0, b"{}\n", True).encode()) == Export()
    assert path.read_bytes() == b"{}\n" and talk.lines[-1].startswith("* 3 bytes")
    for line in (f"/export {path}", "/export", f"/export {tmp_path}/none/such", "/export ~nobody-of-this-name/x", "/export a\0b"):
        talk.chat.type(line)
        assert talk.lines[-1].startswith("! ")
    talk.chat.type(f"/export {tmp_path}")
    assert talk.lines[-1] == f"! {tmp_path}: File exists"


def test_what_is_no_slot_is_said_to_be_none_however_long_it_is(talk: Talk) -> None:
    for word in ("64", "-1", "x", "²", "9" * 5000):
        talk.chat.type(f"/terminals revoke {word}")
        assert talk.lines[-1] == f"! {word} is no slot: /terminals says which there are"


def test_the_words_are_completed(talk: Talk) -> None:
    assert completions(talk.client, "/ter") == ["/terminals"]
    assert completions(talk.client, "/exp") == ["/export"]
