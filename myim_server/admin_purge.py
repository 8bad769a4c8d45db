"""The operator command that shows, or removes, what waits for nobody any more.

What lives here: `admin purge`. What must not: which rows those are (the store says so; what a running center removes is the same). May run
beside any number of centers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import click

from myim_server.config_sections import Config
from myim_server.store.engine import Store

_ROWS = 1000
_GROUPS = 200

Configured = Callable[[Callable[..., None]], Callable[..., None]]


class Place(Protocol):
    """What a command works on."""

    @property
    def config(self) -> Config: ...
    @property
    def store(self) -> Store: ...


Opened = Callable[[Path | None], AbstractContextManager[Place]]


def preview(store: Store, now: int) -> dict[str, tuple[int, int]]:
    """(rows, bytes of bodies) that would go, of each kind; now: µs since 1970."""
    return {"group messages": store.group_purge.preview(now), "user messages": store.offline.preview_expired(now)}


def purge(store: Store, now: int) -> dict[str, tuple[int, int]]:
    """Remove them, in bounded batches; (rows, bytes) of each kind."""
    return {"group messages": _sum(_purge_groups(store, now)), "user messages": _sum(_purge_users(store, now))}


def _purge_groups(store: Store, now: int) -> Iterator[tuple[int, int]]:
    after = 0
    while True:
        rows, size, next_after = store.group_purge.walk(after, _GROUPS, _ROWS, now)
        yield rows, size
        if rows < _ROWS:
            if not next_after:
                break
            after = next_after
    while store.group_purge.names(now, _ROWS) >= _ROWS:
        pass


def _purge_users(store: Store, now: int) -> Iterator[tuple[int, int]]:
    while True:
        purged = store.offline.purge_expired(now, _ROWS)
        yield purged.messages, purged.size
        if purged.rows < _ROWS:
            break


def _sum(batches: Iterator[tuple[int, int]]) -> tuple[int, int]:
    rows = size = 0
    for more, bigger in batches:
        rows, size = rows + more, size + bigger
    return rows, size


def commands(opened: Opened, configured: Configured) -> list[click.Command]:
    """The command, for `admin` to register."""

    @click.command("purge")
    @click.option("--dry-run", "is_dry", is_flag=True, help="Show what would go.")
    @click.option("--now", "is_now", is_flag=True, help="Remove it.")
    @click.option("--json", "is_json", is_flag=True, help="One JSON object.")
    @configured
    def purge_command(path: Path | None, is_dry: bool, is_now: bool, is_json: bool) -> None:
        """What every member has, and what has waited too long for who did not come: rows and bytes. Running centers remove it themselves.

        Senders are not told of what this command removes.
        """
        if is_dry == is_now:
            raise click.UsageError("say --dry-run or --now")
        with opened(path) as place:
            now = time.time_ns() // 1000
            found = preview(place.store, now) if is_dry else purge(place.store, now)
        verb = "would go" if is_dry else "removed"
        if is_json:
            shown: dict[str, Any] = {what.replace(" ", "_"): {"rows": rows, "bytes": size} for what, (rows, size) in found.items()}
            click.echo(json.dumps({"dry_run": is_dry, **shown}))
            return
        for what, (rows, size) in found.items():
            click.echo(f"{what}: {rows} row{'s' * (rows != 1)}, {size} bytes {verb}")

    return [purge_command]
