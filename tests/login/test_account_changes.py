"""A password is changed, an account deleted: checked and throttled as a login is, and never undone by what another terminal does."""

from __future__ import annotations

from collections.abc import Callable

import gevent
import pytest

from myim_server.passwords import HashingCost, Passwords
from myim_server.refusals import RequestRefused
from myim_server.store.accounts import NAME_REST
from myim_server.throttles import SECOND
from myim_wire.contents import Grant, Operation
from myim_wire.errors import ErrorCode
from myim_wire.login_flights import CredentialsReceived
from tests.login.house import HERE, PASSWORD, House

NEW = "staple battery horse"


def asked(op: Operation, password: str = PASSWORD, new: str = "", terminal: str = "desk", name: str = "alice") -> CredentialsReceived:
    key = terminal.encode().ljust(32, b".")
    return CredentialsReceived(op, name, password, terminal, key, key[::-1], new)


def change(house: House, password: str = PASSWORD, new: str = NEW, terminal: str = "desk", name: str = "alice") -> Grant:
    return house.accounts.change_password(asked("password", password, new, terminal, name), HERE, house.now)


def delete(house: House, password: str = PASSWORD, terminal: str = "desk", name: str = "alice") -> Grant:
    return house.accounts.delete(asked("delete", password, terminal=terminal, name=name), HERE, house.now)


def code_of(act: Callable[[], object]) -> ErrorCode:
    with pytest.raises(RequestRefused) as refused:
        act()
    return refused.value.code


def test_a_changed_password_raises_the_users_generation_and_grants_this_terminal(house: House) -> None:
    house.register()
    phone = house.log_in(terminal="phone")
    grant = change(house)
    ticket = house.tickets.open(grant.token)
    assert (ticket.user, ticket.slot, ticket.user_generation, ticket.terminal_generation) == (grant.user, 0, 2, 2)
    assert (grant.name, grant.new_terminal, grant.terminal_generation) == ("alice", False, 2)
    old = house.tickets.open(phone.token)
    assert old.user_generation < house.account("alice").generation
    assert house.refusal().code is ErrorCode.LOGIN_FAILED
    assert house.log_in(password=NEW).user == grant.user
    assert [(one.slot, one.is_revoked) for one in house.store.own_terminals.of(grant.user)] == [(0, False), (1, True)]


@pytest.mark.parametrize("act", [change, delete])
def test_what_is_wrong_is_told_as_at_a_login_after_the_same_steps(house: House, act: Callable[..., Grant]) -> None:
    house.register()
    house.register("mallory")
    house.store.accounts.lock(house.account("mallory").user_id)
    seen = []
    for name, password in (("nobody", PASSWORD), ("alice", "wrong password"), ("mallory", PASSWORD), ("not a name", PASSWORD)):
        house.calls.clear()
        with pytest.raises(RequestRefused) as refused:
            act(house, password, terminal="stranger", name=name)
        seen.append((refused.value.code, refused.value.text, tuple(house.calls)))
    house.calls.clear()
    login = house.refusal("nobody", terminal="stranger")
    assert set(seen) == {(login.code, login.text, tuple(house.calls))}


@pytest.mark.parametrize("act", [change, delete])
def test_guesses_are_counted_with_those_of_logins(house: House, act: Callable[..., Grant]) -> None:
    house.register()
    for number in range(5):
        if number % 2:
            assert code_of(lambda: act(house, "wrong password", terminal="stranger")) is ErrorCode.LOGIN_FAILED
        else:
            assert house.refusal(password="wrong password", terminal="stranger").code is ErrorCode.LOGIN_FAILED
    assert code_of(lambda: act(house, terminal="stranger")) is ErrorCode.THROTTLED
    assert house.refusal(terminal="stranger").code is ErrorCode.THROTTLED
    house.now += SECOND
    act(house, terminal="stranger")


@pytest.mark.parametrize("new", ["short", "password1", "alice-and-the-rest", "", "x" * 257])
def test_a_new_password_is_judged_as_at_a_registration_and_the_old_one_stays(house: House, new: str) -> None:
    house.register()
    assert code_of(lambda: change(house, new=new)) is ErrorCode.PASSWORD_REFUSED
    assert house.log_in().terminal_generation == 2  # this terminal's token was not touched


def test_a_terminal_that_finds_no_slot_does_not_change_the_password_either(house: House) -> None:
    house.register()
    for number in range(63):
        house.log_in(terminal=f"terminal {number}")
    assert code_of(lambda: change(house, terminal="one more")) is ErrorCode.NO_FREE_SLOT
    assert house.log_in().slot == 0


