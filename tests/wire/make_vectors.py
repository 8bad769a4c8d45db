"""Writes `tests/wire/vectors/*.json`, the worked examples of docs/protocol.md §12: `python -m tests.wire.make_vectors`.

Every byte string is hex. Values inside a handshake that the library does not show (hashes, secrets, keys) are computed here a
second time, with HMAC and SHA-256 alone, straight from the clauses.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from myim_wire.bodies import encode_count, encode_error_content, encode_numbered_settling, encode_pairs, encode_trailer
from myim_wire.contents import FoundUser, RenewedToken, encode_lookup, encode_servers
from myim_wire.errors import ErrorCode
from myim_wire.frames import encode_frame
from myim_wire.group_contents import encode_group_fetch
from myim_wire.messages import (
    ERROR,
    FIRST,
    PING_ANSWER,
    PING_ASK,
    QOS1,
    REPLY,
    Command,
    decode_messages,
    encode_group_delivery,
    encode_message,
)  # fmt: skip
from myim_wire.records import SealingKey
from tests.wire.fixed import MICROSECONDS, SERVERS, SESSION_KEY, TICKET, TICKET_KEY, TOKEN, fixed
from tests.wire.group_examples import (
    ANN,
    BEHIND,
    BOB,
    CHANGED,
    EVE,
    FETCHED,
    GROUP,
    GROUPS,
    MEMBERS,
    PENDING,
    REQUESTS,
    STATE,
    TOLD,
)  # fmt: skip
from tests.wire.make_account_vectors import account_messages
from tests.wire.make_friend_vectors import friend_messages, friends_vector
from tests.wire.make_handshake_vectors import center_vector, hpke_vector, login_vector, rekey_vector
from tests.wire.message_cases import message_case as _message

VECTORS = Path(__file__).parent / "vectors"
TEXT = "Grüße 你好 🙂".encode()
ORIGIN = 0x1122334455667788, 99, 0x2233445566778899
NAME = MICROSECONDS // 64 * 64 + TICKET.slot


def frames_vector() -> dict[str, Any]:
    cases = [
        ("one byte", 4096, encode_frame(b"a"), ["61"], None),
        ("two frames and the start of a third", 4096, encode_frame(b"ab") + encode_frame(b"c") + b"\x00\x00", ["6162", "63"], None),
        ("exactly the cap", 16, encode_frame(bytes(16)), [bytes(16).hex()], None),
        ("one over the cap", 16, (17).to_bytes(4, "big"), [], ErrorCode.BAD_FRAME),
        ("length 0", 4096, bytes(4), [], ErrorCode.BAD_FRAME),
        ("length 0x80000000 is unsigned", 65536, b"\x80\x00\x00\x00", [], ErrorCode.BAD_FRAME),
        ("length 0xffffffff", 65536, b"\xff\xff\xff\xff", [], ErrorCode.BAD_FRAME),
    ]
    return {
        "about": "bytes as they come over TCP; cap: the longest length allowed; contents: of the whole frames; error: code raised, or null",
        "cases": [{"name": n, "cap": cap, "bytes": b.hex(), "contents": c, "error": e} for n, cap, b, c, e in cases],
    }  # fmt: skip


def varints_vector() -> dict[str, Any]:
    sizes = [26, 100, 125, 126, 127, 128, 16380, 16381, 16382, 16383, 65517]
    good = [encode_message(Command.LOOKUP, 0, 0, 0, 0, bytes(size - 26)) for size in sizes]
    prefixes = [message[: len(message) - size] for message, size in zip(good, sizes, strict=True)]
    totals = [len(message) for message in good]
    bad = ["00", "01", "02", "1a", "80", "8000", "8001", "9b00", "ff00", "ff80", "808001", "ffff00", "80808001", "ffffffff0f"]
    return {
        "about": "bytes_after: how many bytes follow the length field; total: its value; length: its bytes. "
        "bad: starts of a message that are BAD_FRAME however the record goes on with zero bytes",
        "cases": [{"bytes_after": s, "total": t, "length": p.hex()} for s, t, p in zip(sizes, totals, prefixes, strict=True)],
        "bad": bad,
    }


def bad_messages() -> list[tuple[str, bytes, ErrorCode]]:
    head = bytes(24)
    return [
        ("PING with another third byte", b"\x03\x01\x02", ErrorCode.BAD_FRAME),
        ("PING as a reply", b"\x03\x01\x41", ErrorCode.BAD_FRAME),
        ("PING of 27 bytes", b"\x1b\x01\x01" + head, ErrorCode.BAD_FRAME),
        ("three bytes that are no PING", b"\x03\x02\x01", ErrorCode.BAD_FRAME),
        ("26 bytes", b"\x1a\x02\x01" + head[1:], ErrorCode.BAD_FRAME),
        ("QoS 2", b"\x1b\x02\x02" + head, ErrorCode.BAD_FRAME),
        ("QoS 3", b"\x1b\x02\x03" + head, ErrorCode.BAD_FRAME),
        ("bit 2", b"\x1b\x02\x04" + head, ErrorCode.BAD_FRAME),
        ("bit 3", b"\x1b\x02\x08" + head, ErrorCode.BAD_FRAME),
        ("error without reply", b"\x1b\x02\x20" + head, ErrorCode.BAD_FRAME),
        ("first on a look-up", b"\x1b\x14\x10" + head, ErrorCode.BAD_FRAME),
        ("first on a reply", b"\x1b\x02\x50" + head, ErrorCode.BAD_FRAME),
        ("address flagged, no room for it", b"\x1b\x02\x80" + head, ErrorCode.BAD_FRAME),
        ("address flagged, one byte short", b"\x2a\x02\x80" + head + bytes(15), ErrorCode.BAD_FRAME),
        ("runs past the record", b"\x1c\x02\x01" + head, ErrorCode.BAD_FRAME),
        ("a REKEY that does not end its record", b"\x1b\x12\x00" + head + PING_ASK, ErrorCode.BAD_COMMAND),
    ]


def _post(name: str, qos: int, number: int, accepted: int, body: bytes) -> dict[str, Any]:
    message = decode_messages(encode_group_delivery(qos, BOB, GROUP, NAME, number, accepted, body, ORIGIN))[0]
    return _message(name, "center", *message[:6], body=body.hex(), number=str(number), accepted=str(accepted))


def group_messages() -> list[dict[str, Any]]:
    """What is said about groups, in it and about its messages."""
    t, c = "terminal", "center"
    times = itertools.count(NAME, 64)
    asked = [
        _message(f"group: {one.op}", t, Command.GROUP, QOS1, ANN, 0 if one.op in ("create", "list") else GROUP, next(times), one.encode())
        for one in REQUESTS
    ]
    answered = [
        _message(f"{name} answered", c, Command.GROUP, REPLY, ANN, target, NAME, content)
        for name, target, content in (
            ("group: describe", GROUP, STATE.encode()), ("group: list", 0, GROUPS.encode()),
            ("group: members", GROUP, MEMBERS.encode()), ("group: pending", GROUP, PENDING.encode()),
        )
    ]  # fmt: skip
    pushed = [
        _message(name, c, Command.GROUP, 0, 0, target, 0, content)
        for name, target, content in (
            ("a group changed", GROUP, CHANGED.encode()), ("a group's number", GROUP, BEHIND.encode()),
            ("all groups of the user", 0, TOLD.encode()),
        )
    ]  # fmt: skip
    refusal = encode_error_content(ErrorCode.NOT_MEMBER, "no member of the group")
    return [
        *asked, *answered, *pushed,
        _message("a post, first", t, Command.GROUP_MESSAGE, QOS1 | FIRST, ANN, GROUP, NAME, TEXT),
        _message("its settling: stored under a number", c, Command.GROUP_MESSAGE, REPLY, ANN, GROUP, NAME, encode_numbered_settling(17)),
        _message("a post refused", c, Command.GROUP_MESSAGE, REPLY | ERROR, ANN, GROUP, NAME, refusal),
        _message("a group message, QoS 0", t, Command.GROUP_MESSAGE, 0, ANN, GROUP, NAME + 64, TEXT),
        _post("a delivered post", QOS1, 17, MICROSECONDS, TEXT),
        _post("a delivered group message, QoS 0", 0, 0, MICROSECONDS, b""),
        _message("fetch of a group", t, Command.OFFLINE_FETCH, QOS1, ANN, GROUP, NAME, encode_group_fetch(16)),
        _message("fetch of a group answered", c, Command.OFFLINE_FETCH, REPLY, ANN, GROUP, NAME, FETCHED.encode()),
    ]  # fmt: skip


def messages_vector() -> dict[str, Any]:
    trailer = encode_trailer(*ORIGIN)
    renewed = RenewedToken(TOKEN, SESSION_KEY, TICKET.issued, TICKET.expires)
    error = encode_error_content(ErrorCode.SLOW_DOWN, "too fast", 1500)
    t, c = "terminal", "center"
    cases = [
        _message("a user message, QoS 1, first", t, Command.USER_MESSAGE, QOS1 | FIRST, ANN, BOB, NAME, TEXT),
        _message("a user message, QoS 0, empty body", t, Command.USER_MESSAGE, 0, ANN, BOB, NAME + 64),
        _message("a user message with an address", t, Command.USER_MESSAGE, QOS1, ANN, BOB, NAME + 128, TEXT, address=(3, 4)),
        _message("its settling: stored", c, Command.USER_MESSAGE, REPLY, ANN, BOB, NAME, b"\x02"),
        _message("its refusal", c, Command.USER_MESSAGE, REPLY | ERROR, ANN, BOB, NAME, error),
        _message("a delivered user message", c, Command.USER_MESSAGE, QOS1, BOB, ANN, NAME, TEXT + trailer, body=TEXT.hex()),
        _message("a receipt from a terminal", t, Command.RECEIPT, 0, ANN, 0, 0, encode_pairs(1, [(BOB, NAME), (BOB, NAME + 64)])),
        _message("a receipt for groups", t, Command.RECEIPT, 0, ANN, 0, 0, encode_pairs(2, [(1000, 17)])),
        _message("a receipt to a sender", c, Command.RECEIPT, QOS1, 0, ANN, NAME, encode_pairs(3, [(BOB, NAME)])),
        _message("its confirmation", t, Command.RECEIPT, REPLY, 0, ANN, NAME),
        _message("what went past its expiry", c, Command.RECEIPT, 0, 0, ANN, 0, encode_pairs(4, [(BOB, NAME), (EVE, NAME + 64)])),
        _message("goodbye", t, Command.GOODBYE, 0, ANN, 0, 0),
        _message("goodbye answered", c, Command.GOODBYE, REPLY, ANN, 0, 0),
        _message(
            "goodbye with a reason", c, Command.GOODBYE, ERROR, 0, 0, 0, encode_error_content(ErrorCode.DRAINING, "the server drains")
        ),
        _message("offline fetch", t, Command.OFFLINE_FETCH, QOS1, ANN, 0, NAME),
        _message("offline fetch answered", c, Command.OFFLINE_FETCH, REPLY, ANN, 0, NAME, encode_count(258)),
        _message("servers asked", t, Command.SERVERS, QOS1, ANN, 0, NAME),
        _message("servers answered", c, Command.SERVERS, REPLY, ANN, 0, NAME, encode_servers(SERVERS)),
        _message("servers changed", c, Command.SERVERS, 0, 0, 0, 0, encode_servers(SERVERS[:1])),
        _message("rekey offered", t, Command.REKEY, 0, 0, 0, 0, fixed("rekey 1 terminal")),
        _message("rekey answered", c, Command.REKEY, REPLY, 0, 0, 0, fixed("rekey 1 center")),
        _message("rekey done, or asked for", t, Command.REKEY, 0, 0, 0, 0),
        _message("token asked", t, Command.TOKEN, QOS1, ANN, 0, NAME),
        _message("token renewed", c, Command.TOKEN, REPLY, ANN, 0, NAME, renewed.encode()),
        _message("look-up", t, Command.LOOKUP, QOS1, ANN, 0, NAME, encode_lookup("bob")),
        _message("look-up by id", t, Command.LOOKUP, QOS1, ANN, 0, NAME + 64, encode_lookup(BOB)),
        _message("look-up answered", c, Command.LOOKUP, REPLY, ANN, 0, NAME, FoundUser(BOB, "Bob").encode()),
    ]
    return {
        "about": "u64 values are decimal strings; address: [endpoint, center]; body: before the three u64; number, accepted: in the head "
        "of a group's message. bad: plaintexts of records",
        "ping_asks": PING_ASK.hex(), "ping_answers": PING_ANSWER.hex(),
        "cases": cases + group_messages() + friend_messages() + account_messages(),
        "bad": [{"name": name, "bytes": data.hex(), "error": code} for name, data, code in bad_messages()],
    }  # fmt: skip


def records_vector() -> dict[str, Any]:
    key, iv = fixed("record key"), fixed("record iv")[:12]
    sealing = SealingKey(key, iv)
    cases = []
    for plaintext in (PING_ASK, PING_ASK + PING_ANSWER, encode_message(Command.LOOKUP, QOS1, ANN, 0, NAME, encode_lookup("bob")), b""):
        sequence = sealing.records
        nonce = bytes(a ^ b for a, b in zip(iv, sequence.to_bytes(12, "big"), strict=True))
        cases.append({"sequence": sequence, "nonce": nonce.hex(), "plaintext": plaintext.hex(), "frame": sealing.seal(plaintext).hex()})
    return {
        "about": "frames in their order under one key; aad is the first four bytes of each frame",
        "key": key.hex(),
        "iv": iv.hex(),
        "cases": cases,
    }


def token_vector() -> dict[str, Any]:
    return {
        "about": "a token, what it is sealed with and what it says; u64 values are decimal strings",
        "key_id": TICKET_KEY.key_id, "key": TICKET_KEY.key.hex(), "nonce": fixed("token nonce")[:12].hex(),
        "user": str(TICKET.user), "slot": TICKET.slot, "terminal_public": TICKET.terminal_public.hex(), "session_key": SESSION_KEY.hex(),
        "user_generation": TICKET.user_generation, "terminal_generation": TICKET.terminal_generation,
        "authenticated": str(TICKET.authenticated), "issued": str(TICKET.issued), "expires": str(TICKET.expires), "token": TOKEN.hex(),
    }  # fmt: skip


def make() -> dict[str, str]:
    """File name → text of every vector."""
    vectors = {
        "frames": frames_vector(), "varints": varints_vector(), "messages": messages_vector(), "records": records_vector(),
        "token": token_vector(), "login": login_vector(), "center": center_vector(), "rekey": rekey_vector(), "hpke": hpke_vector(),
        "friends": friends_vector(),
    }  # fmt: skip
    return {f"{name}.json": json.dumps(vector, indent=1, ensure_ascii=True) + "\n" for name, vector in vectors.items()}


if __name__ == "__main__":
    VECTORS.mkdir(exist_ok=True)
    for file_name, text in make().items():
        (VECTORS / file_name).write_text(text)
