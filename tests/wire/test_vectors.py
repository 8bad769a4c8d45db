"""The committed worked examples: the generator still writes them, and the library reads them whole, byte by byte and with more behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from myim_wire import hpke
from myim_wire.bodies import decode_numbered_settling, decode_pairs, split_group_content, split_trailer
from myim_wire.connection import Connection
from myim_wire.contents import Credentials, Grant
from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.flights import unpad
from myim_wire.frames import FrameDecoder
from myim_wire.group_contents import (
    GroupFetched,
    GroupPage,
    GroupState,
    MemberPage,
    PendingPage,
    decode_group_fetch,
    decode_group_push,
    encode_group_fetch,
)  # fmt: skip
from myim_wire.group_requests import OPS, decode_group_request
from myim_wire.key_schedule import KeyPair
from myim_wire.login_flights import CredentialsReceived, Granted, Refused, ServersAsked, ServersListed
from myim_wire.messages import PING_ASK, REPLY, Command, Message, decode_messages, encode_group_delivery, encode_message
from myim_wire.records import OpeningKey
from myim_wire.tokens import Ticket, TicketKey, key_id_of, open_ticket, seal_ticket
from tests.wire.fixed import SERVERS, LoginRun, fixed, new_center_client, new_connections
from tests.wire.make_account_vectors import DELETION, PASSWORD_CHANGE
from tests.wire.make_vectors import ORIGIN, make

VECTORS = Path(__file__).parent / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text())


def unhex(vector: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(vector[name])


def test_the_committed_vectors_are_what_the_generator_writes() -> None:
    written = make()
    assert {path.name for path in VECTORS.iterdir()} == set(written)
    for name, text in written.items():
        assert (VECTORS / name).read_text() == text, name


def whole(decoder: FrameDecoder, data: bytes) -> list[bytes]:
    return decoder.feed(data)


def byte_by_byte(decoder: FrameDecoder, data: bytes) -> list[bytes]:
    return [content for index in range(len(data)) for content in decoder.feed(data[index : index + 1])]


@pytest.mark.parametrize("feed", [whole, byte_by_byte])
@pytest.mark.parametrize("case", load("frames")["cases"], ids=lambda case: case["name"])
def test_frames_of_the_page_are_cut_as_it_says(case: dict[str, Any], feed: Callable[[FrameDecoder, bytes], list[bytes]]) -> None:
    decoder = FrameDecoder(case["cap"])
    if case["error"] is None:
        assert [content.hex() for content in feed(decoder, unhex(case, "bytes"))] == case["contents"]
        return
    with pytest.raises(RemoteProtocolError) as caught:
        feed(decoder, unhex(case, "bytes"))
    assert caught.value.code == case["error"]


@pytest.mark.parametrize("case", load("varints")["cases"], ids=lambda case: str(case["total"]))
def test_lengths_of_the_page_are_written_and_read(case: dict[str, Any]) -> None:
    content = bytes(case["bytes_after"] - 26)
    encoded = encode_message(0x14, 0, 0, 0, 0, content)
    assert encoded.startswith(unhex(case, "length")) and len(encoded) == case["total"]
    assert decode_messages(encoded) == [Message(0x14, 0, 0, 0, 0, content)]


@pytest.mark.parametrize("start", load("varints")["bad"])
def test_bad_lengths_of_the_page_are_bad_frames_however_they_go_on(start: str) -> None:
    for zeros in (0, 1, 26, 200, 20000, 65000):
        with pytest.raises(RemoteProtocolError) as caught:
            decode_messages(bytes.fromhex(start) + bytes(zeros))
        assert caught.value.code == ErrorCode.BAD_FRAME


@pytest.mark.parametrize("case", load("messages")["cases"], ids=lambda case: case["name"])
def test_messages_of_the_page_are_read_and_written_alone_and_with_more_behind(case: dict[str, Any]) -> None:
    data = unhex(case, "bytes")
    address = (int(case["address"][0]), int(case["address"][1])) if case["address"] else None
    message = Message(
        case["command"], case["flags"], int(case["user"]), int(case["target"]), int(case["time"]), unhex(case, "content"), address
    )
    assert decode_messages(data) == [message]
    assert encode_message(*message) == data
    if case["command"] != 0x12:
        assert decode_messages(data + PING_ASK + data)[::2] == [message, message]
    if message.command == Command.USER_MESSAGE and "body" in case:
        assert split_trailer(message.content) == (unhex(case, "body"), *ORIGIN)


@pytest.mark.parametrize("case", [case for case in load("messages")["cases"] if "number" in case], ids=lambda case: case["name"])
def test_group_messages_of_the_page_are_read_and_written(case: dict[str, Any]) -> None:
    number, accepted, body = int(case["number"]), int(case["accepted"]), unhex(case, "body")
    assert split_group_content(unhex(case, "content")) == (number, accepted, body, *ORIGIN)
    names = int(case["user"]), int(case["target"]), int(case["time"])
    assert encode_group_delivery(case["flags"], *names, number, accepted, body, ORIGIN) == unhex(case, "bytes")


def structure(case: dict[str, Any]) -> bytes:
    """What a case says about groups, read and written again."""
    content, name = unhex(case, "content"), case["name"]
    if case["command"] == Command.OFFLINE_FETCH:
        is_asked = case["from"] == "terminal"
        return encode_group_fetch(decode_group_fetch(content)) if is_asked else GroupFetched.decode(content).encode()
    if case["from"] == "terminal":
        return decode_group_request(content).encode()
    if not case["flags"] & REPLY:
        return decode_group_push(content).encode()
    if "members" in name:
        return MemberPage.decode(content).encode()
    if "pending" in name:
        return PendingPage.decode(content).encode()
    return (GroupPage.decode(content) if "list" in name else GroupState.decode(content)).encode()


GROUP_CASES = [
    case for case in load("messages")["cases"]
    if case["command"] == Command.GROUP or (case["command"] == Command.OFFLINE_FETCH and case["target"] != "0")
]  # fmt: skip


@pytest.mark.parametrize("case", GROUP_CASES, ids=lambda case: case["name"])
def test_structures_about_groups_of_the_page_are_read_and_written(case: dict[str, Any]) -> None:
    assert structure(case) == unhex(case, "content")


def test_the_page_has_an_example_of_every_request_about_groups() -> None:
    asked = [case for case in GROUP_CASES if case["command"] == Command.GROUP and case["from"] == "terminal"]
    assert {decode_group_request(unhex(case, "content")).op for case in asked} == set(OPS)


def test_receipts_and_settlings_about_groups_of_the_page_are_read() -> None:
    cases = {case["name"]: unhex(case, "content") for case in load("messages")["cases"]}
    assert decode_pairs(cases["a receipt for groups"]) == (2, [(1000, 17)])
    kind, pairs = decode_pairs(cases["what went past its expiry"])
    assert kind == 4 and [target for target, _ in pairs] == [42, 43]
    assert decode_numbered_settling(cases["its settling: stored under a number"]) == (2, 17)


@pytest.mark.parametrize("case", load("messages")["bad"], ids=lambda case: case["name"])
def test_bad_messages_of_the_page_are_refused_with_its_code(case: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_messages(unhex(case, "bytes"))
    assert caught.value.code == case["error"]


def test_records_of_the_page_open_in_their_order() -> None:
    vector = load("records")
    opening = OpeningKey(unhex(vector, "key"), unhex(vector, "iv"))
    for case in vector["cases"]:
        assert opening.records == case["sequence"]
        assert opening.open(unhex(case, "frame")[4:]) == unhex(case, "plaintext")


def test_the_token_of_the_page_opens_and_is_sealed_again() -> None:
    vector = load("token")
    key = TicketKey(vector["key_id"], unhex(vector, "key"))
    token = unhex(vector, "token")
    assert len(token) == 138 and key_id_of(token) == key.key_id
    ticket = open_ticket(token, key)
    times = [int(vector[name]) for name in ("authenticated", "issued", "expires")]
    keys = unhex(vector, "terminal_public"), unhex(vector, "session_key")
    assert ticket == Ticket(int(vector["user"]), vector["slot"], *keys, vector["user_generation"], vector["terminal_generation"], *times)
    assert seal_ticket(ticket, key, unhex(vector, "nonce")) == token


def test_a_login_with_the_keys_of_the_page_gives_its_frames() -> None:
    vector, run = load("login"), LoginRun()
    assert [frame.hex() for frame in run.decided().frames] == [vector[f"frame{number}"] for number in range(1, 7)]
    assert run.client.receive(run.frames[5][4:]) == [Granted(Grant.decode(unhex(vector, "grant")))]
    assert LoginRun().decided(None).frames[5].hex() == vector["refusal_frame"]


def test_each_end_of_the_login_reads_the_frames_of_the_page() -> None:
    vector = load("login")
    client, server = LoginRun().client, LoginRun().server
    client.hello()
    client.receive(unhex(vector, "frame2")[4:])
    client.present_terminal()
    client.receive(unhex(vector, "frame4")[4:])
    client.credentials("login", "somebody else", "whose flight was lost")
    for number in (1, 3):
        assert server.receive(unhex(vector, f"frame{number}")[4:]).frames == [unhex(vector, f"frame{number + 1}")]
    (event,) = server.receive(unhex(vector, "frame5")[4:]).events
    assert isinstance(event, CredentialsReceived) and event.terminal_public_key == unhex(vector, "terminal_public")
    given = Credentials(event.op, event.name, event.password, event.terminal)
    assert given == Credentials.decode(unhex(vector, "credentials"))


def test_other_credentials_of_the_page_and_the_grant_of_a_deletion_are_read() -> None:
    vector = load("login")
    assert Credentials.decode(unhex(vector, "password_change")) == PASSWORD_CHANGE
    assert Credentials.decode(unhex(vector, "deletion")) == DELETION
    deleted = Grant.decode(unhex(vector, "deleted"))
    assert (deleted.user, deleted.token, deleted.servers) == (0, b"", ())


def test_the_refusal_and_the_server_list_of_the_page_are_read() -> None:
    vector = load("login")
    refused = LoginRun().certified()
    refused.client.credentials("login", "ann", "correct horse", "Ann's laptop")
    assert refused.client.receive(unhex(vector, "refusal_frame")[4:]) == [Refused(ErrorCode.LOGIN_FAILED, 1000)]
    asking = LoginRun().hellos()
    assert asking.client.ask_servers() == unhex(vector, "servers_ask_frame")
    assert asking.server.receive(unhex(vector, "servers_ask_frame")[4:]).events == [ServersAsked()]
    assert asking.client.receive(unhex(vector, "servers_answer_frame")[4:]) == [ServersListed(SERVERS)]


@pytest.mark.parametrize("case", load("hpke")["cases"], ids=lambda case: case["name"])
def test_sealed_structures_of_the_page_open(case: dict[str, Any]) -> None:
    plaintext = hpke.unseal(unhex(case, "receiver_private"), unhex(case, "info"), unhex(case, "sealed"))
    assert plaintext == unhex(case, "plaintext") and unpad(plaintext) == unhex(case, "structure")
    sealed = hpke.seal(unhex(case, "receiver_public"), unhex(case, "info"), plaintext)
    assert hpke.unseal(unhex(case, "receiver_private"), unhex(case, "info"), sealed) == plaintext


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_the_center_connection_of_the_page_is_made_in_pieces_of_any_size(step: int) -> None:
    vector = load("center")

    def feed(connection: Connection, data: bytes) -> list[Message]:
        return [message for at in range(0, len(data), step) for message in connection.receive_data(data[at : at + step])]

    client = new_center_client(vector["connection_number"])
    terminal, center = Connection.for_terminal(client), Connection.for_center()
    assert client.connect() == unhex(vector, "frame1")
    assert feed(center, unhex(vector, "frame1")) == []
    assert center.connect is not None and center.connect.token == unhex(vector, "token")
    public = KeyPair(unhex(vector, "terminal_private")).public
    frame2 = center.accept(unhex(vector, "session_key"), public, unhex(vector, "center_nonce"), unhex(vector, "center_ephemeral_private"))
    assert frame2 == unhex(vector, "frame2")
    assert feed(terminal, frame2) == []
    ping = Message(1, 1, 0, 0, 0, b"")
    assert feed(center, unhex(vector, "first_t2c_frame")) == [ping]
    assert feed(terminal, unhex(vector, "first_c2t_frame")) == [ping]


def test_the_rekeys_of_the_page_end_in_its_keys() -> None:
    vector = load("rekey")
    terminal, center = new_connections()
    center.receive_data(terminal.seal(PING_ASK))
    for number, case in enumerate(vector["rekeys"], 1):
        center.receive_data(terminal.start_rekey(fixed(f"rekey {number} terminal")))
        terminal.receive_data(center.answer_rekey(unhex(case, "center_ephemeral_private")))
        first = center.seal(PING_ASK)
        assert first == unhex(case, "first_c2t_frame")
        assert terminal.receive_data(first) == [Message(1, 1, 0, 0, 0, b"")]
        center.receive_data(terminal.finish_rekey())
        opening = OpeningKey(unhex(case, "t2c_key"), unhex(case, "t2c_iv"))
        sealed = terminal.seal(PING_ASK)
        assert opening.open(sealed[4:]) == PING_ASK
        center.receive_data(sealed)
