#!/usr/bin/env bash
# Measures the product against its goals:  scripts/bench.sh core [--json] [--only PART] [--repeats N] [--seconds S]
# Takes two free cores for some minutes; figures from a busy machine mean nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
myim_environment dev
[ "${1:-}" = core ] || { echo "usage: scripts/bench.sh core [--json] [--only pairs|connections|offline|stalls] [--repeats N] [--seconds S]" >&2; exit 2; }
shift
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
exec .venv/bin/python -m bench.core "$@"
