"""A login center's door for the tests of it: accounts of which a test says what they answer, and what is sent to a door by hand.

What must not live here: the door's own rules, and the terminal that speaks the whole protocol (`terminal`).
"""

import os
import struct
from collections.abc import Callable
from typing import cast

from gevent.event import Event

from myim_server.chat.accounts import Accounts
from myim_server.keys import LoginKeys
from myim_server.login import LoginCenter, LoginLimits
from myim_server.metrics import Metrics
from myim_wire.contents import Grant, Server
from myim_wire.frames import encode_frame
from myim_wire.login_flights import CredentialsReceived

KEYS = LoginKeys(bytes(range(32)), bytes(range(32, 64)))
SERVERS = [Server(node=7, role="center", host="127.0.0.1", port=7401, priority=10, load=0, draining=False)]
GRANT = Grant(
    user=77, name="Alice", slot=3, terminal_generation=1, session_key=bytes(32), token=b"t" * 138, issued=1, expires=2,
    servers=tuple(SERVERS), last_login=None, new_terminal=False, new_network=False,
)  # fmt: skip
OpenCenter = Callable[[LoginLimits], LoginCenter]


class Decisions:
    """Accounts of which the test says what they answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[CredentialsReceived, str, int]] = []
        self.answer: Grant | Exception = GRANT
        self.may_answer = Event()
        self.may_answer.set()

    def log_in(self, asked: CredentialsReceived, address: str, now: int) -> Grant:
        self.asked.append((asked, address, now))
        self.may_answer.wait(20)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    register = change_password = delete = log_in


def start_center(decisions: Decisions, metrics: Metrics, limits: LoginLimits) -> LoginCenter:
    """A login center on a free port that asks these decisions."""
    accounts = cast(Accounts, decisions)
    center = LoginCenter(("127.0.0.1", 0), KEYS, accounts, lambda: SERVERS, lambda: 1_000, metrics, limits)
    center.build()
    center.start()
    return center


def connections(center: LoginCenter) -> int:
    """How many connections the center still has, those that are ending included."""
    assert center.pool is not None
    return len(center.pool)


def error_flight(code: int) -> bytes:
    return encode_frame(b"\x01\xff" + struct.pack(">H", code))


def hello(
    version: int = 1, kind: int = 1, suite: int = 1, nonce: bytes | None = None, ephemeral: bytes | None = None, extra: bytes = b""
) -> bytes:
    return bytes((version, kind, suite)) + (nonce or os.urandom(32)) + (ephemeral or os.urandom(32)) + extra
