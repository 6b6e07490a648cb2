#!/bin/sh
# mutants.sh SRC -- each mutant of tests/mutation/ still finds its place in the source. `ninja mutation` tries them.
set -eu
command -v python3 >/dev/null || { echo 'SKIP: no python3'; exit 77; }
python3 "$1/tests/mutation/main.py" "$1" "$1" --applies
