"""Frames of channels: their bytes, their credit, and every way a peer can get them wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire import channels
from myim_wire.channels import GRANT_BYTES, WINDOW_BYTES, About, Credit, Opening, Service
from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from myim_wire.packing import pack_map

ABOUT = About("im.example", 7411, "", 0, 5, 40, True)


def code_of(message: bytes) -> ErrorCode:
    """Why the message is refused by whatever reads its kind."""
    readers = {channels.OPEN: channels.decode_open, channels.ABOUT: channels.decode_about, channels.DRAINING: channels.check_draining}
    with pytest.raises(RemoteProtocolError) as refused:
        readers.get(message[0], channels.channel_of)(message)
    return refused.value.code


def test_the_layouts_are_these_bytes() -> None:
    assert channels.encode_open(7, Service.LOGIN, "192.0.2.1") == b"\x80\x00\x00\x00\x07\x02192.0.2.1"
    assert channels.DATA_HEAD.pack(channels.DATA, 7) == b"\x81\x00\x00\x00\x07"
    assert channels.encode_end(7) == b"\x82\x00\x00\x00\x07"
    assert channels.encode_close(7) == b"\x83\x00\x00\x00\x07"
    assert channels.encode_credit(7, 32768) == b"\x84\x00\x00\x00\x07\x00\x00\x80\x00"
    assert channels.encode_about(ABOUT)[0] == 0x85
    assert channels.encode_draining() == b"\x86"


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"])
@pytest.mark.parametrize("service", list(Service))
def test_an_opening_comes_back_as_it_went(service: Service, host: str) -> None:
    assert channels.decode_open(channels.encode_open(0xFFFFFFFF, service, host)) == Opening(0xFFFFFFFF, service, host)


def test_what_an_endpoint_tells_of_itself_comes_back_as_it_went() -> None:
    assert channels.decode_about(channels.encode_about(ABOUT)) == ABOUT


@pytest.mark.parametrize(
    "message",
    [
        b"\x80", b"\x80\0\0\0\7\1", b"\x80\0\0\0\7\x03192.0.2.1", b"\x80\0\0\0\7\1localhost", b"\x80\0\0\0\7\1192.0.2.1\n",
        b"\x80\0\0\0\7\1\xff", b"\x80\0\0\0\7\1fe80::1%" + b"e" * 60,
        b"\x81", b"\x81\0\0\0\7", b"\x82\0\0\0", b"\x82\0\0\0\7\0", b"\x83\0\0\0\7\0", b"\x84\0\0\0\7\0\0\0", b"\x84\0\0\0\7\0\0\0\1\0",
        b"\x86\0", b"\x87\0\0\0\7", b"\x8f",
    ],
)  # fmt: skip
def test_a_frame_of_another_form_is_refused(message: bytes) -> None:
    assert code_of(message) == ErrorCode.BAD_FRAME


@pytest.mark.parametrize("field", [{"port": 65536}, {"host": 5}, {"load": -1}, {"is_draining": 1}, {"host": "h" * 256}])
def test_what_an_endpoint_cannot_mean_is_refused(field: dict[str, object]) -> None:
    assert code_of(b"\x85" + pack_map({**ABOUT._asdict(), **field})) == ErrorCode.BAD_COMMAND


@given(st.binary(max_size=40))
def test_nothing_but_a_protocol_error_comes_of_any_bytes(data: bytes) -> None:
    for reader in (channels.decode_open, channels.decode_about, channels.channel_of):
        for kind in channels.KINDS:
            try:
                reader(bytes([kind]) + data)
            except RemoteProtocolError:
                pass


def test_an_id_that_no_channel_has_is_not_opened() -> None:
    for channel in (0, 1 << 32):
        with pytest.raises(LocalProtocolError):
            channels.encode_open(channel, Service.CENTER, "192.0.2.1")


def test_credit_of_nothing_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        channels.credit_of(channels.encode_credit(7, 0))


def test_bytes_beyond_the_credit_are_refused() -> None:
    credit = Credit()
    credit.take(WINDOW_BYTES)
    with pytest.raises(RemoteProtocolError):
        credit.take(1)


def test_credit_for_what_was_never_sent_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        Credit().gain(1)


@given(st.lists(st.integers(1, WINDOW_BYTES), max_size=50))
def test_two_that_keep_to_the_credit_never_meet_a_refusal_nor_run_dry(sizes: list[int]) -> None:
    sender, receiver = Credit(), Credit()
    for size in sizes:
        size = min(size, sender.may_send)
        sender.may_send -= size
        receiver.take(size)
        grant = receiver.use(size)
        if grant:
            sender.gain(grant)
        assert sender.may_send == receiver.may_receive > WINDOW_BYTES - GRANT_BYTES
