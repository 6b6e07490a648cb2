#!/bin/sh
# exports.sh SRC BUILD -- libantq.a and libantq.so show the public names (aq_*) and nothing else, and every
# function that the public headers declare is there.
set -eu
export LC_ALL=C
src=$1 build=$2
tmp=$(mktemp -d "${TMPDIR:-/tmp}/exports.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
# What a linker or an instrumenting compiler adds.
added='_init|_fini|_edata|_end|__bss_start|(___?asan|__odr_asan|__asan|__ubsan|__tsan|__sancov|__sanitizer|__start_|__stop_|__gcov|__llvm|llvm_gcov|__covrec|asan\.|tsan\.|sancov\.)[A-Za-z0-9_.]*|DW\.ref\..*'
bad=0
check() { # check WHAT NM-OPTIONS FILE
    what=$1
    shift
    ${NM:-nm} "$@" | sed -n 's/^[0-9a-f]* [A-TV-Z] //p' | sed 's/@.*//' | sort -u >"$tmp/names"
    grep -vxE "$added" "$tmp/names" | grep -v '^aq_' >"$tmp/leaked" || true
    [ ! -s "$tmp/leaked" ] || { echo "$what shows more than aq_*:" >&2; cat "$tmp/leaked" >&2; bad=1; }
    comm -23 "$tmp/declared" "$tmp/names" >"$tmp/lacking"
    [ ! -s "$tmp/lacking" ] || { echo "declared, but not in $what:" >&2; cat "$tmp/lacking" >&2; bad=1; }
}
# A declaration begins with AQ_API; its name is the last word before the first parenthesis after it.
cat "$src/core/antq.h" "$src/reactor/antq_reactor.h" "$src"/nat/node/antq_*.h 2>/dev/null | sed -n 's/^AQ_API [^(]*[ *]\(aq_[a-z0-9_]*\)(.*/\1/p' |
    sort -u >"$tmp/declared"
[ -s "$tmp/declared" ] || { echo 'no AQ_API declaration found' >&2; exit 1; }
check libantq.a -g --defined-only "$build/libantq.a"
check libantq.so -D --defined-only "$build/libantq.so"
exit $bad
