"""The login [P-4] as two values: flights in, frames and events out. `LoginClient` is the terminal's end, `LoginServer` the login center's.

Neither draws nonces or keys, reads a clock, or judges a password: all of that is given or asked for by events. The order is
strict: each state knows the one kind (or two) that may come next, and everything else ends the handshake for good with an
exception; the caller then sends `flights.encode_error_flight(error.code)` if it is a server, and closes.

Every signature and HPKE info binds the transcript, so a recorded flight is worth nothing elsewhere. What both ends share is in
`login_flights`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from myim_wire import hpke
from myim_wire.contents import Credentials, Grant, Operation, Server, decode_servers, encode_servers
from myim_wire.errors import ErrorCode, IdentityChangedError, RemoteProtocolError
from myim_wire.flights import bad_handshake, check_suite, encode_flight, flight_kind, pad, raise_reported, split_flight, unpad
from myim_wire.frames import encode_frame
from myim_wire.key_schedule import (
    KeyPair,
    derive_server_private,
    derive_terminal_private,
    extend,
    extract,
    is_equal,
)
from myim_wire.login_flights import (
    CERTIFICATE,
    CERTIFICATE_HEAD,
    CREDENTIALS,
    GRANT,
    HELLO,
    HELLO_CONTEXT,
    HELLO_REPLY,
    KEY_CONTEXT,
    MAX_FLIGHT_BYTES,
    REFUSAL,
    REFUSAL_FIELDS,
    SERVERS_ANSWER,
    SERVERS_ASK,
    SIGNATURE_BYTES,
    SUITE_FIELD,
    TERMINAL,
    CredentialsReceived,
    Granted,
    IdentityShown,
    LoginClientEvent,
    LoginEnd,
    LoginState,
    Received,
    Refused,
    ServerKeyCertified,
    ServersAsked,
    ServersListed,
    TerminalProved,
    prove_terminal,
)  # fmt: skip


class LoginClient(LoginEnd):
    """The terminal's end. `nonce` and `ephemeral_private` are 32 fresh random bytes each; `pinned_identity` None trusts what is shown.

    hello → IdentityShown → present_terminal → ServerKeyCertified → credentials → Granted | Refused;
    or ask_servers in place of present_terminal → ServersListed.
    """

    def __init__(
        self, nonce: bytes, ephemeral_private: bytes, fingerprint: bytes, terminal_secret: bytes, pinned_identity: bytes | None,
        seal: hpke.Seal = hpke.seal,
    ) -> None:  # fmt: skip
        super().__init__()
        self._nonce = nonce
        self._ephemeral = KeyPair(ephemeral_private)
        self._fingerprint = fingerprint
        self._terminal_private = derive_terminal_private(fingerprint, terminal_secret)
        self._terminal = KeyPair(self._terminal_private)
        self._pinned = pinned_identity
        self._identity = b""
        self._login_ephemeral = b""
        self._server_public = b""
        self._hpke_seal = seal

    @property
    def terminal_public(self) -> bytes:
        """The public half of the terminal key pair (32 bytes) [P-4.1]."""
        return self._terminal.public

    def hello(self) -> bytes:
        """The frame of flight 1."""
        self._enter(LoginState.START)
        flight = encode_flight(HELLO, SUITE_FIELD, self._nonce, self._ephemeral.public)
        self._add(flight)
        self.state = LoginState.HELLO
        return encode_frame(flight)

    def present_terminal(self) -> bytes:
        """The frame of flight 3, after IdentityShown."""
        self._enter(LoginState.CHOICE)
        exchange = self._terminal.exchange(self._login_ephemeral)
        proof = prove_terminal(self._transcript, exchange)
        frame = self._seal(encode_flight(TERMINAL, self._fingerprint, self._terminal.public, proof))
        self._derive_second_stage(exchange, is_client=True)
        self.state = LoginState.CERTIFICATE
        return frame

    def ask_servers(self) -> bytes:
        """The frame of flight 3', after IdentityShown and in place of `present_terminal` [P-4.10]."""
        self._enter(LoginState.CHOICE)
        self.state = LoginState.LISTING
        return self._seal(encode_flight(SERVERS_ASK))

    def credentials(self, op: Operation, name: str, password: str, terminal: str | None = None, new_password: str = "") -> bytes:
        """The frame of flight 5, after ServerKeyCertified; LocalProtocolError(TOO_LARGE) if they do not fit the flight."""
        self._enter(LoginState.CREDENTIALS)
        structure = pad(Credentials(op, name, password, terminal, new_password).encode())
        sealed = self._hpke_seal(self._server_public, b"MyIM 1 credentials" + self._transcript, structure)
        frame = self._seal(encode_flight(CREDENTIALS, sealed))
        self.state = LoginState.DECISION
        return frame

    def receive(self, content: bytes) -> list[LoginClientEvent]:
        """What the content of one frame means. RemoteProtocolError ends the handshake: ReportedError if the center said why,
        IdentityChangedError for another identity than the pinned one, else close without a word."""
        state, self.state = self.state, LoginState.OVER
        if state in (LoginState.START, LoginState.CHOICE, LoginState.CREDENTIALS, LoginState.OVER):
            raise bad_handshake("a flight that nobody waits for")
        raise_reported(content)
        if state is LoginState.HELLO:
            return [self._receive_hello_reply(content)]
        flight = self._opening.open(content)
        if state is LoginState.CERTIFICATE:
            return [self._receive_certificate(flight)]
        try:
            return [self._receive_servers(flight) if state is LoginState.LISTING else self._receive_decision(flight)]
        except RemoteProtocolError as error:
            raise bad_handshake(error.text) from None

    def _receive_hello_reply(self, flight: bytes) -> LoginClientEvent:
        suite, _, ephemeral, identity, signature = split_flight(flight, HELLO_REPLY, 1, 32, 32, 32, SIGNATURE_BYTES)
        check_suite(suite)
        if self._pinned is not None and identity != self._pinned:
            raise IdentityChangedError(identity)
        _verify(identity, signature, HELLO_CONTEXT + extend(self._transcript, flight[:-SIGNATURE_BYTES]))
        exchange = self._ephemeral.exchange(ephemeral)
        self._stage1 = extract(self._add(flight), exchange)
        self._derive_stage(self._stage1, "login1", is_client=True)
        self._identity, self._login_ephemeral = identity, ephemeral
        self.state = LoginState.CHOICE
        return IdentityShown(identity)

    def _receive_certificate(self, flight: bytes) -> LoginClientEvent:
        (certificate,) = split_flight(flight, CERTIFICATE, 2 + 3 * 32 + SIGNATURE_BYTES)
        signed, signature = certificate[:-SIGNATURE_BYTES], certificate[-SIGNATURE_BYTES:]
        server_public = signed[34:66]
        if signed != CERTIFICATE_HEAD + self._terminal.public + server_public + self._transcript:
            raise bad_handshake("a certificate for something else")
        _verify(self._identity, signature, KEY_CONTEXT + signed)
        self._server_public = server_public
        self._add(flight)
        self.state = LoginState.CREDENTIALS
        return ServerKeyCertified()

    def _receive_decision(self, flight: bytes) -> LoginClientEvent:
        if flight_kind(flight) == REFUSAL:
            (refusal,) = split_flight(flight, REFUSAL, REFUSAL_FIELDS.size)
            return Refused(*REFUSAL_FIELDS.unpack(refusal))
        (sealed,) = split_flight(flight, GRANT, max(len(flight) - 2, 0))
        structure = hpke.unseal(self._terminal_private, b"MyIM 1 grant" + self._transcript, sealed)
        return Granted(Grant.decode(unpad(structure)))

    def _receive_servers(self, flight: bytes) -> LoginClientEvent:
        (content,) = split_flight(flight, SERVERS_ANSWER, max(len(flight) - 2, 0))
        return ServersListed(tuple(decode_servers(content)))


