"""Structured contents: strict msgpack [P-3.9], every field of every structure, receipts; rows 51-59 of reliability §4.4."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.bodies import (
    ErrorContent,
    decode_count,
    decode_error,
    decode_numbered_settling,
    decode_pairs,
    decode_settling,
    encode_count,
    encode_error_content,
    encode_numbered_settling,
    encode_pairs,
    encode_trailer,
    split_group_content,
    split_trailer,
)  # fmt: skip
from myim_wire.contents import (
    Credentials,
    FoundUser,
    Grant,
    Operation,
    RenewedToken,
    decode_lookup,
    decode_servers,
    encode_lookup,
    encode_servers,
)  # fmt: skip
from myim_wire.errors import ErrorCode, LocalProtocolError, ProtocolError
from myim_wire.messages import ERROR, REPLY, Command, decode_messages, encode_error
from myim_wire.packing import MAX_DEPTH, MAX_ITEMS, pack_map, unpack_map
from tests.wire.fixed import GRANT, SERVERS, SESSION_KEY, TOKEN
from tests.wire.structures import dotted, field_of, places, put, without, wrongly_typed

TRAILER = encode_trailer(1, 2, 3)
GROUP_HEAD = pack_map({"number": 7, "accepted": 9})
FULL_HEAD = b"\x82\xa6number\xcf" + bytes(7) + b"\x07\xa8accepted\xcf" + bytes(7) + b"\x09"  # as this library writes it


def nested(depth: int) -> bytes:
    return b"\x81\xa1k" * (depth - 1) + b"\x80"


BAD_PACKS = {
    "nesting of 100,000": nested(100_000), "one deeper than allowed": nested(MAX_DEPTH + 1),
    "arrays 30,000 deep": b"\x81\xa1k" + b"\x91" * 30_000,
    "array32 of 2^31": b"\x81\xa1k\xdd\x80\x00\x00\x00\x01", "map32 of 2^31": b"\xdf\x80\x00\x00\x00\xa1k\x01",
    "str32 of 2^31": b"\x81\xa1k\xdb\x80\x00\x00\x00abcde", "bin32 of 2^31": b"\x81\xa1k\xc6\x80\x00\x00\x00abcde",
    "array16 cut off": b"\x81\xa1k\xdc\x00", "str8 cut off": b"\x81\xa1k\xd9", "str8 too long": b"\x81\xa1k\xd9\x05abcd",
    "64 KiB of empty arrays": b"\x81\xa1k\xdd\x00\x00\xff\x00" + b"\x90" * 0xFF00, "64 KiB of empty maps": b"\x80" * 65_000,
    "one item too many": b"\x81\xa1k\xdc" + (MAX_ITEMS - 2).to_bytes(2, "big") + b"\xc0" * (MAX_ITEMS - 2),
    "an integer key": b"\x81\x01\x01", "a nil key": b"\x81\xc0\x01", "a bytes key": b"\x81\xc4\x01k\x01", "an array key": b"\x81\x90\x01",
    "a key twice": b"\x82\xa1k\x01\xa1k\x02", "a key twice inside": b"\x81\xa1k\x82\xa1k\x01\xa1k\x01",
    "float32": b"\x81\xa1k\xca" + bytes(4), "float64": b"\x81\xa1k\xcb" + bytes(8), "NaN": b"\x81\xa1k\xcb\x7f\xf8" + bytes(6),
    "-0.0": b"\x81\xa1k\xcb\x80" + bytes(7), "infinity": b"\x81\xa1k\xcb\x7f\xf0" + bytes(6),
    "fixext1": b"\x81\xa1k\xd4\x01\x00", "a timestamp": b"\x81\xa1k\xd6\xff" + bytes(4), "ext8": b"\x81\xa1k\xc7\x01\x05\x00",
    "the byte 0xc1": b"\x81\xa1k\xc1", "nothing": b"", "bytes after": b"\x80\x00", "not a map": b"\x90", "a string": b"\xa1k",
    "no value": b"\x81\xa1k", "no key": b"\x81",
    "invalid UTF-8": b"\x81\xa1k\xa1\xff", "overlong UTF-8": b"\x81\xa1k\xa2\xc0\x80", "a lone surrogate": b"\x81\xa1k\xa3\xed\xa0\x80",
    "invalid UTF-8 in a key": b"\x81\xa1\xff\x01",
}  # fmt: skip


@pytest.mark.parametrize("data", BAD_PACKS.values(), ids=list(BAD_PACKS))
def test_msgpack_that_the_page_forbids_is_a_bad_command_before_it_is_built(data: bytes) -> None:
    tracemalloc.start()
    try:
        assert field_of(lambda: unpack_map(data)) == "content"
        assert tracemalloc.get_traced_memory()[1] < 16_384 + 4 * len(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["", "\x00", "🙂", "\u202eabc", "é", "e\u0301", "x" * 70_000])
def test_valid_text_is_kept_exactly(text: str) -> None:
    assert unpack_map(pack_map({"k": text})) == {"k": text}


def test_the_limits_themselves_are_allowed() -> None:
    assert unpack_map(nested(MAX_DEPTH))
    assert len(unpack_map(pack_map({"k": [None] * (MAX_ITEMS - 3)}))["k"]) == MAX_ITEMS - 3


@pytest.mark.parametrize("value", [1.5, float("nan"), object(), "\ud800", {1: 2}, [[]] * 5000, -(2**70)])
def test_what_the_page_forbids_is_not_packed(value: object) -> None:
    with pytest.raises(LocalProtocolError):
        pack_map({"k": value})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=20) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=30,
)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=5))
def test_what_is_packed_is_unpacked(fields: dict[str, Any]) -> None:
    assert unpack_map(pack_map(fields)) == fields


@given(st.binary(max_size=100) | st.lists(st.sampled_from([b"\x81\xa1k", b"\x91", b"\xdf\x00", b"\xa1", b"\xc0", b"\xff"])).map(b"".join))
def test_any_bytes_give_a_map_or_a_protocol_error(data: bytes) -> None:
    for decode in DECODERS:
        try:
            decode(data)
        except ProtocolError as error:
            assert error.code == ErrorCode.BAD_COMMAND


DECODERS: list[Callable[[bytes], object]] = [
    unpack_map, decode_servers, RenewedToken.decode, decode_lookup, FoundUser.decode, Credentials.decode, Grant.decode, decode_error,
    decode_pairs, decode_count, decode_settling, decode_numbered_settling, split_trailer, split_group_content,
]  # fmt: skip

STRUCTURES: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "servers": (decode_servers, encode_servers(SERVERS)),
    "renewed token": (RenewedToken.decode, RenewedToken(TOKEN, SESSION_KEY, 1, 2).encode()),
    "lookup": (decode_lookup, encode_lookup("bob")),
    "found user": (FoundUser.decode, FoundUser(42, "Bob").encode()),
    "credentials": (Credentials.decode, Credentials("login", "ann", "secret", "laptop").encode()),
    "new password": (Credentials.decode, Credentials("password", "ann", "secret", "laptop", "new secret").encode()),
    "grant": (Grant.decode, GRANT.encode()),
    "error": (decode_error, encode_error_content(ErrorCode.SLOW_DOWN, "too fast", 5, "content")),
}
OPTIONAL = {("credentials", "terminal"), ("new password", "terminal"), ("error", "retry_ms"), ("error", "field")}
FIELDS = [(name, path) for name, (_, content) in STRUCTURES.items() for path in places(msgpack.unpackb(content))]


@pytest.mark.parametrize(("name", "path"), FIELDS, ids=lambda value: value if isinstance(value, str) else dotted(value))
def test_each_field_missing_null_or_wrongly_typed_is_refused_by_name(name: str, path: tuple[Any, ...]) -> None:
    decode, content = STRUCTURES[name]
    missing = without(content, path)
    if (name, dotted(path)) in OPTIONAL:
        decode(missing)
    else:
        assert field_of(lambda: decode(missing)) == dotted(path)
    faults = list(wrongly_typed(content, path))[dotted(path) == "last_login" :]
    for fault in faults:
        assert (field_of(partial(decode, fault)) or "").startswith(dotted(path))
    assert len(faults) >= 7
    if dotted(path) in ("op", "servers.0.role"):
        assert field_of(lambda: decode(put(content, path, "no such thing"))) == dotted(path)


@pytest.mark.parametrize(("name", "field", "value"), [
    ("servers", "port", 65536), ("servers", "priority", 65536), ("servers", "load", 256), ("servers", "host", "h" * 256),
    ("servers", "node", -1),
    ("renewed token", "session_key", bytes(31)), ("renewed token", "session_key", bytes(33)), ("renewed token", "issued", -1),
    ("credentials", "op", "leave"), ("credentials", "terminal", "t" * 65), ("grant", "slot", 64), ("grant", "friends_hash", b""),
    ("grant", "terminal_generation", 2**32), ("grant", "servers", [{}] * 17), ("error", "code", 65536), ("error", "retry_ms", 2**32),
    ("servers", "servers", [1]), ("servers", "servers", [{}] * 17),
])  # fmt: skip
def test_a_field_out_of_its_range_is_refused_by_name(name: str, field: str, value: Any) -> None:
    decode, content = STRUCTURES[name]
    path = ("servers", 0, field) if name == "servers" and field != "servers" else (field,)
    found = field_of(lambda: decode(put(content, path, value)))
    assert found is not None and found.startswith(".".join(map(str, path)))


@pytest.mark.parametrize("name", STRUCTURES)
def test_fields_that_nobody_names_are_ignored(name: str) -> None:
    decode, content = STRUCTURES[name]
    more = msgpack.packb({**msgpack.unpackb(content), "unknown": [1, {"x": None}]})
    assert decode(more) == decode(content)


def test_a_look_up_is_by_name_or_by_id_and_the_id_counts() -> None:
    assert (decode_lookup(encode_lookup("bob")), decode_lookup(encode_lookup(2**64 - 1))) == ("bob", 2**64 - 1)
    assert decode_lookup(pack_map({"name": "bob", "user": 42})) == 42
    for user in (None, -1, 2**64 - 1.0, "42"):
        assert field_of(partial(decode_lookup, msgpack.packb({"name": "bob", "user": user}))) in ("user", "content")


@pytest.mark.parametrize("op", ["login", "register", "delete"])
def test_a_new_password_belongs_to_its_change_alone(op: Operation) -> None:
    given = Credentials(op, "ann", "secret", None, "new secret")
    assert Credentials.decode(given.encode()) == Credentials(op, "ann", "secret")


def test_secrets_do_not_print() -> None:
    change = Credentials("password", "ann", "hunter2hunter2", None, "hunter2hunter3")
    printed = repr([change, GRANT, RenewedToken(TOKEN, SESSION_KEY, 1, 2)])
    assert "hunter2" not in printed and repr(SESSION_KEY) not in printed and repr(TOKEN) not in printed


def test_a_refusal_keeps_names_and_a_goodbye_is_no_reply() -> None:
    refusal, goodbye = decode_messages(
        encode_error(Command.LOOKUP, 1, 2, 3, ErrorCode.NOT_ALLOWED, "no", 10, "name") + encode_error(Command.GOODBYE, 0, 0, 0, 9, "bye")
    )
    assert refusal[:5] == (Command.LOOKUP, REPLY | ERROR, 1, 2, 3) and goodbye.flags == ERROR
    assert decode_error(refusal.content) == ErrorContent(ErrorCode.NOT_ALLOWED, "no", 10, "name")
    assert decode_error(goodbye.content) == ErrorContent(9, "bye")


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), min_size=1, max_size=70))
def test_receipts_are_read_as_written(kind: int, pairs: list[tuple[int, int]]) -> None:
    assert decode_pairs(encode_pairs(kind, pairs)) == (kind, pairs)


@pytest.mark.parametrize(
    "content", [b"", b"\x01", b"\x01" + bytes(15), b"\x01" + bytes(17), b"\x01" + bytes(24), b"\x01" + bytes(16 * 2049)]
)
def test_a_receipt_without_whole_pairs_or_with_too_many_is_refused(content: bytes) -> None:
    assert field_of(lambda: decode_pairs(content)) == "content"


@pytest.mark.parametrize("kind", [0, 5, 255])
def test_a_receipt_of_unknown_kind_is_refused(kind: int) -> None:
    assert field_of(lambda: decode_pairs(bytes([kind]) + bytes(16))) == "kind"
    with pytest.raises(LocalProtocolError):
        encode_pairs(kind, [(1, 2)])


@pytest.mark.parametrize("pairs", [[], [(1, 2)] * 2049, [(-1, 0)], [(0, 2**64)]])
def test_a_receipt_that_does_not_fit_is_not_written(pairs: list[tuple[int, int]]) -> None:
    with pytest.raises(LocalProtocolError):
        encode_pairs(1, pairs)


def test_2048_pairs_fit_a_receipt() -> None:
    assert decode_pairs(encode_pairs(1, [(1, 2)] * 2048)) == (1, [(1, 2)] * 2048)


def test_the_trailer_is_the_last_24_bytes() -> None:
    assert split_trailer(b"body" + encode_trailer(1, 2, 3)) == (b"body", 1, 2, 3)
    assert split_trailer(encode_trailer(1, 2, 3)) == (b"", 1, 2, 3)
    assert field_of(lambda: split_trailer(bytes(23))) == "content"


def test_settlings_and_counts_have_one_form() -> None:
    assert (decode_settling(b"\x01"), decode_settling(b"\x02"), decode_count(encode_count(258))) == (1, 2, 258)
    for content in (b"", b"\x00", b"\x03", b"\x01\x01"):
        assert field_of(partial(decode_settling, content)) == "content"
    assert field_of(lambda: decode_count(bytes(3))) == "content"


@given(st.integers(1, 2**64 - 1))
def test_a_settling_with_a_number_is_read_as_written(number: int) -> None:
    assert decode_numbered_settling(encode_numbered_settling(number)) == (2, number)


@pytest.mark.parametrize("content", [b"", b"\x02", b"\x02" + bytes(8), b"\x01" * 9, b"\x02" + b"\x01" * 7, b"\x02" + b"\x01" * 9])
def test_a_settling_without_a_number_or_not_as_stored_is_refused(content: bytes) -> None:
    assert field_of(lambda: decode_numbered_settling(content)) == "content"


@pytest.mark.parametrize("number", [0, -1, 2**64])
def test_a_number_that_no_post_has_is_not_written(number: int) -> None:
    with pytest.raises(LocalProtocolError):
        encode_numbered_settling(number)


def headed(head: bytes, body: bytes = b"body", trailer: bytes = TRAILER) -> bytes:
    return bytes([len(head)]) + head + body + trailer


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=100), st.booleans())
def test_the_head_of_a_groups_message_may_be_any_msgpack_with_its_fields(number: int, accepted: int, body: bytes, is_more: bool) -> None:
    head = pack_map({"accepted": accepted, "number": number, **({"more": "x" * 200} if is_more else {})})
    assert split_group_content(headed(head, body)) == (number, accepted, body, 1, 2, 3)


@pytest.mark.parametrize(("content", "field"), [
    (b"", "content"), (b"\x00", "content"), (headed(b""), "content"), (b"\xff" + bytes(100), "content"),
    (headed(GROUP_HEAD)[:-5], "content"),
    (headed(GROUP_HEAD, b"", TRAILER[:23]), "content"), (headed(GROUP_HEAD, bytes(32769)), "content"), (headed(b"\x90"), "content"),
    (headed(FULL_HEAD, bytes(32769)), "content"), (headed(FULL_HEAD, b"", TRAILER[:23]), "content"), (headed(FULL_HEAD[:-1]), "content"),
    (headed(pack_map({"number": 1})), "accepted"), (headed(pack_map({"accepted": 1})), "number"),
    (headed(pack_map({"number": -1, "accepted": 1})), "number"), (headed(pack_map({"number": 1, "accepted": None})), "accepted"),
])  # fmt: skip
def test_a_groups_message_without_head_or_trailer_or_with_too_much_between_is_refused(content: bytes, field: str) -> None:
    assert field_of(lambda: split_group_content(content)) == field


@pytest.mark.parametrize("head", [GROUP_HEAD, FULL_HEAD])
def test_the_longest_body_fits_between_head_and_trailer(head: bytes) -> None:
    body = bytes(32768)
    assert split_group_content(headed(head, body)) == (7, 9, body, 1, 2, 3)
