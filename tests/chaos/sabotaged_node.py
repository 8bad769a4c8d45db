"""A node with one mechanism of the cluster broken on purpose: what the chaos run or a focused test must notice.

Only tests and `scripts/chaos.sh cluster --sabotage` start it: `python -m tests.chaos.sabotaged_node NAME node --config FILE`. No switch of
the product does this. (What breaks rules of delivery is in `myim_server.chat.sabotage`.)
"""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from functools import partial  # noqa: E402

from cluster.hazelcast_directory import HazelcastDirectory  # noqa: E402
from myim_server import node_links  # noqa: E402
from myim_server.__main__ import main  # noqa: E402


def directory_without_compare() -> None:
    """Entries of the directory are written and removed without looking whether somebody else changed them meanwhile."""
    vars(node_links)["HazelcastDirectory"] = partial(HazelcastDirectory, compare_on_remove=False)


def lease_unchecked() -> None:
    """Entries of nodes that died are believed for ever."""
    vars(node_links)["HazelcastDirectory"] = partial(HazelcastDirectory, check_lease=False)


SABOTAGES: dict[str, Callable[[], None]] = {
    "directory_without_compare": directory_without_compare,
    "lease_unchecked": lease_unchecked,
}


if __name__ == "__main__":
    SABOTAGES[sys.argv.pop(1)]()
    main()
