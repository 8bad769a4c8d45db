"""The handshake of links: who gets through, and that nothing else than the four flights, whole, once, in order does."""

from __future__ import annotations

import datetime
import hashlib
import itertools
import struct
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cluster.identity import Identity, make_identity
from myim_wire.errors import ErrorCode, ProtocolError, RemoteProtocolError, ReportedError
from myim_wire.flights import encode_error_flight
from myim_wire.frames import HANDSHAKE_FRAME_CAP
from myim_wire.key_schedule import KeyPair, expand, extract
from myim_wire.link_handshake import LinkHandshake, Other, OwnKeyError, Role, Self, node_id_of, public_key_of
from tests.wire.fixed import fixed

SECRET = fixed("cluster secret")
EAST, WEST, NORTH = (make_identity(fixed(name)) for name in ("east", "west", "north"))


def end(
    is_dialer: bool,
    identity: Identity,
    role: Role = Role.CENTER,
    secret: bytes = SECRET,
    is_tls: bool = False,
    seed: bytes | None = None,
) -> LinkHandshake:
    """One end with fixed chance; seed: another key than the certificate's."""
    name = f"{is_dialer} {identity.node_id}"
    mine = Self(role, is_tls, seed or identity.seed, identity.certificate, secret)
    return LinkHandshake(is_dialer, mine, fixed(name + " nonce"), fixed(name + " ephemeral"))


def contents(data: bytes) -> list[bytes]:
    """The contents of frames end to end."""
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        assert 0 < size <= HANDSHAKE_FRAME_CAP
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def shake(dialer: LinkHandshake, listener: LinkHandshake) -> list[bytes]:
    """The contents of all flights, until nobody has anything to say."""
    flights: list[bytes] = []
    for_listener, for_dialer = contents(dialer.start()), contents(listener.start())
    while for_listener or for_dialer:
        flights += for_listener
        answers = [listener.receive(content) for content in for_listener]
        for_dialer, for_listener = contents(b"".join(answers)), []
        flights += for_dialer
        for_listener = contents(b"".join([dialer.receive(content) for content in for_dialer]))
        for_dialer = []
    return flights


def proven(handshake: LinkHandshake) -> Other:
    assert handshake.other is not None
    return handshake.other


# ---------------------------------------------------------------------- who gets through


@pytest.mark.parametrize("wishes", list(itertools.product([False, True], repeat=2)))
def test_both_ends_know_each_other_and_use_tls_if_either_wishes_it(wishes: tuple[bool, bool]) -> None:
    dialer, listener = end(True, EAST, is_tls=wishes[0]), end(False, WEST, Role.LOGIN, is_tls=wishes[1])
    assert [flight[1] for flight in shake(dialer, listener)] == [0x21, 0x22, 0x23, 0x24]
    there, here = proven(dialer), proven(listener)
    assert (there.node_id, there.role, there.certificate) == (WEST.node_id, Role.LOGIN, WEST.certificate)
    assert (here.node_id, here.role, here.public_key) == (EAST.node_id, Role.CENTER, EAST.public_key)
    assert there.is_tls == here.is_tls == any(wishes)
    assert (there.send_key, there.receive_key) == (here.receive_key, here.send_key)
    assert there.send_key != there.receive_key and len(there.send_key) == 32


def test_the_flights_are_as_the_page_of_links_says() -> None:
    dialer, listener = end(True, EAST), end(False, WEST)
    one, two, three, four = shake(dialer, listener)
    ours, theirs = KeyPair(fixed(f"True {EAST.node_id} ephemeral")), KeyPair(fixed(f"False {WEST.node_id} ephemeral"))
    assert one == bytes([1, 0x21, 1, 0]) + fixed(f"True {EAST.node_id} nonce") + ours.public + EAST.certificate
    assert two == bytes([1, 0x22, 1, 0]) + fixed(f"False {WEST.node_id} nonce") + theirs.public + WEST.certificate
    transcript = hashlib.sha256(struct.pack(">I", len(one)) + one + struct.pack(">I", len(two)) + two).digest()
    secret = extract(transcript, ours.exchange(theirs.public) + SECRET)
    for flight, kind, who, identity in ((three, 0x23, b"listener", WEST), (four, 0x24, b"dialer", EAST)):
        signature = Ed25519PrivateKey.from_private_bytes(identity.seed).sign(b"MyIM 1 link " + who + transcript)
        mac = extract(expand(secret, b"MyIM 1 link proof"), who + transcript)
        assert flight == bytes([1, kind]) + signature + mac
    assert proven(dialer).send_key == expand(secret, b"MyIM 1 link d2l")
    assert proven(dialer).receive_key == expand(secret, b"MyIM 1 link l2d")


