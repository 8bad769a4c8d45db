"""Transactions of the application: alone, one inside another, beside other threads, and interrupted."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from myim_client import MessageArrived, ProfileRefused, WithinTransaction
from myim_client.events import Event, Handle
from myim_client.profile import Profile
from tests.client.scene import Scene, confirmed, take
from tests.client.scripted_center import SLOT, YOU, delivery, make_profile, wait_until


class Spoilt:
    """A database that raises, once, before or after a statement that begins with a word."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self.before: dict[str, BaseException] = {}
        self.after: dict[str, BaseException] = {}
        self.executemany = database.executemany
        self.close = database.close

    @property
    def in_transaction(self) -> bool:
        return self._database.in_transaction

    def execute(self, sql: str, row: tuple[object, ...] = ()) -> sqlite3.Cursor:
        word = sql.split()[0]
        if word in self.before:
            raise self.before.pop(word)
        cursor = self._database.execute(sql, row)
        if word in self.after:
            raise self.after.pop(word)
        return cursor


@pytest.fixture
def spoilt(tmp_path: Path) -> Iterator[tuple[Profile, Spoilt]]:
    _, path = make_profile(tmp_path)
    with open(path) as lock_file:
        database = Spoilt(sqlite3.connect(path, isolation_level=None))
        yield Profile(path, database, lock_file.fileno()), database  # type: ignore[arg-type]
        database.close()


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[Profile]:
    _, path = make_profile(tmp_path)
    made = Profile.open(path)
    yield made
    made.close()


def test_a_send_inside_ones_own_transaction_is_refused_and_costs_no_other_thread_its_message(scene: Scene) -> None:
    client = scene.connect()
    handles: list[Handle] = []
    other = threading.Thread(target=lambda: handles.append(client.send(YOU, b"of another thread")))
    with pytest.raises(WithinTransaction):
        with client.transaction():
            other.start()
            wait_until(lambda: client._waiting)
            client.send(YOU, b"mine")
    other.join(10)
    assert [row[0] for row in scene.rows("SELECT time FROM myim_outbox")] == [handle.time for handle in handles]
    wait_until(lambda: scene.center.session().bodies == [b"of another thread"])


def test_a_name_is_not_looked_up_while_nothing_can_be_received(scene: Scene) -> None:
    client = scene.connect()
    with client.transaction() as transaction:
        with pytest.raises(WithinTransaction):
            client.user_id("stranger")
        assert client.name_of(YOU) == ""
        transaction.send(YOU, b"this works")
    wait_until(lambda: scene.center.session().bodies == [b"this works"])


