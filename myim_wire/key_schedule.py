"""From exchanged secrets to keys: transcripts, HKDF, X25519, the deterministic key pairs [P-4.1], [P-4.2], [P-4.5].

The labels of the login are in `login_handshake`, those of the center in `center_handshake`; here is what they share. HKDF is
written with `hmac`, because one Expand of at most 32 bytes is one HMAC, ten times cheaper than an HKDF object. X25519 is
cryptography's: the same bytes as pycryptodome's in a quarter of its time.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.frames import encode_length
from myim_wire.records import IV_BYTES, KEY_BYTES, OpeningKey, SealingKey

HASH_BYTES = 32


def extract(salt: bytes, secret: bytes) -> bytes:
    """HKDF-Extract with SHA-256 (RFC 5869 §2.2)."""
    return hmac.digest(salt, secret, "sha256")


def expand(key: bytes, label: bytes, size: int = KEY_BYTES) -> bytes:
    """HKDF-Expand with SHA-256 for at most 32 bytes (RFC 5869 §2.3)."""
    return hmac.digest(key, label + b"\x01", "sha256")[:size]


def start_transcript(label: bytes) -> bytes:
    """The transcript hash before the first flight [P-4.2], [P-5.1]."""
    return hashlib.sha256(label).digest()


def extend(transcript: bytes, flight: bytes) -> bytes:
    """The transcript hash with one more flight, given as its plaintext from the version byte on [P-4.2]."""
    return hashlib.sha256(transcript + encode_length(len(flight)) + flight).digest()


def is_equal(left: bytes, right: bytes) -> bool:
    """Compare authenticators in constant time."""
    return hmac.compare_digest(left, right)


class KeyPair:
    """An X25519 key pair (RFC 7748) from its private bytes; `public` is 32 bytes."""

    __slots__ = ("_private", "public")

    def __init__(self, private: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(private)
        self.public = self._private.public_key().public_bytes_raw()

    def exchange(self, peer_public: bytes) -> bytes:
        """The shared secret (32 bytes); BAD_HANDSHAKE for a result of all zeros or one's own key reflected [P-4]."""
        if peer_public == self.public:
            raise RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, "the peer sent our own key")
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(peer_public))
        except ValueError:
            raise RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, "the key exchange came to nothing") from None


def derive_terminal_private(fingerprint: bytes, terminal_secret: bytes) -> bytes:
    """The private half of the terminal key pair (32 bytes) [P-4.1]."""
    return expand(extract(fingerprint, terminal_secret), b"MyIM 1 terminal key")


def derive_server_private(fingerprint: bytes, master_secret: bytes, terminal_public: bytes) -> bytes:
    """The private half of the server key pair made for one terminal (32 bytes) [P-4.5]."""
    return expand(extract(fingerprint, master_secret), b"MyIM 1 server key" + terminal_public)


class DirectionSecret(NamedTuple):
    """Key (32 bytes) and iv (12 bytes) of one direction."""

    key: bytes
    iv: bytes

    def sealing(self) -> SealingKey:
        """The end that sends."""
        return SealingKey(self.key, self.iv)

    def opening(self) -> OpeningKey:
        """The end that receives."""
        return OpeningKey(self.key, self.iv)


@functools.cache
def _labels(direction: str) -> tuple[bytes, bytes]:
    return f"MyIM 1 {direction} key".encode(), f"MyIM 1 {direction} iv".encode()


def derive_direction(secret: bytes, direction: str) -> DirectionSecret:
    """Key and iv for `direction`, such as "login1 t2l" or "center c2t" [P-4.4], [P-5.3]."""
    key_label, iv_label = _labels(direction)
    return DirectionSecret(expand(secret, key_label), expand(secret, iv_label, IV_BYTES))
