"""Many SDK terminals in one process, as steady applications hold them: who is connected where, and when each came back.

What lives here: the clients of one run, and two reports. What must not: killing anything (cluster_faults).

    python -m bench.cluster_terminals --accounts FILE --home DIR --login-server HOST:PORT --servers '["host:port", …]'
    prints where all are, {"host:port": count}, once they are online; for each line on stdin: [[place, at], …] of all sessions that
    began since the last one, `at` in monotonic seconds; ends with its stdin
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402
from gevent.fileobject import FileObject  # noqa: E402
from gevent.pool import Pool  # noqa: E402

from bench.cluster_crowd import Crowd, Member  # noqa: E402
from myim_client import Client, Connected  # noqa: E402
from myim_client.addresses import split_address  # noqa: E402
from myim_wire.contents import Server  # noqa: E402

AT_ONCE = 16
ONLINE_SECONDS = 60.0


class Terminals:
    """The clients, where each is, and the sessions that began."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.where: dict[int, str] = {}
        self.began: list[tuple[int, str, str, float]] = []  # place, server before, server now, when

    def open(self, place: int) -> None:
        """One client: connect and listen for ever."""
        member = self.crowd.minted()
        client = Client(member.terminal, member.profile)
        client.connect(ONLINE_SECONDS)
        gevent.spawn(self._listen, place, member, client)

    def _listen(self, place: int, member: Member, client: Client) -> None:
        while True:
            for event in client.take():
                if isinstance(event, Connected):
                    self.began.append((place, self.where.get(place, ""), event.server, time.monotonic()))
                    self.where[place] = event.server


def main() -> None:
    """Connect all, then report whenever asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=Path, required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--login-server", required=True)
    parser.add_argument("--servers", type=json.loads, required=True)
    options = parser.parse_args()
    crowd = Crowd.read(options.accounts, options.home, options.login_server)
    crowd.servers = tuple(Server(0, "center", *split_address(server), 10, 0, False) for server in options.servers)
    count = len(crowd.rows)
    terminals, pool = Terminals(crowd), Pool(AT_ONCE)
    for place in range(count):
        pool.spawn(terminals.open, place)
    pool.join()
    until = time.monotonic() + ONLINE_SECONDS
    while len(terminals.where) < count and time.monotonic() < until:
        gevent.sleep(0.05)
    print(json.dumps(Counter(terminals.where.values())), flush=True)
    terminals.began.clear()
    for _ in FileObject(sys.stdin.fileno(), "r"):
        began, terminals.began = terminals.began, []
        print(json.dumps(began), flush=True)


if __name__ == "__main__":
    main()
