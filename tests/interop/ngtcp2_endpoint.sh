#!/bin/sh
# ngtcp2_endpoint.sh -- Debian's gtlsclient and gtlsserver (ngtcp2 0.12) as endpoints of the interop
# runner's contract, for tests/interop/runner.sh; the variables are those of apps/interop/endpoint.sh.
#
# They speak HTTP/3 only, so the runner asks for ALPN=h3. Their version 2 is a draft's. gtlsclient exits
# 0 even when nothing came; the runner compares the files.
set -u
unsupported() { echo "ngtcp2_endpoint.sh: not supported: $*"; exit 127; }
chacha=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305
[ "${ALPN-}" = h3 ] || [ "$TESTCASE" = http3 ] || unsupported hq-interop

server() {
    set --
    case $TESTCASE in
    handshake | transfer | resumption | zerortt | multiconnect | http3 | ecn) ;;
    retry) set -- --validate-addr ;;
    chacha20) set -- --ciphers="$chacha" ;;
    connectionmigration)
        set -- --preferred-ipv4-addr="$PREFERRED_ADDRESS" --preferred-ipv6-addr="$PREFERRED_ADDRESS6" ;;
    *) unsupported "the test case '$TESTCASE'" ;;
    esac
    # shellcheck disable=SC2086
    exec gtlsserver -q --handshake-timeout=60s --htdocs="$WWW" "$@" ${SERVER_PARAMS-} '*' "$PORT" "$CERTS/priv.key" "$CERTS/cert.pem"
}

fetch() { # fetch FLAGS... URL...
    for last; do :; done
    authority=${last#https://}
    authority=${authority%%/*}
    # shellcheck disable=SC2086
    flags=
    while [ "${1#-}" != "$1" ]; do flags="$flags $1"; shift; done
    # shellcheck disable=SC2086
    timeout "${LIMIT:-290}" gtlsclient -q --exit-on-all-streams-close --handshake-timeout=60s --timeout=60s \
        --download="$DOWNLOADS" $flags ${CLIENT_PARAMS-} "${authority%:*}" "${authority##*:}" "$@"
}

client() {
    session=$(mktemp -d "${TMPDIR:-/tmp}/ngtcp2-session.XXXXXX")
    trap 'rm -rf "$session"' EXIT
    # shellcheck disable=SC2086
    set -- $REQUESTS
    case $TESTCASE in
    handshake | transfer | http3 | retry | ecn) fetch "$@" ;;
    keyupdate) fetch --key-update=300ms "$@" ;;
    chacha20) fetch --ciphers="$chacha" "$@" ;;
    resumption | zerortt)
        early=
        [ "$TESTCASE" = zerortt ] || early=--disable-early-data
        first=$1
        shift
        fetch --session-file="$session/s" --tp-file="$session/tp" $early "$first"
        fetch --session-file="$session/s" --tp-file="$session/tp" $early "$@"
        ;;
    multiconnect) for url; do fetch "$url"; done ;;
    *) unsupported "the test case '$TESTCASE'" ;;
    esac
}
"$ROLE"
