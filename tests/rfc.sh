#!/bin/sh
# rfc.sh SRC -- sections cited in the code (`RFC 9000 §8.1`, `draft-ietf-x §2`, `PROTOCOL §3`, which is
# nat/PROTOCOL.md) but by no test.
#
# Prints them with the places that cite them, and their number. Those accepted for now stand in
# tests/rfc_open.txt, one mark a line; a mark that is neither tested nor accepted fails. To accept one
# is to write it there, where a reviewer sees it.
set -eu
export LC_ALL=C
cd "$1"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/rfc.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
mark='(RFC [0-9]{4}|draft(-[a-z0-9]+)+|PROTOCOL) §[0-9A-Z]+(\.[0-9]+)*'
cites() { find "$@" -name '*.[ch]' -exec grep -hoE "$mark" {} + 2>/dev/null | sort -u; }

code=
for d in core crypto nat reactor; do [ ! -d "$d" ] || code="$code $d"; done
# shellcheck disable=SC2086
cites $code >"$tmp/code"
cites tests >"$tmp/tests" || true
grep -E "^$mark\$" tests/rfc_open.txt | sort -u >"$tmp/accepted" || true
comm -23 "$tmp/code" "$tmp/tests" >"$tmp/open"
[ "${2-}" != --open ] || { cat "$tmp/open"; exit 0; }
comm -23 "$tmp/open" "$tmp/accepted" >"$tmp/new"
comm -23 "$tmp/accepted" "$tmp/open" >"$tmp/stale"

while read -r m; do
    # shellcheck disable=SC2086
    printf '%s: %s\n' "$m" "$(grep -rlE "$(printf %s "$m" | sed 's/\./\\./g')([^.0-9]|\.[^0-9]|\.?\$)" $code | tr '\n' ' ')"
done <"$tmp/open"
printf '%s marks in the code, %s without a test, %s of them accepted\n' "$(wc -l <"$tmp/code")" \
    "$(wc -l <"$tmp/open")" "$(($(wc -l <"$tmp/open") - $(wc -l <"$tmp/new")))"
[ ! -s "$tmp/stale" ] || { echo 'no longer open, take them out of tests/rfc_open.txt:'; cat "$tmp/stale"; }
[ ! -s "$tmp/new" ] || { echo 'cited by no test and not accepted:' >&2; cat "$tmp/new" >&2; exit 1; }
