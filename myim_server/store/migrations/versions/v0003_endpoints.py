"""Endpoints that were admitted. Released revisions never change."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from myim_server.store.migrations.steps import create_index_once

revision = "0003"
down_revision = "0002"

_OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "if_not_exists": True}


def upgrade() -> None:
    """Creates the table; may be run again."""
    name = sa.String(128).with_variant(mysql.VARCHAR(128, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
    op.create_table(
        "endpoints",
        sa.Column("node", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("fingerprint", sa.LargeBinary(32).with_variant(mysql.VARBINARY(32), "mysql", "mariadb"), nullable=False),
        sa.Column("name", name, nullable=False),
        sa.Column("admitted", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger, nullable=True),
        **_OPTIONS,
    )
    create_index_once("endpoints_name", "endpoints", ["name"], unique=True)
