"""What a center does with bytes it should never see (docs/protocol.md §10): a code, a close where one is due, and nobody else disturbed.

Every case ends by proving that another session of the same center still works, and that the center holds no more than before.
"""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgpack
import pytest

from myim_server.node import Node
from myim_wire.errors import ErrorCode, ReportedError
from myim_wire.frames import encode_frame
from myim_wire.messages import FIRST, QOS1, REPLY, Command, decode_error, encode_message
from tests.server.running import Person, RawTerminal, make_person, start_node, wait_until

USER, TARGET, TIME = "the user's id", "another's id", "a fresh name"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    limits = {"handshake_seconds": 1.0, "max_handshakes_per_address": 200}
    running = start_node(Path(tmp_path_factory.mktemp("node")), center=limits)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def people(node: Node) -> Iterator[Callable[[], Person]]:
    count = iter(range(10_000))
    yield lambda: make_person(node, f"user{next(count)}")


@pytest.fixture
def witness(node: Node, people: Callable[[], Person]) -> Iterator[None]:
    """Another pair of users, and what the center held: both must be as before afterwards."""
    assert node.center is not None and node.router is not None
    router = node.router
    a, b = people(), people()
    one, other = RawTerminal(node, a), RawTerminal(node, b)
    one.fetch(), other.fetch()
    parties = len(router.parties)
    yield
    named = one.write(b.user, b"still there?")
    assert other.next_message().time == named
    other.confirm((a.user, named))
    assert one.settling_of(named).content == b"\x01"
    wait_until(lambda: len(router.parties) == parties)
    one.close()
    other.close()


def dial(node: Node) -> socket.socket:
    assert node.center is not None
    return socket.create_connection(("127.0.0.1", node.center.server_port), timeout=5)


