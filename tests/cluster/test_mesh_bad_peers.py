"""What a hostile or broken peer gets at the door of links: nothing, and nobody else is disturbed (reliability §4.5)."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
from collections.abc import Callable, Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from cluster.identity import Identity, make_identity, tls_context
from cluster.link_socket import read_frame
from cluster.mesh import Member
from myim_wire.errors import ErrorCode, RemoteProtocolError, ReportedError
from myim_wire.frames import encode_frame
from myim_wire.link_batches import GOODBYE, HEARTBEAT, decode_own, encode_own
from myim_wire.link_handshake import LinkHandshake, Role, Self
from tests.cluster.nodes import SECRET, Making, Node, join, wait_until
from tests.cluster.raw_peer import RawPeer


@pytest.fixture(params=["plain", "tls"])
def disturbed(make: Making, request: pytest.FixtureRequest) -> Iterator[Node]:
    """A node with one good link, which has to be the same at the end of the test."""
    node, friend = make(security=request.param), make(security=request.param)
    link, _ = join(friend, node)
    yield node
    assert link.is_open and friend.mesh.send(node.id, b"\x10still here")
    wait_until(lambda: (friend.id, b"\x10still here") in node.told)
    assert [event for event in node.life if event[1] == friend.id] == [("up", friend.id)]
    wait_until(lambda: not node.mesh._shaking)


def newcomers(node: Node) -> list[tuple[str, int]]:
    return node.life[1:]


# ---------------------------------------------------------------------- before anything is proven


def test_a_peer_without_the_cluster_secret_is_no_center(disturbed: Node) -> None:
    with pytest.raises(RemoteProtocolError, match="secret"):
        RawPeer(disturbed, secret=os.urandom(32)).prove()
    assert not newcomers(disturbed)


def test_a_peer_that_shows_the_certificate_of_another_node_proves_nothing(disturbed: Node, make: Making) -> None:
    victim = make()
    stolen = Identity(os.urandom(32), victim.identity.certificate)  # right name, wrong key
    peer = RawPeer(disturbed, stolen).prove()
    with pytest.raises(ReportedError) as refusal:
        _ = LinkHandshake(True, peer._mine, os.urandom(32), os.urandom(32)).receive(read_frame(peer.socket))
    assert refusal.value.code is ErrorCode.BAD_HANDSHAKE
    assert not newcomers(disturbed)


def test_an_endpoint_that_was_not_admitted_or_has_an_unknown_key_gets_no_link(make: Making) -> None:
    admitted = make_identity(os.urandom(32))
    node = make(admits=lambda peer: peer.fingerprint == admitted.fingerprint)
    unknown = RawPeer(node, role=Role.ENDPOINT, secret=b"").prove()
    assert unknown.hear_out() == [encode_own(GOODBYE, ErrorCode.NOT_ALLOWED)]
    known = RawPeer(node, admitted, Role.ENDPOINT, b"").prove()
    assert known.hear_until(HEARTBEAT)
    assert [status.peer.fingerprint for status in node.mesh.links()] == [admitted.fingerprint]


def test_an_admitted_endpoint_that_calls_itself_a_center_has_to_know_the_secret(make: Making) -> None:
    endpoint = make_identity(os.urandom(32))
    node = make(admits=lambda peer: True)
    with pytest.raises(RemoteProtocolError, match="secret"):
        RawPeer(node, endpoint, Role.CENTER, b"").prove()
    wait_until(lambda: not node.mesh._shaking)
    assert not node.life


NOISE = {
    "nothing and goes": b"",
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100fa010000f60303") + bytes(200),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a frame of 4 GiB": b"\xff\xff\xff\xff",
    "a frame of 2 GiB": b"\x80\x00\x00\x00",
    "a frame of 4,097 bytes": b"\x00\x00\x10\x01",
    "a frame of nothing": bytes(4),
    "zeros": bytes(8192),
    "version 0": encode_frame(b"\x00\x21" + bytes(400)),
    "version 3": encode_frame(b"\x03\x21" + bytes(400)),
    "a hello of role 0": encode_frame(b"\x01\x21\x00\x00" + bytes(400)),
    "a hello of role 9": encode_frame(b"\x01\x21\x09\x00" + bytes(400)),
    "a hello without a certificate": encode_frame(b"\x01\x21\x01\x00" + bytes(64)),
    "a hello with garbage for one": encode_frame(b"\x01\x21\x01\x00" + os.urandom(400)),
    "a proof first": encode_frame(b"\x01\x24" + bytes(96)),
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_noise_is_answered_by_a_refusal_or_nothing_and_closed(disturbed: Node, noise: bytes) -> None:
    with socket.create_connection(("127.0.0.1", disturbed.mesh.address[1]), timeout=5) as peer:
        peer.sendall(noise)
        if not noise:
            return
        answer = b""
        try:
            while data := peer.recv(4096):
                answer += data
        except ConnectionResetError:
            pass
    assert answer == b"" or (len(answer) == 8 and answer[:6] == b"\x00\x00\x00\x04\x01\xff")
    if noise[4:6] in (b"\x00\x21", b"\x03\x21"):
        assert answer[6:] == ErrorCode.UNSUPPORTED_VERSION.to_bytes(2, "big")
    assert not newcomers(disturbed)


def test_somebody_who_says_nothing_is_sent_away_in_time(make: Making) -> None:
    node = make()
    with socket.create_connection(("127.0.0.1", node.mesh.address[1]), timeout=7) as peer:
        wait_until(lambda: node.mesh._shaking.total() == 1)
        assert peer.recv(100)[4:] == b"\x01\xff" + ErrorCode.TIMEOUT.to_bytes(2, "big")
    wait_until(lambda: not node.mesh._shaking)


def test_a_listener_that_is_another_node_than_pinned_hears_no_proof(make: Making) -> None:
    expected, found = make(), make()
    dialer = make()
    dialer.members = [Member(found.address, expected.id)]
    wait_until(lambda: any("expected" in error for error in dialer.errors))
    assert not found.life and not dialer.life


def test_a_listener_of_another_version_is_told_apart(make: Making) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    dialer = make()
    dialer.members = [Member(f"127.0.0.1:{server.getsockname()[1]}")]
    connection, _ = server.accept()
    read_frame(connection)
    connection.sendall(encode_frame(b"\x01\xff" + ErrorCode.UNSUPPORTED_VERSION.to_bytes(2, "big")))
    wait_until(lambda: any("UNSUPPORTED_VERSION" in error for error in dialer.errors))
    connection.close()
    server.close()


# ---------------------------------------------------------------------- TLS


def context_with(identity: Identity, peer: bytes, certificate: bytes | None = None) -> ssl.SSLContext:
    """A client's context that shows this certificate of the identity's key, or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=peer)
    if certificate is not None:
        key = Ed25519PrivateKey.from_private_bytes(identity.seed).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = f"/proc/self/fd/{os.memfd_create('pem')}"
        with open(path, "wb") as file:
            file.write(key + x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM))
        context.load_cert_chain(path)
    return context


