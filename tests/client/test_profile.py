"""The file: what is kept together, what is refused, and what a crash leaves."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from myim_client import LoginNeeded, ProfileRefused, Terminal
from myim_client.profile import DAY_US, Profile, to_signed, to_unsigned
from tests.client.scripted_center import ME, SLOT, make_profile, wait_until


@pytest.mark.parametrize("number", [0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_every_u64_is_kept_exactly(number: int) -> None:
    assert to_unsigned(to_signed(number)) == number
    assert -(1 << 63) <= to_signed(number) < 1 << 63


def test_a_profile_that_is_not_there_needs_a_login(tmp_path: Path) -> None:
    with pytest.raises(LoginNeeded):
        Profile.open(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


def test_files_are_private(tmp_path: Path) -> None:
    _, path = make_profile(tmp_path)
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file.name


@pytest.mark.parametrize("spoil", ["readable", "symlink", "directory", "garbage", "newer"])
def test_a_profile_that_cannot_be_trusted_is_refused(tmp_path: Path, spoil: str) -> None:
    _, path = make_profile(tmp_path)
    if spoil == "readable":
        path.chmod(0o640)
    elif spoil == "symlink":
        path.rename(path.with_name("other.db"))
        path.symlink_to("other.db")
    elif spoil == "directory":
        path.unlink()
        path.mkdir()
    elif spoil == "garbage":
        path.write_bytes(b"no database at all" * 100)
    else:
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 99")
    with pytest.raises(ProfileRefused):
        Profile.open(path)


def test_a_profile_of_the_first_release_opens_with_all_it_held(tmp_path: Path) -> None:
    _, path = make_profile(tmp_path)
    with sqlite3.connect(path) as database:
        groups = ("myim_groups", "myim_group_positions", "myim_group_shown")
        for table in (*groups, "myim_friend_list", "myim_friend_groups", "myim_friends", "myim_presence"):
            database.execute(f"DROP TABLE {table}")
        database.execute("ALTER TABLE myim_outbox DROP COLUMN is_post")
        database.execute("INSERT INTO myim_outbox VALUES (64, 8, x'01', 1, 0), (128, 8, x'02', 2, 2)")
        database.execute("PRAGMA user_version = 1")
    database.close()
    for _ in range(2):
        profile = Profile.open(path)
        assert [(row.time, row.body, row.is_awaiting_receipt, row.is_post) for row in profile.outgoing()] == [
            (64, b"\x01", False, False),
            (128, b"\x02", True, False),
        ]
        assert profile.account().user == ME
        assert profile.query("PRAGMA user_version") == [(3,)]
        profile.close()


def test_the_file_flushes_at_every_commit(tmp_path: Path) -> None:
    _, path = make_profile(tmp_path)
    profile = Profile.open(path)
    assert profile.query("PRAGMA synchronous") == [(2,)]
    assert profile.query("PRAGMA journal_mode") == [("wal",)]
    profile.close()


def test_names_rise_strictly_over_restarts_even_when_the_clock_falls(tmp_path: Path) -> None:
    _, path = make_profile(tmp_path)
    times = []
    for now in (5_000_000, 4_000_000, 1):
        profile = Profile.open(path)
        with profile.transaction():
            times += [profile.next_time(now, SLOT) for _ in range(3)]
        profile.close()
    assert times == sorted(set(times))
    assert {time & 63 for time in times} == {SLOT}


def test_a_new_login_starts_the_connection_number_anew_and_keeps_the_names(tmp_path: Path) -> None:
    _, path = make_profile(tmp_path)
    profile = Profile.open(path)
    with profile.transaction():
        named = profile.next_time(9_000_000, SLOT)
    assert [profile.next_connection_number() for _ in range(3)] == [1, 2, 3]
    profile.close()
    make_profile(tmp_path, token=b"new")
    profile = Profile.open(path)
    assert profile.account().token == b"new"
    assert profile.next_connection_number() == 1
    assert profile.next_time(0, SLOT) > named
    profile.close()


def test_a_profile_never_changes_its_user(tmp_path: Path) -> None:
    _, path = make_profile(tmp_path)
    other_directory = tmp_path / "other"
    _, other = make_profile(other_directory, user=99)
    source = Profile.open(other)
    account = source.account()
    source.close()
    profile = Profile.open(path)
    with pytest.raises(ProfileRefused, match=f"belongs to user {ME}"):
        profile.log_in(account)
    assert profile.account().user == ME
    profile.close()


def test_a_rolled_back_transaction_keeps_what_was_put_off_for_the_next(tmp_path: Path) -> None:
    _, path = make_profile(tmp_path)
    profile = Profile.open(path)
    profile.keep_name(8, "bob")
    with pytest.raises(ZeroDivisionError):
        with profile.transaction():
            raise ZeroDivisionError
    assert profile.names() == {}
    profile.keep_later()
    assert profile.names() == {8: "bob"}
    profile.close()


def test_what_was_shown_is_remembered_for_40_days_exactly(tmp_path: Path) -> None:
    _, path = make_profile(tmp_path)
    profile = Profile.open(path)
    now = 100 * DAY_US
    with profile.transaction() as execute:
        execute("INSERT INTO myim_seen VALUES (1, 64, ?), (1, 128, ?)", (now - 40 * DAY_US - 1, now - 40 * DAY_US))
    assert profile.purge_seen(now) == 1
    assert [profile.is_seen(1, 64), profile.is_seen(1, 128), profile.is_seen(2, 128)] == [False, True, False]
    profile.close()


def test_a_full_disk_is_said_and_nothing_of_the_transaction_happened(tmp_path: Path) -> None:
    _, path = make_profile(tmp_path)
    profile = Profile.open(path)
    pages = profile.query("PRAGMA page_count")[0][0]
    profile.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ProfileRefused, match="full"):
        with profile.transaction() as execute:
            execute("INSERT INTO myim_names VALUES (1, ?)", ("x" * 100_000,))
    assert profile.names() == {}
    profile.close()


def test_a_process_killed_within_a_transaction_leaves_nothing_of_it_and_no_lock(tmp_path: Path) -> None:
    _, path = make_profile(tmp_path)
    script = f"""
