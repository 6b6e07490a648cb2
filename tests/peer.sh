#!/bin/sh
# peer.sh SRC BUILD -- two peers behind two NATs and one bootstrap node, with the real programs.
#
#   hostA 10.1.0.2 -- natA 198.51.100.2 -- hub -- natB 203.0.113.2 -- hostB 10.2.0.2
#                                           |
#                            boot 192.0.2.2, the bootstrap node
#
# Both NATs take a random port for each destination (symmetric): so the relay is the way. Direct paths are
# for tests/net/nat_matrix_test.sh.
set -eu
# shellcheck source=tests/lib.sh
. "$1/tests/lib.sh"
# shellcheck source=tests/net/ns.sh
. "$SRC/tests/net/ns.sh"
ns_need "$@"
need nft

ns_add boot hub natA natB hostA hostB
nat() { # nat NS: masquerades what leaves through `out`
    ns_run "$1" sysctl -qw net.ipv4.ip_forward=1
    ns_run "$1" nft -f - <<-'NFT' 2>"$T/nft.err" || skip "no nftables NAT here: $(cat "$T/nft.err")"
	table ip nat {
	  chain leave { type nat hook postrouting priority 100; oifname "out" masquerade fully-random; }
	  chain through { type filter hook forward priority 0; iifname "out" ct state new drop; }
	  chain inward { type filter hook input priority 0; iifname "out" ct state new drop; }
	}
	NFT
}
veth hub toBoot 192.0.2.1 boot eth0 192.0.2.2
ns_run hub sysctl -qw net.ipv4.ip_forward=1
ns_run boot ip route add default via 192.0.2.1
veth hub toA 198.51.100.1 natA out 198.51.100.2
veth hub toB 203.0.113.1 natB out 203.0.113.2
veth natA in 10.1.0.1 hostA eth0 10.1.0.2
veth natB in 10.2.0.1 hostB eth0 10.2.0.2
ns_run natA ip route add default via 198.51.100.1
ns_run natB ip route add default via 203.0.113.1
ns_run hostA ip route add default via 10.1.0.1
ns_run hostB ip route add default via 10.2.0.1
nat natA
nat natB

boot_start() {
    rm -f "$T/boot.out" # a former one's lines must not be taken for this one's
    ns_exec boot "$ANTQ" bootstrap --listen 192.0.2.2:4433 --key "$T/boot.key" >"$T/boot.out" 2>"$T/boot.err" &
    BOOT_PID=$!
    started "$BOOT_PID"
    wait_for_line "$T/boot.out" 'listening on' "$BOOT_PID" 10 || fail 'the bootstrap node does not start'
}
run() { # run SECONDS HOST ARG...: antq with a bound on its time
    run_s=$1 run_host=$2
    shift 2
    ns_run "$run_host" timeout "$run_s" "$ANTQ" "$@"
}
peer_start() { # peer_start HOST KEY PROGRAM [ARG...]; sets PEER_PID
    p_host=$1 p_key=$2 p_name=$3
    shift 3
    rm -f "$T/$p_key.err"
    ns_exec "$p_host" "$ANTQ" "$p_name" --bootstrap "$BOOT" --key "$T/$p_key.key" "$@" \
        >"$T/$p_key.out" 2>"$T/$p_key.err" &
    PEER_PID=$!
    started "$PEER_PID"
    wait_for_line "$T/$p_key.err" 'registration: full' "$PEER_PID" 10 || fail "$p_name does not register"
}
for key in a b c boot; do "$ANTQ" id --key "$T/$key.key" >"$T/$key.id" 2>/dev/null; done
A_ID=$(cat "$T/a.id") B_ID=$(cat "$T/b.id") C_ID=$(cat "$T/c.id")
BOOT=$(cat "$T/boot.id")@192.0.2.2:4433
boot_start

# ---- over the relay ----
peer_start hostB b peer
B_PID=$PEER_PID
run 20 hostA ping "$B_ID" --bootstrap "$BOOT" --key "$T/a.key" --count 3 --json >"$T/ping.json" 2>"$T/ping.err" ||
    fail 'ping over the relay'
