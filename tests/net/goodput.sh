#!/bin/sh
# goodput.sh SRC BUILD [SECONDS] -- what changes of address cost a transfer, by hand (`ninja goodput`).
#
# 50 Mbit/s, 15 ms each way, a queue of one round trip; so many bytes that the link needs SECONDS (30)
# for them, each way, undisturbed and while the client's NAT takes another port every 100 ms, another
# address every 2 s, and another address every 100 ms. Prints each goodput and its part of the undisturbed
# one; fails where a port keeps less than 90 %, an address every 2 s less than 85 %, or a transfer fails
# (RFC 9000 section 9.4: an address begins anew, a port does not).
#
# That is the bound of an upload. In a download it is the sender who has to have the new address proven
# (RFC 9000 section 8.1): for a round trip it may send three times what came, which are ACKs, so that a
# port each 100 ms leaves at most 70 of them; and what is on its way to a binding that the NAT has
# forgotten is lost, unless it keeps old ones. Those two rows are told, not judged.
. "$1/tests/lib.sh"
. "$1/tests/net/ns.sh"
ns_need "$@"
seconds=${3:-30}
ns_add left right
WRAP="nsenter -t $NS_right -n"

# measured WAY SECONDS [LINK OPTION]...: sets mbit and times
measured() {
    way=$1 size=$(($2 * 5900000))
    shift 2
    link_up left right --delay 15 --rate 50 --queue 125 "$@"
    server_start perf serve --listen 10.9.0.2:0
    status=0
    ns_run left timeout 600 "$ANTQ" perf "$SERVER_ADDR" --insecure "--$way" "$size" --json >"$T/perf.json" \
        2>"$T/client.err" || status=$?
    [ "$status" -eq 0 ] || fail "antq perf --$way ended with $status, link $*"
    server_end
    link_down
    mbit=$(json gbit_per_s "$T/perf.json" | awk '{ printf "%.2f", $1 * 1000 }')
    times=$(sed -n 's/^rebound \([0-9]*\) times/\1/p' "$T/link.log")
}

# row WAY PERCENT SECONDS NAME [LINK OPTION]...: PERCENT of $whole at least; 0: told, not judged
row() {
    way=$1 least=$2 span=$3 name=$4
    shift 4
    measured "$way" "$span" "$@"
    part=$(awk "BEGIN { printf \"%.1f\", 100 * $mbit / $whole }")
    [ "$(awk "BEGIN { print ($part >= $least) }")" = 1 ] ||
        fail "$way, $name: $mbit Mbit/s, $part % of $whole: below $least %"
    ok "$way, $name, ${times:-0} times: $mbit Mbit/s, $part % of the undisturbed"
}

for way in upload download; do
    measured "$way" "$seconds"
    whole=$mbit
    ok "$way, undisturbed: $whole Mbit/s"
    port=90
    if [ "$way" = download ]; then
        port=0
        row "$way" 0 "$seconds" 'another port every 100 ms, old ones kept' --rebind 0.1 --rebind-every 0.1 --rebind-keep
    fi
    row "$way" "$port" "$seconds" 'another port every 100 ms' --rebind 0.1 --rebind-every 0.1
    row "$way" 85 "$seconds" 'another address every 2 s' --rebind 2 --rebind-every 2 --rebind-address
    row "$way" 0 $(((seconds + 9) / 10)) 'another address every 100 ms' --rebind 0.1 --rebind-every 0.1 --rebind-address
done
count_end