def test_of_two_changes_at_once_one_counts_and_the_other_is_told_that_its_password_is_wrong(house: House) -> None:
    house.register()
    house.log_in(terminal="phone")

    def attempt(terminal: str) -> str | ErrorCode:
        new = f"{NEW} {terminal}"
        try:
            change(house, new=new, terminal=terminal)
        except RequestRefused as refused:
            return refused.code
        return new

    changes = [gevent.spawn(attempt, terminal) for terminal in ("desk", "phone")]
    gevent.joinall(changes, timeout=30, raise_error=True)
    told = [one.get() for one in changes]
    assert [code for code in told if isinstance(code, ErrorCode)] == [ErrorCode.LOGIN_FAILED]
    (password,) = [new for new in told if isinstance(new, str)]
    assert house.log_in(password=password).user


class Interrupted(Passwords):
    """Does something the first time it has hashed."""

    def __init__(self, then: Callable[[], object], cost: HashingCost) -> None:
        super().__init__(threads=1, queue=10, cost=cost)
        self._then: Callable[[], object] | None = then

    def hash(self, password: str) -> str:
        hashed = super().hash(password)
        if self._then is not None:
            then, self._then = self._then, None
            then()
        return hashed


def interrupt(house: House, then: Callable[[], object], memory_kib: int = 64) -> Interrupted:
    """Has `then` happen between the next hashing of a password and what is done with the hash."""
    made = Interrupted(then, HashingCost(memory_kib=memory_kib, passes=1))
    house.passwords = made
    house.accounts = house.open()
    return made


def test_a_hash_that_is_made_anew_at_a_login_does_not_bring_an_old_password_back(house: House) -> None:
    house.register()
    user = house.account("alice").user_id

    def meanwhile() -> None:
        account = house.account("alice")
        assert house.store.accounts.change_password(user, "of another password", account.password_hash, 9) == 2

    dearer = interrupt(house, meanwhile, memory_kib=128)
    try:
        house.log_in()
        assert house.account("alice").password_hash == "of another password"
    finally:
        dearer.close()


def test_a_hash_that_is_made_anew_meanwhile_does_not_keep_a_password_from_being_changed(house: House) -> None:
    house.register()

    def meanwhile() -> None:
        account = house.account("alice")
        assert house.store.accounts.rehash(account.user_id, house.passwords.hash(PASSWORD), was=account.password_hash)

    passwords = interrupt(house, meanwhile)
    try:
        change(house)
        assert house.log_in(password=NEW).user
    finally:
        passwords.close()


def test_a_login_that_was_checked_before_the_account_ended_is_refused(house: House) -> None:
    house.register()
    user = house.account("alice").user_id
    dearer = interrupt(house, lambda: house.store.accounts.delete(user, house.now), memory_kib=128)
    try:
        assert house.refusal().code is ErrorCode.LOGIN_FAILED
    finally:
        dearer.close()


def test_a_deleted_account_is_nobodys_and_its_name_rests(house: House) -> None:
    user = house.register().user
    grant = delete(house)
    assert (grant.user, grant.name, grant.token, grant.servers, grant.session_key) == (0, "", b"", (), bytes(32))
    assert house.refusal().code is ErrorCode.LOGIN_FAILED
    assert code_of(lambda: delete(house)) is ErrorCode.LOGIN_FAILED
    house.calls.clear()
    assert code_of(lambda: house.register()) is ErrorCode.NAME_TAKEN
    assert "hash" not in house.calls
    house.now += NAME_REST
    house.tickets.rotate()
    assert house.register().user != user


def test_an_account_is_not_deleted_by_a_password_that_is_changed_meanwhile(house: House) -> None:
    house.register()
    verify = house.passwords.verify
    user = house.account("alice").user_id

    class Late(Passwords):
        def verify(self, password_hash: str | None, password: str) -> bool:
            is_right = verify(password_hash, password)
            house.store.accounts.change_password(user, "of another password", password_hash or "", 9)
            return is_right

    late = Late(threads=1, queue=10)
    try:
        house.passwords = late
        house.accounts = house.open()
        assert code_of(lambda: delete(house)) is ErrorCode.LOGIN_FAILED
        assert house.account("alice").password_hash == "of another password"
    finally:
        late.close()


def test_who_may_have_lost_tokens_is_told_at_once(house: House) -> None:
    told: list[int] = []
    house.accounts = house.open()
    house.accounts._changed = lambda: told.append(1)
    house.register()
    assert told == []
    house.log_in()
    change(house)
    delete(house, NEW)
    assert len(told) == 3
