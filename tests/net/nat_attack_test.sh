#!/bin/sh
# nat_attack_test.sh SRC BUILD -- nobody is made a weapon (SECURITY.md row 25, nat/PROTOCOL.md 5): the real
# program's peers and bootstrap nodes, and a scripted attacker (attack.h) who names a victim in every way
# there is: as a peer, as a bootstrap node, as the guest of one, and by sending from the victim's address.
#
#     a: antq peer, antq send --- hub --- evil: attack client, server, boot, guest
#     boot: antq bootstrap    ---  |
#                               victim
#
# The victim's kernel counts what reaches it: from whom, how many, how long; each trick has an address of
# its own there, and the victim stays silent. The bound is 12 datagrams of 64 bytes a minute from a peer,
# and nothing from a bootstrap node; where packets bore the victim's address three times these (RFC 9000
# section 8.1). Nothing direct gets from a's peers to evil's, so that the search for a path never succeeds.
. "$1/tests/lib.sh"
. "$1/tests/net/ns.sh"
. "$1/tests/net/nat_lab.sh"
ns_need "$@"
need ip nft nsenter
ATTACK=$B/tests/net/attack

# ---- the network ----

lab_router hub
ns_add a boot evil victim
host() { # host NAME NET NET6
    lab_veth hub "to_$1" "$2.1/24" "$1" out "$2.2/24"
    printf 'addr add %s::1/64 dev to_%s nodad\n' "$3" "$1" | lab_ip hub
    printf 'addr add %s::2/64 dev out nodad\nroute add default via %s.1\nroute add ::/0 via %s::1\n' "$3" "$2" "$3" | lab_ip "$1"
}
host boot 192.0.2 2001:db8:b
host a 198.51.100 2001:db8:a
host evil 203.0.113 2001:db8:d
host victim 45.77.2 2001:db8:f
# All of these are the victim's; evil has them, too, to send from.
for net in 45.77.3.0/24 10.9.9.0/24 192.168.9.0/24 100.64.9.0/24; do
    echo "route add $net via 45.77.2.2" | lab_ip hub
    echo "route add local $net dev lo" | lab_ip victim
done
echo 'route add 2001:db8:e::/48 via 2001:db8:f::2' | lab_ip hub
echo 'route add local 2001:db8:e::/48 dev lo' | lab_ip victim
echo 'route add local 45.77.3.0/24 dev lo' | lab_ip evil
lab_load victim <<'NFT' || skip 'this nft cannot count by address and length'
table ip count {
  set came { typeof ip saddr . ip daddr . udp length; flags dynamic; size 65535; counter; }
  set low { typeof ip daddr; flags dynamic; size 65535; counter; }
  chain in {
    type filter hook input priority filter;
    meta l4proto udp update @came { ip saddr . ip daddr . udp length }
    meta l4proto udp udp dport < 1024 update @low { ip daddr }
    meta l4proto udp drop
  }
}
table ip6 count {
  set came6 { typeof ip6 saddr . ip6 daddr . udp length; flags dynamic; size 65535; counter; }
  chain in {
    type filter hook input priority filter;
    meta l4proto udp update @came6 { ip6 saddr . ip6 daddr . udp length }
    meta l4proto udp drop
  }
}
NFT
lab_load evil <<'NFT'
table ip attack {
  set spoofed { typeof ip saddr . udp length; flags dynamic; size 65535; counter; }
  chain out {
    type filter hook output priority filter;
    oifname "out" meta l4proto udp ip saddr 45.77.3.0/24 update @spoofed { ip saddr . udp length }
  }
  chain in {
    type filter hook input priority filter;
    ip saddr 198.51.100.2 meta l4proto udp udp dport != { 4433, 7000 } drop
  }
}
NFT
lab_load a <<'NFT'
table inet own {
  counter forbidden { }
  chain out {
    type filter hook output priority filter;
    meta l4proto udp ip daddr { 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 } counter name "forbidden"
    ip daddr 198.51.100.2 udp sport 5000 udp dport 5000 counter name "forbidden"
  }
}
NFT

# ---- the honest, and the attacker's parts ----

for who in boot work evil a d1 d2 c; do "$ANTQ" id --key "$T/$who.key" >"$T/$who.id" 2>/dev/null || fail 'antq id'; done
name=$(cat "$T/boot.id")@192.0.2.2:4433
begin=$(date +%s)

run() { # run NS OUT PATTERN COMMAND...: in a namespace, until it says so; sets RUN_PID
    eval "ns_pid=\$NS_$1"
    run_file=$T/$2 run_for=$3
    shift 3
    rm -f "$run_file" # a former one's lines must not be taken for this one's
    # shellcheck disable=SC2154
    nsenter -t "$ns_pid" -n "$@" >"$run_file" 2>&1 &
    RUN_PID=$!
    started "$RUN_PID"
    wait_for_line "$run_file" "$run_for" "$RUN_PID" 60 || fail "$*: $(cat "$run_file")"
}
rss() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status"; }

