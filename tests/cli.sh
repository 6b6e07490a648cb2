#!/bin/sh
# cli.sh SRC BUILD -- runs the program: every error, its exit code and its words; help, version, JSON, signals.
# Error lines must begin with `antq: ` and name what is wrong and what to do.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

# expect CODE PATTERN ARG...: runs antq; its exit code and a line of its standard error must be these.
expect() {
    want=$1 pattern=$2
    shift 2
    got=0
    timeout 60 "$ANTQ" "$@" >"$T/run.out" 2>"$T/run.err" </dev/null || got=$?
    [ "$got" -eq "$want" ] || fail "antq $*: exit $got, not $want"
    grep -qE -- "$pattern" "$T/run.err" || fail "antq $*: standard error lacks /$pattern/"
    ok "exit $want: antq $*"
}
# The same for standard output.
expect_out() {
    want=$1 pattern=$2
    shift 2
    got=0
    timeout 60 "$ANTQ" "$@" >"$T/run.out" 2>"$T/run.err" </dev/null || got=$?
    [ "$got" -eq "$want" ] || fail "antq $*: exit $got, not $want"
    grep -qE -- "$pattern" "$T/run.out" || fail "antq $*: standard output lacks /$pattern/"
    ok "exit $want: antq $*"
}
# One JSON object and nothing else on standard output of the last run.
json_valid() {
    if command -v python3 >/dev/null 2>&1; then
        python3 -m json.tool <"$T/run.out" >/dev/null || fail "no valid JSON: $(cat "$T/run.out")"
        ok "valid JSON: $1"
    fi
    for key in $2; do
        grep -q "\"$key\":" "$T/run.out" || fail "$1: the JSON object lacks $key"
    done
}

# What an earlier server or client wrote must not be taken for what this one will write.
serve() {
    rm -f "$T/server.out" "$T/server.err"
    server_start "$@"
}
fresh() { rm -f "$T"/run*.out "$T"/run*.err; }

# ---- words and flags ------------------------------------------------------------------------------------
expect_out 0 '^antq [0-9]+\.[0-9]+\.[0-9]+$' --version
expect_out 0 'Exit codes' help
expect_out 0 'Exit codes' --help
expect_out 0 'usage: antq echo HOST:PORT' help echo
expect_out 0 'usage: antq echo serve' help echo serve
expect_out 0 'usage: antq perf HOST:PORT' help perf
expect_out 0 '^  --pin HASH' echo --help
expect_out 0 '^  --listen ADDR:PORT' echo serve --help
expect_out 0 '^  --datagrams N' echo --help
expect_out 0 '^  --handshakes N' perf --help
expect_out 0 'usage: antq qlog FILE' help qlog
expect_out 0 '^  --summary' qlog --help
expect_out 0 '^  --listen ADDR:PORT' perf serve --help
expect_out 0 'usage: antq bootstrap \[flags\]' help bootstrap
expect_out 0 '^  --relay off\|RATE' bootstrap --help
expect 2 '^antq: unexpected word "x": `antq bootstrap` takes flags only' bootstrap x
expect 2 '^antq: --listen: ' bootstrap --listen nonsense.invalid:x # tests/bootstrap.sh looks closer
expect_out 0 'antq http' help
if "$ANTQ" http --help >/dev/null 2>&1; then # tests/http.sh looks closer
    expect_out 0 'usage: antq http serve DIR' help http serve
    expect_out 0 'usage: antq http get URL' help http get
else
    expect 1 '^antq: this antq was built without HTTP/3: install nghttp3' http get https://h/
