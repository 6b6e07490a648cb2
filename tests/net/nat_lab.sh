# nat_lab.sh -- peers behind real NATs: one network namespace per host and per NAT. To be read with `.`
# after tests/lib.sh and tests/net/ns.sh.
#
#     a ~~~ natA --- [cgnA] --- hub --- [cgnB] --- natB ~~~ b        ~~~  link.c, 12.5 ms each way
#                                ~                                   ---  veth, no delay
#                               boot
#
# Any two hosts, the bootstrap node's (boot) among them, are 50 ms of round trip apart. The hub and the
# NATs are routers, not bridges: each takes one from the TTL, so that what a sends with TTL 2 opens natA
# and dies in the hub. Names live in this shell and in nothing else: any number of labs may be up at once.
#
#   lab_need                    skip, unless the kernel and nft know what is used here
#   lab_boot                    hub and boot: 192.0.2.2, 192.0.2.3, [2001:db8:b::2]; to be called first
#   lab_side a|b KIND           a host and what it is behind; outside it is 198.51.100.2 or 203.0.113.2
#   lab_same KIND               a and b behind one NAT, natA
#   LAB_LINK='--loss 1'         more options of link.c's, for the links that are made from then on
#   lab_ready                   to be called last
#   lab_reset                   every NAT forgets everything, and boot's counts begin anew
#   lab_rebind NAT              it forgets its connections, as one that restarts
#   lab_cut / lab_heal          nothing passes between the two sides, but for what boot relays; it does again
#   lab_came NAT                so many UDP packets have come to it from outside
#   lab_relayed                 `PACKETS BYTES EXPIRES`: relayed datagrams that came to boot; the last of
#                               them 1000 s minus EXPIRES (nft's text) ago, EXPIRES being - for none
#
# KIND, in the words of RFC 4787 and with the letters of the matrix:
#   public      no NAT
#   cone     E  endpoint-independent mapping and filtering
#   addr     A  endpoint-independent mapping, address-dependent filtering
#   port     P  endpoint-independent mapping, address and port-dependent filtering
#   sym      S  address and port-dependent mapping and filtering, random ports
#   seq      Q  the same, but ports count up
#   blocked  B  as port, but no UDP passes
#   cgnat       two of `port` in a row, 100.64.0.0/10 between them
#   fw6         IPv6: a firewall that lets in only answers
# followed by any of
#   -open       its own INPUT takes what was not asked for, which makes an entry in its connection table
#               that a later mapping must avoid; without, that is dropped
#   -hairpin    a packet from inside to the outer address of a host inside comes back in (cone, addr, port)
#   -isolated   hosts inside cannot reach each other's inner addresses
# cone, addr and port keep the port, as Linux does unless another connection has it.
# shellcheck shell=sh disable=SC2154

LAB_NATS=

lab_need() {
    need ip nft conntrack nsenter
    ns_add probe
    { lab_rules cone-hairpin 192.0.2.1 && lab_rules addr 192.0.2.1 && lab_rules sym 192.0.2.1 && lab_rules seq 192.0.2.1; } |
        ns_run probe nft -f - 2>"$T/lab.err" || skip "no nftables NAT here: $(cat "$T/lab.err")"
    ns_run probe conntrack -F 2>"$T/lab.err" || skip "conntrack does not work here: $(cat "$T/lab.err")"
}

# ---- namespaces, wires ----

lab_ip() { ns_run "$1" ip -batch - || fail "ip in $1"; }

lab_router() { # lab_router NS...: forwards, and asks no packet where it came from
    ns_add "$@"
    for lab_ns; do
        ns_run "$lab_ns" sh -c 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >"$f"; done
            echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
    done
}

lab_veth() { # lab_veth NS1 NAME1 ADDR1 NS2 NAME2 ADDR2
    eval "lab_1=\$NS_$1 lab_2=\$NS_$4"
    ip link add "$2" netns "$lab_1" type veth peer name "$5" netns "$lab_2" 2>"$T/lab.err" ||
        skip "cannot make veth pairs: $(cat "$T/lab.err")"
    printf 'addr add %s dev %s nodad\nlink set %s up\n' "$3" "$2" "$2" | sed '/\./s/ nodad//' | lab_ip "$1"
    printf 'addr add %s dev %s nodad\nlink set %s up\n' "$6" "$5" "$5" | sed '/\./s/ nodad//' | lab_ip "$4"
}

