#!/usr/bin/env bash
# A private open-source Hazelcast member from Maven Central (scripts/hazelcast/pom.xml pins it), bound to loopback unless told otherwise.
#   scripts/hazelcast.sh start DIR [--port N] [--listen ADDRESS] [--join ADDRESS:PORT]… [--cluster-name-file FILE] [--heap SIZE]
#       prints the port (a free one unless given) when the member is ready; DIR/cluster-name (0600) holds the random cluster name.
#       A second member of the same cluster: --join the first one's address, --cluster-name-file of the first one's DIR/cluster-name.
#   scripts/hazelcast.sh stop DIR      scripts/hazelcast.sh status DIR  (exit code 0 if it runs, 3 if not)
# A start on a DIR that was used before keeps its port, cluster name and listening address. The open edition has neither login nor TLS: the
# name, which is in no argument and in files of mode 0600 only, and the network are all that guards it. Entries live in memory only.
set -euo pipefail

jar_sha256=241ec66cea8491787f68c3336f069ac463877af50bdb7676cd9d538f1940dc33
here=$(cd "$(dirname "$0")" && pwd)

fail() { echo "hazelcast.sh: $*" >&2; exit 1; }

need() {
    command -v "$1" >/dev/null && return
    (cd "$here/.." && . scripts/environment.sh && myim_apt "$2") || fail "$1 is missing; install it: apt-get install $2"
}

# The member's jar, fetched once into .cache of the repository. Two starts at the same time fetch it once.
member_jar() {
    local cache=$here/../.cache/hazelcast version jar fresh
    version=$(sed -n '/<artifactId>hazelcast</{n;s/.*<version>\(.*\)<.*/\1/p}' "$here/hazelcast/pom.xml")
    mkdir -p "$cache"; cache=$(cd "$cache" && pwd); jar=$cache/hazelcast-$version.jar
    exec 8>"$cache/lock"; flock 8
    if [ ! -s "$jar" ]; then
        need mvn maven
        fresh=$(mktemp -d "$cache/fetch.XXXXXX")
        echo "Fetching Hazelcast $version (once) …" >&2
        mvn -q -B -f "$here/hazelcast/pom.xml" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$fresh" >"$cache/maven.log" 2>&1 8>&- \
            || { tail -n 20 "$cache/maven.log" >&2; rm -rf "$fresh"; fail "Maven could not fetch Hazelcast; see $cache/maven.log"; }
        echo "$jar_sha256  $fresh/hazelcast-$version.jar" | sha256sum -c --quiet >&2 || fail "what was fetched is not the Hazelcast $version we know"
        mv "$fresh/hazelcast-$version.jar" "$jar"; rm -rf "$fresh"
    fi
    exec 8>&-
    echo "$jar"
}

free_port() { python3 -c 'import socket, sys; s = socket.socket(); s.bind((sys.argv[1], 0)); print(s.getsockname()[1])' "$1"; }

# A killed member whose parent has not looked yet is a zombie, and runs no more.
is_running() {
    local pid
    pid=$(cat "$1/member.pid" 2>/dev/null) && [ -n "$pid" ] && [ "$(cut -d' ' -f3 "/proc/$pid/stat" 2>/dev/null)" != Z ] \
        && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = java ] && tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF -- "-Dhazelcast.config=$1/member.xml"
}

checked() { [[ $2 =~ ^$3$ ]] || fail "$1 cannot be '$2'"; echo "$2"; }

write_config() {
    local dir=$1 members= address; shift
    for address in "$@"; do members+="<member>$address</member>"; done
    (umask 077; sed -e "s/@CLUSTER_NAME@/$(cat "$dir/cluster-name")/" -e "s/@PORT@/$(cat "$dir/port")/" -e "s/@LISTEN@/$(cat "$dir/listen")/" \
        -e "s|@MEMBERS@|$members|" "$here/hazelcast/member.xml" >"$dir/member.xml")
}

