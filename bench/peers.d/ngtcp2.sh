#!/bin/sh
# ngtcp2.sh -- Debian's ngtcp2 example programs over GnuTLS, HTTP/3 (the contract is in README.md).
# Quiet, windows raised to 64 MiB, path MTU discovery off: each packet is 1,452 bytes from the start.
set -eu
windows='--max-data=64M --max-stream-data-bidi-local=64M --max-stream-data-bidi-remote=64M
    --max-window=64M --max-stream-window=64M'
same="--quiet --no-quic-dump --no-http-dump --no-pmtud --max-udp-payload-size=$BENCH_PAYLOAD --cc=cubic $windows"
command=$1
shift
# shellcheck disable=SC2086
case $command in
probe)
    command -v gtlsserver >/dev/null && command -v gtlsclient >/dev/null
    dpkg-query -W -f='ngtcp2 ${Version} (GnuTLS)\n' ngtcp2-server 2>/dev/null || echo 'ngtcp2 (GnuTLS)'
    ;;
serve) # ADDR PORT
    exec gtlsserver $same --htdocs="$BENCH_DIR/files" "$1" "$2" "$BENCH_DIR/p256.key" "$BENCH_DIR/p256.pem"
    ;;
download) # ADDR PORT BYTES
    begun=$(date +%s%N)
    gtlsclient $same --exit-on-all-streams-close "$1" "$2" "https://localhost:$2/$3" >/dev/null
    echo "$(($(date +%s%N) - begun)) $3" | awk '{ printf "%.6f %s\n", $1 / 1e9, $2 }'
    ;;
*) exit 64 ;;
esac
