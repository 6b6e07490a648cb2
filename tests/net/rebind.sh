#!/bin/sh
# rebind.sh SRC BUILD -- a NAT that takes another port, and another address, in the middle of a transfer
# (RFC 9000 section 9.3); and a client that moves by its own wish. What is sent arrives whole.
. "$1/tests/lib.sh"
need python3

mib=64
head -c "${mib}M" /dev/urandom >"$T/in"

# through PERIOD LEAST ADDRESS...: $T/in there and back through the relay
through() {
    period=$1 least=$2
    shift 2
    rm -f "$T/relay.out"
    server_start echo serve --listen 127.0.0.1:0 -v
    python3 "$SRC/tests/net/relay.py" "${SERVER_ADDR##*:}" "$period" "$@" >"$T/relay.out" 2>"$T/relay.err" &
    relay=$!
    started "$relay"
    wait_for_line "$T/relay.out" '^listening' "$relay" || fail 'the relay does not start'
    status=0
    # Its NAT forgets it whenever it is silent: a keep-alive each second brings it back.
    timeout 300 "$ANTQ" echo "$(sed -n 's/^listening on //p' "$T/relay.out")" --insecure --pipe --idle-timeout 3 \
        <"$T/in" >"$T/back" 2>"$T/client.err" || status=$?
    [ "$status" -eq 0 ] || fail "antq echo --pipe ended with $status, $(wc -c <"$T/back") bytes came back"
    cmp -s "$T/in" "$T/back" || fail 'other bytes came back'
    kill -TERM "$relay"
    wait_for_line "$T/relay.out" '^rebound' "$relay" || true
    times=$(sed -n 's/^rebound \([0-9]*\) times/\1/p' "$T/relay.out")
    [ "${times:-0}" -ge "$least" ] || fail "only ${times:-no} changes of address: the transfer was too short"
    server_end
}

through 0.03 3
ok "$mib MiB there and back while the port changed $times times"
through 0.05 2 127.0.0.1 127.0.0.2 127.0.0.3
ok "$mib MiB there and back while the address changed $times times"

server_start echo serve --listen 127.0.0.1:0 -v
"$ANTQ" echo "$SERVER_ADDR" --insecure --pipe --migrate-after 0.02 -v <"$T/in" >"$T/back" 2>"$T/client.err" ||
    fail 'antq echo --pipe --migrate-after'
cmp -s "$T/in" "$T/back" || fail 'other bytes came back'
grep -q '^moved: now from' "$T/client.err" || fail 'the client did not move'
first=$(sed -n 's/^connection from \([^ ]*\): handshake.*/\1/p' "$T/server.err")
last=$(sed -n 's/^connection from \([^ ]*\) closed.*/\1/p' "$T/server.err")
[ -n "$first" ] && [ -n "$last" ] && [ "$first" != "$last" ] || fail "the server saw $first, then $last"
server_end
ok 'a client moves in the middle of a transfer'

count_end
