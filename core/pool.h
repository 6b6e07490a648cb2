/* pool.h -- fixed objects by index, with generations and handles.
 *
 * A pool has a count and a high-water mark; taking from an empty one gives POOL_NONE and the caller
 * names the outcome. A handle is generation << 32 | index + 1, so 0 is never one, and a stale one
 * is refused. Free slots are reused last-in first-out: the warm ones. Memory is touched only when a
 * slot is first used. */
#ifndef AQ_POOL_H
#define AQ_POOL_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_NONE UINT32_MAX

struct pool_slot {
    uint32_t next;       /* free list */
    uint32_t generation; /* odd while taken, so that handle 0 and free slots never match */
};

struct pool {
    uint8_t *items;
    struct pool_slot *slots;
    uint32_t item_size, count;
    uint32_t used, high;
    uint32_t free, fresh; /* free: list head; fresh: slots never used yet start here */
};

size_t pool_size(uint32_t item_size, uint32_t count); /* item_size is rounded up to 64 bytes */
void pool_init(struct pool *pool, void *mem, uint32_t item_size,
               uint32_t count); /* zeroed, 64-byte aligned */
/* Index of a slot whose item is zeroed, or POOL_NONE. */
uint32_t pool_take(struct pool *pool);
void pool_give(struct pool *pool, uint32_t index);

static inline void *pool_at(const struct pool *pool, uint32_t index)
{
    return pool->items + (size_t)index * pool->item_size;
}
uint32_t pool_index(const struct pool *pool, const void *item);
static inline uint64_t pool_handle(const struct pool *pool, uint32_t index)
{
    assert(index < pool->fresh && pool->slots[index].generation & 1);
    return (uint64_t)pool->slots[index].generation << 32 | (index + 1);
}
/* Index, or POOL_NONE when stale or nonsense. */
static inline uint32_t pool_find(const struct pool *pool, uint64_t handle)
{
    uint32_t index = (uint32_t)handle - 1, generation = (uint32_t)(handle >> 32);
    if (index >= pool->fresh || !(generation & 1) || pool->slots[index].generation != generation)
        return POOL_NONE;
    return index;
}

#endif
