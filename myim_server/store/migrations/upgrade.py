"""Runs the revisions that a database has not seen, on a connection handed in.

What must not live here: deciding whether it may be done (`checks`). Imported only where there is something to do: Alembic is slow to load.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

_HERE = Path(__file__).parent


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration for this directory; `connection` is what `env.py` migrates."""
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Brings the database to `revision` (default: the newest), inside the connection's transaction where the database allows DDL in one.

    Every step can be run again: a migration that was interrupted on MariaDB, where DDL commits by itself, goes on where it was.
    """
    command.upgrade(configuration(connection), revision)
