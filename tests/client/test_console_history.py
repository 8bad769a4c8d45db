"""What was typed in the chat: kept for the next one where that can be, and never in the way of the chat."""

from __future__ import annotations

import os
from pathlib import Path

from myim_client.console_history import ChatHistory


def test_what_was_typed_is_there_in_the_next_chat_and_for_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = ChatHistory(path)
    for line in ("first", "caf\udce9"):
        history.append_string(line)
    assert list(ChatHistory(path).load_history_strings()) == ["caf?", "first"]
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_full_disk_or_no_file_at_all_ends_no_chat(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    for path in (full, tmp_path, tmp_path / "none" / "such"):
        history = ChatHistory(path)
        history.append_string("typed")
        assert history.get_strings() == ["typed"]


def test_a_file_that_cannot_be_read_is_as_if_it_were_empty(tmp_path: Path) -> None:
    assert list(ChatHistory(tmp_path).load_history_strings()) == []