run boot boot.out 'listening on' "$ANTQ" bootstrap --listen 192.0.2.2:4433 --key "$T/boot.key" -v
BOOT=$RUN_PID
run boot work.out 'listening on' "$ANTQ" bootstrap --listen 192.0.2.2:4434 --key "$T/work.key" --pow-bits 16
run evil evil_boot.out '^ready' "$ATTACK" boot 45.77.3.60 203.0.113.2:4433 "$T/evil.key"
evil="$RUN_PID"
run a a.out 'registration: full' "$ANTQ" peer --listen 198.51.100.2:5000 --listen '[2001:db8:a::2]:5000' --key "$T/a.key" \
    --bootstrap "$name" --bootstrap "$(cat "$T/evil.id")@203.0.113.2:4433"
A=$RUN_PID
run evil evil_server.out '^id .*' "$ATTACK" server 45.77.3.30 203.0.113.2:0 "$name"
evil="$evil $RUN_PID"
tries=0
until [ "$(grep -c '^id ' "$T/evil_server.out")" -eq 2 ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || fail 'the attacker has no names'
    sleep 0.1
done
head -c 100000 /dev/zero >"$T/file"
sed -n 's/^id //p' "$T/evil_server.out" >"$T/ids"
dialler=d1
while read -r id; do
    run a "$dialler.out" 'connected, relayed' "$ANTQ" send "$id" "$T/file" --key "$T/$dialler.key" --bootstrap "$name" </dev/null
    dialler=d2
done <"$T/ids"
a_before=$(rss "$A") boot_before=$(rss "$BOOT")
run evil evil_client.out . "$ATTACK" client 45.77.3.10 203.0.113.2:0 "$name" "$(cat "$T/a.id")" 198.51.100.2:5000
evil="$evil $RUN_PID"
run evil evil_guest.out . "$ATTACK" guest 45.77.3.80 203.0.113.2:0 "$name" "$(cat "$T/a.id")"
evil="$evil $RUN_PID"
for pid in $evil; do wait "$pid" || fail "a part of the attacker: $(cat "$T"/evil_*.out)"; done
minutes=$(($(date +%s) - begin))
minutes=$((minutes / 60 + 1))
a_after=$(rss "$A") boot_after=$(rss "$BOOT")

# ---- what the kernels counted ----

for ns in victim evil a; do ns_run "$ns" nft list ruleset >"$T/$ns.nft"; done
elements() { # elements FILE SET: one a line, the key's parts, packets
    tr '\n\t' '  ' <"$1" | sed -n "s/.* set $2 {[^{}]*elements = {\([^}]*\)}.*/\1/p" | tr ',' '\n' |
        sed -n 's/ \. / /g; s/^ *\(.*\) counter packets \([0-9]*\) bytes .*/\1 \2/p'
    echo
}
{ elements "$T/victim.nft" came; elements "$T/victim.nft" came6; } >"$T/came"
elements "$T/victim.nft" low | grep . >"$T/low" || true
elements "$T/evil.nft" spoofed >"$T/spoofed"
cat "$T"/evil_client.out "$T"/evil_server.out "$T"/evil_boot.out "$T"/evil_guest.out >"$T/said"

# row TRICK BOUND PATTERN: what was answered, and what came to the trick's victim:
#   probes    1 to 12 of at most 64 bytes a minute, and only from a
#   net6      the same to all of a /64 together
#   thrice    at most three times the bytes that were sent in its name
#   nothing
row() {
    line=$(grep "^$1 " "$T/said") || fail "$1: it was not played"
    echo "$line" | grep -qE "$3" || fail "it is not /$3/: $line"
    who=$(echo "$line" | cut -d' ' -f2) net=
    if [ "$2" = net6 ]; then net=$(printf '2001:db8:e:%x:' "${who##*.}"); fi
    awk -v who="$who" -v net="$net" '$2 == who || (net != "" && index($2, net) == 1)' "$T/came" >"$T/row"
    named=$(awk -v who="$who" '$1 == who { n += ($2 - 8) * $3 } END { print n + 0 }' "$T/spoofed")
    awk '{ packets += $4; bytes += ($3 - 8) * $4 }
        $3 - 8 > 64 { long += $4 }
        $1 != "198.51.100.2" && $1 != "2001:db8:a::2" { others += $4 }
        END { print packets + 0, bytes + 0, long + 0, others + 0 }' "$T/row" >"$T/sums"
    read -r packets bytes long others <"$T/sums"
    case $2 in
    nothing) [ "$packets" -eq 0 ] ;;
    thrice) [ "$packets" -gt 0 ] && [ "$bytes" -le $((3 * named)) ] ;;
    *) [ "$packets" -gt 0 ] && [ "$packets" -le $((12 * minutes)) ] && [ "$long $others" = '0 0' ] ;;
    esac || fail "$1: to its victim came $packets datagrams, $bytes bytes; $long of more than 64, $others not from a; $named bytes were sent in its name"
    ok "$1: $packets datagrams, $bytes bytes: ${line#* * }"
}

