/* lull.c -- see lull.h: spins that pay go on, spins in vain become rare. */
#include "reactor/lull.h"

void lull_init(struct lull *lull, bool alone)
{
    *lull = (struct lull){.needed = alone ? 0 : LULL_TRIES_LEAST};
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
    bool was_short = came && waited_us <= LULL_SHORT_US;
    if (!spun) {
        if (!was_short)
            lull->row = 0;
        else if (lull->row < LULL_TRIES_MOST)
            lull->row++;
    } else if (!came) {
        lull->row = lull->paid = 0;
        if (lull->needed < LULL_TRIES_MOST)
            lull->needed *= 2;
    } else if (++lull->paid == LULL_PAID) {
        lull->paid = 0;
        lull->needed = LULL_TRIES_LEAST;
    }
}
