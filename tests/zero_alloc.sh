#!/bin/sh
# zero_alloc.sh SRC BUILD -- over a million packets in each direction, no process allocates.
#
# A server and ten clients, a connection each: five download and five upload, over 100 streams each.
# tests/preload/count_alloc.c counts in all of them, unchanged, from after the handshakes on, and loses
# packets on their way in, so that loss, repeated data and reassembly are counted too. The TLS object is
# freed up to 2 s after the handshake was confirmed, and tickets come before that: these are the named
# exceptions, so the window opens after them. It stays open until the server has sent and received more
# than a million packets, by the bytes that the shim itself saw.
. "$1/tests/lib.sh"
[ -z "${SANITIZE-}" ] || not_here 'sanitizers allocate for themselves'
SHIM=$B/tests/preload/count_alloc.so
DATAGRAM=1452 # the most that antq sends by default
LOSS=40       # a packet of so many messages, each of up to 44 packets
PACKETS=1000000

count_of() { awk -v name="$1" '$1 == name { print $2 }' "$T/count.$2"; }

# Through env, because the shell would do `true` itself.
env COUNT_ALLOC_SELFTEST=1 COUNT_ALLOC_FILE="$T/count.self" LD_PRELOAD="$SHIM" true
[ "$(count_of malloc self)" = 1 ] || fail "the shim misses a malloc: $(cat "$T/count.self")"
[ "$(awk 'NF == 2 && $2 ~ /^[0-9]+$/ { n += $2 } END { print n }' "$T/count.self")" = 1 ] ||
    fail "the shim counts what did not happen: $(cat "$T/count.self")"
ok 'the shim sees one deliberate malloc, and nothing else'

WRAP="env LD_PRELOAD=$SHIM COUNT_ALLOC_LOSS=$LOSS COUNT_ALLOC_FILE=$T/count.server"
server_start perf serve --listen 127.0.0.1:0
sides=server pids=$SERVER_PID
for n in 1 2 3 4 5; do
    for way in download upload; do
        env LD_PRELOAD="$SHIM" COUNT_ALLOC_LOSS=$LOSS COUNT_ALLOC_FILE="$T/count.$way$n" \
            "$ANTQ" perf "$SERVER_ADDR" --insecure "--$way" 64G --streams 100 --json >"$T/$way$n.out" 2>"$T/$way$n.err" &
        started $!
        sides="$sides $way$n" pids="$pids $!"
    done
done

# reports: each process writes how far it is. False: one did not
reports() {
    for side in $sides; do rm -f "$T/count.$side"; done
    # shellcheck disable=SC2086
    kill -USR2 $pids || fail 'a process ended early'
    for side in $sides; do
        wait_for_line "$T/count.$side" '^end$' "$SERVER_PID" || fail "no report of $side"
    done
}
packets() { echo $(($(count_of "$1" server) / DATAGRAM)); }

sleep 4
# shellcheck disable=SC2086
kill -USR1 $pids || fail 'a process ended early'
tries=0
until reports && [ "$(packets sent_bytes)" -gt $PACKETS ] && [ "$(packets received_bytes)" -gt $PACKETS ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 240 ] ||
        fail "after 120 s only $(packets sent_bytes) packets were sent, $(packets received_bytes) received"
    sleep 0.5
done
lost=0
for side in $sides; do
    sed -n '/^sent_bytes/q;p' "$T/count.$side" | awk '$2 != 0' >"$T/calls"
    if [ -s "$T/calls" ]; then
        cat "$T/count.$side"
        fail "$side allocated: $(tr '\n' ' ' <"$T/calls")"
    fi
    bytes=$(($(count_of sent_bytes "$side") + $(count_of received_bytes "$side")))
    [ "$bytes" -gt $((PACKETS / 50 * DATAGRAM)) ] || fail "$side took no part: $bytes bytes"
    lost=$((lost + $(count_of lost_packets "$side")))
done
ok "the server: 0 calls while it sent $(packets sent_bytes) packets and received $(packets received_bytes)"
ok 'ten clients with 100 streams each: 0 calls'
[ "$(count_of lost_packets server)" -gt 100 ] && [ "$lost" -gt 500 ] || fail "only $lost packets were lost"
ok "though $lost packets were lost, $(count_of lost_packets server) of them on their way to the server"
# shellcheck disable=SC2086
kill -TERM ${pids#* }
for pid in ${pids#* }; do wait "$pid" || true; done
server_end
count_end