def answer(connection: socket.socket) -> bytes:
    """All bytes until the center closes."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    connection.close()
    return data


def error_flight(code: ErrorCode) -> bytes:
    return encode_frame(b"\x01\xff" + struct.pack(">H", code))


FIRST_BYTES = {
    "length 0": (b"\0\0\0\0", ErrorCode.BAD_FRAME),
    "length 0xFFFFFFFF, then silence": (b"\xff\xff\xff\xff", ErrorCode.BAD_FRAME),
    "length negative if read signed": (b"\x80\0\0\0", ErrorCode.BAD_FRAME),
    "one more than the cap": (struct.pack(">I", 4097), ErrorCode.BAD_FRAME),
    "the cap exactly, of zeros": (encode_frame(bytes(4096)), ErrorCode.UNSUPPORTED_VERSION),
    "version 0": (encode_frame(b"\x00\x11"), ErrorCode.UNSUPPORTED_VERSION),
    "version 2": (encode_frame(b"\x02\x11"), ErrorCode.UNSUPPORTED_VERSION),
    "version 255": (encode_frame(b"\xff\x11"), ErrorCode.UNSUPPORTED_VERSION),
    "an unknown kind": (encode_frame(b"\x01\x77"), ErrorCode.BAD_HANDSHAKE),
    "a login flight": (encode_frame(b"\x01\x01\x01" + bytes(64)), ErrorCode.BAD_HANDSHAKE),
    "a CONNECT cut short": (encode_frame(b"\x01\x11\x01\x00\x8a"), ErrorCode.BAD_HANDSHAKE),
    "an error flight from a terminal": (encode_frame(b"\x01\xff\x00\x01"), ErrorCode.BAD_HANDSHAKE),
    "a record before any handshake": (encode_frame(os.urandom(64)), None),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ErrorCode.BAD_FRAME),
    "a TLS ClientHello": (bytes.fromhex("1603010200010001fc0303") + bytes(500), ErrorCode.BAD_FRAME),
    "an SSH banner": (b"SSH-2.0-OpenSSH_9.2\r\n", ErrorCode.BAD_FRAME),
    "SMB": (bytes.fromhex("000000850000"), None),
    "an unknown ticket": (
        encode_frame(b"\x01\x11\x01\x00\x8a" + b"\x01" + bytes(137) + bytes(32 + 32 + 7) + b"\x01" + bytes(32)),
        ErrorCode.TOKEN_INVALID,
    ),
    "connection number 0": (
        encode_frame(b"\x01\x11\x01\x00\x8a" + b"\x01" + bytes(137) + bytes(32 + 32 + 8 + 32)),
        ErrorCode.BAD_HANDSHAKE,
    ),
    "half a frame, then silence": (b"\0\0\0\x40\x01\x11", ErrorCode.TIMEOUT),
    "nothing at all": (b"", ErrorCode.TIMEOUT),
}


@pytest.mark.parametrize("name", FIRST_BYTES)
@pytest.mark.usefixtures("witness")
def test_before_the_handshake_it_is_told_and_closed(node: Node, name: str) -> None:
    data, code = FIRST_BYTES[name]
    connection = dial(node)
    connection.sendall(data)
    got = answer(connection)
    if code is None:
        assert len(got) == 8 and got[4:6] == b"\x01\xff"
    else:
        assert got == error_flight(code)


@pytest.mark.usefixtures("witness")
def test_a_frame_longer_than_what_came_is_never_decoded(node: Node) -> None:
    connection = dial(node)
    connection.sendall(b"\0\0\x01\0" + b"\x01\x11" * 4)
    connection.shutdown(socket.SHUT_WR)
    assert answer(connection) == b""


def raw(length: bytes, command: int, flags: int, rest: bytes) -> bytes:
    return length + bytes((command, flags)) + rest


HEAD = bytes(24)
BAD_PLAINTEXTS = {
    "reserved flag bit 2": (raw(b"\x1b", 2, 0x05, HEAD), ErrorCode.BAD_FRAME),
    "reserved flag bit 3": (raw(b"\x1b", 2, 0x09, HEAD), ErrorCode.BAD_FRAME),
    "QoS 2": (raw(b"\x1b", 2, 0x02, HEAD), ErrorCode.BAD_FRAME),
    "QoS 3": (raw(b"\x1b", 2, 0x03, HEAD), ErrorCode.BAD_FRAME),
    "an error that is no reply": (raw(b"\x1b", 2, 0x21, HEAD), ErrorCode.BAD_FRAME),
    "a varint longer than needed": (raw(b"\x9c\x00", 2, 0x01, HEAD), ErrorCode.BAD_FRAME),
    "a varint without an end": (b"\xff\xff\xff\xff\xff", ErrorCode.BAD_FRAME),
    "a length beyond the record": (raw(b"\x7f", 2, 0x01, HEAD), ErrorCode.BAD_FRAME),
    "a length below the least": (raw(b"\x1a", 2, 0x01, HEAD[:-1]), ErrorCode.BAD_FRAME),
    "a PING of four bytes": (b"\x04\x01\x01\x00", ErrorCode.BAD_FRAME),
    "a PING of length zero": (b"\x00\x01\x01", ErrorCode.BAD_FRAME),
    "a done without a rekey": (raw(b"\x1b", 0x12, 0x00, HEAD), ErrorCode.BAD_COMMAND),
    "a rekey offer of 31 bytes": (raw(b"\x3a", 0x12, 0x00, HEAD + bytes(31)), ErrorCode.BAD_COMMAND),
    "a rekey offer of zeros": (raw(b"\x3b", 0x12, 0x00, HEAD + bytes(32)), ErrorCode.BAD_COMMAND),
}


@pytest.mark.parametrize("name", BAD_PLAINTEXTS)
@pytest.mark.usefixtures("witness")
def test_a_record_that_breaks_the_form_closes_with_its_code(node: Node, people: Callable[[], Person], name: str) -> None:
    plaintext, code = BAD_PLAINTEXTS[name]
    terminal = RawTerminal(node, people())
    terminal.fetch()
    terminal.say(plaintext)
    assert decode_error(terminal.goodbye().content).code == code
    with pytest.raises(EOFError):
        terminal.wait_for(lambda message: False)


def flipped(frame: bytes, bit: int) -> bytes:
    changed = bytearray(frame)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("bit", range(32, 32 + 8 * 43, 37))
@pytest.mark.usefixtures("witness")
def test_a_flipped_bit_closes_with_one_constant_error(node: Node, people: Callable[[], Person], bit: int) -> None:
    terminal = RawTerminal(node, people())
    terminal.fetch()
    terminal.socket.sendall(flipped(terminal.connection.seal(encode_message(Command.SERVERS, QOS1, 1, 0, 0)), bit))
    assert decode_error(terminal.goodbye().content).code == ErrorCode.BAD_RECORD


@pytest.mark.parametrize("break_it", ["replay", "skip", "swap", "too short", "plaintext"])
@pytest.mark.usefixtures("witness")
def test_a_record_replayed_skipped_swapped_or_cut_closes(node: Node, people: Callable[[], Person], break_it: str) -> None:
    terminal = RawTerminal(node, people())
    terminal.fetch()
    frames = [terminal.connection.seal(b"\x03\x01\x01") for _ in range(3)]
    sent = {
        "replay": frames[0] + frames[0],
        "skip": frames[1],
        "swap": frames[1] + frames[0],
        "too short": encode_frame(bytes(15)),
        "plaintext": encode_frame(b"\x03\x01\x01" * 9),
    }[break_it]
    terminal.socket.sendall(sent)
    assert decode_error(terminal.goodbye().content).code == ErrorCode.BAD_RECORD


@pytest.mark.usefixtures("witness")
def test_after_its_empty_record_nothing_from_the_terminal_counts(node: Node, people: Callable[[], Person]) -> None:
    target = people()
    terminal = RawTerminal(node, people())
    terminal.fetch()
    assert terminal.connection._sealing is not None
    closing = terminal.connection._sealing.seal(b"")
    late = terminal.connection.seal(
        encode_message(Command.USER_MESSAGE, QOS1 | FIRST, terminal.person.user, target.user, terminal.name(), b"too late")
    )
    terminal.socket.sendall(closing + late)
    with pytest.raises(EOFError):
        terminal.wait_for(lambda message: False)
    assert node.store is not None
    assert not node.store.offline.targets_with_rows([target.user])


def test_a_half_closed_terminal_gets_what_was_due_and_is_closed(node: Node, people: Callable[[], Person]) -> None:
    sender, target = people(), people()
    a = RawTerminal(node, sender)
    a.fetch()
    named = a.name()
    a.say(encode_message(Command.SERVERS, QOS1, sender.user, 0, named))
    a.socket.shutdown(socket.SHUT_WR)
    assert a.wait_for(lambda message: message.time == named).flags & REPLY
    with pytest.raises(EOFError):
        a.wait_for(lambda message: False)
    assert target.user


class Said(NamedTuple):
    """What a terminal says: user and target are ids, or stand for one."""

    user: int | str
    target: int | str
    command: int = 2
    flags: int = QOS1 | FIRST
    content: bytes = b"x"
    slot: int = 0


def packed(value: object) -> bytes:
    return bytes(msgpack.packb(value))


REFUSED: dict[str, tuple[Said, ErrorCode | None, str | None]] = {
    "to oneself": (Said(USER, USER), ErrorCode.BAD_COMMAND, "target"),
    "to nobody, 0": (Said(USER, 0), ErrorCode.BAD_COMMAND, "target"),
    "to a user who does not exist": (Said(USER, 4711), ErrorCode.NOT_ALLOWED, None),
    "as another user": (Said(TARGET, TARGET), ErrorCode.BAD_COMMAND, "user"),
    "as the server": (Said(0, TARGET), ErrorCode.BAD_COMMAND, "user"),
    "with a foreign slot": (Said(USER, TARGET, slot=9), ErrorCode.BAD_TIME, "time"),
    "a body one byte too long": (Said(USER, TARGET, content=bytes(32769)), ErrorCode.TOO_LARGE, "content"),
    "QoS 0 as another": (Said(TARGET, TARGET, flags=0), ErrorCode.BAD_COMMAND, "user"),
    "QoS 0 to oneself": (Said(USER, USER, flags=0), ErrorCode.BAD_COMMAND, "target"),
    "QoS 0 too long": (Said(USER, TARGET, flags=0, content=bytes(32769)), ErrorCode.TOO_LARGE, "content"),
    "a receipt of an unknown kind": (Said(USER, 0, 7, 0, b"\x09" + bytes(16)), ErrorCode.BAD_COMMAND, None),
    "a receipt of half a pair": (Said(USER, 0, 7, 0, b"\x01" + bytes(8)), ErrorCode.BAD_COMMAND, None),
    "an empty receipt": (Said(USER, 0, 7, 0, b""), ErrorCode.BAD_COMMAND, None),
    "a receipt of a kind only centers send": (Said(USER, 0, 7, 0, b"\x04" + bytes(16)), ErrorCode.BAD_COMMAND, "content"),
    "a receipt of another for groups": (Said(TARGET, 0, 7, 0, b"\x02" + bytes(16)), ErrorCode.BAD_COMMAND, "user"),
    "a receipt of another": (Said(TARGET, 0, 7, 0, b"\x01" + bytes(16)), ErrorCode.BAD_COMMAND, "user"),
    "a fetch with content": (Said(USER, 0, 0x0A, QOS1, b"1"), ErrorCode.BAD_COMMAND, None),
    "a fetch with a target": (Said(USER, TARGET, 0x0A, QOS1, b""), ErrorCode.BAD_COMMAND, None),
    "servers with content": (Said(USER, 0, 0x11, QOS1, b"1"), ErrorCode.BAD_COMMAND, None),
    "token with content": (Said(USER, 0, 0x13, QOS1, b"1"), ErrorCode.BAD_COMMAND, None),
    "a look-up without content": (Said(USER, 0, 0x14, QOS1, b""), ErrorCode.BAD_COMMAND, None),
    "a look-up without a name": (Said(USER, 0, 0x14, QOS1, packed({})), ErrorCode.BAD_COMMAND, "name"),
    "a look-up of null": (Said(USER, 0, 0x14, QOS1, packed({"name": None})), ErrorCode.BAD_COMMAND, "name"),
    "a look-up of a number": (Said(USER, 0, 0x14, QOS1, packed({"name": 7})), ErrorCode.BAD_COMMAND, "name"),
    "a look-up of bytes": (Said(USER, 0, 0x14, QOS1, packed({"name": b"bob"})), ErrorCode.BAD_COMMAND, "name"),
    "a look-up that is a list": (Said(USER, 0, 0x14, QOS1, packed(["name"])), ErrorCode.BAD_COMMAND, None),
    "a look-up with a float": (Said(USER, 0, 0x14, QOS1, packed({"name": 1.5})), ErrorCode.BAD_COMMAND, None),
    "a look-up nested too deep": (Said(USER, 0, 0x14, QOS1, b"\x91" * 1000), ErrorCode.BAD_COMMAND, None),
    "a map that claims 2^31 items": (Said(USER, 0, 0x14, QOS1, b"\xdf\x80\0\0\0"), ErrorCode.BAD_COMMAND, None),
    "a string that claims 2^31 bytes": (Said(USER, 0, 0x14, QOS1, b"\xdb\x80\0\0\0"), ErrorCode.BAD_COMMAND, None),
    "64 KiB of empty lists": (Said(USER, 0, 0x14, QOS1, b"\x90" * 65000), ErrorCode.BAD_COMMAND, None),
    "two values": (Said(USER, 0, 0x14, QOS1, packed({"name": "bob"}) * 2), ErrorCode.BAD_COMMAND, None),
    "a name that is no UTF-8": (Said(USER, 0, 0x14, QOS1, b"\x81\xa4name\xa2\xff\xfe"), ErrorCode.BAD_COMMAND, None),
    "a name of SQL": (Said(USER, 0, 0x14, QOS1, packed({"name": "' OR 1=1 --"})), ErrorCode.NOT_ALLOWED, "name"),
    "a name with NUL": (Said(USER, 0, 0x14, QOS1, packed({"name": "bob\0"})), ErrorCode.NOT_ALLOWED, "name"),
    "a name of 10 KB": (Said(USER, 0, 0x14, QOS1, packed({"name": "x" * 10_000})), None, "name"),
    "a timestamp": (Said(USER, 0, 0x14, QOS1, b"\x81\xa4name\xd6\xff\0\0\0\0"), ErrorCode.BAD_COMMAND, None),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.usefixtures("witness")
def test_a_request_that_cannot_be_is_refused_with_its_code_and_the_connection_stays(
    node: Node, people: Callable[[], Person], name: str
) -> None:
    said, code, field = REFUSED[name]
    me, other = people(), people()
    terminal = RawTerminal(node, me)
    terminal.fetch()
    ids: dict[str | int, int] = {USER: me.user, TARGET: other.user, 0: 0, 4711: 4711}
    named = terminal.name() & ~63 | said.slot
    terminal.say(encode_message(said.command, said.flags, ids[said.user], ids[said.target], named, said.content))
    refusal = terminal.wait_for(lambda got: got.time == named and got.command == said.command)
    told = decode_error(refusal.content)
    assert code is None or told.code == code
    assert field is None or told.field == field
    assert terminal.fetch() == 0
    terminal.close()
    assert node.store is not None
    assert not node.store.offline.targets_with_rows([other.user])


@pytest.mark.parametrize("command", [number for number in range(256) if number not in (1, 2, 3, *range(7, 16), *range(17, 22))])
def test_an_unknown_command_is_answered_and_the_connection_stays(node: Node, people: Callable[[], Person], command: int) -> None:
    terminal = RawTerminal(node, people())
    named = terminal.name()
    terminal.say(encode_message(command, QOS1, terminal.person.user, 0, named, b""))
    assert decode_error(terminal.wait_for(lambda got: got.time == named).content).code == ErrorCode.UNKNOWN_COMMAND
    terminal.say(b"\x03\x01\x01")
    terminal.wait_for(lambda got: got.command == Command.PING)
    terminal.close()


@pytest.mark.usefixtures("witness")
def test_more_than_twenty_unknown_commands_in_a_minute_close(node: Node, people: Callable[[], Person]) -> None:
    terminal = RawTerminal(node, people())
    for _ in range(21):
        terminal.say(encode_message(0x55, QOS1, terminal.person.user, 0, terminal.name(), b""))
    assert decode_error(terminal.goodbye().content).code == ErrorCode.UNKNOWN_COMMAND


@pytest.mark.usefixtures("witness")
def test_receipts_for_what_was_never_handed_over_change_nothing_and_are_counted(node: Node, people: Callable[[], Person]) -> None:
    sender, target, stranger = people(), people(), people()
    a = RawTerminal(node, sender)
    a.fetch()
    named = a.write(target.user, b"for the target alone")
    assert a.settling_of(named).content == b"\x02"
    liar = RawTerminal(node, stranger)
    liar.fetch()
    before = node.metrics.receipts_ignored
    liar.confirm((sender.user, named), (sender.user, named), (1, 2))
    liar.fetch()
    assert node.metrics.receipts_ignored == before + 3
    b = RawTerminal(node, target)
    assert b.fetch() == 1
    for terminal in (a, b, liar):
        terminal.close()


@pytest.mark.usefixtures("witness")
def test_a_message_flood_is_told_to_slow_down_and_then_closed(node: Node, people: Callable[[], Person]) -> None:
    sender, target = people(), people()
    flood = RawTerminal(node, sender)
    flood.fetch()
    with pytest.raises((EOFError, BrokenPipeError, ConnectionResetError, AssertionError)):
        for _ in range(3000):
            flood.say(*(encode_message(2, QOS1 | FIRST, sender.user, target.user, flood.name(), bytes(50)) for _ in range(300)))
            while flood.inbox:
                flood.inbox.pop()
            flood._read_once()
        raise AssertionError("nobody stopped the flood")
    assert node.metrics.refused["SLOW_DOWN"]


def test_a_dead_ticket_connection_is_reported_by_its_code(node: Node, people: Callable[[], Person]) -> None:
    person = people()
    person.token = person.token[:-1] + bytes((person.token[-1] ^ 1,))
    with pytest.raises(ReportedError, match="TOKEN_INVALID"):
        RawTerminal(node, person)
