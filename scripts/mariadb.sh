#!/usr/bin/env bash
# A private MariaDB for tests, benches, chaos and CI: data in DIR, loopback only, utf8mb4, flushed at commit.
#   scripts/mariadb.sh start DIR [mariadbd options…]   prints the port; DIR/password (0600) holds root's password
#   scripts/mariadb.sh stop DIR | status DIR
# A start on a DIR that was used before keeps its data, password and port. Extra options of a start are not kept.
set -euo pipefail

fail() { echo "mariadb.sh: $*" >&2; exit 1; }

need_server() {
    command -v mariadbd >/dev/null && return
    [ "$(id -u)" = 0 ] || fail "mariadbd is missing; install it: apt-get install mariadb-server"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q mariadb-server >&2
    command -v mariadbd >/dev/null || fail "mariadbd is missing after apt-get install"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# A killed server whose parent has not looked yet is a zombie, and runs no more.
is_running() { [ -s "$1/mariadbd.pid" ] && [ "$(cut -d' ' -f3 "/proc/$(cat "$1/mariadbd.pid")/stat" 2>/dev/null)" != Z ] && kill -0 "$(cat "$1/mariadbd.pid")" 2>/dev/null && [ "$(cat "/proc/$(cat "$1/mariadbd.pid")/comm" 2>/dev/null)" = mariadbd ]; }

# A unix socket's path may have 107 bytes; a deep temporary directory has more.
socket_of() { if [ ${#1} -le 90 ]; then echo "$1/socket"; else echo "/tmp/myim-db-$(printf %s "$1" | sha256sum | cut -c1-16)"; fi; }

answers() { python3 - "$1" <<'PY'
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(2)
    s.connect(sys.argv[1])
    sys.exit(0 if len(s.recv(5)) == 5 else 1)
PY
}

start() {
    local dir=$1; shift
    need_server
    mkdir -p "$dir"; dir=$(cd "$dir" && pwd)
    is_running "$dir" && { cat "$dir/port"; return; }
    local user=(); [ "$(id -u)" = 0 ] && user=(--user=root)
    local password
    if [ ! -d "$dir/data/mysql" ]; then
        rm -rf "$dir/data" "$dir/data.new"  # renamed when all is there: a start that was interrupted begins again
        case $dir in *[[:space:]]*) fail "mariadb-install-db takes no path with spaces: $dir" ;; esac
        mariadb-install-db --no-defaults "${user[@]}" --datadir="$dir/data.new" --auth-root-authentication-method=normal --skip-test-db \
            >"$dir/install.log" 2>&1 || { tail -n 20 "$dir/install.log" >&2; fail "mariadb-install-db failed"; }
        password=$(head -c 18 /dev/urandom | base64 | tr '+/' '-_')
        (umask 077; printf '%s' "$password" >"$dir/password")
        # mariadb-install-db makes root without a password under several hosts; only two stay, with one.
        (umask 077; printf "%s\n" "DELETE FROM mysql.global_priv WHERE User IN ('root', '') AND Host NOT IN ('localhost', '127.0.0.1');" "FLUSH PRIVILEGES;" \
            "CREATE OR REPLACE USER root@127.0.0.1 IDENTIFIED BY '$password';" "GRANT ALL ON *.* TO root@127.0.0.1 WITH GRANT OPTION;" \
            "ALTER USER root@localhost IDENTIFIED BY '$password';" >"$dir/first.sql")
        free_port >"$dir/port"
        mv "$dir/data.new" "$dir/data"
    fi
    local first=(); [ -f "$dir/first.sql" ] && first=(--init-file="$dir/first.sql")
    local socket; socket=$(socket_of "$dir"); rm -f "$socket" "$dir/mariadbd.pid"
    setsid mariadbd --no-defaults "${user[@]}" --datadir="$dir/data" --socket="$socket" --pid-file="$dir/mariadbd.pid" \
        --bind-address=127.0.0.1 --port="$(cat "$dir/port")" --skip-name-resolve --character-set-server=utf8mb4 --collation-server=utf8mb4_bin \
        --innodb-flush-log-at-trx-commit=1 --skip-log-bin --innodb-buffer-pool-size=128M --innodb-log-file-size=96M \
        --max-connections=200 --max-allowed-packet=16M --performance-schema=OFF --key-buffer-size=1M --aria-pagecache-buffer-size=8M \
        --log-error="$dir/error.log" "${first[@]}" "$@" </dev/null >>"$dir/error.log" 2>&1 &
    local child=$! waited=0
    until answers "$socket" 2>/dev/null; do
        kill -0 "$child" 2>/dev/null || { tail -n 20 "$dir/error.log" >&2; fail "mariadbd ended; see $dir/error.log"; }
        [ $((waited += 1)) -le 300 ] || fail "mariadbd is not ready after 30 s; see $dir/error.log"
        sleep 0.1
    done
    rm -f "$dir/first.sql"
    cat "$dir/port"
}

stop() {
    local dir; dir=$(cd "$1" && pwd)
    is_running "$dir" || return 0
    local pid waited=0; pid=$(cat "$dir/mariadbd.pid")
    kill -CONT "$pid" 2>/dev/null || true
    kill "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null && [ "$(cut -d' ' -f3 "/proc/$pid/stat" 2>/dev/null)" != Z ]; do
        [ $((waited += 1)) -le 200 ] || { kill -KILL "$pid"; break; }
        sleep 0.1
    done
    rm -f "$dir/mariadbd.pid"
}

status() {
    if is_running "$1"; then echo "running, pid $(cat "$1/mariadbd.pid"), port $(cat "$1/port")"; else echo "stopped"; return 3; fi
}

[ $# -ge 2 ] || fail "usage: mariadb.sh start|stop|status DIR"
command=$1; dir=$2; shift 2
case $command in
    start) start "$dir" "$@" ;;
    stop) [ -d "$dir" ] && stop "$dir" ;;
    status) status "$dir" ;;
    *) fail "unknown command $command" ;;
esac
