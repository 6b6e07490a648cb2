/* rng.h -- the endpoint's own chance: ChaCha20 with fast key erasure, seeded by the host.
 *
 * The only source of chance in the core (STYLE: CHANCE): the kernel's seed in the reactor, the
 * test's in the simulator, so that one seed gives one trace. */
#ifndef AQ_RNG_H
#define AQ_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint8_t key[32];
    uint8_t buffer[224];
    uint32_t left; /* unused bytes at the end of buffer */
};

void rng_init(struct rng *rng, const uint8_t seed[32]);
void rng_fill(struct rng *rng, void *out, size_t size);
uint64_t rng_u64(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t limit); /* 0 .. limit - 1, unbiased; limit > 0 */

#endif
