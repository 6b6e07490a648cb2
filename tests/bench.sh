#!/bin/sh
# bench.sh SRC -- the Python of bench/: what it makes of numbers, and what it refuses to take for one.
set -u
command -v python3 >/dev/null || { echo 'SKIP: no python3'; exit 77; }
exec python3 "$1/tests/bench.py" "$1"
