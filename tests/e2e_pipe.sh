#!/bin/sh
# e2e_pipe.sh SRC BUILD -- `antq echo --pipe` gives back what it was given: 256 MiB of random bytes over
# loopback, IPv4 and IPv6, with and without --retry, compared by SHA-256.
. "$1/tests/lib.sh"
mib=$(scale 256)
head -c "${mib}M" /dev/urandom >"$T/in"
expected=$(sha256sum <"$T/in")

pipe() { # pipe LISTEN [SERVER-FLAG...]
    server_start echo serve --listen "$@"
    status=0
    "$ANTQ" echo "$SERVER_ADDR" --insecure --pipe <"$T/in" 2>"$T/client.err" >"$T/back" || status=$?
    [ "$status" -eq 0 ] || fail "antq echo --pipe ended with $status, server $*"
    [ "$(wc -c <"$T/back")" -eq $((mib * 1048576)) ] || fail "$(wc -c <"$T/back") bytes came back, server $*"
    [ "$(sha256sum <"$T/back")" = "$expected" ] || fail "other bytes came back, server $*"
    server_end
    ok "$mib MiB, server $*"
}

: >"$T/back"
status=0
"$ANTQ" echo 127.0.0.1:9 --insecure --pipe <"$T/in" 2>"$T/client.err" >"$T/back" || status=$?
[ "$status" -ne 0 ] && [ ! -s "$T/back" ] || fail 'success without a server'
ok 'nothing listens: fails'
for retry in '' --retry; do
    # shellcheck disable=SC2086
    pipe 127.0.0.1:0 $retry
    if [ -e /proc/net/if_inet6 ] && grep -q ' lo$' /proc/net/if_inet6; then
        # shellcheck disable=SC2086
        pipe '[::1]:0' $retry
    else
        echo 'no IPv6 on this loopback'
        [ "${CI-}" != true ] || fail 'no IPv6 here, though CI promised'
    fi
done
count_end
