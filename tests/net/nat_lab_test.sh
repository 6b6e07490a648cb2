#!/bin/sh
# nat_lab_test.sh SRC BUILD [LAB] -- the NATs of nat_lab.sh are what they are called, as sockets see them
# (nat_probe.py). Every lab is a process of its own, and they run side by side, as the matrix's cells do.
. "$1/tests/lib.sh"
. "$1/tests/net/ns.sh"
. "$1/tests/net/nat_lab.sh"
ns_need "$@"
need python3
export PYTHONDONTWRITEBYTECODE=1

if [ $# -lt 3 ]; then
    lab_need
    for pair in 'public cone' 'addr port' 'port-open sym' 'seq cgnat' 'blocked fw6' 'same same-hairpin' same-isolated; do
        pids=
        for lab in $pair; do
            sh "$0" "$SRC" "$B" "$lab" >"$T/$lab.log" 2>&1 &
            started $!
            pids="$pids $lab=$!"
        done
        for pid in $pids; do
            lab=${pid%=*}
            wait "${pid#*=}" || { cat "$T/$lab.log"; rm "$T"/*.log; fail "the lab $lab"; }
            grep '^ok: ' "$T/$lab.log" || fail "the lab $lab checks nothing"
            COUNT=$((COUNT + $(grep -c '^ok: ' "$T/$lab.log")))
        done
    done
    count_end
fi

probe() { # probe CHECK NAME... [-- WORD...]: $said is what it says
    check=$1 names=
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        names="$names ${1%=*}=$(ns_path "${1#*=}")"
        shift
    done
    [ $# -eq 0 ] || shift
    # shellcheck disable=SC2086
    said=$(python3 "$SRC/tests/net/nat_probe.py" "$check" "$@" $names 2>"$T/probe.err") || fail "$lab, $check: $(cat "$T/probe.err")"
}
says() { [ "$said" = "$1" ] || fail "$lab, $check: it is '$said', and should be '$1'"; ok "$lab: ${2:-$said}"; }
eim='mapping endpoint-independent, port kept'
edm='mapping address and port-dependent'
apdf='filtering address and port-dependent'

lab=$3
lab_boot
case $lab in
same*)
    case $lab in
    same) lab_same port ;;
    same-hairpin) lab_same port-hairpin ;;
    same-isolated) lab_same cone-hairpin-isolated ;;
    esac
    ;;
*)
    lab_side a "$lab"
    case $lab in
    public | blocked) lab_side b public ;;
    fw6) lab_side b fw6 ;;
    *) lab_side b port ;;
    esac
    ;;
esac
lab_ready

case $lab in
public)
    probe facts a=a boot=boot
    says "$eim, filtering endpoint-independent, unasked, then the same"
    probe trip a=a b=b boot=boot -- direct 203.0.113.2
    ok "public: round trips a-boot, b-boot, a-b $said ms"
    lab_cut
    probe cut a=a b=b boot=boot
    says yes 'cut: only the way through boot is left'
    lab_heal
    probe cut a=a b=b boot=boot
    says no 'healed'
    probe relayed a=a boot=boot
    # shellcheck disable=SC2046
    set -- $(lab_relayed)
    [ "$1 $2" = '3 300' ] && [ "$3" != - ] || fail "relayed: $*"
    lab_reset
    [ "$(lab_relayed)" = '0 0 -' ] || fail 'a reset leaves counts'
    ok 'public: what is relayed is counted, and nothing else'
    ;;
cone | addr | port | port-open)
    probe facts a=a nat=natA boot=boot
    case $lab in
    cone) says "$eim, filtering endpoint-independent, unasked, then the same" ;;
    addr) says "$eim, filtering address-dependent, unasked, then the same" ;;
    port) says "$eim, $apdf, unasked, then the same" ;;
    port-open) says "$eim, $apdf, unasked, then another" ;;
    esac
    ;;
sym | seq)
    probe facts a=a nat=natA boot=boot
    case $lab in
    sym) says "$edm, port random, $apdf, unasked, then another" ;;
    seq) says "$edm, port counting, $apdf, unasked, then another" ;;
    esac
    ;;
cgnat)
    probe facts a=a nat=cgnA boot=boot
    says "$eim, $apdf, unasked, then the same"
    probe ttl a=a b=b nat=cgnA natB=natB boot=boot -- 3
    says yes 'TTL 2 dies between the NATs, TTL 3 opens both and does not reach the other side'
    ;;
blocked)
    probe blocked a=a boot=boot
    says yes 'TCP passes, UDP does not'
    ;;
fw6)
    probe facts a=a nat=natA boot=boot -- fw6
    says "$eim, $apdf, unasked, then the same"
    probe ttl a=a b=b nat=natA natB=natB boot=boot -- 2 fw6
    says yes 'a hop limit of 2 opens, and does not reach the other side'
    ;;
same)
    probe hairpin a=a b=b boot=boot
    says 'inner address yes, outer no' 'no hairpin'
    probe trip a=a b=b boot=boot -- direct 192.168.1.3
    ok "same: round trips a-boot, b-boot, a-b $said ms"
    ;;
same-hairpin)
    probe hairpin a=a b=b boot=boot
    says 'inner address yes, outer yes' 'hairpin, and from the outer address'
    ;;
same-isolated)
    probe hairpin a=a b=b boot=boot
    says 'inner address no, outer yes' 'hairpin, where inner addresses lead nowhere'
    ;;
esac
case $lab in
port | port-open)
    probe ttl a=a b=b nat=natA natB=natB boot=boot -- 2 "${lab#port-}"
    says yes 'TTL 2 opens, and does not reach the other side'
    ;;
esac
case $lab in
port)
    probe rebind a=a nat=natA boot=boot -- 1
    says yes 'what it forgets comes in no more, until it is asked for again'
    ;;
port-open | sym) # there what came unasked meanwhile has taken the port
    probe rebind a=a nat=natA boot=boot -- 0
    says yes 'after a rebinding another port'
    ;;
esac
count_end
