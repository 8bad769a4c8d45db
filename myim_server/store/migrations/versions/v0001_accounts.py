"""Accounts, terminals and what logging in needs. Released revisions never change."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from myim_server.store.migrations.steps import create_index_once

revision = "0001"
down_revision = None

_OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "if_not_exists": True}


def _text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def _bytes(length: int) -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary(length).with_variant(mysql.VARBINARY(length), "mysql", "mariadb")


def upgrade() -> None:
    """Creates the tables; may be run again."""
    _people()
    _changes()
    _login()


def _people() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", _text(128), nullable=False),
        sa.Column("shown_name", _text(128), nullable=False),
        sa.Column("password_hash", _text(255), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("is_locked", sa.Boolean, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        **_OPTIONS,
    )
    create_index_once("users_name", "users", ["name"], unique=True)
    op.create_table(
        "terminals",
        sa.Column("user", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("terminal_key", _bytes(32), nullable=False),
        sa.Column("fingerprint", _bytes(32), nullable=False),
        sa.Column("name", _text(128), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("last_seen", sa.BigInteger, nullable=False),
        sa.Column("last_login", sa.BigInteger, nullable=False),
        sa.Column("last_address", _text(128), nullable=False),
        **_OPTIONS,
    )
    create_index_once("terminals_key", "terminals", ["user", "terminal_key"], unique=True)
    op.create_table(
        "networks",
        sa.Column("user", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("network", _text(64), primary_key=True),
        sa.Column("last_login", sa.BigInteger, nullable=False),
        **_OPTIONS,
    )


def _changes() -> None:
    op.create_table(
        "change_counter",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        **_OPTIONS,
    )
    # One row; not a second one where this was interrupted before.
    op.execute("INSERT INTO change_counter (id, number) SELECT 1, 0 FROM (SELECT COUNT(*) AS n FROM change_counter) AS c WHERE n = 0")
    op.create_table(
        "changes",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("user", sa.BigInteger, nullable=False),
        sa.Column("slot", sa.SmallInteger, nullable=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        **_OPTIONS,
    )


def _login() -> None:
    op.create_table(
        "ticket_keys",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("wrapped", _bytes(255), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
        **_OPTIONS,
    )
    op.create_table(
        "throttles",
        sa.Column("counter", _bytes(32), primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        **_OPTIONS,
    )
    create_index_once("throttles_age", "throttles", ["until"])
    op.create_table(
        "nodes",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("boots", sa.BigInteger, nullable=False),
        sa.Column("booted", sa.BigInteger, nullable=False),
        **_OPTIONS,
    )
