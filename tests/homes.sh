#!/bin/sh
# homes.sh SRC BUILD -- one bootstrap node with several addresses, of both families, on two networks.
#
#   hostA 10.1.0.2, no IPv6 --- hub --- eth0 192.0.2.2, 192.0.2.3, 2001:db8:2::2   boot
#   hostB fd02::2, 10.2.0.2 --- hub --- eth1 198.51.100.2, 2001:db8:5::2
#
# Its default routes go through eth0 alone. The hosts let in only answers, and the hub nothing between the two
# hosts: so whatever arrives came through the relay, from the very address that the receiver is registered at.
set -eu
# shellcheck source=tests/lib.sh
. "$1/tests/lib.sh"
# shellcheck source=tests/net/ns.sh
. "$SRC/tests/net/ns.sh"
ns_need "$@"
need nft

ns_add boot hub hostA hostB
veth hub to0 192.0.2.1 boot eth0 192.0.2.2
veth hub to1 198.51.100.1 boot eth1 198.51.100.2
veth hub toA 10.1.0.1 hostA eth0 10.1.0.2
veth hub toB 10.2.0.1 hostB eth0 10.2.0.2
for ns in boot hub hostB; do # addresses to be used at once
    ns_run "$ns" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
done
six() { ns_run "$1" ip -6 addr add "$3/64" dev "$2" nodad; } # six NS DEVICE ADDRESS
six hub to0 2001:db8:2::1
six boot eth0 2001:db8:2::2
six hub to1 2001:db8:5::1
six boot eth1 2001:db8:5::2
six hub toB fd02::1
six hostB eth0 fd02::2
ns_run boot ip addr add 192.0.2.3/24 dev eth0
ns_run hub sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ns_run hostA sysctl -qw net.ipv6.conf.all.disable_ipv6=1
for route in 'boot 192.0.2.1' 'hostA 10.1.0.1' 'hostB 10.2.0.1'; do
    ns_run "${route% *}" ip route add default via "${route#* }"
done
ns_run boot ip -6 route add default via 2001:db8:2::1
ns_run hostB ip -6 route add default via fd02::1
for ns in hostA hostB; do
    ns_run "$ns" nft -f - <<-'NFT' 2>"$T/nft.err" || skip "no nftables here: $(cat "$T/nft.err")"
	table inet answers {
	  chain inward { type filter hook input priority 0; meta l4proto udp ct state new drop; }
	}
	NFT
done
ns_run hub nft -f - <<-'NFT' 2>"$T/nft.err" || skip "no nftables here: $(cat "$T/nft.err")"
	table inet apart {
	  chain through { type filter hook forward priority 0;
	    iifname "toA" oifname "toB" drop; iifname "toB" oifname "toA" drop; }
	}
	NFT

for key in a b boot; do "$ANTQ" id --key "$T/$key.key" >"$T/$key.id" 2>/dev/null; done
B_ID=$(cat "$T/b.id")
boot_start() { # boot_start ARG...
    rm -f "$T/boot.out"
    ns_exec boot "$ANTQ" bootstrap --key "$T/boot.key" "$@" >"$T/boot.out" 2>"$T/boot.err" &
    BOOT_PID=$!
    started "$BOOT_PID"
    wait_for_line "$T/boot.out" 'listening' "$BOOT_PID" 20 || fail 'the bootstrap node does not start'
}
boot_end() {
    kill "$BOOT_PID"
    wait "$BOOT_PID" || fail 'the bootstrap node did not end with 0'
}
# pair WORDS ADDRESS-FOR-A ADDRESS-FOR-B: B is online, A pings it, each through another address of the node.
pair() {
    rm -f "$T/b.err"
    ns_exec hostB "$ANTQ" peer --bootstrap "$(cat "$T/boot.id")@$3:4433" --key "$T/b.key" >"$T/b.out" 2>"$T/b.err" &
    peer_pid=$!
    started "$peer_pid"
    wait_for_line "$T/b.err" 'registration: full' "$peer_pid" 20 || fail "$1: B does not register at $3"
    ns_run hostA timeout 40 "$ANTQ" ping "$B_ID" --bootstrap "$(cat "$T/boot.id")@$2:4433" --key "$T/a.key" \
        --count 3 --json >"$T/ping.out" 2>"$T/ping.err" || fail "$1: no ping from A at $2 to B at $3"
    [ "$(json received "$T/ping.out")" = 3 ] || fail "$1: not all pings were answered"
    kill "$peer_pid"
    wait "$peer_pid" || fail 'peer did not end with 0'
    ok "$1: A knows it as $2, B as $3"
}

boot_start # of itself: every address
[ "$(grep -c '^listening on ' "$T/boot.out")" = 2 ] && grep -q '^listening on \[::\]:4433$' "$T/boot.out" ||
    fail 'it does not listen on both families by default'
pair 'both families' 192.0.2.2 '[2001:db8:2::2]'
pair 'two addresses of an interface' 192.0.2.3 192.0.2.2
pair 'two interfaces' 192.0.2.2 198.51.100.2
pair 'two interfaces, both families' 198.51.100.2 '[2001:db8:5::2]'
boot_end
boot_start --listen 192.0.2.3:4433 --listen 198.51.100.2:4433 --listen '[2001:db8:5::2]:4433' --json
grep -qF '"addresses":["192.0.2.3:4433","198.51.100.2:4433","[2001:db8:5::2]:4433"]' "$T/boot.out" ||
    fail 'it does not tell all its addresses'
pair 'a socket each' 192.0.2.3 198.51.100.2
pair 'a socket each, both families' 198.51.100.2 '[2001:db8:5::2]'
boot_end
count_end
