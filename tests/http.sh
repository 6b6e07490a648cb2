#!/bin/sh
# http.sh SRC BUILD -- `antq http serve` and `antq http get` against each other: what is served and what
# is not, both protocols, errors and their words, back-pressure, and the end.
. "$1/tests/lib.sh"
. "$1/tests/interop/http_lib.sh"
make_cert
make_site

# expect CODE PATTERN ARG...: antq's exit code, and a line of its standard error
expect() {
    want=$1 pattern=$2 got=0
    shift 2
    timeout 60 "$ANTQ" "$@" >"$T/run.out" 2>"$T/run.err" </dev/null || got=$?
    [ "$got" -eq "$want" ] || fail "antq $*: exit $got, not $want"
    grep -qE -- "$pattern" "$T/run.err" || fail "antq $*: standard error lacks /$pattern/"
    ok "exit $want: antq $*"
}
# refused CODE PATTERN ARG...: the same of `antq http get`
refused() {
    want=$1 pattern=$2
    shift 2
    expect "$want" "$pattern" http get "$@" --ca "$T/cert.pem"
}

# ---- words and flags
expect 2 '^usage: antq http serve' http
expect 2 '^antq: no subcommand "http frobnicate"' http frobnicate
for sub in 'serve DIR' 'get URL...'; do
    "$ANTQ" http "${sub% *}" --help >"$T/run.out" || fail "no help of http $sub"
    grep -qF "usage: antq http $sub" "$T/run.out" || fail "the help of http $sub is another's"
done
ok 'help'
expect 2 '^antq: DIR is missing' http serve
expect 2 '^antq: one DIR is expected' http serve a b
expect 2 '^antq: unknown flag --frobnicate' http serve . --frobnicate
expect 1 '^antq: cannot serve ".*none": No such file' http serve "$T/none"
expect 1 '^antq: cannot serve ".*small": Not a directory' http serve "$T/www/small"
expect 2 '^antq: --cert and --key belong together' http serve "$T/www" --cert x
expect 2 '^antq: URL... is missing' http get
expect 2 '^antq: unknown flag --frobnicate' http get https://h/ --frobnicate
expect 2 '^antq: bad URL "http://h/": https://' http get http://h/
expect 2 '^antq: bad URL "https://h/a b": blanks' http get 'https://h/a b'
expect 2 '^antq: bad URL "https:///x": no host' http get https:///x
expect 2 '^antq: bad URL "https://h/a/..": its last segment' http get https://h/a/..
expect 2 '^antq: several URLs need --output-dir' http get https://h/a https://h/b
expect 2 '^antq: -o and --output-dir exclude' http get https://h/a -o x --output-dir .
expect 2 '^antq: "https://h/x/a" and "https://h/y/a" would both be' http get https://h/x/a https://h/y/a --output-dir "$T"
expect 2 '^antq: --range expects bytes=' http get https://h/a --range 1-2
expect 2 '^antq: --json writes to standard output' http get https://h/a --json
expect 2 '^antq: --insecure, --ca and --pin exclude' http get https://h/a --insecure --ca x
expect 2 '^antq: bad address' http get https://999.0.0.1/a --insecure
expect 1 '^antq: cannot write to ".*none": No such file' http get https://127.0.0.1/a --output-dir "$T/none" --insecure

# ---- HTTP/3: everything that any server must do, and what only ours must
ln -s /etc/passwd "$T/www/out"
ln -s .. "$T/www/up"
mkdir "$T/www/list"
: >"$T/www/list/a&b"
echo secret >"$T/secret"
server_start http serve "$T/www" --listen 127.0.0.1:0 --verbose --cert "$T/cert.pem" --key "$T/key.pem"
base=https://$SERVER_ADDR
peer 'get from serve'
get_from "$base"
fetch "$base/empty" || fail 'no empty file'
[ ! -s "$T/get.out" ] || fail 'the empty file has bytes'
ok 'an empty file'
for path in /../secret /%2e%2e/secret /%2e%2e%2fsecret /folder/../../secret /out /up/secret "/$T/secret" //etc/passwd; do
    refused 1 '^antq: .*HTTP status 404' "$base$path"
    [ ! -s "$T/run.out" ] || fail "$path shows what is outside"