fi
expect 2 '^usage: antq'
expect 2 '^antq: no subcommand "frobnicate"' frobnicate
expect 2 '^antq: no subcommand "frobnicate"' help frobnicate
expect 2 '^antq: unknown flag "--frobnicate"' --frobnicate
for sub in echo perf; do
    expect 2 '^antq: unknown flag --frobnicate; `antq '$sub' --help`' $sub --frobnicate h:1
    expect 2 '^antq: unknown flag --frobnicate; `antq '$sub' serve --help`' $sub serve --frobnicate
    expect 2 '^antq: HOST:PORT is missing' $sub
    expect_out 0 '^  --qlog DIR' $sub --help
    expect_out 0 '^  --qlog DIR' $sub serve --help
    expect 2 '^antq: --qlog needs a value: DIR' $sub h:1 --qlog
    expect 2 '^antq: one HOST:PORT is expected' $sub a:1 b:2
    expect 2 '^antq: --pin expects .*64 hexadecimal' $sub 127.0.0.1:1 --pin abc
    expect 2 '^antq: --insecure, --ca and --pin exclude' $sub 127.0.0.1:1 --insecure --ca x
    expect 2 '^antq: -4 and -6 exclude' $sub 127.0.0.1:1 -4 -6
    expect 2 '^antq: --alpn expects' $sub 127.0.0.1:1 --alpn a,,b
    expect 2 '^antq: .*cc' $sub 127.0.0.1:1 --insecure --cc nonsense
    expect 2 '^antq: aead must be auto' $sub 127.0.0.1:1 --insecure --aead nonsense
    expect 2 '^antq: --mtu must be from 1200 to 65000' $sub 127.0.0.1:1 --mtu 1199
    expect 2 '^antq: bad address .*port' $sub 127.0.0.1:65536 --insecure
    expect 2 '^antq: bad address' $sub 127.0.0.1:http --insecure
    expect 2 '^antq: bad address' $sub '[::1:5' --insecure
    expect 2 '^antq: bad address' $sub 999.0.0.1:5 --insecure
    expect 2 '^antq: .*port 0' $sub 127.0.0.1:0 --insecure
    expect 2 '^antq: .*no host' $sub :4433 --insecure
    expect 2 '^antq: --listen: bad address' $sub serve --listen 127.0.0.1:99999
    expect 2 '^antq: --cert and --key belong together' $sub serve --listen 127.0.0.1:0 --cert x
    expect 2 '^antq: .*cc' $sub serve --listen 127.0.0.1:0 --cc nonsense
    expect 2 '^antq: aead must be auto' $sub serve --listen 127.0.0.1:0 --aead nonsense
    expect 2 '^antq: unexpected word' $sub serve 127.0.0.1:0
done
expect 2 '^antq: --count must be from 1' echo h:1 --count 0
expect 2 '^antq: --size expects a size in bytes' echo h:1 --size ten
expect 2 '^antq: --size must be from 1 to' echo h:1 --size 17M
expect 2 '^antq: --pipe and --json' echo 127.0.0.1:1 --pipe --json
expect 2 '^antq: --streams must be from 1 to 1000' perf h:1 --streams 1001
expect 2 '^antq: --download expects a size' perf h:1 --download 1X

# ---- antq id ----------------------------------------------------------------------------------------------
expect_out 0 '^  --key FILE' id --help
expect 2 "^antq: unknown flag --frobnicate; .antq id --help" id --frobnicate
expect 0 '^made a key in .*/key.pem' id --key "$T/key.pem"
expect_out 0 '^[a-z2-7]{52}$' id --key "$T/key.pem"
me=$(cat "$T/run.out")
expect_out 0 "\"peer_id\":\"$me\",\"key\":\".*key.pem\",\"made\":false" id --key "$T/key.pem" --json
json_valid 'id --json' 'peer_id key made'
[ "$(stat -c %a "$T/key.pem")" = 600 ] || fail 'the key file is not 0600'
(export HOME="$T" XDG_CONFIG_HOME= && expect 0 '^made a key in .*/.config/antq/key.pem' id)
(export HOME=/none XDG_CONFIG_HOME="$T/.config" && expect_out 0 '^[a-z2-7]{52}$' id)
(export HOME= XDG_CONFIG_HOME= && expect 1 '^antq: --key: neither HOME' id)
chmod 640 "$T/key.pem"
expect 1 '^antq: --key: others may read .*chmod 600' id --key "$T/key.pem"
expect 1 '^antq: --key: cannot write ".*none/key"' id --key "$T/none/key"
expect 1 '^antq: --key: "/" is no file' id --key /
(umask 077 && echo nonsense >"$T/nokey")
expect 1 '^antq: --key: private key .*: no private key found' id --key "$T/nokey"
if command -v openssl >/dev/null 2>&1; then
    # The same by another program: base32 of SHA-256 of the SubjectPublicKeyInfo.
    chmod 600 "$T/key.pem"
    theirs=$(openssl pkey -in "$T/key.pem" -pubout -outform DER | openssl dgst -sha256 -binary | base32 -w 0 |
        tr -d '=' | tr 'A-Z' 'a-z')
    expect_out 0 "^$theirs\$" id --key "$T/key.pem"
    (umask 077 && openssl ecparam -name prime256v1 -genkey -noout -out "$T/p256.pem" 2>/dev/null)
    expect_out 0 '^[a-z2-7]{52}$' id --key "$T/p256.pem"
