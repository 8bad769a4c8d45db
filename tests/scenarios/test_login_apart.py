"""A login center and a center as two processes over one database: terminals find their way, and need the login center only to log in."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.processes import free_port
from myim_client import Client, MessageArrived, ServerUnreachable, Terminal, login, register
from myim_server.keys import open_login_keys
from tests.scenarios.town import PASSWORD, take, wait_until
from tests.store.mariadb import MariaDb


class Pair:
    """A login-only node and a center-only node; they share a store and the cluster secret, and nothing else."""

    def __init__(self, directory: Path, mariadb: MariaDb) -> None:
        self.directory = directory
        self.login_port, self.center_port = free_port(), free_port()
        self._store = f"store: {{url: '{mariadb.url(mariadb.new_database())}', password_file: {mariadb.password_file}}}"
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        self.clients: list[Client] = []

    def start(self, role: str) -> None:
        """Start the node that plays this role alone."""
        section = {
            "login": f"login: {{listen: '127.0.0.1:{self.login_port}', servers: ['127.0.0.1:{self.center_port}', '127.0.0.1:9']}}",
            "center": f"center: {{listen: '127.0.0.1:{self.center_port}', max_connections: 100}}",
        }[role]
        secret = f"cluster: {{secret_file: {self.directory / 'shared' / 'cluster.secret'}}}"
        config = self.directory / f"{role}.yaml"
        node = f"node: {{roles: [{role}], data_dir: {self.directory / role}}}"
        config.write_text("\n".join([node, section, secret, self._store]) + "\n")
        log = (self.directory / f"{role}.log").open("wb")
        command = [sys.executable, "-m", "myim_server", "node", "--config", str(config)]
        self._nodes[role] = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()
        port = self.login_port if role == "login" else self.center_port
        wait_until(lambda: self._is_listening(role, port), 30.0)

    def _is_listening(self, role: str, port: int) -> bool:
        assert self._nodes[role].poll() is None, (self.directory / f"{role}.log").read_text()[-2000:]
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    def end(self, role: str, how: signal.Signals = signal.SIGKILL) -> None:
        """End a node."""
        node = self._nodes.pop(role)
        node.send_signal(how)
        node.wait(30)

    @property
    def login_server(self) -> str:
        return f"127.0.0.1:{self.login_port}"

    def terminal(self, name: str) -> Terminal:
        """A terminal of its own for each."""
        return Terminal.open(self.directory / "terminals" / name)

    def connect(self, terminal: Terminal, path: Path) -> Client:
        """A client on a profile, with the server list that the login gave."""
        client = Client(terminal, path)
        self.clients.append(client)
        client.connect(20)
        return client

    def register(self, name: str) -> Client:
        """Somebody new, connected."""
        terminal = self.terminal(name)
        return self.connect(terminal, register(terminal, self.login_server, name, PASSWORD).path)

    def close(self) -> None:
        """Everybody leaves, both nodes end."""
        for client in self.clients:
            client.close()
        for role in list(self._nodes):
            self.end(role)


@pytest.fixture
def pair(tmp_path: Path, mariadb: MariaDb) -> Iterator[Pair]:
    made = Pair(tmp_path, mariadb)
    made.start("login")
    made.start("center")
    yield made
    made.close()


def talk(sender: Client, target: Client, text: str) -> None:
    """One message, settled and there."""
    handle = sender.send(target.user, text)
    assert take(target, MessageArrived)[0].text == text
    assert handle.wait(20).is_settled


def test_a_login_center_apart_sends_terminals_to_its_centers_best_first(pair: Pair) -> None:
    alice, bob = pair.register("alice"), pair.register("bob")
    servers = login(pair.terminal("carol"), pair.login_server, "alice", PASSWORD).account.servers
    assert [(one.host, one.port, one.priority) for one in servers] == [("127.0.0.1", pair.center_port, 0), ("127.0.0.1", 9, 1)]
    talk(alice, bob, "over there")


def test_sessions_and_renewals_go_on_without_the_login_center(pair: Pair) -> None:
    alice, bob = pair.register("alice"), pair.register("bob")
    pair.end("login")
    talk(alice, bob, "still here")
    before = alice.courier.account.token
    alice.close()
    with sqlite3.connect(alice.profile.path) as database:
        database.execute("UPDATE myim_account SET renew_at = 1")
    alice = pair.connect(alice.terminal, alice.profile.path)
    wait_until(lambda: alice.courier.account.token != before)
    alice.close()
    pair.end("center")
    pair.start("center")  # a token that was renewed without the login center opens at a center that never saw it
    alice = pair.connect(alice.terminal, alice.profile.path)
    talk(alice, bob, "and again")
    with pytest.raises(ServerUnreachable):
        login(pair.terminal("carol"), pair.login_server, "alice", PASSWORD)
    pair.start("login")
    talk(pair.register("dave"), bob, "hello from a newcomer")


def test_each_node_has_the_keys_of_its_role_alone(pair: Pair) -> None:
    made = {role: sorted(path.name for path in (pair.directory / role).glob("*.key")) for role in ("login", "center")}
    assert made == {"login": ["login_identity.key", "login_master.key", "node.key"], "center": ["node.key"]}
    assert sorted(path.name for path in pair.directory.rglob("cluster.secret")) == ["cluster.secret"]
    assert pair.terminal("alice").pin(pair.login_server) is None
    pair.register("alice")
    assert pair.terminal("alice").pin(pair.login_server) == open_login_keys(pair.directory / "login").identity