# A link of 12.5 ms each way between a router and a host; the first ADDR gives the host's family.
lab_link() { # lab_link ROUTER HOST ADDR...
    lab_router=$1 lab_host=$2
    shift 2
    # shellcheck disable=SC2086
    "$B/tests/net/link" --left "$(ns_path "$lab_router")" --right "$(ns_path "$lab_host")" --delay 12.5 \
        ${LAB_LINK-} >"$T/link_$lab_host.log" 2>&1 &
    lab_pid=$!
    started "$lab_pid"
    wait_for_line "$T/link_$lab_host.log" '^ready$' "$lab_pid" || fail "the link of $lab_host does not come up: $(cat "$T/link_$lab_host.log")"
    eval "lab_n=\${LAB_LINKS_$lab_router:-0}"
    eval "LAB_LINKS_$lab_router=$((lab_n + 1))"
    # In place of link's own addresses: this link is one of several at the router.
    lab_here='addr flush dev link0' lab_there="addr flush dev link$lab_n"
    for lab_addr; do
        lab_here="$lab_here
addr add $lab_addr dev link0"
        lab_there="$lab_there
route add $lab_addr dev link$lab_n"
    done
    echo "$lab_there" | lab_ip "$lab_router"
    echo "$lab_here
route add 0.0.0.0/0 dev link0
route add ::/0 dev link0" | lab_ip "$lab_host"
}

# ---- NATs ----

lab_has() { case $1- in *"-$2-"*) ;; *) return 1 ;; esac } # lab_has KIND WORD

# The rules of a NAT, for nft. PUBLIC is its outer address, on the device `out`. A line that a kind does
# not have is commented out.
lab_rules() { # lab_rules KIND PUBLIC
    lab_map='#' lab_eif='#' lab_adf='#' lab_drop='' lab_block='#' lab_hair='#' lab_alone='#'
    lab_snat="snat to $2"
    case $1 in
    cone*) lab_map='' lab_eif='' ;;
    addr*) lab_map='' lab_adf='' ;;
    sym*) lab_snat='masquerade fully-random' ;;
    seq*) lab_snat="snat to $2 : numgen inc mod 512 map { $(awk 'BEGIN { for (i = 0; i < 512; i++) printf "%d : %d, ", i, 20000 + i }') }" ;;
    blocked*) lab_block='' ;;
    esac
    if lab_has "$1" open; then lab_drop='#'; fi
    if lab_has "$1" hairpin; then lab_map='' lab_hair=''; fi
    if lab_has "$1" isolated; then lab_alone=''; fi
    cat <<NFT
flush ruleset
table ip nat {
  map hosts { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 10m; }
  set contacted { type ipv4_addr . inet_service . ipv4_addr; flags dynamic,timeout; timeout 10m; }
  counter came { }
  chain came { type filter hook prerouting priority raw; iifname "out" meta l4proto udp counter name "came"; }
  chain enter {
    type nat hook prerouting priority dstnat;
    $lab_eif iifname "out" meta l4proto udp dnat ip to udp dport map @hosts
    $lab_adf iifname "out" meta l4proto udp dnat ip to udp dport map @hosts
    $lab_hair iifname != "out" ip daddr $2 meta l4proto udp dnat ip to udp dport map @hosts
  }
  chain leave {
    type nat hook postrouting priority srcnat;
    $lab_map oifname "out" meta l4proto udp update @hosts { udp sport : ip saddr . udp sport }
    oifname "out" meta l4proto udp $lab_snat
    oifname "out" snat to $2
    $lab_hair oifname != "out" ip saddr 192.168.1.0/24 ct status dnat snat to $2
  }
  chain through {
    type filter hook forward priority filter;
    $lab_block meta l4proto udp drop
    $lab_adf oifname "out" meta l4proto udp update @contacted { ip saddr . udp sport . ip daddr }
    ct state established,related accept
    $lab_eif iifname "out" ct status dnat accept
    $lab_adf iifname "out" ct status dnat ip daddr . udp dport . ip saddr @contacted accept
    iifname "out" drop
    $lab_alone oifname != "out" ct status dnat accept
    $lab_alone oifname != "out" drop
  }
  chain inward {
    type filter hook input priority filter;
    $lab_drop iifname "out" ct state new drop
  }
}
NFT
}

lab_firewall() { # IPv6: lets in only answers, rewrites nothing
    cat <<'NFT'
flush ruleset
table ip6 nat {
  counter came { }
  chain came { type filter hook prerouting priority raw; iifname "out" meta l4proto udp counter name "came"; }
  chain through {
    type filter hook forward priority filter;
    ct state established,related accept
    iifname "out" drop
  }
  chain inward { type filter hook input priority filter; iifname "out" meta l4proto udp ct state new drop; }
}
NFT
}

