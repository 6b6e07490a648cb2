#!/bin/sh
# endpoint.sh -- antq as an endpoint of the QUIC interop runner (github.com/quic-interop/quic-interop-runner),
# in its container or anywhere else.
#
#   ROLE=server TESTCASE=retry WWW=site CERTS=certs PORT=4433 apps/interop/endpoint.sh
#   ROLE=client TESTCASE=retry REQUESTS='https://localhost:4433/a' DOWNLOADS=. CERTS=certs apps/interop/endpoint.sh
#
# What it is told, by environment or by a flag of the same name (--www DIR):
#
#   ROLE       client or server
#   TESTCASE   what to do; what is not known or not supported ends with 127, as the contract says
#   REQUESTS   a client's URLs, separated by blanks
#   WWW, DOWNLOADS, CERTS   folders: /www, /downloads, /certs; CERTS has cert.pem, priv.key and, for
#              clients that are to verify, ca.pem (without it they do not)
#   PORT       a server's, on all addresses: 443
#   CLIENT_PARAMS, SERVER_PARAMS   further flags of `antq http get` and `antq http serve`
#   SSLKEYLOGFILE, QLOGDIR         secrets and logs
#   ANTQ       the program: antq beside this folder's tree, else the one in PATH
#   ALPN       hq-interop, but h3 in the case http3
#   PREFERRED_ADDRESS, PREFERRED_ADDRESS6   ADDR:PORT a server has its clients move to: its own, PORT + 1000
#
# A client ends with 0 when every file came, otherwise with 1.
set -u
here=$(cd "$(dirname "$0")" && pwd -P)

unsupported() { echo "endpoint.sh: not supported: $*"; exit 127; }
wrong() { echo "endpoint.sh: $*" >&2; exit 2; }

while [ $# -gt 0 ]; do
    case $1 in
    --role | --testcase | --requests | --www | --downloads | --certs | --port | --alpn | --client-params | --server-params)
        [ $# -ge 2 ] || wrong "$1 needs a value"
        name=$(printf %s "${1#--}" | tr a-z- A-Z_)
        eval "$name=\$2"
        shift 2
        ;;
    --help) sed -n '2,/^set -u/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) wrong "unknown flag $1" ;;
    esac
done

ROLE=${ROLE-} TESTCASE=${TESTCASE-} REQUESTS=${REQUESTS-} CERTS=${CERTS:-/certs}
WWW=${WWW:-/www} DOWNLOADS=${DOWNLOADS:-/downloads} PORT=${PORT:-443}
CLIENT_PARAMS=${CLIENT_PARAMS-} SERVER_PARAMS=${SERVER_PARAMS-}
if [ -z "${ANTQ-}" ]; then
    ANTQ=$here/../../build/antq
    [ -x "$ANTQ" ] || ANTQ=antq
fi
"$ANTQ" http get --help >/dev/null 2>&1 || wrong "$ANTQ has no HTTP"

# Some features come with a flag: has this build of antq got it?
get_knows() { "$ANTQ" http get --help | grep -q -- "^  $1 "; }
serve_knows() { "$ANTQ" http serve --help | grep -q -- "^  $1 "; }

# What the simulator's base image has: routes, and a way to wait for the network.
[ ! -x /setup.sh ] || /setup.sh

server() {
    set --
    four_moves='' six_moves=''
    case $TESTCASE in
    handshake | transfer | resumption | multiconnect | http3 | ecn) ;;
    retry) set -- --retry ;;
    zerortt) set -- --early-data ;;
    chacha20) prefer_chacha20 ;;
    v2) serve_knows --versions || unsupported 'version 2'; set -- --versions 2,1 ;;
    connectionmigration) serve_knows --preferred-address || unsupported 'a preferred address'; choose_preferred ;;
    *) unsupported "the test case '$TESTCASE'" ;;
    esac
    [ -z "${SSLKEYLOGFILE-}" ] || set -- "$@" --keylog "$SSLKEYLOGFILE"
    # An IPv6 socket of antq takes no IPv4: one server for each, and IPv6 may be missing.
    listen '[::]' "$six_moves" "$@" &
    six=$!
    listen 0.0.0.0 "$four_moves" "$@" &
    four=$!
    trap 'kill "$four" "$six" 2>/dev/null' TERM INT
    wait "$four"
    status=$?
    # A trapped signal ends `wait`, not the server, which lets running requests end.
    ! kill -0 "$four" 2>/dev/null || { wait "$four"; status=$?; }
    kill "$six" 2>/dev/null
    wait "$six"
    exit "$status"
}

