#!/bin/sh
# ngtcp2.sh SRC BUILD -- handshakes with a stranger, Debian's ngtcp2 (GnuTLS), in both directions.
#
# Judged by what both sides' logs say (`QUIC handshake has completed`, HANDSHAKE_DONE), because gtlsclient
# exits 0 even when nobody listens: a control run against a closed port must be judged a failure. tshark,
# given the key log, must find no malformed QUIC packet and none that it cannot decrypt; and the judge
# itself is tried with keys taken away.
. "$1/tests/lib.sh"
need gtlsserver gtlsclient tshark openssl
PORT_A=$((20000 + $$ % 10000)) # gtlsserver's
PORT_CLOSED=$((PORT_A + 10000))
KEYS=$T/keys
: >"$KEYS"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$T/key.pem" -out "$T/cert.pem" 2>"$T/openssl.err" ||
    fail 'openssl made no certificate'
mkdir "$T/htdocs"

# ---- the judges

# handshaken LOG: ngtcp2's log tells of a whole handshake
handshaken() { grep -q 'QUIC handshake has completed' "$1" && grep -q "frm [rt]x .*HANDSHAKE_DONE" "$1"; }
capture_start() { # capture_start NAME PORT
    CAPTURE=$T/$1.pcap
    rm -f "$T/tshark.err"
    tshark -q -i lo -f "udp port $2" -w "$CAPTURE" >"$T/tshark.err" 2>&1 &
    CAPTURE_PID=$!
    started "$CAPTURE_PID"
    wait_for_line "$T/tshark.err" 'Capture started|Capturing on' "$CAPTURE_PID" 20 ||
        skip "tshark cannot capture on lo: $(tail -n 1 "$T/tshark.err")"
    sleep 1
}
capture_end() {
    sleep 1
    kill -INT "$CAPTURE_PID"
    wait "$CAPTURE_PID" || true
}
dissect() { # dissect PORT KEYS tshark arguments
    port=$1 keys=$2
    shift 2
    tshark -n -r "$CAPTURE" -d "udp.port==$port,quic" -o "tls.keylog_file:$keys" "$@" 2>/dev/null
}
# QUIC packets and how many of them are decrypted: each Initial, 0-RTT, Handshake or short header needs a
# packet number, which only decryption gives.
packets() { # packets PORT KEYS: "TOTAL DECRYPTED"
    dissect "$1" "$2" -T fields -E separator='|' -e quic.long.packet_type -e quic.short -e quic.packet_number |
        awk -F '|' '{
            n = split($1, types, ","); for (i = 1; i <= n; i++) if (types[i] <= 2) total++
            total += split($2, short, ","); done += split($3, numbers, ",")
        } END { print total + 0, done + 0 }'
}
judge_capture() { # judge_capture WHAT PORT
    malformed=$(dissect "$2" "$KEYS" -Y '_ws.malformed' | wc -l)
    counts=$(packets "$2" "$KEYS")
    [ "${counts% *}" -ge 8 ] || fail "$1: only ${counts% *} QUIC packets captured"
    [ "$malformed" -eq 0 ] || fail "$1: $malformed malformed: $(dissect "$2" "$KEYS" -Y _ws.malformed)"
    [ "${counts% *}" = "${counts#* }" ] ||
        fail "$1: of ${counts% *} QUIC packets only ${counts#* } decrypt: $(dissect "$2" "$KEYS" -Y quic)"
    # The judge must be able to find one: without keys only Initial packets open.
    blind=$(packets "$2" /dev/null)
    [ "${blind#* }" -lt "${counts#* }" ] || fail "$1: the judge says all decrypts without keys"
    ok "$1: tshark reads all ${counts% *} QUIC packets, none malformed"
}

# ---- antq echo to gtlsserver. Without GSO, whose trains a capture of loopback shows as one datagram.
capture_start ours "$PORT_A"
SSLKEYLOGFILE=$KEYS gtlsserver --htdocs="$T/htdocs" 127.0.0.1 "$PORT_A" "$T/key.pem" "$T/cert.pem" >"$T/gtlsserver.log" 2>&1 &
GTLS_PID=$!
started "$GTLS_PID"
sleep 1
kill -0 "$GTLS_PID" 2>/dev/null || fail 'gtlsserver does not start'
"$ANTQ" echo "127.0.0.1:$PORT_A" --alpn h3 --insecure --handshake-only --no-gso --keylog "$KEYS" >"$T/antq.out" 2>"$T/antq.err" ||
    fail "antq echo --handshake-only ended with $?"
capture_end
kill "$GTLS_PID"
wait "$GTLS_PID" || true
handshaken "$T/gtlsserver.log" || fail 'gtlsserver tells of no whole handshake'
cat "$T/antq.out"
ok 'antq echo shakes hands with gtlsserver'
judge_capture 'antq echo to gtlsserver' "$PORT_A"

