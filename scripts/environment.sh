#!/bin/sh
# Makes .venv in the repository from the pinned requirements: "runtime" (the default) for nodes and clients, "dev" for checks too.
# Sourced by the other scripts. When nothing changed it costs a hash, no pip. Needs Python 3.11 or later; on Debian and Ubuntu, as
# root, it installs the missing venv module itself.

myim_python() {
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null 2>&1 && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            echo "$name"
            return 0
        fi
    done
    return 1
}

# Installs Debian packages, quietly unless it fails; refreshes the package lists only when that is needed.
myim_apt() {
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "Please install: $*" >&2
        return 1
    fi
    if [ "$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi
    apt_log=$(mktemp)
    install="$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q $*"
    if ! $install >"$apt_log" 2>&1; then
        $sudo apt-get update -q >>"$apt_log" 2>&1 || true
        $install >>"$apt_log" 2>&1 || { cat "$apt_log" >&2; rm -f "$apt_log"; return 1; }
    fi
    rm -f "$apt_log"
}

# What the environment depends on, as one hash: the pins, the console scripts, and how it is made.
myim_wanted() {
    { cat "$@" scripts/environment.sh; sed -n '/^\[project/,/^$/p' pyproject.toml; } | sha256sum | cut -c1-64
}

myim_environment() {
    kind=${1:-runtime}
    files=requirements.txt
    [ "$kind" = dev ] && files="requirements.txt requirements-dev.txt"
    wanted=$(myim_wanted $files)
    stamp=.venv/.stamp-$kind
    if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    python=$(myim_python) || { myim_apt python3 python3-venv && python=$(myim_python); } \
        || { echo "MyIM needs Python 3.11 or later." >&2; return 1; }
    "$python" -c 'import ensurepip, venv' 2>/dev/null || myim_apt "$(basename "$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')")-venv" || return 1
    echo "Making the Python environment in .venv (once; a minute or two) …" >&2
    [ -x .venv/bin/python ] || "$python" -m venv .venv || return 1
    set --
    for file in $files; do set -- "$@" -r "$file"; done
    .venv/bin/python -m pip install -q --disable-pip-version-check "$@" >&2 || return 1
    # Editable and without dependencies: `myim` and `python -m myim_server` then work from any directory. Compat: the directory itself is on
    # the path, so that a package added later is found too.
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation --config-settings editable_mode=compat -e . >&2 || return 1
    echo "$wanted" >"$stamp"
    # dev contains runtime
    if [ "$kind" = dev ]; then
        myim_wanted requirements.txt >.venv/.stamp-runtime
    fi
}
