"""The terminal's directory: who may read it, and what several processes make of it at the same time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from myim_client import ProfileRefused, Terminal

PIN = bytes([3]) * 32
T = TypeVar("T")


def at_once(count: int, act: Callable[[int], T]) -> list[T]:
    """What `count` threads get that act at the same moment."""
    got: list[T] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait(10)
        got.append(act(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(got) == count
    return got


@pytest.mark.parametrize("attempt", range(5))
def test_all_who_open_a_fresh_terminal_at_once_hold_the_same_key(tmp_path: Path, attempt: int) -> None:
    home = tmp_path / f"home{attempt}"
    terminals = at_once(8, lambda _: Terminal.open(home))
    assert {terminal.public_key for terminal in terminals} == {Terminal.open(home).public_key}
    assert [file.name for file in home.iterdir()] == ["terminal.secret"]


def test_pins_kept_at_once_are_all_kept(tmp_path: Path) -> None:
    terminal = Terminal.open(tmp_path)
    at_once(8, lambda number: terminal.keep_pin(f"host{number}", PIN))
    assert [terminal.pin(f"host{number}") for number in range(8)] == [PIN] * 8
    assert sorted(file.name for file in tmp_path.iterdir()) == ["pins.json", "pins.lock", "terminal.secret"]


def test_of_identities_seen_first_at_once_one_is_trusted_by_all(tmp_path: Path) -> None:
    terminal = Terminal.open(tmp_path)
    trusted = at_once(8, lambda number: terminal.trust("host", bytes([number]) * 32))
    assert set(trusted) == {terminal.pin("host")}


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o720, 0o701])
def test_a_directory_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    home = tmp_path / "home"
    Terminal.open(home)
    home.chmod(mode)
    with pytest.raises(ProfileRefused, match="chmod 700"):
        Terminal.open(home)


def test_an_empty_directory_is_made_private_before_anything_lies_in_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    Terminal.open(home)
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no directory")
    with pytest.raises(ProfileRefused):
        Terminal.open(tmp_path / "home")


@pytest.mark.parametrize(
    "pins",
    [{"h:1": "00" * 31}, {"h:1": ""}, {"h:1": 7}, {"no address:": PIN.hex()}, ["h:1"], "h", None],
    ids=lambda pins: json.dumps(pins)[:20],
)
def test_a_list_of_pins_that_is_not_one_trusts_nobody(tmp_path: Path, pins: object) -> None:
    terminal = Terminal.open(tmp_path)
    terminal.keep_pin("h:2", PIN)
    (tmp_path / "pins.json").write_text(json.dumps(pins))
    for ask in (terminal.pin, terminal.unpin, lambda server: terminal.trust(server, PIN)):
        with pytest.raises(ProfileRefused, match="damaged"):
            ask("h:2")


def test_pins_that_others_could_have_changed_are_refused(tmp_path: Path) -> None:
    terminal = Terminal.open(tmp_path)
    terminal.keep_pin("h:1", PIN)
    (tmp_path / "pins.json").chmod(0o620)
    with pytest.raises(ProfileRefused, match="chmod 600"):
        terminal.pin("h:1")
