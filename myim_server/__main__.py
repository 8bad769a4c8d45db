from gevent import monkey; monkey.patch_all()  # noqa: E702, D100  # before anything that opens a socket or a lock
"""The command line of the server: `python -m myim_server node` and `python -m myim_server admin`.

What lives here: arguments, signals, exit codes (0 done, 1 could not, 2 wrong arguments or config). What must not: anything else.
"""
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
import gevent
from gevent.event import Event

from myim_server.config import ConfigError, load_config
from myim_server.config_sections import Config

if TYPE_CHECKING:
    from myim_server.node import EndpointNode, Node

DEFAULT_CONFIG = Path("myim.yaml")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """MyIM: an instant-messaging server whose users never lose a message."""
    os.umask(0o077)  # whatever is made, the database and its journals included, is the owner's alone


def read(path: Path | None) -> Config:
    """The config of a file, or of ./myim.yaml if there is one, or the defaults. Raises ConfigError."""
    if path is None and DEFAULT_CONFIG.exists():
        path = DEFAULT_CONFIG
    return load_config(path, os.environ)


def load(path: Path | None) -> Config:
    """As `read`, but exits with 2 and the reasons."""
    try:
        return read(path)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)


def numbers(text: str) -> tuple[int, ...]:
    """Comma-separated numbers."""
    return tuple(int(part) for part in text.split(",")) if text else ()


@main.command()
@click.option("--config", "path", type=click.Path(path_type=Path), help="The config file; ./myim.yaml if it is there, else the defaults.")
@click.option("--check", is_flag=True, help="Build everything, say whether it would start, and exit.")
@click.option("--workers", type=int, help="So many center processes on one port, in place of node.workers.")
@click.option("--worker", type=int, hidden=True)
@click.option("--link-ports", type=numbers, default="", hidden=True)
def node(path: Path | None, check: bool, workers: int | None, worker: int | None, link_ports: tuple[int, ...]) -> None:
    """Run a node with the roles of its config."""
    if workers is not None:
        os.environ["MYIM_NODE__WORKERS"] = str(workers)
    config = load(path)
    from myim_server.logs import configure_logs
    from myim_server.node import make_node
    from myim_server.node_parts import Seat

    if config.node.workers > 1 and worker is None and not check:
        configure_logs(config.log.level, config.log.format, lambda: None)
        sys.exit(_run_workers(config, path))
    node = make_node(config, Seat(worker, link_ports) if worker else None)
    configure_logs(config.log.level, config.log.format, node.count_dropped_line)
    try:
        node.build()
    except Exception as fault:
        _explain(fault)
        sys.exit(1)
    if check:
        click.echo("the node would start", err=config.log.format == "json")
        node.stop()
        return
    _run(node, config, path, is_worker=worker is not None)


def _run(node: "Node | EndpointNode", config: Config, path: Path | None, is_worker: bool) -> None:
    from myim_server.node import run
    from myim_server.workers import follow_parent

    over = Event()

    def stop() -> None:
        if over.is_set():  # asked twice: do not wait for anybody
            os._exit(1)
        over.set()

    _on_signals(stop, path)
    if is_worker:
        gevent.spawn(follow_parent, over.set)

    def wait() -> None:
        if not is_worker:
            _show(config, node.addresses(), node.identity, node.fingerprint)
        over.wait()

    run(node, wait)


def _run_workers(config: Config, path: Path | None) -> int:
    """Start the workers and look after them until a signal; the exit code."""
    from myim_server.control import ControlRefused, ask
    from myim_server.workers import Crew, Reserved, Worker, starter

    reserved = Reserved(config.node.workers)
    ports = ",".join(map(str, reserved.ports))
    directories = [config.data_dir / f"worker-{number}" for number in range(1, config.node.workers + 1)]

    def is_up(directory: Path) -> bool:
        try:
            return bool(ask(directory, "status", 1.0))
        except ControlRefused:
            return False

    def made(number: int, directory: Path) -> Worker:
        command = [sys.executable, "-m", "myim_server", "node", *(["--config", str(path)] if path else []), f"--worker={number}"]
        return Worker(number, starter([*command, f"--link-ports={ports}"]), lambda: is_up(directory), time.monotonic)

    def show() -> None:
        first = ask(directories[0], "status")
        _show(config, first["addresses"], bytes.fromhex(first["identity"]), first["fingerprint"])

    crew = Crew([made(number, directory) for number, directory in enumerate(directories, 1)])
    _on_signals(crew.stop, path)
    return crew.run(show)


def _on_signals(stop: Callable[[], None], path: Path | None) -> None:
    def reload() -> None:
        try:
            read(path)
        except ConfigError as error:
            click.echo(f"the old config stays: {error}", err=True)
            return
        click.echo("the config file is sound; a restart takes it up", err=True)

    gevent.signal_handler(signal.SIGTERM, stop)
    gevent.signal_handler(signal.SIGINT, stop)
    gevent.signal_handler(signal.SIGHUP, reload)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _show(config: Config, addresses: Mapping[str, str], identity: bytes, fingerprint: str) -> None:
    from myim_server.welcome import welcome

    screen = welcome(config, addresses, identity, fingerprint)
    if config.log.format == "text":
        click.echo(screen)
    elif sys.stderr.isatty():  # standard output is for machines, every line of it
        click.echo(screen, err=True)


def _explain(fault: Exception) -> None:
    """One line that says what is wrong and what to do; a fault of ours shows its trace."""
    from myim_server.open_files import TooFewOpenFiles
    from myim_server.refusals import StoreRefused, StoreUnavailable
    from myim_server.secret_files import SecretRefused

    if isinstance(fault, StoreRefused):
        click.echo(f"store refused: {fault.reason}", err=True)
    elif isinstance(fault, StoreUnavailable | SecretRefused | TooFewOpenFiles | OSError):
        click.echo(f"cannot start: {fault}", err=True)
    else:
        raise fault


@main.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
@click.pass_context
def admin(context: click.Context) -> None:
    """Operator commands; see `admin --help`."""
    from myim_server.admin import admin as commands

    commands.main(args=context.args, prog_name="python -m myim_server admin")


if __name__ == "__main__":
    main()
