#!/bin/sh
# doctor.sh SRC BUILD [KIND] -- `antq doctor` behind each kind of NAT of the lab: it sees what is there, says so
# in words and in JSON, and says what it cannot see. Every kind is a lab of its own; they run side by side.
# shellcheck source=tests/lib.sh
. "$1/tests/lib.sh"
# shellcheck source=tests/net/ns.sh
. "$SRC/tests/net/ns.sh"
# shellcheck source=tests/net/nat_lab.sh
. "$SRC/tests/net/nat_lab.sh"
ns_need "$@"

if [ $# -lt 3 ]; then
    lab_need
    for pair in 'public cone' 'addr port' 'sym seq' 'cgnat fw6' blocked; do
        pids=
        for kind in $pair; do
            sh "$0" "$SRC" "$B" "$kind" >"$T/$kind.log" 2>&1 &
            started $!
            pids="$pids $kind=$!"
        done
        for pid in $pids; do
            kind=${pid%=*}
            wait "${pid#*=}" || { cat "$T/$kind.log"; rm "$T"/*.log; fail "behind $kind"; }
            grep '^ok: ' "$T/$kind.log" || fail "$kind checks nothing"
            COUNT=$((COUNT + $(grep -c '^ok: ' "$T/$kind.log")))
        done
    done
    count_end
fi

kind=$3
lab_boot
lab_side a "$kind"
lab_ready
names='' boot_pids=''
boot_start() { # boot_start NUMBER ADDRESS ARG...: a bootstrap node; $names gets its name
    "$ANTQ" id --key "$T/boot$1.key" >"$T/boot$1.id" 2>/dev/null
    number=$1 address=$2
    shift 2
    rm -f "$T/boot$number.out"
    ns_exec boot "$ANTQ" bootstrap --listen "$address:4433" --key "$T/boot$number.key" "$@" \
        >"$T/boot$number.out" 2>"$T/boot$number.err" &
    boot_pid=$!
    started "$boot_pid"
    boot_pids="$boot_pids $boot_pid"
    wait_for_line "$T/boot$number.out" 'listening on' "$boot_pid" 20 || fail 'the bootstrap node does not start'
    names="$names --bootstrap $(cat "$T/boot$number.id")@$address:4433"
}
boots() { # anew for each doctor: the NAT gets at most 12 probes a minute from each, and a doctor may ask for 4
    # shellcheck disable=SC2086
    [ -z "$boot_pids" ] || { kill $boot_pids; wait $boot_pids || true; }
    boot_pids='' names=''
    if [ "$kind" = fw6 ]; then
        boot_start 1 '[2001:db8:b::2]'
    else
        boot_start 1 192.0.2.2
        boot_start 2 192.0.2.3
    fi
}
doctor() { # doctor NAMES ARG...: its exit code in $status
    boots
    doctor_names=$1
    shift
    status=0
    # shellcheck disable=SC2086
    ns_run a timeout 60 "$ANTQ" doctor --key "$T/a.key" $doctor_names "$@" >"$T/doctor.out" 2>"$T/doctor.err" || status=$?
}
says() { # says KEY VALUE...: in its JSON
    while [ $# -gt 0 ]; do
        said=$(json "$1" "$T/doctor.out")
        [ "$said" = "$2" ] || fail "behind $kind, $1: it says '$said', and should '$2'"
        shift 2
    done
}
words() { grep -qE "$1" "$T/doctor.out" || fail "behind $kind: it does not say /$1/"; }

boots
one=" --bootstrap $(cat "$T/boot1.id")@192.0.2.2:4433"
tries=0
while :; do # lossless links, but a probe that a slow machine gives up on would be one more kind of NAT
    doctor "$names" --json
    case $kind in
    public) want=public ;;
    cone) want=full_cone ;;
    addr) want=address_restricted ;;
    port | cgnat | fw6) want=port_restricted ;;
    sym) want=symmetric_random ;;
    seq) want=symmetric_counting ;;
    blocked) want=blocked ;;
    esac
    [ "$(json kind "$T/doctor.out")" != "$want" ] && [ "$tries" -lt 3 ] || break
    tries=$((tries + 1))
done
says kind "$want"
if [ "$kind" = blocked ]; then
    [ "$status" = 1 ] || fail "it ends with $status"
    says udp false nat null mapping unknown lets_in_other_ports null lets_in_other_addresses null mtu 0
else
    [ "$status" = 0 ] || fail "it ends with $status"
    says udp true mtu 1452
    grep -q '"registered":true,"reason":"accepted","observed":' "$T/doctor.out" || fail 'it does not say what nodes see'
fi
yes='lets_in_other_ports true lets_in_other_addresses' no='lets_in_other_ports false lets_in_other_addresses'
# shellcheck disable=SC2086
case $kind in
public) says nat false mapping endpoint_independent $yes true ipv6 none ;;
cone) says nat true mapping endpoint_independent $yes true ;;
addr) says nat true mapping endpoint_independent $yes false ;;
port | cgnat) says nat true mapping endpoint_independent $no false ;;
sym) says nat true mapping symmetric_random ;;
seq) says nat true mapping symmetric_counting ;;
fw6) says nat false mapping endpoint_independent $no null ipv6 works ;;
esac
ok "$kind: $want"

doctor "$names"
case $kind in
public)
    words '^local address: 198\.51\.100\.2$'
    words '^no NAT on the way'
    words '^filtering: the firewall, if there is one, lets in everybody'
    words '^so: every peer whose UDP gets out can be connected to this machine directly'
    words '^largest packet: 1452 bytes'
    ;;
cone)
    words '^local address: 192\.168\.1\.2$'
    words '^bootstrap node 192\.0\.2\.3:4433: reached in .* ms, sees us as 198\.51\.100\.2:'
    words '^mapping: one port has the same address for everybody'
    words '^filtering: the NAT lets in everybody'
    words '^so: direct paths are possible with every peer whose UDP gets out$'
    # A tunnel further out: nothing tells of it but that large packets are lost.
    ns_run natA ip link set out mtu 1400
    ns_run natA nft add rule ip nat through icmp type destination-unreachable drop
    ns_run natA nft add chain ip nat outward '{ type filter hook output priority filter; }'
    ns_run natA nft add rule ip nat outward icmp type destination-unreachable drop
    for i in 1 2 3; do # a lossy moment would make it smaller
        doctor "$names" --json
        mtu=$(json mtu "$T/doctor.out")
        if [ "$mtu" -gt 1355 ]; then break; fi
    done
    [ "$mtu" -gt 1355 ] && [ "$mtu" -le 1372 ] || fail "of a way that carries 1372 bytes it says $mtu"
    says kind full_cone
    ok 'the largest packet'
    doctor "$names"
    words '^largest packet: 13[567][0-9] bytes of UDP payload got through; larger ones do not'
    ;;
addr) words '^filtering: the NAT lets in whoever has an address that was sent to, from any port' ;;
port)
    words '^filtering: the NAT lets in only answers from the very port'
    words '^so: direct paths are possible with most peers'
    doctor "$one" # one observer: what it cannot see, it does not claim
    words '^mapping: unknown: name a second bootstrap node, on another address'
    words '^filtering: the NAT lets in only answers from the very port'
    words '^so: every peer of these bootstrap nodes can be reached, through their relay at least$'
    doctor "$one" --json
    says kind unknown nat true mapping unknown lets_in_other_ports false lets_in_other_addresses null
    ok 'one observer'
    doctor '' # and none
    words '^name a bootstrap node'
    [ "$status" = 0 ] || fail "without a bootstrap node it ends with $status"
    ok 'no observer'
    ;;
sym) words '^mapping: another port for each destination \(symmetric\)' ;;
seq) words '^mapping: another port for each destination, counting up' ;;
fw6)
    words '^IPv6: works'
    words '^no NAT on the way'
    ;;
blocked)
    words '^UDP: nothing came back'
    words '^so: nobody can be reached from here; allow UDP'
    ;;
esac
ok "$kind: in words"
count_end
