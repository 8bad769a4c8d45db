"""The commands of `scripts/run_cluster.sh`, and what they print.

What lives here: the order of steps, and words for the operator. What must not: how a node is configured (`plan`) or found (`processes`).
"""

import argparse
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pymysql
from plan import DRAFT_NAME, Plan, make_plan, make_secrets, read_plan, write_configs
from processes import (
    Failed,
    await_port,
    begin_service,
    config_of,
    end_nodes,
    last_words,
    pid_of,
    service,
    signal_node,
    start_node,
)

from cluster.identity import make_identity
from myim_server.config import load_config
from myim_server.control import ControlRefused, ask
from myim_server.keys import open_node_key
from myim_server.node_parts import store_settings, wall_clock
from myim_server.store.endpoints import NameInUse
from myim_server.store.engine import open_store

UP_SECONDS = 60.0
MARIADB, HAZELCAST = "mariadb.sh", "hazelcast.sh"


def up(directory: Path, asked: argparse.Namespace) -> int:
    """Start all that does not run."""
    began = time.monotonic()
    plan, held = read_plan(directory), []
    if plan is None:
        _check_new(directory)
        plan = Plan(
            asked.centers or 3, 2 if asked.endpoints is None else asked.endpoints, asked.links or "tls", asked.directory or "hazelcast"
        )
        held = make_plan(directory, plan)
    elif any(wish not in (None, had) for wish, had in _wishes(asked, plan)):
        raise Failed(f"{directory} holds another cluster ({_described(plan)}); end it with `down --purge`, or take another --dir")
    missing = [name for name in plan.nodes if pid_of(directory, name) is None]
    if not missing and _services_run(directory, plan):
        print(f"The cluster in {directory} runs already ({_described(plan)}).")
        return _explain(directory, plan)
    print(f"Starting {_described(plan)} in {directory} …", flush=True)
    shut_out = _prepare(directory, plan)
    for name in missing:
        start_node(directory, name)
    _await_nodes(directory, plan, shut_out)
    for one in held:
        one.close()
    print(f"Up after {time.monotonic() - began:.0f} s.")
    for name, fingerprint in shut_out.items():
        print(f"{name} was revoked and stays out, until at a center: admin admit-endpoint {fingerprint} --name {name}")
    return _explain(directory, plan)


def _check_new(directory: Path) -> None:
    """Refuse a directory that MariaDB cannot take, or that holds what `down --purge` must not remove."""
    if not re.fullmatch(r"[\w./+@%=,~-]+", str(directory)):
        raise Failed(f"{directory}: MariaDB takes no path with spaces or quotes; take another --dir")
    if directory.exists() and not (directory.is_dir() and {file.name for file in directory.iterdir()} <= {DRAFT_NAME}):
        raise Failed(f"{directory} is there and holds other things than a cluster; take another --dir")


def _wishes(asked: argparse.Namespace, plan: Plan) -> list[tuple[Any, Any]]:
    return [
        (asked.centers, plan.centers), (asked.endpoints, plan.endpoints), (asked.links, plan.security), (asked.directory, plan.directory),
    ]  # fmt: skip


def _described(plan: Plan) -> str:
    found = "found through Hazelcast" if plan.directory == "hazelcast" else "static peers"
    return f"{plan.centers} centers, {plan.endpoints} endpoints, links {plan.security}, {found}"


def _services_run(directory: Path, plan: Plan) -> bool:
    wanted = [MARIADB, HAZELCAST] if plan.directory == "hazelcast" else [MARIADB]
    return all(service(script, "status", directory / script.removesuffix(".sh")).startswith("running") for script in wanted)


def _prepare(directory: Path, plan: Plan) -> dict[str, str]:
    """Database, directory, keys, configurations, admissions: all that nodes find when they start; the revoked endpoints' fingerprints."""
    make_secrets(directory)
    database = begin_service(MARIADB, directory / "mariadb")
    members = begin_service(HAZELCAST, directory / "hazelcast") if plan.directory == "hazelcast" else None
    fingerprints = {name: _fingerprint(directory, name) for name in plan.nodes}
    port = await_port("MariaDB", database)
    _make_database(directory, port)
    address = f"127.0.0.1:{await_port('Hazelcast', members)}" if members is not None else ""
    write_configs(directory, plan, port, address, fingerprints)
    config = load_config(config_of(directory, plan.center_names[0]), {})
    store = open_store(store_settings(config))  # makes the tables, too
    try:
        known = {row.fingerprint: row for row in store.endpoints.all()}
        for name in plan.endpoint_names:
            if fingerprints[name] not in known:  # what an operator revoked stays revoked
                store.endpoints.admit(fingerprints[name], name, wall_clock())
    except NameInUse as error:
        raise Failed(f"{error} has another key than the one that was admitted; revoke that: admin revoke-endpoint {error}") from None
    finally:
        store.close()
    revoked = {row.fingerprint for row in known.values() if row.revoked is not None}
    return {name: fingerprints[name] for name in plan.endpoint_names if fingerprints[name] in revoked}


