"""The center handshake [P-5]: one flight each way, then traffic keys. Pure, as the login is; nonces and keys are arguments.

The center's end is two functions because between the flights somebody has to open the token, which is no affair of the wire.
Flight 1 changes nothing at the center [P-5.5]: it may be a recording; only a first valid record proves that the terminal is there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from myim_wire.errors import ErrorCode, LocalProtocolError
from myim_wire.flights import SUITE, bad_handshake, check_suite, encode_flight, flight_kind, raise_reported, split_flight
from myim_wire.frames import encode_frame
from myim_wire.key_schedule import KeyPair, derive_direction, expand, extend, extract, is_equal, start_transcript
from myim_wire.records import OpeningKey, SealingKey

CONNECT = 0x11
ACCEPT = 0x12
MAX_TOKEN_BYTES = 1024

_TOKEN_LENGTH = struct.Struct(">H")
_NUMBER = struct.Struct(">Q")
_SUITE = bytes((SUITE,))
_START = start_transcript(b"MyIM center 1")
_BINDER_LABEL = b"MyIM 1 center binder"
_FINISHED_LABEL = b"MyIM 1 center finished"
_EXPORTER_LABEL = b"MyIM 1 center exporter"


@dataclass(frozen=True, slots=True)
class TrafficKeys:
    """One end's keys: what it seals and opens with, the exporter for the next rekey, and the binding hash B (32 bytes each)."""

    sealing: SealingKey
    opening: OpeningKey
    exporter: bytes = field(repr=False)
    binding: bytes


@dataclass(frozen=True, slots=True)
class Connect:
    """Flight 1 as the center reads it, before anything of it is believed; `flight` is the whole plaintext."""

    token: bytes = field(repr=False)
    nonce: bytes
    ephemeral: bytes
    connection_number: int
    binder: bytes = field(repr=False)
    flight: bytes = field(repr=False)


def derive_traffic(secret: bytes, binding: bytes, is_terminal: bool) -> TrafficKeys:
    """Traffic keys and exporter out of S (or S' of a rekey) for one end [P-5.3]."""
    up, down = derive_direction(secret, "center t2c"), derive_direction(secret, "center c2t")
    exporter = expand(secret, _EXPORTER_LABEL)
    if is_terminal:
        return TrafficKeys(up.sealing(), down.opening(), exporter, binding)
    return TrafficKeys(down.sealing(), up.opening(), exporter, binding)


def _bind(session_key: bytes, unbound_flight: bytes) -> bytes:
    return extract(expand(session_key, _BINDER_LABEL), extend(_START, unbound_flight))


def _finish(secret: bytes, binding: bytes) -> bytes:
    return extract(expand(secret, _FINISHED_LABEL), binding)


class CenterClient:
    """The terminal's end of one connection attempt.

    `nonce` and `ephemeral_private` are 32 fresh random bytes each; `connection_number` rises with every attempt [P-5.4].
    """

    def __init__(
        self, token: bytes, session_key: bytes, terminal_private: bytes, nonce: bytes, ephemeral_private: bytes, connection_number: int
    ) -> None:
        if not 0 < len(token) <= MAX_TOKEN_BYTES or not 0 < connection_number < 1 << 64:
            raise LocalProtocolError(ErrorCode.BAD_HANDSHAKE, "the token or the connection number does not fit the flight")
        self._session_key = session_key
        self._terminal = KeyPair(terminal_private)
        self._ephemeral = KeyPair(ephemeral_private)
        number = _NUMBER.pack(connection_number)
        length = _TOKEN_LENGTH.pack(len(token))
        unbound = encode_flight(CONNECT, _SUITE, length, token, nonce, self._ephemeral.public, number)
        self._flight = unbound + _bind(session_key, unbound)

    def connect(self) -> bytes:
        """The frame of flight 1."""
        return encode_frame(self._flight)

    def accept(self, content: bytes) -> TrafficKeys:
        """The keys, from the content of the center's answer; ReportedError if the center said why not, else BAD_HANDSHAKE."""
        raise_reported(content)
        suite, _, ephemeral, finished = split_flight(content, ACCEPT, 1, 32, 32, 32)
        check_suite(suite)
        binding = extend(extend(_START, self._flight), content[:-32])
        secret = extract(binding, self._session_key + self._ephemeral.exchange(ephemeral) + self._terminal.exchange(ephemeral))
        if not is_equal(finished, _finish(secret, binding)):
            raise bad_handshake("the center does not hold the session key")
        return derive_traffic(secret, binding, is_terminal=True)


def parse_connect(content: bytes) -> Connect:
    """Flight 1 taken apart; BAD_HANDSHAKE or UNSUPPORTED_VERSION for its form alone."""
    if flight_kind(content) != CONNECT or len(content) < 5:
        raise bad_handshake("not a CONNECT")
    token_bytes = _TOKEN_LENGTH.unpack_from(content, 3)[0]
    if not 0 < token_bytes <= MAX_TOKEN_BYTES:
        raise bad_handshake("no token, or one too long")
    suite, _, token, nonce, ephemeral, number, binder = split_flight(content, CONNECT, 1, 2, token_bytes, 32, 32, 8, 32)
    check_suite(suite)
    connection_number = _NUMBER.unpack(number)[0]
    if not connection_number:
        raise bad_handshake("connection numbers start at 1")
    return Connect(token, nonce, ephemeral, connection_number, binder, content)


def check_binder(connect: Connect, session_key: bytes) -> None:
    """BAD_HANDSHAKE unless whoever sent flight 1 holds the session key that the token speaks of [P-5.2]."""
    if not is_equal(connect.binder, _bind(session_key, connect.flight[:-32])):
        raise bad_handshake("the terminal does not hold the session key")


def accept(
    connect: Connect, session_key: bytes, terminal_public: bytes, nonce: bytes, ephemeral_private: bytes
) -> tuple[bytes, TrafficKeys]:
    """(frame of flight 2, keys) for a terminal whose token says this session key and terminal key; BAD_HANDSHAKE if the binder is wrong.

    `nonce` and `ephemeral_private` are 32 fresh random bytes each.
    """
    check_binder(connect, session_key)
    ephemeral = KeyPair(ephemeral_private)
    unfinished = encode_flight(ACCEPT, _SUITE, nonce, ephemeral.public)
    binding = extend(extend(_START, connect.flight), unfinished)
    secret = extract(binding, session_key + ephemeral.exchange(connect.ephemeral) + ephemeral.exchange(terminal_public))
    return encode_frame(unfinished + _finish(secret, binding)), derive_traffic(secret, binding, is_terminal=False)
