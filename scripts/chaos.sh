#!/usr/bin/env bash
# Kills things while applications talk, and judges what they saw:
#   scripts/chaos.sh core [--messages N] [--kills K] [--seed S] [--store sqlite|mariadb] [--users U] [--sabotage SWITCH] [--json]
# Exit code: 0 nothing broken, 1 a promise was broken, 3 the run proves nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
myim_environment dev
[ "${1:-}" = core ] || { echo "usage: scripts/chaos.sh core [--messages N] [--kills K] [--seed S] [--store sqlite|mariadb] [--json]" >&2; exit 2; }
shift
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
exec .venv/bin/python -m tests.chaos.core "$@"
