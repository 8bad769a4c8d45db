"""Password hashing and the judgement of new passwords: costs, forms, refusals, bounds."""

import statistics
import time
import unicodedata
from collections.abc import Iterator

import gevent
import pytest

from myim_server.passwords import HashingCost, Passwords
from myim_server.refusals import RequestRefused
from myim_wire.errors import ErrorCode

CHEAP = HashingCost(memory_kib=64, passes=1)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(threads=2, queue=200, cost=CHEAP)
    yield made
    made.close()


def test_a_hash_names_argon2id_at_19_mebibytes_two_passes_one_lane() -> None:
    made = Passwords(threads=1, queue=1)
    try:
        assert made.hash("correct horse").startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    finally:
        made.close()


def test_only_the_password_that_was_hashed_matches(passwords: Passwords) -> None:
    hashed = passwords.hash("correct horse")
    assert passwords.verify(hashed, "correct horse")
    assert not passwords.verify(hashed, "correct horsf")
    assert not passwords.verify(hashed, "Correct horse")


def test_composed_and_decomposed_letters_are_the_same_password(passwords: Passwords) -> None:
    composed = "crème brûlée"
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    assert passwords.verify(passwords.hash(composed), decomposed)
    assert passwords.verify(passwords.hash(decomposed), composed)


def test_nobody_has_a_password_not_even_the_one_that_was_hashed_for_the_cost(passwords: Passwords) -> None:
    assert not passwords.verify(None, "nobody has this password")


def test_an_account_without_a_password_hash_matches_nothing(passwords: Passwords) -> None:
    for stored in ("!", "", "$argon2id$broken", "plaintext-password"):
        assert not passwords.verify(stored, "plaintext-password")


def test_an_unknown_user_costs_the_same_work_as_a_wrong_password() -> None:
    made = Passwords(threads=1, queue=1)
    try:
        hashed = made.hash("correct horse")

        def cost(stored: str | None) -> float:
            spent = []
            for _ in range(5):
                before = time.process_time()
                made.verify(stored, "wrong horse")
                spent.append(time.process_time() - before)
            return statistics.median(spent)

        wrong = cost(hashed)
        assert wrong / 2 < cost(None) < wrong * 2
        assert wrong / 2 < cost("!") < wrong * 2
    finally:
        made.close()


def test_a_hash_made_at_a_lower_cost_asks_to_be_made_again(passwords: Passwords) -> None:
    hashed = passwords.hash("correct horse")
    assert not passwords.needs_rehash(hashed)
    dearer = Passwords(threads=1, queue=1, cost=HashingCost(memory_kib=128, passes=1))
    try:
        assert dearer.needs_rehash(hashed)
        assert dearer.verify(hashed, "correct horse")
    finally:
        dearer.close()


REFUSED = [
    ("alice", "short77"),
    ("alice", ""),
    ("alice", "x" * 257),
    ("alice", "e\u0301" * 7),  # seven characters in NFC
    ("alice", "password"),
    ("alice", "12345678"),
    ("alice", "qwertyuiop"),
    ("alice", "aaaaaaaaaaaaaaaa"),
    ("alice", "Password1"),
    ("alice", "alice-in-wonder-land-77"),
    ("alice", "xXALICExX-93-kq"),
    ("alice", "ＡＬＩＣＥ-93-kq-zv"),  # full-width letters fold to the name
    ("longestname", "longestname"),
    ("ann", "annannann"),
]


@pytest.mark.parametrize(("name", "password"), REFUSED)
def test_a_short_long_common_or_name_bearing_password_is_refused(passwords: Passwords, name: str, password: str) -> None:
    with pytest.raises(RequestRefused) as refusal:
        passwords.check_new(name, password)
    assert refusal.value.code is ErrorCode.PASSWORD_REFUSED
    assert refusal.value.field == "password"


@pytest.mark.parametrize(
    "password",
    [
        "tr0ub4dor&3-x9",
        "correct horse battery staple",
        "k" + "q7z!" * 63 + "abc",
        "蓝天白云与青山绿水",
        "🐎🔋📎🧷🐎🔋📎🧷x9",
        "planning-a-7-day-trek",
        "' OR 1=1; -- %s",
    ],
)
def test_a_password_of_8_to_256_characters_that_is_not_common_is_taken(passwords: Passwords, password: str) -> None:
    passwords.check_new("ann", password)
    assert passwords.verify(passwords.hash(password), password)


def test_a_password_of_impossible_length_is_wrong_without_being_hashed(passwords: Passwords) -> None:
    hashed = passwords.hash("correct horse")
    before = time.process_time()
    assert not passwords.verify(hashed, "x" * 1_000_000)
    assert not passwords.verify(hashed, "x" * 7)
    assert time.process_time() - before < 1
    assert passwords.pending == 0


def test_whoever_finds_the_queue_full_is_told_busy_and_the_others_are_served() -> None:
    made = Passwords(threads=1, queue=2, cost=HashingCost(memory_kib=8192, passes=2))
    try:
        hashed = made.hash("correct horse")
        tries = [gevent.spawn(made.verify, hashed, "correct horse") for _ in range(10)]
        gevent.joinall(tries, timeout=30)
        served = [t for t in tries if t.successful() and t.value]
        refused = [t.exception for t in tries if isinstance(t.exception, RequestRefused)]
        assert (len(served), len(refused)) == (3, 7)
        assert {refusal.code for refusal in refused} == {ErrorCode.BUSY}
        assert all(refusal.retry_ms for refusal in refused)
        assert made.pending == 0
    finally:
        made.close()