# A peer, as a client: PUNCH_ME_NOW.
row punch-ports probes 'closed 0'
row punch-again probes 'connections [4-9]'
row punch-many probes 'names 768, connections [6-9], closed 0'
row punch-scoped nothing 'names 128, .*closed 0'
row punch-net6 net6 'names 128'
row punch-round-0 nothing 'closed 1, code 0xa PROTOCOL_VIOLATION'
row punch-too-many probes 'closed 1, code 0xa PROTOCOL_VIOLATION'
row punch-spoofed probes 'connections'
row move-spoofed thrice 'connections 1'
# As a server: ADD_ADDRESS, REMOVE_ADDRESS, the preferred address of RFC 9000 section 9.6.
row add-ports probes 'names 84'
row add-again probes 'names 84, connections [4-9], closed [3-9]'
row add-scoped nothing 'names 84'
row add-net6 net6 'names 84'
row add-same-number probes 'closed 1, code 0xa PROTOCOL_VIOLATION'
row add-too-many probes 'closed 1, code 0xa PROTOCOL_VIOLATION'
row preferred nothing 'connections [2-9]'
# A bootstrap node.
row boot-preferred nothing 'registered 1'
row observed nothing 'registered 1'
row go-same probes 'asked 40 times, consents [1-9]'
row go-many probes 'asked 40 times, consents [1-9]'
row go-unasked nothing 'consents 0'
row go-scoped nothing 'consents [1-9]'
row go-private probes 'consents [1-9]'
row connect-flood nothing 'refusals [1-9]'
row datagram-flood nothing 'registered 1'
row too-long nothing 'closed 1'
row too-much-work nothing 'closed 1'
grep -q 'too_much_work' "$T/a.out" || fail 'a does not say what was wrong with the work'
# The guest of one that is honest.
row hints nothing 'accepted 1$'
row lies nothing 'accepted 1 malformed 1 version 1 identity_mismatch 1 stale_generation 1$'
row register-flood nothing 'accepted ([89]|1[0-9]) rate_limited 1[89][0-9]$'
row wrong-work nothing 'pow_required 1 pow_invalid 2$'
row message-too-long nothing 'closed with malformed$'
row probe-others nothing 'policy 20$'
row probe-flood nothing 'sent 1[2-5], rate_limited 4[5-8], came [0-9]+ of 17 bytes$'
row request-flood nothing 'go [1-9][0-9]* rate_limited [1-9]'
row request-lies nothing 'malformed 2 not_registered 1 timeout [1-9]'
row channels nothing 'forged 0, stolen 0, unproven [0-9]*, stale 0 bytes$'
row initials thrice 'handshakes 24'
row moved thrice .
row idle nothing 'closed with not_registered$'
unproven=$(sed -n 's/^channels .* unproven \([0-9]*\),.*/\1/p' "$T/said")
[ "$unproven" -le 16384 ] || fail "$unproven bytes went to somebody who had sent nothing"
[ ! -s "$T/low" ] || fail "a low port: $(cat "$T/low")"
[ "$(sed -n 's/.*packets \([0-9]*\) bytes.*/\1/p' "$T/a.nft")" = 0 ] || fail "a sent to itself, or to nobody's address"
ok 'nothing to low ports, to loopback, multicast, broadcast, link-local, or themselves'

# ---- and the honest go on ----

for try in 1 2 3; do
    ns_run boot timeout 60 "$ANTQ" ping "$(cat "$T/a.id")" --bootstrap "$name" --key "$T/c.key" --count 3 --interval 0.05 >"$T/c.out" 2>&1 && break
    [ "$try" -lt 3 ] || fail "no ping: $(cat "$T/c.out")"
done
ok 'an honest peer reaches a, through the same bootstrap node'
if [ -z "${SANITIZE-}" ]; then
    for grown in $((a_after - a_before)) $((boot_after - boot_before)); do
        [ "$grown" -le 4096 ] || fail "memory: a $a_before to $a_after KiB, boot $boot_before to $boot_after KiB"
    done
fi
ok "memory: a $a_before to $a_after KiB, boot $boot_before to $boot_after KiB"
for pid in "$A" "$BOOT"; do
    kill -TERM "$pid"
    wait "$pid" || fail "it ends with $?"
done
count_end
