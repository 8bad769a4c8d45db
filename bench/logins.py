"""Many users log in by password at the same moment: what the login center is loaded with while something else is measured.

What lives here: whole logins over the real wire, one thread each. What must not: measuring the server. A process of its own, niced, so
that its own cryptography does not delay whoever measures beside it.

    python -m bench.logins --port 7400 --op register|login --count 100 --prefix NAME      one line of JSON
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import threading
import time

from bench.line import read_flight
from myim_wire.contents import Grant, Operation
from myim_wire.login_flights import Granted
from myim_wire.login_handshake import LoginClient

PASSWORD = "Quiet-harbour-41-lanterns"


def log_in(port: int, op: Operation, name: str) -> bool:
    """One whole login or registration from a new terminal; whether it was granted."""
    return grant(port, op, name) is not None


def grant(port: int, op: Operation, name: str) -> Grant | None:
    """The same, and what it was given."""
    client = LoginClient(os.urandom(32), os.urandom(32), os.urandom(32), os.urandom(32), None)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(client.hello())
        client.receive(read_flight(connection))
        connection.sendall(client.present_terminal())
        client.receive(read_flight(connection))
        connection.sendall(client.credentials(op, name, PASSWORD))
        return next((event.grant for event in client.receive(read_flight(connection)) if isinstance(event, Granted)), None)


def main() -> None:
    """Log in `count` users at once; how many were granted, and in how many seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--op", choices=("register", "login"), default="login")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--prefix", default="stall")
    options = parser.parse_args()
    os.nice(19)
    granted: list[bool] = []
    errors: list[str] = []

    def run(number: int) -> None:
        try:
            granted.append(log_in(options.port, options.op, f"{options.prefix}{number}"))
        except Exception as error:  # reported below: a thread has nobody to raise to
            errors.append(repr(error))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(options.count)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"granted": sum(granted), "seconds": round(time.monotonic() - start, 3), "errors": errors[:3]}))


if __name__ == "__main__":
    main()