[ "$(json path "$T/ping.json")" = relayed ] || fail 'the path is not relayed'
[ "$(json received "$T/ping.json")" = 3 ] || fail 'not all pings were answered'
grep -q '"direct_ms":null' "$T/ping.json" || fail 'direct_ms is told without a direct path'
ok 'ping behind two NATs, through the relay'
run 20 hostA ping "$B_ID" --bootstrap "$BOOT" --key "$T/a.key" --count 1 --wait-direct 1 >"$T/stays.out" 2>"$T/stays.err" ||
    fail 'ping that waits for a direct path'
grep -q 'it stays relayed, after 1.0 s more: .*symmetric' "$T/stays.out" || fail "not said why it stays relayed: $(cat "$T/stays.out")"
run 20 hostA ping "$B_ID" --bootstrap "$BOOT" --key "$T/a.key" --count 1 --wait-direct 0.5 --json >"$T/stays.out" 2>/dev/null ||
    fail 'ping that waits for a direct path, in JSON'
grep -q '"relayed_why":"[^"]*symmetric' "$T/stays.out" || fail 'the JSON does not say why it stays relayed'
ok 'it stays relayed, and says why'
i=0
until grep -q ': gone: the peer closed' "$T/b.err"; do
    i=$((i + 1))
    [ "$i" -lt 30 ] || fail 'the goodbye did not arrive'
    sleep 0.1
done
ok 'its goodbye arrives through the relay'

printf 'good\nday' | run 20 hostA chat "$B_ID" --bootstrap "$BOOT" --key "$T/a.key" >"$T/chat.out" 2>"$T/chat.err" ||
    fail 'chat'
[ "$(grep -c '> good$\|> day$' "$T/chat.out")" = 2 ] || fail 'what was said did not come back'
ok 'chat, line by line'

# ---- who is not there, who is not meant, who is not let in ----
status=0
run 20 hostA ping "$C_ID" --bootstrap "$BOOT" --key "$T/a.key" 2>"$T/nobody.err" || status=$?
[ "$status" = 1 ] && grep -q 'failed while coordinating: not_registered; is the PeerId right' "$T/nobody.err" ||
    fail 'a PeerId that nobody has'
ok 'a peer that is not there: the step, the reason, what to try'
status=0
run 20 hostA ping "$B_ID" --bootstrap "$C_ID@192.0.2.2:4433" --key "$T/a.key" 2>"$T/pin.err" || status=$?
[ "$status" = 1 ] && grep -q 'wrong_pin; another key answers' "$T/pin.err" || fail 'a wrong pin was believed'
ok 'a bootstrap node with another key is refused'
kill "$B_PID"
wait "$B_PID" || fail 'peer did not end with 0'
peer_start hostB b peer --allow "$C_ID"
B_PID=$PEER_PID
status=0
run 20 hostA ping "$B_ID" --bootstrap "$BOOT" --key "$T/a.key" 2>"$T/allow.err" || status=$?
[ "$status" = 1 ] && grep -q 'refused: you are not among those it lets in; ask that peer' "$T/allow.err" ||
    fail 'the allow list lets others in'
grep -q 'wanted in: refused' "$T/b.err" || fail 'the refusal is not shown'
run 20 hostA ping "$B_ID" --bootstrap "$BOOT" --key "$T/c.key" --count 1 2>/dev/null >"$T/allowed.out" || fail 'who is allowed is not let in'
ok 'the allow list'
kill -KILL "$B_PID"
status=0
run 20 hostA ping "$B_ID" --bootstrap "$BOOT" --key "$T/a.key" --count 1 2>"$T/dead.err" || status=$?
[ "$status" = 1 ] && grep -q 'failed while' "$T/dead.err" || fail 'a killed peer answers'
ok 'a peer that was killed: told within its deadline'

