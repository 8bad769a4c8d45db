"""The handshake of a link as a value: who is at the other end, proven, before TLS or the first batch (docs/links.md, [L-2]).

What lives here: four flights, their order, keys and proofs. What must not: sockets, TLS, which peers are wanted (`cluster.mesh`). Each node
proves its own Ed25519 key by a signature over both hellos, and, unless one of the two is an endpoint, the cluster secret by a MAC; both
hellos carry the wish for TLS, so nobody between can take it away. An ephemeral exchange makes every proof, and the MAC keys of a plain
link, worth nothing elsewhere.

    dialer                              listener
    HELLO 0x21 ------------------------>
               <------------------------ HELLO 0x22, PROOF 0x23
    PROOF 0x24 ------------------------>            then TLS if either wished it, else batches with a MAC
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import struct
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.x509 import load_der_x509_certificate

from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.flights import VERSION, bad_handshake, flight_kind, raise_reported
from myim_wire.frames import encode_frame
from myim_wire.key_schedule import expand, extract

MAX_CERTIFICATE_BYTES = 1024
_HELLOS = {True: 0x21, False: 0x22}  # by "the dialer says it"
_PROOFS = {True: 0x24, False: 0x23}
_SIDES = {True: b"dialer", False: b"listener"}
_HELLO = struct.Struct(">BBBB32s32s")
_PROOF = struct.Struct(">BB64s32s")


class OwnKeyError(RemoteProtocolError):
    """The other end is this very node, or somebody who sends its flights back."""


class Role(enum.IntEnum):
    """What a node is on a link."""

    CENTER = 1
    LOGIN = 2
    ENDPOINT = 3


@dataclass(frozen=True, slots=True)
class Self:
    """This side: its role, whether it wishes TLS, its Ed25519 seed and certificate (DER), and the cluster secret (empty at an endpoint)."""

    role: Role
    wishes_tls: bool
    seed: bytes = field(repr=False)
    certificate: bytes
    cluster_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Other:
    """The other side, proven: role, public key (32 bytes), certificate; TLS is next if is_tls; MAC keys of a plain link, 32 bytes each."""

    role: Role
    public_key: bytes
    certificate: bytes
    is_tls: bool
    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)

    @property
    def node_id(self) -> int:
        """The node's id."""
        return node_id_of(self.public_key)


def node_id_of(public_key: bytes) -> int:
    """The first 63 bits of the SHA-256 of the public key."""
    return int.from_bytes(hashlib.sha256(public_key).digest()[:8], "big") >> 1


def fingerprint_of(public_key: bytes) -> str:
    """What operators compare and configure: the SHA-256 of the public key, 64 hex digits."""
    return hashlib.sha256(public_key).hexdigest()


def public_key_of(certificate: bytes) -> bytes:
    """The Ed25519 key (32 bytes) of an X.509 certificate in DER; RemoteProtocolError(BAD_HANDSHAKE) if it is no such thing."""
    if len(certificate) > MAX_CERTIFICATE_BYTES:
        raise bad_handshake("a certificate that is too long")
    try:
        key = load_der_x509_certificate(certificate).public_key()
    except Exception:  # whatever the parser of a foreign library thinks of bytes from outside
        raise bad_handshake("no certificate") from None
    if not isinstance(key, Ed25519PublicKey):
        raise bad_handshake("a certificate of another kind of key")
    return key.public_bytes_raw()


