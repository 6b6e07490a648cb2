#!/bin/sh
# runner.sh SRC BUILD [FLAG]... -- the interop runner's cases, without containers: between any two commands,
# in network namespaces of its own, judged by what is on the wire. `runner.sh SRC BUILD --help` tells the flags.
#
#   sh tests/interop/runner.sh . build                                  all cases, antq and ngtcp2
#   sh tests/interop/runner.sh . build --pair antq:antq --case retry    one
#   sh tests/interop/runner.sh . build --endpoint other='sh other/run_endpoint.sh' --pair antq:other
#
# Needs root or user namespaces; without either it is skipped, and says so.
. "$1/tests/lib.sh"
. "$1/tests/net/ns.sh"
ns_need "$@"
need python3 tshark openssl
"$ANTQ" http --help >/dev/null 2>&1 || not_here 'antq is built without nghttp3'
shift 2
unset SSLKEYLOGFILE QLOGDIR TESTCASE REQUESTS CERTS WWW DOWNLOADS ALPN
export TMPDIR="$T" PYTHONDONTWRITEBYTECODE=1
status=0
python3 "$SRC/tests/interop/runner/main.py" --antq "$ANTQ" --link "$B/tests/net/link" --source "$SRC" "$@" || status=$?
exit "$status"
