/* punch.c -- budgets of probes, and the schedule of one destination.
 *
 *     0       open_us                                     3 s
 *     |2 3 4 5 6 7 8|   full TTL: now, 50, 150, 350 ms later
 *
 * The budget's table fails closed: where no place can be had without forgetting somebody who is
 * still counted, nothing is sent. An attacker who fills it gets silence, not probes.
 *
 * Called by nat/session. */
#include "nat/punch.h"

#include "core/addr.h"
#include "crypto/prim.h"

#include <assert.h>
#include <string.h>

#define BUDGET_US 60000000 /* an address is counted for a minute after its last probe */

enum {
    FIRST_GAP_US = 50000,
    OPENER_GAP_US = 1000,
    PROBES_A_TRY = 4 /* three tries of it are an address's budget */
};

static uint32_t sets_for(uint32_t count)
{
    uint32_t sets = 1;
    while ((uint64_t)sets * BUDGET_WAYS < count)
        sets *= 2;
    return sets;
}

size_t budget_size(uint32_t count)
{
    return (size_t)sets_for(count) * BUDGET_WAYS * sizeof(struct budget_entry);
}

void budget_init(struct budget *b, void *mem, uint32_t count, const uint64_t key[2])
{
    assert(count > 0 && count <= 1U << 28);
    *b = (struct budget){.v = mem, .key = {key[0], key[1]}, .sets = sets_for(count)};
}

/* PROTOCOL §5: by IPv4 address or IPv6 /64, whatever the port: a victim has many ports, and many
 * addresses of a /64. */
static uint64_t hash_of(const struct budget *b, const struct aq_addr *addr)
{
    uint8_t name[20];
    size_t size = addr_bytes(addr, false, name);
    uint64_t hash = prim_siphash(b->key, name, addr->family == 6 ? 1 + 8 : size);
    return hash ? hash : 1;
}

/* Its entry, or a free place; NULL: neither. */
static struct budget_entry *entry_of(const struct budget *b, uint64_t hash, uint64_t now)
{
    struct budget_entry *set = &b->v[(size_t)(hash & (b->sets - 1)) * BUDGET_WAYS], *place = NULL;
    for (unsigned i = 0; i < BUDGET_WAYS; i++) {
        if (set[i].hash == hash && set[i].until_us > now)
            return &set[i];
        if (set[i].until_us <= now)
            place = &set[i];
    }
    if (place)
        *place = (struct budget_entry){.hash = hash, .until_us = now + BUDGET_US};
    return place;
}

bool budget_take(struct budget *b, const struct aq_addr *addr, uint64_t now)
{
    struct budget_entry *e = entry_of(b, hash_of(b, addr), now);
    /* PROTOCOL §5: no more than 12 to an address that has not answered. */
    if (!e || e->probes >= PROBES_UNANSWERED) {
        b->refused++;
        return false;
    }
    e->probes++;
    e->until_us = now + BUDGET_US; /* so that no minute has more than 12, wherever it begins */
    return true;
}

void budget_answered(struct budget *b, const struct aq_addr *addr)
{
    struct budget_entry *e = entry_of(b, hash_of(b, addr), 0);
    if (e)
        *e = (struct budget_entry){0};
}

bool budget_begin_search(struct budget *b, uint64_t now)
{
    /* PROTOCOL §5: one a minute. */
    if (now < b->search_us)
        return false;
    b->search_us = now + BUDGET_US;
    b->search_left = SEARCH_PROBES;
    return true;
}

bool budget_take_search(struct budget *b, uint64_t now)
{
    /* PROTOCOL §5: at most 2,048 probes, within its minute. */
    if (b->search_left == 0 || now >= b->search_us) {
        b->refused++;
        return false;
    }
    b->search_left--;
    return true;
}

/* ---- the schedule ---------------------------------------------------------------------------- */

void punch_plan(struct punch_plan *plan, uint64_t start_us, uint64_t open_us, uint8_t hops)
{
    *plan = (struct punch_plan){.next_us = start_us + open_us, .probe_from_us = start_us + open_us};
    /* NAT.md §5: up to the lesser of 8 and the routers to the coordinator. With one router there is
     * no NAT of ours to open, and the second hop may be theirs. */
    plan->ttl_last = hops > 0 && hops < OPENER_TTL_LAST ? hops : OPENER_TTL_LAST;
    if (open_us > 0 && plan->ttl_last >= OPENER_TTL_FIRST) {
        plan->ttl = OPENER_TTL_FIRST;
        plan->next_us = start_us;
    }
}

bool punch_due(struct punch_plan *plan, struct punch_step *step, uint64_t now)
{
    if (plan->next_us > now)
        return false;
    step->ttl = plan->ttl;
    if (plan->ttl > 0) {
        plan->ttl = plan->ttl < plan->ttl_last ? plan->ttl + 1 : 0;
        plan->next_us += OPENER_GAP_US;
        if (plan->ttl == 0 && plan->next_us < plan->probe_from_us)
            plan->next_us = plan->probe_from_us;
        return true;
    }
    plan->next_us = now + ((uint64_t)FIRST_GAP_US << plan->probes);
    if (++plan->probes == PROBES_A_TRY)
        plan->next_us = UINT64_MAX;
    return true;
}

uint64_t punch_ladder_us(enum cand_kind kind)
{
    return kind == CAND_PREDICTED ? 150000 : 0;
}
