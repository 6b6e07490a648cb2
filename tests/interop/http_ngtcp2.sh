#!/bin/sh
# http_ngtcp2.sh SRC BUILD -- HTTP/3 with Debian's ngtcp2 (GnuTLS, nghttp3), in both directions. What
# came is compared byte by byte: gtlsclient exits 0 even when nothing came.
. "$1/tests/lib.sh"
need gtlsserver gtlsclient
. "$1/tests/interop/http_lib.sh"
make_cert
make_site

# ---- antq http get from gtlsserver
PORT=$((20000 + $$ % 10000))
gtlsserver -q --htdocs="$T/www" 127.0.0.1 "$PORT" "$T/key.pem" "$T/cert.pem" >"$T/gtlsserver.log" 2>&1 &
GTLS_PID=$!
started "$GTLS_PID"
sleep 1
kill -0 "$GTLS_PID" 2>/dev/null || fail 'gtlsserver does not start'
peer 'get from gtlsserver'
get_from "https://127.0.0.1:$PORT"
kill "$GTLS_PID"
wait "$GTLS_PID" || true

# ---- gtlsclient from antq http serve
server_start http serve "$T/www" --listen 127.0.0.1:0 --verbose --cert "$T/cert.pem" --key "$T/key.pem" --early-data
base=https://localhost:${SERVER_ADDR##*:}
peer 'gtlsclient from serve'
theirs() { # theirs ARG...: into $T/got
    rm -rf "$T/got" && mkdir "$T/got"
    timeout 30 gtlsclient -q --exit-on-all-streams-close --download="$T/got" "$@" >"$T/gtlsclient.log" 2>&1 || true
}
theirs 127.0.0.1 "${SERVER_ADDR##*:}" "$base/small"
cmp "$T/www/small" "$T/got/small" || fail 'gtlsclient: the small file differs'
can 'handshake, GET'
theirs 127.0.0.1 "${SERVER_ADDR##*:}" "$base/big"
cmp "$T/www/big" "$T/got/big" || fail 'gtlsclient: the big file differs'
can 'transfer of 8 MiB'
# shellcheck disable=SC2046
theirs 127.0.0.1 "${SERVER_ADDR##*:}" $(urls "$base")
[ "$(find "$T/got" -type f | wc -l)" -eq 100 ] || fail "gtlsclient: $(find "$T/got" -type f | wc -l) of 100 files"
same_tree "$T/www/page" "$T/got"
can '100 objects, one connection'
theirs 127.0.0.1 "${SERVER_ADDR##*:}" "$base/none"
grep -q '^h3 GET /none: 404' "$T/server.err" || fail 'gtlsclient: no 404'
can '404'
theirs --http-method=HEAD 127.0.0.1 "${SERVER_ADDR##*:}" "$base/big"
grep -q '^h3 HEAD /big: 200' "$T/server.err" || fail 'gtlsclient: no HEAD'
[ ! -s "$T/got/big" ] || fail 'gtlsclient: HEAD has a body'
can HEAD
for _ in 1 2; do
    theirs --session-file="$T/session" --tp-file="$T/tp" --disable-early-data 127.0.0.1 "${SERVER_ADDR##*:}" "$base/small"
    cmp "$T/www/small" "$T/got/small" || fail 'gtlsclient: differs with a session'
done
grep -q 'session resumed' "$T/server.err" || fail 'gtlsclient: no session resumed'
can 'session resumed'
theirs --session-file="$T/session" --tp-file="$T/tp" 127.0.0.1 "${SERVER_ADDR##*:}" "$base/small"
cmp "$T/www/small" "$T/got/small" || fail 'gtlsclient: differs in 0-RTT'
grep -q '^h3 GET /small: 200, in 0-RTT' "$T/server.err" || fail 'gtlsclient: not in 0-RTT'
can '0-RTT'
# RFC 8470 §5.2: what may be a replay and is not safe.
theirs --session-file="$T/session" --tp-file="$T/tp" --http-method=POST 127.0.0.1 "${SERVER_ADDR##*:}" "$base/small"
grep -q '^h3 POST /small: 425, in 0-RTT' "$T/server.err" || fail 'gtlsclient: no 425'
can '425 in 0-RTT'
theirs --key-update=1ms 127.0.0.1 "${SERVER_ADDR##*:}" "$base/big"
cmp "$T/www/big" "$T/got/big" || fail 'gtlsclient: differs with a key update'
can 'key updates'
# A request with content that this server does not want is refused at once.
theirs --http-method=POST --data="$T/www/big" 127.0.0.1 "${SERVER_ADDR##*:}" "$base/small"
grep -q '^h3 POST /small: 405' "$T/server.err" || fail 'gtlsclient: no 405'
can '405'
! grep -qE 'closed by (us|the peer), (application code 0x10[1-9a-f]|[A-Z])' "$T/server.err" ||
    fail "a close with an error: $(grep -E 'closed by' "$T/server.err" | grep -v 0x100)"
ok 'every close says H3_NO_ERROR'
server_end

# ---- the control: nobody listens, and the judge sees it
theirs --handshake-timeout=1s 127.0.0.1 "${SERVER_ADDR##*:}" "$base/small"
[ ! -e "$T/got/small" ] || fail 'a file from a closed port'
ok 'the control run against a closed port is judged a failure'
count_end