fi

# ---- files ------------------------------------------------------------------------------------------------
expect 1 '^antq: --ca: cannot read ".*none": No such file' echo 127.0.0.1:1 --ca "$T/none"
expect 1 '^antq: --cert: cannot read ".*none": No such file' echo serve --listen 127.0.0.1:0 --cert "$T/none" --key "$T/none"
expect 1 '^antq: cannot write the key log' echo 127.0.0.1:1 --insecure --keylog "$T/none/log"
echo nonsense >"$T/nonsense"
expect 1 '^antq: --ticket: .*no ticket file of antq' echo 127.0.0.1:1 --insecure --ticket "$T/nonsense"
expect 1 '^antq: .' echo 127.0.0.1:1 --ca "$T/nonsense"
expect 1 '^antq: .' echo serve --listen 127.0.0.1:0 --cert "$T/nonsense" --key "$T/nonsense"

certs=no
if command -v openssl >/dev/null 2>&1; then
    certs=yes
    for n in 1 2; do
        openssl ecparam -genkey -name prime256v1 -noout -out "$T/key$n" 2>/dev/null
        openssl req -x509 -new -key "$T/key$n" -out "$T/cert$n" -days 30 -subj '/CN=localhost' \
            -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' 2>/dev/null
    done
    expect 1 '^antq: .*match' echo serve --listen 127.0.0.1:0 --cert "$T/cert1" --key "$T/key2"
fi

# ---- nobody there -----------------------------------------------------------------------------------------
# A port that was free a moment ago: nobody listens there.
serve echo serve --listen 127.0.0.1:0
closed=$SERVER_ADDR
server_end
ok 'SIGTERM ends an idle server with 0'
expect 1 "^antq: no answer from $closed after [0-9.]+ s.*refused" echo "$closed" --insecure --timeout 1
expect 1 "^antq: no answer from $closed after" perf "$closed" --insecure --timeout 1
expect 1 "^antq: no answer from $closed after" perf "$closed" --insecure --timeout 1 --handshakes 3

# ---- an echo server -----------------------------------------------------------------------------------------
serve echo serve --listen 127.0.0.1:0 -v
at=$SERVER_ADDR
pin=$(sed -n 's/.*--pin //p' "$T/server.err")
[ "${#pin}" -eq 64 ] || fail "no pin on the server's standard error"
expect 1 '^antq: .*(in use|Address already)' echo serve --listen "$at"
expect_out 0 '^5 sent, 5 received, 64 bytes each' echo "$at" --pin "$pin" --count 5
grep -q '^64 bytes from .* seq=5 time=[0-9.]* ms$' "$T/run.out" || fail 'no line for each round trip'
grep -q '^round trip min/p50/p99 = ' "$T/run.out" || fail 'no percentiles'
expect_out 0 'confirmed: QUIC v1, TLS_.*, ALPN echo, certificate pinned' echo "$at" --pin "$pin" --handshake-only
expect_out 0 'confirmed: QUIC v1, ' echo "$at" --pin "$pin" --handshake-only --version 2
expect_out 0 '"version":2,' echo "$at" --pin "$pin" --count 1 --json --versions 2
expect 1 '^antq: .* speaks no version of QUIC that we accept' echo "$at" --pin "$pin" --versions v2draft
expect 2 '^antq: --versions expects 1, 2 or v2draft' echo "$at" --pin "$pin" --versions 1,3
expect 2 '^antq: --version expects 1, 2 or v2draft' echo "$at" --pin "$pin" --version 3
expect 2 '^antq: --version 2 is not in --versions 1' echo "$at" --pin "$pin" --version 2 --versions 1
expect_out 0 '^3 sent, 3 received, 1048576 bytes each' echo "$at" --insecure --count 3 --size 1M
expect_out 0 '"received":30' echo "$at" --insecure --count 30 --json
json_valid 'echo --json' 'rtt_us handshake_us cipher group alpn mtu lost_packets'
wrong=$(echo "$pin" | tr '0123456789abcdef' '123456789abcdef0')
expect 1 '^antq: the server.s certificate was not accepted.*--ca.*--pin.*--insecure' echo "$at" --pin "$wrong"
expect 1 '^antq: .*not accepted.*--ca.*--pin.*--insecure|^antq: .*no CA certificates found' echo "$at"
if [ $certs = yes ]; then
    expect 1 '^antq: the server.s certificate was not accepted.*--ca' echo "$at" --ca "$T/cert1"
