#!/bin/sh
# http_chromium.sh SRC BUILD -- Debian's headless Chromium loads a page of 100 objects from `antq http
# serve`. Two witnesses: the page, which counts what ran and asks how each came (nextHopProtocol), and
# the net log, in which no request may have gone over anything but QUIC.
. "$1/tests/lib.sh"
need chromium
. "$1/tests/interop/http_lib.sh"
make_cert
make_site
server_start http serve "$T/www" --listen 127.0.0.1:0 --verbose --cert "$T/cert.pem" --key "$T/key.pem"
port=${SERVER_ADDR##*:}
spki=$(openssl x509 -in "$T/cert.pem" -pubkey -noout | openssl pkey -pubin -outform der |
    openssl dgst -sha256 -binary | base64)
sandbox=
[ "$(id -u)" -ne 0 ] || sandbox=--no-sandbox

browse() { # browse PATH: its DOM in $T/dom.out, the log in $T/net.json
    # shellcheck disable=SC2086
    HOME=$T timeout 60 chromium --headless $sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$T/profile" \
        --origin-to-force-quic-on="localhost:$port" --host-resolver-rules='MAP localhost 127.0.0.1' \
        --ignore-certificate-errors-spki-list="$spki" --log-net-log="$T/net.json" \
        --dump-dom "https://localhost:$port$1" >"$T/dom.out" 2>"$T/chromium.log"
}

peer 'chromium from serve'
browse /page/ || fail "chromium ended with $?"
grep -q 'data-loaded="100"' "$T/dom.out" || fail "not 100 objects: $(grep -o 'data-[a-z]*="[^"]*"' "$T/dom.out" | tr '\n' ' ')"
can 'handshake, GET'
can '100 objects, one connection'
grep -q 'data-protocols="h3=101"' "$T/dom.out" || fail "not all over h3: $(grep -o 'data-protocols="[^"]*"' "$T/dom.out")"
ok 'the page says that all came over h3'

# The net log: each request to our origin has a stream of the one QUIC session; no TCP connection to it.
cat >"$T/judge.py" <<'PYTHON'
import json, sys
text = open(sys.argv[1]).read()
try:
    log = json.loads(text)
except ValueError:                     # cut short when the browser ends
    log = json.loads(text.rstrip().rstrip(',') + ']}')
origin = 'localhost:' + sys.argv[2]
names = {v: k for k, v in log['constants']['logEventTypes'].items()}
requests, sessions, tcp, answers = set(), set(), set(), 0
for e in log['events']:
    name, params = names[e['type']], e.get('params', {})
    if name == 'URL_REQUEST_START_JOB' and origin in params.get('url', ''):
        requests.add(params['url'])
    elif name == 'QUIC_SESSION' and params.get('host') == 'localhost':
        sessions.add(e['source']['id'])
    elif name == 'HTTP3_HEADERS_DECODED' and any(
            h.get('name') == ':status' if isinstance(h, dict) else str(h).startswith(':status')
            for h in (params.get('headers') or [])) or (
            name == 'HTTP3_HEADERS_DECODED' and ':status' in (params.get('headers') or {})):
        answers += 1
    elif name == 'TCP_CONNECT_ATTEMPT' and params.get('address', '').endswith(':' + sys.argv[2]):
        tcp.add(params['address'])
print(f'{len(requests)} requests, {len(sessions)} QUIC sessions, {answers} HTTP/3 answers, {len(tcp)} TCP attempts')
sys.exit(0 if len(requests) == 101 and len(sessions) == 1 and answers >= 101 and not tcp else 1)
PYTHON
python3 "$T/judge.py" "$T/net.json" "$port" >"$T/judge.out" || fail "net log: $(cat "$T/judge.out")"
ok "net log: $(cat "$T/judge.out")"
[ "$(grep -c '^h3 GET /page/' "$T/server.err")" -eq 101 ] || fail 'the server saw other requests'
[ "$(grep -c 'handshake completed' "$T/server.err")" -eq 1 ] || fail 'more than one connection'
ok 'the server tells the same: 101 requests, one connection'

# What a script can ask for: a large file, its checksum; a part of it; its fields alone; another method.
# Synchronously, so that the page is not loaded, and its DOM not printed, before all is said.
cat >"$T/www/ask.html" <<'HTML'
<!DOCTYPE html><title>ask</title><link rel="icon" href="data:,"><body><script>
function ask(method, path, range, content) {
    var x = new XMLHttpRequest();
    x.open(method, path, false);
    x.overrideMimeType("text/plain; charset=x-user-defined");
    if (range) x.setRequestHeader("Range", range);
    x.send(content);
    return x;
}
function adler32(text) {
    for (var a = 1, b = 0, i = 0; i < text.length; i++) {
        a = (a + (text.charCodeAt(i) & 255)) % 65521;
        b = (b + a) % 65521;
    }
    return b * 65536 + a;
}
var big = ask("GET", "/big").responseText, part = ask("GET", "/big?", "bytes=100-299"), head = ask("HEAD", "/small");
document.body.setAttribute("data-said", "sum:" + adler32(big) + " part:" + part.status + ":" +
    part.responseText.length + " head:" + head.status + ":" + head.getResponseHeader("content-length") +
    " post:" + ask("POST", "/small", null, "x".repeat(1000000)).status + ".");
</script>
HTML
browse /ask.html || fail "chromium ended with $?"
said=$(grep -o 'data-said="[^"]*"' "$T/dom.out") || fail 'the page did not end'
sum=$(python3 -c 'import sys, zlib; print(zlib.adler32(open(sys.argv[1], "rb").read()))' "$T/www/big")
case $said in *"sum:$sum "*) ;; *) fail "other bytes: $said" ;; esac
can 'transfer of 8 MiB'
case $said in *part:206:200\ *) ;; *) fail "byte ranges: $said" ;; esac
can 'byte ranges'
case $said in *head:200:13\ *) ;; *) fail "HEAD: $said" ;; esac
can HEAD
case $said in *post:405.*) ;; *) fail "POST: $said" ;; esac
can '405'

browse /folder/ || fail "chromium ended with $?"
grep -q '<p>index' "$T/dom.out" || fail 'no index'
if grep -q 'session resumed' "$T/server.err"; then can 'session resumed'; else cannot 'session resumed' 'not asked for'; fi
browse /none || true
grep -q '^h3 GET /none: 404' "$T/server.err" && grep -q '404 not found' "$T/dom.out" || fail 'no 404 page'
can '404'
server_end

# ---- the control: the same judge must find a page that came another way
if python3 "$T/judge.py" "$T/net.json" "$((port + 1))" >"$T/judge.out"; then fail 'the judge accepts anything'; fi
ok 'the judge can say no'
count_end
