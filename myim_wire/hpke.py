"""HPKE base mode (RFC 9180) of suite 0x01, as the login seals credentials and grants [P-4.7], [P-4.8].

pycryptodome's; its fresh sender ephemeral is the only chance in the pure part of this package.
"""

from __future__ import annotations

from collections.abc import Callable

from Crypto.Protocol import HPKE
from Crypto.Protocol.DH import import_x25519_private_key, import_x25519_public_key

from myim_wire.errors import ErrorCode, RemoteProtocolError

ENCAPSULATED_BYTES = 32
OVERHEAD_BYTES = ENCAPSULATED_BYTES + 16

Seal = Callable[[bytes, bytes, bytes], bytes]
"""(public key of the receiver, info, plaintext) → enc ‖ ciphertext; tests inject one with a fixed sender ephemeral."""


def seal(public: bytes, info: bytes, plaintext: bytes) -> bytes:
    """`enc ‖ ciphertext` for the holder of `public` (32 bytes); BAD_HANDSHAKE if that is no key to seal to."""
    try:
        cipher = HPKE.new(receiver_key=import_x25519_public_key(public), aead_id=HPKE.AEAD.AES256_GCM, info=info)
        return cipher.enc + cipher.seal(plaintext)
    except ValueError:
        raise RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, "the key to seal to is not valid") from None


def unseal(private: bytes, info: bytes, sealed: bytes) -> bytes:
    """The plaintext of `enc ‖ ciphertext`; BAD_HANDSHAKE for every failure alike."""
    try:
        key = import_x25519_private_key(private)
        enc, ciphertext = sealed[:ENCAPSULATED_BYTES], sealed[ENCAPSULATED_BYTES:]
        cipher = HPKE.new(receiver_key=key, aead_id=HPKE.AEAD.AES256_GCM, info=info, enc=enc)
        return cipher.unseal(ciphertext)
    except ValueError:
        raise RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, "a sealed structure did not open") from None
