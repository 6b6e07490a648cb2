#!/bin/sh
# nat_matrix_test.sh SRC BUILD [FLAG]... -- the matrix of NATs, each cell once (nat_matrix.py, which FLAG is
# for); and that its judge believes no counter that another contradicts.
. "$1/tests/lib.sh"
. "$1/tests/net/ns.sh"
. "$1/tests/net/nat_lab.sh"
ns_need "$@"
need python3
shift 2
export PYTHONDONTWRITEBYTECODE=1
matrix() { python3 "$SRC/tests/net/nat_matrix.py" --source "$SRC" --build "$B" --runs 1 "$@"; }

# judge VERDICT PATTERN PAIR STATUS PATH DIRECT-MS PACKETS EXPIRES FLAG...: a run of 2.5 s, registered after
# 0.1 s, is judged so. EXPIRES is what is left of 1000 s since the last relayed packet.
judge() {
    verdict=$1 pattern=$2 pair=$3 status=$4 path=$5 direct=$6 packets=$7 left=$8
    shift 8
    printf '[{"pair":[%s],"error":null,"runs":[{"run":1,"status":%d,"words":"","began":1000000000000,"ended":1002500000000,"slack":300,
        "packets":%d,"bytes":%d,"left":"%s","ping":{"registered_ms":100,"connected_ms":101,"first_byte_ms":203,
        "direct_ms":%s,"path":"%s","sent":5,"received":5}}]}]' "$pair" "$status" "$packets" "$packets" "$left" "$direct" "$path" >"$T/kept.json"
    said=0
    matrix --from "$T/kept.json" "$@" >"$T/judged.log" 2>&1 || said=$?
    [ "$said" = "$verdict" ] && grep -q -- "$pattern" "$T/judged.log" || fail "judged wrongly, $said: $pattern: $(cat "$T/judged.log")"
}
P='"port","port"'
judge 0 '1/1 .* 200/200 .* 99/99 .* direct' "$P" 0 direct 200 9 16m37s800ms --times
judge 1 'still relayed' "$P" 0 direct 200 9 16m38s200ms
judge 1 'too late' "$P" 0 direct 1800 9 16m39s
judge 1 'not since when' "$P" 0 direct null 9 16m37s
judge 1 'stays relayed' "$P" 0 relayed null 9 16m39s
judge 0 'relayed' "$P" 0 relayed null 9 16m39s --relayed
judge 1 'nothing was' "$P" 0 relayed null 0 - --relayed
judge 1 'not connected' "$P" 1 relayed null 9 16m39s --relayed
judge 0 'relay' '"port","sym"' 0 relayed null 9 16m39s
judge 1 'stays relayed' '"port","same"' 0 relayed null 9 16m39s
judge 1 'p50 499 ms, at most 250' "$P" 0 direct 600 9 16m38s --times
ok 'the judge: what is direct, what only says so'

lab_need
matrix --jobs 4 --retry 2 --slack 1000 "$@" >"$T/matrix.log" 2>&1 || fail "the matrix: $(cat "$T/matrix.log")"
cat "$T/matrix.log"
COUNT=$((COUNT + $(sed -n '$s/ passed, 0 failed$//p' "$T/matrix.log")))
count_end
