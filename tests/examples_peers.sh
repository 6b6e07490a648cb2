#!/bin/sh
# examples_peers.sh SRC BUILD -- the examples of peers: each under 150 lines, compiled as C and as C++ with
# what an installed program would have, and run over loopback with one bootstrap node.
. "$1/tests/lib.sh"
E=$SRC/apps/examples
mkdir "$T/include"
cp "$SRC/core/antq.h" "$SRC/reactor/antq_reactor.h" "$SRC/nat/node/antq_node.h" "$T/include"
private=$(sed -n 's/^Libs.private: //p' "$B/antq.pc")
flags="-Wall -Wextra -Werror -I$T/include"
ALL='peers nat_scenarios chat file_transfer mesh'

build() { # build COMPILER "FLAGS" SUFFIX LIBRARY...
    compiler=$1 options=$2 suffix=$3
    shift 3
    for f in $ALL; do
        # shellcheck disable=SC2086
        $compiler $options $flags -c "$E/$f.c" -o "$T/$f.o" && $compiler ${LDFLAGS-} "$T/$f.o" "$@" -o "$T/$f$suffix" ||
            fail "$f.c does not compile: $compiler $options"
    done
}
for f in $ALL; do
    lines=$(wc -l <"$E/$f.c")
    [ "$lines" -lt 150 ] || fail "$f.c has $lines lines, not under 150"
done
# shellcheck disable=SC2086
build "${CC:-cc}" -std=c11 .c "$B/libantq.a" $private
if [ -n "${CXX-}" ]; then
    # shellcheck disable=SC2086
    ln -s "$B/libantq.so" "$T/libantq.so.0"
    build "$CXX" '-std=c++11 -x c++' .cxx "$B/libantq.so" -Wl,-rpath,"$T" $private
fi
ok 'under 150 lines each, and compiled'

"$ANTQ" id --key "$T/boot.key" >"$T/boot.id" 2>/dev/null
server_start bootstrap --listen 127.0.0.1:0 --key "$T/boot.key"
BOOT=$(cat "$T/boot.id")@$SERVER_ADDR

# The one that waits: its PeerId stands in a line `I am`. FROM is what it reads.
wait_start() { # wait_start FROM PROGRAM ARG...; sets WAIT_PID and ID
    wait_from=$1
    shift
    rm -f "$T/waits.out"
    "$@" <"$wait_from" >"$T/waits.out" 2>"$T/waits.err" &
    WAIT_PID=$!
    started "$WAIT_PID"
    i=0
    until ID=$(cat "$T/waits.out" "$T/waits.err" 2>/dev/null | sed -n 's/^I am \([a-z2-7]*\).*/\1/p') && [ -n "$ID" ]; do
        i=$((i + 1))
        [ "$i" -lt 400 ] && kill -0 "$WAIT_PID" 2>/dev/null || fail "$1 does not tell its PeerId"
        sleep 0.05
    done
}
wait_end() { wait "$WAIT_PID" || fail "the one that waited ended with $?"; }

echo 'and you?' >"$T/answer"
head -c 3000000 /dev/urandom >"$T/file"
for s in .c .cxx; do
    [ -x "$T/peers$s" ] || continue
    wait_start /dev/null "$T/peers$s" "$BOOT"
    timeout 60 "$T/peers$s" "$BOOT" "$ID" >"$T/calls.out" 2>&1 || fail "peers$s ended with $?"
    wait_end
    grep -q '^hello to you$' "$T/calls.out" && grep -q '^hello, peer$' "$T/waits.out" || fail "peers$s: no hello"
    timeout 60 "$T/peers$s" "$BOOT" "$ID" >"$T/calls.out" 2>&1 && fail "peers$s: who is not there answers"
    grep -q 'failed while coordinating: not_registered; is the PeerId right' "$T/calls.out" || fail "peers$s: no reason"
    ok "peers$s"

    wait_start "$T/answer" "$T/chat$s" "$BOOT"
    printf 'good\nday' | timeout 60 "$T/chat$s" "$BOOT" "$ID" >"$T/calls.out" 2>"$T/calls.err" || fail "chat$s ended with $?"
    wait_end
    [ "$(cat "$T/calls.out")" = 'and you?' ] || fail "chat$s: the answer is missing"
    [ "$(cat "$T/waits.out")" = "$(printf 'good\nday')" ] || fail "chat$s: not all that was said arrived"
    ok "chat$s"

    wait_start /dev/null "$T/file_transfer$s" "$BOOT" "$T/file"
    rm -f "$T/got" "$T/got2"
    timeout 120 "$T/file_transfer$s" "$BOOT" "$T/got" "$ID" >"$T/calls.out" 2>&1 &
    first=$!
    timeout 120 "$T/file_transfer$s" "$BOOT" "$T/got2" "$ID" >"$T/calls2.out" 2>&1 || fail "file_transfer$s ended with $?"
    wait "$first" || fail "file_transfer$s ended with $?"
    cmp "$T/file" "$T/got" && cmp "$T/file" "$T/got2" || fail "file_transfer$s: the files differ"
    timeout 60 "$T/file_transfer$s" "$BOOT" "$T/got" "$ID" >"$T/calls.out" 2>&1 && fail "file_transfer$s overwrites"
    kill "$WAIT_PID"
    wait_end
    ok "file_transfer$s, two at once"

    wait_start /dev/null "$T/nat_scenarios$s" wait 60 "$BOOT"
    timeout 60 "$T/nat_scenarios$s" "$ID" 20 "$BOOT" >"$T/calls.out" 2>&1 || fail "nat_scenarios$s ended with $?"
    grep -q 'connected, ' "$T/calls.out" && grep -q '^path: ' "$T/calls.out" || fail "nat_scenarios$s: $(cat "$T/calls.out")"
    kill "$WAIT_PID"
    wait_end
    ok "nat_scenarios$s"

    timeout 60 "$T/mesh$s" "$BOOT" 'hear hear' >"$T/mesh.out" 2>"$T/mesh.err" || fail "mesh$s ended with $?"
    for i in 1 2 3 4; do
        grep -q "^peer $i heard after [1-4] hops: hear hear$" "$T/mesh.out" || fail "mesh$s: peer $i heard nothing"
    done
    [ "$(wc -l <"$T/mesh.out")" = 4 ] || fail "mesh$s: somebody heard it twice"
    ok "mesh$s"
done
server_end
count_end