def _fingerprint(directory: Path, name: str) -> str:
    data = directory / name / "data"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return make_identity(open_node_key(data).seed).fingerprint


def _make_database(directory: Path, port: int) -> None:
    """The database, and a user with no more rights than nodes need."""
    password = (directory / "shared" / "database.password").read_text()
    root = pymysql.connect(host="127.0.0.1", port=port, user="root", password=(directory / "mariadb" / "password").read_text())
    with root, root.cursor() as cursor:
        cursor.execute("CREATE DATABASE IF NOT EXISTS myim CHARACTER SET utf8mb4")
        cursor.execute("CREATE OR REPLACE USER myim@'127.0.0.1' IDENTIFIED BY %s", (password,))
        cursor.execute("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON myim.* TO myim@'127.0.0.1'")


def _await_nodes(directory: Path, plan: Plan, shut_out: Collection[str]) -> None:
    """Until every node serves, and every link is up but those of endpoints that are shut out."""
    deadline = time.monotonic() + UP_SECONDS
    waiting = list(plan.nodes)
    while waiting:
        for name in list(waiting):
            if pid_of(directory, name) is None:
                raise Failed(f"{name} ended:\n{last_words(directory, name)}\nSee {directory / name / 'node.log'}; `down` ends the others.")
            if _is_ready(directory, plan, name, shut_out):
                waiting.remove(name)
        if time.monotonic() > deadline:
            raise Failed(f"not up after {UP_SECONDS:.0f} s, or not linked to all others: {', '.join(waiting)}; see `status` and `logs`")
        time.sleep(0.1)


def _is_ready(directory: Path, plan: Plan, name: str, shut_out: Collection[str]) -> bool:
    """Whether it serves, has all its links, and tells terminals of all servers."""
    said = _status(directory, name)
    if said is None or name in shut_out:
        return said is not None
    admitted = plan.endpoints - len(shut_out)
    if name in plan.endpoint_names:
        return bool(said["links"] >= _links_wanted(plan, name))
    missing_links = 0 if name == "login" else 2 * len(shut_out)
    return said["links"] >= _links_wanted(plan, name) - missing_links and len(said["servers"]) >= plan.centers + admitted


def _links_wanted(plan: Plan, name: str) -> int:
    if name in plan.endpoint_names:
        return 2 * plan.centers
    return plan.centers if name == "login" else plan.centers + 2 * plan.endpoints


def _status(directory: Path, name: str) -> dict[str, Any] | None:
    try:
        return dict(ask(directory / name / "data", "status", 2.0))
    except ControlRefused:
        return None


def _explain(directory: Path, plan: Plan) -> int:
    """Where to connect, and how."""
    fronts = plan.endpoint_names or ["login"]
    first, last = (plan.address(name + ".login") for name in (fronts[0], fronts[-1]))
    mine = Path(os.path.relpath(Path(sys.prefix) / "bin" / "myim"))
    command = mine if len(str(mine)) < len(str(Path(sys.prefix))) else Path(sys.prefix) / "bin" / "myim"
    print("\n  login center   " + plan.address("login.login"))
    for name in plan.center_names:
        print(f"  {name:<14} {plan.address(name + '.center')}   links {plan.address(name + '.links')}")
    for name in plan.endpoint_names:
        print(f"  {name:<14} {plan.address(name + '.center')}   login {plan.address(name + '.login')}")
    through = ", through endpoints that they choose by themselves" if plan.endpoints > 1 else ""
    print(f"\nTalk, in two other terminals{through}:\n")
    for person, server in (("alice", first), ("bob", last)):
        print(f"  {command} --server {server} --home ~/.myim-{person} register {person}")
        print(f"  {command} --server {server} --home ~/.myim-{person} chat {person}")
    told = "" if directory == Path("myim-cluster").absolute() else f", each with --dir {directory}"
    print("\nthen type  /to bob  and a line of text.")
    print(f"scripts/run_cluster.sh status | logs NODE | kill NODE | drain NODE | down{told}")
    admin = f"{command.with_name('python')} -m myim_server admin"
    print(f"{admin} links --config {os.path.relpath(config_of(directory, plan.center_names[0]))}")
    return 0


