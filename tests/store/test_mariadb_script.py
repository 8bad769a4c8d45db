"""scripts/mariadb.sh: a server of one's own, and nobody else's."""

import os
import subprocess
from pathlib import Path

import pymysql
import pytest

from tests.store.mariadb import SCRIPT, MariaDb


def script(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def test_a_server_starts_stops_and_keeps_its_data(tmp_path: Path) -> None:
    server = MariaDb(tmp_path)
    assert script("status", tmp_path).stdout == "stopped\n"
    server.start()
    try:
        port = server.port
        assert f"running, pid {server.pid}, port {port}" in script("status", tmp_path).stdout
        name = server.new_database()
        server.start()
        assert server.port == port
        server.stop()
        assert script("status", tmp_path).returncode == 3
        assert script("stop", tmp_path).returncode == 0
        server.start()
        assert (name,) in server.ask("SHOW DATABASES")
        asked = "SELECT @@innodb_flush_log_at_trx_commit, @@bind_address, @@character_set_server"
        assert server.ask(asked) == [(1, "127.0.0.1", "utf8mb4")]
    finally:
        server.stop()


def test_the_password_is_secret_and_needed(mariadb: MariaDb) -> None:
    assert os.stat(mariadb.directory / "password").st_mode & 0o777 == 0o600
    for user in ("root", ""):
        with pytest.raises(pymysql.err.OperationalError):
            pymysql.connect(host="127.0.0.1", port=mariadb.port, user=user, password="")
    roots = mariadb.ask("SELECT User, Host FROM mysql.global_priv WHERE User IN ('root', '')")
    assert set(roots) == {("root", "localhost"), ("root", "127.0.0.1")}


@pytest.mark.parametrize("arguments", [(), ("start",), ("begin", "/tmp/x"), ("--help",)])
def test_wrong_arguments_are_refused(arguments: tuple[str, ...]) -> None:
    done = script(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("mariadb.sh: ")
