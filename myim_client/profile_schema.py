"""The tables of a profile, and how a file of an earlier release comes to have them. No rows are read or written here.

Version 1: account, outbox, seen-set, names. Version 2: groups, and posts in the outbox. Version 3: friends, and the own presence. Each
step is one transaction; a file that was taken further is refused by the release before, as every release refuses what it does not know.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from myim_client.errors import ProfileRefused

_STEPS = (
    """
CREATE TABLE myim_account (one INTEGER PRIMARY KEY CHECK (one = 1), login_server TEXT NOT NULL, user INTEGER NOT NULL, name TEXT NOT NULL,
  slot INTEGER NOT NULL, terminal_key BLOB NOT NULL, token BLOB NOT NULL, session_key BLOB NOT NULL, renew_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL, connection_number INTEGER NOT NULL, last_time INTEGER NOT NULL, servers BLOB NOT NULL);
CREATE TABLE myim_outbox (time INTEGER PRIMARY KEY, target INTEGER NOT NULL, body BLOB NOT NULL, enqueued INTEGER NOT NULL,
  state INTEGER NOT NULL);
CREATE TABLE myim_seen (user INTEGER NOT NULL, time INTEGER NOT NULL, shown INTEGER NOT NULL, PRIMARY KEY (user, time)) WITHOUT ROWID;
CREATE TABLE myim_names (user INTEGER PRIMARY KEY, name TEXT NOT NULL);
""",
    """
ALTER TABLE myim_outbox ADD COLUMN is_post INTEGER NOT NULL DEFAULT 0;
CREATE TABLE myim_groups (id INTEGER PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL, entry TEXT NOT NULL,
  is_muted INTEGER NOT NULL, number INTEGER NOT NULL, version INTEGER NOT NULL, members INTEGER NOT NULL, role TEXT NOT NULL,
  muted_until INTEGER NOT NULL, joined INTEGER NOT NULL);
CREATE TABLE myim_group_positions (id INTEGER PRIMARY KEY, position INTEGER NOT NULL);
CREATE TABLE myim_group_shown (id INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (id, number)) WITHOUT ROWID;
""",
    """
CREATE TABLE myim_friend_list (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, root BLOB NOT NULL);
CREATE TABLE myim_friend_groups (id INTEGER PRIMARY KEY, name TEXT NOT NULL, position INTEGER NOT NULL);
CREATE TABLE myim_friends (user INTEGER PRIMARY KEY, in_group INTEGER NOT NULL, name TEXT NOT NULL, remark TEXT NOT NULL,
  display_name TEXT NOT NULL, avatar TEXT NOT NULL, signature TEXT NOT NULL);
CREATE TABLE myim_presence (one INTEGER PRIMARY KEY CHECK (one = 1), state TEXT NOT NULL, text TEXT NOT NULL);
""",
)
SCHEMA_VERSION = len(_STEPS)


def open_database(path: Path) -> sqlite3.Connection:
    """The database of a profile, its tables made or brought up to this release. Raises ProfileRefused, sqlite3.Error."""
    database = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False, cached_statements=64)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        # FULL: in WAL mode anything less does not flush at commit, and a settled send would be a lie after a power failure
        database.execute("PRAGMA synchronous = FULL")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if not 0 <= version <= SCHEMA_VERSION:
            raise ProfileRefused(f"{path} is of schema {version}, this release knows {SCHEMA_VERSION}")
        if version < SCHEMA_VERSION:
            database.executescript(f"BEGIN IMMEDIATE; {''.join(_STEPS[version:])} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    except BaseException:
        database.close()
        raise
    return database