class LinkHandshake:
    """One end of a handshake: contents of frames in, frames out; `other` is set when it is complete."""

    def __init__(self, is_dialer: bool, mine: Self, nonce: bytes, ephemeral: bytes) -> None:
        """nonce and ephemeral: 32 random bytes each."""
        self._is_dialer = is_dialer
        self._mine = mine
        self._ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)
        public = self._ephemeral.public_key().public_bytes_raw()
        self._own_public_key = public_key_of(mine.certificate)
        self._my_hello = _HELLO.pack(VERSION, _HELLOS[is_dialer], mine.role, mine.wishes_tls, nonce, public) + mine.certificate
        self._other_hello = b""
        self._hello: tuple[Role, bool, bytes, bytes, bytes] | None = None  # role, wish, ephemeral, certificate, public key
        self._transcript = b""
        self._proof_key = b""
        self._shared = b""
        self.other: Other | None = None

    def start(self) -> bytes:
        """What to send before anything came."""
        return encode_frame(self._my_hello) if self._is_dialer else b""

    def receive(self, content: bytes) -> bytes:
        """Take the content of one frame; returns what to send. RemoteProtocolError ends the handshake."""
        raise_reported(content)
        if self.other is not None:
            raise bad_handshake("a flight after the last")
        if self._hello is None:
            self._take_hello(content)
            return b"" if self._is_dialer else encode_frame(self._my_hello) + self._proof()
        self._take_proof(content)
        return self._proof() if self._is_dialer else b""

    def _take_hello(self, content: bytes) -> None:
        if flight_kind(content) != _HELLOS[not self._is_dialer] or len(content) <= _HELLO.size:
            raise bad_handshake("no hello")
        _, _, role, wish, _, ephemeral = _HELLO.unpack_from(content)
        if role not in Role._value2member_map_ or wish > 1:
            raise bad_handshake("a hello of no role")
        certificate = content[_HELLO.size :]
        public_key = public_key_of(certificate)
        if self._is_dialer and public_key == self._own_public_key:
            raise _own_key()
        self._hello = (Role(role), bool(wish), ephemeral, certificate, public_key)
        self._other_hello = content
        try:
            shared = self._ephemeral.exchange(X25519PublicKey.from_public_bytes(ephemeral))
        except ValueError:
            raise bad_handshake("a key that agrees on nothing") from None
        first, second = (self._my_hello, content) if self._is_dialer else (content, self._my_hello)
        self._transcript = hashlib.sha256(encode_frame(first) + encode_frame(second)).digest()
        has_endpoint = Role.ENDPOINT in (self._mine.role, role)
        self._shared = extract(self._transcript, shared + (b"" if has_endpoint else self._mine.cluster_secret))
        self._proof_key = expand(self._shared, b"MyIM 1 link proof")

    def _signed(self, is_dialer: bool) -> bytes:
        return b"MyIM 1 link " + _SIDES[is_dialer] + self._transcript

    def _mac(self, is_dialer: bool) -> bytes:
        return hmac.digest(self._proof_key, _SIDES[is_dialer] + self._transcript, "sha256")

    def _proof(self) -> bytes:
        signature = Ed25519PrivateKey.from_private_bytes(self._mine.seed).sign(self._signed(self._is_dialer))
        return encode_frame(_PROOF.pack(VERSION, _PROOFS[self._is_dialer], signature, self._mac(self._is_dialer)))

    def _take_proof(self, content: bytes) -> None:
        assert self._hello is not None
        role, wish, _, certificate, public_key = self._hello
        if flight_kind(content) != _PROOFS[not self._is_dialer] or len(content) != _PROOF.size:
            raise bad_handshake("no proof")
        if public_key == self._own_public_key:  # the listener speaks until here, so that a node that dials itself learns whom it dialled
            raise _own_key()
        _, _, signature, mac = _PROOF.unpack(content)
        if not hmac.compare_digest(mac, self._mac(not self._is_dialer)):
            raise RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, "another cluster secret")
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, self._signed(not self._is_dialer))
        except InvalidSignature:
            raise bad_handshake("a node that does not have its key") from None
        from_dialer, to_dialer = (expand(self._shared, label) for label in (b"MyIM 1 link d2l", b"MyIM 1 link l2d"))
        send, receive = (from_dialer, to_dialer) if self._is_dialer else (to_dialer, from_dialer)
        self.other = Other(role, public_key, certificate, wish or self._mine.wishes_tls, send, receive)


def _own_key() -> OwnKeyError:
    return OwnKeyError(ErrorCode.BAD_HANDSHAKE, "this is the node itself")
