#!/bin/sh
# strace_batch.sh SRC BUILD -- a download costs few system calls: at least 20 packets of at most 1,472
# bytes for each call that sends them in the server, and that receives them in the client.
#
# The packets are counted without asking the program: 1 GiB of payload in packets of at most 1,472 bytes
# is at least so many packets. That none is larger is seen in a second run, through a link that counts
# those. All calls count, those that found nothing too.
. "$1/tests/lib.sh"
. "$1/tests/net/ns.sh"
[ -z "${SANITIZE-}" ] || not_here 'measures the real build'
need strace
strace -o "$T/probe" true 2>/dev/null || skip 'strace may not trace here'
LARGEST=1472
LEAST=20
calls='sendmsg,sendmmsg,sendto,write,writev,recvmsg,recvmmsg,recvfrom,read,readv'

# Attaches strace to the server; download() runs the client under it. $T/strace.* tell.
download() { # download SIZE STRACE-FLAG...
    size=$1
    shift
    server_start perf serve --listen 127.0.0.1:0
    rm -f "$T/attach.err"
    strace -f "$@" -e trace="$calls" -o "$T/strace.server" -p "$SERVER_PID" 2>"$T/attach.err" &
    strace_pid=$!
    started "$strace_pid"
    wait_for_line "$T/attach.err" 'attached' "$strace_pid" || skip "strace may not attach: $(cat "$T/attach.err")"
    strace -f "$@" -e trace="$calls" -o "$T/strace.client" \
        "$ANTQ" perf "$SERVER_ADDR" --insecure --download "$size" --json >"$T/client.out" 2>"$T/client.err" ||
        fail "antq perf --download $size ended with $?"
    server_end
    wait "$strace_pid" || true
}
# Calls in a `strace -c` table, in total, of those named.
table() { # table FILE NAME...
    file=$1
    shift
    for name; do awk -v name="$name" '$NF == name { print $4 }' "$file"; done | awk '{ n += $1 } END { print n + 0 }'
}

download 1G -c
[ "$(json download_bytes "$T/client.out")" = 1073741824 ] || fail "not 1 GiB: $(cat "$T/client.out")"
packets=$((1073741824 / LARGEST))
server_sends=$(table "$T/strace.server" sendmsg sendmmsg sendto)
client_receives=$(table "$T/strace.client" recvmsg recvmmsg recvfrom)
cat "$T/strace.server" "$T/strace.client" "$T/client.out"
[ "$server_sends" -gt 0 ] && [ "$client_receives" -gt 0 ] || fail 'strace saw no calls'
for row in "server:sends:$server_sends" "client:receives:$client_receives"; do
    n=${row##*:}
    [ $((packets / n)) -ge $LEAST ] || fail "${row%:*} only $((packets / n)) packets a call ($n calls)"
    ok "${row%:*} at least $((packets / n)) packets a call ($n calls)"
done

# No packet above 1,472 bytes: a link between two namespaces that would carry 9,000, and drops and counts
# every IP packet above 1,500.
if unshare -n true 2>/dev/null && [ -c /dev/net/tun ]; then
    ns_add left right
    link_up left right --device-mtu 9000 --mtu $((LARGEST + 28))
    WRAP="nsenter -t $NS_right -n"
    server_start perf serve --listen 10.9.0.2:0
    ns_run left "$ANTQ" perf "$SERVER_ADDR" --insecure --download 32M --json >"$T/client.out" 2>"$T/client.err" ||
        fail "antq perf through the link ended with $?"
    server_end
    link_down
    [ "$(link_count right delivered)" -ge $((32 * 1048576 / LARGEST)) ] || fail "too few: $(cat "$T/link.log")"
    [ "$(link_count right too_big)" = 0 ] || fail "packets above $LARGEST bytes: $(cat "$T/link.log")"
    ok "none of $(link_count right packets) packets is above $LARGEST bytes"
else
    echo 'not root: the size of the packets is not looked at'
    [ "${CI-}" != true ] || fail 'no namespaces, though CI promised'
fi
count_end
