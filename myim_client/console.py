"""`myim`: the command line for people and scripts. Commands and exit codes live here; the chat itself is `console_chat`.

Exit codes: 0 done · 1 refused, unreachable, not settled in time, or interrupted · 2 the call itself is wrong (arguments, a file that
cannot be used).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import click

from myim_client.addresses import spelled
from myim_client.client import Client
from myim_client.console_account import delete_command, password_command
from myim_client.console_groups import GroupNames
from myim_client.console_inbox import print_inbox
from myim_client.console_place import Place, password_options, read_password
from myim_client.console_words import DEFAULT_HOME, DEFAULT_SERVER, why
from myim_client.errors import (
    BodyTooLarge,
    LoginNeeded,
    MyimError,
    NotConnected,
    NotSettled,
    ProfileRefused,
    RequestRefused,
)
from myim_client.events import Handle, OutcomeKind, PasswordNeeded
from myim_client.login import LoggedIn, login, register
from myim_client.printable import local_time, printable

CONNECT_SECONDS = 15.0
LOOK_SECONDS = 0.2


def stop(message: str, code: int) -> NoReturn:
    """End with one line on stderr."""
    click.echo(f"myim: {printable(message, keep_lines=True)}", err=True)
    sys.exit(code)


class Commands(click.Group):
    """The group, with the SDK's errors turned into exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (BodyTooLarge, ProfileRefused) as error:
            stop(str(error), 2)
        except RequestRefused as error:
            stop(f"refused: {why(error.code, error.text, error.retry_ms)}", 1)
        except MyimError as error:
            stop(str(error), 1)
        except BrokenPipeError:
            sys.stderr.close()  # whoever read us has gone, and Python would complain about it at exit
            sys.exit(1)


