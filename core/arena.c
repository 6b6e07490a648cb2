/* arena.c -- a buddy allocator over one piece of memory, and the quotas that share it out.
 *
 * A block of order k is ARENA_BLOCK << k bytes and lies at a multiple of its size from the base.
 * Splitting one gives two buddies, whose places differ in one bit; when both are free again they
 * become one. The number of smallest blocks need not be a power of two: arena_init cuts it into the
 * largest aligned blocks that fit, and a buddy beyond the end is never free.
 *
 *     mem:  (to a multiple of 512) | block 0 | block 1 | ... | state of each block, 1 byte
 *
 * state says which blocks begin where: 0 nothing begins here, else order + 1, with STATE_FREE for a
 * free one. So a block given back twice, or with another size, is caught by an assert. Free blocks
 * of an order are a doubly linked list inside themselves: a buddy leaves its list in O(1), and
 * memory is touched only when it is handed out.
 *
 * Smallest blocks come and go with every packet, and to join and split them each time touches a
 * block of each size. So those given back last stay as they are, in a stack, until one is wanted,
 * or until a larger block cannot be had without them.
 *
 * Called by core/sendq, core/recvq, core/sent and core/hand through their connection's quota. */
#include "core/arena.h"

#include <assert.h>
#include <string.h>

enum {
    STATE_FREE = 0x80,
    STATE_LOOSE = STATE_FREE, /* without an order: nobody's buddy */
    LOOSE_MAX = 256
};

struct link { /* at the start of a free block; places are 1-based, 0 none */
    uint32_t next, before;
};

static struct link *link_at(const struct arena *arena, uint32_t block)
{
    return (void *)(arena->base + (size_t)block * ARENA_BLOCK);
}

static void list_push(struct arena *arena, uint32_t block, unsigned order)
{
    uint32_t head = arena->free[order];
    *link_at(arena, block) = (struct link){head, 0};
    if (head)
        link_at(arena, head - 1)->before = block + 1;
    arena->free[order] = block + 1;
    arena->state[block] = (uint8_t)(STATE_FREE | (order + 1));
}

static void list_remove(struct arena *arena, uint32_t block, unsigned order)
{
    struct link link = *link_at(arena, block);
    assert(arena->state[block] == (STATE_FREE | (order + 1)));
    if (link.before)
        link_at(arena, link.before - 1)->next = link.next;
    else
        arena->free[order] = link.next;
    if (link.next)
        link_at(arena, link.next - 1)->before = link.before;
    arena->state[block] = 0;
}

static unsigned order_of(size_t size)
{
    unsigned order = 0;
    for (size_t block = ARENA_BLOCK; block < size && order < ARENA_ORDERS; block <<= 1)
        order++;
    return order;
}

static uint64_t blocks_for(uint64_t bytes)
{
    return (bytes + ARENA_BLOCK - 1) / ARENA_BLOCK;
}

size_t arena_size(uint64_t bytes)
{
    uint64_t blocks = blocks_for(bytes);
    size_t size = blocks * (ARENA_BLOCK + 1) + ARENA_BLOCK; /* the last: to align the base */
    return (size + 63) & ~(size_t)63;
}

void arena_init(struct arena *arena, void *mem, uint64_t bytes)
{
    uint64_t blocks = blocks_for(bytes);
    assert(blocks < UINT32_MAX && (uintptr_t)mem % 64 == 0);
    uint8_t *base = mem;
    base += (ARENA_BLOCK - (uintptr_t)mem % ARENA_BLOCK) % ARENA_BLOCK;
    *arena = (struct arena){
        .base = base, .state = base + blocks * ARENA_BLOCK, .blocks = (uint32_t)blocks};
    uint32_t block = 0;
    while (block < arena->blocks) {
        unsigned order = 0; /* the largest that is aligned here and does not pass the end */
        while (order + 1 < ARENA_ORDERS && block % (UINT32_C(2) << order) == 0
               && UINT32_C(2) << order <= arena->blocks - block)
            order++;
        list_push(arena, block, order);
        block += UINT32_C(1) << order;
    }
}

