#!/usr/bin/env bash
# Measures the product against its goals:
#   scripts/bench.sh core    [--json] [--only pairs|connections|offline|stalls] [--repeats N] [--seconds S]
#   scripts/bench.sh cluster [--json] [--only across|endpoint|totals|links|directory|kills] [--repeats N] [--seconds S]
#   scripts/bench.sh groups  [--json] [--only fan|large|posts|janitor] [--quick] [--repeats N] [--seconds S]
#   scripts/bench.sh friends [--json] [--only lists|fan|storm] [--quick] [--repeats N] [--logins N]
# Takes two free cores for some minutes; figures from a busy machine mean nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
myim_environment dev
case "${1:-}" in core | cluster | groups | friends) bench=$1 ;; *) sed -n '3,6s/^# *//p' "$0" >&2; exit 2 ;; esac
shift
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
exec .venv/bin/python -m "bench.$bench" "$@"
