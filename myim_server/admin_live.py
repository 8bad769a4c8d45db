"""Operator commands that ask a running node over its control socket: how its links do, what it is, and that it drain.

What lives here: the questions, and how the answers look on a screen. What must not: what a node does about them (`node`), the store.
Exit codes are those of `admin`. Where a node runs several workers each is asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cluster.identity import make_identity
from myim_server.config_sections import Config
from myim_server.control import FILE_NAME, ControlRefused, ask
from myim_server.keys import open_node_key
from myim_server.secret_files import SecretRefused

DRAIN_SECONDS = 60.0

Loaded = Callable[[Path | None], Config]
Configured = Callable[[Callable[..., None]], Callable[..., None]]


def node_directories(config: Config) -> list[Path]:
    """Where the node keeps what is its own: the data directory, or that of each worker."""
    workers = sorted(config.data_dir.glob("worker-*/" + FILE_NAME), key=lambda path: int(path.parent.name.rpartition("-")[2]))
    return [path.parent for path in workers] if workers and not (config.data_dir / FILE_NAME).exists() else [config.data_dir]


def _ask(directory: Path, op: str, **fields: object) -> Any:
    try:
        return ask(directory, op, DRAIN_SECONDS, **fields)
    except ControlRefused as refused:
        raise click.ClickException(str(refused)) from None


def links_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Links as a table: one row for each, dialled ones that are not open too."""
    table = Table("peer", "role", "address", "state", "tls", "RTT", "queue", "last error", "since", box=None, pad_edge=False)
    for row in rows:
        rtt = "" if row["state"] != "up" else f"{row['rtt_ms']:.1f} ms"
        waiting = f"{row['queued_bytes']} + {row['unconsumed_bytes']} B"
        peer = str(row["node"] or "?")
        told = [peer, row["role"], row["address"], row["state"], "tls" if row["is_tls"] else "plain", rtt, waiting, row["last_error"]]
        table.add_row(*map(_plain, told), _lasting(row["seconds"]))
    return table


def _plain(text: str) -> str:
    """What a peer said, without what a screen or rich would take for an order."""
    return "".join(character if character.isprintable() else "?" for character in text).replace("[", "\\[")


def _lasting(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def commands(load: Loaded, configured: Configured) -> list[click.Command]:
    """The commands, for `admin` to register; load: the config of a file, configured: adds --config."""

    @click.command("links")
    @click.option("--json", "is_json", is_flag=True, help="One JSON object per link.")
    @configured
    def links(path: Path | None, is_json: bool) -> None:
        """The links of the running node: state, round trip, what waits, what went wrong last."""
        console = Console(width=None if Console().is_terminal else 180)
        for directory in node_directories(load(path)):
            rows = _ask(directory, "links")
            if is_json:
                for row in rows:
                    click.echo(json.dumps(row, ensure_ascii=False))
            elif rows:
                console.print(links_table(rows))
            else:
                click.echo("no links")

    @click.command("status")
    @configured
    def status(path: Path | None) -> None:
        """What the running node is and does, as one JSON object (for each worker)."""
        for directory in node_directories(load(path)):
            click.echo(json.dumps(_ask(directory, "status"), ensure_ascii=False))

    @click.command("drain")
    @click.argument("node", type=click.IntRange(1, (1 << 63) - 1), required=False)
    @click.option("--undo", is_flag=True, help="Take terminals again.")
    @configured
    def drain(path: Path | None, node: int | None, undo: bool) -> None:
        """Send the terminals of NODE (its id; none: of the node that runs here) to other servers; nothing is lost. It goes on running."""
        for directory in node_directories(load(path)):
            click.echo(_ask(directory, "drain", node=node, undo=undo))
            if node is not None:
                break

    @click.command("node-key")
    @configured
    def node_key(path: Path | None) -> None:
        """The node's id and the fingerprint of its key, made if missing: what endpoints and centers know it by."""
        config = load(path)
        for directory in node_directories(config):
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                identity = make_identity(open_node_key(directory).seed)
            except (SecretRefused, OSError) as error:
                raise click.ClickException(str(error)) from None
            click.echo(json.dumps({"node": identity.node_id, "fingerprint": identity.fingerprint}))

    return [links, status, drain, node_key]
