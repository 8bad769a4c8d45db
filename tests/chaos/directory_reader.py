"""Reads the whole directory twice a second, as a center would, into a file: {"places": {user: [[center, endpoint], …]} | null}.

What lives here: one process with a directory of its own. What must not: the comparison (directory_truth).
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402
import structlog  # noqa: E402

from cluster.hazelcast_directory import HazelcastDirectory  # noqa: E402
from myim_server.keys import open_cluster_secret  # noqa: E402
from myim_server.node_links import directory_key  # noqa: E402

OWN_NODE = 1
READ_SECONDS = 0.5


def main() -> None:
    """Until killed."""
    said = json.loads(Path(sys.argv[1]).read_text())
    key = directory_key(open_cluster_secret(Path(said["secret_file"])))
    name = Path(said["cluster_name_file"]).read_text().strip()
    log, is_checked = structlog.get_logger(), said["sabotage"] != "lease_unchecked"  # it sees with the eyes of the centers under test
    directory = HazelcastDirectory(said["members"], name, key, OWN_NODE, time.monotonic, log, check_lease=is_checked)
    directory.start()
    out, draft = Path(said["out"]), Path(said["out"]).with_suffix(".draft")
    while True:
        found = directory.find(said["users"])
        places = None if found is None else {user: [(place.center, place.endpoint) for place in places] for user, places in found.items()}
        draft.write_text(json.dumps({"places": places}))
        os.replace(draft, out)
        gevent.sleep(READ_SECONDS)


if __name__ == "__main__":
    main()
