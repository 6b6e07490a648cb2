#!/bin/sh
# beside_openssl.sh SRC BUILD -- a process may hold libantq.so and OpenSSL, when BoringSSL is static inside
# libantq.so (--with-boringssl). Debian's shared BoringSSL is not for such processes, the README says so.
. "$1/tests/lib.sh"
[ "${TLS_KIND-}" = static ] || not_here "only with a static BoringSSL (--with-boringssl), this one is ${TLS_KIND:-unknown}"
[ -z "${SANITIZE-}" ] || not_here 'a sanitizer must be loaded first'
[ -f /usr/include/openssl/ssl.h ] || skip 'no headers of the system OpenSSL (libssl-dev)'
${CC:-cc} -std=c11 -Wall -Wextra -Werror -iquote "$SRC/core" "$SRC/tests/beside/openssl.c" -lssl -lcrypto -ldl \
    -o "$T/beside" || fail 'does not compile'
"$T/beside" "$B/libantq.so" || fail 'the two libraries disturb each other'
ok 'OpenSSL and libantq.so in one process'
count_end
