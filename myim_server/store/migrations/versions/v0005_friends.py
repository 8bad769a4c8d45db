"""Friends, profiles and what accounts know of their logins. Released revisions never change."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from myim_server.store.migrations.steps import add_column_once, create_index_once

revision = "0005"
down_revision = "0004"

_OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "if_not_exists": True}


def _text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def _bytes(length: int) -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary(length).with_variant(mysql.VARBINARY(length), "mysql", "mariadb")


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _truth(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


def _words(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, _text(length), nullable=False)


def upgrade() -> None:
    """Creates the tables and columns; may be run again."""
    _profiles()
    _lists()
    _between_users()
    _accounts()
    # An account that is deleted must be found as who invited, too.
    create_index_once("group_pending_by", "group_pending", ["asked_by"])


def _profiles() -> None:
    op.create_table(
        "profiles",
        _key("user"),
        _number("version"),
        _words("display_name", 64),
        _words("avatar", 255),
        _words("signature", 200),
        sa.Column("searchable", sa.SmallInteger, nullable=False),
        sa.Column("asking", sa.SmallInteger, nullable=False),
        **_OPTIONS,
    )


def _lists() -> None:
    op.create_table(
        "friend_lists",
        _key("user"),
        _number("version"),
        _number("removals_from"),
        _number("last_group"),
        sa.Column("root", _bytes(32), nullable=False),
        _truth("is_stale"),
        **_OPTIONS,
    )
    op.create_table(
        "friend_groups",
        _key("user"),
        _key("id"),
        _words("name", 64),
        _number("position"),
        sa.Column("hash", _bytes(16), nullable=False),
        _truth("is_stale"),
        **_OPTIONS,
    )
    op.create_table(
        "friends",
        _key("user"),
        _key("friend"),
        _number("friend_group"),
        _words("remark", 64),
        _number("since"),
        _number("version"),
        **_OPTIONS,
    )
    create_index_once("friends_page", "friends", ["user", "friend_group", "friend"])
    create_index_once("friends_changed", "friends", ["user", "version"])
    op.create_table("friend_removals", _key("user"), _key("friend"), _number("version"), **_OPTIONS)
    create_index_once("friend_removals_changed", "friend_removals", ["user", "version"])
    create_index_once("friend_removals_friend", "friend_removals", ["friend"])


def _between_users() -> None:
    op.create_table(
        "friend_requests",
        _key("user"),
        _key("asker"),
        _words("words", 200),
        _number("made"),
        sa.Column("state", sa.SmallInteger, nullable=False),
        **_OPTIONS,
    )
    create_index_once("friend_requests_asker", "friend_requests", ["asker", "user"])
    op.create_table("blocks", _key("user"), _key("blocked"), _number("made"), **_OPTIONS)
    create_index_once("blocks_blocked", "blocks", ["blocked", "user"])
    op.create_table("held_receipts", _key("target"), _key("user"), _key("time"), _number("accepted"), **_OPTIONS)
    create_index_once("held_receipts_user", "held_receipts", ["user"])
    create_index_once("held_receipts_age", "held_receipts", ["accepted"])


def _accounts() -> None:
    add_column_once("terminals", sa.Column("first_seen", sa.BigInteger, nullable=False, server_default="0"))
    add_column_once("terminals", sa.Column("is_told", sa.Boolean, nullable=False, server_default="1"))
    add_column_once("terminals", sa.Column("is_renamed", sa.Boolean, nullable=False, server_default="0"))
    add_column_once("terminals", sa.Column("is_revoked", sa.Boolean, nullable=False, server_default="0"))
    op.create_table(
        "logins",
        _key("user"),
        _key("time"),
        sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False),
        _words("address", 128),
        _words("terminal", 128),
        _truth("is_new_terminal"),
        _truth("is_new_network"),
        **_OPTIONS,
    )
    create_index_once("logins_age", "logins", ["time"])
    op.create_table(
        "deletions",
        _key("user"),
        sa.Column("name", _text(128), nullable=True),
        _number("made"),
        sa.Column("done", sa.BigInteger, nullable=True),
        **_OPTIONS,
    )
    create_index_once("deletions_name", "deletions", ["name"])
    create_index_once("deletions_open", "deletions", ["done"])