def _server_option(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        return spelled(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


_HOME = click.Path(file_okay=False, path_type=Path)
_EXIT_CODES = "Exit codes: 0 done, 1 refused or failed, 2 wrong call."


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES)
@click.option("--server", default=DEFAULT_SERVER, show_default=True, callback=_server_option, help="The login center, HOST:PORT.")
@click.option("--home", default=DEFAULT_HOME, show_default=True, type=_HOME, help="Where this terminal keeps its files.")
@click.pass_context
def main(ctx: click.Context, server: str, home: Path) -> None:
    """Talk over MyIM."""
    ctx.obj = Place(server, home.expanduser())


@main.command("register")
@click.argument("name")
@password_options
@click.pass_obj
def register_command(place: Place, name: str, password_stdin: bool, password_file: Path | None) -> None:
    """Make the account NAME and log in."""
    password = read_password(password_stdin, password_file, is_new=True)
    _welcome(register(place.terminal(), place.server, name, password), is_new=True)


@main.command("login")
@click.argument("name")
@password_options
@click.pass_obj
def login_command(place: Place, name: str, password_stdin: bool, password_file: Path | None) -> None:
    """Log in as NAME with the password; chat, send and inbox then need none."""
    password = read_password(password_stdin, password_file, is_new=False)
    _welcome(login(place.terminal(), place.server, name, password), is_new=False)


def _welcome(logged_in: LoggedIn, is_new: bool) -> None:
    account = logged_in.account
    click.echo(f"{'Registered' if is_new else 'Logged in'} as {printable(account.name)} (@{account.user}).")
    last = logged_in.last_login
    if last is not None:
        when = f"{local_time(last.time):%Y-%m-%d %H:%M:%S %Z}"
        click.echo(f"Last login: {when} from {printable(last.address)}, {printable(last.terminal) or 'a terminal without a name'}.")
    if logged_in.is_new_terminal or logged_in.is_new_network:
        what = " and ".join(
            word for word, is_so in (("terminal", logged_in.is_new_terminal), ("network", logged_in.is_new_network)) if is_so
        )
        click.echo(f"Note: the first login of this account from this {what}.")


main.add_command(password_command)
main.add_command(delete_command)


@main.command("unpin")
@click.pass_obj
def unpin_command(place: Place) -> None:
    """Forget the login center's pinned identity; the next login trusts what it sees."""
    if not place.terminal().unpin(place.server):
        stop(f"no identity is pinned for {place.server}", 1)
    click.echo(f"Forgot the identity of {place.server}.")


@main.command("chat")
@click.argument("name")
@click.option("--to", help="Whom to talk to at first.")
@click.pass_obj
def chat_command(place: Place, name: str, to: str | None) -> None:
    """Chat as NAME: what came while you were away first, then as it comes. /help inside."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("chat needs a terminal; scripts use `myim send` and `myim inbox`")
    from myim_client.console_chat import run_chat  # the other commands start faster without prompt_toolkit

    with place.client(name, settled_events=True) as client:
        run_chat(client, to, place.how_to_log_in(name))


@main.command("send")
@click.argument("name")
@click.argument("to")
@click.argument("text", nargs=-1, required=True)
@click.option("--timeout", default=30.0, show_default=True, type=click.FloatRange(0, 86400), help="Seconds to wait for the settling.")
@click.pass_obj
def send_command(place: Place, name: str, to: str, text: tuple[str, ...], timeout: float) -> None:
    """Send TEXT as NAME to TO (a name, @ID, #GROUP or #ID) and say what became of it. TEXT `-` is read from stdin.

    A message that is not settled in time stays in the outbox and goes out with the next command.
    """
    body = sys.stdin.buffer.read(32769) if text == ("-",) else _utf8(" ".join(text))
    with place.client(name) as client:
        end = time.monotonic() + timeout
        _connect(client, timeout, place.how_to_log_in(name))
        try:
            handle = _send(client, _utf8(to).decode(), body)
        except ValueError as error:
            raise click.UsageError(printable(str(error))) from None
        try:
            outcome = handle.wait(max(0.0, end - time.monotonic()))
        except NotSettled:
            needed = _password_needed(client)
            hint = f"\n{needed}\nTry: {place.how_to_log_in(name)}" if needed else ""
            stop(f"not settled in time; it is kept and sent with the next command{hint}", 1)
    if outcome.kind is OutcomeKind.REFUSED:
        stop(f"refused: {why(outcome.code, outcome.text, is_group=to.startswith('#'))}", 1)
    click.echo(f"{outcome.kind.value}, number {outcome.number}" if outcome.number else outcome.kind.value)
    if not outcome.is_settled:
        sys.exit(1)


def _send(client: Client, to: str, body: bytes) -> Handle:
    if to.startswith("#"):
        return client.post(GroupNames(client).find(to), body)
    target = client.user_id(to)
    if target == client.user:
        raise ValueError("that is you")
    return client.send(target, body)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise click.UsageError("an argument is not UTF-8") from None


def _connect(client: Client, timeout: float, login_with: str) -> None:
    """Wait for a session; not in vain where only the password helps: LoginNeeded then says so at once."""
    end = time.monotonic() + min(timeout, CONNECT_SECONDS)
    while True:
        try:
            client.connect(min(timeout, LOOK_SECONDS))
            return
        except NotConnected as error:
            needed = _password_needed(client)
            if needed:
                raise LoginNeeded(f"no connection: {error}: {needed}\nTry: {login_with}") from None
            if time.monotonic() >= end:
                raise NotConnected(f"no connection: {error}") from None


def _password_needed(client: Client) -> str:
    """Why only the password helps, if that is so; all other events stay where they are."""
    events = client.take(0, limit=1_000_000)
    client.inbox.put_back(event for event in events if not isinstance(event, PasswordNeeded))
    return next((event.reason for event in events if isinstance(event, PasswordNeeded)), "")


@main.command("inbox")
@click.argument("name")
@click.option("--json", "is_json", is_flag=True, help="One JSON object per line.")
@click.option("--wait", default=0.0, type=click.FloatRange(0, 86400 * 365), help="Go on for so many seconds after the stored messages.")
@click.pass_obj
def inbox_command(place: Place, name: str, is_json: bool, wait: float) -> None:
    """Print what waits for NAME, of groups too, oldest first, and confirm it: each line is printed before it is confirmed."""
    with place.client(name) as client:
        _connect(client, CONNECT_SECONDS, place.how_to_log_in(name))
        print_inbox(client, is_json, wait, place.how_to_log_in(name))


if __name__ == "__main__":
    main()