def status(directory: Path, asked: argparse.Namespace) -> int:
    """One line for each process."""
    plan, is_whole = _planned(directory), True
    for script in (MARIADB, HAZELCAST) if plan.directory == "hazelcast" else (MARIADB,):
        name = script.removesuffix(".sh")
        said = service(script, "status", directory / name)
        is_whole &= said.startswith("running")
        print(f"{name:<12} {said}")
    for name in plan.nodes:
        pid, said = pid_of(directory, name), _status(directory, name)
        if pid is None or said is None:
            is_whole = False
            words = last_words(directory, name, 1)
            print(f"{name:<12} {'DEAD' if pid is None else f'pid {pid}, DOES NOT ANSWER'}   last: {words}")
            continue
        held = f"{said['terminals']} terminals" if "terminals" in said else f"{said['sessions']} sessions"
        draining = ", draining" if said["is_draining"] else ""
        doors = "  ".join(f"{door} {address}" for door, address in said["addresses"].items())
        print(
            f"{name:<12} pid {pid}, node {said['node']}, {held}, {said['links']} of {_links_wanted(plan, name)} links{draining}   {doors}"
        )
    return 0 if is_whole else 3


def logs(directory: Path, asked: argparse.Namespace) -> int:
    """The ends of the logs, or one of them."""
    names = [_named(directory, asked.node)] if asked.node else _planned(directory).nodes
    files = [str(directory / name / "node.log") for name in names]
    os.execvp("tail", ["tail", *(["-F"] if asked.follow else []), "-n", "100" if asked.node else "10", *files])


def kill(directory: Path, asked: argparse.Namespace) -> int:
    """Send a signal to a node, SIGKILL unless another is named."""
    name = _named(directory, asked.node)
    which = signal.Signals[f"SIG{asked.signal.upper().removeprefix('SIG')}"]
    if not signal_node(directory, name, which):
        raise Failed(f"{name} does not run")
    print(f"{which.name} sent to {name}; `up` starts it again if it ended")
    return 0


def drain(directory: Path, asked: argparse.Namespace) -> int:
    """Send a node's terminals elsewhere."""
    try:
        print(ask(directory / _named(directory, asked.node) / "data", "drain", 60.0, undo=asked.undo))
    except ControlRefused as refused:
        raise Failed(str(refused)) from None
    return 0


def down(directory: Path, asked: argparse.Namespace) -> int:
    """End everything."""
    plan = read_plan(directory)
    if plan is None:
        print(f"There is no cluster in {directory}.")
        return 0
    end_nodes(directory, plan.endpoint_names)
    end_nodes(directory, [*plan.center_names, "login"])
    for script in (HAZELCAST, MARIADB):
        if (directory / script.removesuffix(".sh")).exists():
            service(script, "stop", directory / script.removesuffix(".sh"))
    if asked.purge:
        shutil.rmtree(directory)
    print("The cluster is down" + (", and its files are gone." if asked.purge else f"; its data is in {directory}."))
    return 0


def _planned(directory: Path) -> Plan:
    plan = read_plan(directory)
    if plan is None:
        raise Failed(f"there is no cluster in {directory}; `up` makes one")
    return plan


def _named(directory: Path, name: str) -> str:
    nodes = _planned(directory).nodes
    if name not in nodes:
        raise Failed(f"there is no node {name}; there are {', '.join(nodes)}")
    return name


def arguments() -> argparse.Namespace:
    """The command line; exits with 2 if it is wrong."""
    parser = argparse.ArgumentParser(prog="scripts/run_cluster.sh", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    made = {name: commands.add_parser(name, help=work.__doc__, allow_abbrev=False) for name, work in COMMANDS.items()}
    for command in made.values():
        command.add_argument("--dir", type=Path, default=Path("myim-cluster"))
    made["up"].add_argument("--centers", type=int, choices=range(1, 10), metavar="1-9")
    made["up"].add_argument("--endpoints", type=int, choices=range(10), metavar="0-9")
    made["up"].add_argument("--links", choices=["tls", "plain"])
    made["up"].add_argument("--directory", choices=["hazelcast", "static"])
    for name in ("kill", "drain"):
        made[name].add_argument("node")
    made["kill"].add_argument("signal", nargs="?", default="KILL", choices=["KILL", "TERM", "STOP", "CONT"])
    made["drain"].add_argument("--undo", action="store_true")
    made["logs"].add_argument("node", nargs="?")
    made["logs"].add_argument("-f", dest="follow", action="store_true")
    made["down"].add_argument("--purge", action="store_true", help="remove the directory, too")
    return parser.parse_args()


COMMANDS = {"up": up, "status": status, "logs": logs, "kill": kill, "drain": drain, "down": down}


def _interrupted(*_: object) -> None:
    """Ctrl-C: in a few words, and at once."""
    print("\nrun_cluster.sh: interrupted; `up` goes on where it was, `down` ends what runs", file=sys.stderr, flush=True)
    os._exit(130)


def main() -> int:
    """Do what the command line asks; the exit code."""
    asked = arguments()
    signal.signal(signal.SIGINT, _interrupted)
    try:
        return COMMANDS[asked.command](asked.dir.absolute(), asked)
    except (Failed, OSError) as failed:
        print(f"run_cluster.sh: {failed}", file=sys.stderr)
        return 1
