#!/bin/sh
# demo.sh SRC BUILD -- antq at work, for a person to see: two peers who know only each other's names, behind
# two real NATs in network namespaces (tests/net/nat_lab.sh; on loopback where those may not be made), then
# servers and clients over real sockets of this machine. Takes some 15 seconds, leaves nothing behind, and ends
# with status 0 only if everything arrived unchanged.
set -eu
src=$1 build=$2 act=${3-}
antq=$(cd "$build" && pwd -P)/antq

# ---- act one: two peers ----

# In a process of its own, because it may have to begin anew as root of a user namespace.
if [ -n "$act" ]; then
    # shellcheck source=tests/lib.sh
    . "$src/tests/lib.sh"
    # shellcheck source=tests/net/ns.sh
    . "$src/tests/net/ns.sh"
    # shellcheck source=tests/net/nat_lab.sh
    . "$src/tests/net/nat_lab.sh"
    if [ "$act" = lab ]; then
        ns_need "$@"
        lab_need
        lab_boot
        lab_side a port
        lab_side b port
        lab_ready
        listen=192.0.2.2:4433
        cat <<'EOT'
--- two peers behind two NATs, which let in only answers, and a bootstrap node; 50 ms between any two of them

      alice 192.168.1.2 --- NAT 198.51.100.2 ---+--- NAT 203.0.113.2 --- bob 192.168.1.3
                                                |
                                  bootstrap node 192.0.2.2:4433
EOT
        at() { where=$1; shift; ns_run "$where" "$@"; }
        hidden() { eval "where=\$NS_$1"; shift; exec nsenter -t "$where" -n "$@"; }
    else
        listen=127.0.0.1:0
        echo '--- two peers and a bootstrap node, on loopback'
        at() { shift; "$@"; }
        hidden() { shift; exec "$@"; }
    fi
    # behind NS NAME COMMAND-LINE PATTERN ARG...: a program of bob or the bootstrap node, until it is ready
    behind() {
        printf '\n%s $ %s &\n' "$2" "$3"
        ns=$1 file=$T/$2.out pattern=$4
        shift 4
        (hidden "$ns" "$ANTQ" "$@" >"$file" 2>&1) &
        pid=$!
        started "$pid"
        wait_for_line "$file" "$pattern" "$pid" || fail "it does not start: $(cat "$file")"
        cat "$file"
    }
    for who in boot alice bob; do "$ANTQ" id --key "$T/$who.key" >"$T/$who.id" 2>/dev/null; done
    bob=$(cat "$T/bob.id")
    mkdir "$T/in"
    head -c 2097152 /dev/urandom >"$T/photo"

    behind boot boot "antq bootstrap --listen $listen" 'listening on' bootstrap --listen "$listen" --key "$T/boot.key"
    name=$(cat "$T/boot.id")@$(sed -n 's/^listening on //p' "$T/boot.out")
    behind b bob 'antq recv --dir in --bootstrap BOOT' 'registration: full' recv --dir "$T/in" --bootstrap "$name" --key "$T/bob.key"
    printf '\nalice $ antq ping %s --bootstrap BOOT --wait-direct 3\n' "$bob"
    at a timeout 30 "$ANTQ" ping "$bob" --bootstrap "$name" --key "$T/alice.key" --count 3 --wait-direct 3 2>&1 || fail 'ping'
    [ "$act" != lab ] || lab_counts | lab_load boot
    printf '\nalice $ antq send %s photo --bootstrap BOOT\n' "$bob"
    at a timeout 30 "$ANTQ" send "$bob" "$T/photo" --bootstrap "$name" --key "$T/alice.key" 2>&1 || fail 'send'
    printf '\nbob has seen:\n'
    sed 1,/registration/d "$T/bob.out"
    cmp "$T/photo" "$T/in/photo" || fail 'the photo differs'
    echo 'the photo is unchanged'
    if [ "$act" = lab ]; then
        # shellcheck disable=SC2046
        set -- $(lab_relayed)
        echo "of it and of its acknowledgements $2 bytes in $1 packets took the way through the bootstrap node"
    fi
    exit 0
fi

"$antq" --version
status=0
env -u CI sh "$0" "$src" "$build" lab || status=$?
if [ "$status" = 77 ]; then
    echo 'so there are no NATs on this machine; the same without them:'
    status=0
    sh "$0" "$src" "$build" loopback || status=$?
fi
[ "$status" = 0 ] || exit 1

# ---- act two: servers and clients ----

dir=$(mktemp -d "${TMPDIR:-/tmp}/antq-demo.XXXXXX")
servers=

cleanup() {
    status=$?
    trap - EXIT
    for pid in $servers; do kill "$pid" 2>/dev/null || true; done
    for pid in $servers; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

# serve KIND: starts `antq KIND serve` on a port of the kernel's choice; sets address and pin.
serve() {
    echo "\$ antq $1 serve --listen 127.0.0.1:0 &"
    : >"$dir/$1.out"
    "$antq" "$1" serve --listen 127.0.0.1:0 >"$dir/$1.out" 2>"$dir/$1.err" &
    servers="$servers $!"
    server=$!
    tries=100
    until grep -q '^listening on ' "$dir/$1.out" || [ "$tries" -eq 0 ]; do
        kill -0 "$server" 2>/dev/null || break
        tries=$((tries - 1))
        sleep 0.05
    done
    cat "$dir/$1.err" "$dir/$1.out"
    address=$(sed -n 's/^listening on //p' "$dir/$1.out")
    pin=$(sed -n 's/.*--pin //p' "$dir/$1.err")
    { [ -n "$address" ] && [ -n "$pin" ]; } || { echo "demo: the server did not start"; exit 1; }
}

echo
echo "--- an echo server with a self-signed certificate, and round trips to it; the client pins the server's key"
serve echo
echo "\$ antq echo $address --pin ... --ticket session"
"$antq" echo "$address" --pin "$pin" --ticket "$dir/session"

echo "--- once more, with the session ticket of the first: a shorter handshake"
echo "\$ antq echo $address --pin ... --ticket session --count 1"
"$antq" echo "$address" --pin "$pin" --ticket "$dir/session" --count 1

echo "--- 128 MiB of random bytes there and back"
head -c 134217728 /dev/urandom >"$dir/random"
echo "\$ antq echo $address --pin ... --pipe <random | cmp - random"
{
    "$antq" echo "$address" --pin "$pin" --pipe --progress <"$dir/random" && echo 0 >"$dir/pipe"
} | cmp - "$dir/random"
[ -s "$dir/pipe" ] || { echo "demo: the transfer failed"; exit 1; }
echo "unchanged"

echo "--- how fast: a download, requests of one stream each, full handshakes from new ports"
serve perf
echo "\$ antq perf $address --pin ... --download 512M --requests 2000 --handshakes 100"
timeout 12 "$antq" perf "$address" --pin "$pin" --progress --download 512M --requests 2000 --handshakes 100
