#!/bin/sh
# rfc.sh SRC -- sections cited in the code (`RFC 9000 §8.1`, `draft-ietf-x §2`, `PROTOCOL §3`, which is
# nat/PROTOCOL.md) but by no test; and every MUST of the four RFCs.
#
# Prints them with the places that cite them, and their number. Those accepted for now stand in
# tests/rfc_open.txt, one mark a line; a mark that is neither tested nor accepted fails. To accept one
# is to write it there, where a reviewer sees it. `RFC 9000 §8.1, §8.2` are two marks.
#
# tests/rfc_musts.txt lists the sentences with MUST and MUST NOT: each names a test that there is, whose
# section is marked in the code and in the test's file, or gives a reason.
set -eu
export LC_ALL=C
cd "$1"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/rfc.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
mark='(RFC [0-9]{4}|draft(-[a-z0-9]+)+|PROTOCOL) §[0-9A-Z]+(\.[0-9]+)*'
# cites DIRECTORY...: lines `mark file`. Comments are joined and lists taken apart.
cites() {
    find "$@" -name '*.[ch]' -exec awk '
        function flush(   m, head, rest) {
            gsub(/[ \t]*\n[ \t]*(\*[ \t]*)?/, " ", text)
            while (match(text, /(RFC [0-9][0-9][0-9][0-9]|draft(-[a-z0-9]+)+|PROTOCOL) §[0-9A-Z]+(\.[0-9]+)*((,| and| to)( and)? §[0-9A-Z]+(\.[0-9]+)*)*/)) {
                m = substr(text, RSTART, RLENGTH)
                text = substr(text, RSTART + RLENGTH)
                head = substr(m, 1, index(m, "§") - 1)
                while ((rest = index(m, "§")) > 0) {
                    m = substr(m, rest + length("§"))
                    match(m, /^[0-9A-Z]+(\.[0-9]+)*/)
                    print head "§" substr(m, 1, RLENGTH) " " file
                }
            }
            text = ""
        }
        FNR == 1 { file = FILENAME; inside = 0 }
        {
            text = text $0 "\n"
            if ($0 ~ /\/\*/) inside = 1
            if ($0 ~ /\*\//) inside = 0
            if (!inside) flush()
        }' {} + 2>/dev/null | sort -u
}

code=
for d in core crypto nat reactor; do [ ! -d "$d" ] || code="$code $d"; done
# shellcheck disable=SC2086
cites $code >"$tmp/code.places"
cites tests >"$tmp/tests.places"
sed 's/ [^ ]*$//' "$tmp/code.places" | sort -u >"$tmp/code"
sed 's/ [^ ]*$//' "$tmp/tests.places" | sort -u >"$tmp/tests"
grep -E "^$mark\$" tests/rfc_open.txt | sort -u >"$tmp/accepted" || true
comm -23 "$tmp/code" "$tmp/tests" >"$tmp/open"
[ "${2-}" != --open ] || { cat "$tmp/open"; exit 0; }
comm -23 "$tmp/open" "$tmp/accepted" >"$tmp/new"
comm -23 "$tmp/accepted" "$tmp/open" >"$tmp/stale"

while read -r m; do
    printf '%s: %s\n' "$m" "$(grep -F "$m " "$tmp/code.places" | sed 's/.* //' | tr '\n' ' ')"
done <"$tmp/open"
printf '%s marks in the code, %s without a test, %s of them accepted\n' "$(wc -l <"$tmp/code")" \
    "$(wc -l <"$tmp/open")" "$(($(wc -l <"$tmp/open") - $(wc -l <"$tmp/new")))"
[ ! -s "$tmp/stale" ] || { echo 'no longer open, take them out of tests/rfc_open.txt:'; cat "$tmp/stale"; }

# ---- the MUSTs. The file of a row's test: rows of hostile/frames are in sim/attacks.c, invariants in sim/check.c.
sed -nE 's/^Test\((\w+), (\w+).*/\1\/\2/p' tests/*.c | sort -u >"$tmp/there"
sed -nE 's/^EACH\((\w+)\).*/protect\/\1/p' tests/protect.c >>"$tmp/there" 2>/dev/null || true
[ -r tests/rfc_musts.txt ] || : >"$tmp/there"
: >"$tmp/bad"
[ ! -r tests/rfc_musts.txt ] || awk -F ' *[|] *' -v bad="$tmp/bad" '
    FILENAME ~ /there$/ { there[$0]; next }
    FILENAME ~ /code.places$/ { sub(/ [^ ]*$/, ""); code[$0]; next }
    FILENAME ~ /tests.places$/ { marked[$0]; next }
    /^#/ { next }
    { all++; mark = $1; sub(/ [0-9]+$/, "", mark) }
    $2 ~ /^- ./ { reasons++; next }
    {
        shown++
        file = $2; sub(/[/].*/, "", file); file = "tests/" file ".c"
        other = $2 == "hostile/frames" ? "tests/sim/attacks.c" : $2 == "sim/scenarios" ? "tests/sim/check.c" : file
        if (!($2 in there) && $2 != "sim/scenarios") print $1 ": there is no test " $2 >bad
        if (!(mark in code)) print $1 ": not marked in the code" >bad
        if (!((mark " " file) in marked) && !((mark " " other) in marked)) print $1 ": not marked in " other >bad
    }
    END { printf "%d sentences with MUST or MUST NOT: %d with code and test, %d with a reason\n", all, shown, reasons }
' "$tmp/there" "$tmp/code.places" "$tmp/tests.places" tests/rfc_musts.txt
[ ! -s "$tmp/new" ] || { echo 'cited by no test and not accepted:' >&2; cat "$tmp/new" >&2; }
cat "$tmp/bad" >&2
[ ! -s "$tmp/new" ] && [ ! -s "$tmp/bad" ]
