/* range.c -- a sorted set of disjoint half-open ranges in a small array.
 *
 *     v[0] [lo hi)   v[1] [lo hi)   ...   v[count-1] [lo hi)
 *     each hi < the next lo: neighbours are merged
 *
 * Packet numbers and stream offsets arrive mostly in order, so every search looks at the top end
 * first: adding there is O(1). Otherwise it goes by halves, because a peer that leaves a thousand
 * gaps in a stream (recvq.h) decides where it writes next, some hundred times in each packet.
 *
 * Called by core/ack, core/sent, core/recvq, core/sendq. No RFC: their sections say what the
 * numbers mean. */
#include "core/range.h"

#include <assert.h>
#include <string.h>

/* Replaces the n ranges from index `at` by the `with` ranges of `in`. The caller has made sure of
 * the room. */
static void splice(struct range_set *set, unsigned at, unsigned n, const struct range *in,
                   unsigned with)
{
    assert(at + n <= set->count && set->count - n + with <= set->max);
    if (n != with)
        memmove(&set->v[at + with], &set->v[at + n], (set->count - at - n) * sizeof *set->v);
    for (unsigned i = 0; i < with; i++)
        set->v[at + i] = in[i];
    set->count = (uint16_t)(set->count - n + with);
}

/* How many ranges begin at x or below. */
static unsigned begun(const struct range_set *set, uint64_t x)
{
    unsigned lo = 0, hi = set->count;
    if (hi > 0 && set->v[hi - 1].lo <= x)
        return hi;
    while (lo < hi) {
        unsigned middle = (lo + hi) / 2;
        if (set->v[middle].lo <= x)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

bool range_add(struct range_set *set, uint64_t lo, uint64_t hi)
{
    if (lo >= hi)
        return true;
    unsigned end = begun(set, hi);
    unsigned at = end; /* v[at .. end) overlap or adjoin [lo, hi) */
    while (at > 0 && set->v[at - 1].hi >= lo)
        at--;
    struct range merged = {lo, hi};
    if (at < end) {
        if (set->v[at].lo < lo)
            merged.lo = set->v[at].lo;
        if (set->v[end - 1].hi > hi)
            merged.hi = set->v[end - 1].hi;
    } else if (set->count == set->max) {
        return false;
    }
    splice(set, at, end - at, &merged, 1);
    return true;
}

bool range_remove(struct range_set *set, uint64_t lo, uint64_t hi)
{
    if (lo >= hi)
        return true;
    unsigned end = begun(set, hi - 1);
    unsigned at = end; /* v[at .. end) overlap [lo, hi) */
    while (at > 0 && set->v[at - 1].hi > lo)
        at--;
    if (at == end)
        return true;
    struct range rest[2];
    unsigned rests = 0;
    if (set->v[at].lo < lo)
        rest[rests++] = (struct range){set->v[at].lo, lo};
    if (set->v[end - 1].hi > hi)
        rest[rests++] = (struct range){hi, set->v[end - 1].hi};
    if (rests > end - at && set->count == set->max)
        return false;
    splice(set, at, end - at, rest, rests);
    return true;
}

bool range_covers(const struct range_set *set, uint64_t lo, uint64_t hi)
{
    if (lo >= hi)
        return true;
    unsigned i = begun(set, lo);
    return i > 0 && set->v[i - 1].hi >= hi;
}

bool range_touches(const struct range_set *set, uint64_t lo, uint64_t hi)
{
    if (lo >= hi)
        return false;
    unsigned i = begun(set, hi - 1);
    return i > 0 && set->v[i - 1].hi > lo;
}

void range_trim(struct range_set *set, uint64_t x)
{
    unsigned n = 0;
    while (n < set->count && set->v[n].hi <= x)
        n++;
    if (n > 0)
        splice(set, 0, n, NULL, 0);
    if (set->count > 0 && set->v[0].lo < x)
        set->v[0].lo = x;
}

void range_drop_lowest(struct range_set *set)
{
    assert(set->count > 0);
    splice(set, 0, 1, NULL, 0);
}

uint64_t range_total(const struct range_set *set)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < set->count; i++)
        total += set->v[i].hi - set->v[i].lo;
    return total;
}
