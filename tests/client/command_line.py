"""`myim` on the command line, with a login center and a center of the test's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from myim_client import Terminal
from myim_client.console import main
from myim_wire.contents import Server
from tests.client.scripted_center import ScriptedCenter
from tests.client.scripted_login import ScriptedLogin

PASSWORD = "a good long password"


class Console:
    """`myim` with a home of its own, a login center, and a center that its accounts connect to."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.login_center = ScriptedLogin()
        self.terminal = Terminal.open(home)
        self.center = ScriptedCenter(self.terminal)
        self.login_center.servers = (Server(1, "center", "127.0.0.1", self.center.port, 0, 0, False),)

    def run(self, *arguments: str, typed: str | bytes | None = None, server: str | None = None) -> Result:
        runner = CliRunner()
        return runner.invoke(main, ["--server", server or self.login_center.address, "--home", str(self.home), *arguments], input=typed)

    def register(self) -> None:
        result = self.run("register", "me", "--password-stdin", typed=PASSWORD + "\n")
        assert result.exit_code == 0, result.output

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`myim` as a process of its own, to be answered while it runs."""
        command = [sys.executable, "-m", "myim_client.console", "--server", self.login_center.address, "--home", str(self.home), *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def close(self) -> None:
        self.login_center.close()
        self.center.close()