def test_the_node_id_is_the_first_63_bits_of_the_hash_of_the_key() -> None:
    assert node_id_of(EAST.public_key) == int.from_bytes(hashlib.sha256(EAST.public_key).digest(), "big") >> 193


def test_an_endpoint_needs_no_cluster_secret_and_a_center_does() -> None:
    dialer, listener = end(True, EAST, Role.ENDPOINT, secret=b""), end(False, WEST)
    shake(dialer, listener)
    assert proven(listener).role is Role.ENDPOINT
    with pytest.raises(RemoteProtocolError, match="secret"):
        shake(end(True, EAST, Role.CENTER, secret=b""), end(False, WEST))


def test_keys_of_one_handshake_are_of_no_use_in_another() -> None:
    keys = set()
    for other in (WEST, NORTH):
        dialer = end(True, EAST)
        shake(dialer, end(False, other))
        keys |= {proven(dialer).send_key, proven(dialer).receive_key}
    assert len(keys) == 4


# ---------------------------------------------------------------------- who does not


@pytest.mark.parametrize("is_dialer_wrong", [True, False])
def test_another_cluster_secret_is_refused_by_whoever_hears_it_first(is_dialer_wrong: bool) -> None:
    dialer = end(True, EAST, secret=fixed("another") if is_dialer_wrong else SECRET)
    listener = end(False, WEST, secret=SECRET if is_dialer_wrong else fixed("another"))
    with pytest.raises(RemoteProtocolError, match="secret"):
        shake(dialer, listener)
    assert dialer.other is None and listener.other is None


@pytest.mark.parametrize("is_dialer_wrong", [True, False])
def test_a_certificate_without_its_key_is_refused(is_dialer_wrong: bool) -> None:
    dialer = end(True, EAST, seed=NORTH.seed if is_dialer_wrong else None)
    listener = end(False, WEST, seed=None if is_dialer_wrong else NORTH.seed)
    with pytest.raises(RemoteProtocolError, match="does not have its key"):
        shake(dialer, listener)
    assert (listener if is_dialer_wrong else dialer).other is None


def test_a_node_that_dials_itself_is_told_so_and_proves_nothing() -> None:
    dialer, listener = end(True, EAST), end(False, EAST)
    with pytest.raises(OwnKeyError):
        shake(dialer, listener)
    assert dialer.other is None and listener.other is None


@pytest.mark.parametrize("is_renamed", [False, True])
def test_our_own_flights_sent_back_prove_nothing(is_renamed: bool) -> None:
    dialer = end(True, EAST)
    hello = contents(dialer.start())[0]
    with pytest.raises(RemoteProtocolError):
        dialer.receive(bytes([1, 0x22]) + hello[2:] if is_renamed else hello)
    listener = end(False, WEST)
    there, proof = contents(listener.receive(contents(end(True, EAST).start())[0]))
    for flight in (there, proof, bytes([1, 0x24]) + proof[2:]):
        fresh = end(False, WEST)
        fresh.receive(contents(end(True, EAST).start())[0])
        with pytest.raises(RemoteProtocolError):
            fresh.receive(flight)
        assert fresh.other is None


def test_a_listener_that_is_shown_its_own_certificate_does_not_believe_it() -> None:
    listener = end(False, WEST)
    hello = contents(end(True, EAST).start())[0]
    _, proof = contents(listener.receive(hello[:68] + WEST.certificate))
    with pytest.raises(OwnKeyError):
        listener.receive(bytes([1, 0x24]) + proof[2:])
    assert listener.other is None


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_an_ephemeral_key_that_agrees_on_nothing_is_refused(point: bytes) -> None:
    hello = contents(end(True, EAST).start())[0]
    with pytest.raises(RemoteProtocolError):
        end(False, WEST).receive(hello[:36] + point + hello[68:])


@pytest.mark.parametrize("version", [0, 2, 3, 255])
@pytest.mark.parametrize("number", range(4))
def test_another_version_is_refused_by_name_in_every_flight(version: int, number: int) -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        deliver(number, lambda flight: bytes([version]) + flight[1:])
    assert refusal.value.code is ErrorCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize("code", [ErrorCode.BUSY, ErrorCode.NOT_ALLOWED, ErrorCode.UNSUPPORTED_VERSION])
@pytest.mark.parametrize("number", range(4))
def test_a_refusal_ends_the_handshake_at_any_point_and_says_why(code: ErrorCode, number: int) -> None:
    with pytest.raises(ReportedError) as refusal:
        deliver(number, lambda flight: encode_error_flight(code)[4:])
    assert refusal.value.code is code


# ---------------------------------------------------------------------- every bit, every order


