"""A private MariaDB server under a test: started, stopped, frozen, and asked things as its administrator."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import gevent
import pymysql

SCRIPT = Path(__file__).parents[2] / "scripts" / "mariadb.sh"
_numbers = count(1)


def wait_until(condition: Callable[[], object], deadline: float = 10.0, pause: float = 0.01) -> None:
    """Yields until the condition holds; looks every `pause` seconds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "the condition did not come to hold in time"
        gevent.sleep(pause)


class MariaDb:
    """One server with its data in `directory`; the user `myim` may do everything in its own databases and nothing else."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = 0
        self.password_file = directory / "myim-password"
        self.password_file.write_text("p@ss 'word\\\"\n")
        self.password_file.chmod(0o600)

    def start(self, *options: str) -> None:
        done = subprocess.run([SCRIPT, "start", self.directory, *options], check=True, capture_output=True, text=True, timeout=60)
        self.port = int(done.stdout)
        password = self.password_file.read_text().rstrip("\n")
        self.ask("CREATE USER IF NOT EXISTS myim@127.0.0.1 IDENTIFIED BY %s", password)

    def stop(self) -> None:
        subprocess.run([SCRIPT, "stop", self.directory], check=True, timeout=60)

    def freeze(self) -> None:
        """Returns when every thread has stopped: the signal alone takes its time, and one more answer may come meanwhile."""
        os.kill(self.pid, signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")
        wait_until(lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks.iterdir()))

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    @property
    def pid(self) -> int:
        return int((self.directory / "mariadbd.pid").read_text())

    def ask(self, statement: str, *values: object, database: str | None = None) -> list[tuple[Any, ...]]:
        """Runs one statement as root, who is not bound by read_only."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                connection.commit()
                return list(cursor.fetchall())
        finally:
            connection.close()

    def await_lock_wait(self) -> None:
        """Yields until one transaction waits for a lock. InnoDB looks anew only if nobody has asked for 100 ms."""
        waiting = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state='LOCK WAIT'"
        wait_until(lambda: self.ask(waiting) == [(1,)], pause=0.2)

    def kill(self, connection_id: int) -> None:
        """Ends that connection, if it is still there."""
        with suppress(pymysql.err.OperationalError):
            self.ask(f"KILL CONNECTION {connection_id:d}")

    def run(self, database: str, *statements: str) -> None:
        """Runs statements as root in one transaction."""
        connection = self.connect(database)
        for statement in statements:
            connection.query(statement)
        connection.commit()
        connection.close()

    def connect(self, database: str | None = None) -> "pymysql.Connection[Any]":
        """A connection as root, in a transaction."""
        password = (self.directory / "password").read_text()
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", password=password, database=database)

    def new_database(self, letters: str = "utf8mb4") -> str:
        """The name of an empty database that `myim` may use."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self.ask(f"CREATE DATABASE {name} CHARACTER SET {letters}")
        self.ask(f"GRANT ALL ON {name}.* TO myim@127.0.0.1")
        return name

    def url(self, database: str) -> str:
        return f"mysql://myim@127.0.0.1:{self.port}/{database}"
