#!/bin/sh
# run.sh RESULT COMMAND... -- runs one test and writes what came of it.
#
# RESULT becomes one line, `passed failed skipped seconds`, and RESULT.log all the command said.
# run.sh itself always succeeds, so that one failing test does not keep the others from running;
# tests/summary.sh reads the results and tells. The counts come from, in this order:
#   - Criterion's synthesis, with its [SKIP] lines;
#   - a last line `N passed, N failed[, N skipped]`, for programs that count for themselves;
#   - the exit status: 0 passed, 77 skipped, everything else failed.
# A status that contradicts the counts is a failure, and so is a test program without a test.
# LIMIT is the time allowed in seconds.
set -u
out=$1
shift
log=$out.log
mkdir -p "$(dirname "$out")"
start=$(date +%s)

timeout -k 10 "${LIMIT:-900}" "$@" >"$log" 2>&1 </dev/null &
pid=$!
trap 'kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; exit 130' HUP INT TERM
wait "$pid"
status=$?
[ "$status" -ne 124 ] || echo "run.sh: stopped after ${LIMIT:-900} seconds" >>"$log"

plain=$(sed 's/\x1b\[[0-9;]*m//g' "$log")
synthesis=$(printf '%s\n' "$plain" |
    sed -n 's/.*Synthesis: Tested: *\([0-9]*\) *| Passing: *\([0-9]*\) *|.*/\1 \2/p' | tail -n 1)
counted=$(printf '%s\n' "$plain" | tail -n 1 |
    sed -nE 's/^([0-9]+) passed, ([0-9]+) failed(, ([0-9]+) skipped)?$/\1 \2 \4/p')
passed=0 failed=0 skipped=0
if [ -n "$synthesis" ]; then
    passed=${synthesis#* }
    failed=$((${synthesis% *} - passed))
    skipped=$(printf '%s\n' "$plain" | grep -c '^\[SKIP\]')
elif [ -n "$counted" ]; then
    passed=${counted%% *} counted=${counted#* }
    failed=${counted%% *} skipped=${counted#* }
    skipped=${skipped:-0}
elif [ "$status" -eq 0 ]; then passed=1
elif [ "$status" -eq 77 ]; then skipped=1
else failed=1
fi
if [ "$status" -ne 0 ] && [ "$status" -ne 77 ] && [ "$failed" -eq 0 ]; then
    echo "run.sh: exit status $status, though no test failed" >>"$log"
    failed=1
fi
if [ $((passed + failed + skipped)) -eq 0 ]; then
    echo "run.sh: no test ran" >>"$log"
    failed=1
fi
printf '%s %s %s %s\n' "$passed" "$failed" "$skipped" "$(($(date +%s) - start))" >"$out.tmp" &&
    mv "$out.tmp" "$out"
