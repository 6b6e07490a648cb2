/* keys.h -- packet protection for the contenders: the keys of one cipher, with a backend by name. */
#ifndef BENCH_KEYS_H
#define BENCH_KEYS_H

#include "crypto/protect.h"

struct bench_keys {
    struct protect protect;
    struct aead_key aead;
    struct hp_key hp;
};

/* Fixed keys, alike on both sides; must not move afterwards. Ends the program when there is no
 * backend of this name here, and says why. */
void bench_keys_init(struct bench_keys *keys, const char *backend, enum cipher cipher);
/* Prints the backends that work here, one a line. */
void bench_keys_backends(void);

#endif