# ---- files ----
mkdir "$T/in"
head -c 3000000 /dev/urandom >"$T/file"
peer_start hostB b recv --dir "$T/in"
B_PID=$PEER_PID
run 5 hostA send "$B_ID" "$T/file" --bootstrap "$BOOT" --key "$T/a.key" >/dev/null 2>"$T/send.err" &
SEND_PID=$!
started "$SEND_PID"
i=0
until [ -n "$(find "$T/in" -name '.antq-*.part' -size +200k)" ]; do
    i=$((i + 1))
    [ "$i" -lt 100 ] || fail 'no part of the file arrives'
    sleep 0.05
done
kill -KILL "$B_PID"
kill "$SEND_PID" 2>/dev/null || true
wait "$SEND_PID" 2>/dev/null || true
[ ! -e "$T/in/file" ] || fail 'half a file has its name'
peer_start hostB b recv --dir "$T/in"
B_PID=$PEER_PID
run 30 hostA send "$B_ID" "$T/file" --bootstrap "$BOOT" --key "$T/a.key" >/dev/null 2>"$T/send.err" || fail 'send'
cmp -s "$T/file" "$T/in/file" || fail 'the file differs'
[ -z "$(find "$T/in" -name '.antq-*')" ] || fail 'a part is left'
ok 'a file that was cut goes on, and arrives whole'
cp "$T/file" "$T/keep"
echo other >"$T/file"
status=0
run 30 hostA send "$B_ID" "$T/file" --bootstrap "$BOOT" --key "$T/a.key" >/dev/null 2>"$T/over.err" || status=$?
[ "$status" = 1 ] && grep -q 'overwrites none' "$T/over.err" && cmp -s "$T/keep" "$T/in/file" || fail 'a file was overwritten'
ok 'nothing is overwritten without being asked'
kill "$B_PID"
wait "$B_PID" || fail 'recv did not end with 0'

# ---- both dial at once ----
for round in 1 2 3; do
    peer_start hostA a peer
    A_PID=$PEER_PID
    kill "$A_PID"
    wait "$A_PID" || fail 'peer did not end with 0'
    run 60 hostA ping "$B_ID" --bootstrap "$BOOT" --key "$T/a.key" --count 5 --json >"$T/both_a.json" 2>"$T/both_a.err" &
    PING_A=$!
    status=0
    run 60 hostB ping "$A_ID" --bootstrap "$BOOT" --key "$T/b.key" --count 5 --json >"$T/both_b.json" 2>"$T/both_b.err" || status=$?
    wait "$PING_A" || status=$((status + 10))
    # One may ask before the other is registered, or end while the other still counts: told as that.
    case $status in
    0) BOTH=1 ;;
    *) grep -q 'not_registered\|the stream ended\|going offline' "$T/both_a.err" "$T/both_b.err" || fail "both at once: $status in round $round" ;;
    esac
done
ok "both dial at once${BOTH:+, and both are answered}"

# ---- the bootstrap node starts anew ----
peer_start hostB b peer
B_PID=$PEER_PID
kill "$BOOT_PID"
wait "$BOOT_PID" || fail 'the bootstrap node did not end with 0'
boot_start
i=0
until run 20 hostA ping "$B_ID" --bootstrap "$BOOT" --key "$T/a.key" --count 1 >/dev/null 2>"$T/again.err"; do
    i=$((i + 1))
    [ "$i" -lt 10 ] || fail 'the peer does not come back after the bootstrap node has started anew'
    sleep 1
done
ok "a bootstrap node that starts anew: its peer is back"
run 20 hostA doctor --bootstrap "$BOOT" --key "$T/a.key" >"$T/doctor.out" 2>"$T/doctor.err" || fail 'doctor'
grep -q 'sees us as 198.51.100.2:' "$T/doctor.out" && grep -q 'there is a NAT on the way' "$T/doctor.out" ||
    fail 'doctor does not see the NAT'
ok 'doctor: behind a NAT'
kill "$B_PID"
wait "$B_PID" || fail 'peer did not end with 0'
count_end
