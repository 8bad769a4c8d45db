"""The bytes of the shared directory: what one entry says, and the proof that a node of this cluster wrote it.

What lives here: keys and values of the maps `online` and `servers`, encoded and decoded; pure. What must not: any client, any decision. The
keeper of the maps has neither login nor encryption, so a value is believed only after its MAC (keyed BLAKE2b over map, key and value): it
holds a fixed layout of numbers and short texts, is bounded, and nothing in it is ever turned into an object of any other kind.

    online   key  user u64
             value version u8 | count u8 | count × (center u64 | endpoint u64 | slot u8 | generation u64 | number u64 | life u64) | mac 16
    servers  key  node u64 | role utf-8 (empty: the node's lease)
             lease  version u8 | 0x01 | life u64 | beat u64 | mac 16                             beat 0: the lease was given back
             server version u8 | 0x02 | life u64 | incarnation u64 | priority i32 | load i32 | is draining u8 | port u16
                    | three texts, each length u8 + utf-8: role, host, link | mac 16

`life` names the lease an entry lives by: one for each run of a node, drawn by lot, so what an earlier run left behind is told apart.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest
from typing import NamedTuple

from cluster.directory import Place, Server

ONLINE, SERVERS = "online", "servers"
VERSION = 1
MAC_BYTES = 16
MAX_PLACES = 64  # one for each slot
MAX_ENTRY_BYTES = 4096
_LEASE, _SERVER = 1, 2

_ONLINE_HEAD = struct.Struct(">BB")
_PLACE = struct.Struct(">QQBQQQ")
_LEASE_FIELDS = struct.Struct(">BBQQ")
_SERVER_HEAD = struct.Struct(">BBQQiiBH")
_USER = struct.Struct(">Q")


class EntryRefused(ValueError):
    """These bytes are no entry that a node of this cluster wrote and this version understands."""


class Listed(NamedTuple):
    """A place as the map holds it; life: the lease it lives by."""

    place: Place
    life: int


class Lease(NamedTuple):
    """A run of a node; beat rises with each renewal, 0: given back."""

    node: int
    life: int
    beat: int


class ListedServer(NamedTuple):
    """A server as the map holds it."""

    server: Server
    life: int


def online_key(user: int) -> bytes:
    """The key of a user's entry in `online`."""
    return _USER.pack(user)


def server_key(node: int, role: str) -> bytes:
    """The key of a server, or with role "" of the node's lease, in `servers`."""
    return _USER.pack(node) + role.encode()


class Entries:
    """Encodes, proves and checks entries with the cluster's directory key (16 to 64 bytes)."""

    def __init__(self, key: bytes) -> None:
        if not 16 <= len(key) <= 64:
            raise ValueError("the directory key has 16 to 64 bytes")
        self._key = key

    def places(self, user: int, listed: Sequence[Listed]) -> bytes:
        """A user's places, oldest entry first; of more than 64 the newest ones."""
        kept = listed[-MAX_PLACES:]
        return self._sealed(ONLINE, online_key(user), _ONLINE_HEAD.pack(VERSION, len(kept)) + b"".join(
            _PLACE.pack(at.center, at.endpoint, at.slot, at.generation, at.number, life) for at, life in kept))

    def read_places(self, user: int, value: bytes) -> list[Listed]:
        """A user's places, oldest entry first; raises EntryRefused."""
        body = self._opened(ONLINE, online_key(user), value)
        version, count = _ONLINE_HEAD.unpack_from(body)
        if version != VERSION or len(body) != _ONLINE_HEAD.size + count * _PLACE.size:
            raise EntryRefused("another version or length")
        return [Listed(Place(*fields[:5]), fields[5]) for fields in _PLACE.iter_unpack(body[_ONLINE_HEAD.size:])]

    def lease(self, lease: Lease) -> bytes:
        """A node's lease."""
        return self._sealed(SERVERS, server_key(lease.node, ""), _LEASE_FIELDS.pack(VERSION, _LEASE, lease.life, lease.beat))

    def server(self, server: Server, life: int) -> bytes:
        """A server; raises ValueError where a text has more than 255 bytes or a number does not fit."""
        texts = [text.encode() for text in (server.role, server.host, server.link)]
        if not server.role or max(map(len, texts)) > 255:
            raise ValueError("a server's role, host and link are texts of at most 255 bytes, the role at least 1")
        try:
            head = _SERVER_HEAD.pack(
                VERSION, _SERVER, life, server.incarnation, server.priority, server.load, server.is_draining, server.port)
        except struct.error as why:
            raise ValueError(f"a server's number does not fit: {why}") from None
        return self._sealed(SERVERS, server_key(server.node, server.role), head + b"".join(bytes([len(text)]) + text for text in texts))

    def read_server(self, key: bytes, value: bytes) -> Lease | ListedServer:
        """What an entry of `servers` says; raises EntryRefused."""
        body = self._opened(SERVERS, key, value)
        if len(key) < _USER.size or body[0] != VERSION:
            raise EntryRefused("another version")
        node = _USER.unpack_from(key)[0]
        try:
            if body[1] == _LEASE and len(key) == _USER.size:
                _, _, life, beat = _LEASE_FIELDS.unpack(body)
                return Lease(node, life, beat)
            if body[1] != _SERVER:
                raise EntryRefused("another kind")
            _, _, life, incarnation, priority, load, is_draining, port = _SERVER_HEAD.unpack_from(body)
            role, host, link = _texts(body[_SERVER_HEAD.size:])
        except (struct.error, UnicodeDecodeError, IndexError) as why:
            raise EntryRefused("another layout") from why
        if key != server_key(node, role):
            raise EntryRefused("another key")
        return ListedServer(Server(node, role, host, port, priority, load, bool(is_draining), link, incarnation), life)

    def _sealed(self, name: str, key: bytes, body: bytes) -> bytes:
        return body + self._mac(name, key, body)

    def _opened(self, name: str, key: bytes, value: bytes) -> bytes:
        if not MAC_BYTES + 2 <= len(value) <= MAX_ENTRY_BYTES or len(key) > MAX_ENTRY_BYTES:
            raise EntryRefused("another length")
        body, mac = value[:-MAC_BYTES], value[-MAC_BYTES:]
        if not compare_digest(mac, self._mac(name, key, body)):
            raise EntryRefused("not proven")
        return body

    def _mac(self, name: str, key: bytes, body: bytes) -> bytes:
        return blake2b(len(key).to_bytes(2, "big") + key + body, key=self._key, digest_size=MAC_BYTES, person=name.encode()).digest()


def _texts(data: bytes) -> tuple[str, str, str]:
    texts, at = [], 0
    for _ in range(3):
        end = at + 1 + data[at]
        if end > len(data):
            raise IndexError("cut off")
        texts.append(data[at + 1:end].decode())
        at = end
    if at != len(data):
        raise IndexError("too long")
    return texts[0], texts[1], texts[2]
