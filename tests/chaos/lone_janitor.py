"""A janitor that has no center: it walks over all groups again and again, on the store of a node's configuration.

Only the chaos run of groups starts it: `python -m tests.chaos.lone_janitor CONFIG`. Between what it decides and what it removes it waits,
so that others remove the same meanwhile, members come and leave, and a kill falls between.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from random import Random  # noqa: E402

import gevent  # noqa: E402

from myim_server.chat.confirmations import Confirmations  # noqa: E402
from myim_server.chat.group_janitor import GroupJanitor  # noqa: E402
from myim_server.config import load_config  # noqa: E402
from myim_server.metrics import Metrics  # noqa: E402
from myim_server.node_parts import store_settings, wall_clock  # noqa: E402
from myim_server.refusals import StoreUnavailable  # noqa: E402
from myim_server.store.engine import Store, open_store  # noqa: E402
from myim_server.store.group_purge import GroupPurge, Head  # noqa: E402

REST_SECONDS = 0.2
DAWDLE_SECONDS = (0.0, 0.05, 0.3)


def slowed(purge: GroupPurge, random: Random) -> GroupPurge:
    """The same, but that it waits between looking and removing."""
    remove: Callable[[Sequence[Head], Sequence[int]], tuple[int, int]] = vars(GroupPurge)["_remove"].__get__(purge)

    def remove_late(heads: Sequence[Head], over: Sequence[int]) -> tuple[int, int]:
        gevent.sleep(random.choice(DAWDLE_SECONDS))
        return remove(heads, over)

    vars(purge)["_remove"] = remove_late
    return purge


def opened(path: Path) -> Store:
    """The store of that configuration."""
    return open_store(store_settings(load_config(path, os.environ)))


def main() -> None:
    """Until it is killed."""
    metrics = Metrics()
    store = opened(Path(sys.argv[1]))
    confirmations = Confirmations(store.group_cursors, gevent.spawn, gevent.sleep, 0.0, metrics)
    purge = slowed(store.group_purge, Random())
    janitor = GroupJanitor(purge, confirmations, gevent.sleep, time.monotonic, metrics)
    while True:
        try:
            janitor.walk(wall_clock())
        except StoreUnavailable:
            pass
        gevent.sleep(REST_SECONDS)


if __name__ == "__main__":
    main()
