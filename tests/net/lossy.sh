#!/bin/sh
# lossy.sh SRC BUILD -- what is sent arrives whole through a bad link, and through a host whose own
# firewall refuses packets.
#
# 1. nftables drops whole GSO trains on their way out, so that sendmsg says EPERM: that is loss of the
#    train, not an end of the connection.
# 2. 64 MiB there and back between two namespaces: 5 % loss, 20 ms, reordering (tests/net/link.c).
. "$1/tests/lib.sh"
. "$1/tests/net/ns.sh"
ns_need "$@"

wrap() { eval "WRAP=\"nsenter -t \$NS_$1 -n\""; }
echo_pipe() { # echo_pipe NAMESPACE ADDR: $T/in through the server at ADDR
    status=0
    ns_run "$1" timeout 800 "$ANTQ" echo "$2" --insecure --pipe <"$T/in" >"$T/back" 2>"$T/client.err" || status=$?
    [ "$status" -eq 0 ] || fail "antq echo --pipe ended with $status, $(wc -c <"$T/back") bytes came back"
    cmp -s "$T/in" "$T/back" && [ "$(sha256sum <"$T/in")" = "$(sha256sum <"$T/back")" ] || fail 'other bytes came back'
}

mib=$(scale 64)
head -c "${mib}M" /dev/urandom >"$T/in"

need nft
ns_add host
# Only a GSO train is longer than an Ethernet packet here, where it leaves the sender.
ns_run host nft list tables || skip 'nftables does not work here'
ns_run host nft -f - <<'EOF' || fail 'nft takes no rules'
table inet antq {
    counter trains { }
    chain output {
        type filter hook output priority 0; policy accept;
        meta l4proto udp meta length > 1600 numgen inc mod 10 0 counter name "trains" drop
    }
}
EOF
wrap host
server_start echo serve --listen 127.0.0.1:0
echo_pipe host "$SERVER_ADDR"
server_end
dropped=$(ns_run host nft list counter inet antq trains | sed -n 's/.*packets \([0-9]*\) .*/\1/p')
[ "${dropped:-0}" -gt 5 ] || fail "only ${dropped:-no} trains were dropped"
ok "$mib MiB there and back while $dropped GSO trains were refused with EPERM"
ns_add left right
link_up left right --delay 10 --loss 5 --reorder 2 --reorder-by 5 --seed 11
wrap right
server_start echo serve --listen 10.9.0.2:0
started_at=$(date +%s)
echo_pipe left "$SERVER_ADDR"
seconds=$(($(date +%s) - started_at))
server_end
link_down
for way in left right; do
    [ "$(link_count $way lost)" -gt 100 ] && [ "$(link_count $way reordered)" -gt 50 ] ||
        fail "the link from $way was too good: $(cat "$T/link.log")"
done
cat "$T/link.log"
ok "$mib MiB there and back through 5 % loss, 20 ms of round trip and reordering, in $seconds s"

count_end
