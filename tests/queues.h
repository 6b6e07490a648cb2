/* queues.h -- what the tests of sendq, recvq and stream share: a small arena with a quota, chance, and a
 * stream of bytes of which every one is known from its offset. */
#ifndef AQ_TESTS_QUEUES_H
#define AQ_TESTS_QUEUES_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/arena.h"
#include "core/pool.h"
#include "core/recvq.h"

struct memory {
    void *mem, *pool_mem;
    struct arena arena;
    struct quota quota;
    struct pool pieces;
};

static inline void *memory_zeroed(size_t size)
{
    size_t rounded = (size + 63) / 64 * 64;
    void *mem = aligned_alloc(64, rounded);
    cr_assert_not_null(mem);
    memset(mem, 0, rounded);
    return mem;
}

static inline void memory_init(struct memory *m, uint64_t bytes, uint32_t pieces)
{
    m->mem = memory_zeroed(arena_size(bytes));
    arena_init(&m->arena, m->mem, bytes);
    m->quota = (struct quota){&m->arena, 0, bytes, 0};
    m->pool_mem = memory_zeroed(pool_size(sizeof(struct piece), pieces));
    pool_init(&m->pieces, m->pool_mem, sizeof(struct piece), pieces);
}

/* Everything borrowed was given back. */
static inline void memory_check_end(struct memory *m)
{
    cr_assert_eq(m->quota.used_bytes, 0);
    cr_assert_eq(m->arena.used_bytes, 0);
    cr_assert_eq(m->pieces.used, 0);
    free(m->mem);
    free(m->pool_mem);
}

static inline uint32_t chance(uint64_t *state, uint32_t below)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33) % below;
}

static inline uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)((offset * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static inline void bytes_fill(uint8_t *out, uint64_t offset, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        out[i] = byte_at(offset + i);
}

static inline bool bytes_match(const uint8_t *data, uint64_t offset, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        if (data[i] != byte_at(offset + i))
            return false;
    return true;
}

#endif
