/* source.h -- handshakes begun and not completed, by where they come from: one address shall not
 * take all places for half-open connections (SECURITY.md row 7). */
#ifndef AQ_SOURCE_H
#define AQ_SOURCE_H

#include "core/antq.h"

enum {
    SOURCES = 2048
};

struct sources {
    uint64_t key[2];
    uint64_t gap_us, burst_us;  /* what a handshake costs, and how much may be spent ahead */
    uint64_t spent_us[SOURCES]; /* time until which a bucket is spent */
};

/* A source may have begun so many at once, and as many again in each per_us. */
void sources_init(struct sources *s, const uint64_t key[2], uint32_t most, uint64_t per_us);
/* A handshake begins from a validated address. False, only where it is refused: too many. */
bool sources_take(struct sources *s, const struct aq_addr *addr, bool refuse, uint64_t now);
/* It was completed, and costs nothing. */
void sources_give(struct sources *s, const struct aq_addr *addr);

#endif
