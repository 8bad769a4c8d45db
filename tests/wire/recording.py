"""A tool for an attacker who recorded connections and later stole keys: what can be opened? Nothing here is a test.

It knows every clause and tries every exchange it can compute from the private keys it is given with the public ones it has seen.
"""

from __future__ import annotations

from collections.abc import Iterable

from myim_wire import hpke
from myim_wire.errors import ProtocolError
from myim_wire.flights import unpad
from myim_wire.key_schedule import KeyPair, derive_direction, derive_server_private, expand, extend, extract, start_transcript


def _exchanges(privates: Iterable[bytes], publics: Iterable[bytes]) -> list[bytes]:
    found = []
    pairs = [KeyPair(private) for private in privates]
    for pair in pairs:
        for public in publics:
            try:
                found.append(pair.exchange(public))
            except ProtocolError:
                continue
    return found


def open_recorded_login(frames: list[bytes], privates: list[bytes], master_secret: bytes) -> bytes | None:
    """The credentials (msgpack) of a recorded login, if X25519 keys and master secret that were stolen suffice for it, else None."""
    hello, reply, *sealed = [frame[4:] for frame in frames]
    h2 = extend(extend(start_transcript(b"MyIM login 1"), hello), reply)
    client_ephemeral, server_ephemeral = hello[35:67], reply[35:67]
    for exchange in _exchanges(privates, (client_ephemeral, server_ephemeral)):
        s1 = extract(h2, exchange)
        try:
            flight3 = derive_direction(s1, "login1 t2l").opening().open(sealed[0])
        except ProtocolError:
            continue
        h3 = extend(h2, flight3)
        fingerprint, terminal_public = flight3[2:34], flight3[34:66]
        for terminal_exchange in _exchanges(privates, (terminal_public, server_ephemeral)):
            s2 = extract(h3, expand(s1, b"MyIM 1 login chain") + terminal_exchange)
            try:
                flight4 = derive_direction(s2, "login2 l2t").opening().open(sealed[1])
                flight5 = derive_direction(s2, "login2 t2l").opening().open(sealed[2])
            except ProtocolError:
                continue
            server_private = derive_server_private(fingerprint, master_secret, terminal_public)
            return unpad(hpke.unseal(server_private, b"MyIM 1 credentials" + extend(h3, flight4), flight5[2:]))
    return None


def open_recorded_session(frames: list[bytes], privates: list[bytes], terminal_public: bytes, session_key: bytes) -> bytes | None:
    """The plaintext of the first T→C record of a recorded center connection, if the stolen keys suffice for it, else None."""
    connect, accept, record = [frame[4:] for frame in frames]
    binding = extend(extend(start_transcript(b"MyIM center 1"), connect), accept[:-32])
    exchanges = _exchanges(privates, (connect[-72:-40], accept[35:67], terminal_public))
    for first in exchanges:
        for second in exchanges:
            secret = extract(binding, session_key + first + second)
            try:
                return derive_direction(secret, "center t2c").opening().open(record)
            except ProtocolError:
                continue
    return None
