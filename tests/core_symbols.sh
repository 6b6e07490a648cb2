#!/bin/sh
# core_symbols.sh ARCHIVE... -- the core, and nat/ with it, may call nothing that waits, allocates, reads a clock or asks for
# chance. What it may call is listed here: the crypto below it, pure functions of memory, and what a compiler
# calls by itself.
set -eu
crypto='(aead|protect|schedule|tls|prim|ct|version)_[a-z0-9_]+'
memory='memcpy|memmove|memset|memcmp|memchr|bcmp|strlen|__mem(cpy|set|move)_chk'
compiler='__assert_fail|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__(a|ub|t|m)san_.*|__sanitizer_.*|__sancov.*|__gcov_.*|llvm_gcov_.*|__start___sancov.*|__stop___sancov.*|__odr_asan.*'
tmp=$(mktemp -d "${TMPDIR:-/tmp}/symbols.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
${NM:-nm} -u "$@" | sed -n 's/^ *[Uwv] //p' | sort -u >"$tmp/undefined"
${NM:-nm} --defined-only "$@" | sed -n 's/^[0-9a-f]* [A-TV-Za-z] //p' | sort -u >"$tmp/defined"
[ -s "$tmp/defined" ] || { echo "nothing is defined in $*" >&2; exit 1; }
bad=$(comm -23 "$tmp/undefined" "$tmp/defined" | grep -vxE "$crypto|$memory|$compiler" || true)
[ -z "$bad" ] || { printf 'the core calls outside:\n%s\n' "$bad" >&2; exit 1; }
