# ns.sh -- network namespaces for tests. To be read with `.` after tests/lib.sh.
#
#   ns_need "$@"              root, or this script again under `unshare -Urn`; else skip
#   ns_add NAME...            makes namespaces, each with its loopback up
#   ns_run NAME COMMAND...    runs a command inside (a function cannot be given)
#   ns_path NAME              its path, for link
#   link_up LEFT RIGHT OPT... starts tests/net/link between two: 10.9.0.1, fd09::1 and 10.9.0.2, fd09::2
#   link_down                 ends it; its counts stand in $T/link.log
#   link_count WAY KEY        one count of the ended link; WAY is left or right, where packets come from
#
#   ns_exec NAME COMMAND...   becomes the command: for the background, so that the process that is ended is it
#   veth NS1 NAME1 ADDR1 NS2 NAME2 ADDR2    a wire between two, up, with IPv4 addresses (/24)
#
# A namespace lives as long as a sleeping process in it does. So names cannot clash, nothing is left in
# /run/netns, and it works without root. lib.sh's cleanup ends the sleepers.
# shellcheck shell=sh disable=SC2154

ns_need() {
    need ip unshare nsenter
    [ -c /dev/net/tun ] || skip 'no /dev/net/tun'
    if unshare -n true 2>/dev/null; then return; fi
    [ -z "${NS_INSIDE-}" ] || skip 'cannot make network namespaces'
    unshare -Urn true 2>/dev/null || skip 'neither root nor user namespaces'
    [ -r /dev/net/tun ] && [ -w /dev/net/tun ] || skip '/dev/net/tun is not for this user'
    rm -rf "$T"
    trap - EXIT
    NS_INSIDE=1 exec unshare -Urn sh "$0" "$@"
}

ns_add() {
    for ns_name; do
        unshare -n sh -c 'ip link set lo up && exec sleep 86400' &
        started "$!"
        eval "NS_$ns_name=$!"
    done
    for ns_name; do
        eval "ns_pid=\$NS_$ns_name"
        ns_tries=0
        until [ "$(readlink "/proc/$ns_pid/ns/net")" != "$(readlink /proc/self/ns/net)" ] &&
            nsenter -t "$ns_pid" -n ip link show lo 2>/dev/null | grep -q 'LOOPBACK,UP'; do
            ns_tries=$((ns_tries + 1))
            [ "$ns_tries" -lt 100 ] || fail "namespace $ns_name does not come up"
            sleep 0.05
        done
    done
}

ns_path() { eval "echo /proc/\$NS_$1/ns/net"; }

ns_run() {
    eval "ns_pid=\$NS_$1"
    shift
    nsenter -t "$ns_pid" -n "$@"
}

ns_exec() {
    eval "ns_pid=\$NS_$1"
    shift
    exec nsenter -t "$ns_pid" -n "$@"
}

veth() {
    eval "veth_a=\$NS_$1 veth_b=\$NS_$4"
    ip link add "$2" netns "$veth_a" type veth peer name "$5" netns "$veth_b" 2>"$T/veth.err" ||
        skip "cannot make veth pairs: $(cat "$T/veth.err")"
    ns_run "$1" ip addr add "$3/24" dev "$2"
    ns_run "$4" ip addr add "$6/24" dev "$5"
    ns_run "$1" ip link set "$2" up
    ns_run "$4" ip link set "$5" up
}

link_up() {
    link_left=$1 link_right=$2
    shift 2
    rm -f "$T/link.log"
    "$B/tests/net/link" --left "$(ns_path "$link_left")" --right "$(ns_path "$link_right")" "$@" \
        >"$T/link.log" 2>&1 &
    LINK_PID=$!
    started "$LINK_PID"
    wait_for_line "$T/link.log" '^ready$' "$LINK_PID" || fail "the link does not come up: $(cat "$T/link.log")"
    # The kernel says `Network is unreachable` now and then in a new link's first moments.
    sleep 0.3
}

link_down() {
    kill "$LINK_PID"
    wait "$LINK_PID" || fail "the link ended with $?"
}

link_count() { sed -n "s/^$1 to .*[: ]$2 \([0-9]*\).*/\1/p" "$T/link.log"; }
