"""What both ends of the login [P-4] share: kinds of flights, events, states, transcript and key stages, the terminal's proof.

The two ends themselves are in `login_handshake`. The labels are those of [P-4.3]-[P-4.5]: k1 seals flight 3 (or SERVERS_ASK and its
answer), k2 what follows; from flight 3 on every key also mixes the exchange with the terminal key.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from myim_wire.contents import Grant, Operation, Server
from myim_wire.errors import ErrorCode, LocalProtocolError
from myim_wire.flights import SUITE
from myim_wire.frames import HANDSHAKE_FRAME_CAP
from myim_wire.key_schedule import derive_direction, expand, extend, extract, start_transcript
from myim_wire.records import TAG_BYTES, OpeningKey, SealingKey

HELLO, HELLO_REPLY, TERMINAL, CERTIFICATE, CREDENTIALS, GRANT, SERVERS_ASK, SERVERS_ANSWER = range(1, 9)
REFUSAL = 0x0F

SIGNATURE_BYTES = 64
MAX_FLIGHT_BYTES = HANDSHAKE_FRAME_CAP - TAG_BYTES
REFUSAL_FIELDS = struct.Struct(">HI")
HELLO_CONTEXT = b"MyIM 1 login hello\x00"
KEY_CONTEXT = b"MyIM 1 server key\x00"
SUITE_FIELD = bytes((SUITE,))
CERTIFICATE_HEAD = bytes((1, 1))


@dataclass(frozen=True, slots=True)
class IdentityShown:
    """The login center proved this identity (32 bytes), and it is the pinned one if there is one: go on with
    `present_terminal` or `ask_servers`."""

    identity: bytes


@dataclass(frozen=True, slots=True)
class ServerKeyCertified:
    """The server key made for this terminal is certified: go on with `credentials`."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The login succeeded; the center closes."""

    grant: Grant


@dataclass(frozen=True, slots=True)
class Refused:
    """The login or registration was refused with `code`, worth a new try after `retry_ms` (0: nothing said); the center closes."""

    code: int
    retry_ms: int


@dataclass(frozen=True, slots=True)
class ServersListed:
    """The answer to `ask_servers`; the center closes."""

    servers: tuple[Server, ...]


LoginClientEvent = IdentityShown | ServerKeyCertified | Granted | Refused | ServersListed


@dataclass(frozen=True, slots=True)
class ServersAsked:
    """The terminal asks for the server list: answer with `servers`, then close."""


@dataclass(frozen=True, slots=True)
class TerminalProved:
    """The terminal proved to hold the private half of this key (32 bytes); `fingerprint` is what it says of its machine."""

    terminal_public_key: bytes
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class CredentialsReceived:
    """A login, registration, change of password or deletion is asked for [P-4.7]: answer with `grant` or `refuse`, then close. `terminal`
    is what the owner calls the device; `terminal_public_key` and `fingerprint` (32 bytes each) are of TerminalProved."""

    op: Operation
    name: str
    password: str = field(repr=False)
    terminal: str | None
    terminal_public_key: bytes
    fingerprint: bytes
    new_password: str = field(default="", repr=False)


LoginServerEvent = ServersAsked | TerminalProved | CredentialsReceived


class Received(NamedTuple):
    """What one flight led to: frames to send now, in order, and events."""

    frames: list[bytes]
    events: list[LoginServerEvent]


class LoginState(enum.Enum):
    """How far a login has come; the same names on both ends."""

    START = "nothing sent or received"
    HELLO = "client: hello sent"
    CHOICE = "hellos done: TERMINAL or SERVERS_ASK is next"
    CERTIFICATE = "client: terminal sent"
    CREDENTIALS = "certificate done: CREDENTIALS is next"
    DECISION = "credentials done: GRANT or REFUSAL is next"
    LISTING = "servers asked: SERVERS_ANSWER is next"
    OVER = "finished or failed"


class LoginEnd:
    """What both ends share: the state, the transcript, and the two stages of keys."""

    def __init__(self) -> None:
        self.state = LoginState.START
        self._transcript = start_transcript(b"MyIM login 1")
        self._stage1 = b""
        self._sealing: SealingKey
        self._opening: OpeningKey

    def _add(self, flight: bytes) -> bytes:
        self._transcript = extend(self._transcript, flight)
        return self._transcript

    def _enter(self, *states: LoginState) -> None:
        if self.state not in states:
            raise LocalProtocolError(ErrorCode.BAD_HANDSHAKE, f"not now: {self.state.value}")

    def _seal(self, flight: bytes) -> bytes:
        if len(flight) > MAX_FLIGHT_BYTES:
            raise LocalProtocolError(ErrorCode.TOO_LARGE, f"a flight of {len(flight)} bytes")
        self._add(flight)
        return self._sealing.seal(flight)

    def _derive_stage(self, secret: bytes, stage: str, is_client: bool) -> None:
        up, down = derive_direction(secret, f"{stage} t2l"), derive_direction(secret, f"{stage} l2t")
        self._sealing, self._opening = (up.sealing(), down.opening()) if is_client else (down.sealing(), up.opening())

    def _derive_second_stage(self, terminal_exchange: bytes, is_client: bool) -> None:
        secret = extract(self._transcript, expand(self._stage1, b"MyIM 1 login chain") + terminal_exchange)
        self._derive_stage(secret, "login2", is_client)
        self._stage1 = b""


def prove_terminal(transcript: bytes, terminal_exchange: bytes) -> bytes:
    """The proof (32 bytes) in flight 3 that the terminal holds its key, over H2 [P-4.4]."""
    return extract(expand(extract(transcript, terminal_exchange), b"MyIM 1 login proof"), transcript)
