"""The bytes of a token [P-4.13]: sealing and opening with a ticket key that is given. Expiry and revocation are not judged here.

ASCII ruler: `version u8 | key id u32 | nonce 12 | user u64 | slot u8 | terminal public 32 | session key 32 | user generation u32 |
terminal generation u32 | authenticated u64 | issued u64 | expires u64 | tag 16`; what follows the nonce is
sealed, the rest authenticated.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError

TOKEN_VERSION = 1
NONCE_BYTES = 12

_HEAD = struct.Struct(">BI")
_BODY = struct.Struct(">QB32s32sIIQQQ")
_SEALED_FROM = _HEAD.size + NONCE_BYTES
TOKEN_BYTES = _SEALED_FROM + _BODY.size + 16


@dataclass(frozen=True, slots=True)
class TicketKey:
    """A key (32 bytes) that seals tokens, and the id they name it by (u32)."""

    key_id: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a token says; times in microseconds since 1970, keys 32 bytes."""

    user: int
    slot: int
    terminal_public: bytes
    session_key: bytes = field(repr=False)
    user_generation: int
    terminal_generation: int
    authenticated: int
    issued: int
    expires: int


def _invalid(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.TOKEN_INVALID, text)


def seal_ticket(ticket: Ticket, ticket_key: TicketKey, nonce: bytes) -> bytes:
    """The token (138 bytes) for `ticket`; `nonce` is 12 bytes never used before with this key.

    LocalProtocolError(TOKEN_INVALID) if a value does not fit its field.
    """
    if len(nonce) != NONCE_BYTES or len(ticket.terminal_public) != 32 or len(ticket.session_key) != 32:
        raise LocalProtocolError(ErrorCode.TOKEN_INVALID, "a key or nonce of the wrong size")
    try:
        head = _HEAD.pack(TOKEN_VERSION, ticket_key.key_id) + nonce
        body = _BODY.pack(
            ticket.user, ticket.slot, ticket.terminal_public, ticket.session_key, ticket.user_generation,
            ticket.terminal_generation, ticket.authenticated, ticket.issued, ticket.expires,
        )  # fmt: skip
    except struct.error as error:
        raise LocalProtocolError(ErrorCode.TOKEN_INVALID, str(error)) from None
    return head + AESGCM(ticket_key.key).encrypt(nonce, body, head)


def key_id_of(token: bytes) -> int:
    """The id of the key that a token says it is sealed with; TOKEN_INVALID if it is not a token of this version."""
    if len(token) != TOKEN_BYTES or token[0] != TOKEN_VERSION:
        raise _invalid("not a token")
    key_id: int = _HEAD.unpack_from(token)[1]
    return key_id


def open_ticket(token: bytes, ticket_key: TicketKey) -> Ticket:
    """What `token` says; TOKEN_INVALID if it is not sealed with this key."""
    if key_id_of(token) != ticket_key.key_id:
        raise _invalid("sealed with another key")
    head = token[:_SEALED_FROM]
    try:
        body = AESGCM(ticket_key.key).decrypt(head[_HEAD.size :], token[_SEALED_FROM:], head)
    except InvalidTag:
        raise _invalid("the token did not open") from None
    return Ticket(*_BODY.unpack(body))