done
refused 1 '^antq: .*HTTP status 400' "$base/small%00"
refused 1 '^antq: .*HTTP status 301: it is at "/folder/"' "$base/folder"
refused 1 '^antq: .*HTTP status 416' "$base/small" --range bytes=100-
fetch "$base/folder/" && grep -q '<p>index' "$T/get.out" || fail 'no index'
fetch "$base/list/" && grep -q '<a href="./a%26b">a&amp;b</a>' "$T/get.out" || fail 'no listing'
ok 'index and listing'

# ---- files: never half, never over another, never elsewhere
rm -rf "$T/got" && mkdir "$T/got"
echo mine >"$T/got/small"
refused 1 '^antq: .*/small: cannot write "small": it exists; --force' "$base/small" "$base/big" --output-dir "$T/got"
cmp "$T/www/big" "$T/got/big" || fail 'the other URL was not fetched'
[ "$(cat "$T/got/small")" = mine ] || fail 'a file was replaced'
fetch "$base/small" --output-dir "$T/got" --force || fail 'not with --force'
cmp "$T/www/small" "$T/got/small" || fail 'not replaced with --force'
refused 1 '^antq: .*/none: HTTP status 404' "$base/small" "$base/none" "$base/empty" --output-dir "$T/got" --force
[ ! -e "$T/got/none" ] && [ -e "$T/got/empty" ] || fail 'a 404 makes a file, or stops others'
fetch "$base/%2e%2e%2fsecret2" --output-dir "$T/got" || true
[ -z "$(find "$T/got" -name '.antq-*')" ] && [ ! -e "$T/secret2" ] || fail 'something was left behind'
fetch "$base/small" -o /dev/null && [ -c /dev/null ] || fail 'not into a device'
# A file that cannot be written does not disturb another: at most 50 KiB a file here.
status=0
(trap '' XFSZ && ulimit -f 100 && exec "$ANTQ" http get "$base/big" "$base/folder/" --ca "$T/cert.pem" \
    --output-dir "$T/got" --force >"$T/run.out" 2>"$T/run.err") || status=$?
[ "$status" -eq 1 ] && grep -q '^antq: .*/big: cannot write it: File too large' "$T/run.err" || fail 'no file too large'
cmp "$T/www/folder/index.html" "$T/got/index.html" && cmp "$T/www/big" "$T/got/big" || fail 'the others suffer'
[ -z "$(find "$T/got" -name '.antq-*')" ] || fail 'a part of a file was left behind'
ok 'files appear whole or not at all'
fetch "$base/small" "$base/big" --output-dir "$T/got" --force --json || fail 'no JSON'
python3 -c 'import json, sys; o = json.load(open(sys.argv[1])); assert o["done"] == 2 and len(o["transfers"]) == 2' \
    "$T/get.out" || fail 'not the JSON that was promised'
ok 'JSON'

# ---- hq-interop, on the same server
peer 'get from serve, hq-interop'
fetch "$base/small" --alpn hq-interop -v && cmp "$T/www/small" "$T/get.out" || fail 'hq: no small file'
grep -q 'ALPN hq-interop' "$T/get.err" || fail 'hq: not by ALPN'
can 'handshake, GET'
rm -rf "$T/got" && mkdir "$T/got"
fetch "$base/big" "$base/empty" --alpn hq-interop --output-dir "$T/got" || fail 'hq: no transfer'
same_tree "$T/www" "$T/got"
can 'transfer of 8 MiB'
rm -rf "$T/got" && mkdir "$T/got"
# shellcheck disable=SC2046
fetch --alpn hq-interop --output-dir "$T/got" $(urls "$base") || fail 'hq: not all of 100'
same_tree "$T/www/page" "$T/got"
can '100 objects, one connection'
refused 1 '^antq: .*/none: the server gave it up, code 0x1' "$base/none" --alpn hq-interop
refused 1 '^antq: .*/../secret: the server gave it up' "$base/../secret" --alpn hq-interop
refused 1 'HTTP/0.9 only, which has neither' -I "$base/small" --alpn hq-interop
can '404'

