/* lull.c -- see lull.h: spins that pay go on, spins in vain become rare, naps are for bulk. */
#include "reactor/lull.h"

const struct lull_rule lull_rules[LULL_KINDS] = {
    [LULL_ANY] = {.spin_us = 50, .short_us = 100, .tries_least = 16, .paid = 64},
    [LULL_DIAL] = {.spin_us = 300, .short_us = 300, .tries_least = 2, .paid = 2},
};

void lull_init(struct lull *lull, enum lull_kind kind, bool alone)
{
    const struct lull_rule *rule = &lull_rules[kind];
    *lull = (struct lull){.rule = rule, .needed = alone ? 0 : rule->tries_least};
}

bool lull_begin(struct lull *lull, uint64_t moved_bytes)
{
    if (moved_bytes - lull->moved_bytes > LULL_BULK_BYTES)
        lull->row = 0;
    lull->moved_bytes = moved_bytes;
    return lull->needed > 0 && lull->row >= lull->needed;
}

void lull_end(struct lull *lull, bool spun, uint64_t waited_us, bool came)
{
    bool was_short = came && waited_us <= lull->rule->short_us;
    if (!spun) {
        if (!was_short)
            lull->row = 0;
        else if (lull->row < LULL_TRIES_MOST)
            lull->row++;
    } else if (!came) {
        lull->row = lull->paid = 0;
        if (lull->needed < LULL_TRIES_MOST)
            lull->needed *= 2;
    } else if (++lull->paid == lull->rule->paid) {
        lull->paid = 0;
        lull->needed = lull->rule->tries_least;
    }
}

bool lull_naps(struct lull_nap *nap, uint64_t singles, uint64_t bytes)
{
    uint64_t count = singles - nap->singles, came = bytes - nap->bytes;
    *nap = (struct lull_nap){singles, bytes};
    return came >= LULL_BULK_BYTES && came >= count * LULL_BULK_DATAGRAM;
}
