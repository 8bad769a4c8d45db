"""Operator commands, on config, store and keys directly; no node needs to run, and running centers hear of them within seconds.

What lives here: `python -m myim_server admin …`. What must not: rules (they are in `chat`, `tickets`, `throttles`), sockets. Exit codes:
0 done, 1 could not (no such user, store or secret refused), 2 wrong arguments or config. Nothing secret is printed; `mint` writes a file
that only its owner can read.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from myim_server import admin_endpoints, admin_live, admin_purge, throttles
from myim_server.chat.names import parse_name
from myim_server.config import ConfigError, load_config
from myim_server.config_sections import SQLITE_PREFIX, Config
from myim_server.keys import open_cluster_secret, open_login_keys, open_node_key
from myim_server.node_parts import store_settings
from myim_server.refusals import RequestRefused, StoreRefused
from myim_server.secret_files import SecretRefused
from myim_server.store.accounts import Account, NameTaken, NoSuchUser
from myim_server.store.engine import Store, open_store
from myim_server.store.terminals import SLOTS, Admission, Arrival, NoFreeSlot, NoSuchTerminal
from myim_server.tickets import Tickets
from myim_wire.key_schedule import KeyPair, derive_terminal_private

DEFAULT_CONFIG = Path("myim.yaml")
NO_PASSWORD = "!"  # no argon2 hash: nothing matches it
MINTED_AT_ONCE = 100  # 500 took longer, on a busy machine, than a transaction may
MINT_ADDRESS = "127.0.0.1"


class Failed(click.ClickException):
    """The command could not be carried out; its text says why. Exits with 1."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a command works on."""

    config: Config
    store: Store
    tickets: Tickets


def wall_clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000


def load(path: Path | None) -> Config:
    """The config of the file, of ./myim.yaml, or the defaults; exits with 2 and the reasons if it is wrong."""
    if path is None and DEFAULT_CONFIG.exists():
        path = DEFAULT_CONFIG
    try:
        return load_config(path, os.environ)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)


@contextmanager
def opened(path: Path | None, *, migrate: bool = False, may_be_new: bool = False) -> Iterator[Place]:
    """Store and ticket keys of the config's installation; all that can be wrong with them ends the command with 1.

    Where no node ever ran, nothing is made and the command ends with 1, unless it `may_be_new`.
    """
    config = load(path)
    if not (may_be_new or has_run(config)):
        raise Failed(
            f"no node ever ran on {config.data_dir.absolute()}: start this command in the directory where the node is started, "
            "or name the node's config with --config"
        )
    try:
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = open_store(replace(store_settings(config), migrate=migrate))
    except (StoreRefused, OSError) as error:
        raise Failed(str(error)) from None
    try:
        tokens = config.tokens
        secret = open_cluster_secret(config.cluster_secret_file)
        tickets = Tickets(store.tickets, secret, wall_clock, valid_hours=tokens.valid_hours, rotate_hours=tokens.rotate_hours)
        yield Place(config, store, tickets)
    except (RequestRefused, SecretRefused, OSError) as error:
        raise Failed(str(error)) from None
    except NoSuchUser:
        raise Failed("no such user") from None
    except NoFreeSlot:
        raise Failed("a user has 64 terminals already; mint under another prefix") from None
    finally:
        store.close()


def has_run(config: Config) -> bool:
    """Whether a node left its files where the config says; each of the two keys may have been removed on purpose (docs/operations.md)."""
    has_keys = any(os.path.lexists(path) for path in (config.data_dir / "node.key", config.cluster_secret_file))
    return has_keys and (not config.store.is_sqlite or os.path.lexists(config.store_url.removeprefix(SQLITE_PREFIX)))


def configured(command: Callable[..., None]) -> Callable[..., None]:
    """The --config option every command has."""
    option = click.option("--config", "path", type=click.Path(path_type=Path), help="The config file; ./myim.yaml if it is there.")
    return option(command)