def test_an_event_done_inside_a_transaction_that_rolls_back_comes_again(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    session.send(*(delivery(YOU, 64 * i, b"x") for i in range(1, 4)))
    first, second = take(client, MessageArrived), take(client, MessageArrived)
    with pytest.raises(ZeroDivisionError):
        with client.transaction() as transaction:
            transaction.done(first)
            second.done()
            second.done()
            raise ZeroDivisionError
    assert [take(client, MessageArrived).time for _ in range(3)] == [64, 128, 192]
    assert confirmed(session) == []


def test_an_event_done_inside_a_transaction_is_confirmed_with_it_once(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    session.deliver(YOU, 64, b"x")
    event = take(client, MessageArrived)
    with client.transaction() as transaction:
        event.done()
        transaction.done(event)
        assert not event.is_done
    wait_until(lambda: confirmed(session))
    assert confirmed(session) == [(YOU, 64)]


def test_of_an_inner_transaction_that_raises_nothing_happens_and_the_outer_goes_on(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    session.send(delivery(YOU, 64, b"x"), delivery(YOU, 128, b"x"))
    first, second = take(client, MessageArrived), take(client, MessageArrived)
    with client.transaction() as outer:
        outer.execute("CREATE TABLE notes (body TEXT)")
        outer.done(first)
        with pytest.raises(ZeroDivisionError):
            with client.transaction() as inner:
                inner.execute("INSERT INTO notes VALUES ('inner')")
                inner.send(YOU, b"inner")
                inner.done(second)
                raise ZeroDivisionError
        outer.execute("INSERT INTO notes VALUES ('outer')")
        outer.send(YOU, b"outer")
    wait_until(lambda: confirmed(session) == [(YOU, 64)] and session.bodies == [b"outer"])
    assert scene.rows("SELECT body FROM notes") == [("outer",)]
    assert take(client, MessageArrived) is second


def test_an_event_whose_loop_ends_in_a_rolled_back_transaction_comes_again_once_and_in_order(scene: Scene) -> None:
    client = scene.connect()
    scene.center.session().send(*(delivery(YOU, 64 * i, b"x") for i in range(1, 4)))
    with pytest.raises(ZeroDivisionError):
        for event in client.events(10):
            if isinstance(event, MessageArrived):
                with client.transaction() as transaction:
                    transaction.done(event)
                    raise ZeroDivisionError
    again: list[Event] = []
    while len(again) < 3:
        again += client.take(10)
    again += client.take(0.1)
    assert [event.time for event in again if isinstance(event, MessageArrived)] == [64, 128, 192]


@pytest.mark.parametrize("error", [sqlite3.OperationalError("database is locked"), sqlite3.DatabaseError("malformed")], ids=str)
@pytest.mark.parametrize("word", ["BEGIN", "UPDATE", "COMMIT"])
def test_a_file_that_fails_is_told_in_the_words_of_the_sdk_and_may_be_used_again(
    spoilt: tuple[Profile, Spoilt], word: str, error: Exception
) -> None:
    profile, database = spoilt
    database.before[word] = error
    with pytest.raises(ProfileRefused, match=str(error)):
        profile.next_connection_number()
    assert not database.in_transaction and not profile.is_within
    assert profile.next_connection_number() == 1


@pytest.mark.parametrize("ask", [lambda p: p.is_seen(1, 2), lambda p: p.names(), lambda p: p.account()], ids=["seen", "names", "account"])
def test_a_question_to_a_damaged_or_closed_file_is_refused_in_the_words_of_the_sdk(
    spoilt: tuple[Profile, Spoilt], profile: Profile, ask: Callable[[Profile], object]
) -> None:
    damaged, database = spoilt
    database.before["SELECT"] = sqlite3.DatabaseError("malformed")
    with pytest.raises(ProfileRefused, match="malformed"):
        ask(damaged)
    profile.close()
    with pytest.raises(ProfileRefused, match="closed"):
        ask(profile)


def test_a_fault_of_the_applications_own_data_stays_its_own(profile: Profile) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        with profile.transaction() as execute:
            execute("INSERT INTO myim_names VALUES (1, NULL)")


def test_an_interrupt_after_the_commit_loses_nothing_of_what_follows_from_it(spoilt: tuple[Profile, Spoilt]) -> None:
    profile, database = spoilt
    done: list[str] = []
    database.after["COMMIT"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        with profile.transaction():
            profile.after_commit(lambda: done.append("committed"))
    assert done == ["committed"]
    assert not profile.is_within


def test_an_interrupt_in_what_follows_from_a_commit_leaves_out_nothing_else(profile: Profile) -> None:
    done: list[int] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with profile.transaction():
            for action in (lambda: done.append(1), interrupt, lambda: done.append(2)):
                profile.after_commit(action)
    assert done == [1, 2]


def test_an_interrupt_before_the_commit_undoes_all(spoilt: tuple[Profile, Spoilt]) -> None:
    profile, database = spoilt
    done: list[str] = []
    database.before["COMMIT"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        with profile.transaction() as execute:
            execute("INSERT INTO myim_names VALUES (1, 'x')")
            profile.after_commit(lambda: done.append("committed"))
    assert done == [] and profile.names() == {}


def test_the_last_name_used_is_kept_though_nothing_else_is(profile: Profile) -> None:
    time = profile.next_time(5_000_000, SLOT)
    profile.keep_later()
    with sqlite3.connect(profile.path) as database:
        assert database.execute("SELECT last_time FROM myim_account").fetchone() == (time,)
    commits = profile.commits
    profile.keep_later()
    assert profile.commits == commits
