"""The console on a real terminal (a pty) and a real node: what a new user does first."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.town import PASSWORD, Town, own_environment, wait_until


class Screen:
    """A process on a pty; `text` is all it printed, without the escape sequences."""

    def __init__(self, *command: str) -> None:
        self._master, slave = pty.openpty()
        environment = {**own_environment(), "TERM": "xterm", "COLUMNS": "200", "LINES": "40", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True)
        os.close(slave)
        os.set_blocking(self._master, False)
        self._raw = b""

    @property
    def text(self) -> str:
        try:
            while data := os.read(self._master, 65536):
                self._raw += data
        except OSError:
            pass  # nothing there just now, or the process has ended
        return re.sub(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>]|\][^\x07]*\x07)", "", self._raw.decode("utf-8", "replace"))

    def until(self, words: str) -> None:
        """Wait until it printed these words."""
        wait_until(lambda: words in self.text, 30.0)

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._master, line.encode() + b"\r")

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)


class Desk:
    """One person's console: every command with the same home."""

    def __init__(self, town: Town, name: str) -> None:
        self.name = name
        home = town.directory / "consoles" / name
        self._command = [sys.executable, "-m", "myim_client.console", "--server", town.login_server, "--home", str(home)]
        self.screens: list[Screen] = []

    def open(self, *arguments: str) -> Screen:
        """Run a command on a screen."""
        screen = Screen(*self._command, *arguments)
        self.screens.append(screen)
        return screen

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command without one."""
        return subprocess.run([*self._command, *arguments], capture_output=True, text=True, env=own_environment(), timeout=60, check=False)

    def register(self) -> None:
        """Register, typing the password twice."""
        screen = self.open("register", self.name)
        screen.until("Password:")
        screen.type(PASSWORD)
        screen.until("Again:")
        screen.type(PASSWORD)
        screen.until(f"Registered as {self.name}")
        assert PASSWORD not in screen.text
        assert screen.process.wait(10) == 0


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    made.start()
    yield made
    made.close()


def test_two_consoles_talk_and_what_came_meanwhile_is_shown_first(town: Town) -> None:
    alice, bob = Desk(town, "alice"), Desk(town, "bob")
    try:
        alice.register()
        bob.register()
        a, b = alice.open("chat", "alice"), bob.open("chat", "bob")
        a.until("connected to")
        b.until("connected to")
        a.type("/to bob")
        a.until("bob>")
        a.type("hello bob")
        b.until("alice: hello bob")  # bob never asked for alice: her name is learned from her id
        a.until("✓✓ received: hello bob")
        b.type("/quit")
        assert b.process.wait(10) == 0
        a.type("are you there?")
        a.until("✓  stored: are you there?")
        b = bob.open("chat", "bob", "--to", "alice")
        b.until(": are you there?")
        b.until("1 message had waited for you")
        a.until("✓✓ bob has received: are you there?")
        b.type("back again")
        a.until(": back again")
        a.type("/quit")
        assert a.process.wait(10) == 0
        (history,) = (town.directory / "consoles" / "alice").glob("*-alice.db.history")
        assert "hello bob" in history.read_text() and history.stat().st_mode & 0o777 == 0o600
    finally:
        for screen in alice.screens + bob.screens:
            screen.close()


def test_ctrl_c_while_the_password_is_asked_applies_nothing(town: Town) -> None:
    alice = Desk(town, "alice")
    screen = alice.open("register", "alice")
    screen.until("Password:")
    os.killpg(screen.process.pid, 2)
    assert screen.process.wait(10) == 1
    screen.close()
    assert "register or log in first" in alice.run("inbox", "alice").stderr
    assert list((town.directory / "consoles" / "alice").glob("*.db")) == []


def test_scripts_send_and_read(town: Town) -> None:
    alice, bob = Desk(town, "alice"), Desk(town, "bob")
    for desk in (alice, bob):
        desk.register()
    sent = alice.run("send", "alice", "bob", "five", "past", "nine")
    assert (sent.returncode, sent.stdout) == (0, "stored\n")
    read = bob.run("inbox", "bob", "--json")
    assert read.returncode == 0
    assert '"name": "alice"' in read.stdout
    assert '"text": "five past nine"' in read.stdout
    assert bob.run("inbox", "bob", "--json").stdout == ""
    wait_until(lambda: '"type": "receipt"' in alice.run("inbox", "alice", "--json", "--wait", "0.3").stdout)
    lost = alice.run("send", "alice", "nobody", "x")
    assert (lost.returncode, lost.stderr) == (1, "myim: there is no user 'nobody'\n")
