#!/bin/sh
# Starts one node. On a fresh machine it makes its own Python environment first, and with no arguments it plays every role on embedded
# defaults, with its data in ./myim-data. Arguments go to `python -m myim_server node`, see --help.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
started_in=$(pwd)
cd "$here"
. scripts/environment.sh
myim_environment runtime
cd "$started_in"
exec "$here/.venv/bin/python" -m myim_server node "$@"
