/* strike.c -- see strike.h. Called by early.c. */
#include "core/strike.h"

#include <assert.h>

size_t strike_size(uint32_t slots)
{
    return slots * sizeof(struct strike_entry);
}

void strike_init(struct strike *s, void *mem, uint32_t slots)
{
    assert(slots >= STRIKE_WAYS && (slots & (slots - 1)) == 0);
    s->v = mem;
    s->mask = slots / STRIKE_WAYS - 1;
}

bool strike_take(struct strike *s, uint64_t hash, uint64_t now)
{
    struct strike_entry *bucket = s->v + (hash & s->mask) * STRIKE_WAYS;
    struct strike_entry *free = NULL;
    uint64_t now_s = now / 1000000 + 1; /* never 0 */
    for (unsigned i = 0; i < STRIKE_WAYS; i++) {
        struct strike_entry *e = &bucket[i];
        if (e->until_s < now_s)
            free = e;
        else if (e->hash == hash) /* RFC 8446 §8.2: a duplicate */
            return false;
    }
    if (!free) /* RFC 8446 §8: full: refused, never guessed */
        return false;
    *free = (struct strike_entry){hash, now_s + STRIKE_LIFE_S};
    return true;
}
