"""A node whose SQLite stops flushing (synchronous=OFF) once the file named first exists: what the flush-order test must notice.

Only that test starts it: `python -m tests.chaos.unflushed_node SWITCH_FILE node --config FILE`. No switch of the product does this.
"""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from sqlalchemy import event  # noqa: E402
from sqlalchemy.pool import Pool  # noqa: E402

from myim_server.__main__ import main  # noqa: E402


def stop_flushing_by(switch: Path) -> None:
    """From now on every connection that is taken from a pool stops flushing if `switch` exists."""

    @event.listens_for(Pool, "checkout")
    def _stop_flushing(connection: Any, record: object, proxy: object) -> None:
        if switch.exists():
            connection.execute("PRAGMA synchronous=OFF").fetchall()


if __name__ == "__main__":
    stop_flushing_by(Path(sys.argv.pop(1)))
    main()
