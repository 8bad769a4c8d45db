"""The tables as they are now, for both databases, and how a u64 is kept in them.

What lives here: table definitions for SQLAlchemy Core and the list of schema versions. What must not: queries, and history: how a database
gets here is the business of `migrations/`, and a test holds the two together.

Every u64 is kept as the signed 64-bit number of the same bits (SQLite has no other, and a terminal's `time` may be any u64). Times of our
own are microseconds since 1970. Bodies and keys are bytes; names are utf8mb4 with a binary collation, so nothing is compared "nearly".
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    TypeDecorator,
)
from sqlalchemy.dialects import mysql

# In their order; the last is what this program needs. Old names never change.
REVISIONS = ("0001", "0002", "0003", "0004", "0005")
VERSION_TABLE = "myim_schema"
COLLATION = "utf8mb4_bin"
MYSQL_TABLE = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": COLLATION}

_TOP = 1 << 63
_ALL = 1 << 64


def signed(value: int) -> int:
    """The number that stands for this u64 in a table."""
    return value if value < _TOP else value - _ALL


def unsigned(value: int) -> int:
    """The u64 that a number in a table stands for."""
    return value if value >= 0 else value + _ALL


def slot_of(time: int) -> int:
    """The sender terminal's slot in a message's name [P-3.6]."""
    return time & 63


class U64(TypeDecorator[int]):
    """A u64 in a BIGINT column, by `signed` and `unsigned`."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:
        return None if value is None else signed(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        return None if value is None else unsigned(value)


def _counter() -> Any:
    # SQLite counts up only in a column of this very type.
    return BigInteger().with_variant(Integer(), "sqlite")


def _text(length: int) -> Any:
    return String(length).with_variant(mysql.VARCHAR(length, charset="utf8mb4", collation=COLLATION), "mysql", "mariadb")


def _bytes(length: int) -> Any:
    return LargeBinary(length).with_variant(mysql.VARBINARY(length), "mysql", "mariadb")


def _table(name: str, *parts: Column[Any] | Index, **options: Any) -> Table[Any]:
    made: Table[Any] = Table(name, metadata, *parts, **{**MYSQL_TABLE, **options})
    return made


metadata = MetaData()

users = _table(
    "users",
    Column("id", U64, primary_key=True, autoincrement=False),
    Column("name", _text(128), nullable=False),
    Column("shown_name", _text(128), nullable=False),
    Column("password_hash", _text(255), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("is_locked", Boolean, nullable=False),
    Column("created", BigInteger, nullable=False),
    Index("users_name", "name", unique=True),
)

terminals = _table(
    "terminals",
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("terminal_key", _bytes(32), nullable=False),
    Column("fingerprint", _bytes(32), nullable=False),
    Column("name", _text(128), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("last_login", BigInteger, nullable=False),
    Column("last_address", _text(128), nullable=False),
    # 0: before this was kept. `is_told`: whether the user has seen the warning that it is new.
    Column("first_seen", BigInteger, nullable=False, server_default="0"),
    Column("is_told", Boolean, nullable=False, server_default="1"),
    # Whether the owner chose the name; whether it was logged out since its last login.
    Column("is_renamed", Boolean, nullable=False, server_default="0"),
    Column("is_revoked", Boolean, nullable=False, server_default="0"),
    Index("terminals_key", "user", "terminal_key", unique=True),
)

networks = _table(
    "networks",
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("network", _text(64), primary_key=True),
    Column("last_login", BigInteger, nullable=False),
)

# One row: whoever writes to `changes` holds it until commit, so the numbers become visible in their order.
change_counter = _table(
    "change_counter",
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)

changes = _table(
    "changes",
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("user", U64, nullable=False),
    Column("slot", SmallInteger, nullable=True),
    Column("generation", BigInteger, nullable=False),
)

# Ids of these two are never given twice: a token names its key for ever, and a session remembers the rows it was handed.
ticket_keys = _table(
    "ticket_keys",
    Column("id", _counter(), primary_key=True, autoincrement=True),
    Column("wrapped", _bytes(255), nullable=False),
    Column("created", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

offline_messages = _table(
    "offline_messages",
    Column("id", _counter(), primary_key=True, autoincrement=True),
    Column("target", U64, nullable=False),
    Column("user", U64, nullable=False),
    Column("time", U64, nullable=False),
    Column("slot", SmallInteger, nullable=False),
    Column("qos", SmallInteger, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("entered", U64, nullable=False),
    Column("message_id", U64, nullable=False),
    Column("size", Integer, nullable=False),
    Column("body", LargeBinary(65535).with_variant(mysql.BLOB(), "mysql", "mariadb"), nullable=False),
    Index("offline_name", "target", "user", "time", unique=True),
    # `size` is there so that quotas are counted from the index alone.
    Index("offline_page", "target", "accepted", "id", "size"),
    sqlite_autoincrement=True,
)

receipts = _table(
    "receipts",
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("time", U64, primary_key=True, autoincrement=False),
    Column("target", U64, primary_key=True, autoincrement=False),
    Column("accepted", BigInteger, nullable=False),
    Index("receipts_age", "accepted"),
)

# Receipts of those who do not want to be seen: they become receipts when their target may be seen again.
held_receipts = _table(
    "held_receipts",
    Column("target", U64, primary_key=True, autoincrement=False),
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("time", U64, primary_key=True, autoincrement=False),
    Column("accepted", BigInteger, nullable=False),
    Index("held_receipts_user", "user"),
    Index("held_receipts_age", "accepted"),
)

# A counter's name is kept as its SHA-256: any length and any letters, compared exactly, and no address in the clear.
throttles = _table(
    "throttles",
    Column("counter", _bytes(32), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Index("throttles_age", "until"),
)

nodes = _table(
    "nodes",
    Column("id", U64, primary_key=True, autoincrement=False),
    Column("boots", BigInteger, nullable=False),
    Column("booted", BigInteger, nullable=False),
)

endpoints = _table(
    "endpoints",
    Column("node", U64, primary_key=True, autoincrement=False),
    Column("fingerprint", _bytes(32), nullable=False),
    Column("name", _text(128), nullable=False),
    Column("admitted", BigInteger, nullable=False),
    Column("revoked", BigInteger, nullable=True),
    Index("endpoints_name", "name", unique=True),
)

# Roles, kinds and ways to join are kept as their places in the lists of `group_values`. A group's id is never given twice.
chat_groups = _table(
    "chat_groups",
    Column("id", U64, primary_key=True, autoincrement=False),
    Column("name", _text(64), nullable=False),
    Column("description", _text(1000), nullable=False),
    Column("join_by", SmallInteger, nullable=False),
    Column("is_muted", Boolean, nullable=False),
    Column("owner", U64, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("members", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    # The name of the request that made it.
    Column("creator", U64, nullable=False),
    Column("creation_time", U64, nullable=False),
    Index("chat_groups_creation", "creator", "creation_time", unique=True),
)

group_members = _table(
    "group_members",
    Column("chat_group", U64, primary_key=True, autoincrement=False),
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("role", SmallInteger, nullable=False),
    Column("cursor_number", BigInteger, nullable=False),
    Column("joined", BigInteger, nullable=False),
    Column("muted_until", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    Index("group_members_user", "user", "chat_group"),
)

group_pending = _table(
    "group_pending",
    Column("chat_group", U64, primary_key=True, autoincrement=False),
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, nullable=False),
    Column("asked_by", U64, nullable=False),
    Column("words", _text(200), nullable=False),
    Column("made", BigInteger, nullable=False),
    Index("group_pending_user", "user", "chat_group"),
    Index("group_pending_by", "asked_by"),
)

# `members`: how many the row waits for; `sent`: how many of them have confirmed it.
group_messages = _table(
    "group_messages",
    Column("chat_group", U64, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("user", U64, nullable=False),
    Column("time", U64, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("entered", U64, nullable=False),
    Column("message_id", U64, nullable=False),
    Column("members", Integer, nullable=False),
    Column("sent", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("body", LargeBinary(65535).with_variant(mysql.BLOB(), "mysql", "mariadb"), nullable=False),
)

# Dissolved groups of which messages are left.
group_leftovers = _table("group_leftovers", Column("chat_group", U64, primary_key=True, autoincrement=False))

group_names = _table(
    "group_names",
    Column("chat_group", U64, primary_key=True, autoincrement=False),
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("time", U64, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("made", BigInteger, nullable=False),
    Index("group_names_age", "made"),
)

# Of who never set one there is no row. Choices are kept as their places in the lists of `profile_values`.
profiles = _table(
    "profiles",
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("display_name", _text(64), nullable=False),
    Column("avatar", _text(255), nullable=False),
    Column("signature", _text(200), nullable=False),
    Column("searchable", SmallInteger, nullable=False),
    Column("asking", SmallInteger, nullable=False),
)

# Whoever changes anything between users holds their rows here, ascending, until commit. `removals_from`: since which version all removals
# are known; `last_group`: the highest id of a friend group that was given; `root`: right unless `is_stale`.
friend_lists = _table(
    "friend_lists",
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("removals_from", BigInteger, nullable=False),
    Column("last_group", BigInteger, nullable=False),
    Column("root", _bytes(32), nullable=False),
    Column("is_stale", Boolean, nullable=False),
)

friend_groups = _table(
    "friend_groups",
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", _text(64), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("hash", _bytes(16), nullable=False),
    Column("is_stale", Boolean, nullable=False),
)

# Two rows for two friends, one in the list of each. `version`: of the list, when what it shows of this friend changed last.
friends = _table(
    "friends",
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("friend", U64, primary_key=True, autoincrement=False),
    Column("friend_group", BigInteger, nullable=False),
    Column("remark", _text(64), nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index("friends_page", "user", "friend_group", "friend"),
    Index("friends_changed", "user", "version"),
)

# Who is a friend no more, since which version of the list.
friend_removals = _table(
    "friend_removals",
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("friend", U64, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Index("friend_removals_changed", "user", "version"),
    Index("friend_removals_friend", "friend"),
)

friend_requests = _table(
    "friend_requests",
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("asker", U64, primary_key=True, autoincrement=False),
    Column("words", _text(200), nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Index("friend_requests_asker", "asker", "user"),
)

blocks = _table(
    "blocks",
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("blocked", U64, primary_key=True, autoincrement=False),
    Column("made", BigInteger, nullable=False),
    Index("blocks_blocked", "blocked", "user"),
)

logins = _table(
    "logins",
    Column("user", U64, primary_key=True, autoincrement=False),
    Column("time", BigInteger, primary_key=True, autoincrement=False),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("address", _text(128), nullable=False),
    Column("terminal", _text(128), nullable=False),
    Column("is_new_terminal", Boolean, nullable=False),
    Column("is_new_network", Boolean, nullable=False),
    Index("logins_age", "time"),
)

# Accounts that are gone, for ever: their ids are not given again. `done`: when the last of what was theirs went; NULL: some is left.
deletions = _table(
    "deletions",
    Column("user", U64, primary_key=True, autoincrement=False),
    # Kept from others for a while; NULL once it may be taken.
    Column("name", _text(128), nullable=True),
    Column("made", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=True),
    Index("deletions_name", "name"),
    Index("deletions_open", "done"),
)
