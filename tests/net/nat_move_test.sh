#!/bin/sh
# nat_move_test.sh SRC BUILD [MIB] -- a file of so many MiB [48] goes from one peer behind a NAT to another:
# begun through the relay, since the ways between them are cut, it moves to the direct path when they are healed;
# that is cut, the relay carries on; it is healed, and taken again. Both ends' qlogs tell what was said on the way, and how long nothing came; with LONG and SLOW
# (ms) in the environment more than that fails. A busy machine makes gaps of its own, so by default that is
# generous; on an idle one LONG=100 SLOW=2000 holds.
. "$1/tests/lib.sh"
. "$1/tests/net/ns.sh"
. "$1/tests/net/nat_lab.sh"
ns_need "$@"
need python3 cmp
mib=${3-48}
lab_need
LAB_LINK='--rate 40'
lab_boot
lab_side a port
lab_side b port
lab_ready
for who in a b boot; do "$ANTQ" id --key "$T/$who.key" >"$T/$who.id" 2>/dev/null || fail 'antq id'; done
name=$(cat "$T/boot.id")@192.0.2.2:4433
mkdir "$T/in" "$T/qa" "$T/qb"
head -c "${mib}M" /dev/urandom >"$T/file"

run() { # run NS OUT PATTERN ARG...: antq in a namespace, until it says so; sets RUN_PID
    eval "ns_pid=\$NS_$1"
    run_file=$T/$2 run_for=$3
    shift 3
    rm -f "$run_file" # a former one's lines must not be taken for this one's
    # shellcheck disable=SC2154
    nsenter -t "$ns_pid" -n "$ANTQ" "$@" >"$run_file" 2>&1 &
    RUN_PID=$!
    started "$RUN_PID"
    wait_for_line "$run_file" "$run_for" "$RUN_PID" 30 || fail "antq $1: $(cat "$run_file")"
}
await() { # await WHAT PATTERN COUNT: so many such lines, within 30 s
    await_i=0
    until [ "$(tr '\r' '\n' <"$T/a.out" | grep -c "$2")" -ge "$3" ]; do
        await_i=$((await_i + 1))
        [ "$await_i" -lt 300 ] || fail "$1: $(tr '\r' '\n' <"$T/a.out" | tail -n 20)"
        sleep 0.1
    done
}
run boot boot.out 'listening on' bootstrap --listen 192.0.2.2:4433 --key "$T/boot.key"
run b b.out 'registration: full' recv --dir "$T/in" --count 1 --bootstrap "$name" --key "$T/b.key" --qlog "$T/qb"
B_PID=$RUN_PID
lab_cut
run a a.out 'connected, relayed' send "$(cat "$T/b.id")" "$T/file" --bootstrap "$name" --key "$T/a.key" --qlog "$T/qa"
A_PID=$RUN_PID
came=0
until [ "$(du -sk "$T/in" | cut -f 1)" -ge 1024 ]; do # the file is on its way
    came=$((came + 1))
    [ "$came" -lt 300 ] || fail 'nothing of the file comes'
    sleep 0.1
done
lab_heal
await 'no direct path' ': now direct' 1
sleep 2
lab_cut
await 'the relay does not carry on' ': now relayed' 1
sleep 2
lab_heal
await 'the direct path is not taken again' ': now direct' 2
wait "$A_PID" || fail "send: $(tail -n 3 "$T/a.out")"
wait "$B_PID" || fail "recv: $(tail -n 3 "$T/b.out")"
cmp "$T/file" "$T/in/file" || fail 'the file differs'
ok "$mib MiB, relayed, direct, relayed, direct: whole"

python3 - "$T" "${LONG-1000}" "${SLOW-5000}" <<'PYTHON' || fail 'the qlogs tell another story'
import glob, json, sys
T, long, slow = sys.argv[1], *(int(v) for v in sys.argv[2:])
def load(side):
    """The log of the connection between the peers: the one with frames of NAT traversal."""
    for path in glob.glob(f'{T}/{side}/*.sqlog'):
        text = open(path).read()
        if 'add_address' not in text:
            continue
        records = [json.loads(r) for r in text.split('\x1e') if r.strip()]
        return [(r['time'], r['name'], r['data']) for r in records[1:]]
    raise SystemExit(f'no log in {side} has an ADD_ADDRESS')
def frames(log, way, kind):
    return [f for _, name, d in log if name == f'transport:packet_{way}' for f in d['frames'] if f['frame_type'] == kind]
a, b = load('qa'), load('qb') # a is the client
for kind, sender, receiver in (('add_address', b, a), ('punch_me_now', a, b), ('observed_address', a, b), ('observed_address', b, a)):
    sent, came = frames(sender, 'sent', kind), frames(receiver, 'received', kind)
    assert sent and came and all(f in sent for f in came), (kind, sent, came)
punch = frames(b, 'received', 'punch_me_now')
assert all(f['round'] >= 1 and f['ip_v4'] == '198.51.100.2' for f in punch), punch
assert any(f['ip_v4'] == '203.0.113.2' for f in frames(a, 'received', 'add_address'))
assert any(f['ip_v4'] == '198.51.100.2' for f in frames(a, 'received', 'observed_address'))
assert any(f['ip_v4'] == '203.0.113.2' for f in frames(b, 'received', 'observed_address'))
times = [t for t, name, d in b if name == 'transport:packet_received' and any(f['frame_type'] == 'stream' for f in d['frames'])]
gaps = [(y - x, x) for x, y in zip(times, times[1:])]
moves = [t for t, name, d in b if name == 'connectivity:migration_state_updated' and d['new'] == 'migration_complete']
assert len(moves) >= 3, moves # direct, relayed, direct; a busy machine may make more
first = max(g for g, at in gaps if abs(at - moves[0]) < 1000)
dark = max(g for g, at in gaps if moves[0] + 1000 <= at < moves[-1] - 1000)
back = max(g for g, at in gaps if at >= moves[-1] - 1000)
print(f'longest gap: {first:.0f} ms to the first direct path, {dark:.0f} ms when it was cut, {back:.0f} ms on the way back')
assert first <= long and dark <= slow and back <= slow, (first, dark, back)
PYTHON
ok 'ADD_ADDRESS, PUNCH_ME_NOW, OBSERVED_ADDRESS both ways; no long silence'
count_end
