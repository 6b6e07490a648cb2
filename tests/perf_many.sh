#!/bin/sh
# perf_many.sh SRC BUILD -- 1,000 full handshakes, each from a fresh port and verified with --ca, and 10,000
# requests, one stream each with every answer checked: not one may fail.
. "$1/tests/lib.sh"
need openssl
handshakes=$(scale 1000) requests=$(scale 10000)

# An authority, and a certificate for the loopback's addresses that it signed.
ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
printf 'subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost\n' >"$T/names"
# shellcheck disable=SC2086
{
    openssl req -x509 $ec -days 2 -subj '/CN=antq test authority' -keyout "$T/ca.key" -out "$T/ca.pem" &&
        openssl req $ec -subj /CN=localhost -keyout "$T/key.pem" -out "$T/cert.csr" &&
        openssl x509 -req -in "$T/cert.csr" -CA "$T/ca.pem" -CAkey "$T/ca.key" -CAcreateserial -days 2 \
            -extfile "$T/names" -out "$T/cert.pem"
} 2>"$T/openssl.err" || fail 'openssl made no certificates'

server_start perf serve --listen 127.0.0.1:0 --cert "$T/cert.pem" --key "$T/key.pem"
run() { # run FLAG...
    timeout 300 "$ANTQ" perf "$SERVER_ADDR" --ca "$T/ca.pem" --json "$@" >"$T/client.out" 2>"$T/client.err" ||
        fail "antq perf $* ended with $?"
    cat "$T/client.out"
}
run --handshakes "$handshakes"
[ "$(json handshakes "$T/client.out")" = "$handshakes" ] || fail "not $handshakes handshakes"
ok "$handshakes handshakes, verified, $(json handshakes_per_s "$T/client.out") a second"
run --requests "$requests" --streams 16
ok "$requests requests, $(json requests_per_s "$T/client.out") a second"
server_end

# The server's certificate comes from another authority: no handshake counts.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=other \
    -keyout "$T/other.key" -out "$T/other.pem" 2>"$T/openssl.err" || fail 'openssl made no certificate'
server_start perf serve --listen 127.0.0.1:0 --cert "$T/cert.pem" --key "$T/key.pem"
timeout 60 "$ANTQ" perf "$SERVER_ADDR" --ca "$T/other.pem" --handshakes 3 --json >"$T/client.out" 2>"$T/client.err" &&
    fail 'a stranger was verified'
server_end
ok 'another authority: fails'
count_end
