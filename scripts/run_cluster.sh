#!/usr/bin/env bash
# A whole cluster on this machine: MariaDB, Hazelcast, a login center, centers in a mesh, endpoints in front, each a process of its own.
#   scripts/run_cluster.sh up [--dir D] [--centers 3] [--endpoints 2] [--links tls|plain] [--directory hazelcast|static]
#       starts it, or what of it does not run; prints where to connect. All addresses are on loopback and stay the same for D.
#   scripts/run_cluster.sh status | logs [NODE] [-f] | kill NODE [SIGNAL] | drain NODE [--undo] | down [--purge]     each with [--dir D]
# D (default ./myim-cluster) holds NODE/myim.yaml, NODE/node.log and data; `down --purge` removes it. Exit codes: 0; 1 could not; 2 wrong
# arguments; status: 3 if anything of it does not run.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
started_in=$(pwd)
cd "$here"
. scripts/environment.sh
myim_environment runtime
cd "$started_in"
exec "$here/.venv/bin/python" "$here/scripts/cluster" "$@"