def another_certificate(identity: Identity, days: tuple[int, int] = (-1, 1)) -> bytes:
    """Of the same key and the same name, valid between these days from now."""
    key = Ed25519PrivateKey.from_private_bytes(identity.seed)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{identity.node_id:016x}")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(2)
    builder = builder.not_valid_before(now + datetime.timedelta(days[0])).not_valid_after(now + datetime.timedelta(days[1]))
    return builder.sign(key, None).public_bytes(Encoding.DER)


def signed_by(issuer: Identity, key: Ed25519PrivateKey) -> bytes:
    """A certificate of another key that the issuer's vouches for."""
    issued_by = x509.load_der_x509_certificate(issuer.certificate)
    builder = x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "child")])).serial_number(3)
    builder = builder.issuer_name(issued_by.subject).public_key(key.public_key())
    builder = builder.not_valid_before(issued_by.not_valid_before_utc).not_valid_after(issued_by.not_valid_after_utc)
    return builder.sign(Ed25519PrivateKey.from_private_bytes(issuer.seed), None).public_bytes(Encoding.DER)


def vouched_for(peer: RawPeer, center: bytes) -> ssl.SSLContext:
    child = Ed25519PrivateKey.generate()
    certificate = signed_by(peer.identity, child)
    return context_with(Identity(child.private_bytes_raw(), certificate), center, certificate)