lab_counts() { # boot's; 0x30 is the first byte of what is relayed (nat/datagram.h)
    cat <<'NFT'
flush ruleset
table inet boot {
  counter relayed { }
  set last { type inet_service; flags dynamic,timeout; timeout 1000s; }
  chain came {
    type filter hook input priority filter;
    meta l4proto udp @th,64,8 0x30 counter name "relayed" update @last { udp dport }
  }
}
NFT
}

lab_load() { ns_run "$1" nft -f - || fail "nft takes no rules in $1"; }

lab_nat() { # lab_nat NS KIND PUBLIC: to be kept for lab_reset, too
    LAB_NATS="$LAB_NATS $1"
    eval "LAB_KIND_$1=\$2 LAB_PUBLIC_$1=\$3"
    lab_forget "$1"
}

lab_forget() {
    eval "lab_kind=\$LAB_KIND_$1 lab_public=\$LAB_PUBLIC_$1"
    case $lab_kind in
    fw6) lab_firewall | lab_load "$1" ;;
    *) lab_rules "$lab_kind" "$lab_public" | lab_load "$1" ;;
    esac
    lab_rebind "$1"
}

lab_rebind() { ns_run "$1" conntrack -F 2>"$T/lab.err" || fail "conntrack -F: $(cat "$T/lab.err")"; }

lab_cut() {
    lab_load hub <<'NFT'
table inet cut {
  chain through {
    type filter hook forward priority filter;
    iifname != "link0" oifname != "link0" drop
  }
}
NFT
}
lab_heal() { ns_run hub nft delete table inet cut; }

lab_reset() {
    for lab_each in $LAB_NATS; do lab_forget "$lab_each"; done
    lab_counts | lab_load boot
}

lab_came() { ns_run "$1" nft list counters | sed -n 's/.*packets \([0-9]*\) .*/\1/p'; }

lab_relayed() {
    ns_run boot nft list ruleset >"$T/boot.nft"
    lab_packets=$(sed -n 's/^\t*packets \([0-9]*\) bytes \([0-9]*\)$/\1 \2/p' "$T/boot.nft")
    lab_last=$(sed -n 's/.*elements = .*expires \([0-9a-z]*\) .*/\1/p' "$T/boot.nft")
    echo "$lab_packets ${lab_last:--}"
}

# ---- the parts of a lab ----

lab_boot() {
    lab_router hub
    ns_add boot
    lab_link hub boot 192.0.2.2 192.0.2.3 2001:db8:b::2
    lab_counts | lab_load boot
}

# A NAT at the hub or, for the second of two, at the NAT before it.
lab_wan() { # lab_wan NS KIND UPSTREAM NET
    lab_router "$1"
    case $2 in
    fw6)
        lab_veth "$3" "to_$1" "$4::1/64" "$1" out "$4::ff/64"
        echo "route add ::/0 via $4::1" | lab_ip "$1"
        ;;
    *)
        lab_veth "$3" "to_$1" "$4.1/24" "$1" out "$4.2/24"
        echo "route add default via $4.1" | lab_ip "$1"
        ;;
    esac
    lab_nat "$1" "$2" "$4.2"
}

lab_side() { # lab_side a|b KIND
    case $1 in
    a) lab_net=198.51.100 lab_lan=192.168.1.2 lab_net6=2001:db8:a lab_out=natA lab_cgn=cgnA ;;
    b) lab_net=203.0.113 lab_lan=192.168.1.3 lab_net6=2001:db8:c lab_out=natB lab_cgn=cgnB ;;
    esac
    ns_add "$1"
    case $2 in
    public) lab_link hub "$1" "$lab_net.2" ;;
    cgnat*)
        lab_wan "$lab_cgn" "port${2#cgnat}" hub "$lab_net"
        lab_wan "$lab_out" "port${2#cgnat}" "$lab_cgn" 100.64.0
        lab_link "$lab_out" "$1" "$lab_lan"
        ;;
    fw6)
        lab_wan "$lab_out" fw6 hub "$lab_net6"
        echo "route add $lab_net6:1::/64 via $lab_net6::ff" | lab_ip hub
        lab_link "$lab_out" "$1" "$lab_net6:1::2"
        ;;
    *)
        lab_wan "$lab_out" "$2" hub "$lab_net"
        lab_link "$lab_out" "$1" "$lab_lan"
        ;;
    esac
}

lab_same() { # lab_same KIND
    lab_side a "$1"
    ns_add b
    lab_link natA b 192.168.1.3
}

# The kernel says `Network is unreachable` now and then in a new link's first moments.
lab_ready() { sleep 0.3; }