start() {
    local dir=$1 port= listen= name_file= heap=192m join=(); shift
    while [ $# -ge 2 ]; do
        case $1 in
            --port) port=$(checked --port "$2" '[0-9]{1,5}') ;;
            --listen) listen=$(checked --listen "$2" '[0-9.]+') ;;
            --join) join+=("$(checked --join "$2" '[A-Za-z0-9.-]+:[0-9]{1,5}')") ;;
            --cluster-name-file) name_file=$2 ;;
            --heap) heap=$(checked --heap "$2" '[0-9]+[mg]') ;;
            *) fail "unknown option $1" ;;
        esac
        shift 2
    done
    [ $# = 0 ] || fail "option $1 needs a value"
    need java openjdk-17-jre-headless
    mkdir -p "$dir"; dir=$(cd "$dir" && pwd)
    is_running "$dir" && { cat "$dir/port"; return; }
    local jar; jar=$(member_jar)
    if [ -n "$name_file" ]; then
        local name; name=$(checked "the cluster name in $name_file" "$(cat "$name_file")" '[A-Za-z0-9_-]{1,100}')
        (umask 077; printf '%s' "$name" >"$dir/cluster-name")
    elif [ ! -s "$dir/cluster-name" ]; then
        (umask 077; printf 'myim-%s' "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" >"$dir/cluster-name")
    fi
    [ -n "$listen" ] && echo "$listen" >"$dir/listen"
    [ -s "$dir/listen" ] || echo 127.0.0.1 >"$dir/listen"
    [ -n "$port" ] && [ "$port" != 0 ] && echo "$port" >"$dir/port"
    [ -s "$dir/port" ] || free_port "$(cat "$dir/listen")" >"$dir/port"
    [ ${#join[@]} -gt 0 ] && printf '%s\n' "${join[@]}" >"$dir/join"
    [ -s "$dir/join" ] && mapfile -t join <"$dir/join"
    rm -f "$dir/member.log"; (umask 077; : >"$dir/member.log")  # it names the cluster
    write_config "$dir" ${join[@]+"${join[@]}"}
    # A small heap and the quick compiler: it starts in a second or two and idles on little; a directory is no heavy work.
    setsid java "-Xmx$heap" -Xms32m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError \
        --add-modules java.se --add-exports java.base/jdk.internal.ref=ALL-UNNAMED --add-opens java.base/java.lang=ALL-UNNAMED \
        --add-opens java.base/sun.nio.ch=ALL-UNNAMED --add-opens java.management/sun.management=ALL-UNNAMED \
        --add-opens jdk.management/com.sun.management.internal=ALL-UNNAMED "-Dhazelcast.config=$dir/member.xml" \
        -cp "$jar" com.hazelcast.core.server.HazelcastMemberStarter </dev/null >"$dir/member.log" 2>&1 &
    local child=$! waited=0
    echo "$child" >"$dir/member.pid"
    until grep -q ' is STARTED$' "$dir/member.log"; do
        is_running "$dir" || sleep 0.2
        kill -0 "$child" 2>/dev/null || { tail -n 20 "$dir/member.log" >&2; fail "the member ended; see $dir/member.log"; }
        [ $((waited += 1)) -le 600 ] || { kill "$child"; fail "the member is not ready after 30 s; see $dir/member.log"; }
        sleep 0.05
    done
    cat "$dir/port"
}

stop() {
    local dir; dir=$(cd "$1" && pwd)
    is_running "$dir" || return 0
    local pid waited=0; pid=$(cat "$dir/member.pid")
    kill -CONT "$pid" 2>/dev/null || true
    kill "$pid" 2>/dev/null || true
    while is_running "$dir"; do
        [ $((waited += 1)) -le 200 ] || { kill -KILL "$pid"; break; }
        sleep 0.05
    done
    rm -f "$dir/member.pid"
}

status() {
    local dir; dir=$(cd "$1" 2>/dev/null && pwd) || { echo "stopped"; return 3; }
    if is_running "$dir"; then
        echo "running, pid $(cat "$dir/member.pid"), $(cat "$dir/listen"):$(cat "$dir/port"), cluster name in $dir/cluster-name"
    else
        echo "stopped"; return 3
    fi
}

[ $# -ge 2 ] || fail "usage: hazelcast.sh start|stop|status DIR"
command=$1; dir=$2; shift 2
case $command in
    start) start "$dir" "$@" ;;
    stop) [ ! -d "$dir" ] || stop "$dir" ;;
    status) status "$dir" ;;
    *) fail "unknown command $command" ;;
esac