def account_of(store: Store, user: str) -> Account:
    """The account of a name, or of `id:NUMBER`; no name has a colon."""
    if user.startswith("id:"):
        if not user[3:].isascii() or not user[3:].isdigit() or int(user[3:]) >= 1 << 63:
            raise click.UsageError(f"{user!r} is not id:NUMBER")
        account = store.accounts.get(int(user[3:]))
    else:
        name = parse_name(user)
        account = store.accounts.find(name.folded) if name else None
    if account is None:
        raise Failed("no such user")
    return account


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def admin() -> None:
    """Look after the users, tickets and store of an installation. USER is a name, or id:NUMBER."""


@admin.command("rotate-keys")
@click.option("--compromised", is_flag=True, help="Drop all keys: every token ends, everybody needs the password.")
@configured
def rotate_keys(path: Path | None, compromised: bool) -> None:
    """Make a new ticket key now."""
    with opened(path) as place:
        if compromised:
            place.tickets.drop_all()
            click.echo("all ticket keys dropped; every terminal has to log in with its password")
        else:
            place.tickets.rotate(is_due=True)
            accepted = place.tickets.accepted
            click.echo(f"a new ticket key is made; {accepted} {'is' if accepted == 1 else 'are'} accepted")


@admin.command()
@click.argument("user")
@click.option("--slot", type=click.IntRange(0, SLOTS - 1), help="Only this terminal of the user.")
@configured
def revoke(path: Path | None, user: str, slot: int | None) -> None:
    """End the sessions and tokens of a user, or of one of its terminals; the password still works."""
    with opened(path) as place:
        account = account_of(place.store, user)
        if slot is None:
            generation = place.store.accounts.raise_generation(account.user_id)
        else:
            try:
                generation = place.store.terminals.raise_generation(account.user_id, slot)
            except NoSuchTerminal:
                raise Failed(f"the user has no terminal at slot {slot}") from None
        click.echo(f"revoked; the generation is {generation} now")


@admin.command()
@click.argument("user")
@configured
def lock(path: Path | None, user: str) -> None:
    """Refuse the user's logins from now on, and end its sessions."""
    with opened(path) as place:
        account = account_of(place.store, user)
        place.store.accounts.lock(account.user_id)
        place.store.accounts.raise_generation(account.user_id)
        click.echo("locked")


@admin.command()
@click.argument("user")
@configured
def unlock(path: Path | None, user: str) -> None:
    """Allow the user's logins again and forget its failed ones."""
    with opened(path) as place:
        account = account_of(place.store, user)
        place.store.accounts.unlock(account.user_id)
        for counter in place.store.throttles.read(counters_of(account)):
            place.store.throttles.clear(counter)
        click.echo("unlocked")


def counters_of(account: Account) -> list[str]:
    """All failure counters an account can have."""
    return [throttles.account_counter(account.name), *(throttles.terminal_counter(account.user_id, slot) for slot in range(SLOTS))]


@admin.group()
def users() -> None:
    """Look at users."""


@users.command()
@click.argument("user")
@configured
def show(path: Path | None, user: str) -> None:
    """What is kept of a user, as one JSON object; neither hash nor key is in it."""
    with opened(path) as place:
        account = account_of(place.store, user)
        generations = place.store.terminals.generations((account.user_id, slot) for slot in range(SLOTS))
        failures = place.store.throttles.read(counters_of(account))
        shown = {
            "user": account.user_id,
            "name": account.name,
            "shown_name": account.shown_name,
            "generation": account.generation,
            "is_locked": account.is_locked,
            "terminals": [{"slot": slot, "generation": of_terminal} for (_, slot), (_, of_terminal) in sorted(generations.items())],
            "failed_logins": max((count.failures for count in failures.values()), default=0),
        }
        click.echo(json.dumps(shown, ensure_ascii=False))


