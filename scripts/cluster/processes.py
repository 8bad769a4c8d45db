"""The processes of a cluster on one machine: started apart from us, found again by their pid files, ended.

What lives here: nodes, MariaDB and Hazelcast as processes. What must not: what they are configured with (`plan`). A pid counts only while
its process runs our command on our file: pids are used again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
END_SECONDS = 20.0


class Failed(Exception):
    """A step could not be done; the text says which and why."""


def config_of(directory: Path, name: str) -> Path:
    """A node's configuration file."""
    return directory / name / "myim.yaml"


def pid_of(directory: Path, name: str) -> int | None:
    """The pid of the node's process; None if it does not run."""
    try:
        pid = int((directory / name / "node.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return None
    return pid if os.fsencode(config_of(directory, name)) in command and state != "Z" else None


def start_node(directory: Path, name: str) -> None:
    """Start a node; it goes on when we end."""
    with (directory / name / "node.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "myim_server", "node", "--config", str(config_of(directory, name))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=directory / name,
        )
    (directory / name / "node.pid").write_text(f"{process.pid}\n")


def end_nodes(directory: Path, names: list[str]) -> None:
    """End these nodes in order, all at once; who does not end in time is killed."""
    for name in names:
        signal_node(directory, name, signal.SIGCONT)
        signal_node(directory, name, signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    while any(pid_of(directory, name) for name in names) and time.monotonic() < deadline:
        time.sleep(0.05)
    for name in names:
        if signal_node(directory, name, signal.SIGKILL):
            print(f"{name} did not end in {END_SECONDS:.0f} s and was killed", file=sys.stderr)
        (directory / name / "node.pid").unlink(missing_ok=True)


def signal_node(directory: Path, name: str, which: signal.Signals) -> bool:
    """Send a signal to the node; False if it does not run."""
    pid = pid_of(directory, name)
    if pid is not None:
        os.kill(pid, which)
    return pid is not None


def last_words(directory: Path, name: str, lines: int = 5) -> str:
    """The end of a node's log."""
    try:
        return "\n".join((directory / name / "node.log").read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def begin_service(script: str, directory: Path) -> subprocess.Popen[str]:
    """Begin to start MariaDB or Hazelcast; `await_port` gives its port."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return subprocess.Popen(
        [str(SCRIPTS / script), "start", str(directory)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def await_port(name: str, starting: subprocess.Popen[str]) -> int:
    """The port of a service that is being started."""
    output, errors = starting.communicate(timeout=300)
    if starting.returncode != 0:
        raise Failed(f"{name} did not start: {errors.strip()}")
    return int(output)


def service(script: str, command: str, directory: Path) -> str:
    """What `script command` says of a service: its status, or nothing."""
    done = subprocess.run([str(SCRIPTS / script), command, str(directory)], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip()