def deliver(number: int, change, is_tls: bool = False) -> tuple[LinkHandshake, LinkHandshake]:  # type: ignore[no-untyped-def]
    """A handshake in which somebody between changes flight `number` (from 0)."""
    dialer, listener = end(True, EAST, is_tls=is_tls), end(False, WEST)
    count = itertools.count()

    def through(data: bytes) -> list[bytes]:
        return [change(content) if next(count) == number else content for content in contents(data)]

    answers = [listener.receive(content) for content in through(dialer.start())]
    proofs = [dialer.receive(content) for content in through(b"".join(answers))]
    for content in through(b"".join(proofs)):
        listener.receive(content)
    return dialer, listener


@pytest.mark.parametrize("number", range(4))
def test_any_bit_of_any_flight_flipped_gives_no_link(number: int) -> None:
    flight = shake(end(True, EAST), end(False, WEST))[number]
    for bit in range(8 * len(flight)):
        def flipped(content: bytes, bit: int = bit) -> bytes:
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            return bytes(changed)

        with pytest.raises(ProtocolError):
            deliver(number, flipped)


@pytest.mark.parametrize("number", range(4))
def test_a_flight_cut_anywhere_or_longer_gives_no_link(number: int) -> None:
    flight = shake(end(True, EAST), end(False, WEST))[number]
    for size in range(1, len(flight)):
        with pytest.raises(ProtocolError):
            deliver(number, lambda content, size=size: content[:size])
    with pytest.raises(ProtocolError):
        deliver(number, lambda content: content + b"\x00")


def test_nobody_between_can_take_away_the_wish_for_tls() -> None:
    with pytest.raises(RemoteProtocolError):
        deliver(0, lambda content: content[:3] + b"\x00" + content[4:], is_tls=True)


def sequences() -> Iterator[tuple[int, ...]]:
    """All orders of up to four flights, of which the last two are those of the other side and an unknown kind."""
    for length in range(1, 5):
        yield from itertools.product(range(6), repeat=length)


@pytest.mark.parametrize("is_dialer", [True, False])
def test_flights_dropped_doubled_swapped_or_unknown_give_no_link(is_dialer: bool) -> None:
    good = [0, 1] if not is_dialer else [2, 3]
    for order in sequences():
        this = end(True, EAST) if is_dialer else end(False, WEST)
        that = end(False, WEST) if is_dialer else end(True, EAST)
        flights = peer_flights(this, that, is_dialer)
        try:
            for flight in order:
                this.receive(flights[flight])
        except ProtocolError:
            pass
        is_right = list(order[:2]) == [0, 1]
        assert (this.other is not None) == is_right, (order, good)


def peer_flights(this: LinkHandshake, that: LinkHandshake, is_dialer: bool) -> list[bytes]:
    """What the peer would say in good order (hello, proof), our own two flights, an unknown kind, an empty flight."""
    twin = end(True, EAST) if is_dialer else end(False, WEST)
    one, two, three, four = shake(twin, that) if is_dialer else shake(that, twin)
    theirs, ours = ([two, three], [one, four]) if is_dialer else ([one, four], [two, three])
    return theirs + ours + [b"\x01\x25" + bytes(96), b"\x01"]


def test_a_recorded_handshake_convinces_nobody_again() -> None:
    flights = shake(end(True, EAST), end(False, WEST))
    mine = Self(Role.CENTER, False, WEST.seed, WEST.certificate, SECRET)
    listener = LinkHandshake(False, mine, fixed("fresh"), fixed("fresh ephemeral"))
    listener.receive(flights[0])
    with pytest.raises(RemoteProtocolError):
        listener.receive(flights[3])


# ---------------------------------------------------------------------- certificates


def certificate(key: object) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=9999))
    return builder.public_key(key.public_key()).sign(key, SHA256()).public_bytes(Encoding.DER)  # type: ignore[attr-defined,arg-type]


NO_CERTIFICATES = {
    "nothing": b"",
    "a byte": b"\x30",
    "zeros": bytes(100),
    "ones": b"\xff" * 1024,
    "cut": EAST.certificate[:-1],
    "too long": EAST.certificate + bytes(1024),
    "another kind of key": certificate(generate_private_key(SECP256R1())),
}


@pytest.mark.parametrize("der", NO_CERTIFICATES.values(), ids=NO_CERTIFICATES)
def test_what_is_no_certificate_of_an_ed25519_key_is_refused(der: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        public_key_of(der)
    assert refusal.value.code is ErrorCode.BAD_HANDSHAKE


def test_an_identity_is_the_same_whenever_it_is_made_and_says_nothing_but_its_key() -> None:
    assert make_identity(EAST.seed) == EAST
    assert public_key_of(EAST.certificate) == EAST.public_key
    assert EAST.seed.hex() not in repr(EAST) and repr(EAST.seed) not in repr(EAST)
    assert len(EAST.certificate) <= 1024
