#!/bin/sh
# summary.sh OUT LIST -- adds up the results (tests/run.sh) whose names stand in the file LIST.
#
# Prints the log of each failed test and the reason of each skipped one; the last line is
# `N passed, N failed, N skipped`. The results of failed tests are removed, so that they run again;
# OUT, with that line, is written only when nothing failed. OUT.last has it in either case.
set -u
out=$1 list=$2
passed=0 failed=0 skipped=0
reasons=

# Reads the result $1 into p, f and s; one that cannot be read is a failure.
read_result() {
    p=0 f=1 s=0
    [ -r "$1" ] || return 0
    read -r p f s _ <"$1"
    case "$p$f$s" in *[!0-9]* | '') p=0 f=1 s=0 ;; esac
}

# The last name may stand without a newline after it: ninja writes the list so.
while read -r result || [ -n "$result" ]; do
    read_result "$result"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    if [ "$f" -ne 0 ]; then
        printf '\n==== %s: %s failed ====\n' "$result" "$f"
        tail -n 80 "$result.log" 2>/dev/null
        rm -f "$result"
    fi
    [ "$s" -eq 0 ] || reasons="$reasons
  skipped $s in $result: $(grep -E 'SKIP' "$result.log" 2>/dev/null | tail -n 1)"
done <"$list"
[ -z "$reasons" ] || printf '%s\n' "$reasons"

line="$passed passed, $failed failed, $skipped skipped"
printf '%s\n' "$line" >"$out.last"
rm -f "$out"
printf '\n%s\n' "$line"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] || exit 1
cp "$out.last" "$out"
