/* rng.c -- the endpoint's own chance: ChaCha20 with fast key erasure.
 *
 * One refill runs the cipher for 256 bytes: the first 32 become the next key at once, the other 224
 * are handed out and wiped as they go. So what lies in memory tells nothing about what was handed
 * out before. The nonce is always zero because each key is used once.
 *
 *     key -> ChaCha20 -> | next key 32 | 224 bytes of chance, used from the front |
 *
 * Called by core/endpoint and core/conn; nothing else in the core draws chance. */
#include "core/rng.h"

#include "crypto/prim.h"

#include <assert.h>
#include <string.h>

void rng_init(struct rng *rng, const uint8_t seed[32])
{
    memset(rng, 0, sizeof *rng);
    memcpy(rng->key, seed, sizeof rng->key);
}

static void refill(struct rng *rng)
{
    static const uint8_t nonce[12];
    uint8_t stream[sizeof rng->key + sizeof rng->buffer];
    prim_chacha20(rng->key, nonce, 0, stream, sizeof stream);
    memcpy(rng->key, stream, sizeof rng->key);
    memcpy(rng->buffer, stream + sizeof rng->key, sizeof rng->buffer);
    prim_wipe(stream, sizeof stream);
    rng->left = sizeof rng->buffer;
}

void rng_fill(struct rng *rng, void *out, size_t size)
{
    uint8_t *to = out;
    while (size > 0) {
        if (rng->left == 0)
            refill(rng);
        size_t n = size < rng->left ? size : rng->left;
        uint8_t *from = rng->buffer + sizeof rng->buffer - rng->left;
        memcpy(to, from, n);
        memset(from, 0, n);
        rng->left -= (uint32_t)n;
        to += n;
        size -= n;
    }
}

uint64_t rng_u64(struct rng *rng)
{
    uint8_t bytes[8];
    uint64_t v = 0;
    rng_fill(rng, bytes, sizeof bytes);
    for (unsigned i = 0; i < sizeof bytes; i++)
        v |= (uint64_t)bytes[i] << (8 * i); /* the same on every machine */
    return v;
}

uint64_t rng_below(struct rng *rng, uint64_t limit)
{
    assert(limit > 0);
    /* 2^64 mod limit values at the bottom would make the small results likelier: draw again. */
    uint64_t skip = -limit % limit, v = rng_u64(rng);
    while (v < skip)
        v = rng_u64(rng);
    return v % limit;
}
