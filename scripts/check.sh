#!/bin/bash
# Everything that must hold, on a fresh clone of a fresh Debian or Ubuntu: installs what it needs, then style, types, import contracts and
# every test, the cheap steps first; the first step that fails ends it. Tests are found by directory: a new one needs no change here.
# Prints each step's seconds and ends with one line, 'N passed, N failed'. Arguments are handed to every pytest run.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. scripts/environment.sh

reports=$(mktemp -d)
passed=0 failed=0 begun=$SECONDS

finish() {
    code=$?
    rm -rf "$reports"
    echo "== $passed passed, $failed failed in $((SECONDS - begun)) s"
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
    compgen -G "/usr/lib/*/faketime/libfaketime.so.1" >/dev/null || missing+=(libfaketime)
    [ ${#missing[@]} -eq 0 ] || myim_apt "${missing[@]}"
}

# Counts come from pytest's own closing line.
run_tests() {
    local log="$reports/log" code
    .venv/bin/python -m pytest -q "$@" 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    local closing
    closing=$(grep -E '[0-9]+ (passed|failed|error)' "$log" | tail -1)
    passed=$((passed + $(grep -oE '[0-9]+ passed' <<<"$closing" | grep -oE '[0-9]+' || echo 0)))
    for word in failed errors? ; do
        failed=$((failed + $(grep -oE "[0-9]+ $word" <<<"$closing" | grep -oE '[0-9]+' || echo 0)))
    done
    if grep -qE '[0-9]+ skipped' <<<"$closing"; then
        echo "A skipped test proves nothing: $closing"
        return 1
    fi
    return "$code"
}

present() {
    for path in "$@"; do [ -e "$path" ] && echo "$path"; done
    return 0
}

has_tests() {
    [ -n "$(find "$1" -name 'test_*.py' -print -quit)" ]
}

# Slow directories come last, one by one; they keep both cores busy themselves, so no xdist around them.
slow="model interop fuzz scenarios chaos bench"

fast_directories() {
    local directory name
    for directory in tests/*/; do
        name=$(basename "$directory")
        case " $slow house __pycache__ " in *" $name "*) continue ;; esac
        has_tests "$directory" && echo "$directory"
    done
    return 0
}

step "system packages" system_packages
step "environment" myim_environment dev
step "style (ruff)" .venv/bin/ruff check .
step "import contracts" .venv/bin/lint-imports
step "house rules" run_tests tests/house
step "types (mypy --strict)" .venv/bin/mypy --strict $(present myim_wire cluster myim_server myim_client bench tests)
step "tests" run_tests -n 2 --dist loadgroup "$@" $(fast_directories)
for name in $slow; do
    if [ -d "tests/$name" ] && has_tests "tests/$name"; then
        step "tests/$name" run_tests "$@" "tests/$name"
    fi
done
