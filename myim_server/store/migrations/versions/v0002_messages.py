"""Offline messages and the receipts for them. Released revisions never change."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from myim_server.store.migrations.steps import create_index_once

revision = "0002"
down_revision = "0001"

_OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "if_not_exists": True}


def upgrade() -> None:
    """Creates the tables; may be run again."""
    op.create_table(
        "offline_messages",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("target", sa.BigInteger, nullable=False),
        sa.Column("user", sa.BigInteger, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("slot", sa.SmallInteger, nullable=False),
        sa.Column("qos", sa.SmallInteger, nullable=False),
        sa.Column("accepted", sa.BigInteger, nullable=False),
        sa.Column("entered", sa.BigInteger, nullable=False),
        sa.Column("message_id", sa.BigInteger, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary(65535).with_variant(mysql.BLOB(), "mysql", "mariadb"), nullable=False),
        sqlite_autoincrement=True,
        **_OPTIONS,
    )
    create_index_once("offline_name", "offline_messages", ["target", "user", "time"], unique=True)
    create_index_once("offline_page", "offline_messages", ["target", "accepted", "id", "size"])
    op.create_table(
        "receipts",
        sa.Column("user", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("time", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("target", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("accepted", sa.BigInteger, nullable=False),
        **_OPTIONS,
    )
    create_index_once("receipts_age", "receipts", ["accepted"])
