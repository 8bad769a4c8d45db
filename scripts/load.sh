#!/usr/bin/env bash
# Loads a whole cluster on this host with locust's users, who log in, chat across centers, go offline and come back; prints one table:
#   scripts/load.sh [--users N] [--time SECONDS] [--centers N] [--endpoints N] [--links tls|plain] [--pause SECONDS]
# Starts and stops the cluster by scripts/run_cluster.sh. Loopback only. Exit code: 0 nothing failed, 1 something did.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
myim_environment dev
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
exec .venv/bin/python -m bench.cluster_load "$@"