def _verify(identity: bytes, signature: bytes, signed: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(identity).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise bad_handshake("a signature is not valid") from None


class LoginServer(LoginEnd):
    """The login center's end. `identity_private` and `master_secret` are the center's 32 bytes each [P-4.1], [P-4.5]; `nonce` and
    `ephemeral_private` are 32 fresh random bytes each."""

    def __init__(
        self, identity_private: bytes, master_secret: bytes, nonce: bytes, ephemeral_private: bytes, seal: hpke.Seal = hpke.seal
    ) -> None:
        super().__init__()
        self._identity = Ed25519PrivateKey.from_private_bytes(identity_private)
        self._master_secret = master_secret
        self._nonce = nonce
        self._ephemeral = KeyPair(ephemeral_private)
        self._server_private = b""
        self._terminal_public = b""
        self._fingerprint = b""
        self._hpke_seal = seal

    def receive(self, content: bytes) -> Received:
        """What the content of one frame leads to. RemoteProtocolError ends the handshake: send an error flight with its code, close."""
        state, self.state = self.state, LoginState.OVER
        if state is LoginState.START:
            return Received([self._receive_hello(content)], [])
        if state not in (LoginState.CHOICE, LoginState.CREDENTIALS):
            raise bad_handshake("a flight that nobody waits for")
        flight = self._opening.open(content)
        if state is LoginState.CREDENTIALS:
            return Received([], [self._receive_credentials(flight)])
        if flight_kind(flight) == SERVERS_ASK:
            split_flight(flight, SERVERS_ASK)
            self._add(flight)
            self.state = LoginState.LISTING
            return Received([], [ServersAsked()])
        return Received([self._receive_terminal(flight)], [TerminalProved(self._terminal_public, self._fingerprint)])

    def _receive_hello(self, flight: bytes) -> bytes:
        suite, _, ephemeral = split_flight(flight, HELLO, 1, 32, 32)
        check_suite(suite)
        exchange = self._ephemeral.exchange(ephemeral)
        self._add(flight)
        identity = self._identity.public_key().public_bytes_raw()
        reply = encode_flight(HELLO_REPLY, SUITE_FIELD, self._nonce, self._ephemeral.public, identity)
        reply += self._identity.sign(HELLO_CONTEXT + extend(self._transcript, reply))
        self._stage1 = extract(self._add(reply), exchange)
        self._derive_stage(self._stage1, "login1", is_client=False)
        self.state = LoginState.CHOICE
        return encode_frame(reply)

    def _receive_terminal(self, flight: bytes) -> bytes:
        fingerprint, terminal_public, proof = split_flight(flight, TERMINAL, 32, 32, 32)
        exchange = self._ephemeral.exchange(terminal_public)
        if not is_equal(proof, prove_terminal(self._transcript, exchange)):
            raise bad_handshake("the terminal does not hold its key")
        self._add(flight)
        self._derive_second_stage(exchange, is_client=False)
        self._server_private = derive_server_private(fingerprint, self._master_secret, terminal_public)
        signed = CERTIFICATE_HEAD + terminal_public + KeyPair(self._server_private).public + self._transcript
        self._terminal_public, self._fingerprint = terminal_public, fingerprint
        self.state = LoginState.CREDENTIALS
        return self._seal(encode_flight(CERTIFICATE, signed, self._identity.sign(KEY_CONTEXT + signed)))

    def _receive_credentials(self, flight: bytes) -> CredentialsReceived:
        (sealed,) = split_flight(flight, CREDENTIALS, max(len(flight) - 2, 0))
        structure = hpke.unseal(self._server_private, b"MyIM 1 credentials" + self._transcript, sealed)
        try:
            credentials = Credentials.decode(unpad(structure))
        except RemoteProtocolError as error:
            raise bad_handshake(error.text) from None
        self._add(flight)
        self.state = LoginState.DECISION
        return CredentialsReceived(
            credentials.op, credentials.name, credentials.password, credentials.terminal, self._terminal_public, self._fingerprint,
            credentials.new_password,
        )  # fmt: skip

    def grant(self, grant: Grant) -> bytes:
        """The frame of flight 6; the servers that do not fit the flight are left out, the last first [P-4.8]."""
        self._enter(LoginState.DECISION)
        structure = pad(grant.encode())
        while len(structure) > MAX_FLIGHT_BYTES - 2 - hpke.OVERHEAD_BYTES and grant.servers:
            grant = dataclasses.replace(grant, servers=grant.servers[:-1])
            structure = pad(grant.encode())
        sealed = self._hpke_seal(self._terminal_public, b"MyIM 1 grant" + self._transcript, structure)
        return self._end(encode_flight(GRANT, sealed))

    def refuse(self, code: ErrorCode, retry_ms: int = 0) -> bytes:
        """The frame of flight 6' [P-4.9]; `retry_ms` in milliseconds, 0 when nothing is to be said."""
        self._enter(LoginState.DECISION)
        return self._end(encode_flight(REFUSAL, REFUSAL_FIELDS.pack(code, min(retry_ms, 0xFFFFFFFF))))

    def servers(self, servers: Sequence[Server]) -> bytes:
        """The frame of flight 4'; the servers that do not fit the flight are left out, the last first [P-7.11]."""
        self._enter(LoginState.LISTING)
        count = len(servers)
        content = encode_servers(servers)
        while len(content) > MAX_FLIGHT_BYTES - 2:
            count -= 1
            content = encode_servers(servers[:count])
        return self._end(encode_flight(SERVERS_ANSWER, content))

    def _end(self, flight: bytes) -> bytes:
        frame = self._seal(flight)
        self.state = LoginState.OVER
        return frame
