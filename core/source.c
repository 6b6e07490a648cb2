/* source.c -- see source.h.
 *
 * A token bucket for each IPv4 address and each IPv6 /64, in a table of fixed size without names:
 * a keyed hash gives each source two places, both pay, and the emptier of the two decides. So two
 * sources that share one place do not harm each other, and nobody who does not know the key can
 * choose places. Only addresses that a token has validated pay, else a stranger could spend what
 * belongs to others. What was completed is given back: only handshakes that stay open count.
 * Called by accept.c and conn.c. */
#include "core/source.h"

#include "crypto/prim.h"

#include <string.h>

void sources_init(struct sources *s, const uint64_t key[2], uint32_t most, uint64_t per_us)
{
    memset(s, 0, sizeof *s);
    memcpy(s->key, key, sizeof s->key);
    s->gap_us = per_us / most;
    s->burst_us = s->gap_us * most;
}

static void places(struct sources *s, const struct aq_addr *addr, uint64_t *at[2])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* RFC 4291 §2.5.5.2 */
    bool is_mapped = addr->family == 6 && !memcmp(addr->ip, mapped, sizeof mapped);
    bool is_4 = addr->family == 4 || is_mapped;
    uint8_t bytes[9] = {is_4 ? 4 : 6};
    memcpy(bytes + 1, addr->ip + (is_mapped ? 12 : 0), is_4 ? 4 : 8);
    uint64_t hash = prim_siphash(s->key, bytes, sizeof bytes);
    at[0] = &s->spent_us[hash % SOURCES];
    at[1] = &s->spent_us[(hash >> 32) % SOURCES];
}

bool sources_take(struct sources *s, const struct aq_addr *addr, bool refuse, uint64_t now)
{
    uint64_t *at[2];
    places(s, addr, at);
    uint64_t spent = *at[0] < *at[1] ? *at[0] : *at[1];
    if (refuse && spent > now && spent - now + s->gap_us > s->burst_us)
        return false;
    for (unsigned i = 0; i < (at[0] == at[1] ? 1 : 2); i++) {
        *at[i] = (*at[i] > now ? *at[i] : now) + s->gap_us;
        if (*at[i] > now + s->burst_us) /* never more than all */
            *at[i] = now + s->burst_us;
    }
    return true;
}

void sources_give(struct sources *s, const struct aq_addr *addr)
{
    uint64_t *at[2];
    places(s, addr, at);
    for (unsigned i = 0; i < (at[0] == at[1] ? 1 : 2); i++)
        *at[i] -= *at[i] < s->gap_us ? *at[i] : s->gap_us;
}
