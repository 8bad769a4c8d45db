"""The command line: exit codes, where passwords come from, what is printed. Every row is one call of `myim`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from myim_client import Client, Terminal
from myim_client.console_words import how_to_log_in
from myim_client.printable import printable
from myim_wire.contents import FoundUser, LastLogin
from myim_wire.errors import ErrorCode
from myim_wire.messages import Command
from tests.client.command_line import PASSWORD, Console
from tests.client.scripted_center import ME, YOU, wait_until

WRONG_CALLS = [
    ("no arguments", []),
    ("unknown flag", ["--nonsense"]),
    ("unknown command", ["dance"]),
    ("unknown flag of a command", ["register", "--nonsense", "me"]),
    ("no name", ["register"]),
    ("no text", ["send", "me", "you"]),
    ("a name with a leading dash", ["login", "-rf"]),
    ("a dash for a file", ["login", "me", "--password-file", "-"]),
    ("a file that is not there", ["login", "me", "--password-file", "/nonexistent/x"]),
    ("a directory for a file", ["login", "me", "--password-file", "/"]),
    ("two sources of a password", ["login", "me", "--password-stdin", "--password-file", __file__]),
    ("a password in the arguments", ["login", "me", "--password", "secret"]),
    ("no terminal for the password", ["login", "me"]),
    ("no terminal for the chat", ["chat", "me"]),
    ("a wait that is none", ["inbox", "me", "--wait", "soon"]),
    ("a negative wait", ["inbox", "me", "--wait", "-1"]),
    ("an infinite wait", ["inbox", "me", "--wait", "inf"]),
]


@pytest.mark.parametrize("arguments", [row[1] for row in WRONG_CALLS], ids=[row[0] for row in WRONG_CALLS])
def test_a_wrong_call_ends_with_2_and_asks_nobody(console: Console, arguments: list[str]) -> None:
    result = console.run(*arguments, typed="")
    assert result.exit_code == 2, result.output
    assert result.stderr
    assert "Traceback" not in result.output
    assert console.login_center.connections == 0


@pytest.mark.parametrize("server", ["", "h:0", "h:65536", "h:abc", "h:1\n"])
def test_a_server_that_is_none_ends_with_2(console: Console, server: str) -> None:
    assert console.run("login", "me", "--password-stdin", typed="x\n", server=server or ":").exit_code == 2


@pytest.mark.parametrize("command", [[], ["register"], ["login"], ["chat"], ["send"], ["inbox"], ["unpin"]])
def test_help_ends_with_0_and_needs_nobody(console: Console, command: list[str]) -> None:
    result = console.run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_the_exit_codes_are_documented(console: Console) -> None:
    assert "0 done, 1 refused or failed, 2 wrong call" in console.run("--help").output


FAILURES: list[tuple[str, list[str], str]] = [
    ("not logged in", ["send", "me", "you", "hello"], "register or log in first"),
    ("not logged in for the inbox", ["inbox", "me"], "register or log in first"),
    ("nothing to unpin", ["unpin"], "no identity is pinned"),
]


@pytest.mark.parametrize(("arguments", "words"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES])
def test_what_cannot_be_done_ends_with_1_and_says_why(console: Console, arguments: list[str], words: str) -> None:
    result = console.run(*arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert len(result.stderr.splitlines()) <= 2


def test_a_dead_server_ends_with_1(console: Console) -> None:
    console.login_center.close()
    result = console.run("login", "me", "--password-stdin", typed="x\n")
    assert (result.exit_code, "refused" in result.stderr) == (1, True)
    assert list(console.home.glob("*.db")) == []


@pytest.mark.parametrize("name", ["two words", "💣", "x" * 1_000_000, "", " ", "a\u202eb", "-rf"])
def test_any_name_is_left_to_the_login_center_to_judge(console: Console, name: str) -> None:
    console.login_center.refusal = (ErrorCode.NAME_INVALID, 0)
    result = console.run("register", "--password-stdin", "--", name, typed="x\n")
    assert result.exit_code == 1
    assert "name" in result.stderr
    assert list(console.home.glob("*.db")) == []


def test_registering_says_who_one_is(console: Console) -> None:
    result = console.run("register", "me", "--password-stdin", typed=PASSWORD + "\n")
    assert (result.exit_code, result.output) == (0, f"Registered as me (@{ME}).\n")
    assert console.login_center.credentials[0].password == PASSWORD


def test_a_login_tells_of_the_last_one_and_warns_of_a_new_terminal(console: Console) -> None:
    console.login_center.last_login = LastLogin(0, "192.0.2.1", "\x1b]0;evil\x07")
    result = console.run("login", "me", "--password-stdin", typed=PASSWORD + "\n")
    assert "Last login: 1970-01-01" in result.output and "192.0.2.1" in result.output
    assert "first login of this account from this terminal" in result.output
    assert "\x1b" not in result.output


@pytest.mark.parametrize(
    ("typed", "password"),
    [
        (b"secret word\n", "secret word"),
        (b"no newline", "no newline"),
        (b"crlf\r\n", "crlf"),
        ("grün\n".encode(), "grün"),
        (b" a \nb\n", " a "),
    ],
)
def test_a_password_from_stdin_is_its_first_line(console: Console, typed: bytes, password: str) -> None:
    assert console.run("login", "me", "--password-stdin", typed=typed).exit_code == 0
    assert console.login_center.credentials[0].password == password


@pytest.mark.parametrize("typed", [b"", b"\n", b"\xff\xfe\n"])
def test_a_password_that_is_none_ends_with_2(console: Console, typed: bytes) -> None:
    assert console.run("login", "me", "--password-stdin", typed=typed).exit_code == 2
    assert console.login_center.connections == 0


@pytest.mark.parametrize(("mode", "code"), [(0o600, 0), (0o400, 0), (0o640, 2), (0o604, 2)])
def test_a_password_file_has_to_be_private(console: Console, tmp_path: Path, mode: int, code: int) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(mode)
    result = console.run("login", "me", "--password-file", str(file))
    assert result.exit_code == code, result.output


def test_a_password_file_may_not_be_a_link(console: Console, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "link").symlink_to("password")
    assert console.run("login", "me", "--password-file", str(tmp_path / "link")).exit_code == 2


def test_a_changed_identity_is_said_loudly(console: Console) -> None:
    console.register()
    console.login_center.identity_private = bytes([1]) * 32
    result = console.run("login", "me", "--password-stdin", typed=PASSWORD + "\n")
    assert result.exit_code == 1
    assert "HAS CHANGED" in result.stderr
    assert console.run("unpin").exit_code == 0
    assert console.run("login", "me", "--password-stdin", typed=PASSWORD + "\n").exit_code == 0


@pytest.mark.parametrize(("outcome", "word"), [(1, "received"), (2, "stored")])
def test_send_says_what_became_of_the_message(console: Console, outcome: int, word: str) -> None:
    console.register()
    running = console.start("send", "me", f"@{YOU}", "two", "words")
    session = console.center.session()
    wait_until(lambda: session.bodies)
    assert session.bodies == [b"two words"]
    session.settle(session.of(Command.USER_MESSAGE)[0], outcome)
    assert running.communicate(timeout=20) == (word + "\n", "")
    assert running.returncode == 0


def test_send_to_a_name_looks_it_up(console: Console) -> None:
    console.register()
    running = console.start("send", "me", "bob", "x")
    session = console.center.session()
    wait_until(lambda: session.of(Command.LOOKUP))
    session.reply(session.of(Command.LOOKUP)[0], FoundUser(YOU, "bob").encode())
    wait_until(lambda: session.bodies)
    session.refuse(session.of(Command.USER_MESSAGE)[0], ErrorCode.RECIPIENT_FULL)
    assert running.communicate(timeout=20)[1] == "myim: refused: RECIPIENT_FULL, too much is waiting there already\n"
    assert running.returncode == 1


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (ErrorCode.STORE_UNAVAILABLE, "STORE_UNAVAILABLE, the server's database does not answer; try again in 3 s"),
        (ErrorCode.BAD_COMMAND, "BAD_COMMAND, refused; try again in 3 s"),
        (99, "UNKNOWN_CODE_99, refused; try again in 3 s"),
    ],
)
def test_a_refusal_is_told_by_its_name(console: Console, code: int, told: str) -> None:
    console.register()
    running = console.start("send", "me", "bob", "x")
    session = console.center.session()
    wait_until(lambda: session.of(Command.LOOKUP))
    session.refuse(session.of(Command.LOOKUP)[0], code, 2001)
    assert running.communicate(timeout=20)[1] == f"myim: refused: {told}\n"
    assert running.returncode == 1


@pytest.mark.parametrize("code", [ErrorCode.TOKEN_REVOKED, ErrorCode.TOKEN_INVALID, ErrorCode.TOKEN_EXPIRED])
@pytest.mark.parametrize("command", [["send", "me", f"@{YOU}", "x"], ["inbox", "me"]], ids=["send", "inbox"])
def test_a_token_that_does_not_serve_is_told_with_what_helps(console: Console, code: ErrorCode, command: list[str]) -> None:
    console.register()
    console.center.refusal = code
    result = console.run(*command)
    assert result.exit_code == 1
    assert f"no connection: {code.name}" in result.stderr
    assert f"Try: myim --server {console.login_center.address} --home {console.home} login me" in result.stderr


def test_a_session_that_is_revoked_while_one_waits_is_told_with_what_helps(console: Console) -> None:
    console.register()
    for command, what in ((["inbox", "me", "--wait", "30"], Command.OFFLINE_FETCH), (["send", "me", f"@{YOU}", "x"], Command.USER_MESSAGE)):
        console.center.refusal = None
        count = len(console.center.sessions)
        running = console.start(*command, *(["--timeout", "4"] if what == Command.USER_MESSAGE else []))
        session = console.center.session(count + 1)
        wait_until(lambda what=what, session=session: session.of(what))  # type: ignore[misc]
        console.center.refusal = ErrorCode.TOKEN_REVOKED
        session.goodbye(ErrorCode.TOKEN_REVOKED)
        errors = running.communicate(timeout=20)[1]
        assert running.returncode == 1
        assert "login me" in errors


def test_the_usual_server_and_home_need_not_be_typed() -> None:
    home = Path("~/.myim").expanduser()
    assert how_to_log_in("127.0.0.1:7400", home, "me") == "myim login me"
    assert how_to_log_in("h:1", Path("/a b"), "x y") == "myim --server h:1 --home '/a b' login 'x y'"


def test_a_message_to_oneself_is_told_so(console: Console) -> None:
    console.register()
    result = console.run("send", "me", f"@{ME}", "x")
    assert (result.exit_code, "that is you" in result.stderr) == (2, True)


@pytest.mark.parametrize(("retry_ms", "told"), [(0, "later"), (1, "in 1 s"), (45_000, "in 45 s"), (900_000, "in 15 min")])
def test_who_is_throttled_is_told_for_how_long(console: Console, retry_ms: int, told: str) -> None:
    console.login_center.refusal = (ErrorCode.THROTTLED, retry_ms)
    result = console.run("login", "me", "--password-stdin", typed="x\n")
    assert (result.exit_code, result.stderr) == (1, f"myim: too many failed logins; try again {told}\n")


def test_registering_where_the_account_is_known_asks_the_server_for_nothing(console: Console) -> None:
    console.register()
    connections = console.login_center.connections
    result = console.run("register", "ME", "--password-stdin", typed=PASSWORD + "\n")
    assert (result.exit_code, "is registered here already" in result.stderr) == (2, True)
    assert console.login_center.connections == connections
    assert console.run("login", "me", "--password-stdin", typed=PASSWORD + "\n").exit_code == 0


def test_what_was_not_settled_in_time_is_kept_and_said_so(console: Console) -> None:
    console.register()
    result = console.run("send", "me", f"@{YOU}", "x", "--timeout", "0.6")
    assert (result.exit_code, "kept" in result.stderr) == (1, True)
    with Client(Terminal.open(console.home), console.terminal.profile_path(console.login_center.address, "me")) as client:
        assert client.unsettled == 1


UNSENDABLE = [("@0", "x"), (f"@{ME}", "x"), (f"@{1 << 64}", "x"), (f"@{YOU}", "x" * 1_000_000), (f"@{YOU}", "\udcff")]


@pytest.mark.parametrize(("to", "text"), UNSENDABLE, ids=["nobody", "oneself", "no id", "too long", "no text"])
def test_a_message_that_cannot_be_ends_with_2(console: Console, to: str, text: str) -> None:
    console.register()
    assert console.run("send", "me", to, text).exit_code == 2


def test_a_message_may_come_from_stdin(console: Console) -> None:
    console.register()
    result = console.run("send", "me", f"@{YOU}", "-", "--timeout", "0.6", typed=b"\x00\xff bytes")
    assert result.exit_code == 1
    assert console.center.sessions[0].bodies == [b"\x00\xff bytes"]


def test_the_inbox_prints_one_json_object_per_message_and_confirms(console: Console) -> None:
    console.register()
    console.center.is_fetch_answered = False
    running = console.start("inbox", "me", "--json")
    session = console.center.session()
    session.deliver(YOU, 64, "grüß\n\x1b[2J".encode())
    session.deliver(YOU, 128, b"\xff\x00")
    session.reply(session.of(Command.OFFLINE_FETCH)[0], (2).to_bytes(4, "big"))
    session.tell_groups()
    output, errors = running.communicate(timeout=20)
    assert (running.returncode, errors) == (0, "")
    first, second = (json.loads(line) for line in output.splitlines())
    assert (first["type"], first["from"], first["time"], first["text"], first["name"]) == ("message", YOU, 64, "grüß\n\x1b[2J", None)
    assert "\x1b" not in output
    assert (second["base64"], "text" in second) == ("/wA=", False)
    wait_until(lambda: session.is_ended)
    assert len(session.of(Command.RECEIPT)) >= 1


def test_the_inbox_for_people_lets_no_message_touch_the_screen(console: Console) -> None:
    console.register()
    console.center.is_fetch_answered = False
    running = console.start("inbox", "me")
    session = console.center.session()
    session.deliver(YOU, 64, b"one\n1970-01-01 boss: \x1b[31mred")
    session.reply(session.of(Command.OFFLINE_FETCH)[0], (1).to_bytes(4, "big"))
    session.tell_groups()
    output, _ = running.communicate(timeout=20)
    assert "\x1b" not in output
    assert output.splitlines()[1].startswith("    1970")
    assert f"@{YOU}: one" in output


def test_an_inbox_whose_reader_has_gone_confirms_nothing(console: Console) -> None:
    console.register()
    console.center.is_fetch_answered = False
    running = console.start("inbox", "me", "--json")
    assert running.stdout is not None
    running.stdout.close()
    session = console.center.session()
    session.deliver(YOU, 64, b"x")
    assert running.wait(20) == 1
    assert session.of(Command.RECEIPT) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[2J", "\ufffd[2J"),
        ("\x9b31m", "\ufffd31m"),
        ("a\u202eb", "a\ufffdb"),
        ("\u2066x", "\ufffdx"),
        ("a\tb", "a    b"),
        ("a\nb", "a\ufffdb"),
        ("a\rb", "a\ufffdb"),
        ("\ud800", "\ufffd"),
        ("\u2028", "\ufffd"),
        ("é 中 💣", "é 中 💣"),
    ],
)
def test_text_of_others_is_made_safe(text: str, shown: str) -> None:
    assert printable(text) == shown