# ---- more than one connection may hold at once: bodies wait for blocks of others
rm -rf "$T/got" && mkdir "$T/got"
several=
for n in 1 2 3 4 5 6; do
    ln -f "$T/www/big" "$T/www/big$n"
    several="$several $base/big$n"
done
for alpn in h3 hq-interop; do
    # shellcheck disable=SC2086
    fetch $several --output-dir "$T/got" --force --alpn "$alpn" || fail "$alpn: not six big files at once"
    same_tree "$T/www" "$T/got"
done
ok 'six big files at once'

# ---- a reader that is slow, one that goes away; a file that is cut while it is sent
"$ANTQ" http get "$base/big" --ca "$T/cert.pem" 2>"$T/get.err" | { sleep 1; cat; } | cmp - "$T/www/big" ||
    fail 'a slow reader gets other bytes'
ok 'a slow reader'
status=0
{ "$ANTQ" http get "$base/big" --ca "$T/cert.pem" 2>"$T/get.err" || echo $? >"$T/status"; } | head -c 10 >"$T/head.out"
[ "$(cat "$T/status")" = 1 ] && grep -q 'cannot write it: Broken pipe' "$T/get.err" || fail 'a reader that goes away'
ok 'a reader that goes away'
cp "$T/www/big" "$T/www/cut"
{ "$ANTQ" http get "$base/cut" --ca "$T/cert.pem" 2>"$T/get.err" || echo cut >"$T/status"; } |
    { head -c 4096 >"$T/head.out"; sleep 0.5; : >"$T/www/cut"; cat >/dev/null; }
[ "$(cat "$T/status")" = cut ] && grep -qE '^antq: .*/cut: the server gave it up, code 0x102 H3_INTERNAL_ERROR' "$T/get.err" ||
    fail 'a file that was cut'
ok 'a file cut while it is sent ends its stream only'

# ---- 0-RTT: requests before the handshake, and again after it where the server rejects them
refused 2 '^antq: --early-data needs a session' "$base/small" --early-data
main_pid=$SERVER_PID main_addr=$SERVER_ADDR
server_start http serve "$T/www" --listen 127.0.0.1:0 --verbose --cert "$T/cert.pem" --key "$T/key.pem" --early-data
early_addr=$SERVER_ADDR
early=https://$early_addr
# ask ALPN HOW FLAG...: one file and then three with the ticket in 0-RTT; HOW: what became of it
ask() {
    alpn=$1 how=$2
    shift 2
    rm -rf "$T/got" && mkdir "$T/got"
    fetch "$early/small" "$early/big" "$early/empty" --alpn "$alpn" --ticket "$T/ticket" --early-data -v --output-dir "$T/got" "$@" ||
        fail "$alpn: not with --early-data"
    same_tree "$T/www" "$T/got"
    [ "$(find "$T/got" -type f | wc -l)" -eq 3 ] || fail "$alpn: not three files"
    grep -q ", 0-RTT $how" "$T/get.err" || fail "$alpn: 0-RTT not $how"
}
for alpn in h3 hq-interop; do
    rm -f "$T/ticket"
    fetch "$early/small" --alpn "$alpn" --ticket "$T/ticket" --early-data -v || fail "$alpn: no first session"
    ! grep -q '0-RTT' "$T/get.err" || fail "$alpn: 0-RTT without a ticket"
    ask "$alpn" accepted
    [ "$(grep -c "$alpn GET .*: 200, in 0-RTT" "$T/server.err")" -eq 3 ] || fail "$alpn: not three requests in 0-RTT"
    cp "$T/ticket" "$T/ticket.$alpn"
    if [ "$alpn" = h3 ]; then peer 'get from serve'; else peer "get from serve, $alpn"; fi
    can '0-RTT'
