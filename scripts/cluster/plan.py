"""What a cluster on one machine consists of: its nodes, their addresses, their configuration files.

What lives here: the plan, kept as `cluster.json` so that addresses stay the same, and each node's `myim.yaml`. What must not: processes
(`processes`), what a command prints (`__main__`).
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE_NAME = "cluster.json"
DRAFT_NAME = f"{FILE_NAME}.draft"
# Ports that people see are round where they are free; all are below those the kernel gives to outgoing connections.
FIRST_PORT, LAST_PORT = 20_000, 32_000


@dataclass
class Plan:
    """The choices, and the ports by "node.door"."""

    centers: int
    endpoints: int
    security: str
    directory: str
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def nodes(self) -> list[str]:
        """Names of all nodes, in the order in which they start."""
        return ["login", *self.center_names, *self.endpoint_names]

    @property
    def center_names(self) -> list[str]:
        """The centers."""
        return [f"center-{number}" for number in range(1, self.centers + 1)]

    @property
    def endpoint_names(self) -> list[str]:
        """The endpoints."""
        return [f"endpoint-{number}" for number in range(1, self.endpoints + 1)]

    def address(self, door: str) -> str:
        """host:port of "node.door"."""
        return f"127.0.0.1:{self.ports[door]}"


def read_plan(directory: Path) -> Plan | None:
    """The plan of a directory; None if it has none."""
    try:
        return Plan(**json.loads((directory / FILE_NAME).read_text()))
    except FileNotFoundError:
        return None


def make_plan(directory: Path, plan: Plan) -> list[socket.socket]:
    """Choose ports and write the plan; what is given holds the ports against others until the nodes have them."""
    wanted = {"login.login": 7400, "login.links": 7403}
    for number, name in enumerate(plan.center_names):
        wanted |= {f"{name}.center": 7401 + 100 * number, f"{name}.links": 7402 + 100 * number}
    for number, name in enumerate(plan.endpoint_names):
        wanted |= {f"{name}.login": 7410 + 10 * number, f"{name}.center": 7411 + 10 * number}
    held = []
    for door, port in wanted.items():
        held.append(_bound(port))
        plan.ports[door] = held[-1].getsockname()[1]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = directory / DRAFT_NAME
    draft.write_text(json.dumps(asdict(plan), indent=2) + "\n")
    draft.replace(directory / FILE_NAME)
    return held


def _bound(port: int) -> socket.socket:
    """A socket at this port of loopback, or at another one if it is taken."""
    while True:
        one = socket.socket()
        try:
            one.bind(("127.0.0.1", port))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # only now: a server may bind beside us, but not we beside others
            return one
        except OSError:
            one.close()
            port = random.randint(FIRST_PORT, LAST_PORT)


def secret_file(path: Path, content: str) -> None:
    """A file of mode 0600, unless it is there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(content)


def make_secrets(directory: Path) -> None:
    """What all centers share: the cluster's secret, the password of the database."""
    secret_file(directory / "shared" / "cluster.secret", secrets.token_hex(32) + "\n")
    secret_file(directory / "shared" / "database.password", secrets.token_urlsafe(18))


def write_configs(directory: Path, plan: Plan, database_port: int, members: str, fingerprints: dict[str, str]) -> None:
    """Each node's `myim.yaml`; members: of Hazelcast, "" with static peers; fingerprints: of the centers."""
    for name in plan.nodes:
        text = (
            _endpoint_config(plan, directory, name, fingerprints)
            if name in plan.endpoint_names
            else (_config(plan, directory, name, database_port, members))
        )
        (directory / name).mkdir(mode=0o700, exist_ok=True)
        (directory / name / "myim.yaml").write_text(text)


def _config(plan: Plan, directory: Path, name: str, database_port: int, members: str) -> str:
    role = "login" if name == "login" else "center"
    others = [f'"{plan.address(other + ".links")}"' for other in ["login", *plan.center_names] if other != name]
    door = f'login:\n  listen: "{plan.address("login.login")}"\n'
    if role == "center":
        door = f'center:\n  listen: "{plan.address(name + ".center")}"\n'
    if members:
        found = (
            f'directory:\n  kind: hazelcast\n  members: ["{members}"]\n  cluster_name_file: {directory / "hazelcast" / "cluster-name"}\n'
        )
        peers = ""
    else:
        found, peers = "directory:\n  kind: memory\n", f"  peers: [{', '.join(others)}]\n"
    return (
        f"# {name} of the cluster in {directory}\n"
        f"node:\n  roles: [{role}]\n  data_dir: {directory / name / 'data'}\n"
        f"{door}"
        f'store:\n  url: "mysql://myim@127.0.0.1:{database_port}/myim"\n  password_file: {directory / "shared" / "database.password"}\n'
        f"{found}"
        f"cluster:\n  secret_file: {directory / 'shared' / 'cluster.secret'}\n"
        f'links:\n  listen: "{plan.address(name + ".links")}"\n  security: {plan.security}\n{peers}'
    )


def _endpoint_config(plan: Plan, directory: Path, name: str, fingerprints: dict[str, str]) -> str:
    first = plan.endpoint_names.index(name)
    order = [plan.center_names[(first + number) % plan.centers] for number in range(plan.centers)]  # each prefers another center
    centers = "".join(f'    - "{plan.address(center + ".links")}#{fingerprints[center]}"\n' for center in order)
    return (
        f"# {name} of the cluster in {directory}: it holds no secret but its own key\n"
        f"node:\n  roles: [endpoint]\n  data_dir: {directory / name / 'data'}\n"
        f'endpoint:\n  listen: "{plan.address(name + ".center")}"\n  login_listen: "{plan.address(name + ".login")}"\n  centers:\n{centers}'
        f"links:\n  security: {plan.security}\n"
    )
