"""Messages [P-3] and the table of commands [P-7]; rows 14, 60, 62, 65 of reliability §4 as far as the wire decides them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.bodies import split_group_content
from myim_wire.errors import ErrorCode, LocalProtocolError, ProtocolError, RemoteProtocolError
from myim_wire.messages import (
    ADDRESS,
    ERROR,
    FIRST,
    LAYOUTS,
    LEGAL_FROM_CENTER,
    LEGAL_FROM_TERMINAL,
    MAX_BODY_BYTES,
    PING_ANSWER,
    PING_ASK,
    QOS1,
    REPLY,
    SLOTS,
    Command,
    FlagTable,
    Message,
    Shape,
    Side,
    check_content,
    content_shape,
    decode_messages,
    encode_delivery,
    encode_group_delivery,
    encode_message,
    encode_trailer,
    name_time,
    slot_of,
)  # fmt: skip

U64 = st.integers(0, 2**64 - 1)
HEAD = bytes(24)


def code_of(plaintext: bytes, legal: FlagTable = LEGAL_FROM_TERMINAL) -> ErrorCode | None:
    try:
        decode_messages(plaintext, legal)
    except RemoteProtocolError as error:
        return error.code
    return None


def test_the_table_has_every_command() -> None:
    assert set(LAYOUTS) == set(Command)


def test_a_ping_is_three_bytes_and_any_number_of_them_is_a_record() -> None:
    assert encode_message(Command.PING, QOS1, 0, 0, 0) == PING_ASK and encode_message(Command.PING, 0, 0, 0, 0) == PING_ANSWER
    assert decode_messages(PING_ASK + PING_ANSWER) == [Message(1, 1, 0, 0, 0, b""), Message(1, 0, 0, 0, 0, b"")]


@pytest.mark.parametrize("arguments", [(QOS1, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (REPLY, 0, 0, 0), (FIRST, 0, 0, 0), (ADDRESS, 0, 0, 0)])
def test_a_ping_that_carries_anything_is_not_written(arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(LocalProtocolError):
        encode_message(Command.PING, *arguments)


@pytest.mark.parametrize("total", range(27))
def test_no_message_but_a_ping_is_shorter_than_27_bytes(total: int) -> None:
    assert code_of(bytes([total, 2, 1]) + bytes(30)) == ErrorCode.BAD_FRAME


@pytest.mark.parametrize("end", range(1, 200))
def test_a_message_cut_off_anywhere_is_a_bad_frame(end: int) -> None:
    assert code_of(encode_message(2, 1, 7, 8, 9, bytes(174))[:end]) == ErrorCode.BAD_FRAME


@pytest.mark.parametrize("flags", range(256))
def test_flags_that_the_page_forbids_are_bad_frames_from_each_side(flags: int) -> None:
    for command in range(2, 256):
        is_bad = bool(flags & 0x0E) or (flags & ERROR and not flags & REPLY and command != Command.GOODBYE)
        for legal, is_terminal in ((LEGAL_FROM_TERMINAL, True), (LEGAL_FROM_CENTER, False)):
            may_be_first = is_terminal and command in (Command.USER_MESSAGE, Command.GROUP_MESSAGE) and not flags & REPLY
            is_refused = is_bad or (flags & FIRST and not may_be_first) or (command == Command.REKEY and flags & ~REPLY)
            if command not in (Command.OFFLINE_FETCH, Command.TOKEN, *range(0x0B, 0x11), Command.LOOKUP):
                code = code_of(bytes([43, command, flags]) + HEAD + bytes(16), legal)
                assert (code == ErrorCode.BAD_FRAME) == bool(is_refused), (command, flags, is_terminal)


@pytest.mark.parametrize("command", [c for c in Command if LAYOUTS[c].from_center is None])
def test_what_a_center_never_sends_unasked_ends_the_connection(command: Command) -> None:
    assert code_of(encode_message(command, 0, 0, 0, 0), LEGAL_FROM_CENTER) == ErrorCode.BAD_COMMAND
    assert code_of(encode_message(command, REPLY, 0, 0, 0), LEGAL_FROM_CENTER) is None
    assert code_of(encode_message(command, 0, 0, 0, 0), LEGAL_FROM_TERMINAL) is None


@pytest.mark.parametrize("command", sorted(set(range(256)) - set(Command)))
def test_an_unknown_command_decodes_so_that_it_can_be_answered(command: int) -> None:
    (message,) = decode_messages(encode_message(command, QOS1, 1, 2, 3, b"content"), LEGAL_FROM_TERMINAL)
    assert message == Message(command, QOS1, 1, 2, 3, b"content")
    with pytest.raises(RemoteProtocolError) as caught:
        check_content(message, Side.TERMINAL)
    assert caught.value.code == ErrorCode.UNKNOWN_COMMAND


def test_a_rekey_is_the_last_of_its_record_and_names_nothing() -> None:
    rekey = encode_message(Command.REKEY, 0, 0, 0, 0, bytes(32))
    assert code_of(PING_ASK + rekey) is None
    assert code_of(rekey + PING_ASK) == ErrorCode.BAD_COMMAND
    for at in range(3):
        names = (int(at == 0), int(at == 1), int(at == 2))
        assert code_of(encode_message(Command.REKEY, 0, *names)) == ErrorCode.BAD_COMMAND


@pytest.mark.parametrize("size", [*range(95, 106), *range(16350, 16362), MAX_BODY_BYTES, MAX_BODY_BYTES + 24, 65491])
@pytest.mark.parametrize("address", [None, (2**64 - 1, 3)])
def test_lengths_around_every_boundary_are_minimal_and_read_back(size: int, address: tuple[int, int] | None) -> None:
    if address and size == 65491:
        size -= 16
    message = Message(2, QOS1 | (ADDRESS if address else 0), 1, 2, 3, bytes(size), address)
    encoded = encode_message(*message)
    rest = 26 + size + (16 if address else 0)
    width = 1 if rest + 1 <= 127 else 2 if rest + 2 <= 16383 else 3
    assert len(encoded) == rest + width
    assert decode_messages(encoded) == [message]


@pytest.mark.parametrize(("total", "width"), [(total, 2) for total in (27, 127, 128)] + [(total, 3) for total in (27, 128, 16383, 16384)])
def test_a_length_that_is_not_the_smallest_is_a_bad_frame_even_if_all_else_fits(total: int, width: int) -> None:
    length = bytes([total & 127 | 128, total >> 7] if width == 2 else [total & 127 | 128, total >> 7 & 127 | 128, total >> 14])
    assert code_of(length + b"\x02\x01" + bytes(total - width - 2)) == ErrorCode.BAD_FRAME


def test_a_content_that_no_record_holds_is_not_written() -> None:
    with pytest.raises(LocalProtocolError):
        encode_message(2, 1, 1, 2, 3, bytes(65492))


@pytest.mark.parametrize("arguments", [
    (256, 0, 0, 0, 0), (-1, 0, 0, 0, 0), (2, 256, 0, 0, 0), (2, 0, -1, 0, 0),
    (2, 0, 0, 2**64, 0), (2, 0, 0, 0, 2**64), (2, 2, 0, 0, 0), (2, 4, 0, 0, 0), (2, ERROR, 0, 0, 0),
    (2, ADDRESS, 0, 0, 0), (0x14, FIRST, 0, 0, 0), (0x12, QOS1, 0, 0, 0),
])  # fmt: skip
def test_what_the_page_forbids_is_not_written(arguments: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(LocalProtocolError):
        encode_message(*arguments)


@pytest.mark.parametrize("address", [(-1, 0), (0, 2**64)])
def test_an_address_that_does_not_fit_is_not_written(address: tuple[int, int]) -> None:
    with pytest.raises(LocalProtocolError):
        encode_message(2, 0, 0, 0, 0, b"", address)


@given(st.lists(st.builds(
    Message, st.sampled_from([2, 3, 7, 8, 17, 99]), st.sampled_from([0, 1, REPLY, REPLY | ERROR, QOS1 | REPLY]), U64, U64, U64,
    st.binary(max_size=300), st.none(),
)), st.none() | st.tuples(U64, U64))  # fmt: skip
def test_what_is_written_is_read(messages: list[Message], address: tuple[int, int] | None) -> None:
    if address:
        messages = [message._replace(flags=message.flags | ADDRESS, address=address) for message in messages]
    assert decode_messages(b"".join(encode_message(*message) for message in messages)) == messages


@given(st.integers(0, 1), st.binary(max_size=200) | st.binary(min_size=16_300, max_size=16_400), st.lists(U64, min_size=6, max_size=6))
def test_a_delivery_is_the_same_bytes_as_the_message_with_its_trailer(qos: int, body: bytes, numbers: list[int]) -> None:
    user, target, time, *trailer = numbers
    entered, message_id, left = trailer
    delivery = encode_delivery(qos, user, target, time, body, (entered, message_id, left))
    assert delivery == encode_message(Command.USER_MESSAGE, qos, user, target, time, body + encode_trailer(entered, message_id, left))


@given(st.integers(0, 1), st.binary(max_size=200) | st.binary(min_size=16_280, max_size=16_400), st.lists(U64, min_size=8, max_size=8))
def test_a_delivery_to_a_group_is_a_message_with_head_body_and_trailer(qos: int, body: bytes, numbers: list[int]) -> None:
    user, group, time, number, accepted, entered, message_id, left = numbers
    delivery = encode_group_delivery(qos, user, group, time, number, accepted, body, (entered, message_id, left))
    (message,) = decode_messages(delivery, LEGAL_FROM_CENTER)
    assert message[:5] == (Command.GROUP_MESSAGE, qos, user, group, time) and encode_message(*message) == delivery
    check_content(message, Side.CENTER)
    assert split_group_content(message.content) == (number, accepted, body, entered, message_id, left)


@pytest.mark.parametrize("arguments", [
    (2, 1, 1, 1, 1, 1), (0, -1, 1, 1, 1, 1), (0, 1, 2**64, 1, 1, 1), (0, 1, 1, 1, -1, 1), (0, 1, 1, 1, 1, 2**64),
])  # fmt: skip
@pytest.mark.parametrize("size", [0, 100, 32_768])
def test_a_delivery_to_a_group_that_does_not_fit_is_not_written(arguments: tuple[int, int, int, int, int, int], size: int) -> None:
    with pytest.raises(LocalProtocolError):
        encode_group_delivery(*arguments, bytes(size), (1, 2, 3))


@given(st.binary(max_size=200) | st.lists(st.sampled_from([b"\x03\x01\x01", b"\x1b\x02\x01" + HEAD, b"\x80", b"\xff\x7f"])).map(b"".join))
def test_any_bytes_give_messages_that_are_written_the_same_or_a_protocol_error(plaintext: bytes) -> None:
    for legal in (LEGAL_FROM_TERMINAL, LEGAL_FROM_CENTER):
        try:
            messages = decode_messages(plaintext, legal)
        except ProtocolError as error:
            assert error.code in (ErrorCode.BAD_FRAME, ErrorCode.BAD_COMMAND)
        else:
            assert b"".join(encode_message(*message) for message in messages) == plaintext


SIZES = [0, 1, 4, 9, 16, 17, 24, 25, 32, 33, MAX_BODY_BYTES, MAX_BODY_BYTES + 1, MAX_BODY_BYTES + 24, MAX_BODY_BYTES + 25]


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("command", Command)
def test_contents_have_the_size_of_their_shape_or_are_refused(command: Command, side: Side) -> None:
    for flags in (0, REPLY, REPLY | ERROR):
        for size in SIZES:
            message = Message(command, flags, 1, 2, 3, bytes(size))
            shape = content_shape(message, side)
            try:
                check_content(message, side)
            except RemoteProtocolError as error:
                if shape is Shape.BODY:
                    assert error.code == ErrorCode.TOO_LARGE and size > MAX_BODY_BYTES
                elif shape is not None:
                    wrong = "kind" if shape is Shape.PAIRS and shape.value[0] <= size <= shape.value[1] else "content"
                    assert (error.code, error.field) == (ErrorCode.BAD_COMMAND, wrong)
            else:
                assert shape is not None and shape.value[0] <= size <= shape.value[1]


@pytest.mark.parametrize(("command", "flags", "side", "size", "is_right"), [
    (Command.OFFLINE_FETCH, QOS1, Side.TERMINAL, 0, True), (Command.OFFLINE_FETCH, QOS1, Side.TERMINAL, 1, False),
    (Command.OFFLINE_FETCH, REPLY, Side.CENTER, 4, True), (Command.OFFLINE_FETCH, REPLY, Side.CENTER, 3, False),
    (Command.USER_MESSAGE, QOS1, Side.TERMINAL, MAX_BODY_BYTES, True), (Command.USER_MESSAGE, QOS1, Side.CENTER, 23, False),
    (Command.USER_MESSAGE, REPLY, Side.CENTER, 1, True), (Command.USER_MESSAGE, REPLY, Side.CENTER, 2, False),
    (Command.REKEY, 0, Side.TERMINAL, 32, True), (Command.REKEY, 0, Side.TERMINAL, 0, True),
    (Command.REKEY, 0, Side.TERMINAL, 31, False),
    (Command.GOODBYE, 0, Side.TERMINAL, 1, False), (Command.LOOKUP, QOS1, Side.TERMINAL, 0, False),
    (Command.TOKEN, 0, Side.TERMINAL, 1, False),
])  # fmt: skip
def test_a_content_of_the_right_size_passes_and_another_is_refused(
    command: Command, flags: int, side: Side, size: int, is_right: bool
) -> None:
    message = Message(command, flags, 1, 0, 3, bytes(size))
    if is_right:
        check_content(message, side)
    else:
        with pytest.raises(RemoteProtocolError):
            check_content(message, side)


@pytest.mark.parametrize(("kind", "side"), [(1, Side.TERMINAL), (2, Side.TERMINAL), (3, Side.CENTER), (4, Side.CENTER)])
def test_a_receipt_is_of_a_kind_that_its_side_says(kind: int, side: Side) -> None:
    message = Message(Command.RECEIPT, 0, 1, 0, 0, bytes([kind]) + bytes(16))
    check_content(message, side)
    with pytest.raises(RemoteProtocolError) as caught:
        check_content(message, Side.CENTER if side is Side.TERMINAL else Side.TERMINAL)
    assert (caught.value.code, caught.value.field) == (ErrorCode.BAD_COMMAND, "kind")


@pytest.mark.parametrize(("flags", "side"), [(QOS1, Side.TERMINAL), (REPLY, Side.CENTER)])
def test_a_fetch_that_names_a_group_is_a_structure_both_ways(flags: int, side: Side) -> None:
    of_own = Message(Command.OFFLINE_FETCH, flags, 1, 0, 3, b"")
    of_group = of_own._replace(target=1000)
    assert content_shape(of_own, side) is (Shape.EMPTY if side is Side.TERMINAL else Shape.COUNT)
    assert content_shape(of_group, side) is Shape.STRUCTURE
    assert content_shape(of_group._replace(flags=0), Side.CENTER) is None


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, SLOTS - 1))
def test_a_name_rises_keeps_its_slot_and_is_not_before_now(now: int, last: int, slot: int) -> None:
    time = name_time(now, last, slot)
    assert time > last and slot_of(time) == slot and time | 63 >= now
    assert name_time(now, time, slot) >= time + 64


@pytest.mark.parametrize("slot", [-1, 64])
def test_a_slot_that_does_not_exist_names_nothing(slot: int) -> None:
    with pytest.raises(LocalProtocolError):
        name_time(0, 0, slot)
