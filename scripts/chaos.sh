#!/usr/bin/env bash
# Kills things while applications talk, and judges what they saw:
#   scripts/chaos.sh core [--messages N] [--kills K] [--seed S] [--store sqlite|mariadb] [--users U] [--sabotage SWITCH] [--json]
#   scripts/chaos.sh cluster [--messages N] [--faults M] [--seed S] [--every 2-5] [--links tls|plain] [--directory hazelcast|static]
#                            [--users U] [--only SORT,…] [--sabotage SWITCH] [--keep DIR] [--json]
#   scripts/chaos.sh groups [--messages N] [--kills K] [--seed S] [--store sqlite|mariadb] [--centers C] [--users U] [--rate R]
#                           [--sabotage SWITCH] [--keep DIR] [--json]
# Exit code: 0 nothing broken, 1 a promise was broken, 3 the run proves nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
myim_environment dev
case ${1:-} in
    core | cluster | groups) run=$1; shift ;;
    *) echo "usage: scripts/chaos.sh core|cluster|groups [--messages N] [--seed S] [--json] …, see --help" >&2; exit 2 ;;
esac
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
exec .venv/bin/python -m "tests.chaos.$run" "$@"
