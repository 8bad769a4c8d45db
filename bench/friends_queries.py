"""Which statements a database was given meanwhile, from its own log.

What lives here: MariaDB's general log, switched on for a moment, and its entries. What must not: who gave them, figures.
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.groups_tables import Tables

_ENTRY = re.compile(r"^(?:\d{6}\s+\d+:\d+:\d+)?\t+\s*\d+ (\w+)\t", re.MULTILINE)
LIST_TABLES = re.compile(r"\b(friend_lists|friend_groups|friend_removals|friends|profiles)\b")


class QueryLog:
    """The statements about friends' lists between `begin` and `end`."""

    def __init__(self, tables: Tables, path: Path) -> None:
        self._tables = tables
        self._path = path
        tables.run([f"SET GLOBAL general_log_file='{path}'"])

    def begin(self) -> None:
        """From now on they count."""
        self._tables.run(["SET GLOBAL general_log=ON"])
        self._from = self._path.stat().st_size

    def end(self) -> list[str]:
        """All since `begin` that name a table of friends' lists."""
        self._tables.run(["SET GLOBAL general_log=OFF"])
        entries = _ENTRY.split(self._path.read_text(errors="replace")[self._from :])[1:]
        given = [text for verb, text in zip(entries[::2], entries[1::2], strict=True) if verb in ("Query", "Execute")]
        return [text.strip() for text in given if LIST_TABLES.search(text)]