fi
expect 1 '^antq: .*none of the protocols we offer \(other\)' echo "$at" --insecure --alpn other
expect 1 'none of the protocols we offer \(perf\)' perf "$at" --insecure
expect_out 0 '^4 sent, 4 received' echo "$at" --insecure --alpn other,echo --count 4
expect_out 0 '^10 sent, 10 received' echo "$at" --insecure --cc newreno --no-gso --no-gro --mtu 1200
expect_out 0 '^10 sent, 10 received' echo "$at" --insecure --count 10 --busy-poll --busy-poll-time 0.5
expect_out 0 '^  --busy-poll ' perf serve --help
expect 2 '^antq: --busy-poll takes no value' echo "$at" --insecure --busy-poll=1
expect 2 '^antq: --busy-poll-time expects a number of seconds' echo "$at" --insecure --busy-poll-time long
# The backend that was asked for is the one that works, or the error says why it cannot.
expect_out 0 '"aead":"boringssl"' echo "$at" --insecure --count 3 --json --aead boringssl
if expect_out 0 '"aead":"(ipsec-mb|boringssl)"' echo "$at" --insecure --count 3 --json && grep -q ipsec-mb "$T/run.out"; then
    expect_out 0 '"aead":"ipsec-mb"' echo "$at" --insecure --count 3 --json --aead ipsec-mb
else
    expect 2 '^antq: aead: ' echo "$at" --insecure --aead ipsec-mb
fi
expect_out 0 '^100 sent, 100 received' echo "$at" --insecure --count 100 --key-update-every 20

# Datagrams: each comes back here; many at once may be lost, which is told and no failure.
expect_out 0 '^20 datagrams sent, 20 received, 0 lost' echo "$at" --insecure --datagrams 20 --interval 1
grep -q '^64 bytes from .* datagram=20 time=[0-9.]* ms$' "$T/run.out" || fail 'no line for each datagram'
# The way back must find its MTU first.
expect_out 0 '^50 datagrams sent, [1-9][0-9]* received, .*, 1400 bytes each' echo "$at" --insecure --datagrams 50 --size 1400 --interval 5
expect_out 0 '^20000 datagrams sent, [1-9][0-9]* received, [0-9]+ lost' echo "$at" --insecure --datagrams 20000 --size 500
expect_out 0 '"sent":100,"received":100,"lost":0' echo "$at" --insecure --datagrams 100 --interval 1 --json
json_valid 'echo --datagrams --json' 'rtt_us lost lost_there dropped_here out_of_order repeated'
expect 1 '^antq: --size: the way to .* takes datagrams of at most 14[0-9][0-9] bytes, not 1500' echo "$at" --insecure --datagrams 1 --size 1500
expect 2 '^antq: --size must be from 8' echo "$at" --insecure --datagrams 1 --size 7
expect 2 '^antq: --datagrams and --pipe exclude each other' echo "$at" --insecure --datagrams 1 --pipe
expect 2 '^antq: --datagrams must be from 1' echo "$at" --insecure --datagrams 0

# A session is kept and resumed.
expect_out 0 'certificate pinned' echo "$at" --pin "$pin" --ticket "$T/session" --handshake-only
[ -s "$T/session" ] || fail 'no ticket was kept'
expect_out 0 'session resumed' echo "$at" --pin "$pin" --ticket "$T/session" --handshake-only
expect_out 0 '10 received' echo "$at" --insecure --keylog "$T/keys"
grep -q '^CLIENT_TRAFFIC_SECRET_0 ' "$T/keys" || fail 'no secrets in the key log'
rm -f "$T/keys"
SSLKEYLOGFILE=$T/keys expect_out 0 '10 received' echo "$at" --insecure
grep -q '^SERVER_TRAFFIC_SECRET_0 ' "$T/keys" || fail 'SSLKEYLOGFILE was not honoured'
ok 'key log'

# Pipes: nothing, one byte, some; a standard output that is slow, and one that breaks.
size=$(($(scale 8) * 1048576))
for bytes in 0 1 $size; do
    head -c "$bytes" /dev/urandom >"$T/in"
    "$ANTQ" echo "$at" --insecure --pipe <"$T/in" >"$T/out" 2>"$T/run.err" || fail "--pipe of $bytes bytes"
    cmp "$T/in" "$T/out" || fail "--pipe changed its $bytes bytes"
    ok "--pipe of $bytes bytes"
