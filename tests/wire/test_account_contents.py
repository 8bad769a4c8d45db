"""What is asked about accounts, answered and told [P-7.17]: read as written, refused by the field that is wrong, within limits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast, get_args

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_wire.account_contents import (
    MAX_PART_BYTES,
    MAX_TERMINALS,
    OPS,
    AccountRequest,
    Acknowledge,
    Export,
    ExportPart,
    ListedLogin,
    ListedTerminal,
    ListLogins,
    ListTerminals,
    LoginPage,
    NewTerminal,
    RenameTerminal,
    RevokeTerminal,
    TerminalPage,
    decode_account_push,
    decode_account_request,
)  # fmt: skip
from myim_wire.errors import ProtocolError
from myim_wire.messages import REPLY, Command, encode_message
from myim_wire.packing import pack_map
from tests.wire import account_examples as examples
from tests.wire.structures import Path, dotted, elements, field_of, places, put, without, wrongly_typed
from tests.wire.test_vectors import load, unhex

U64, U32, SLOTS = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 63)
NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)
ADDRESS = st.text(max_size=128, alphabet="0123456789abcdef:.%")
ANY_REQUEST: st.SearchStrategy[AccountRequest] = st.one_of(
    st.builds(ListTerminals), st.builds(RenameTerminal, SLOTS, NAME), st.builds(RevokeTerminal, st.none() | SLOTS),
    st.builds(Acknowledge, SLOTS), st.builds(ListLogins, U64), st.builds(Export, U32),
)  # fmt: skip
ANY_TERMINAL = st.builds(
    ListedTerminal, SLOTS, NAME, st.text("0123456789abcdef", max_size=8), U64, U64, ADDRESS, *[st.booleans()] * 4
)
ANY_LOGIN = st.builds(ListedLogin, U64, ADDRESS, NAME, SLOTS, st.booleans(), st.booleans())
Answer = TerminalPage | LoginPage | ExportPart
ANY_ANSWER: st.SearchStrategy[Answer] = st.one_of(
    st.builds(TerminalPage, st.lists(ANY_TERMINAL, max_size=4).map(tuple)),
    st.builds(LoginPage, st.lists(ANY_LOGIN, max_size=4).map(tuple), st.booleans()),
    st.builds(ExportPart, U32, st.binary(max_size=100), st.booleans()),
)

STRUCTURES: dict[str, tuple[Callable[[bytes], Any], bytes]] = {
    **{request.op: (decode_account_request, request.encode()) for request in examples.REQUESTS},
    "terminal page": (TerminalPage.decode, examples.TERMINALS.encode()),
    "login page": (LoginPage.decode, examples.LOGINS.encode()),
    "part": (ExportPart.decode, examples.PART.encode()),
    "push": (decode_account_push, examples.NEW_TERMINAL.encode()),
}
FIELDS = [(name, path) for name, (_, content) in STRUCTURES.items() for path in places(msgpack.unpackb(content))]
ELEMENTS = [(name, path) for name, (_, content) in STRUCTURES.items() for path in elements(msgpack.unpackb(content))]
DEFAULTS: dict[tuple[str, str], Any] = {("revoke", "slot"): None, ("logins", "before"): 0}


def named(value: Any) -> str:
    return value if isinstance(value, str) else dotted(value)


def test_every_request_has_an_example_and_an_operation_of_its_own() -> None:
    assert {type(one) for one in examples.REQUESTS} == set(get_args(AccountRequest))
    assert [one.op for one in examples.REQUESTS] == list(OPS) and len(set(OPS)) == len(OPS)


@given(ANY_REQUEST)
def test_a_request_is_read_as_written(request: AccountRequest) -> None:
    assert decode_account_request(request.encode()) == request


@given(ANY_ANSWER)
def test_an_answer_is_read_as_written(answer: Answer) -> None:
    assert type(answer).decode(answer.encode()) == answer


@given(st.builds(NewTerminal, SLOTS, NAME, ADDRESS, U64))
def test_a_push_is_read_as_written(push: NewTerminal) -> None:
    assert decode_account_push(push.encode()) == push


@pytest.mark.parametrize(("name", "path"), FIELDS, ids=named)
def test_a_field_that_is_missing_is_its_default_or_is_refused_by_name(name: str, path: Path) -> None:
    decode, content = STRUCTURES[name]
    missing = without(content, path)
    if (name, dotted(path)) in DEFAULTS:
        assert getattr(decode(missing), dotted(path)) == DEFAULTS[name, dotted(path)]
    else:
        assert field_of(lambda: decode(missing)) == dotted(path)


@pytest.mark.parametrize(("name", "path"), [*FIELDS, *ELEMENTS], ids=named)
def test_a_field_that_is_null_or_of_another_type_is_refused_by_name(name: str, path: Path) -> None:
    decode, content = STRUCTURES[name]
    faults = list(wrongly_typed(content, path))
    assert len(faults) >= 7
    for fault in faults:
        assert (field_of(partial(decode, fault)) or "").startswith(dotted(path))


TERMINAL, LOGIN = examples.TERMINALS.terminals[0].to_map(), examples.LOGINS.logins[0].to_map()


@pytest.mark.parametrize(("name", "path", "most", "more"), [
    ("rename", ("slot",), 63, 64), ("rename", ("name",), "🙂" * 64, "🙂" * 65), ("revoke", ("slot",), 63, 64),
    ("acknowledge", ("slot",), 0, 64), ("export", ("part",), 2**32 - 1, 2**32), ("logins", ("before",), 2**64 - 1, -1),
    ("terminal page", ("terminals",), [TERMINAL] * 64, [TERMINAL] * 65),
    ("terminal page", ("terminals", 0, "tag"), "01234567", "012345678"),
    ("terminal page", ("terminals", 0, "name"), "n" * 64, "n" * 65), ("terminal page", ("terminals", 0, "slot"), 63, 64),
    ("terminal page", ("terminals", 1, "address"), "a" * 128, "a" * 129),
    ("login page", ("logins",), [LOGIN] * 50, [LOGIN] * 51), ("login page", ("logins", 0, "terminal"), "t" * 64, "t" * 65),
    ("part", ("data",), bytes(MAX_PART_BYTES), bytes(MAX_PART_BYTES + 1)), ("part", ("part",), 2**32 - 1, 2**32),
    ("push", ("slot",), 63, 64), ("push", ("event",), "new_terminal", "new_network"), ("push", ("name",), "n" * 64, "n" * 65),
])  # fmt: skip
def test_a_field_may_reach_its_limit_and_not_pass_it(name: str, path: Path, most: Any, more: Any) -> None:
    decode, content = STRUCTURES[name]
    decode(put(content, path, most))
    assert field_of(lambda: decode(put(content, path, more))) == dotted(path)


@pytest.mark.parametrize("name", STRUCTURES)
def test_fields_that_nobody_names_are_ignored(name: str) -> None:
    decode, content = STRUCTURES[name]
    assert decode(pack_map({**msgpack.unpackb(content), "unknown": [1, {"x": None}]})) == decode(content)


@pytest.mark.parametrize("op", ["", "TERMINALS", "delete", "sync"])
def test_an_operation_that_is_none_is_refused_as_such(op: str) -> None:
    assert field_of(lambda: decode_account_request(pack_map({"op": op}))) == "op"


@given(st.binary(max_size=100))
def test_any_bytes_are_a_structure_or_a_protocol_error(data: bytes) -> None:
    for decode, _ in STRUCTURES.values():
        try:
            decode(data)
        except ProtocolError:
            pass


def test_the_longest_answers_fit_a_record() -> None:
    wide = ListedTerminal(63, "🙂" * 64, "0" * 8, 2**64 - 1, 2**64 - 1, "f" * 128, True, True, True, True)
    login = ListedLogin(2**64 - 1, "f" * 128, "🙂" * 64, 63, True, True)
    answers = (TerminalPage((wide,) * MAX_TERMINALS), LoginPage((login,) * 50, True), ExportPart(2**32 - 1, bytes(MAX_PART_BYTES), True))
    for answer in answers:
        assert len(encode_message(Command.ACCOUNT, REPLY, 2**64 - 1, 0, 2**64 - 1, answer.encode(), (1, 2))) < 65_520


def reading(case: dict[str, Any]) -> Callable[[bytes], Any]:
    if case["from"] == "terminal":
        return decode_account_request
    if not case["flags"] & REPLY:
        return decode_account_push
    answers = {"terminals": TerminalPage.decode, "logins": LoginPage.decode, "export": ExportPart.decode}
    return cast(Callable[[bytes], Any], answers[case["name"].split()[1]])


CASES = [one for one in load("messages")["cases"] if one["command"] == Command.ACCOUNT]


@pytest.mark.parametrize("case", CASES, ids=lambda one: one["name"])
def test_structures_about_accounts_of_the_page_are_read_and_written(case: dict[str, Any]) -> None:
    content = unhex(case, "content")
    assert reading(case)(content).encode() == content
