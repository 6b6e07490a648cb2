#!/bin/sh
# examples.sh SRC BUILD -- the README's echo client and server: at most 60 lines each, compiled as C and as
# C++, against the static and the shared library, with what an installed program would have (the two public
# headers and antq.pc), and talking to each other and to the program.
. "$1/tests/lib.sh"
E=$SRC/apps/examples
mkdir "$T/include"
cp "$SRC/core/antq.h" "$SRC/reactor/antq_reactor.h" "$T/include"
private=$(sed -n 's/^Libs.private: //p' "$B/antq.pc")
flags="-Wall -Wextra -Werror -I$T/include"

for f in echo_client echo_server; do
    lines=$(wc -l <"$E/$f.c")
    [ "$lines" -le 60 ] || fail "$f.c has $lines lines, more than 60"
done
ok 'at most 60 lines each'

# The flags are words; and each object is made apart, so that -x c++ does not reach the library.
build() { # build COMPILER "FLAGS" SUFFIX LIBRARY...
    compiler=$1 options=$2 suffix=$3
    shift 3
    for f in echo_client echo_server; do
        # shellcheck disable=SC2086
        $compiler $options $flags -c "$E/$f.c" -o "$T/$f.o" && $compiler ${LDFLAGS-} "$T/$f.o" "$@" -o "$T/$f$suffix" ||
            fail "$f.c does not compile: $compiler $options"
    done
}
# shellcheck disable=SC2086
build "${CC:-cc}" -std=c11 .c "$B/libantq.a" $private
if [ -n "${CXX-}" ]; then
    # shellcheck disable=SC2086
    ln -s "$B/libantq.so" "$T/libantq.so.0" # the name that programs ask for
    build "$CXX" '-std=c++11 -x c++' .cxx "$B/libantq.so" -Wl,-rpath,"$T" $private
elif [ "${CI-}" = true ]; then
    fail 'no C++ compiler, though CI promised one'
else
    echo 'no C++ compiler here; the examples are compiled as C only'
fi

serve() { # serve SUFFIX: sets ADDR and PIN
    rm -f "$T/server.out"
    "$T/echo_server$1" 127.0.0.1:0 >"$T/server.out" 2>"$T/server.err" &
    SERVER_PID=$!
    started "$SERVER_PID"
    wait_for_line "$T/server.out" '^pin ' "$SERVER_PID" || fail "echo_server$1 does not listen"
    ADDR=$(sed -n 's/^listening on //p' "$T/server.out") PIN=$(sed -n 's/^pin //p' "$T/server.out")
}
for suffix in .c .cxx; do
    [ -x "$T/echo_client$suffix" ] || continue
    serve $suffix
    said=$(timeout 20 "$T/echo_client$suffix" "$ADDR" "$PIN" 2>"$T/client.err") || fail "echo_client$suffix ended with $?"
    [ "$said" = 'hello, antq' ] || fail "echo_client$suffix printed '$said'"
    wrong=$(printf %s "$PIN" | tr 0-9a-f 1-9a-f0)
    timeout 20 "$T/echo_client$suffix" "$ADDR" "$wrong" >"$T/client.out" 2>&1 && fail 'a wrong pin is accepted'
    timeout 60 "$ANTQ" echo "$ADDR" --insecure --count 3 >"$T/client.out" 2>&1 || fail "antq echo ended with $?"
    server_end
    ok "echo_client$suffix and echo_server$suffix"
done
count_end