done
# shellcheck disable=SC2002
cat "$T/in" | "$ANTQ" echo "$at" --insecure --pipe 2>"$T/run.err" | { sleep 1; cat >"$T/out"; }
cmp "$T/in" "$T/out" || fail '--pipe to a slow reader'
ok '--pipe from a pipe to a slow reader'
# What was meant for a standard output that is closed must not go to what took its number.
got=0
echo not-for-the-log |
    timeout 60 "$ANTQ" echo "$at" --insecure --pipe --keylog "$T/closed.keys" >&- 2>"$T/run.err" || got=$?
[ $got -eq 1 ] || fail "standard output closed: exit $got, not 1"
grep -q '^antq: cannot write to standard output' "$T/run.err" || fail 'a closed standard output was not told'
! grep -q not-for-the-log "$T/closed.keys" || fail 'the echo went into the key log'
ok 'standard output that is closed'
if [ -e /dev/full ]; then
    got=0
    "$ANTQ" echo "$at" --insecure --pipe <"$T/in" >/dev/full 2>"$T/run.err" || got=$?
    { [ $got -eq 1 ] && grep -q '^antq: cannot write to standard output: No space' "$T/run.err"; } ||
    fail 'a full device was not told'
    ok 'standard output that is full'
fi
got=0
{ "$ANTQ" echo "$at" --insecure --pipe <"$T/in" 2>"$T/run.err" || echo $? >"$T/status"; } | head -c 1 >/dev/null
{ grep -q 1 "$T/status" && grep -q '^antq: cannot write to standard output: Broken pipe' "$T/run.err"; } ||
    fail 'a reader that went away was not told'
ok 'standard output that broke'

# SIGTERM while a client is connected: the client is told, the server ends with 0, the port is free.
fresh
"$ANTQ" echo "$at" --insecure --count 100000 --interval 50 >"$T/run.out" 2>"$T/run.err" &
client=$!
started $client
wait_for_line "$T/run.out" 'confirmed' $client || fail 'the client did not connect'
sleep 0.3
server_end
got=0
wait $client || got=$?
{ [ $got -eq 1 ] && grep -q '^antq: connection to .* closed by the peer' "$T/run.err"; } ||
    fail "the client of a server that ended: exit $got"
ok 'SIGTERM with a client connected'
grep -q 'closed by the peer, application code 0x0' "$T/server.err" || fail 'the server did not log its connections'
serve echo serve --listen "$at"
server_end
ok 'the port is free again'

# ---- a full server, a killed one ------------------------------------------------------------------------------
serve echo serve --listen 127.0.0.1:0 --max-conns 1
fresh
"$ANTQ" echo "$SERVER_ADDR" --insecure --count 100000 --interval 50 --idle-timeout 2 >"$T/run1.out" 2>"$T/run1.err" &
client=$!
started $client
wait_for_line "$T/run1.out" 'confirmed' $client || fail 'the first client did not connect'
expect 1 '^antq: .* refused the connection, it may be full' echo "$SERVER_ADDR" --insecure --timeout 5
kill -KILL "$SERVER_PID"
got=0
wait $client || got=$?
{ [ $got -eq 1 ] && grep -q '^antq: connection to .* lost: nothing heard for 2.0 s' "$T/run1.err"; } ||
    fail "the client of a killed server: exit $got"
ok 'a server that was killed'

# Started again with the same secrets, it resets the connections of its former life, and knows its tickets
# and tokens; with other secrets it cannot.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -keyout "$T/again.key" -out "$T/again.cert" 2>/dev/null || fail 'openssl made no certificate'
again() { serve echo serve --listen "$1" --secret-file "$2" --cert "$T/again.cert" --key "$T/again.key" --retry -v; }
again 127.0.0.1:0 "$T/secrets"
again_at=$SERVER_ADDR
[ "$(stat -c '%a %s' "$T/secrets")" = '600 88' ] || fail "the file of secrets is $(stat -c '%a %s' "$T/secrets")"
fresh
expect_out 0 'handshake-only|confirmed' echo "$again_at" --insecure --ticket "$T/again.ticket" --handshake-only
"$ANTQ" echo "$again_at" --insecure --count 100000 --interval 50 --idle-timeout 20 >"$T/run1.out" 2>"$T/run1.err" &
client=$!
started $client
wait_for_line "$T/run1.out" 'confirmed' $client || fail 'the client did not connect'
kill -KILL "$SERVER_PID"
wait "$SERVER_PID" 2>/dev/null || true
again "$again_at" "$T/secrets"
got=0
wait $client || got=$?
{ [ $got -eq 1 ] && grep -q '^antq: connection to .* lost: .*stateless reset.*restarted' "$T/run1.err"; } ||
    fail "the client of a restarted server: exit $got, $(cat "$T/run1.err")"
