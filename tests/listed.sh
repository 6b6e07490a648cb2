#!/bin/sh
# listed.sh SRC -- build.ninja names every source file, and names none that is not there. A test that is
# not listed never runs; a header that is not listed is not shown to compile alone.
set -eu
export LC_ALL=C
cd "$1"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/listed.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
find core crypto nat node reactor apps tests bench \( -name '*.c' -o -name '*.h' -o -name '*.sh' \) -type f \
    2>/dev/null | sort >"$tmp/there"
# $ at a line's end continues it; each name stands as $src/NAME.
grep -oE '\$src/[A-Za-z0-9_./-]+\.(c|h|sh)' build.ninja | sed 's/^\$src\///' | sort -u >"$tmp/listed"
comm -23 "$tmp/there" "$tmp/listed" >"$tmp/missing"
comm -13 "$tmp/there" "$tmp/listed" >"$tmp/gone"
bad=0
[ ! -s "$tmp/missing" ] || { echo 'not in build.ninja:' >&2; cat "$tmp/missing" >&2; bad=1; }
[ ! -s "$tmp/gone" ] || { echo 'in build.ninja, but not there:' >&2; cat "$tmp/gone" >&2; bad=1; }
exit $bad