# ---- gtlsclient to antq echo serve
server_start echo serve --listen 127.0.0.1:0 --alpn h3 --verbose --no-gso --keylog "$KEYS" --cert "$T/cert.pem" --key "$T/key.pem"
PORT_B=${SERVER_ADDR##*:}
capture_start theirs "$PORT_B"
timeout 20 gtlsclient --exit-on-all-streams-close --timeout=3s 127.0.0.1 "$PORT_B" https://localhost/ \
    >"$T/gtlsclient.log" 2>&1 || true
capture_end
server_end
handshaken "$T/gtlsclient.log" || fail 'gtlsclient tells of no whole handshake'
ok 'gtlsclient shakes hands with antq echo serve'
uni=$(sed -n 's/.*initial_max_streams_uni=\([0-9]*\).*/\1/p' "$T/gtlsclient.log" | tail -n 1)
[ "${uni:-0}" -ge 3 ] || fail "antq grants ${uni:-no} unidirectional streams, HTTP/3 needs 3"
ok "antq grants $uni unidirectional streams"
# An echo is no HTTP/3: the client's request comes back as an answer it must refuse.
close=$(grep -E 'frm tx .*CONNECTION_CLOSE' "$T/gtlsclient.log" | tail -n 1)
[ -n "$close" ] || close=$(grep -iE 'closed|error' "$T/server.err" | tail -n 1)
[ -n "$close" ] || fail 'nobody tells how gtlsclient closed'
printf 'gtlsclient closed, as expected of HTTP/3 that meets an echo: %s\n' "$close"
printf '%s\n' "$close" | grep -qE '0x1[0-9a-f]{2}\b' || fail "not an HTTP/3 code: $close"
ok 'the HTTP/3 close has its code'
judge_capture 'gtlsclient to antq echo serve' "$PORT_B"

# ---- versions: Debian's ngtcp2 knows 1 and the draft's number of 2. What it does not know it answers with
# the list of what it does, and we begin anew.
gtlsserver --htdocs="$T/htdocs" 127.0.0.1 "$PORT_A" "$T/key.pem" "$T/cert.pem" >"$T/versions.log" 2>&1 &
GTLS_PID=$!
started "$GTLS_PID"
sleep 1
for row in 'v1 1' 'v2draft v2draft' 'v1 2'; do
    # shellcheck disable=SC2086
    set -- $row
    "$ANTQ" echo "127.0.0.1:$PORT_A" --alpn h3 --insecure --handshake-only --version "$2" --versions 1,2,v2draft \
        >"$T/antq.out" 2>"$T/antq.err" || fail "antq echo --version $2 ended with $?"
    grep -q "QUIC $1," "$T/antq.out" || fail "antq echo --version $2 came to: $(cat "$T/antq.out")"
    ok "antq echo --version $2 to gtlsserver: QUIC $1"
done
"$ANTQ" echo "127.0.0.1:$PORT_A" --alpn h3 --insecure --handshake-only --version 2 --versions 2 \
    >"$T/antq.out" 2>"$T/antq.err" && fail 'gtlsserver speaks version 2 after all'
grep -q 'speaks no version of QUIC that we accept' "$T/antq.err" || fail "no word of versions: $(cat "$T/antq.err")"
ok 'nothing in common with gtlsserver'
kill "$GTLS_PID"
wait "$GTLS_PID" || true
server_start echo serve --listen 127.0.0.1:0 --alpn h3 --verbose --versions 2,v2draft,1 --cert "$T/cert.pem" --key "$T/key.pem"
for version in v1 v2draft; do
    timeout 20 gtlsclient --version=$version --exit-on-all-streams-close --timeout=3s 127.0.0.1 "${SERVER_ADDR##*:}" \
        https://localhost/ >"$T/gtlsclient.log" 2>&1 || true
    handshaken "$T/gtlsclient.log" || fail "gtlsclient --version=$version tells of no whole handshake"
    grep -q "handshake completed, QUIC $version," "$T/server.err" || fail "antq speaks no $version to gtlsclient"
    ok "gtlsclient --version=$version shakes hands with antq echo serve"
done
server_end

# ---- the control: nobody listens
timeout 4 gtlsclient --exit-on-all-streams-close --handshake-timeout=2s 127.0.0.1 "$PORT_CLOSED" https://localhost/ \
    >"$T/control.log" 2>&1 || true
[ -s "$T/control.log" ] || fail 'the control run did not run'
handshaken "$T/control.log" && fail 'a handshake with a closed port'
ok 'the control run against a closed port is judged a failure'
count_end