ok 'a restarted server resets at once'
expect_out 0 'session resumed' echo "$again_at" --insecure --ticket "$T/again.ticket" --handshake-only
server_end
again "$again_at" "$T/other.secrets"
expect_out 0 'certificate not verified$' echo "$again_at" --insecure --ticket "$T/again.ticket" --handshake-only
server_end
cmp -s "$T/secrets" "$T/other.secrets" && fail 'two files of secrets are the same'
chmod 640 "$T/secrets"
expect 1 '^antq: --secret-file: others may read' echo serve --listen "$again_at" --secret-file "$T/secrets"
chmod 600 "$T/secrets"
echo more >>"$T/secrets"
expect 1 '^antq: --secret-file: .* is no file of secrets' echo serve --listen "$again_at" --secret-file "$T/secrets"
expect 1 '^antq: --secret-file: cannot make' echo serve --listen "$again_at" --secret-file "$T/nowhere/secrets"

# The same in the middle of a transfer, and SIGINT to a client.
serve echo serve --listen 127.0.0.1:0
fresh
# shellcheck disable=SC2216
sleep 5 | "$ANTQ" echo "$SERVER_ADDR" --insecure --pipe --idle-timeout 1 >"$T/run.out" 2>"$T/run.err" &
client=$!
wait_for_line "$T/run.err" 'confirmed' $client || fail 'the pipe did not connect'
kill -KILL "$SERVER_PID"
got=0
wait $client || got=$?
{ [ $got -eq 1 ] && grep -q 'lost' "$T/run.err"; } ||
    fail "the pipe of a killed server: exit $got"
ok 'a server that was killed during --pipe'
serve echo serve --listen 127.0.0.1:0
fresh
"$ANTQ" echo "$SERVER_ADDR" --insecure --count 100000 --interval 20 >"$T/run.out" 2>"$T/run.err" &
client=$!
started $client
wait_for_line "$T/run.out" 'confirmed' $client || fail 'the client did not connect'
sleep 0.3
kill -TERM $client
wait $client || fail 'a ping that was ended had no success'
grep -q 'echo statistics' "$T/run.out" || fail 'a ping that was ended has no summary'
ok 'SIGTERM ends a ping with its summary'
server_end

# ---- a server that does not echo ---------------------------------------------------------------------------------
serve perf serve --listen 127.0.0.1:0 --alpn h3
expect 1 '^antq: no echo: the handshake with .* was completed and confirmed' echo "$SERVER_ADDR" --alpn h3 --insecure --size 7
expect_out 0 'confirmed: .*ALPN h3' echo "$SERVER_ADDR" --alpn h3 --insecure --handshake-only
server_end

# ---- perf ----------------------------------------------------------------------------------------------------------
for address in 127.0.0.1:0 '[::1]:0'; do
    got=0
    case $address in '['*) fresh; "$ANTQ" echo serve --listen "$address" >"$T/run.out" 2>&1 & probe=$!
        wait_for_line "$T/run.out" '^listening' $probe 5 || got=1
        kill $probe 2>/dev/null || true ;;
    esac
    [ $got -eq 0 ] || { echo 'no IPv6 here'; continue; }
    serve perf serve --listen "$address" --retry
    expect_out 0 'download' perf "$SERVER_ADDR" --insecure --download "$(scale 16)M" --upload "$(scale 16)M" \
        --requests 200 --handshakes 10 --streams 4 --json
    json_valid "perf --json $address" 'download_bytes upload_bytes seconds gbit_per_s handshakes resumed handshakes_per_s
        requests_per_s latency_us handshake_us confirmed_us min p50 p99 p99_9 send_calls recv_calls'
    [ "$(json handshakes "$T/run.out")" = 10 ] || fail 'wrong number of handshakes'
    [ "$(json resumed "$T/run.out")" = 0 ] || fail 'resumed without a ticket'
    expect_out 0 '^requests +100 in' perf "$SERVER_ADDR" --insecure --requests 100 --response-size 0
    # More streams, one after the other, than the client may have open at once.
    expect_out 0 '^requests +5000 in' perf "$SERVER_ADDR" --insecure --requests 5000 --streams 3
    expect_out 0 '^handshakes 3 in' perf "$SERVER_ADDR" --insecure --handshakes 3
    expect_out 0 '^upload +1 bytes' perf "$SERVER_ADDR" --insecure --upload 1 --download 257 --streams 9
    server_end
