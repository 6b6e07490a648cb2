#!/bin/sh
# nat_fault_test.sh SRC BUILD -- a connection between two peers behind NATs outlives what happens to the
# network: pings go on, and the path is direct again where the NATs allow it. A peer that is killed and comes back
# with its key and at its port is known at once: what talks to it goes on by a new connection.
. "$1/tests/lib.sh"
. "$1/tests/net/ns.sh"
. "$1/tests/net/nat_lab.sh"
ns_need "$@"
lab_need
lab_boot
KIND=port
lab_side a "$KIND"
lab_side b "$KIND"
lab_ready
for who in a b c boot1 boot2; do "$ANTQ" id --key "$T/$who.key" >"$T/$who.id" 2>/dev/null || fail 'antq id'; done
LISTEN=
NAMES="--bootstrap $(cat "$T/boot1.id")@192.0.2.2:4433 --bootstrap $(cat "$T/boot2.id")@192.0.2.3:4433"

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
boots() {
    run boot boot1.out 'listening on' bootstrap --listen 192.0.2.2:4433 --key "$T/boot1.key"
    BOOT1=$RUN_PID
    run boot boot2.out 'listening on' bootstrap --listen 192.0.2.3:4433 --key "$T/boot2.key"
    BOOT2=$RUN_PID
}
last() { grep -c ' answer ' "$T/a.out" || true; }
await() { # await WHAT CONDITION: within 30 s
    await_i=0
    until eval "$2"; do
        await_i=$((await_i + 1))
        [ "$await_i" -lt 300 ] || fail "$1: $(tail -n 20 "$T/a.out")"
        sleep 0.1
    done
}
begin() { # begin WAY: two peers, pings ten times a second
    # shellcheck disable=SC2086
    run b b.out 'registration: full' peer $NAMES --key "$T/b.key" $LISTEN
    B_PID=$RUN_PID
    # shellcheck disable=SC2086
    run a a.out ': connected' ping "$(cat "$T/b.id")" $NAMES --key "$T/a.key" --count 100000 --interval 0.05
    A_PID=$RUN_PID
    await "not $1" "tail -n 1 '$T/a.out' | grep -q ' answer .*$1'"
}
end() { # end WHAT WAY: it goes on, that way at last
    before=$(last)
    await "$1: no answers any more" "[ \$(last) -ge $((before + 20)) ]"
    await "$1: not $2 again" "tail -n 1 '$T/a.out' | grep -q ' answer .*$2'"
    kill "$A_PID" "$B_PID"
    wait "$A_PID" "$B_PID" || true
    ! grep -q 'gone: ' "$T/a.out" || [ "$(grep -c 'gone: closed here' "$T/a.out")" = 1 ] || fail "$1: $(cat "$T/a.out")"
    ok "$1"
}

heard() { grep -c '> tick' "$T/c.out" || true; }
reborn() { # reborn WHAT WAY: well before the idle timeout, of 60 s
    LISTEN='--listen 0.0.0.0:5555'
    begin "$2"
    : >"$T/c.out" # the one before's lines must not be taken for this one's
    # shellcheck disable=SC2086
    while sleep 0.2; do echo tick; done |
        nsenter -t "$NS_a" -n "$ANTQ" chat "$(cat "$T/b.id")" $NAMES --key "$T/c.key" >"$T/c.out" 2>&1 &
    C_PID=$!
    started "$C_PID"
    await 'no chat' '[ "$(heard)" -ge 3 ]'
    kill -KILL "$B_PID"
    wait "$B_PID" 2>/dev/null || true # its port is free again
    # shellcheck disable=SC2086
    run b b.out 'registration: full' peer $NAMES --key "$T/b.key" $LISTEN
    B_PID=$RUN_PID
    for who in a c; do
        await "$1: not noticed" "grep -q 'gone: .*the peer has started anew' '$T/$who.out'"
    done
    before=$(last)
    await "$1: no answers any more" "[ \$(last) -ge $((before + 20)) ]"
    before=$(heard)
    await "$1: the chat does not go on" "[ \$(heard) -ge $((before + 5)) ]"
    [ "$(grep -c 'gone: ' "$T/a.out")" = 1 ] || fail "$1: $(cat "$T/a.out")"
    kill "$A_PID" "$B_PID" "$C_PID"
    wait "$A_PID" "$B_PID" "$C_PID" || true
    LISTEN=
    ok "$1"
}

boots
reborn 'the other is killed, and back' direct
begin direct
{
    ns_run natA ip route add 192.168.1.7 dev link0
    ns_run a ip addr add 192.168.1.7 dev link0
    ns_run a ip addr del 192.168.1.2/32 dev link0
    ns_run a ip route replace default dev link0
} || fail 'ip'
await 'nothing was noticed' "grep -q ': now relayed' '$T/a.out'"
end "the dialler's address changes" direct
begin direct
{
    ns_run natB ip route add 192.168.1.8 dev link0
    ns_run b ip addr add 192.168.1.8 dev link0
    ns_run b ip addr del 192.168.1.3/32 dev link0
    ns_run b ip route replace default dev link0
} || fail 'ip'
await 'nothing was noticed' "grep -q ': now relayed' '$T/b.out'"
end "the other's address changes" direct
begin direct
ns_run a ip link set link0 down
sleep 3
ns_run a ip link set link0 up
ns_run a ip route replace default dev link0
end 'an interface is down for 3 s' direct
begin direct
lab_rebind natA
end "the dialler's NAT forgets everything" direct
begin direct
lab_rebind natB
end "the other's NAT forgets everything" direct
begin direct
kill -KILL "$BOOT1" "$BOOT2"
sleep 2
end 'every bootstrap node is killed: a direct path needs none' direct

boots
lab_nat natA sym 198.51.100.2
lab_nat natB sym 203.0.113.2
reborn 'the other is killed, and back, behind the relay' relayed
begin relayed
case $(grep -m 1 ' registered with' "$T/a.out") in
*192.0.2.2:*) kill -KILL "$BOOT1" ;;
*) kill -KILL "$BOOT2" ;;
esac
end 'the bootstrap node that relays is killed: through the other' relayed
count_end
