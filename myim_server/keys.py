"""The keys that last: the login identity and master secret, the node key, the cluster secret; made at first start, never shown.

What lives here: which keys there are, their files, and what is computed of them directly. What must not: how a secret file is read or made
(`secret_files`), ticket keys (they rotate, `tickets`). Files hold 64 hex digits, so that a text editor or a copy by hand cannot spoil one.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from myim_server.secret_files import SecretRefused, make_secret_once
from myim_wire.link_handshake import node_id_of

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class LoginKeys:
    """What the login center alone holds: the seed of its Ed25519 identity and the master of the server key pairs, 32 bytes each [P-4.1]."""

    identity_seed: bytes = field(repr=False)
    master_secret: bytes = field(repr=False)

    @property
    def identity(self) -> bytes:
        """The public key that terminals pin, 32 bytes."""
        return _public_key(self.identity_seed)


@dataclass(frozen=True, slots=True)
class NodeKey:
    """A node's own Ed25519 key; `node_id` is the first 63 bits of the SHA-256 of its public key."""

    seed: bytes = field(repr=False)

    @property
    def node_id(self) -> int:
        """The node's id on the wire, u63."""
        return node_id_of(_public_key(self.seed))


def open_login_keys(data_dir: Path) -> LoginKeys:
    """The login center's keys in `data_dir`, made if missing; raises SecretRefused if others may read them."""
    return LoginKeys(_open_key(data_dir / "login_identity.key"), _open_key(data_dir / "login_master.key"))


def open_node_key(data_dir: Path) -> NodeKey:
    """The node's key in `data_dir`, made if missing; raises SecretRefused if others may read it."""
    return NodeKey(_open_key(data_dir / "node.key"))


def open_cluster_secret(path: Path) -> bytes:
    """The secret (32 bytes) all centers share, made if missing; raises SecretRefused if others may read it."""
    return _open_key(path)


def _open_key(path: Path) -> bytes:
    content = make_secret_once(path, secrets.token_hex(KEY_BYTES).encode() + b"\n")
    try:
        key = bytes.fromhex(content.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SecretRefused(path, f"is not {2 * KEY_BYTES} hex digits")
    return key


def _public_key(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
