/* punch.h -- when to send which opener or probe, and how many an address may get (PROTOCOL §5).
 *
 * Two parts: budgets, one table per node, which no session can get around; and the schedule of one
 * destination. Nothing here sends. */
#ifndef AQ_NAT_PUNCH_H
#define AQ_NAT_PUNCH_H

#include "nat/cand.h"

enum {
    PROBES_UNANSWERED = 12, /* to one IPv4 address or IPv6 /64, whatever the ports */
    PROBE_BYTES = 64,
    SEARCH_PROBES = 2048, /* of one birthday search */
    OPENER_TTL_FIRST = 2,
    OPENER_TTL_LAST = 8,
    BUDGET_WAYS = 8
};

/* ---- budgets --------------------------------------------------------------------------------- */

struct budget_entry {
    uint64_t hash;
    uint64_t until_us; /* then it is forgotten */
    uint32_t probes;
};

struct budget {
    struct budget_entry *v;
    uint64_t key[2];
    uint32_t sets;      /* a power of two */
    uint64_t search_us; /* when the next birthday search may begin */
    uint32_t search_left;
    uint64_t refused; /* probes that were not allowed */
};

size_t budget_size(uint32_t count);
void budget_init(struct budget *b, void *mem, uint32_t count, const uint64_t key[2]);
/* One probe to an address that has not answered. False: it has had its 12 within a minute, or the
 * table has no room to count it: then none is sent. */
bool budget_take(struct budget *b, const struct aq_addr *addr, uint64_t now);
/* It has answered: it wants to be talked to. */
void budget_answered(struct budget *b, const struct aq_addr *addr);
/* One birthday search a minute, of so many probes. False: not yet. */
bool budget_begin_search(struct budget *b, uint64_t now);
/* One of its probes, to predicted or guessed ports of the address that the coordinator observed. */
bool budget_take_search(struct budget *b, uint64_t now);

/* ---- the schedule of one destination --------------------------------------------------------- */

/* Openers with rising TTL first, which die beyond our NATs and before theirs, then probes with full
 * TTL once both sides have opened: a NAT that sees a probe before its own side's packet may give
 * the tuple away for good. */
struct punch_plan {
    uint64_t next_us; /* UINT64_MAX: nothing more in this try */
    uint64_t probe_from_us;
    uint8_t ttl; /* of the next opener, 0 when these are done */
    uint8_t ttl_last;
    uint8_t probes;
};

/* start_us: when to open (now, or later by the ladder). open_us: how long until both have opened,
 * 0: no openers. hops: routers to the coordinator, 0 unknown. */
void punch_plan(struct punch_plan *plan, uint64_t start_us, uint64_t open_us, uint8_t hops);
struct punch_step {
    uint8_t ttl; /* 0: the socket's own */
};
/* Whether something is due; if so the plan has moved on. */
bool punch_due(struct punch_plan *plan, struct punch_step *step, uint64_t now);

/* PROTOCOL §5, the ladder: how long after its start a kind of candidate has its turn. */
uint64_t punch_ladder_us(enum cand_kind kind);

#endif
