#!/bin/sh
# link_test.sh SRC BUILD -- the link emulator does what it says, as ping sees it.
. "$1/tests/lib.sh"
. "$1/tests/net/ns.sh"
ns_need "$@"
need ping bash python3

ns_add left right
# ping's summary of COUNT packets from left to right; $T/ping.out has all of it
probe() {
    count=$1
    shift
    ns_run left ping -q -c "$count" -W 1 "$@" 10.9.0.2 >"$T/ping.out" 2>&1 || true
}
received() { sed -n 's/.* \([0-9]*\) received.*/\1/p' "$T/ping.out"; }
round_trip() { sed -n 's/^rtt min.*= [0-9.]*\/\([0-9]*\)\..*/\1/p' "$T/ping.out"; } # average, whole ms

link_up left right --delay 20
probe 20 -i 0.02
[ "$(received)" = 20 ] && [ "$(round_trip)" -ge 40 ] && [ "$(round_trip)" -lt 80 ] || fail "delay: $(cat "$T/ping.out")"
ns_run left ping -q -c 3 -i 0.1 fd09::2 >"$T/ping.out" || fail 'no answer over IPv6'
[ "$(round_trip)" -ge 40 ] || fail "delay over IPv6: $(cat "$T/ping.out")"
link_down
ok '20 ms each way, IPv4 and IPv6'

# 10 % each way leaves 81 %; 400 packets put five sigma at 10 points. Twice with one seed: the same.
link_up left right --loss 10 --seed 7
probe 400 -i 0.005
first=$(received)
link_down
[ "$first" -gt 284 ] && [ "$first" -lt 364 ] || fail "10 % loss each way left $first of 400"
[ "$(link_count left lost)" -gt 10 ] || fail "no loss counted: $(cat "$T/link.log")"
link_up left right --loss 10 --seed 7
probe 400 -i 0.005
[ "$(received)" = "$first" ] || fail "the same seed lost $first, then $(received)"
link_down
ok "loss, $first of 400 left, both times"

link_up left right --duplicate 100
probe 10 -i 0.02
link_down
grep -q '+[0-9]* duplicates' "$T/ping.out" || fail "no duplicates: $(cat "$T/ping.out")"
ok 'duplication'

# 1 Mbit/s: 1,428 bytes take 11.4 ms each way.
link_up left right --rate 1
probe 5 -i 0.1 -s 1400
[ "$(round_trip)" -ge 22 ] || fail "a rate of 1 Mbit/s: $(cat "$T/ping.out")"
link_down
link_up left right --rate 1 --queue 3
probe 20 -l 20 -s 1400
link_down
[ "$(link_count left queue_full)" -gt 10 ] || fail "the queue did not overflow: $(cat "$T/link.log")"
ok 'rate and queue'

link_up left right --mtu 1300
probe 2 -i 0.1 -s 1200 -M 'do'
[ "$(received)" = 2 ] || fail 'small packets do not pass'
probe 2 -i 0.1 -s 1400 -M 'do'
[ "$(received)" = 0 ] || fail 'large packets pass'
link_down
[ "$(link_count left too_big)" = 2 ] || fail "not counted: $(cat "$T/link.log")"
ok 'MTU'

link_up left right --blackhole-after 1
probe 2 -i 0.1
[ "$(received)" = 2 ] || fail 'nothing passes before the black hole'
sleep 1
probe 2 -i 0.1
[ "$(received)" = 0 ] || fail 'something leaves the black hole'
link_down
ok 'black hole'

link_up left right --reorder 30 --reorder-by 20 --seed 3
ns_run left ping -c 60 -i 0.003 -W 1 10.9.0.2 >"$T/ping.out" || fail 'no answer while reordering'
sed -n 's/.*icmp_seq=\([0-9]*\).*/\1/p' "$T/ping.out" >"$T/order"
sort -n "$T/order" | cmp -s - "$T/order" && fail 'nothing was reordered'
[ "$(wc -l <"$T/order")" = 60 ] || fail 'reordering lost packets'
link_down
ok 'reordering'
# Each of these packets comes with one byte changed and a checksum that is right: to no port, not to errors.
link_up left right --corrupt 100
# shellcheck disable=SC2016
ns_run left bash -c 'for i in 1 2 3 4 5 6 7 8 9 10; do
    echo "message $i" >/dev/udp/10.9.0.2/9; echo "odd message $i" >/dev/udp/fd09::2/9; done' 2>/dev/null || true
