"""Operator commands for endpoints: who may link to the centers. They write to the store; running centers see it within seconds.

What lives here: `admit-endpoint`, `endpoints`, `revoke-endpoint`. What must not: opening an installation (handed in by `admin`), links.
Exit codes are those of `admin`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import click

from myim_server.store.endpoints import EndpointRow, Endpoints, NameInUse
from myim_server.store.engine import Store

FINGERPRINT_DIGITS = 64


class _Place(Protocol):
    @property
    def store(self) -> Store: ...


Opened = Callable[[Path | None], AbstractContextManager[_Place]]
Configured = Callable[[Callable[..., None]], Callable[..., None]]


def _wall_clock() -> int:
    return time.time_ns() // 1_000


def _fingerprint(context: click.Context, parameter: click.Parameter, value: str) -> str:
    plain = value.replace(":", "").lower()
    if len(plain) != FINGERPRINT_DIGITS or not set(plain) <= set("0123456789abcdef"):
        raise click.BadParameter(f"is not {FINGERPRINT_DIGITS} hex digits; the endpoint prints it at its start")
    return plain


def _name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    # Names share `revoke-endpoint`'s argument with node ids and fingerprints, so none may look like one.
    if not 0 < len(value) < FINGERPRINT_DIGITS or not value.isprintable() or value.strip() != value or value.isdigit():
        raise click.BadParameter("is 1 to 63 printable characters, not digits alone")
    return value


def _found(endpoints: Endpoints, which: str) -> EndpointRow:
    """The endpoint of a node id, name or fingerprint, as `endpoints` prints them."""
    rows = endpoints.all()
    for row in rows:
        if which in (str(row.node), row.name) or which.replace(":", "").lower() == row.fingerprint:
            return row
    raise click.ClickException("no such endpoint")


def commands(opened: Opened, configured: Configured) -> list[click.Command]:
    """The commands, for `admin` to register; opened: the config's installation, configured: adds --config."""

    @click.command("admit-endpoint")
    @click.argument("fingerprint", callback=_fingerprint)
    @click.option("--name", required=True, callback=_name, help="What to call it from now on.")
    @configured
    def admit(path: Path | None, fingerprint: str, name: str) -> None:
        """Let the endpoint with this FINGERPRINT link to the centers; it prints it at its start."""
        with opened(path) as place:
            try:
                row = place.store.endpoints.admit(fingerprint, name, _wall_clock())
            except NameInUse:
                raise click.ClickException(f"another endpoint is called {name}") from None
            click.echo(f"admitted; its node id is {row.node}")

    @click.command("endpoints")
    @configured
    def listed(path: Path | None) -> None:
        """All endpoints that were ever admitted, one JSON object each."""
        with opened(path) as place:
            for row in place.store.endpoints.all():
                click.echo(json.dumps(row._asdict(), ensure_ascii=False))

    @click.command("revoke-endpoint")
    @click.argument("endpoint")
    @configured
    def revoke(path: Path | None, endpoint: str) -> None:
        """Cut ENDPOINT (a node id, name or fingerprint) off: its links end within seconds, its terminals with them."""
        with opened(path) as place:
            row = _found(place.store.endpoints, endpoint)
            revoked = place.store.endpoints.revoke(row.node, _wall_clock())
            click.echo("revoked" if revoked else "was revoked already")

    return [admit, listed, revoke]
