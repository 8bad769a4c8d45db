#!/bin/bash
# Everything that must hold, on a fresh clone of a fresh Debian or Ubuntu: installs what it needs, then style, types, import contracts and
# every test, the cheap steps first; the first step that fails ends it. Tests are found by directory: a new one needs no change here.
# Prints each step's seconds and ends with one line, 'N passed, N failed'. Arguments are handed to every pytest run.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. scripts/environment.sh

reports=$(mktemp -d)
passed=0 failed=0 begun=$SECONDS arguments=("$@")

finish() {
    code=$?
    rm -rf "$reports"
    echo "== $((SECONDS - begun)) s"
    echo "$passed passed, $failed failed"
    exit "$code"
}
trap finish EXIT

step() {
    local title=$1 since=$SECONDS
    shift
    echo "== $title"
    "$@" || { echo "== $title: FAILED after $((SECONDS - since)) s"; exit 1; }
    echo "== $title: $((SECONDS - since)) s"
}

system_packages() {
    local missing=()
    command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || missing+=(mariadb-server)
    command -v strace >/dev/null || missing+=(strace)
    command -v node >/dev/null || missing+=(nodejs)
    command -v ip >/dev/null || missing+=(iproute2)
    command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
    command -v mvn >/dev/null || missing+=(maven)
    [ ${#missing[@]} -eq 0 ] || myim_apt "${missing[@]}"
}

# One directory of tests in a pytest of its own; its exit code and closing line are left in $reports. A hang ends after 25 minutes.
run_directory() {
    local directory=$1 since=$SECONDS name
    shift
    name=${directory//\//-}
    timeout -k 10 1500 .venv/bin/python -m pytest -q "$@" "$directory" >"$reports/$name.log" 2>&1
    echo $? >"$reports/$name.code"
    { flock 9; cat "$reports/$name.log"; echo "-- $directory: $((SECONDS - since)) s"; } 9>"$reports/lock"
}

# Directories side by side, one per core of two. (Not pytest-xdist: its workers wait on threads that gevent's patch takes away.)
run_tests() {
    local jobs=$1 directory verdict=0
    shift
    for directory in "$@"; do
        while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do wait -n; done
        run_directory "$directory" ${arguments[@]+"${arguments[@]}"} &
    done
    wait
    for directory in "$@"; do judge "$directory" || verdict=1; done
    return $verdict
}

# Counts come from pytest's own closing line.
judge() {
    local name=${1//\//-} closing
    closing=$(grep -E '[0-9]+ (passed|failed|errors?)\b.* in ' "$reports/$name.log" | tail -1)
    passed=$((passed + $(count passed "$closing")))
    failed=$((failed + $(count failed "$closing") + $(count 'errors?' "$closing")))
    if grep -qE '[0-9]+ (skipped|xfailed)' <<<"$closing"; then
        echo "A skipped test proves nothing: $1: $closing"
        return 1
    fi
    [ "$(cat "$reports/$name.code")" = 0 ] || { echo "tests failed in $1: ${closing:-no closing line, exit code $(cat "$reports/$name.code")}"; return 1; }
}

count() {
    local number
    number=$(grep -oE "[0-9]+ $1\b" <<<"$2" | grep -oE '^[0-9]+')
    echo "${number:-0}"
}

present() {
    for path in "$@"; do [ -e "$path" ] && echo "$path"; done
    return 0
}

has_tests() {
    [ -n "$(find "$1" -name 'test_*.py' -print -quit)" ]
}

# These keep both cores busy by themselves: they come last, one by one.
slow="model interop fuzz scenarios chaos bench"

fast_directories() {
    local directory name
    for directory in tests/*/; do
        name=$(basename "$directory")
        case " $slow house __pycache__ " in *" $name "*) continue ;; esac
        has_tests "$directory" && echo "${directory%/}"
    done
    return 0
}

step "system packages" system_packages
step "environment" myim_environment dev
step "style (ruff)" .venv/bin/ruff check .
step "import contracts" .venv/bin/lint-imports
step "house rules" run_tests 1 tests/house
step "types (mypy --strict)" .venv/bin/mypy --strict $(present myim_wire cluster myim_server myim_client bench tests)
step "tests" run_tests 2 $(fast_directories)
for name in $slow; do
    if [ -d "tests/$name" ] && has_tests "tests/$name"; then
        step "tests/$name" run_tests 1 "tests/$name"
    fi
done
