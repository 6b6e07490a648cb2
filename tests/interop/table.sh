#!/bin/sh
# table.sh OUT FILE... -- prints what the interoperability tests found: features down, peers across.
# FILE is a result of tests/run.sh; the rows stand in ../interop/NAME.tsv beside it.
set -eu
out=$1
shift
rows=
for result; do
    name=$(basename "$result" .ok)
    tsv=$(dirname "$result")/../interop/$name.tsv
    [ ! -s "$tsv" ] || rows="$rows $tsv"
done
{
    echo 'HTTP/3 features by peer (antq http get, antq http serve)'
    # shellcheck disable=SC2086
    [ -z "$rows" ] || awk -F '\t' '
        !($1 in f) { f[$1] = ++nf; feature[nf] = $1 }
        !($2 in p) { p[$2] = ++np; peer[np] = $2; if (length($2) > width[np]) width[np] = length($2) }
        { cell[$1, $2] = $3 }
        END {
            printf "| %-28s", ""
            for (j = 1; j <= np; j++) printf " | %-*s", width[j], peer[j]
            printf " |\n|%s", "------------------------------"
            for (j = 1; j <= np; j++) { printf "|"; for (k = 0; k < width[j] + 2; k++) printf "-" }
            print "|"
            for (i = 1; i <= nf; i++) {
                printf "| %-28s", feature[i]
                for (j = 1; j <= np; j++) {
                    value = (feature[i], peer[j]) in cell ? cell[feature[i], peer[j]] : "-"
                    printf " | %-*s", width[j], value
                }
                print " |"
            }
        }' $rows
} | tee "$out"
