#!/bin/sh
# zero_alloc.sh SRC BUILD -- over a million packets of a download, neither process allocates.
#
# tests/preload/count_alloc.c counts in both of them, unchanged, from after the handshake on. The TLS
# object is freed up to 2 s after the handshake was confirmed, and tickets come before that: these are
# the named exceptions, so the window opens after them. It stays open until more than a million packets
# have passed, by the bytes that the shim itself saw sent.
. "$1/tests/lib.sh"
[ -z "${SANITIZE-}" ] || not_here 'sanitizers allocate for themselves'
SHIM=$B/tests/preload/count_alloc.so
DATAGRAM=1452 # the most that antq sends by default

# Through env, because the shell would do `true` itself.
env COUNT_ALLOC_SELFTEST=1 COUNT_ALLOC_FILE="$T/self" LD_PRELOAD="$SHIM" true
[ "$(awk '$1 == "malloc" { print $2 }' "$T/self")" = 1 ] || fail "the shim misses a malloc: $(cat "$T/self")"
[ "$(awk 'NF == 2 && $2 ~ /^[0-9]+$/ { n += $2 } END { print n }' "$T/self")" = 1 ] ||
    fail "the shim counts what did not happen: $(cat "$T/self")"
ok 'the shim sees one deliberate malloc, and nothing else'

WRAP="env LD_PRELOAD=$SHIM COUNT_ALLOC_FILE=$T/count.server"
server_start perf serve --listen 127.0.0.1:0
env LD_PRELOAD="$SHIM" COUNT_ALLOC_FILE="$T/count.client" \
    "$ANTQ" perf "$SERVER_ADDR" --insecure --download 64G --json >"$T/client.out" 2>"$T/client.err" &
CLIENT_PID=$!
started "$CLIENT_PID"

received() { cat /sys/class/net/lo/statistics/rx_bytes; }
sleep 3
kill -0 "$CLIENT_PID" 2>/dev/null || fail 'the download ended early'
kill -USR1 "$SERVER_PID" "$CLIENT_PID"
before=$(received) tries=0
until [ $(($(received) - before)) -gt $((1200000 * DATAGRAM)) ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 1200 ] || fail "after 120 s only $(($(received) - before)) bytes"
    sleep 0.1
done
kill -USR2 "$SERVER_PID" "$CLIENT_PID"
for side in client server; do
    wait_for_line "$T/count.$side" '^end$' "$SERVER_PID" || fail "no report of the $side"
done
kill -TERM "$CLIENT_PID"
wait "$CLIENT_PID" || true
server_end

packets=$(($(awk '$1 == "sent_bytes" { print $2 }' "$T/count.server") / DATAGRAM))
[ "$packets" -gt 1000000 ] || fail "only $packets packets were counted"
for side in client server; do
    sed -n '/^sent_bytes/q;p' "$T/count.$side" | awk '$2 != 0' >"$T/calls"
    if [ -s "$T/calls" ]; then
        cat "$T/count.$side"
        fail "the $side allocated during $packets packets: $(tr '\n' ' ' <"$T/calls")"
    fi
    ok "the $side: 0 calls during more than $packets packets"
done
count_end