sleep 0.2
link_down
[ "$(link_count left corrupted)" = 20 ] || fail "not corrupted: $(cat "$T/link.log")"
ns_run right cat /proc/net/snmp /proc/net/snmp6 >"$T/snmp"
arrived=$(awk '$1 == "Udp:" && $2 ~ /^[0-9]/ { n += $3; bad += $4 + $8 }
    $1 == "Udp6NoPorts" { n += $2 } $1 == "Udp6InErrors" || $1 == "Udp6InCsumErrors" { bad += $2 }
    END { print n "/" bad + 0 }' "$T/snmp")
[ "$arrived" = 20/0 ] || fail "of 20 corrupted packets arrived/bad $arrived"
ok 'corruption with a right checksum, IPv4 and IPv6'

# ---- bursts, lists, black holes that come again
link_up left right --loss 100 --burst 3
probe 40 -i 0.01
link_down
[ "$(link_count left delivered)" = 10 ] && [ "$(link_count left lost)" = 30 ] || fail "bursts: $(cat "$T/link.log")"
ok 'at most three in a row'
link_up left right --drop-first 2 --drop-last 4
ns_run left ping -c 6 -i 0.02 -W 1 10.9.0.2 >"$T/ping.out" 2>&1 || fail 'nothing passes'
link_down
[ "$(sed -n 's/.*icmp_seq=\([0-9]*\).*/\1/p' "$T/ping.out" | tr '\n' ' ')" = '1 5 6 ' ] || fail "a list: $(cat "$T/ping.out")"
ok 'packets 2 to 4 from the left are lost'
link_up left right --on 0.5 --off 0.5
ns_run left ping -c 20 -i 0.1 -W 1 10.9.0.2 >"$T/ping.out" 2>&1 || fail 'nothing passes'
link_down
black=$(link_count left blackholed)
[ "$black" -ge 5 ] && [ "$black" -le 15 ] || fail "half the time: $(cat "$T/link.log")"
sed -n 's/.*icmp_seq=\([0-9]*\).*/\1/p' "$T/ping.out" | awk '$1 > last + 2 && last { back = 1 } { last = $1 } END { exit !back }' ||
    fail 'it does not come back'
ok "half the time nothing passes: $black of 20"

# ---- a NAT that forgets: an echo server tells whom it saw; the answers come back to the one socket
cat >"$T/nat.py" <<'PYTHON'
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if sys.argv[1] == 'echo':
    s.bind(('10.9.0.2', 7))
    print('bound', flush=True)
    while True:
        data, peer = s.recvfrom(2000)
        s.sendto(f'{peer[0]} {peer[1]}'.encode(), peer)
s.bind(('10.9.0.1', 5000))
s.settimeout(float(sys.argv[3]))
end = time.monotonic() + 1.6
asked = lost = 0
while time.monotonic() < end:
    s.sendto(b'whom do you see?', ('10.9.0.2', 7))
    asked += 1
    try:
        print(s.recv(2000).decode())
    except TimeoutError: # the change came between question and answer: the old binding is gone
        lost += 1
    time.sleep(0.1)
sys.exit(lost > int(sys.argv[2]) or lost == asked)
PYTHON
seen() { # seen OPTION...: what the server saw, in $T/seen.out
    link_up left right --seed 5 "$@"
    rm -f "$T/echo.out"
    nsenter -t "$NS_right" -n python3 "$T/nat.py" echo >"$T/echo.out" &
    started $!
    echo_pid=$!
    wait_for_line "$T/echo.out" bound $!
    ns_run left python3 "$T/nat.py" ask 5 0.25 >"$T/seen.out" 2>"$T/seen.err" || fail "answers are lost: $*"
    kill "$echo_pid"
    wait "$echo_pid" || true
    link_down
}
kinds() { cut -d ' ' -f "$1" "$T/seen.out" | sort -u | wc -l; }
seen
[ "$(sort -u "$T/seen.out")" = '10.9.0.1 5000' ] || fail 'without rebinding'
seen --rebind 0.4
[ "$(head -n 1 "$T/seen.out")" = '10.9.0.1 5000' ] && [ "$(kinds 1)" = 1 ] && [ "$(kinds 2)" = 2 ] || fail 'one new port'
seen --rebind 0.35 --rebind-every 0.5 --rebind-address
[ "$(kinds 1)" -ge 3 ] && [ "$(kinds 2)" = "$(kinds 1)" ] || fail 'new addresses'
uniq "$T/seen.out" | head -n 3 >"$T/seen.first"
seen --rebind 0.35 --rebind-every 0.5 --rebind-address
uniq "$T/seen.out" | head -n 3 | cmp - "$T/seen.first" || fail 'the same seed gives other addresses'
ok 'rebinding of port and address, the same with the same seed'
# With 200 ms each way some answer is on its way to the old binding, and lost unless that is kept.
link_up left right --delay 200 --rebind 0.3 --rebind-address --rebind-keep --capture-left "$T/left.pcap" --capture-right "$T/right.pcap"
rm -f "$T/echo.out"
nsenter -t "$NS_right" -n python3 "$T/nat.py" echo >"$T/echo.out" &
started $!
echo_pid=$!
wait_for_line "$T/echo.out" bound $!
ns_run left python3 -c 'import sys; sys.argv[1:] = ["ask", "0", "5"]; exec(open("'"$T"'/nat.py").read())' >"$T/seen.out" || fail 'a kept binding leads nowhere'
kill "$echo_pid"
wait "$echo_pid" || true
link_down
[ "$(link_count right unbound)" = 0 ] && [ "$(kinds 1)" = 2 ] || fail "kept: $(cat "$T/link.log")"
ok 'an old binding that is kept'
python3 - "$SRC" "$T" <<'PYTHON' || fail 'the captures are not what the ends saw'
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1] + '/tests/interop/runner')
import wire
left, right = (wire.read(f'{sys.argv[2]}/{side}.pcap') for side in ('left', 'right'))
asked = len(open(f'{sys.argv[2]}/seen.out').readlines())
assert len(left) == len(right) == 2 * asked > 4, (len(left), len(right), asked)
assert {d.src for d in left} == {'10.9.0.1', '10.9.0.2'} and len({d.src for d in right}) == 3
PYTHON
ok 'captures: inner addresses at the left, outer ones at the right'
count_end
