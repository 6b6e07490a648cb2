/* range.h -- a sorted set of disjoint half-open ranges [lo, hi) in storage its owner gives.
 *
 * Holds packet numbers to acknowledge, stream bytes received, acknowledged, or lost. Bounded: what
 * does not fit is refused and nothing changes; the owner names the outcome. */
#ifndef AQ_RANGE_H
#define AQ_RANGE_H

#include <stdbool.h>
#include <stdint.h>

struct range {
    uint64_t lo, hi;
};

struct range_set {
    struct range *v; /* ascending; gaps of at least 1 between neighbours */
    uint16_t count, max;
};

/* Adds [lo, hi), merging. False: it would need one more range than max. Empty ranges are ignored
 * (true). */
bool range_add(struct range_set *set, uint64_t lo, uint64_t hi);
/* Takes [lo, hi) out. False: it would split a range and there is no room; nothing changed. */
bool range_remove(struct range_set *set, uint64_t lo, uint64_t hi);
/* Whether all of [lo, hi) is inside. */
bool range_covers(const struct range_set *set, uint64_t lo, uint64_t hi);
/* Whether any of [lo, hi) is inside. */
bool range_touches(const struct range_set *set, uint64_t lo, uint64_t hi);
static inline bool range_has(const struct range_set *set, uint64_t x)
{
    return range_covers(set, x, x + 1);
}
/* Forgets everything below x. */
void range_trim(struct range_set *set, uint64_t x);
/* Forgets the lowest range. */
void range_drop_lowest(struct range_set *set);
/* Sum of the sizes. */
uint64_t range_total(const struct range_set *set);

#endif