/* A block becomes free, joined with its buddies. */
static void join(struct arena *arena, uint32_t at, unsigned order)
{
    while (order + 1 < ARENA_ORDERS) {
        uint32_t buddy = at ^ UINT32_C(1) << order;
        if (buddy >= arena->blocks || arena->state[buddy] != (STATE_FREE | (order + 1)))
            break;
        list_remove(arena, buddy, order);
        at &= ~(UINT32_C(1) << order);
        order++;
    }
    list_push(arena, at, order);
}

static uint32_t loose_pop(struct arena *arena)
{
    uint32_t block = arena->loose - 1;
    arena->loose = link_at(arena, block)->next;
    arena->loose_count--;
    arena->state[block] = 0;
    return block;
}

static void loose_push(struct arena *arena, uint32_t block)
{
    link_at(arena, block)->next = arena->loose;
    arena->loose = block + 1;
    arena->loose_count++;
    arena->state[block] = STATE_LOOSE;
}

/* A block of that order, split from a larger one where need be; UINT32_MAX: there is none. */
static uint32_t split(struct arena *arena, unsigned want)
{
    unsigned order = want;
    while (order < ARENA_ORDERS && arena->free[order] == 0)
        order++;
    if (order >= ARENA_ORDERS)
        return UINT32_MAX;
    uint32_t block = arena->free[order] - 1;
    list_remove(arena, block, order);
    while (order > want) { /* keep the lower half, the upper one is free */
        order--;
        list_push(arena, block + (UINT32_C(1) << order), order);
    }
    return block;
}

void *arena_take(struct arena *arena, size_t size)
{
    unsigned want = order_of(size);
    uint32_t block = want == 0 && arena->loose ? loose_pop(arena) : split(arena, want);
    if (block == UINT32_MAX && arena->loose) {
        while (arena->loose)
            join(arena, loose_pop(arena), 0);
        block = split(arena, want);
    }
    if (block == UINT32_MAX)
        return NULL;
    arena->state[block] = (uint8_t)(want + 1);
    arena->used_bytes += (uint64_t)ARENA_BLOCK << want;
    if (arena->used_bytes > arena->high_bytes)
        arena->high_bytes = arena->used_bytes;
    return link_at(arena, block);
}

void arena_give(struct arena *arena, void *block, size_t size)
{
    if (!block)
        return;
    unsigned order = order_of(size);
    size_t offset = (size_t)((uint8_t *)block - arena->base);
    uint32_t at = (uint32_t)(offset / ARENA_BLOCK);
    assert(offset % ARENA_BLOCK == 0 && at < arena->blocks && arena->state[at] == order + 1);
    arena->used_bytes -= (uint64_t)ARENA_BLOCK << order;
    arena->state[at] = 0;
    if (order == 0 && arena->loose_count < LOOSE_MAX)
        loose_push(arena, at);
    else
        join(arena, at, order);
}

void *quota_take(struct quota *quota, size_t size)
{
    size_t bytes = arena_round(size);
    if (bytes > quota->max_bytes || quota->used_bytes > quota->max_bytes - bytes)
        return NULL;
    void *block = arena_take(quota->arena, size);
    if (block)
        quota->used_bytes += bytes;
    return block;
}

void *quota_take_data(struct quota *quota, size_t size)
{
    size_t bytes = arena_round(size);
    const struct arena *arena = quota->arena;
    uint64_t total = (uint64_t)arena->blocks * ARENA_BLOCK;
    if (quota->used_bytes + bytes + quota->reserve_bytes > quota->max_bytes
        || arena->used_bytes + bytes + arena->reserve_bytes > total)
        return NULL;
    return quota_take(quota, size);
}

void quota_give(struct quota *quota, void *block, size_t size)
{
    if (!block)
        return;
    assert(quota->used_bytes >= arena_round(size));
    quota->used_bytes -= arena_round(size);
    arena_give(quota->arena, block, size);
}
