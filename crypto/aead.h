/* aead.h -- what a backend of packet protection provides, in batches.
 *
 * Inner to crypto/: protect.c knows where the bytes of a packet lie and keeps the contexts, a
 * backend (a row of functions: aead_boringssl.c, aead_ipsecmb.c) computes. What it keeps of a key
 * between calls is a context: a piece of memory of the sizes below, 64-byte aligned, made by
 * expand, wiped by drop, its contents the backend's own. What it keeps beside keys, its manager,
 * lives in memory of the endpoint too. A backend allocates nothing. */
#ifndef AQ_AEAD_H
#define AQ_AEAD_H

#include "crypto/protect.h"

#include <string.h>

enum {
    AEAD_CTX_SIZE = 1024,
    HP_CTX_SIZE = 256
};

struct aead_backend {
    const char *name;
    /* NULL: it works on this machine; else a static sentence that says why not. */
    const char *(*missing)(void);
    size_t (*manager_size)(void);
    /* mem is zeroed and 64-byte aligned. NULL: it does not work after all. */
    void *(*manager_init)(void *mem);

    /* ctx is zeroed. */
    void (*expand)(void *manager, void *ctx, enum cipher cipher, const uint8_t *raw);
    void (*drop)(void *ctx);
    /* In place, the tail apart: the bytes before the payload are the associated data, the last 16
     * are the tag. */
    void (*seal)(void *manager, const void *ctx, const struct aead_key *key, struct sealed *v,
                 unsigned n);
    /* As protect_open: skips packets whose ok is false, clears ok of those that are not authentic,
     * and their payloads. */
    void (*open)(void *manager, const void *ctx, const struct aead_key *key, struct sealed *v,
                 unsigned n);

    /* Header protection: ctx is wiped by its owner. */
    void (*hp_expand)(void *manager, void *ctx, enum cipher cipher, const uint8_t *raw);
    /* Turns n samples into masks where they stand; the first 5 bytes of each are the mask (RFC 9001
     * §5.4.1). */
    void (*hp_masks)(void *manager, const void *ctx, enum cipher cipher,
                     uint8_t (*blocks)[HP_SAMPLE_SIZE], unsigned n);
};

extern const struct aead_backend aead_boringssl, aead_ipsecmb;

/* RFC 9001 §5.3: the packet number, in network order and left-padded to the size of the iv, XOR the
 * iv. */
static inline void aead_nonce(const struct aead_key *key, uint64_t number,
                              uint8_t nonce[AEAD_IV_SIZE])
{
    memcpy(nonce, key->iv, AEAD_IV_SIZE);
    for (unsigned i = 0; i < 8; i++) {
        nonce[AEAD_IV_SIZE - 1 - i] ^= (uint8_t)(number >> (8 * i));
    }
}

#endif
