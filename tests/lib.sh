# lib.sh -- what the test scripts share. To be read with `.`; every script is called as
#
#   sh tests/X.sh SRC BUILD
#
# and ends with status 0, or 77 after `SKIP: reason`, or anything else. Gives:
#
#   $SRC $B $T $ANTQ          source, build and a private temporary folder; the program
#   fail TEXT                 ends the test, failed
#   skip TEXT                 ends it, skipped; but under CI=true a machine that lacks something is a
#                             failure, because there it was promised
#   not_here TEXT             ends it, skipped, also under CI: has no meaning in this build
#   ok TEXT / count_end       counts a check that passed; prints `N passed, 0 failed` and ends
#   need PROGRAM...           skip, unless they are there
#   started PID...            to be ended by the cleanup, if they still run
#   wait_for_line FILE PATTERN PID [SECONDS]
#   server_start ARG...       starts `antq ARG...` through $WRAP, waits for its line `listening on`;
#                             sets SERVER_PID and SERVER_ADDR; its output stands in $T/server.out, .err
#   server_end                SIGTERM, and it must end with 0
#   json KEY FILE             a number or string of a flat key in a JSON object
#   sizes in sanitized builds are smaller: scale BYTES-IN-MIB
#
# shellcheck shell=sh disable=SC2034
set -eu
SRC=$(cd "$1" && pwd -P)
B=$(cd "$2" && pwd -P)
ANTQ=$B/antq
T=$(mktemp -d "${TMPDIR:-/tmp}/antq-test.XXXXXX")
PIDS=
COUNT=0
WRAP=

cleanup() {
    status=$?
    trap - EXIT
    # shellcheck disable=SC2086
    [ -z "$PIDS" ] || kill $PIDS 2>/dev/null || true
    sleep 0.1
    # shellcheck disable=SC2086
    [ -z "$PIDS" ] || kill -KILL $PIDS 2>/dev/null || true
    if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
        for f in "$T"/*.err "$T"/*.out "$T"/*.log; do
            [ -s "$f" ] && { echo "---- ${f##*/}"; tail -c 2000 "$f" | tr -cd '\11\12\15\40-\176'; } || true
        done
        [ "$COUNT" -eq 0 ] || echo "$COUNT passed, 1 failed"
    fi
    rm -rf "$T"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

fail() { echo "FAIL: $*"; exit 1; }
not_here() { echo "SKIP: $*"; exit 77; }
skip() {
    [ "${CI-}" != true ] || fail "cannot run, though CI promised: $*"
    not_here "$*"
}
ok() { COUNT=$((COUNT + 1)); echo "ok: $*"; }
count_end() { [ "$COUNT" -gt 0 ] || fail 'nothing was checked'; echo "$COUNT passed, 0 failed"; exit 0; }

need() {
    for program; do
        command -v "$program" >/dev/null 2>&1 || skip "no $program here"
    done
}

started() { PIDS="$PIDS $*"; }

# True when the file has a line that matches, within the time and while the process lives.
wait_for_line() {
    tries=$((${4:-10} * 20))
    until grep -qE -- "$2" "$1" 2>/dev/null; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] && kill -0 "$3" 2>/dev/null || { grep -qE -- "$2" "$1" 2>/dev/null; return; }
        sleep 0.05
    done
}

# $WRAP is a command that runs another (ns_run's, strace), split into words.
server_start() {
    rm -f "$T/server.out" # a former server's line must not be taken for this one's
    # shellcheck disable=SC2086
    $WRAP "$ANTQ" "$@" >"$T/server.out" 2>"$T/server.err" &
    SERVER_PID=$!
    started "$SERVER_PID"
    wait_for_line "$T/server.out" '^listening on ' "$SERVER_PID" || fail "no 'listening on' from antq $*"
    SERVER_ADDR=$(sed -n 's/^listening on //p' "$T/server.out" | head -n 1)
}

server_end() {
    kill -TERM "$SERVER_PID"
    server_status=0
    wait "$SERVER_PID" || server_status=$?
    [ "$server_status" -eq 0 ] || fail "the server ended with $server_status after SIGTERM"
}

json() { tr -d '\n' <"$2" | sed -nE "s/.*\"$1\" *: *\"?([^,\"}]*)\"?.*/\1/p"; }

# Sanitized programs are some ten times slower.
scale() { if [ -n "${SANITIZE-}" ]; then echo $(($1 / 8 ? $1 / 8 : 1)); else echo "$1"; fi; }
