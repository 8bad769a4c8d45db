"""What was typed in the chat, kept for the next one. Nobody's chat ends because it cannot be: nothing of it is a message."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import FileHistory


class ChatHistory(FileHistory):
    """The lines typed, in a file of mode 0600. Where that cannot be read or written (a full disk), they are remembered until the end."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))

    def load_history_strings(self) -> Iterable[str]:
        """The latest line first."""
        try:
            return list(super().load_history_strings())
        except OSError:
            return []

    def store_string(self, string: str) -> None:
        """Keep one line."""
        with contextlib.suppress(OSError):
            super().store_string(string)
