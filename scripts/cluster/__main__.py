"""What `scripts/run_cluster.sh` runs."""

import sys

from gevent import monkey

monkey.patch_all()  # the store of the cluster is opened here

from commands import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
