#!/bin/sh
# demo.sh ANTQ -- antq at work, for a person to see: servers and clients over real sockets of this machine.
# Takes a few seconds, leaves nothing behind, and ends with status 0 only if everything arrived unchanged.
set -eu
antq=${1:-${ANTQ:?usage: demo.sh ANTQ}}
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

"$antq" --version
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
