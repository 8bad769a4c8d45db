"""Fixed keys, a fixed HPKE sender and whole handshakes made of them, for vectors and tests. Nothing here is a test."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from myim_wire.center_handshake import CenterClient
from myim_wire.connection import Connection
from myim_wire.contents import Grant, LastLogin, Server
from myim_wire.key_schedule import KeyPair, derive_terminal_private
from myim_wire.login_handshake import LoginClient, LoginServer
from myim_wire.tokens import Ticket, TicketKey, seal_ticket

MICROSECONDS = 1_790_000_000_000_000


def fixed(name: str) -> bytes:
    """32 bytes that are the same every time, one value per name."""
    return hashlib.sha256(f"MyIM vector {name}".encode()).digest()


FINGERPRINT = fixed("fingerprint")
TERMINAL_SECRET = fixed("terminal secret")
TERMINAL_PRIVATE = derive_terminal_private(FINGERPRINT, TERMINAL_SECRET)
TERMINAL_PUBLIC = KeyPair(TERMINAL_PRIVATE).public
IDENTITY_PRIVATE = fixed("identity")
IDENTITY = Ed25519PrivateKey.from_private_bytes(IDENTITY_PRIVATE).public_key().public_bytes_raw()
MASTER_SECRET = fixed("master secret")
SESSION_KEY = fixed("session key")
TICKET_KEY = TicketKey(0x01020304, fixed("ticket key"))
TICKET = Ticket(
    user=7_000_000_000_000_000_001, slot=5, terminal_public=TERMINAL_PUBLIC, session_key=SESSION_KEY, user_generation=3,
    terminal_generation=9, authenticated=MICROSECONDS, issued=MICROSECONDS, expires=MICROSECONDS + 86_400_000_000,
)  # fmt: skip
TOKEN = seal_ticket(TICKET, TICKET_KEY, fixed("token nonce")[:12])
SERVERS = (
    Server(node=0x1122334455667788, role="center", host="c1.example.org", port=5222, priority=10, load=12, draining=False),
    Server(node=0x2233445566778899, role="endpoint", host="192.0.2.7", port=5223, priority=20, load=0, draining=True),
)
GRANT = Grant(
    user=TICKET.user, name="ann", slot=5, terminal_generation=9, session_key=SESSION_KEY, token=TOKEN, issued=TICKET.issued,
    expires=TICKET.expires, servers=SERVERS, last_login=LastLogin(MICROSECONDS - 1, "192.0.2.1", "Ann's laptop"), new_terminal=False,
    new_network=True, friends_version=0, friends_hash=bytes(32),
)  # fmt: skip


def _extract(salt: bytes, suite: bytes, label: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + secret, "sha256")


def _expand(secret: bytes, suite: bytes, label: bytes, info: bytes, size: int) -> bytes:
    return hmac.digest(secret, size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\x01", "sha256")[:size]


def hpke_secrets(sender_private: bytes, public: bytes, info: bytes) -> dict[str, bytes]:
    """Every value of RFC 9180 base mode (suites 0x0020, 0x0001, 0x0002) with the sender's ephemeral given."""
    sender = X25519PrivateKey.from_private_bytes(sender_private)
    enc = sender.public_key().public_bytes_raw()
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"
    exchange = sender.exchange(X25519PublicKey.from_public_bytes(public))
    shared = _expand(_extract(b"", kem, b"eae_prk", exchange), kem, b"shared_secret", enc + public, 32)
    context = b"\x00" + _extract(b"", suite, b"psk_id_hash", b"") + _extract(b"", suite, b"info_hash", info)
    secret = _extract(shared, suite, b"secret", b"")
    key, nonce = _expand(secret, suite, b"key", context, 32), _expand(secret, suite, b"base_nonce", context, 12)
    return {"enc": enc, "shared_secret": shared, "key": key, "nonce": nonce}


def seal_with(sender_private: bytes, public: bytes, info: bytes, plaintext: bytes) -> bytes:
    """As `hpke.seal`, with the sender's ephemeral given."""
    secrets = hpke_secrets(sender_private, public, info)
    return secrets["enc"] + AESGCM(secrets["key"]).encrypt(secrets["nonce"], plaintext, b"")


def new_login_client(pinned: bytes | None = IDENTITY) -> LoginClient:
    """The terminal's end with the fixed keys."""
    return LoginClient(
        fixed("login client nonce"), fixed("login client ephemeral"), FINGERPRINT, TERMINAL_SECRET, pinned,
        seal=lambda *arguments: seal_with(fixed("credentials hpke ephemeral"), *arguments),
    )  # fmt: skip


def new_login_server() -> LoginServer:
    """The login center's end with the fixed keys."""
    return LoginServer(
        IDENTITY_PRIVATE, MASTER_SECRET, fixed("login server nonce"), fixed("login server ephemeral"),
        seal=lambda *arguments: seal_with(fixed("grant hpke ephemeral"), *arguments),
    )  # fmt: skip


CREDENTIALS = ("login", "ann", "correct horse", "Ann's laptop")


@dataclass
class LoginRun:
    """A whole login with the fixed keys; `frames` in the order of the flights."""

    client: LoginClient = field(default_factory=new_login_client)
    server: LoginServer = field(default_factory=new_login_server)
    frames: list[bytes] = field(default_factory=list)

    def hellos(self) -> LoginRun:
        """Flights 1 and 2."""
        self.frames.append(self.client.hello())
        self.frames += self.server.receive(self.frames[-1][4:]).frames
        self.client.receive(self.frames[-1][4:])
        return self

    def certified(self) -> LoginRun:
        """Flights 1 to 4."""
        self.hellos()
        self.frames.append(self.client.present_terminal())
        self.frames += self.server.receive(self.frames[-1][4:]).frames
        self.client.receive(self.frames[-1][4:])
        return self

    def decided(self, grant: Grant | None = GRANT) -> LoginRun:
        """All flights; REFUSAL if there is no grant."""
        from myim_wire.errors import ErrorCode

        self.certified()
        self.frames.append(self.client.credentials("login", *CREDENTIALS[1:]))
        self.server.receive(self.frames[-1][4:])
        self.frames.append(self.server.grant(grant) if grant else self.server.refuse(ErrorCode.LOGIN_FAILED, 1000))
        return self


def new_center_client(connection_number: int = 1) -> CenterClient:
    """The terminal's end of a center connection with the fixed keys."""
    return CenterClient(
        TOKEN, SESSION_KEY, TERMINAL_PRIVATE, fixed("center client nonce"), fixed("center client ephemeral"), connection_number
    )


def new_connections() -> tuple[Connection, Connection]:
    """(terminal, center) after both flights; the terminal has sent no record yet."""
    client = new_center_client()
    terminal, center = Connection.for_terminal(client), Connection.for_center()
    center.receive_data(client.connect())
    terminal.receive_data(center.accept(SESSION_KEY, TERMINAL_PUBLIC, fixed("center nonce"), fixed("center ephemeral")))
    return terminal, center