done
# Paths: a move by the client's wish, and to where the server prefers.
expect 2 '^antq: --preferred-address expects the address' perf serve --listen 127.0.0.1:0 --preferred-address :1
expect 2 '^antq: --preferred-address' perf serve --listen 127.0.0.1:0 --preferred-address 127.0.0.1:x
expect 2 '^antq: --migrate-after expects' perf 127.0.0.1:1 --migrate-after never
serve perf serve --listen 127.0.0.1:0 --preferred-address "127.0.0.2:${closed##*:}"
expect 0 "^moved: now from 127.0.0.1:[0-9]* to 127.0.0.2:${closed##*:}" perf "$SERVER_ADDR" --insecure \
    --upload "$(scale 64)M" -v --migrate-after 0.001
[ "$(grep -c '^moved' "$T/run.err")" -ge 1 ] || fail 'no move'
server_end
serve perf serve --listen 127.0.0.1:0 --max-streams 1000
expect_out 0 '^requests +3000 in' perf "$SERVER_ADDR" --insecure --requests 3000 --streams 1000
# 0-RTT needs a session, and a server that wants it.
expect 2 '^antq: --early-data needs a session' echo 127.0.0.1:1 --insecure --early-data
rm -f "$T/early.ticket"
expect_out 0 '"early_data":"no"' perf "$SERVER_ADDR" --insecure --requests 1 --ticket "$T/early.ticket" --early-data --json
expect_out 0 '"early_data":"no"' perf "$SERVER_ADDR" --insecure --requests 1 --ticket "$T/early.ticket" --early-data --json

# The first run gets a ticket, the second resumes each time; a ticket of another server counts for nothing.
rm -f "$T/perf.ticket"
expect_out 0 '"resumed":0,' perf "$SERVER_ADDR" --insecure --requests 1 --ticket "$T/perf.ticket" --json
expect_out 0 '"handshakes":20,"resumed":20,' perf "$SERVER_ADDR" --insecure --handshakes 20 --ticket "$T/perf.ticket" --json
cp "$T/perf.ticket" "$T/kept.ticket"
expect_out 0 '^handshakes 5 in .*, resumed$' perf "$SERVER_ADDR" --insecure --handshakes 5 --ticket "$T/perf.ticket"
! cmp -s "$T/perf.ticket" "$T/kept.ticket" || fail 'the newest ticket is not kept'
server_end
serve perf serve --listen 127.0.0.1:0
expect_out 0 '"handshakes":1,"resumed":0,' perf "$SERVER_ADDR" --insecure --handshakes 1 --ticket "$T/perf.ticket" --json
server_end
serve echo serve --listen 127.0.0.1:0 --alpn perf
expect 1 '^antq: .* returned (more|other)|^antq: .*returned 8 bytes' perf "$SERVER_ADDR" --insecure --requests 1
server_end

# ---- certificates, JSON of a server --------------------------------------------------------------------------------
if [ $certs = yes ]; then
    serve echo serve --listen 127.0.0.1:0 --cert "$T/cert1" --key "$T/key1"
    expect_out 0 'certificate verified' echo "$SERVER_ADDR" --ca "$T/cert1" --handshake-only
    expect_out 0 'certificate verified' echo "$SERVER_ADDR" --ca "$T/cert1" --server-name localhost --handshake-only
    expect 1 '^antq: .*not accepted.*another name' echo "$SERVER_ADDR" --ca "$T/cert1" --server-name example.org
    server_end
fi
fresh
"$ANTQ" echo serve --listen 127.0.0.1:0 --json >"$T/run.out" 2>"$T/json.err" &
server=$!
started $server
wait_for_line "$T/run.out" '"listening":"127\.0\.0\.1:[0-9]+"' $server || fail 'no JSON from the server'
kill -TERM $server
wait $server || fail 'the server did not end with 0'
json_valid 'echo serve --json' 'listening pin'

count_end
