"""Groups: their members, pendings, messages and names. Released revisions never change."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from myim_server.store.migrations.steps import create_index_once

revision = "0004"
down_revision = "0003"

_OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "if_not_exists": True}


def _text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def upgrade() -> None:
    """Creates the tables; may be run again."""
    _groups()
    _people()
    _messages()


def _groups() -> None:
    op.create_table(
        "chat_groups",
        _key("id"),
        sa.Column("name", _text(64), nullable=False),
        sa.Column("description", _text(1000), nullable=False),
        sa.Column("join_by", sa.SmallInteger, nullable=False),
        sa.Column("is_muted", sa.Boolean, nullable=False),
        sa.Column("owner", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("members", sa.Integer, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("creator", sa.BigInteger, nullable=False),
        sa.Column("creation_time", sa.BigInteger, nullable=False),
        **_OPTIONS,
    )
    create_index_once("chat_groups_creation", "chat_groups", ["creator", "creation_time"], unique=True)


def _people() -> None:
    op.create_table(
        "group_members",
        _key("chat_group"),
        _key("user"),
        sa.Column("role", sa.SmallInteger, nullable=False),
        sa.Column("cursor_number", sa.BigInteger, nullable=False),
        sa.Column("joined", sa.BigInteger, nullable=False),
        sa.Column("muted_until", sa.BigInteger, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        **_OPTIONS,
    )
    create_index_once("group_members_user", "group_members", ["user", "chat_group"])
    op.create_table(
        "group_pending",
        _key("chat_group"),
        _key("user"),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("asked_by", sa.BigInteger, nullable=False),
        sa.Column("words", _text(200), nullable=False),
        sa.Column("made", sa.BigInteger, nullable=False),
        **_OPTIONS,
    )
    create_index_once("group_pending_user", "group_pending", ["user", "chat_group"])


def _messages() -> None:
    op.create_table(
        "group_messages",
        _key("chat_group"),
        _key("number"),
        sa.Column("user", sa.BigInteger, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("accepted", sa.BigInteger, nullable=False),
        sa.Column("entered", sa.BigInteger, nullable=False),
        sa.Column("message_id", sa.BigInteger, nullable=False),
        sa.Column("members", sa.Integer, nullable=False),
        sa.Column("sent", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary(65535).with_variant(mysql.BLOB(), "mysql", "mariadb"), nullable=False),
        **_OPTIONS,
    )
    op.create_table("group_leftovers", _key("chat_group"), **_OPTIONS)
    op.create_table(
        "group_names",
        _key("chat_group"),
        _key("user"),
        _key("time"),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("made", sa.BigInteger, nullable=False),
        **_OPTIONS,
    )
    create_index_once("group_names_age", "group_names", ["made"])
