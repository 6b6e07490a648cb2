/* keys.c -- keys for the contenders (keys.h). */
#include "bench/keys.h"

#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bench_keys_init(struct bench_keys *keys, const char *backend, enum cipher cipher)
{
    static const uint8_t raw[32] = {1, 2, 3}, iv[AEAD_IV_SIZE] = {4, 5, 6};
    const char *missing = protect_check(backend);
    if (missing != NULL)
        bench_die("AEAD backend %s: %s", backend, missing);
    size_t size = (protect_size(backend, 1) + 63) / 64 * 64;
    void *mem = aligned_alloc(64, size);
    if (mem == NULL)
        bench_die("no memory");
    memset(mem, 0, size);
    if (!protect_init(&keys->protect, mem, backend, 1))
        bench_die("AEAD backend %s does not work", backend);
    protect_aead_init(&keys->aead, cipher, raw, iv);
    protect_hp_init(&keys->hp, cipher, raw);
    protect_aead_bind(&keys->aead, &keys->protect);
    protect_hp_bind(&keys->hp, &keys->protect);
}

void bench_keys_backends(void)
{
    static const char *const names[] = {"boringssl", "ipsec-mb"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (protect_check(names[i]) == NULL)
            (void)puts(names[i]);
    }
}
