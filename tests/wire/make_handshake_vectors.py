"""The vectors of the handshakes and of HPKE; see `make_vectors`. Every hash, secret and key is computed here from the clauses."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from myim_wire.center_handshake import CenterClient, accept, parse_connect
from myim_wire.contents import Credentials, Grant
from myim_wire.errors import ErrorCode
from myim_wire.flights import encode_error_flight, pad
from myim_wire.messages import PING_ASK
from myim_wire.rekey import Rekey
from tests.wire.fixed import (
    CREDENTIALS,
    FINGERPRINT,
    GRANT,
    IDENTITY,
    IDENTITY_PRIVATE,
    MASTER_SECRET,
    SERVERS,
    SESSION_KEY,
    TERMINAL_PRIVATE,
    TERMINAL_PUBLIC,
    TERMINAL_SECRET,
    TOKEN,
    LoginRun,
    fixed,
    hpke_secrets,
    new_center_client,
    seal_with,
)
from tests.wire.make_account_vectors import DELETION, PASSWORD_CHANGE

CREDENTIALS_STRUCTURE = Credentials("login", *CREDENTIALS[1:]).encode()
DELETED = Grant(0, "", 0, 0, bytes(32), b"", 0, 0, (), None, new_terminal=False, new_network=False)


def _hash(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def _add(transcript: bytes, flight: bytes) -> bytes:
    return _hash(transcript, len(flight).to_bytes(4, "big"), flight)


def _extract(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, secret, "sha256")


def _expand(secret: bytes, label: str, size: int = 32) -> bytes:
    return hmac.digest(secret, label.encode() + b"\x01", "sha256")[:size]


def _exchange(private: bytes, public: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def _public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _pair(secret: bytes, prefix: str) -> tuple[bytes, bytes]:
    return _expand(secret, f"MyIM 1 {prefix} key"), _expand(secret, f"MyIM 1 {prefix} iv", 12)


def _open(pair: tuple[bytes, bytes], sequence: int, frame: bytes) -> bytes:
    nonce = bytes(a ^ b for a, b in zip(pair[1], sequence.to_bytes(12, "big"), strict=True))
    return AESGCM(pair[0]).decrypt(nonce, frame[4:], frame[:4])


def _hexed(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}


LOGIN_ABOUT = (
    "one login with fixed keys. frame*: as on the wire; flight*: plaintext from the version byte on; k1_*, k2_*: keys, ivs by direction; "
    "credentials, grant: the msgpack before padding; password_change, deletion: other credentials, deleted: the grant that answers the "
    "latter; refusal_frame in place of frame6; servers_* in place of frames 3 and 4"
)


def _given_to_login() -> dict[str, Any]:
    client, server = fixed("login client ephemeral"), fixed("login server ephemeral")
    return {
        "about": LOGIN_ABOUT,
        "fingerprint": FINGERPRINT, "terminal_secret": TERMINAL_SECRET, "terminal_private": TERMINAL_PRIVATE,
        "terminal_public": TERMINAL_PUBLIC, "identity_private": IDENTITY_PRIVATE, "identity": IDENTITY, "master_secret": MASTER_SECRET,
        "client_nonce": fixed("login client nonce"), "client_ephemeral_private": client, "client_ephemeral": _public(client),
        "server_nonce": fixed("login server nonce"), "server_ephemeral_private": server, "server_ephemeral": _public(server),
        "credentials_hpke_ephemeral_private": fixed("credentials hpke ephemeral"),
        "grant_hpke_ephemeral_private": fixed("grant hpke ephemeral"),
    }  # fmt: skip


def login_vector() -> dict[str, Any]:
    """§4: a login granted; and, from the same hellos, a refusal and a server list."""
    frames = LoginRun().decided().frames
    client, server = fixed("login client ephemeral"), fixed("login server ephemeral")
    h0 = _hash(b"MyIM login 1")
    h1 = _add(h0, frames[0][4:])
    h2 = _add(h1, frames[1][4:])
    s1 = _extract(h2, _exchange(client, _public(server)))
    k1_up, k1_down = _pair(s1, "login1 t2l"), _pair(s1, "login1 l2t")
    flight3 = _open(k1_up, 0, frames[2])
    h3 = _add(h2, flight3)
    terminal_exchange = _exchange(TERMINAL_PRIVATE, _public(server))
    proof_secret = _extract(h2, terminal_exchange)
    s2 = _extract(h3, _expand(s1, "MyIM 1 login chain") + terminal_exchange)
    k2_up, k2_down = _pair(s2, "login2 t2l"), _pair(s2, "login2 l2t")
    flight4 = _open(k2_down, 0, frames[3])
    h4 = _add(h3, flight4)
    flight5 = _open(k2_up, 0, frames[4])
    h5 = _add(h4, flight5)
    flight6 = _open(k2_down, 1, frames[5])
    label = b"MyIM 1 server key" + TERMINAL_PUBLIC
    server_private = hmac.digest(_extract(FINGERPRINT, MASTER_SECRET), label + b"\x01", "sha256")
    asked = LoginRun().hellos()
    ask = asked.client.ask_servers()
    asked.server.receive(ask[4:])
    values = {
        **_given_to_login(),
        "H0": h0, "frame1": frames[0], "flight1": frames[0][4:], "H1": h1,
        "login_hello_signed": b"MyIM 1 login hello\x00" + _add(h1, frames[1][4:-64]),
        "frame2": frames[1], "flight2": frames[1][4:], "H2": h2, "exchange": _exchange(client, _public(server)), "S1": s1,
        "k1_t2l_key": k1_up[0], "k1_t2l_iv": k1_up[1], "k1_l2t_key": k1_down[0], "k1_l2t_iv": k1_down[1],
        "terminal_exchange": terminal_exchange, "P": proof_secret, "proof": _extract(_expand(proof_secret, "MyIM 1 login proof"), h2),
        "frame3": frames[2], "flight3": flight3, "H3": h3, "S2": s2,
        "k2_t2l_key": k2_up[0], "k2_t2l_iv": k2_up[1], "k2_l2t_key": k2_down[0], "k2_l2t_iv": k2_down[1],
        "server_private": server_private, "server_public": _public(server_private), "frame4": frames[3], "flight4": flight4, "H4": h4,
        "credentials": CREDENTIALS_STRUCTURE, "frame5": frames[4], "flight5": flight5, "H5": h5,
        "password_change": PASSWORD_CHANGE.encode(), "deletion": DELETION.encode(), "deleted": DELETED.encode(),
        "grant": GRANT.encode(), "frame6": frames[5], "flight6": flight6,
        "refusal_frame": LoginRun().decided(None).frames[5],
        "servers_ask_frame": ask, "servers_answer_frame": asked.server.servers(SERVERS),
        "error_frame": encode_error_flight(ErrorCode.BAD_HANDSHAKE),
    }  # fmt: skip
    return _hexed(values)


def center_vector() -> dict[str, Any]:
    """§5: one connection by token and the first record each way."""
    client = new_center_client()
    frame1 = client.connect()
    server_private = fixed("center ephemeral")
    frame2, keys = accept(parse_connect(frame1[4:]), SESSION_KEY, TERMINAL_PUBLIC, fixed("center nonce"), server_private)
    flight1, flight2 = frame1[4:], frame2[4:]
    g0 = _hash(b"MyIM center 1")
    g1 = _add(g0, flight1)
    binding = _add(g1, flight2[:-32])
    ephemerals = _exchange(server_private, _public(fixed("center client ephemeral")))
    static = _exchange(TERMINAL_PRIVATE, _public(server_private))
    secret = _extract(binding, SESSION_KEY + ephemerals + static)
    up, down = _pair(secret, "center t2c"), _pair(secret, "center c2t")
    terminal_keys = client.accept(flight2)
    return _hexed(
        {
            "about": "one connection with fixed keys; first_*: the first record each way, a PING that asks",
            "token": TOKEN, "session_key": SESSION_KEY, "terminal_private": TERMINAL_PRIVATE, "connection_number": 1,
            "client_nonce": fixed("center client nonce"), "client_ephemeral_private": fixed("center client ephemeral"),
            "center_nonce": fixed("center nonce"), "center_ephemeral_private": server_private,
            "G0": g0, "binder_key": _expand(SESSION_KEY, "MyIM 1 center binder"), "binder_hash": _add(g0, flight1[:-32]),
            "frame1": frame1, "flight1": flight1, "G1": g1, "frame2": frame2, "flight2": flight2, "B": binding,
            "exchange": ephemerals, "terminal_exchange": static, "S": secret,
            "finished": _extract(_expand(secret, "MyIM 1 center finished"), binding),
            "t2c_key": up[0], "t2c_iv": up[1], "c2t_key": down[0], "c2t_iv": down[1], "exporter": _expand(secret, "MyIM 1 center exporter"),
            "first_t2c_frame": terminal_keys.sealing.seal(PING_ASK), "first_c2t_frame": keys.sealing.seal(PING_ASK),
        }
    )  # fmt: skip


def rekey_vector() -> dict[str, Any]:
    """§6: two rekeys after the connection of center.json."""
    client: CenterClient = new_center_client()
    connect = parse_connect(client.connect()[4:])
    _, keys = accept(connect, SESSION_KEY, TERMINAL_PUBLIC, fixed("center nonce"), fixed("center ephemeral"))
    rekey, exporter, rounds = Rekey(keys, is_terminal=False), keys.exporter, []
    for count in (1, 2):
        terminal, center = fixed(f"rekey {count} terminal"), fixed(f"rekey {count} center")
        rekey.receive_offer(_public(terminal))
        _, new = rekey.answer(center)
        rekey.finish()
        salt = _hash(b"MyIM 1 rekey", keys.binding, count.to_bytes(4, "big"), _public(terminal), _public(center))
        secret = _extract(salt, exporter + _exchange(terminal, _public(center)))
        up, down = _pair(secret, "center t2c"), _pair(secret, "center c2t")
        exporter = _expand(secret, "MyIM 1 center exporter")
        rounds.append(_hexed({
            "count": count, "terminal_ephemeral_private": terminal, "terminal_ephemeral": _public(terminal),
            "center_ephemeral_private": center, "center_ephemeral": _public(center), "salt": salt, "S": secret,
            "t2c_key": up[0], "t2c_iv": up[1], "c2t_key": down[0], "c2t_iv": down[1], "exporter": exporter,
            "first_c2t_frame": new.sealing.seal(PING_ASK),
        }))  # fmt: skip
    about = (
        "rekeys one after the other, after the connection of center.json; first_c2t_frame: sequence 0 under the new key, a PING that asks"
    )
    return _hexed({"about": about, "B": keys.binding, "exporter": keys.exporter, "rekeys": rounds})


def hpke_vector() -> dict[str, Any]:
    """[P-4.6]-[P-4.8]: both sealed structures of login.json, with every value inside HPKE."""
    login = login_vector()
    cases = []
    for name, info, private, transcript, structure in (
        (
            "credentials",
            b"MyIM 1 credentials",
            bytes.fromhex(login["server_private"]),
            "H4",
            CREDENTIALS_STRUCTURE,
        ),
        ("grant", b"MyIM 1 grant", TERMINAL_PRIVATE, "H5", GRANT.encode()),
    ):
        info += bytes.fromhex(login[transcript])
        sender = fixed(f"{name} hpke ephemeral")
        public, plaintext = _public(private), pad(structure)
        cases.append(_hexed({
            "name": name, "receiver_private": private, "receiver_public": public, "sender_ephemeral_private": sender, "info": info,
            "structure": structure, "plaintext": plaintext, **hpke_secrets(sender, public, info),
            "sealed": seal_with(sender, public, info, plaintext),
        }))  # fmt: skip
    return {
        "about": "the sealed structures of login.json; structure: msgpack; plaintext: padded; sealed: enc and ciphertext",
        "cases": cases,
    }
