/* pool.c -- fixed objects by index, with generations and handles.
 *
 *     mem:  item 0 | item 1 | ... | item count-1 | slot 0 | slot 1 | ...
 *           each rounded up to 64 bytes            free-list link and generation
 *
 * The slots stand apart from the items, so that taking, giving and refusing a stale handle touch no
 * item, and an item starts a cache line. A slot's generation goes up with each take and each give:
 * odd while taken. It wraps after 2^31 uses of one slot; a handle kept for that long by an
 * application would then be followed.
 *
 * Called by core/endpoint for its connections, streams and tombstones. */
#include "core/pool.h"

#include <assert.h>
#include <string.h>

static size_t round_up(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

size_t pool_size(uint32_t item_size, uint32_t count)
{
    return count * round_up(item_size) + round_up(count * sizeof(struct pool_slot));
}

void pool_init(struct pool *pool, void *mem, uint32_t item_size, uint32_t count)
{
    assert(item_size > 0 && count < POOL_NONE && (uintptr_t)mem % 64 == 0);
    uint32_t stride = (uint32_t)round_up(item_size);
    uint8_t *items = mem;
    *pool = (struct pool){
        .items = items,
        .slots = (void *)(items + (size_t)count * stride),
        .item_size = stride,
        .count = count,
        .free = POOL_NONE,
    };
}

uint32_t pool_take(struct pool *pool)
{
    uint32_t index = pool->free;
    if (index != POOL_NONE) {
        pool->free = pool->slots[index].next;
        memset(pool_at(pool, index), 0, pool->item_size);
    } else if (pool->fresh < pool->count) {
        index = pool->fresh++; /* zeroed since pool_init */
    } else {
        return POOL_NONE;
    }
    pool->slots[index].generation++;
    assert(pool->slots[index].generation & 1);
    pool->used++;
    if (pool->used > pool->high)
        pool->high = pool->used;
    return index;
}

void pool_give(struct pool *pool, uint32_t index)
{
    assert(index < pool->fresh && pool->slots[index].generation & 1); /* else it is free already */
    pool->slots[index].generation++;
    pool->slots[index].next = pool->free;
    pool->free = index;
    pool->used--;
}

uint32_t pool_index(const struct pool *pool, const void *item)
{
    size_t offset = (size_t)((const uint8_t *)item - pool->items);
    assert(offset % pool->item_size == 0 && offset / pool->item_size < pool->fresh);
    return (uint32_t)(offset / pool->item_size);
}
