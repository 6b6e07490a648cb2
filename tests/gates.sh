#!/bin/sh
# gates.sh SRC -- each gate must be able to fail: it is shown something bad, and must say so.
set -u
src=$(cd "$1" && pwd -P)
t=$src/tests
tmp=$(mktemp -d "${TMPDIR:-/tmp}/gates.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
cc=${CC:-cc}

good() { # good WHAT COMMAND...: must succeed
    what=$1; shift
    if "$@" >"$tmp/log" 2>&1; then passed=$((passed + 1))
    else failed=$((failed + 1)); echo "refused, but good: $what"; cat "$tmp/log"; fi
}
bad() { # bad WHAT PATTERN COMMAND...: must fail and say PATTERN
    what=$1 pattern=$2; shift 2
    if "$@" >"$tmp/log" 2>&1; then failed=$((failed + 1)); echo "accepted, but bad: $what"
    elif grep -q -- "$pattern" "$tmp/log"; then passed=$((passed + 1))
    else failed=$((failed + 1)); echo "failed for another reason: $what"; cat "$tmp/log"; fi
}
archive() { # archive NAME <<code
    cat >"$tmp/$1.c"
    $cc -c -O1 -o "$tmp/$1.o" "$tmp/$1.c" && ar rcs "$tmp/$1.a" "$tmp/$1.o"
}
result() { # result COMMAND...: what run.sh makes of it, without the time
    sh "$t/run.sh" "$tmp/r" "$@" 2>/dev/null
    cut -d ' ' -f 1-3 "$tmp/r" 2>/dev/null
}
same() { # same WHAT EXPECTED GOT
    if [ "$2" = "$3" ]; then passed=$((passed + 1))
    else failed=$((failed + 1)); echo "$1: expected '$2', got '$3'"; fi
}

# ---- core_symbols.sh
echo '#include <string.h>
int protect_it(void *); int f(void *p); int f(void *p) { memset(p, 1, 4096); return protect_it(p); }' | archive clean
good 'a core that calls crypto' sh "$t/core_symbols.sh" "$tmp/clean.a"
for call in 'malloc(1)' 'time(0)' 'rand()' 'read(0, 0, 0)' 'SSL_free(0)' 'clock_gettime(0, 0)'; do
    name=${call%%(*}
    echo "long $name(); long f(void); long f(void) { return (long)$call; }" >"$tmp/$name.in"
    archive "$name" <"$tmp/$name.in" 2>/dev/null
    bad "a core that calls $name" "$name" sh "$t/core_symbols.sh" "$tmp/$name.a"
done
: | archive empty
bad 'an empty core' 'nothing is defined' sh "$t/core_symbols.sh" "$tmp/empty.a"

# ---- layers.sh
tree() { # tree FILE TEXT: a source tree with one file
    rm -rf "$tmp/tree"
    for d in core crypto nat nat/node reactor apps/examples apps/http tests; do mkdir -p "$tmp/tree/$d"; done
    printf '%s\n' "$2" >"$tmp/tree/$1"
}
tree core/x.c '#include "core/buf.h"
#include <stdint.h>'
good 'core including core' sh "$t/layers.sh" "$tmp/tree"
for row in 'core <stdio.h>' 'core <time.h>' 'core <sys/socket.h>' 'core <openssl/ssl.h>' 'core "reactor/udp.h"' \
    'core "crypto/identity.h"' 'nat "core/conn.h"' 'nat <unistd.h>' 'nat/node "core/conn.h"' 'nat/node "reactor/udp.h"' \
    'nat/node "crypto/tls.h"' 'apps "nat/node/bootstrap.h"' 'crypto "core/stream.h"' \
    'reactor "core/conn.h"' 'reactor "nat/nat.h"' 'apps "core/stream.h"' 'apps "core/addr.h"' \
    'apps "reactor/udp.h"' 'apps "crypto/tls.h"' 'apps/http "core/conn.h"' 'apps/examples "core/antq.h"'; do
    tree "${row%% *}/x.c" "#include ${row#* }"
    bad "$row" "${row%% *}/:" sh "$t/layers.sh" "$tmp/tree"
done
tree apps/x.c '#include "reactor/antq_reactor.h"
#include "core/antq.h"
#include <stdio.h>'
good 'an app with the public headers' sh "$t/layers.sh" "$tmp/tree"
tree core/x.c 'int f(void) { return nat_punch(1); }'
bad 'a ninth seam' nat_punch sh "$t/layers.sh" "$tmp/tree"

# ---- rfc.sh
tree core/x.c '/* RFC 9000 §8.1: three times. RFC 9000 §19.2.1 too. */'
: >"$tmp/tree/tests/rfc_open.txt"
bad 'a mark without a test' 'RFC 9000 §8.1' sh "$t/rfc.sh" "$tmp/tree"
echo '/* RFC 9000 §8.1 */' >"$tmp/tree/tests/x.c"
bad 'a mark without a test' 'RFC 9000 §19.2.1' sh "$t/rfc.sh" "$tmp/tree"
echo 'RFC 9000 §19.2.1' >"$tmp/tree/tests/rfc_open.txt"
good 'an accepted mark' sh "$t/rfc.sh" "$tmp/tree"
: >"$tmp/tree/tests/rfc_open.txt"
echo '/* RFC 9000 §8.1, §8.2. RFC 9000 §19.2.1
 * and §19.3 */
Test(x, y)' >"$tmp/tree/tests/x.c"
good 'marks in a list' sh "$t/rfc.sh" "$tmp/tree"
musts() { # musts ROW: the list of sentences
    printf '%s\n' '# a comment' "$1" >"$tmp/tree/tests/rfc_musts.txt"
}
musts 'RFC 9000 §8.1 1 | x/y | A server MUST NOT send more.'
good 'a sentence with its test' sh "$t/rfc.sh" "$tmp/tree"
same 'which is counted' '1 sentences with MUST or MUST NOT: 1 with code and test, 0 with a reason' "$(tail -n 1 "$tmp/log")"
musts 'RFC 9000 §8.1 1 | - the kernel does it | A server MUST NOT send more.'
good 'a sentence with a reason' sh "$t/rfc.sh" "$tmp/tree"
musts 'RFC 9000 §8.1 1 | x/z | A server MUST NOT send more.'
bad 'a sentence with a test that is not there' 'no test x/z' sh "$t/rfc.sh" "$tmp/tree"
musts 'RFC 9000 §8.2 1 | x/y | An endpoint MUST answer.'
bad 'a sentence without a mark in the code' 'not marked in the code' sh "$t/rfc.sh" "$tmp/tree"
echo '/* RFC 9000 §8.1 §19.2.1: another section. */
Test(x, y)' >"$tmp/tree/tests/x.c"
echo '/* RFC 9000 §19.2.1, §8.1 */' >"$tmp/tree/tests/z.c"
musts 'RFC 9000 §19.2.1 1 | x/y | An endpoint MUST answer.'
bad 'a sentence without a mark in its test' 'not marked in tests/x.c' sh "$t/rfc.sh" "$tmp/tree"

# ---- mutation/: a mutant whose place is gone, and places that are two
good 'mutants that apply' sh "$t/mutants.sh" "$src"
mkdir -p "$tmp/mutants"
(cd "$src" && tar cf - core nat tests/mutation) | tar xf - -C "$tmp/mutants"
sed -i 's/if (ack->largest >= ring->next)/if (ring->next <= ack->largest)/' "$tmp/mutants/core/loss.c"
bad 'a mutant without its place' '1a no longer applies: core/loss.c: 0 places' sh "$t/mutants.sh" "$tmp/mutants"

# ---- listed.sh
tree core/x.c 'int x;'
echo 'build $b/core/x.o: cc $src/core/x.c' >"$tmp/tree/build.ninja"
good 'a listed file' sh "$t/listed.sh" "$tmp/tree"
echo 'int y;' >"$tmp/tree/core/y.c"
bad 'a file that is not listed' core/y.c sh "$t/listed.sh" "$tmp/tree"
rm "$tmp/tree/core/x.c" "$tmp/tree/core/y.c"
bad 'a line without its file' core/x.c sh "$t/listed.sh" "$tmp/tree"

# ---- exports.sh
exports() { # exports CODE: a library made of CODE, whose header declares aq_one
    tree core/antq.h 'AQ_API const char *aq_one(int64_t x);'
    : >"$tmp/tree/reactor/antq_reactor.h"
    echo "$1" >"$tmp/tree/x.c"
    $cc -fPIC -c -o "$tmp/tree/x.o" "$tmp/tree/x.c" && ar rcs "$tmp/tree/libantq.a" "$tmp/tree/x.o" &&
        $cc -shared -nostdlib -o "$tmp/tree/libantq.so" "$tmp/tree/x.o"
}
exports 'int aq_one(void) { return 1; }'
good 'public names only' sh "$t/exports.sh" "$tmp/tree" "$tmp/tree"
exports 'int aq_one(void) { return 1; } int stream_read(void) { return 1; }'
bad 'an inner name shown' stream_read sh "$t/exports.sh" "$tmp/tree" "$tmp/tree"
exports 'int aq_two(void) { return 1; }'
bad 'a declared function that is not there' aq_one sh "$t/exports.sh" "$tmp/tree" "$tmp/tree"

# ---- bench/core.sh, with a callgrind that tells what it is told to: 20,000 packets, a budget of 1,000 instructions each
mkdir -p "$tmp/core/src/bench" "$tmp/core/build/bench" "$tmp/core/bin"
tool() { # tool NAME <<script
    { echo '#!/bin/sh'; cat; } >"$tmp/core/bin/$1"
    chmod +x "$tmp/core/bin/$1"
}
tool valgrind <<'EOF'
echo "{\"packets\":${PACKETS-20000},\"ns\":1}"
EOF
tool callgrind_annotate <<'EOF'
echo "99,999,999 (100.0%)  PROGRAM TOTALS"
echo "$OURS (50.0%)  core/send.c:conn_send [/x/core]"
echo "500,000 ( 2.5%)  bench/core.c:transfer [/x/core]"
echo "7,000,000 (35.0%)  ???:aes_gcm_seal [/x/libcrypto.so.0]"
EOF
tool nm <<'EOF'
echo '0000 T transfer'
EOF
tool cc <<'EOF'
echo "${CC_NAME-gcc} 12"
EOF
tool objcopy </dev/null
printf '#!/bin/sh\nexit 0\n' >"$tmp/core/build/bench/core"
chmod +x "$tmp/core/build/bench/core"
printf '# a comment\ngcc 1000.0\n' >"$tmp/core/src/bench/core.budget"
core() { # core OURS [VARIABLE=VALUE...]
    ours=$1; shift
    env PATH="$tmp/core/bin:$PATH" CC=cc NM=nm OBJCOPY=objcopy SANITIZE= TLS_KIND=shared OURS="$ours" "$@" \
        sh "$src/bench/core.sh" "$tmp/core/src" "$tmp/core/build"
}
good 'instructions at the budget' core 20,000,000
good 'and 3 % above it' core 20,600,000
bad 'more than 3 % above it' 'more than 3 % above' core 20,602,000
same 'what was counted is recorded' 'gcc 1030.1' "$(cat "$tmp/core/build/bench/core.count")"
good 'fewer by 3 %' core 19,400,000
same 'which keeps the budget' 'kept' "$(sed -n 's/.*: \(kept\)$/\1/p' "$tmp/log")"
good 'fewer by more' core 19,398,000
same 'which says what to lower it to' '969.9' "$(sed -n 's/.*lower it to //p' "$tmp/log")"
same 'which is recorded' 'gcc 969.9' "$(cat "$tmp/core/build/bench/core.count")"
bad 'a compiler without a budget' 'no budget for clang' core 20,000,000 CC_NAME=clang
bad 'too few packets' 'too few packets' core 20,000,000 PACKETS=100
bad 'a profile without our functions' 'cannot be read' core ''
same 'a sanitized build' '0 0 1' "$(result env SANITIZE=address sh "$src/bench/core.sh" "$tmp/core/src" "$tmp/core/build")"

# ---- run.sh and summary.sh: they must count what is true
same 'exit 0' '1 0 0' "$(result true)"
same 'exit 1' '0 1 0' "$(result false)"
same 'exit 77' '0 0 1' "$(result sh -c 'echo SKIP: no root; exit 77')"
same 'own count' '3 2 1' "$(result sh -c 'echo 3 passed, 2 failed, 1 skipped; exit 1')"
same 'count against status' '3 1 0' "$(result sh -c 'echo 3 passed, 0 failed; exit 1')"
same 'a crash' '0 1 0' "$(result sh -c 'kill -SEGV $$')"
same 'no test' '0 1 0' "$(result echo '[====] Synthesis: Tested: 0 | Passing: 0 | Failing: 0 | Crashing: 0')"
same 'criterion' '1 2 0' "$(result sh -c 'echo "[====] Synthesis: Tested: 3 | Passing: 1 | Failing: 2 | Crashing: 1 "; exit 1')"
same 'too slow' '0 1 0' "$(LIMIT=1 && export LIMIT && result sleep 30)"
echo '2 0 0 1' >"$tmp/one"; echo '1 1 1 1' >"$tmp/two"; echo 'what went wrong' >"$tmp/two.log"
printf '%s\n' "$tmp/one" >"$tmp/list"
good 'a summary without failures' sh "$t/summary.sh" "$tmp/sum" "$tmp/list"
same 'its line' '2 passed, 0 failed, 0 skipped' "$(cat "$tmp/sum" 2>/dev/null)"
printf '%s\n%s' "$tmp/one" "$tmp/two" >"$tmp/list"
bad 'a summary with a failure' 'what went wrong' sh "$t/summary.sh" "$tmp/sum" "$tmp/list"
same 'its line' '3 passed, 1 failed, 1 skipped' "$(tail -n 1 "$tmp/log")"
same 'what is left to run again' 'one' "$(cd "$tmp" && ls one two sum 2>/dev/null)"
printf '%s\n' "$tmp/one" "$tmp/never" >"$tmp/list"
bad 'a result that is not there' '1 failed' sh "$t/summary.sh" "$tmp/sum" "$tmp/list"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