import sys, time
from myim_client.profile import Profile
profile = Profile.open({str(path)!r})
profile.keep_name(1, "kept")
profile.keep_later()
with profile.transaction() as execute:
    execute("INSERT INTO myim_names VALUES (2, 'lost')")
    print("within", flush=True)
    sys.stdin.read()
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"within\n"
    with pytest.raises(ProfileRefused, match="in use"):
        Profile.open(path)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    profile = Profile.open(path)
    assert profile.names() == {1: "kept"}
    profile.close()


def test_the_terminal_is_made_once_and_its_secret_is_private(tmp_path: Path) -> None:
    first = Terminal.open(tmp_path / "t")
    assert Terminal.open(tmp_path / "t").public_key == first.public_key
    assert (tmp_path / "t").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "t" / "terminal.secret").stat().st_mode & 0o777 == 0o600
    assert first.secret.hex() not in repr(first)


def test_a_terminal_copied_to_another_machine_is_another_terminal(tmp_path: Path) -> None:
    here = Terminal.open(tmp_path / "t", bytes(32))
    there = Terminal.open(tmp_path / "t", bytes([1]) * 32)
    assert here.secret == there.secret and here.public_key != there.public_key


@pytest.mark.parametrize("spoil", ["readable", "symlink", "short", "garbage"])
def test_a_terminal_secret_that_cannot_be_trusted_is_refused(tmp_path: Path, spoil: str) -> None:
    Terminal.open(tmp_path)
    path = tmp_path / "terminal.secret"
    if spoil == "readable":
        path.chmod(0o644)
    elif spoil == "symlink":
        path.rename(tmp_path / "other")
        path.symlink_to("other")
    else:
        path.write_text("00ff" if spoil == "short" else "no hex")
    with pytest.raises(ProfileRefused):
        Terminal.open(tmp_path)


def test_pins_are_kept_and_a_damaged_list_of_pins_trusts_nobody(tmp_path: Path) -> None:
    terminal = Terminal.open(tmp_path)
    assert terminal.pin("h:1") is None
    terminal.keep_pin("h:1", bytes(32))
    assert Terminal.open(tmp_path).pin("h:1") == bytes(32)
    assert terminal.unpin("h:1") and not terminal.unpin("h:1")
    (tmp_path / "pins.json").write_text("{half")
    with pytest.raises(ProfileRefused):
        terminal.pin("h:1")


@pytest.mark.parametrize("name", ["alice", "../../etc/passwd", "a b", "💣", "x" * 100_000, "", ".", "-rf"])
def test_a_profile_path_never_leaves_its_directory(tmp_path: Path, name: str) -> None:
    terminal = Terminal.open(tmp_path)
    path = terminal.profile_path("h:1", name)
    assert path.parent == tmp_path
    assert len(path.name) < 255
    assert path.name.startswith("h_1-")


def test_one_user_has_one_file_however_the_name_is_written(tmp_path: Path) -> None:
    terminal = Terminal.open(tmp_path)
    assert terminal.profile_path("h:1", "Straße") == terminal.profile_path("h:1", "STRASSE")
    assert terminal.profile_path("h:1", "a") != terminal.profile_path("h:2", "a")


def test_waiting_has_an_end() -> None:
    began = time.monotonic()
    with pytest.raises(AssertionError):
        wait_until(lambda: False, 0.05)
    assert time.monotonic() - began < 5
