"""Registering and logging in over the real store: what is granted, what is refused, and that strangers learn and spoil nothing."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, cast

import gevent
import pytest

from myim_server.chat.accounts import Accounts
from myim_server.passwords import HashingCost, Passwords
from myim_server.refusals import RequestRefused, StoreUnavailable
from myim_server.store.engine import StoreSettings, open_store
from myim_server.throttles import SECOND
from myim_wire.errors import ErrorCode
from tests.login.house import DAY, HERE, PASSWORD, SERVERS, START, House, Part, asked


def test_a_registration_grants_what_a_login_grants_without_warnings(house: House) -> None:
    grant = house.register("Alice")
    assert (grant.name, grant.slot, grant.terminal_generation) == ("Alice", 0, 1)
    assert (grant.issued, grant.expires) == (START, START + DAY)
    assert (grant.last_login, grant.new_terminal, grant.new_network) == (None, False, False)
    assert (grant.friends_version, grant.friends_hash) == (0, bytes(32))
    assert grant.servers == tuple(SERVERS)
    ticket = house.tickets.open(grant.token)
    assert (ticket.user, ticket.slot, ticket.terminal_public) == (grant.user, 0, b"desk".ljust(32, b"."))
    assert (ticket.user_generation, ticket.terminal_generation, ticket.authenticated) == (1, 1, START)
    assert ticket.session_key == grant.session_key


def test_each_login_of_a_terminal_keeps_its_slot_raises_its_generation_and_tells_of_the_one_before(house: House) -> None:
    first = house.register()
    house.now += SECOND
    second = house.log_in(address="192.0.2.200")
    assert (second.user, second.slot, second.terminal_generation) == (first.user, first.slot, 2)
    assert second.session_key != first.session_key
    assert second.last_login is not None
    assert (second.last_login.time, second.last_login.address, second.last_login.terminal) == (START, HERE, "desk")
    assert (second.new_terminal, second.new_network) == (False, False)


def test_a_new_terminal_gets_a_slot_of_its_own_and_a_warning(house: House) -> None:
    house.register()
    grant = house.log_in(terminal="phone")
    assert (grant.slot, grant.terminal_generation) == (1, 1)
    assert (grant.new_terminal, grant.new_network) == (True, False)


def test_a_known_terminal_in_a_new_network_is_a_warning_once(house: House) -> None:
    house.register()
    assert house.log_in(address="198.51.100.1").new_network
    assert not house.log_in(address="198.51.100.99").new_network


@pytest.mark.parametrize("name", ["Alice", "ALICE", "ａｌｉｃｅ"])
def test_a_name_is_taken_and_found_in_every_way_of_writing_it(house: House, name: str) -> None:
    user = house.register("alice").user
    with pytest.raises(RequestRefused) as refused:
        house.register(name, terminal="other")
    assert refused.value.code is ErrorCode.NAME_TAKEN
    assert house.log_in(name).user == user


def test_a_password_is_the_same_composed_and_decomposed(house: House) -> None:
    house.register("bob", unicodedata.normalize("NFD", "crème brûlée 9"))
    house.log_in("bob", unicodedata.normalize("NFC", "crème brûlée 9"))


REFUSED_REGISTRATIONS = [
    ("", PASSWORD, ErrorCode.NAME_INVALID),
    (" alice", PASSWORD, ErrorCode.NAME_INVALID),
    ("alice\0", PASSWORD, ErrorCode.NAME_INVALID),
    ("a\u202elice", PASSWORD, ErrorCode.NAME_INVALID),
    ("p\u0430ypal", PASSWORD, ErrorCode.NAME_INVALID),
    ("x" * 10_240, PASSWORD, ErrorCode.NAME_INVALID),
    ("alice'; DROP TABLE users; --", PASSWORD, ErrorCode.NAME_INVALID),
    ("alice", "short", ErrorCode.PASSWORD_REFUSED),
    ("alice", "x" * 257, ErrorCode.PASSWORD_REFUSED),
    ("alice", "password1", ErrorCode.PASSWORD_REFUSED),
    ("alice", "alice-and-the-rest", ErrorCode.PASSWORD_REFUSED),
]


@pytest.mark.parametrize(("name", "password", "code"), REFUSED_REGISTRATIONS)
def test_a_bad_name_or_password_makes_no_account(house: House, name: str, password: str, code: ErrorCode) -> None:
    with pytest.raises(RequestRefused) as refused:
        house.register(name, password)
    assert refused.value.code is code
    assert "create" not in house.calls


def test_closed_registration_is_told_before_anything_else(house: House) -> None:
    accounts = house.open(is_registration_open=False)
    with pytest.raises(RequestRefused) as refused:
        accounts.register(asked("register", "", "", "desk"), HERE, house.now)
    assert refused.value.code is ErrorCode.REGISTRATION_CLOSED
    assert house.calls == []


@pytest.mark.parametrize("text", ["' OR '1'='1", '"; --', "%s%n{0}", "*)(uid=*", "\\", "x\ny", "😀" * 8, "名" * 8])
def test_strings_that_mean_something_elsewhere_are_plain_text(house: House, text: str) -> None:
    house.register("bob", f"{text} and more of it", terminal=text)
    house.log_in("bob", f"{text} and more of it", terminal=text)
    assert house.refusal(text, PASSWORD).code is ErrorCode.LOGIN_FAILED
    assert house.refusal("bob", "and more of it").code is ErrorCode.LOGIN_FAILED


def test_unknown_wrong_locked_and_impossible_take_the_same_steps_and_are_told_the_same(house: House) -> None:
    house.register("alice")
    house.register("mallory")
    house.store.accounts.lock(house.account("mallory").user_id)
    seen = []
    tries = [("nobody", PASSWORD), ("alice", "wrong password"), ("mallory", PASSWORD), ("not a name", PASSWORD), ("", PASSWORD)]
    for name, password in tries:
        house.calls.clear()
        refused = house.refusal(name, password, terminal="stranger")
        seen.append((refused.code, refused.text, refused.retry_ms, refused.field, tuple(house.calls)))
        assert "verify" in house.calls
    assert len(set(seen)) == 1


def test_parallel_right_logins_of_one_account_all_succeed_each_with_its_own_generation(house: House) -> None:
    house.register()
    logins = [gevent.spawn(house.log_in) for _ in range(50)]
    gevent.joinall(logins, timeout=60, raise_error=True)
    assert sorted(login.get().terminal_generation for login in logins) == list(range(2, 52))


def test_two_who_register_one_name_at_once_make_one_account(house: House) -> None:
    def register(terminal: str) -> int | ErrorCode:
        try:
            return house.register("alice", terminal=terminal).user
        except RequestRefused as refused:
            return refused.code

    tries = [gevent.spawn(register, f"terminal {i}") for i in range(8)]
    gevent.joinall(tries, timeout=60, raise_error=True)
    assert [t.get() for t in tries].count(ErrorCode.NAME_TAKEN) == 7


def test_the_sixty_fifth_terminal_finds_no_slot(house: House) -> None:
    house.register()
    for i in range(63):
        house.log_in(terminal=f"terminal {i}")
    assert house.refusal(terminal="one more").code is ErrorCode.NO_FREE_SLOT
    assert house.log_in().slot == 0


def test_a_hash_is_made_again_at_the_next_login_after_the_cost_rose(house: House) -> None:
    house.register()
    before = house.account("alice").password_hash
    dearer = Passwords(threads=1, queue=10, cost=HashingCost(memory_kib=128, passes=1))
    try:
        house.passwords = dearer
        house.accounts = house.open()
        house.log_in()
        after = house.account("alice").password_hash
        assert "m=64," in before
        assert "m=128," in after
        house.log_in()
        assert house.account("alice").password_hash == after
    finally:
        dearer.close()


def test_a_right_password_gets_in_though_there_is_no_room_to_hash_it_again(house: House) -> None:
    class Full(Passwords):
        def hash(self, password: str) -> str:
            raise RequestRefused(ErrorCode.BUSY, "too many passwords at once")

    house.register()
    before = house.account("alice").password_hash
    full = Full(threads=1, queue=10, cost=HashingCost(memory_kib=128, passes=1))
    try:
        house.passwords = full
        house.accounts = house.open()
        assert house.log_in().slot == 0
        assert house.account("alice").password_hash == before
    finally:
        full.close()


def test_while_the_store_is_away_nobody_is_let_in_and_all_are_told_to_come_again(house: House) -> None:
    class Away:
        def __getattr__(self, name: str) -> Callable[..., NoReturn]:
            def away(*args: object) -> NoReturn:
                raise StoreUnavailable("away")

            return away

    def unless(is_away: bool, table: Part) -> Part:
        return cast(Part, Away()) if is_away else table

    for part in range(3):
        accounts = Accounts(
            unless(part == 0, house.store.accounts), unless(part == 1, house.store.terminals), unless(part == 2, house.store.throttles),
            house.passwords, house.tickets, servers=lambda: SERVERS, trusted=house.trusted, is_registration_open=True,
        )  # fmt: skip
        for act in (accounts.log_in, accounts.register):
            with pytest.raises(RequestRefused) as refused:
                act(asked("register", f"bob{part}", PASSWORD, "desk"), HERE, house.now)
            assert refused.value.code is ErrorCode.STORE_UNAVAILABLE


def test_no_password_and_no_key_is_in_the_store_in_the_clear(tmp_path: Path, passwords: Passwords) -> None:
    house = House(open_store(StoreSettings(f"sqlite:///{tmp_path}/myim.db")), passwords)
    secret = os.urandom(8).hex() + " horse battery"
    grant = house.register("alice", secret)
    house.store.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"alice" in written
    for hidden in (secret.encode(), grant.session_key, grant.token):
        assert hidden not in written
