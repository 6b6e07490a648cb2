#!/bin/sh
# peer_cost.sh SRC BUILD [SECONDS] -- what a peer costs that only waits: packets and processor time with one
# and with two bootstrap nodes (in namespaces, where the kernel counts), and the memory of 100 connected peers.
. "$1/tests/lib.sh"
# shellcheck source=tests/net/ns.sh
. "$SRC/tests/net/ns.sh"
ns_need "$@"
need nft
seconds=${3:-65} # one renewal (60 s) and two keepalives, for each bootstrap node
ns_add idle many
for k in 1 2 p1 p2 m; do "$ANTQ" id --key "$T/$k.key" >"$T/$k.id" 2>/dev/null; done

run() { # run NS OUT PATTERN ARG...: antq, until it says so; sets RUN_PID
    eval "ns_pid=\$NS_$1"
    run_out=$T/$2 run_for=$3
    shift 3
    rm -f "$run_out" # a former one's lines must not be taken for this one's
    # shellcheck disable=SC2154
    nsenter -t "$ns_pid" -n "$ANTQ" "$@" >"$run_out" 2>&1 &
    RUN_PID=$!
    started "$RUN_PID"
    wait_for_line "$run_out" "$run_for" "$RUN_PID" 60 || fail "antq $1: $(cat "$run_out")"
}

# ---- an idle peer ----
run idle boot1.out 'listening on' bootstrap --listen 127.0.0.1:4433 --key "$T/1.key"
run idle boot2.out 'listening on' bootstrap --listen 127.0.0.2:4433 --key "$T/2.key"
one=$(cat "$T/1.id")@127.0.0.1:4433 two=$(cat "$T/2.id")@127.0.0.2:4433
run idle p1.out 'registration: full' peer --key "$T/p1.key" --bootstrap "$one" --listen 127.0.0.3:4000
first=$RUN_PID
run idle p2.out 'registration: full' peer --key "$T/p2.key" --bootstrap "$one,$two" --listen 127.0.0.4:4000
second=$RUN_PID
ns_run idle nft -f - <<'NFT' 2>"$T/nft.err" || skip "no nftables here: $(cat "$T/nft.err")"
table ip count {
  counter first { }
  counter second { }
  chain out {
    type filter hook output priority filter;
    ip saddr 127.0.0.3 udp sport 4000 counter name "first"
    ip saddr 127.0.0.4 udp sport 4000 counter name "second"
  }
}
NFT
sleep 2 # the last acknowledgements
sent() { ns_run idle nft list counter ip count "$1" | sed -n 's/.*packets \([0-9]*\) .*/\1/p'; }
cpu_ns() { cut -d ' ' -f 1 "/proc/$1/schedstat"; }
a=$(sent first) b=$(sent second) c=$(cpu_ns "$first") d=$(cpu_ns "$second") began=$(date +%s)

# ---- 100 connected peers, meanwhile ----
# An address that is not 127.0.0.0/8's, so that there are direct paths.
ns_run many ip addr add 192.0.2.2/32 dev lo
one=$(cat "$T/1.id")@192.0.2.2:4433
run many boot3.out 'listening on' bootstrap --listen 192.0.2.2:4433 --key "$T/1.key"
run many m.out 'registration: full' peer --key "$T/m.key" --bootstrap "$one" --listen 192.0.2.2:0
many=$RUN_PID
kib() { awk '/^RssAnon:/ { print $2 }' "/proc/$many/status"; }
before=$(kib)
mkfifo "$T/until"
eval "ns_pid=\$NS_many"
nsenter -t "$ns_pid" -n "$B/bench/peers" "$one" "$(cat "$T/m.id")" 100 <"$T/until" >"$T/load.out" 2>"$T/load.err" &
load=$!
started "$load"
exec 8>"$T/until"
wait_for_line "$T/load.out" '^connected' "$load" 240 || fail 'the 100 do not connect'
grep -q '^connected 100,' "$T/load.out" || fail "not 100: $(cat "$T/load.out")"
after=$(kib)
exec 8>&-
wait "$load" || fail "the load ended with $?"
echo "100 connected peers ($(sed 's/^connected 100, //' "$T/load.out")): $((after - before)) KiB"
if [ -z "${SANITIZE-}" ]; then
    [ $((after - before)) -le 1000 ] || fail "100 peers take $((after - before)) KiB, more than 1000"
fi
ok 'the memory of 100 connected peers'

# ---- the idle ones again ----
until [ $(($(date +%s) - began)) -ge "$seconds" ]; do sleep 1; done
a=$(($(sent first) - a)) b=$(($(sent second) - b)) c=$(($(cpu_ns "$first") - c)) d=$(($(cpu_ns "$second") - d))
for_s=$(($(date +%s) - began))
echo "idle for $for_s s: $a packets, $((c / 1000)) us of processor time; with two bootstrap nodes $b, $((d / 1000)) us"
[ "$a" -gt 0 ] && [ "$b" -gt 0 ] || fail "nothing holds the NAT's mapping"
# 3 in 25 s for each bootstrap node; the one more is where the time was cut.
[ $((a * 25)) -le $((3 * for_s + 25)) ] && [ $((b * 25)) -le $((2 * 3 * for_s + 50)) ] ||
    fail 'an idle peer sends more than 3 packets in 25 s to each bootstrap node'
if [ -z "${SANITIZE-}" ]; then # 0.1 %
    [ $((c / 1000000)) -le "$for_s" ] && [ $((d / 1000000)) -le $((2 * for_s)) ] || fail 'an idle peer keeps the processor busy'
fi
ok 'an idle peer, with one and with two bootstrap nodes'
count_end
