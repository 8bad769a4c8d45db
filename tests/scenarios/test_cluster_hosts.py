"""A second machine joins by its own configuration alone: two network namespaces, each a host with a center, joined by a cable.

Needs root and iproute2. The first host is configured as if it were alone, and learns of the second by its link only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from myim_server.control import ask
from tests.scenarios.town import PASSWORD, own_environment, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
FIRST, SECOND = "10.99.77.1", "10.99.77.2"
BIN = Path(sys.executable).parent


class Host:
    """A namespace with an address, its processes and its files."""

    def __init__(self, name: str, address: str, directory: Path) -> None:
        self.name = name
        self.address = address
        self.directory = directory
        directory.mkdir()
        self._processes: list[subprocess.Popen[bytes]] = []
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")

    def do(self, *command: str, said: str = "", seconds: float = 60) -> str:
        """A command on this host that must succeed; its standard output."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            cwd=self.directory, env=own_environment(), input=said, capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def begin(self, output: str, *command: str) -> None:
        """A command that goes on; its output is in the file of that name."""
        with (self.directory / output).open("wb") as file:
            self._processes.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", self.name, *command],
                    cwd=self.directory,
                    env=own_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                )
            )

    def start_node(self, config: str) -> None:
        """A node with this configuration, until it serves."""
        (self.directory / "myim.yaml").write_text(config)
        self.begin("node.log", str(BIN / "python"), "-m", "myim_server", "node")
        wait_until(lambda: self._serves(self._processes[-1]), 60)

    def _serves(self, node: subprocess.Popen[bytes]) -> bool:
        log = (self.directory / "node.log").read_text()
        assert node.poll() is None, log
        return "Ctrl-C stops it" in log

    def ask(self, op: str) -> Any:
        """What the running node answers its operator."""
        return ask(self.directory / "myim-data", op)

    def open_links(self) -> list[dict[str, Any]]:
        return [link for link in self.ask("links") if link["state"] == "up"]

    def myim(self, *arguments: str, said: str = "") -> str:
        return self.do(str(BIN / "myim"), "--server", f"{FIRST}:7400", "--home", str(self.directory / "home"), *arguments, said=said)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(30)
        subprocess.run(["ip", "netns", "delete", self.name], check=False)


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts and a cable; the first has a database that the second reaches."""
    made = [Host(f"myim{os.getpid()}{letter}", address, tmp_path / letter) for letter, address in (("a", FIRST), ("b", SECOND))]
    first, second = made
    try:
        ip("link", "add", "cable", "netns", first.name, "type", "veth", "peer", "name", "cable", "netns", second.name)
        for host in made:
            ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "cable")
            ip("-n", host.name, "link", "set", "cable", "up")
        first.do(str(REPOSITORY / "scripts/mariadb.sh"), "start", str(first.directory / "db"), f"--bind-address={FIRST}", seconds=120)
        yield first, second
    finally:
        for host in made:
            host.close()
        subprocess.run([str(REPOSITORY / "scripts/mariadb.sh"), "stop", str(first.directory / "db")], check=False, timeout=60)


def make_database(directory: Path) -> None:
    """The nodes' database, their user on either host, and its password in a file for each."""
    socket = directory / "db" / "socket"
    assert socket.exists(), "the path of the database's socket was too long for it"
    root = pymysql.connect(unix_socket=str(socket), user="root", password=(directory / "db" / "password").read_text())
    with root, root.cursor() as cursor:
        cursor.execute("CREATE DATABASE myim CHARACTER SET utf8mb4")
        cursor.execute("CREATE USER myim@'10.99.77.%%' IDENTIFIED BY %s", (PASSWORD,))
        cursor.execute("GRANT ALL ON myim.* TO myim@'10.99.77.%'")


def keep_secret(path: Path, content: str) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(content)


def store_of(first: Host) -> str:
    port = (first.directory / "db" / "port").read_text().strip()
    return f"store: {{url: 'mysql://myim@{FIRST}:{port}/myim', password_file: '{{data_dir}}/db.password'}}\n"


def test_a_second_host_joins_by_its_own_configuration_alone_and_people_on_both_talk(hosts: tuple[Host, Host]) -> None:
    first, second = hosts
    make_database(first.directory)
    for host in hosts:
        keep_secret(host.directory / "myim-data" / "db.password", PASSWORD)
    first.start_node(
        f"login: {{listen: '{FIRST}:7400'}}\ncenter: {{listen: '{FIRST}:7401'}}\nlinks: {{listen: '{FIRST}:7402'}}\n{store_of(first)}"
    )
    first.myim("register", "alice", "--password-stdin", said=f"{PASSWORD}\n")
    first.begin(
        "alice", str(BIN / "myim"), "--server", f"{FIRST}:7400", "--home", str(first.directory / "home"), "inbox", "alice", "--wait", "90"
    )
    wait_until(lambda: first.ask("status")["sessions"] == 1)

    shutil.copy(first.directory / "myim-data" / "cluster.secret", second.directory / "myim-data" / "cluster.secret")
    second.start_node(
        f"node: {{roles: [center]}}\ncenter: {{listen: '{SECOND}:7401', priority: 1}}\n"
        f"links: {{listen: '{SECOND}:7402', peers: ['{FIRST}:7402']}}\n{store_of(first)}"
    )
    wait_until(lambda: len(first.ask("status")["servers"]) == 2)
    (link,) = first.open_links()
    assert (link["role"], link["is_tls"]) == ("center", True)

    second.myim("register", "bob", "--password-stdin", said=f"{PASSWORD}\n")
    assert second.myim("send", "bob", "alice", "from the other host") == "received\n"
    wait_until(lambda: "bob: from the other host" in (first.directory / "alice").read_text())
    assert first.ask("status")["sessions"] == 1
    assert second.ask("status")["roles"] == ["center"]

    ip("-n", first.name, "link", "set", "cable", "down")
    wait_until(lambda: not first.open_links(), 25)  # nothing is heard, so after 12 s it is cut; a busy machine is slower to look
    ip("-n", first.name, "link", "set", "cable", "up")
    wait_until(first.open_links, 30)