done
fetch -I "$early/big" --ticket "$T/ticket.h3" --early-data --alpn h3 -v || fail 'no HEAD in 0-RTT'
grep -q 'h3 HEAD /big: 200, in 0-RTT' "$T/server.err" || fail 'HEAD not in 0-RTT'
ok 'HEAD in 0-RTT'
# The ticket's protocol is not the one that is chosen now: both are offered, the server wants h3.
cp "$T/ticket.hq-interop" "$T/ticket"
refused 1 'chose ALPN h3, but what was sent in 0-RTT is hq-interop: give --alpn hq-interop' "$early/small" \
    --ticket "$T/ticket" --early-data
ok 'another protocol than that of 0-RTT'
server_end
for flag in --early-data --verbose; do # knows nothing of tickets that another made, or takes none
    server_start http serve "$T/www" --listen "$early_addr" --verbose --cert "$T/cert.pem" --key "$T/key.pem" "$flag"
    for alpn in h3 hq-interop; do
        cp "$T/ticket.$alpn" "$T/ticket"
        ask "$alpn" rejected
    done
    ! grep -q 'in 0-RTT' "$T/server.err" || fail 'requests in 0-RTT that was rejected'
    server_end
done
ok 'rejected 0-RTT goes again, in both protocols'
SERVER_PID=$main_pid SERVER_ADDR=$main_addr

# ---- a client that speaks no HTTP/3
"$ANTQ" echo "$SERVER_ADDR" --alpn h3 --ca "$T/cert.pem" --count 1 >"$T/run.out" 2>"$T/run.err" && fail 'an echo'
grep -qE 'closed by the peer, application code 0x(10[1-9a-f]|20[0-2])' "$T/run.err" || fail 'no HTTP/3 error'
ok "an echo client is closed with an HTTP/3 code: $(grep -o 'application code 0x[0-9a-f]*' "$T/run.err")"
"$ANTQ" http get "https://${SERVER_ADDR}/small" --alpn nonsense --ca "$T/cert.pem" >"$T/run.out" 2>"$T/run.err" && fail 'ALPN nonsense'
grep -q 'speaks none of the protocols we offer (nonsense)' "$T/run.err" || fail 'not told of ALPN'
ok 'no common protocol'

# ---- the end: a running request is finished, an idle connection told, a third refused
"$ANTQ" http get "$base/big" --ca "$T/cert.pem" 2>"$T/get.err" | { head -c 65536; sleep 1; cat; } >"$T/late.bin" &
LATE=$!
sleep 0.4
kill -TERM "$SERVER_PID"
wait "$LATE" || true
status=0
wait "$SERVER_PID" || status=$?
[ "$status" -eq 0 ] || fail "the server ended with $status"
cmp "$T/www/big" "$T/late.bin" || fail 'a running request was cut off by SIGTERM'
ok 'SIGTERM lets a running request end'
server_start http serve "$T/www" --listen 127.0.0.1:0 --cert "$T/cert.pem" --key "$T/key.pem"
"$ANTQ" http get "https://$SERVER_ADDR/big" --ca "$T/cert.pem" 2>"$T/get.err" | { head -c 65536; sleep 20; cat; } >"$T/late.bin" &
LATE=$!
started "$LATE"
sleep 0.5
kill -TERM "$SERVER_PID"
sleep 0.2
kill -TERM "$SERVER_PID"
wait "$SERVER_PID" || fail 'the second signal'
ok 'a second SIGTERM ends it at once'
refused 1 "^antq: no answer from $SERVER_ADDR" "https://$SERVER_ADDR/small" --timeout 1
grep -q '/small: not fetched' "$T/run.err" || fail 'the URL is not named'
server_start http serve "$T/www" --listen 127.0.0.1:0
pin=$(sed -n 's/.*--pin //p' "$T/server.err")
"$ANTQ" http get "https://$SERVER_ADDR/small" --pin "$pin" >"$T/run.out" 2>"$T/run.err" || fail 'not with a pin'
cmp "$T/www/small" "$T/run.out" || fail 'differs with a pin'
expect 1 '^antq: .*certificate was not accepted' http get "https://$SERVER_ADDR/small"
server_end
ok 'SIGTERM ends an idle server with 0'
count_end
