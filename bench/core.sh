#!/bin/sh
# core.sh SRC BUILD -- instructions per packet of the core, against the checked-in budget.
#
# Runs bench/core, first by itself for its nanoseconds, then under callgrind, which counts instructions
# and so does not mind what else the machine does. Counted is all that `transfer` calls, both sides
# together, per data packet: but not the cipher (BoringSSL's library) and not the harness (bench/).
# More than 3 % above the budget fails; 3 % below says that the budget can be lowered. What was counted is
# recorded in BUILD/bench/core.count, as a line of the budget. Without valgrind, or in a build that cannot be
# judged, the status is 77. The budget has a
# line for each compiler, because compilers differ by more than that.
set -u
export LC_ALL=C
src=$1 build=$2
budget_file=$src/bench/core.budget
tmp=$(mktemp -d "${TMPDIR:-/tmp}/core.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

end() { # end MESSAGE STATUS
    echo "$1"
    case $2 in 0) echo '1 passed, 0 failed' ;; 77) echo "SKIP: $1" ;; *) echo '0 passed, 1 failed' ;; esac
    exit "$2"
}

[ -z "${SANITIZE-}" ] || end 'a sanitizer changes what is counted' 77
[ "${TLS_KIND-shared}" = shared ] || end 'the cipher can be told apart only in a shared BoringSSL' 77
command -v valgrind >/dev/null || end 'no valgrind' 77
"$build/bench/core" || end 'bench/core failed' 1

# Without debug information, which not every valgrind can read from every compiler. Names are enough.
${OBJCOPY:-objcopy} --strip-debug "$build/bench/core" "$tmp/core" || end 'objcopy failed' 1
${NM:-nm} "$build/bench/core.o" "$build/bench/bench.o" "$build/bench/keys.o" | awk '$2 ~ /^[tT]$/ { print $3 }' >"$tmp/harness"
case $(${CC:-cc} --version 2>/dev/null) in *clang*) compiler=clang ;; *) compiler=gcc ;; esac
valgrind --tool=callgrind --toggle-collect='transfer*' --callgrind-out-file="$tmp/out" \
    "$tmp/core" --bytes 16M >"$tmp/json" 2>"$tmp/valgrind" || { cat "$tmp/valgrind"; end 'callgrind failed' 1; }
packets=$(sed -n 's/.*"packets":\([0-9]*\).*/\1/p' "$tmp/json")
[ "${packets:-0}" -gt 10000 ] || end 'too few packets were counted' 1
callgrind_annotate --threshold=100 --auto=no "$tmp/out" >"$tmp/text" || end 'callgrind_annotate failed' 1
# Lines are `COUNT (SHARE%)  FILE:FUNCTION [OBJECT]`.
sed -nE 's/^ *([0-9,]+) \( *[0-9.]+%\) +(.*)$/\1 \2/p' "$tmp/text" | tr -d ',' | grep -v 'PROGRAM TOTALS' >"$tmp/lines"
# Both the cipher's library and the harness's functions go; the name may have a version (f@@GLIBC).
grep -vE '\[.*/(lib(crypto|ssl)|ld-linux)[^/]*\]$' "$tmp/lines" |
    awk 'NR == FNR { harness[$1]; next } { name = $2; sub(/^.*:/, "", name); if (!(name in harness)) print }' \
        "$tmp/harness" - >"$tmp/ours"
total=$(awk '{ sum += $1 } END { printf "%d", sum }' "$tmp/lines")
ours=$(awk '{ sum += $1 } END { printf "%d", sum }' "$tmp/ours")
[ "$ours" -gt 0 ] && [ "$ours" -lt "$total" ] || end 'the profile cannot be read' 1
count=$(awk -v n="$ours" -v p="$packets" 'BEGIN { printf "%.1f", n / p }')

echo "the dearest, instructions per packet:"
head -n 12 "$tmp/ours" | awk -v p="$packets" '{ n = $1; $1 = ""; printf "%8.1f %s\n", n / p, $0 }' |
    sed 's/ \[.*//; s/ [^ ]*:/ /'
echo "$compiler $count" >"$build/bench/core.count"
budget=$(sed -n "s/^$compiler \([0-9.]*\)$/\1/p" "$budget_file")
[ -n "$budget" ] || end "$count instructions per packet, and no budget for $compiler in bench/core.budget" 1
verdict=$(awk -v n="$count" -v b="$budget" 'BEGIN { print (n > b * 1.03 ? "more" : n < b * 0.97 ? "fewer" : "kept") }')
what="$count instructions per packet with $compiler, budget $budget"
case $verdict in
more) end "$what: more than 3 % above it; find out why, or raise the budget and say what it buys" 1 ;;
fewer) end "$what: lower it to $count" 0 ;;
*) end "$what: kept" 0 ;;
esac