def old_tls(peer: RawPeer, center: bytes) -> ssl.SSLContext:
    context = context_with(peer.identity, center, peer.identity.certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


TLS_FAULTS: dict[str, Callable[[RawPeer, bytes], ssl.SSLContext]] = {
    "no certificate": lambda peer, center: context_with(peer.identity, center),
    "an unknown self-signed one": lambda peer, center: tls_context(make_identity(os.urandom(32)), False, center),
    "another one of the same key": lambda peer, center: context_with(peer.identity, center, another_certificate(peer.identity)),
    "one that its own vouches for": vouched_for,
    "TLS 1.2": old_tls,
}


@pytest.mark.parametrize("fault", TLS_FAULTS.values(), ids=TLS_FAULTS)
def test_a_peer_that_proved_itself_and_shows_something_else_under_tls_gets_no_link(
    make: Making, fault: Callable[[RawPeer, bytes], ssl.SSLContext]
) -> None:
    node = make(security="tls")
    peer = RawPeer(node).prove()
    assert peer.other is not None and peer.other.is_tls
    with pytest.raises((OSError, RemoteProtocolError, EOFError)):
        peer.secure(fault(peer, node.identity.certificate))
        peer.say(b"\x10hello")
        peer.hear_until(HEARTBEAT)
    wait_until(lambda: not node.mesh._shaking)
    assert not node.life
    good = RawPeer(node, peer.identity).prove().secure()
    assert good.hear_until(HEARTBEAT)


@pytest.mark.parametrize("days", [(-10, -1), (1, 10)], ids=["expired", "not yet valid"])
def test_a_certificate_out_of_its_time_is_refused_under_tls(make: Making, days: tuple[int, int]) -> None:
    node, seed = make(security="tls"), os.urandom(32)
    identity = Identity(seed, another_certificate(make_identity(seed), days))
    peer = RawPeer(node, identity).prove()
    with pytest.raises((OSError, RemoteProtocolError, EOFError)):
        peer.secure()
        peer.hear_until(HEARTBEAT)
    wait_until(lambda: not node.mesh._shaking)
    assert not node.life


def test_a_listener_that_shows_another_certificate_under_tls_hears_nothing(make: Making) -> None:
    """Somebody between passes the flights on and answers TLS itself."""
    honest, dialer = make(security="tls"), make(security="tls")
    server = socket.create_server(("127.0.0.1", 0))
    dialer.members = [Member(f"127.0.0.1:{server.getsockname()[1]}")]
    near, _ = server.accept()
    with socket.create_connection(("127.0.0.1", honest.mesh.address[1])) as far:
        far.sendall(encode_frame(read_frame(near)))
        near.sendall(encode_frame(read_frame(far)) + encode_frame(read_frame(far)))
        far.sendall(encode_frame(read_frame(near)))
        thief = make_identity(os.urandom(32))
        context = tls_context(thief, True, dialer.identity.certificate)
        with pytest.raises(ssl.SSLError), context.wrap_socket(near, server_side=True) as stolen:
            stolen.recv(1)
    server.close()
    wait_until(lambda: any("CERTIFICATE" in error.upper() for error in dialer.errors))
    assert not dialer.life and not honest.life


def test_plaintext_where_tls_is_due_is_refused(make: Making) -> None:
    node = make(security="tls")
    peer = RawPeer(node).prove()
    assert peer.other is not None
    peer.socket.sendall(b"\x00\x00\x00\x06\x00\x00\x00\x02\x10x" * 5)
    while peer.socket.recv(4096):
        pass
    wait_until(lambda: not node.mesh._shaking)
    assert not node.life and not node.told


# ---------------------------------------------------------------------- identities


def test_two_nodes_of_one_key_do_not_push_each_other_out(disturbed: Node) -> None:
    """Somebody copied a node's directory: whoever came first stays as long as it is there."""
    twin = make_identity(os.urandom(32))
    security = disturbed.mesh._settings.security
    first = RawPeer(disturbed, twin).prove()
    second_secure = security == "tls"
    if second_secure:
        first.secure()
    asked = first.hear_until(HEARTBEAT)
    first.say(encode_own(2, decode_own(asked)[1]))
    second = RawPeer(disturbed, twin).prove()
    if second_secure:
        second.secure()
    probe = first.hear_until(HEARTBEAT)
    first.say(encode_own(2, decode_own(probe)[1]))
    assert second.hear_out() == [encode_own(GOODBYE, ErrorCode.BUSY)]
    assert newcomers(disturbed) == [("up", twin.node_id)]
    first.socket.close()
    wait_until(lambda: newcomers(disturbed) == [("up", twin.node_id), ("down", twin.node_id)])


def test_the_secret_is_not_part_of_what_a_node_shows_of_itself(make: Making) -> None:
    node = make()
    mine = Self(Role.CENTER, True, node.identity.seed, node.identity.certificate, SECRET)
    shown = repr(mine) + repr(node.identity) + repr(node.mesh.links())
    assert repr(SECRET) not in shown and repr(node.identity.seed) not in shown
