#!/bin/sh
# examples_nat.sh SRC BUILD -- the example nat_scenarios.c behind real NATs: two that let the peers through
# directly, and two that do not; what it says of them is true.
. "$1/tests/lib.sh"
# shellcheck source=tests/net/ns.sh
. "$SRC/tests/net/ns.sh"
# shellcheck source=tests/net/nat_lab.sh
. "$SRC/tests/net/nat_lab.sh"
ns_need "$@"
lab_need
private=$(sed -n 's/^Libs.private: //p' "$B/antq.pc")
# shellcheck disable=SC2086
"${CC:-cc}" -std=c11 -I"$SRC/core" -I"$SRC/reactor" -I"$SRC/nat/node" "$SRC/apps/examples/nat_scenarios.c" \
    ${LDFLAGS-} "$B/libantq.a" $private -o "$T/nat_scenarios" || fail 'nat_scenarios.c does not compile'

lab_boot
lab_side a sym
lab_side b port
lab_ready
# Two bootstrap nodes, so that a NAT with another port for each shows itself.
BOOTS=
for n in 2 3; do
    "$ANTQ" id --key "$T/boot$n.key" >"$T/boot$n.id" 2>/dev/null
    # shellcheck disable=SC2154
    nsenter -t "$NS_boot" -n "$ANTQ" bootstrap --listen "192.0.2.$n:4433" --key "$T/boot$n.key" >"$T/boot$n.out" 2>&1 &
    started "$!"
    wait_for_line "$T/boot$n.out" 'listening on' "$!" 30 || fail 'a bootstrap node does not start'
    BOOTS="$BOOTS $(cat "$T/boot$n.id")@192.0.2.$n:4433"
done

scenario() { # scenario SECONDS: b waits, a calls
    rm -f "$T/waits.out"
    # shellcheck disable=SC2086,SC2154
    nsenter -t "$NS_b" -n "$T/nat_scenarios" wait 100 $BOOTS >"$T/waits.out" 2>&1 &
    waits=$!
    started "$waits"
    wait_for_line "$T/waits.out" 'registration: full' "$waits" 30 || fail 'b is not registered'
    # shellcheck disable=SC2086
    ns_run a timeout 100 "$T/nat_scenarios" "$(sed -n 's/^I am //p' "$T/waits.out")" "$1" $BOOTS >"$T/calls.out" 2>&1 ||
        fail "nat_scenarios ended with $?: $(cat "$T/calls.out")"
    kill "$waits"
    wait "$waits" || fail 'b did not end with 0'
}
scenario 5
grep -q '^path: relayed' "$T/calls.out" || fail "a direct path where there can be none: $(cat "$T/calls.out")"
grep -q '^here: our NAT gives each destination another port' "$T/calls.out" || fail 'our symmetric NAT is not told'
grep -q '^so: no direct way was found' "$T/calls.out" || fail 'it does not say that it stays relayed'
ok 'symmetric to port-restricted: relayed, and says why'

lab_nat natA port 198.51.100.2
# A busy machine may miss a search's few seconds.
for try in 1 2 3; do
    scenario 20
    if grep -q '^path: direct' "$T/calls.out"; then break; fi
    [ "$try" != 3 ] || fail "no direct path: $(cat "$T/calls.out")"
done
grep -q '^here: our NAT, if there is one, keeps one port' "$T/calls.out" || fail 'our NAT is not what it says'
ok 'port-restricted to port-restricted: direct'
count_end
