"""Where the console's commands work, and where they get passwords from: what all of them share. No command lives here.

Passwords come from the terminal, from stdin or from a private file, never from the arguments.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from myim_client.client import Client
from myim_client.console_words import how_to_log_in
from myim_client.errors import LoginNeeded
from myim_client.profile import check_private
from myim_client.terminal import Terminal

MAX_PASSWORD_BYTES = 4096
HISTORY_SUFFIX = ".history"  # of the file beside a user's profile that holds what was typed in the chat
SECRET_FILE = click.Path(exists=True, dir_okay=False, allow_dash=False, path_type=Path)


class Place:
    """Where the terminal's files and the login center are."""

    def __init__(self, server: str, home: Path) -> None:
        self.server = server
        self.home = home

    def terminal(self) -> Terminal:
        """The terminal, made if this is its first use."""
        return Terminal.open(self.home)

    def client(self, name: str, **options: Any) -> Client:
        """The client of a user who has logged in here."""
        terminal = self.terminal()
        try:
            return Client(terminal, terminal.profile_path(self.server, name), **options)
        except LoginNeeded as error:
            raise LoginNeeded(f"{error}\nTry: {self.how_to_log_in(name)}") from None

    def how_to_log_in(self, name: str) -> str:
        """What to type to log in as `name` here."""
        return how_to_log_in(self.server, self.home, name)


def password_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where a password may come from; without either it is asked for on the terminal."""
    command = click.option("--password-stdin", is_flag=True, help="Read the password from the first line of stdin.")(command)
    return click.option("--password-file", type=SECRET_FILE, help="Read it from a file of mode 0600.")(command)


def read_password(is_stdin: bool, file: Path | None, is_new: bool, prompt: str = "Password: ") -> str:
    """The password, from where the options say (of stdin the next line). Exits with 2 if there is none to be had."""
    if is_stdin and file:
        raise click.UsageError("--password-stdin and --password-file exclude each other")
    if file:
        try:
            check_private(file)
            return _first_line(file.read_bytes()[:MAX_PASSWORD_BYTES])
        except OSError as error:
            raise click.UsageError(f"{file}: {error.strerror}") from None
    if is_stdin:
        return read_line()
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for the password; use --password-stdin or --password-file")
    password = getpass.getpass(prompt)
    if is_new and getpass.getpass("Again: ") != password:
        raise click.UsageError("the two passwords differ")
    return password


def read_line(what: str = "the password") -> str:
    """The next line of stdin, which is to be `what`. Exits with 2 if it is empty or no text."""
    return _first_line(sys.stdin.buffer.readline(MAX_PASSWORD_BYTES), what)


def _first_line(content: bytes, what: str = "the password") -> str:
    try:
        line = content.split(b"\n", 1)[0].rstrip(b"\r").decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"{what} is not UTF-8") from None
    if not line:
        raise click.UsageError(f"{what} is empty")
    return line
