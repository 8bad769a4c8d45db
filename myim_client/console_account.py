"""`myim password` and `myim delete`, and what the chat says and does about the account: /terminals, /logins, /export.

What lives here: words in, words out. What must not: the prompt and the screen (`console_chat`), other commands (`console`).
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import click

from myim_client.addresses import typed_number
from myim_client.client import Client
from myim_client.console_place import HISTORY_SUFFIX, SECRET_FILE, Place, password_options, read_line, read_password
from myim_client.errors import RequestRefused
from myim_client.events import NewTerminal
from myim_client.login import change_password, delete_account
from myim_client.printable import local_time, printable
from myim_client.terminal import fold_name
from myim_wire.account_contents import ListedLogin, ListedTerminal
from myim_wire.errors import ErrorCode

LOGINS_SHOWN = 20
COMMANDS = {
    "/terminals": "your terminals; /terminals rename SLOT NAME, revoke SLOT, revoke all, ok SLOT",
    "/logins": "the latest logins",
    "/export FILE": "all that is kept of you, as JSON",
}


@click.command("password")
@click.argument("name")
@password_options
@click.option("--new-password-file", type=SECRET_FILE, help="Read the new one from a file of mode 0600.")
@click.pass_obj
def password_command(place: Place, name: str, password_stdin: bool, password_file: Path | None, new_password_file: Path | None) -> None:
    """Change the password of NAME and end all its sessions; this terminal is logged in anew.

    With --password-stdin the first line is the old password, the second the new one.
    """
    if bool(password_file) != bool(new_password_file):
        raise click.UsageError("--password-file and --new-password-file go together")
    old = read_password(password_stdin, password_file, is_new=False, prompt="Old password: ")
    new = read_password(password_stdin, new_password_file, is_new=True, prompt="New password: ")
    logged_in = change_password(place.terminal(), place.server, name, old, new)
    click.echo(f"The password of {printable(logged_in.account.name)} is changed; all other terminals have to log in with it.")


@click.command("delete")
@click.argument("name")
@password_options
@click.pass_obj
def delete_command(place: Place, name: str, password_stdin: bool, password_file: Path | None) -> None:
    """End the account NAME for good, and remove what this terminal keeps of it.

    The name has to be typed again: on the terminal, or as the first line of stdin (with --password-stdin the password is the second).
    """
    click.echo(f"This ends the account {printable(name)}: its messages, friends and groups go, and nobody can bring them back.", err=True)
    if sys.stdin.isatty():
        click.echo("Type the name again to go on: ", nl=False, err=True)
    if fold_name(read_line("the name")) != fold_name(name):
        raise click.UsageError("that is another name; nothing was done")
    terminal = place.terminal()
    delete_account(terminal, place.server, name, read_password(password_stdin, password_file, is_new=False))
    profile = terminal.profile_path(place.server, name)
    for suffix in ("", "-wal", "-shm", ".lock", HISTORY_SUFFIX):
        profile.with_name(profile.name + suffix).unlink(missing_ok=True)
    click.echo(f"Deleted {printable(name)}. Nobody can take the name for 40 days.")


class AccountTalk:
    """What is typed about the account in the chat, and what is told of it. `say` prints a line."""

    def __init__(self, client: Client, say: Callable[[str], None]) -> None:
        self._client = client
        self._say = say
        self.words: dict[str, Callable[[str], None]] = {
            "/terminals": self._terminals, "/logins": self._logins, "/export": self._export,
        }  # fmt: skip

    def warning(self, event: NewTerminal) -> str:
        """The line for a new terminal."""
        who = f"{printable(event.name) or 'a terminal without a name'} (slot {event.slot})"
        what = f"/terminals ok {event.slot} if that was you, else /terminals revoke {event.slot}, leave, and run myim password"
        return f"! NEW TERMINAL: {who} logged in to your account from {printable(event.address)}, {_when(event.time)}; {what}"

    def _terminals(self, rest: str) -> None:
        try:
            terminals = self._asked(rest.split(maxsplit=2))
        except RequestRefused as refusal:
            if refusal.code != ErrorCode.NOT_ALLOWED:
                raise
            what = "you have no such terminal, or this one is too new to vouch for it: use an older one"
            raise ValueError(f"refused: {ErrorCode.NOT_ALLOWED.name}, {what}") from None
        for one in terminals:
            self._say(_terminal(one))

    def _asked(self, words: list[str]) -> list[ListedTerminal]:
        account = self._client.account
        match words:
            case []:
                return account.terminals()
            case ["revoke", "all"]:
                return account.revoke_terminal()
            case ["revoke", slot]:
                return account.revoke_terminal(_slot(slot))
            case ["ok", slot]:
                return account.acknowledge_terminal(_slot(slot))
            case ["rename", slot, name]:
                return account.rename_terminal(_slot(slot), name)
            case _:
                raise ValueError("/terminals, /terminals rename SLOT NAME, revoke SLOT, revoke all, ok SLOT")

    def _logins(self, rest: str) -> None:
        for one in itertools.islice(self._client.account.logins(), LOGINS_SHOWN):
            self._say(_login(one))

    def _export(self, rest: str) -> None:
        if not rest:
            raise ValueError("to which file? /export FILE")
        try:
            path = Path(rest).expanduser()
            size = self._client.account.export(path)
        except OSError as error:
            raise ValueError(f"{rest}: {error.strerror or error}") from None
        except RuntimeError as error:  # ~somebody, who has no home
            raise ValueError(f"{rest}: {error}") from None
        self._say(f"* {size} bytes written to {printable(str(path))}")


def _slot(word: str) -> int:
    slot = typed_number(word, below=64)
    if slot is None:
        raise ValueError(f"{word} is no slot: /terminals says which there are")
    return slot


def _terminal(one: ListedTerminal) -> str:
    states = (
        ("this one", one.is_this), ("online", one.is_online and not one.is_this), ("logged out", one.is_revoked), ("NEW", one.is_new),
    )  # fmt: skip
    state = ", ".join(word for word, is_so in states if is_so)
    seen = f"last seen {_when(one.last_seen)} from {printable(one.address)}"
    first = f", first {_when(one.first_seen)}" if one.first_seen else ""
    return f"  {one.slot:2} {printable(one.name) or '(no name)'} [{printable(one.tag)}] {seen}{first}{f' ({state})' if state else ''}"


def _login(one: ListedLogin) -> str:
    new = " and ".join(word for word, is_so in (("new terminal", one.is_new_terminal), ("new network", one.is_new_network)) if is_so)
    what = f"{printable(one.terminal) or '(no name)'} (slot {one.slot}) from {printable(one.address)}"
    return f"  {_when(one.time)} {what}{f', {new}' if new else ''}"


def _when(time: int) -> str:
    when: datetime = local_time(time)
    return f"{when:%Y-%m-%d %H:%M}"
