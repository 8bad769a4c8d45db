"""The login [P-4]: right once, and wrong in every way of reliability §3 and §4.3 (rows 13, 31-33, 35, 38, 41)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from myim_wire import hpke
from myim_wire.contents import Credentials, Server
from myim_wire.errors import ErrorCode, IdentityChangedError, LocalProtocolError, ProtocolError, RemoteProtocolError, ReportedError
from myim_wire.flights import encode_error_flight, pad, unpad
from myim_wire.frames import HANDSHAKE_FRAME_CAP, FrameDecoder
from myim_wire.key_schedule import KeyPair, derive_server_private, derive_terminal_private
from myim_wire.login_flights import (
    CredentialsReceived,
    Granted,
    IdentityShown,
    LoginState,
    Refused,
    ServersAsked,
    ServersListed,
    TerminalProved,
)  # fmt: skip
from myim_wire.login_handshake import LoginClient, LoginServer
from myim_wire.records import SealingKey
from tests.wire.fixed import (
    CREDENTIALS,
    FINGERPRINT,
    GRANT,
    IDENTITY,
    IDENTITY_PRIVATE,
    MASTER_SECRET,
    SERVERS,
    TERMINAL_PRIVATE,
    TERMINAL_PUBLIC,
    TERMINAL_SECRET,
    LoginRun,
    fixed,
    new_login_client,
    new_login_server,
)  # fmt: skip
from tests.wire.recording import open_recorded_login
from tests.wire.test_vectors import load

VECTOR = load("login")
FLIGHTS = {number: bytes.fromhex(VECTOR[f"flight{number}"]) for number in range(1, 7)}
UNKNOWN = b"\x01\x77what"


def key(name: str) -> SealingKey:
    return SealingKey(bytes.fromhex(VECTOR[f"{name}_key"]), bytes.fromhex(VECTOR[f"{name}_iv"]))


def refused(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(RemoteProtocolError) as caught:
        call()
    return caught.value.code


def test_a_login_with_fresh_chance_gives_what_was_granted() -> None:
    client = LoginClient(fixed("a"), fixed("b"), FINGERPRINT, TERMINAL_SECRET, None)
    server = LoginServer(IDENTITY_PRIVATE, MASTER_SECRET, fixed("c"), fixed("d"))
    (frame,), events = server.receive(client.hello()[4:])
    assert events == [] and client.receive(frame[4:]) == [IdentityShown(IDENTITY)]
    (frame,), events = server.receive(client.present_terminal()[4:])
    assert events == [TerminalProved(TERMINAL_PUBLIC, FINGERPRINT)] and client.terminal_public == TERMINAL_PUBLIC
    client.receive(frame[4:])
    frames, events = server.receive(client.credentials("register", "böb", "pass word", None)[4:])
    assert frames == [] and events == [CredentialsReceived("register", "böb", "pass word", None, TERMINAL_PUBLIC, FINGERPRINT)]
    assert client.receive(server.grant(GRANT)[4:]) == [Granted(GRANT)]


def test_the_longest_change_of_a_password_fits_its_flight() -> None:
    run = LoginRun().certified()
    long = "🙂" * 256
    (event,) = run.server.receive(run.client.credentials("password", "象" * 32, long, "🙂" * 64, "🙃" * 256)[4:]).events
    assert isinstance(event, CredentialsReceived)
    assert (event.op, event.password, event.new_password) == ("password", long, "🙃" * 256)
    assert "🙂🙂" not in repr(event).replace(repr(event.terminal), "") and "🙃" not in repr(event)


def test_a_refusal_is_sealed_and_ends_the_login() -> None:
    run = LoginRun().decided(None)
    assert run.client.receive(run.frames[-1][4:]) == [Refused(ErrorCode.LOGIN_FAILED, 1000)]
    assert refused(lambda: run.client.receive(run.frames[-1][4:])) == ErrorCode.BAD_HANDSHAKE


def test_key_pairs_that_last_depend_on_all_they_are_made_of() -> None:
    terminal = {derive_terminal_private(f, s) for f in (fixed("1"), fixed("2")) for s in (fixed("3"), fixed("4"))}
    server = {derive_server_private(f, m, t) for f in (fixed("1"), fixed("2")) for m in (fixed("3"), fixed("4")) for t in (b"5", b"6")}
    assert len(terminal) == 4 and len(server) == 8


class Ends:
    """A receiver whose state is put back after each refusal, so that one object hears every altered flight."""

    def __init__(self, end: LoginClient | LoginServer) -> None:
        self.end = end
        self.state = end.state

    def hears_something_in(self, data: bytes) -> bool:
        self.end.state = self.state
        try:
            return any(any(self.end.receive(content)) for content in FrameDecoder(HANDSHAKE_FRAME_CAP).feed(data))
        except ProtocolError:
            return False


def receivers(number: int) -> Ends:
    """Who receives flight `number`, just before it comes."""
    run = LoginRun()
    if number == 2:
        run.client.hello()
        return Ends(run.client)
    if number == 3:
        return Ends(run.hellos().server)
    if number == 4:
        run.hellos().client.present_terminal()
        return Ends(run.client)
    run.certified()
    if number == 6:
        run.client.credentials("login", *CREDENTIALS[1:])
    return Ends(run.server if number == 5 else run.client)


@pytest.mark.parametrize("number", range(2, 7))
def test_every_flipped_bit_of_a_flight_ends_the_login(number: int) -> None:
    frame, receiver = bytes.fromhex(VECTOR[f"frame{number}"]), receivers(number)
    for bit in range(8 * len(frame)):
        altered = bytearray(frame)
        altered[bit // 8] ^= 1 << bit % 8
        assert not receiver.hears_something_in(bytes(altered)), bit
    assert receiver.hears_something_in(frame)


def test_every_flipped_bit_of_the_hello_ends_the_login_at_one_end_or_the_other() -> None:
    frame, client = bytes.fromhex(VECTOR["frame1"]), receivers(2)
    for bit in range(8 * len(frame)):
        altered = bytearray(frame)
        altered[bit // 8] ^= 1 << bit % 8
        try:
            replies = [new_login_server().receive(content).frames[0] for content in FrameDecoder().feed(bytes(altered))]
        except ProtocolError:
            continue
        assert not any(map(client.hears_something_in, replies)), bit


@pytest.mark.parametrize("name", ["refusal_frame", "servers_answer_frame", "servers_ask_frame"])
def test_every_flipped_bit_of_the_other_flights_ends_the_login(name: str) -> None:
    frame = bytes.fromhex(VECTOR[name])
    receiver = receivers(3 if name == "servers_ask_frame" else 6)
    if name == "servers_answer_frame":
        asking = LoginRun().hellos().client
        asking.ask_servers()
        receiver = Ends(asking)
    for bit in range(8 * len(frame)):
        altered = bytearray(frame)
        altered[bit // 8] ^= 1 << bit % 8
        assert not receiver.hears_something_in(bytes(altered)), bit
    assert receiver.hears_something_in(frame)


def test_of_all_flight_sequences_only_the_right_one_gives_credentials_that_can_be_granted() -> None:
    kinds = {"hello": FLIGHTS[1], "terminal": FLIGHTS[3], "credentials": FLIGHTS[5], "ask": b"\x01\x07", "unknown": UNKNOWN}
    granted = set()
    for length in range(1, 5):
        for sequence in itertools.product(kinds, repeat=length):
            server, sealing = new_login_server(), {LoginState.CHOICE: key("k1_t2l"), LoginState.CREDENTIALS: key("k2_t2l")}
            try:
                for kind in sequence:
                    sealer = sealing.get(server.state)
                    server.receive(sealer.seal(kinds[kind])[4:] if sealer else kinds[kind])
                server.grant(GRANT)
            except ProtocolError:
                continue
            granted.add(sequence)
    assert granted == {("hello", "terminal", "credentials")}


def test_of_all_flight_sequences_only_the_right_one_is_a_grant_to_the_terminal() -> None:
    kinds = {
        "reply": FLIGHTS[2], "certificate": FLIGHTS[4], "grant": FLIGHTS[6], "refusal": b"\x01\x0f" + bytes(6),
        "servers": b"\x01\x08\x80", "unknown": UNKNOWN,
    }  # fmt: skip
    granted = set()
    for length in range(1, 5):
        for sequence in itertools.product(kinds, repeat=length):
            client, k2 = new_login_client(), key("k2_l2t")
            client.hello()
            try:
                for kind in sequence:
                    is_sealed = client.state is not LoginState.HELLO
                    events = client.receive(k2.seal(kinds[kind])[4:] if is_sealed else kinds[kind])
                    if client.state is LoginState.CHOICE:
                        client.present_terminal()
                    elif client.state is LoginState.CREDENTIALS:
                        client.credentials("login", *CREDENTIALS[1:])
            except ProtocolError:
                continue
            if isinstance(events[0], Granted):
                granted.add(sequence)
    assert granted == {("reply", "certificate", "grant")}


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_told_apart(version: int) -> None:
    hello = bytes([version]) + FLIGHTS[1][1:]
    assert refused(lambda: new_login_server().receive(hello)) == ErrorCode.UNSUPPORTED_VERSION
    client = new_login_client()
    client.hello()
    assert refused(lambda: client.receive(bytes([version]) + FLIGHTS[2][1:])) == ErrorCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize("flight", [FLIGHTS[1][:2] + b"\x02" + FLIGHTS[1][3:], FLIGHTS[1] + b"\x00", FLIGHTS[1][:-1], b"\x01", b"\x01\x01"])
def test_a_hello_of_another_form_is_a_bad_handshake(flight: bytes) -> None:
    assert refused(lambda: new_login_server().receive(flight)) == ErrorCode.BAD_HANDSHAKE


def test_a_reflected_or_worthless_ephemeral_is_a_bad_handshake() -> None:
    own = KeyPair(fixed("login server ephemeral")).public
    for ephemeral in (own, bytes(32), (1).to_bytes(32, "little")):
        assert refused(partial(new_login_server().receive, FLIGHTS[1][:-32] + ephemeral)) == ErrorCode.BAD_HANDSHAKE
    client = new_login_client()
    assert refused(lambda: client.receive(client.hello()[4:])) == ErrorCode.BAD_HANDSHAKE
    server = LoginServer(IDENTITY_PRIVATE, MASTER_SECRET, fixed("n"), fixed("login client ephemeral"))
    with pytest.raises(RemoteProtocolError):
        server.receive(FLIGHTS[1])


def test_another_identity_than_the_pinned_one_stops_the_login_loudly() -> None:
    client = new_login_client(pinned=fixed("somebody else"))
    client.hello()
    with pytest.raises(IdentityChangedError) as caught:
        client.receive(FLIGHTS[2])
    assert caught.value.identity == IDENTITY
    with pytest.raises(LocalProtocolError):
        client.present_terminal()


def certificate(signer: bytes = IDENTITY_PRIVATE, head: bytes = b"\x01\x01", terminal: bytes = TERMINAL_PUBLIC, h3: str = "H3") -> bytes:
    signed = head + terminal + bytes.fromhex(VECTOR["server_public"]) + bytes.fromhex(VECTOR[h3])
    return b"\x01\x04" + signed + Ed25519PrivateKey.from_private_bytes(signer).sign(b"MyIM 1 server key\x00" + signed)


@pytest.mark.parametrize("wrong", [
    {"signer": fixed("another signer")}, {"head": b"\x02\x01"}, {"head": b"\x01\x02"}, {"terminal": fixed("another terminal")},
    {"h3": "H2"}, {"h3": "H4"},
])  # fmt: skip
def test_a_certificate_for_anything_else_stops_the_terminal_before_credentials(wrong: dict[str, object]) -> None:
    run = LoginRun().hellos()
    run.client.present_terminal()
    assert certificate() == FLIGHTS[4]
    flight = certificate(**wrong)  # type: ignore[arg-type]
    assert refused(lambda: run.client.receive(key("k2_l2t").seal(flight)[4:])) == ErrorCode.BAD_HANDSHAKE
    with pytest.raises(LocalProtocolError):
        run.client.credentials("login", *CREDENTIALS[1:])


def test_credentials_recorded_in_an_earlier_login_are_refused() -> None:
    client = LoginClient(fixed("another nonce"), fixed("another ephemeral"), FINGERPRINT, TERMINAL_SECRET, IDENTITY)
    server = new_login_server()
    client.receive(server.receive(client.hello()[4:]).frames[0][4:])
    client.receive(server.receive(client.present_terminal()[4:]).frames[0][4:])
    assert refused(lambda: server.receive(client._sealing.seal(FLIGHTS[5])[4:])) == ErrorCode.BAD_HANDSHAKE


def test_a_terminal_without_the_private_key_proves_nothing() -> None:
    run = LoginRun().hellos()
    forged = FLIGHTS[3][:34] + KeyPair(fixed("somebody")).public + FLIGHTS[3][66:]
    assert refused(lambda: run.server.receive(key("k1_t2l").seal(forged)[4:])) == ErrorCode.BAD_HANDSHAKE


@pytest.mark.parametrize(
    "structure", [b"", b"\x80", b"\x81\xa2op\xa5login", Credentials("login", "ann", "x", "t" * 65).encode(), b"\xff" * 40]
)
def test_malformed_credentials_are_a_bad_handshake(structure: bytes) -> None:
    run = LoginRun().certified()
    sealed = hpke.seal(bytes.fromhex(VECTOR["server_public"]), b"MyIM 1 credentials" + bytes.fromhex(VECTOR["H4"]), pad(structure))
    assert refused(lambda: run.server.receive(key("k2_t2l").seal(b"\x01\x05" + sealed)[4:])) == ErrorCode.BAD_HANDSHAKE


@pytest.mark.parametrize(
    "padded", [b"", b"\x00", bytes(511), bytes(1024), b"\x01\xff" + bytes(510), b"\x00\x01a\x01" + bytes(508), pad(b"a") + bytes(512)]
)
def test_padding_that_is_not_exactly_as_it_must_be_is_a_bad_handshake(padded: bytes) -> None:
    assert refused(lambda: unpad(padded)) == ErrorCode.BAD_HANDSHAKE


@given(st.binary(max_size=2000))
def test_padding_comes_off_again(structure: bytes) -> None:
    padded = pad(structure)
    assert len(padded) % 512 == 0 and len(padded) - len(structure) < 514 and unpad(padded) == structure


def test_an_error_flight_is_the_reason_the_server_gave() -> None:
    for code in (ErrorCode.BUSY, ErrorCode.BAD_RECORD):
        for number in (2, 4, 6):
            end = receivers(number).end
            with pytest.raises(ReportedError) as caught:
                end.receive(encode_error_flight(code)[4:])
            assert caught.value.code == code
    client = new_login_client()
    client.hello()
    with pytest.raises(ReportedError) as caught:
        client.receive(b"\x01\xff\x7f\xff")
    assert caught.value.code == ErrorCode.INTERNAL


def test_an_error_flight_from_a_terminal_is_a_breach() -> None:
    assert refused(lambda: new_login_server().receive(encode_error_flight(ErrorCode.BUSY)[4:])) == ErrorCode.BAD_HANDSHAKE


def test_a_flight_that_does_not_open_is_the_same_bad_record_for_every_cause() -> None:
    errors = set()
    for content in (b"", bytes(15), bytes(16), bytes(100), b"\x01\x03" + bytes(96)):
        with pytest.raises(RemoteProtocolError) as caught:
            LoginRun().hellos().server.receive(content)
        errors.add(str(caught.value))
    assert errors == {"BAD_RECORD: a record did not open"}


def test_servers_are_listed_before_a_login_and_only_the_best_that_fit() -> None:
    run = LoginRun().hellos()
    assert run.server.receive(run.client.ask_servers()[4:]).events == [ServersAsked()]
    many = [Server(n, "center", "h" * 250, 1, n, 0, False) for n in range(40)]
    (event,) = run.client.receive(run.server.servers(many)[4:])
    assert isinstance(event, ServersListed) and 5 < len(event.servers) < 16 and list(event.servers) == many[: len(event.servers)]


def test_a_grant_with_more_servers_than_fit_keeps_the_best() -> None:
    many = tuple(Server(n, "center", "h" * 250, 1, n, 0, False) for n in range(16))
    run = LoginRun().decided(dataclasses.replace(GRANT, servers=many))
    assert len(run.frames[-1]) <= 4 + HANDSHAKE_FRAME_CAP
    (event,) = run.client.receive(run.frames[-1][4:])
    assert isinstance(event, Granted) and 3 < len(event.grant.servers) < 16 and event.grant.servers == many[: len(event.grant.servers)]


@pytest.mark.parametrize("number", range(1, 7))
def test_after_a_refused_flight_the_right_one_comes_too_late(number: int) -> None:
    end = new_login_server() if number == 1 else receivers(number).end
    with pytest.raises(RemoteProtocolError):
        end.receive(UNKNOWN)
    assert refused(lambda: end.receive(bytes.fromhex(VECTOR[f"frame{number}"])[4:])) == ErrorCode.BAD_HANDSHAKE


def test_steps_out_of_order_are_refused_to_the_caller_and_change_nothing() -> None:
    client, server = new_login_client(), new_login_server()
    for step in (client.present_terminal, client.ask_servers, lambda: client.credentials("login", "a", "b"), lambda: server.grant(GRANT),
                 lambda: server.refuse(ErrorCode.BUSY), lambda: server.servers(SERVERS)):  # fmt: skip
        with pytest.raises(LocalProtocolError):
            step()
    assert client.receive(server.receive(client.hello()[4:]).frames[0][4:]) == [IdentityShown(IDENTITY)]
    with pytest.raises(LocalProtocolError):
        client.hello()


def test_credentials_that_fit_no_flight_are_refused_to_the_caller() -> None:
    with pytest.raises(LocalProtocolError):
        LoginRun().certified().client.credentials("login", "ann", "x" * 5000)


def test_a_recorded_login_and_all_keys_that_last_open_nothing_but_the_ephemeral_key_does() -> None:
    frames = LoginRun().decided().frames
    lasting = [TERMINAL_PRIVATE, bytes.fromhex(VECTOR["server_private"]), IDENTITY_PRIVATE, MASTER_SECRET, TERMINAL_SECRET]
    assert open_recorded_login(frames, lasting, MASTER_SECRET) is None
    for ephemeral in ("login client ephemeral", "login server ephemeral"):
        opened = open_recorded_login(frames, [*lasting, fixed(ephemeral)], MASTER_SECRET)
        assert opened is not None and b"correct horse" in opened


@given(st.integers(1, 6), st.binary(max_size=300), st.booleans())
def test_any_bytes_in_any_state_give_only_protocol_errors(number: int, data: bytes, is_prefixed: bool) -> None:
    end = new_login_server() if number == 1 else receivers(number).end
    with pytest.raises(ProtocolError):
        end.receive(b"\x01" + bytes([number]) + data if is_prefixed else data)
        if number == 1 and len(data) == 65:
            raise RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, "a hello of any bytes may be answered")
