/* queue.h -- what sendq and recvq share: power-of-two rings, and range sets whose storage grows.
 *
 * A ring keeps byte number p at p & (cap - 1), so a position is never translated and never reset. A
 * range set begins with room for one range inside its owner (most streams never need more) and
 * moves to blocks of the connection's quota, doubling. */
#ifndef AQ_QUEUE_H
#define AQ_QUEUE_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/arena.h"
#include "core/num.h"
#include "core/range.h"

/* Bytes from position on that lie in one piece before the ring wraps. */
static inline uint64_t ring_run(uint32_t cap, uint64_t position, uint64_t size)
{
    return min_u64(size, cap - (position & (cap - 1)));
}

static inline void ring_put(uint8_t *ring, uint32_t cap, uint64_t position, const uint8_t *data,
                            uint64_t size)
{
    assert(size <= cap);
    uint64_t run = ring_run(cap, position, size);
    if (run > 0)
        memcpy(ring + (position & (cap - 1)), data, (size_t)run);
    if (run < size)
        memcpy(ring, data + run, (size_t)(size - run));
}

static inline void ring_get(const uint8_t *ring, uint32_t cap, uint64_t position, uint8_t *out,
                            uint64_t size)
{
    assert(size <= cap);
    uint64_t run = ring_run(cap, position, size);
    if (run > 0)
        memcpy(out, ring + (position & (cap - 1)), (size_t)run);
    if (run < size)
        memcpy(out + run, ring, (size_t)(size - run));
}

/* Copies [lo, hi) from one ring to another; positions stay, places differ. */
static inline void ring_move(uint8_t *to, uint32_t to_cap, const uint8_t *from, uint32_t from_cap,
                             uint64_t lo, uint64_t hi)
{
    while (lo < hi) {
        uint64_t run = ring_run(from_cap, lo, hi - lo);
        ring_put(to, to_cap, lo, from + (lo & (from_cap - 1)), run);
        lo += run;
    }
}

/* Index of the first range that ends above x; set->count if none. */
static inline unsigned ranges_find(const struct range_set *set, uint64_t x)
{
    unsigned lo = 0, hi = set->count;
    while (lo < hi) {
        unsigned middle = (lo + hi) / 2;
        if (set->v[middle].hi > x)
            hi = middle;
        else
            lo = middle + 1;
    }
    return lo;
}

static inline void ranges_init(struct range_set *set, struct range *first)
{
    *set = (struct range_set){.v = first, .count = 0, .max = 1};
}

/* Back to the range inside the owner; the set is empty then. */
static inline void ranges_clear(struct range_set *set, struct range *first, struct quota *quota)
{
    if (set->v != first)
        quota_give(quota, set->v, set->max * sizeof(struct range));
    ranges_init(set, first);
}

static inline bool ranges_grow(struct range_set *set, struct range *first, struct quota *quota,
                               unsigned limit)
{
    size_t size = set->v == first ? ARENA_BLOCK : 2 * set->max * sizeof(struct range);
    if (size > limit * sizeof(struct range))
        return false;
    struct range *v = quota_take(quota, size);
    if (v == NULL)
        return false;
    memcpy(v, set->v, set->count * sizeof(struct range));
    if (set->v != first)
        quota_give(quota, set->v, set->max * sizeof(struct range));
    set->v = v;
    set->max = (uint16_t)(size / sizeof(struct range));
    return true;
}

/* range_add that takes more storage when it needs it. False: limit reached or the quota is full. */
static inline bool ranges_add(struct range_set *set, struct range *first, struct quota *quota,
                              unsigned limit, struct range r)
{
    if (range_add(set, r.lo, r.hi))
        return true;
    return ranges_grow(set, first, quota, limit) && range_add(set, r.lo, r.hi);
}

/* range_remove, likewise: taking out of the middle of a range leaves two. */
static inline bool ranges_remove(struct range_set *set, struct range *first, struct quota *quota,
                                 unsigned limit, struct range r)
{
    if (range_remove(set, r.lo, r.hi))
        return true;
    return ranges_grow(set, first, quota, limit) && range_remove(set, r.lo, r.hi);
}

#endif