@admin.command()
@click.option("--count", type=click.IntRange(1, 1_000_000), required=True)
@click.option("--prefix", required=True, help="Names are the prefix and a number from 0.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file of JSON lines; only its owner can read it.")
@configured
def mint(path: Path | None, count: int, prefix: str, out: Path) -> None:
    """Make accounts without passwords, each with a terminal and a token, for benches and floods."""
    if parse_name(f"{prefix}{count - 1}") is None:
        raise click.BadParameter("is no beginning of a name", param_hint="--prefix")
    with opened(path, may_be_new=True) as place, private_file(out) as file:
        place.tickets.rotate()
        for first in range(0, count, MINTED_AT_ONCE):
            names = [f"{prefix}{number}" for number in range(first, min(count, first + MINTED_AT_ONCE))]
            for row in minted(place, names, wall_clock()):
                file.write(json.dumps(row).encode() + b"\n")
    click.echo(f"minted {count} into {out}")


def minted(place: Place, names: Sequence[str], now: int) -> Iterator[dict[str, Any]]:
    """One row for each name; a user that is there is used again, with a new terminal."""
    accounts = accounts_without_password(place.store, names, now)
    keys = [(secrets.token_bytes(32), secrets.token_bytes(32)) for _ in accounts]
    publics = [KeyPair(derive_terminal_private(fingerprint, secret)).public for secret, fingerprint in keys]
    network = throttles.network_of(MINT_ADDRESS)
    admissions: list[Admission] = place.store.terminals.admit_all(
        [
            Arrival(account.user_id, public, fingerprint, "minted", MINT_ADDRESS, network, now)
            for account, public, (_, fingerprint) in zip(accounts, publics, keys, strict=True)
        ]
    )
    for account, public, (secret, fingerprint), admission in zip(accounts, publics, keys, admissions, strict=True):
        issued = place.tickets.issue(account.user_id, admission.slot, public, (account.generation, admission.generation), now)
        yield {
            "user": account.user_id,
            "name": account.shown_name,
            "slot": admission.slot,
            "token": issued.token.hex(),
            "session_key": issued.session_key.hex(),
            "terminal_secret": secret.hex(),
            "fingerprint": fingerprint.hex(),
        }


def accounts_without_password(store: Store, names: Sequence[str], now: int) -> list[Account]:
    """The accounts of these names, made where they are not there."""
    parsed = [name for name in map(parse_name, names) if name is not None]
    try:
        ids = store.accounts.create_all([(name.folded, name.shown, NO_PASSWORD) for name in parsed], now)
    except NameTaken:
        found = [store.accounts.find(name.folded) for name in parsed]
        missing = [name.shown for name, account in zip(parsed, found, strict=True) if account is None]
        if missing:
            accounts_without_password(store, missing, now)
            return accounts_without_password(store, names, now)
        return [account for account in found if account is not None]
    return [
        Account(user_id, name.folded, name.shown, NO_PASSWORD, generation=1, is_locked=False)
        for user_id, name in zip(ids, parsed, strict=True)
    ]  # fmt: skip


@contextmanager
def private_file(path: Path) -> Iterator[Any]:
    """A file of mode 0600 that takes its name when it is whole; raises OSError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as file:
            yield file
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@admin.command()
@configured
def migrate(path: Path | None) -> None:
    """Bring the store to this program's schema version; make a copy of it first."""
    with opened(path, migrate=True, may_be_new=True):
        click.echo("the store is at this program's version")


@admin.command()
@configured
def check(path: Path | None) -> None:
    """Open config, store and keys and say whether a node could use them."""
    with opened(path) as place:
        place.tickets.refresh()
        kept = len(place.store.tickets.keys())
        if place.tickets.accepted < kept:
            raise Failed(f"{kept - place.tickets.accepted} of {kept} ticket keys do not open: is the cluster secret another one?")
        node = open_node_key(place.config.data_dir).node_id
        click.echo(f"store ok, {kept} ticket key{'s' * (kept != 1)}, node {node}")
        if "login" in place.config.node.roles:
            click.echo(f"login identity {open_login_keys(place.config.data_dir).identity.hex()}")


for command in (
    *admin_live.commands(load, configured),
    *admin_endpoints.commands(opened, configured),
    *admin_purge.commands(opened, configured),
):
    admin.add_command(command)
