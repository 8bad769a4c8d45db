"""Who a node is to other nodes: its Ed25519 key, and a certificate that says nothing but that key.

What lives here: making the certificate, and the TLS contexts in which the peer's own certificate is the only trust anchor. What must not:
files (`myim_server.keys`), links.
"""

from __future__ import annotations

import datetime
import os
import ssl
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from myim_wire.link_handshake import fingerprint_of, node_id_of, public_key_of

_BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_END = datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)  # RFC 5280 §4.1.2.5: no well-defined end; trust is the pin's affair


@dataclass(frozen=True, slots=True)
class Identity:
    """A node's Ed25519 seed (32 bytes) and its certificate (DER)."""

    seed: bytes = field(repr=False)
    certificate: bytes

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return public_key_of(self.certificate)

    @property
    def node_id(self) -> int:
        """The node's id."""
        return node_id_of(self.public_key)

    @property
    def fingerprint(self) -> str:
        """What operators compare and configure."""
        return fingerprint_of(self.public_key)


def make_identity(seed: bytes) -> Identity:
    """The identity of a seed; always the same one, since Ed25519 signs without chance and the certificate has no serial of its own."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{node_id_of(public.public_bytes_raw()):016x}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(1)
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, None)
    )
    return Identity(seed, certificate.public_bytes(Encoding.DER))


def tls_context(identity: Identity, is_server: bool, peer_certificate: bytes) -> ssl.SSLContext:
    """A context that speaks TLS 1.3 only, shows our certificate, and trusts exactly the peer's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=peer_certificate)
    if is_server:
        context.num_tickets = 0  # no resumption: each link proves itself
    key = Ed25519PrivateKey.from_private_bytes(identity.seed)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + _pem(identity.certificate)
    with open(os.memfd_create("tls"), "wb") as file:  # Python's ssl takes keys from files alone; this one has no name to be left under
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context


def _pem(certificate: bytes) -> bytes:
    return x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)
