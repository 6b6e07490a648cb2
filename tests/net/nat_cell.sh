#!/bin/sh
# nat_cell.sh SRC BUILD A B RUNS [PING-FLAG]... -- one cell of the matrix (nat_matrix.py): peers behind two
# NATs of nat_lab.sh, `antq ping` at A dials `antq peer` at B. B may be the word `same`: both behind one A.
#
# Each run has a bootstrap node, peers and NATs that know nothing yet, and prints one line of JSON: what
# the ping said (null: nothing), its exit status and last words, when it began and ended (Unix time, ns),
# and the relayed datagrams that boot's kernel counted: packets, bytes, and how long before the ping's
# end the last one came (ms; null: none came).
. "$1/tests/lib.sh"
. "$1/tests/net/ns.sh"
. "$1/tests/net/nat_lab.sh"
ns_need "$@"
near=$3 far=$4 runs=$5
shift 5

lab_boot
if [ "$far" = same ]; then
    lab_same "$near"
else
    lab_side a "$near"
    lab_side b "$far"
fi
lab_ready
case $near in
fw6) listen='[2001:db8:b::2]:4433' ;;
*) listen=192.0.2.2:4433 ;;
esac
for who in a b boot; do "$ANTQ" id --key "$T/$who.key" >"$T/$who.id" 2>/dev/null || fail 'antq id'; done
name=$(cat "$T/boot.id")@$listen

start() { # start NS OUT PATTERN ARG...: antq in a namespace, until it says so; sets START_PID
    eval "ns_pid=\$NS_$1"
    start_file=$T/$2 start_for=$3
    shift 3
    rm -f "$start_file"
    # shellcheck disable=SC2154
    nsenter -t "$ns_pid" -n "$ANTQ" "$@" >"$start_file" 2>&1 &
    START_PID=$!
    started "$START_PID"
    wait_for_line "$start_file" "$start_for" "$START_PID" 60 || fail "antq $1: $(cat "$start_file")"
}
end() {
    kill "$1" 2>/dev/null || true
    wait "$1" || true
}
quoted() { tr '\n' ' ' | tr -cd '\40-\176' | sed 's/[\\"]/./g'; }

run=0
while [ "$run" -lt "$runs" ]; do
    run=$((run + 1))
    lab_reset
    start boot boot.out 'listening on' bootstrap --listen "$listen" --key "$T/boot.key"
    boot=$START_PID
    start b b.out 'registration: full' peer --bootstrap "$name" --key "$T/b.key"
    b=$START_PID
    status=0
    began=$(date +%s%N)
    ns_run a timeout 60 "$ANTQ" ping "$(cat "$T/b.id")" --bootstrap "$name" --key "$T/a.key" --json "$@" \
        >"$T/ping.json" 2>"$T/ping.txt" || status=$?
    # shellcheck disable=SC2046
    set -- $(lab_relayed) "$@"
    ended=$(date +%s%N)
    end "$b"
    end "$boot"
    said=$(tail -n 1 "$T/ping.json")
    printf '{"run":%d,"status":%d,"ping":%s,"words":"%s","began":%s,"ended":%s,"packets":%s,"bytes":%s,"left":"%s"}\n' \
        "$run" "$status" "${said:-null}" "$(tail -n 1 "$T/ping.txt" | quoted)" "$began" "$ended" "$1" "$2" "$3"
    shift 3
done
