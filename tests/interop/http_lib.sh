# http_lib.sh -- what the HTTP/3 interoperability tests share; read after tests/lib.sh. Gives:
#
#   peer NAME           the column of the table that the next rows are for
#   can FEATURE         counts a check that passed, and says so in the table
#   cannot FEATURE WHY  the peer has it not: the table says why, nothing is counted
#   make_site           $T/www: page/ with 100 objects, big (8 MiB), small, empty, folder/
#   make_cert           $T/cert.pem, $T/key.pem for localhost and 127.0.0.1
#   fetch ARG...        antq http get, with that certificate, into $T/get.out, .err
#   same_tree A B       every file of B is as in A
#
# Rows go to $B/interop/SCRIPT.tsv; tests/interop/table.sh prints them as one table.
# shellcheck shell=sh
"$ANTQ" http --help >/dev/null 2>&1 || not_here 'antq is built without nghttp3'
need openssl python3
mkdir -p "$B/interop"
ROWS=$B/interop/$(basename "$0" .sh).tsv
: >"$ROWS"
PEER=

peer() { PEER=$1; }
row() { printf '%s\t%s\t%s\n' "$1" "$PEER" "$2" >>"$ROWS"; }
can() { row "$1" yes; ok "$PEER: $1"; }
cannot() { row "$1" "$2"; echo "not there: $PEER: $1: $2"; }

make_cert() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$T/key.pem" -out "$T/cert.pem" \
        2>"$T/openssl.err" || fail 'openssl made no certificate'
}

make_site() {
    mkdir -p "$T/www/page" "$T/www/folder"
    head -c 8388608 /dev/urandom >"$T/www/big"
    echo 'a small file' >"$T/www/small"
    : >"$T/www/empty"
    echo '<p>index' >"$T/www/folder/index.html"
    # Each object counts itself and says how it came; sizes from nothing to 100 KB.
    python3 - "$T/www/page" <<'PYTHON'
import sys
objects = 100
for i in range(objects):
    with open(f'{sys.argv[1]}/{i}.js', 'w') as f:
        f.write(f'loaded({i});' + '/*' + 'x' * (i * i * 10) + '*/\n')
with open(f'{sys.argv[1]}/index.html', 'w') as f:
    f.write('''<!DOCTYPE html><title>objects</title><link rel="icon" href="data:,"><body><script>
var seen = {};
function loaded(i) { seen[i] = 1; }
window.onload = function () {
    var protocols = {}, entries = performance.getEntriesByType("resource").concat(
        performance.getEntriesByType("navigation"));
    entries.forEach(function (e) {
        protocols[e.nextHopProtocol] = (protocols[e.nextHopProtocol] || 0) + 1; });
    document.body.setAttribute("data-loaded", Object.keys(seen).length);
    document.body.setAttribute("data-protocols", Object.keys(protocols).map(function (p) {
        return p + "=" + protocols[p]; }).join(","));
};
</script>
''')
    for i in range(objects):
        f.write(f'<script src="{i}.js"></script>\n')
PYTHON
}

fetch() {
    timeout 60 "$ANTQ" http get "$@" --ca "$T/cert.pem" >"$T/get.out" 2>"$T/get.err" </dev/null
}

same_tree() {
    for f in "$2"/*; do
        cmp "$1/${f##*/}" "$f" || fail "$f differs"
    done
}

# urls BASE: those of the 100 objects
urls() {
    n=0
    while [ "$n" -lt 100 ]; do
        echo "$1/page/$n.js"
        n=$((n + 1))
    done
}

# get_from BASE: what any server of $T/www must do for `antq http get`
get_from() {
    base=$1
    fetch "$base/small" -v || fail "$PEER: no small file"
    cmp "$T/www/small" "$T/get.out" || fail "$PEER: the small file differs"
    grep -q 'ALPN h3' "$T/get.err" || fail "$PEER: not over HTTP/3"
    can 'handshake, GET'
    rm -rf "$T/got" && mkdir "$T/got"
    fetch "$base/big" -o "$T/got/big" || fail "$PEER: no transfer"
    same_tree "$T/www" "$T/got"
    can 'transfer of 8 MiB'
    rm -rf "$T/got" && mkdir "$T/got"
    # shellcheck disable=SC2046
    fetch --output-dir "$T/got" $(urls "$base") || fail "$PEER: not all of 100 objects"
    [ "$(find "$T/got" -type f | wc -l)" -eq 100 ] || fail "$PEER: not 100 files"
    same_tree "$T/www/page" "$T/got"
    can '100 objects, one connection'
    fetch -I "$base/big" || fail "$PEER: no HEAD"
    grep -q '^content-length: 8388608' "$T/get.out" || fail "$PEER: HEAD tells no length"
    can HEAD
    if fetch "$base/none"; then fail "$PEER: 404 is a failure"; fi
    grep -q '^antq: .*/none: HTTP status 404' "$T/get.err" || fail "$PEER: no 404"
    can '404'
    fetch "$base/small" --ticket "$T/ticket" || fail "$PEER: no first session"
    fetch "$base/small" --ticket "$T/ticket" -v || fail "$PEER: no second session"
    if grep -q 'session resumed' "$T/get.err"; then can 'session resumed'; else cannot 'session resumed' 'no'; fi
    rm -f "$T/ticket"
    fetch "$base/big" --key-update-every 100 -o "$T/got/big" || fail "$PEER: not with key updates"
    cmp "$T/www/big" "$T/got/big" || fail "$PEER: differs with key updates"
    can 'key updates'
    fetch "$base/big" --range bytes=1000000-1999999 -v || fail "$PEER: no range"
    if grep -q '^:status: 206' "$T/get.err"; then
        tail -c +1000001 "$T/www/big" | head -c 1000000 | cmp - "$T/get.out" || fail "$PEER: the range differs"
        can 'byte ranges'
    else
        cannot 'byte ranges' 'ignored'
    fi
}
