/* strike.h -- the strike register: ClientHellos whose 0-RTT was accepted, so that none is accepted
 * twice (RFC 8446 §8.2, RFC 9001 §9.2).
 *
 * Fixed memory of buckets; an entry lives STRIKE_LIFE_S, longer than BoringSSL believes a ticket's
 * age (60 s either way). A full bucket refuses: 0-RTT is then rejected, which costs a round trip,
 * and an entry is never pushed out before its time. */
#ifndef AQ_STRIKE_H
#define AQ_STRIKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STRIKE_WAYS = 4,
    STRIKE_LIFE_S = 180
};

struct strike_entry {
    uint64_t hash;
    uint64_t until_s; /* 0: never used */
};

struct strike {
    struct strike_entry *v;
    uint32_t mask; /* of the buckets */
};

/* slots: a power of two, at least STRIKE_WAYS. The memory is zeroed. */
size_t strike_size(uint32_t slots);
void strike_init(struct strike *s, void *mem, uint32_t slots);

/* True: this hash was not seen within its life, and is noted now. hash: keyed, so that strangers
 * cannot choose buckets. */
bool strike_take(struct strike *s, uint64_t hash, uint64_t now);

#endif
