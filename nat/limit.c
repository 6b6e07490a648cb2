/* limit.c -- token buckets by key in a table of fixed size.
 *
 * A bucket is one number, the time at which it will be full again: taking a token moves it on by
 * one interval, and it may not be further away than the whole burst takes. (It is GCRA, the virtual
 * scheduling of ATM: no counters, nothing to refill.)
 *
 *     now          full_us
 *      |--------------|                  tokens missing = (full_us - now) / interval
 *      |<---- burst * interval ---->|
 *
 * A key's hash names a set of four buckets. A newcomer takes the place of the one that is fullest;
 * where none is full, somebody with many keys has been here, and he pushes out whoever has asked
 * the least. So a flood of keys can win tokens back, but memory stays what it is; what a flood of
 * addresses may do altogether is bounded by the proof of work.
 *
 * Called by nat/registry. */
#include "nat/limit.h"

#include "core/addr.h"
#include "crypto/prim.h"

#include <assert.h>
#include <string.h>

enum {
    WIDE_FACTOR = 8 /* a /48 has this many times the rate of a /64 */
};

static uint32_t sets_for(uint32_t count)
{
    uint32_t sets = 1;
    while ((uint64_t)sets * LIMIT_WAYS < count)
        sets *= 2;
    return sets;
}

size_t limiter_size(uint32_t count)
{
    return (size_t)sets_for(count) * LIMIT_WAYS * sizeof(struct limit_bucket);
}

void limiter_init(struct limiter *l, void *mem, uint32_t count, const uint64_t key[2])
{
    assert(count > 0 && count <= 1U << 30);
    *l = (struct limiter){.v = mem, .key = {key[0], key[1]}, .sets = sets_for(count)};
}

/* How long until there is a token; 0: now. */
static uint64_t wait_of(uint64_t full_us, const struct limit_rate *rate, uint64_t now)
{
    uint64_t from = full_us > now ? full_us : now;
    uint64_t latest = now + rate->interval_us * rate->burst;
    return from + rate->interval_us > latest ? from + rate->interval_us - latest : 0;
}

uint64_t limit_take_one(uint64_t *full_us, const struct limit_rate *rate, uint64_t now)
{
    uint64_t wait = wait_of(*full_us, rate, now);
    if (wait == 0)
        *full_us = (*full_us > now ? *full_us : now) + rate->interval_us;
    return wait;
}

/* The key's bucket, or the one that becomes it. */
static struct limit_bucket *bucket_of(struct limiter *l, uint64_t hash)
{
    struct limit_bucket *set = &l->v[(size_t)(hash & (l->sets - 1)) * LIMIT_WAYS], *fullest = set;
    for (unsigned i = 0; i < LIMIT_WAYS; i++) {
        if (set[i].hash == hash)
            return &set[i];
        if (set[i].full_us < fullest->full_us)
            fullest = &set[i];
    }
    *fullest = (struct limit_bucket){.hash = hash};
    return fullest;
}

uint64_t limit_take(struct limiter *l, const struct limit_rate *rate, const uint8_t *key,
                    size_t size, uint64_t now)
{
    uint64_t hash = prim_siphash(l->key, key, size);
    return limit_take_one(&bucket_of(l, hash ? hash : 1)->full_us, rate, now);
}

uint64_t limit_take_addr(struct limiter *l, const struct limit_rate *rate,
                         const struct aq_addr *addr, uint64_t now)
{
    uint8_t key[20];
    if (addr->family == 4) {
        /* PROTOCOL §3: by IPv4 address */
        size_t size = addr_bytes(addr, false, key);
        return limit_take(l, rate, key, size, now);
    }
    /* PROTOCOL §3: by IPv6 /64 and /48. The wider first: who is over it spends nothing else. */
    struct limit_rate wide = {rate->interval_us / WIDE_FACTOR, rate->burst * WIDE_FACTOR};
    key[0] = 48;
    memcpy(key + 1, addr->ip, 8);
    uint64_t wait = limit_take(l, &wide, key, 1 + 6, now);
    key[0] = 64;
    return wait ? wait : limit_take(l, rate, key, 1 + 8, now);
}
