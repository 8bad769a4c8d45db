"""A user's own terminals at a real node: who is warned of a new one, what is listed, what a revocation and a new password end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from myim_server.node import Node
from myim_wire.account_contents import Acknowledge, ListTerminals, RenameTerminal, RevokeTerminal
from myim_wire.errors import ErrorCode, ReportedError
from myim_wire.login_flights import Granted, Refused
from myim_wire.messages import QOS1, Command, encode_message
from tests.server.account_terminals import PASSWORD, Device, Owner, here
from tests.server.running import Person, make_person, online, start_node, wait_until

NEW_PASSWORD = "another horse entirely"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    started = start_node(tmp_path, tokens={"poll_seconds": 5})
    yield started
    started.stop()


@pytest.fixture
def laptop(node: Node) -> Device:
    return Device(node, "laptop")


@pytest.fixture
def phone(node: Node) -> Device:
    return Device(node, "phone")


@pytest.fixture
def first(node: Node, laptop: Device) -> Owner:
    """The terminal that registered ann, online."""
    return here(node, laptop.person("register", "ann"))


# ------------------------------------------------------------------ warnings


def test_a_second_terminal_that_logs_in_is_told_to_the_first_at_once_and_not_to_itself(node: Node, first: Owner, phone: Device) -> None:
    person = phone.person("login", "ann")
    warning = first.warning()
    assert (warning.slot, warning.name, warning.address) == (person.slot, "phone", "127.0.0.1")
    assert warning.time == first.terminals().terminals[1].first_seen > 0
    second = here(node, person)
    assert second.has_no_warning(node)
    assert first.has_no_warning(node)


def test_a_terminal_that_logs_in_again_is_no_news(node: Node, first: Owner, laptop: Device, phone: Device) -> None:
    phone.grant("login", "ann")
    first.warning()
    phone.grant("login", "ann")
    phone.grant("login", "ann")
    assert first.terminals(Acknowledge(1)).terminals[1].is_new is False
    phone.grant("login", "ann")
    online(node, make_person(node, "bystander")).close()
    assert first.has_no_warning(node)


def test_a_warning_comes_at_every_session_until_it_is_acknowledged(node: Node, laptop: Device, phone: Device) -> None:
    person = laptop.person("register", "ann")
    phone.grant("login", "ann")
    for number in (1, 2):
        terminal = here(node, person, number)
        assert terminal.warning().name == "phone"
        terminal.close()
    terminal = here(node, person, 3)
    terminal.warning()
    terminal.terminals(Acknowledge(1))
    terminal.close()
    assert here(node, person, 4).has_no_warning(node)


def test_a_new_terminal_cannot_silence_its_own_warning_nor_that_of_an_older_one(
    node: Node, first: Owner, phone: Device
) -> None:
    second = here(node, phone.person("login", "ann"))
    third = here(node, Device(node, "tablet").person("login", "ann"))
    assert second.refusal(Acknowledge(1)) is ErrorCode.NOT_ALLOWED
    assert third.refusal(Acknowledge(1)) is ErrorCode.NOT_ALLOWED
    assert third.refusal(Acknowledge(2)) is ErrorCode.NOT_ALLOWED
    assert third.warning().name == "phone"
    assert second.terminals(Acknowledge(2)).terminals[2].is_new is False  # it was there before
    assert third.terminals(Acknowledge(1)).terminals[1].is_new is False  # and is known now
    assert third.refusal(Acknowledge(5)) is ErrorCode.NOT_ALLOWED


def test_a_warning_that_the_store_did_not_let_us_give_is_given_by_the_sweep(node: Node, first: Owner, phone: Device) -> None:
    assert node._role is not None
    warnings = node._role.accounts.warnings
    phone.grant("login", "ann")
    first.warning()
    party = next(iter(node._role.router.parties.values()))
    warnings.end(party)  # as if it had not been warned
    warnings._untold[party] = None
    warnings.sweep()
    assert first.warning().name == "phone"


# ------------------------------------------------------------------ lists


def test_terminals_are_listed_with_what_is_known_of_them(node: Node, first: Owner, laptop: Device, phone: Device) -> None:
    phone.grant("login", "ann")
    mine, other = first.terminals().terminals
    assert (mine.slot, mine.name, mine.address, mine.is_online, mine.is_this, mine.is_new) == (0, "laptop", "127.0.0.1", True, True, False)
    assert (other.slot, other.name, other.is_online, other.is_this, other.is_new) == (1, "phone", False, False, True)
    assert mine.tag == laptop.login.fingerprint.hex()[:8]
    assert 0 < mine.first_seen <= mine.last_seen <= other.first_seen


def test_a_terminal_is_called_as_its_owner_wishes_even_after_it_logs_in_again(node: Node, first: Owner, phone: Device) -> None:
    phone.grant("login", "ann")
    assert first.terminals(RenameTerminal(1, "  the old phone ")).terminals[1].name == "the old phone"
    phone.grant("login", "ann")
    assert first.terminals().terminals[1].name == "the old phone"
    assert first.logins().logins[0].terminal == "the old phone"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (RenameTerminal(9, "x"), ErrorCode.NOT_ALLOWED),
        (RenameTerminal(0, " "), ErrorCode.NAME_INVALID),
        (RenameTerminal(0, "a\nb"), ErrorCode.NAME_INVALID),
        (RenameTerminal(0, "a\u202eb"), ErrorCode.BAD_COMMAND),
        (RevokeTerminal(9), ErrorCode.NOT_ALLOWED),
        (Acknowledge(9), ErrorCode.NOT_ALLOWED),
    ],
)
def test_what_cannot_be_done_to_a_terminal_is_refused(first: Owner, request_: RenameTerminal, code: ErrorCode) -> None:
    assert first.refusal(request_) is code


def test_nobody_is_told_of_or_changes_the_terminals_of_others(node: Node, first: Owner) -> None:
    stranger = here(node, Device(node, "eves").person("register", "eve"))
    assert [one.name for one in stranger.terminals().terminals] == ["eves"]
    assert stranger.refusal(RevokeTerminal(1)) is ErrorCode.NOT_ALLOWED
    stranger.terminals(RevokeTerminal())
    assert [one.name for one in first.terminals().terminals] == ["laptop"]


def test_logins_are_listed_the_latest_first_in_pages(node: Node, first: Owner, laptop: Device, phone: Device) -> None:
    phone.grant("login", "ann")
    page = first.logins()
    assert [(one.terminal, one.slot, one.is_new_terminal, one.is_new_network) for one in page.logins] == [
        ("phone", 1, True, False), ("laptop", 0, True, True),
    ]  # fmt: skip
    assert not page.is_more
    store = node.store
    assert store is not None
    for number in range(60):
        store.terminals.admit(first.person.user, bytes(31) + b"x", bytes(32), "again", "192.0.2.1", "192.0.2.0/24", number + 1)
    page = first.logins()
    assert len(page.logins) == 50 and page.is_more
    rest = first.logins(page.logins[-1].time)
    assert len(rest.logins) == 12 and not rest.is_more
    times = [one.time for one in (*page.logins, *rest.logins)]
    assert times == sorted(set(times), reverse=True)


# ------------------------------------------------------------------ revocation


def test_a_revoked_terminal_is_cut_off_at_once_and_its_token_is_worth_nothing(node: Node, first: Owner, phone: Device) -> None:
    person = phone.person("login", "ann")
    second = here(node, person)
    assert first.warning().slot == 1
    page = first.terminals(RevokeTerminal(1))
    assert (page.terminals[1].is_online, page.terminals[1].is_revoked, page.terminals[1].is_new) == (False, True, False)
    assert second.is_cut_off() is ErrorCode.TOKEN_REVOKED
    with pytest.raises(ReportedError) as refused:
        here(node, person, 2)
    assert refused.value.code is ErrorCode.TOKEN_REVOKED
    assert phone.person("login", "ann").slot == 2  # nobody vouched for it, so it is a stranger still
    assert first.warning().slot == 2
    first.terminals(Acknowledge(2))
    first.terminals(RevokeTerminal(2))
    here(node, phone.person("login", "ann"))
    assert first.terminals().terminals[2].is_revoked is False


def test_a_new_terminal_that_logs_itself_out_and_in_again_is_warned_of_all_the_same(node: Node, laptop: Device, phone: Device) -> None:
    person = laptop.person("register", "ann")
    second = here(node, phone.person("login", "ann"))
    second.say(encode_message(Command.ACCOUNT, QOS1, second.person.user, 0, second.name(), RevokeTerminal(1).encode()))
    assert second.is_cut_off() is ErrorCode.TOKEN_REVOKED  # perhaps before it is answered
    phone.grant("login", "ann")
    assert here(node, person).warning().name == "phone"


def test_all_others_are_revoked_at_once_and_the_asker_goes_on(node: Node, first: Owner, phone: Device) -> None:
    others = [here(node, device.person("login", "ann")) for device in (phone, Device(node, "tablet"), Device(node, "tv"))]
    page = first.terminals(RevokeTerminal())
    assert [one.is_revoked for one in page.terminals] == [False, True, True, True]
    for other in others:
        assert other.is_cut_off() is ErrorCode.TOKEN_REVOKED
    assert first.terminals().terminals[0].is_online


# ------------------------------------------------------------------ passwords


def test_a_changed_password_ends_all_tokens_but_the_one_it_gives(node: Node, first: Owner, laptop: Device, phone: Device) -> None:
    second = here(node, phone.person("login", "ann"))
    person = laptop.person("password", "ann", PASSWORD, NEW_PASSWORD)
    for terminal in (first, second):
        assert terminal.is_cut_off() is ErrorCode.TOKEN_REVOKED
    with pytest.raises(ReportedError):
        here(node, second.person, 2)
    again = here(node, person)
    assert [one.is_revoked for one in again.terminals().terminals] == [False, True]
    assert isinstance(phone.decision("login", "ann", PASSWORD), Refused)
    assert isinstance(phone.decision("login", "ann", NEW_PASSWORD), Granted)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("wrong password", NEW_PASSWORD, ErrorCode.LOGIN_FAILED),
        (PASSWORD, "short", ErrorCode.PASSWORD_REFUSED),
        (PASSWORD, "password1", ErrorCode.PASSWORD_REFUSED),
        (PASSWORD, "", ErrorCode.PASSWORD_REFUSED),
    ],
)
def test_a_password_that_cannot_be_changed_leaves_all_as_it_was(
    first: Owner, laptop: Device, old: str, new: str, code: ErrorCode
) -> None:
    decision = laptop.decision("password", "ann", old, new)
    assert isinstance(decision, Refused) and decision.code == code
    assert first.terminals(ListTerminals()).terminals[0].is_revoked is False
    assert isinstance(laptop.decision("login", "ann", PASSWORD), Granted)


def test_logins_that_race_with_a_change_of_password_end_with_tokens_that_are_dead_or_of_the_new_one(
    node: Node, laptop: Device
) -> None:
    laptop.grant("register", "ann")
    devices = [Device(node, f"device {number}") for number in range(6)]

    def log_in(device: Device) -> Person | None:
        try:
            return device.person("login", "ann", PASSWORD)
        except AssertionError:
            return None

    racing = [gevent.spawn(log_in, device) for device in devices]
    changing = gevent.spawn(laptop.person, "password", "ann", PASSWORD, NEW_PASSWORD)
    racing += [gevent.spawn(log_in, device) for device in devices]
    gevent.joinall(racing, timeout=30, raise_error=True)
    here(node, changing.get(timeout=30))
    for person in (one.get() for one in racing):
        if person is not None:
            with pytest.raises((ReportedError, EOFError)):
                here(node, person, 2)
    assert isinstance(laptop.decision("login", "ann", PASSWORD), Refused)


def test_requests_of_the_wrong_form_name_the_field_and_the_session_stays(first: Owner) -> None:
    for content, field in ((b"\x80", "op"), (b"\x81\xa2op\xa5dance", "op"), (RenameTerminal(0, "x" * 65).encode(), "name")):
        reply = first.ask(Command.ACCOUNT, content)
        assert field.encode() in reply.content
    wait_until(lambda: first.terminals())
