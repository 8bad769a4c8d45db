"""Load by locust: users on the SDK that log in, chat across centers, go offline and come back. `scripts/load.sh` runs it.

What lives here: what one user does, and what is reported to locust. What must not: starting the cluster, the table (cluster_load). Locust
patches the process, so the SDK's threads are greenlets; each user has the SDK's reader, a listener that shows what came, and locust's own
greenlet that sends. Response times: `settle` from sending to settled, `arrive` from sending to shown, `connect` and `return` to the
first session, `login` and `register` the whole login.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import Any

import gevent
from locust import User, between, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser

from bench.cluster_crowd import Crowd, Member
from myim_client import Client, Disconnected, MessageArrived, MyimError, OutcomeKind, Terminal, ask_servers

STAMP = Struct(">QQ")  # number of the sender, time.monotonic_ns at sending
BODY_BYTES = 100
AWAY_SECONDS = (1.0, 6.0)
STOP_SECONDS = 5.0

crowds: dict[int, Crowd] = {}


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_options(parser: LocustArgumentParser) -> None:
    """The options of this load."""
    parser.add_argument("--accounts", default="", help="file of `admin mint`, at least one row for each user")
    parser.add_argument("--home", default="", help="directory for the profiles, on a tmpfs if they are many")
    parser.add_argument("--login-server", default="127.0.0.1:7400", help="login center, HOST:PORT")
    parser.add_argument("--login-share", type=float, default=0.05, help="part of the users that register and log in by password")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds after which a message not settled, or no session, has failed")
    parser.add_argument("--pause", type=float, default=5.0, help="mean seconds between two acts of one user")


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def gather(environment: Environment, **_: Any) -> None:
    """Read the accounts, and learn the servers as a terminal does."""
    options = environment.parsed_options
    assert options is not None
    home = Path(options.home)
    crowd = Crowd.read(Path(options.accounts), home, options.login_server)
    crowd.servers = ask_servers(Terminal.open(home / "asking"), options.login_server)
    if not any(server.port for server in crowd.servers):
        raise SystemExit(f"{options.login_server} lists no server")
    crowds[id(environment)] = crowd


class Talker(User):
    """One user, online most of the time."""

    def wait_time(self) -> float:
        """Half to one and a half of the mean pause."""
        pause = self.environment.parsed_options.pause
        return float(between(pause / 2, pause * 1.5)(self))

    def on_start(self) -> None:
        """Log in, or take a minted token; connect; listen."""
        self.crowd = crowds[id(self.environment)]
        self.place = len(self.crowd.everybody)
        self.sent = 0
        self.is_over = False
        self.shown: dict[int, int] = {}
        is_registered = random.random() < self.environment.parsed_options.login_share
        member = self.timed("register", self.crowd.register) if is_registered else self.crowd.minted()
        if member is None:
            raise StopUser
        self.member: Member = member
        self.client: Client | None = None
        self.timed("connect", self.come)
        self.listener = gevent.spawn(self.listen)

    def on_stop(self) -> None:
        """Leave in order."""
        self.is_over = True
        if hasattr(self, "listener"):
            self.go()
            self.listener.join(STOP_SECONDS)  # never killed: it may hold the profile

    @task(20)
    def chat(self) -> None:
        """One message to anybody, until it is settled."""
        if self.client is not None and len(self.crowd.everybody) > 1:
            self.timed("settle", self.send_one)

    @task(1)
    def leave_and_return(self) -> None:
        """Offline for some seconds; a registered user comes back by password."""
        self.go()
        gevent.sleep(random.uniform(*AWAY_SECONDS))
        if self.member.name:
            self.timed("login", lambda: self.crowd.log_in(self.member))
        self.timed("return", self.come)

    def send_one(self) -> None:
        """Send, and wait until settled; RuntimeError with what became of it otherwise."""
        assert self.client is not None
        self.sent += 1
        body = STAMP.pack(self.sent, time.monotonic_ns()).ljust(BODY_BYTES, b".")
        outcome = self.client.send(self.crowd.other_than(self.member), body).wait(self.environment.parsed_options.patience)
        if outcome.kind not in (OutcomeKind.RECEIVED, OutcomeKind.STORED):
            raise RuntimeError(f"{outcome.kind.value} {outcome.code}")

    def come(self) -> None:
        """Connect, and wait for the session."""
        self.client = Client(self.member.terminal, self.member.profile, servers=self.crowd.doors(self.place))
        self.client.connect(self.environment.parsed_options.patience)

    def go(self) -> None:
        """GOODBYE, if online."""
        client, self.client = self.client, None
        if client is not None:
            client.close()

    def listen(self) -> None:
        """Show what arrives, for as long as the user lives."""
        while not self.is_over:
            client = self.client
            if client is None:
                gevent.sleep(0.1)
                continue
            try:
                arrived = client.take(1.0)
                if arrived:
                    with client.transaction() as transaction:
                        transaction.done(*arrived)
            except MyimError:  # it is being closed; what it had comes again
                gevent.sleep(0.1)
                continue
            for event in arrived:
                if isinstance(event, MessageArrived):
                    self.judge(event)
                elif isinstance(event, Disconnected) and event.is_final and self.client is client:
                    self.client = None
                    self.report("session", 0.0, RuntimeError(f"ended for good: {event.code} {event.reason}"))

    def judge(self, event: MessageArrived) -> None:
        """Report an arrival; one that repeats, or comes before an earlier one of the same sender and target, is a failure."""
        number, at = STAMP.unpack_from(event.body)
        error = RuntimeError("shown twice or out of order") if number <= self.shown.get(event.user, 0) else None
        self.shown[event.user] = max(number, self.shown.get(event.user, 0))
        self.report("arrive", (time.monotonic_ns() - at) / 1e6, error)

    def timed(self, name: str, act: Callable[[], Any]) -> Any:
        """Do `act` and report how long it took, or how it failed; its result, None when it failed."""
        start = time.perf_counter()
        error: Exception | None = None
        result = None
        try:
            result = act()
        except (MyimError, RuntimeError, OSError) as raised:
            error = raised
        self.report(name, (time.perf_counter() - start) * 1e3, error)
        return result

    def report(self, name: str, milliseconds: float, error: Exception | None) -> None:
        """One line of locust's statistics."""
        self.environment.events.request.fire(
            request_type="myim", name=name, response_time=milliseconds, response_length=0, exception=error, context={}
        )
