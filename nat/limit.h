/* limit.h -- token buckets by key in a table of fixed size: how often an address or a peer may ask.
 *
 * Keys are bytes that strangers choose, so the table is keyed by SipHash. It has no list of who was
 * here: a bucket that has filled up again is as good as none, and its place goes to the next.
 * Everything is O(1). */
#ifndef AQ_NAT_LIMIT_H
#define AQ_NAT_LIMIT_H

#include "core/antq.h"

enum {
    LIMIT_WAYS = 4 /* buckets among which a key's hash chooses */
};

struct limit_bucket {
    uint64_t hash;    /* 0: never used */
    uint64_t full_us; /* when it will be full; in the past: it is */
};

/* A rate: one token each `interval_us`, up to `burst` at once. */
struct limit_rate {
    uint64_t interval_us;
    uint32_t burst;
};

struct limiter {
    struct limit_bucket *v;
    uint64_t key[2];
    uint32_t sets; /* a power of two */
};

/* Bytes for at least `count` buckets. */
size_t limiter_size(uint32_t count);
void limiter_init(struct limiter *l, void *mem, uint32_t count, const uint64_t key[2]);

/* A token of this key's bucket. 0: taken. Else how long until there is one, and none was taken. */
uint64_t limit_take(struct limiter *l, const struct limit_rate *rate, const uint8_t *key,
                    size_t size, uint64_t now);
/* The same for one bucket alone: its `full_us`, 0 at first. */
uint64_t limit_take_one(uint64_t *full_us, const struct limit_rate *rate, uint64_t now);

/* PROTOCOL §3: takes one of the IPv4 address's bucket, or one each of the IPv6 /64's and the /48's,
 * which is allowed eight times as much. As limit_take. */
uint64_t limit_take_addr(struct limiter *l, const struct limit_rate *rate,
                         const struct aq_addr *addr, uint64_t now);

#endif