# The server's preferred addresses: its own with another port, unless they are given.
choose_preferred() {
    for own in $(hostname -I); do
        case $own in
        *:*) : "${PREFERRED_ADDRESS6:=[$own]:$((PORT + 1000))}" ;;
        *) : "${PREFERRED_ADDRESS:=$own:$((PORT + 1000))}" ;;
        esac
    done
    four_moves=${PREFERRED_ADDRESS-} six_moves=${PREFERRED_ADDRESS6-}
}

# Where three of ten packets are lost, a peer that backs off may be silent for half a minute.
listen() { # listen ADDR PREFERRED FLAGS...
    address=$1
    preferred=$2
    shift 2
    [ -z "$preferred" ] || set -- "$@" --preferred-address "$preferred"
    # shellcheck disable=SC2086
    exec "$ANTQ" http serve "$WWW" --listen "$address:$PORT" --cert "$CERTS/cert.pem" --key "$CERTS/priv.key" \
        --verbose --handshake-timeout 60 --idle-timeout 60 "$@" $SERVER_PARAMS
}

fetch() {
    # shellcheck disable=SC2086
    "$ANTQ" http get "$@" --alpn "$ALPN" --output-dir "$DOWNLOADS" --force --verbose --timeout 60 --idle-timeout 60 $CLIENT_PARAMS || exit 1
}

# Fetches the first URL, then the others with its ticket over a second connection.
fetch_twice() { # fetch_twice EARLY FIRST OTHERS...: EARLY is a flag of the second, or empty
    ticket=$(mktemp -u "${TMPDIR:-/tmp}/antq-ticket.XXXXXX")
    trap 'rm -f "$ticket"' EXIT
    early=$1
    first=$2
    shift 2
    fetch "$first" --ticket "$ticket"
    fetch "$@" --ticket "$ticket" ${early:+"$early"}
}

client() {
    ALPN=${ALPN:-hq-interop}
    if [ -f "$CERTS/ca.pem" ]; then CLIENT_PARAMS="--ca $CERTS/ca.pem $CLIENT_PARAMS"
    else CLIENT_PARAMS="--insecure $CLIENT_PARAMS"; fi
    # shellcheck disable=SC2086
    set -- $REQUESTS
    [ $# -gt 0 ] || wrong 'REQUESTS is empty'
    if [ -x /wait-for-it.sh ]; then /wait-for-it.sh sim:57832 -s -t 30; fi
    case $TESTCASE in
    handshake | transfer | retry | ecn) fetch "$@" ;;
    http3) ALPN=h3; fetch "$@" ;;
    # Before the first MB has come.
    keyupdate) fetch "$@" --key-update-every 100 ;;
    resumption) fetch_twice '' "$@" ;;
    zerortt) fetch_twice --early-data "$@" ;;
    multiconnect) for url; do fetch "$url"; done ;;
    chacha20) prefer_chacha20; fetch "$@" ;;
    v2) get_knows --versions || unsupported 'version 2'; fetch "$@" --version 1 --versions 2,1 ;;
    *) unsupported "the test case '$TESTCASE'" ;;
    esac
}

# BoringSSL always offers AES, too, and has no call to change that; without AES instructions it wants
# ChaCha20 first, and this variable of its own takes them away from it. x86 only.
prefer_chacha20() {
    [ "$(uname -m)" = x86_64 ] || unsupported 'choosing the cipher suite'
    export OPENSSL_ia32cap='~0x200000000000000'
}

case $ROLE in
client) client ;;
server) server ;;
*) wrong "ROLE is '$ROLE', not client or server" ;;
esac
