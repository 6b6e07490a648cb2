/* sent.c -- the rings of what is in flight in one packet number space.
 *
 *     v: packets    first ........................ next          at number & (cap - 1)
 *     r: records    record_first .. record_begin .. record_next  at position & (record_cap - 1)
 *                                   the packet being built
 *
 * Both are indexed by free-running positions in arrays of a power of two, so growing is a copy
 * that keeps every position, and finding a packet is one mask. Packets end at the front, and
 * their records end with them.
 *
 * A packet that is not in flight (it bears only ACKs, padding apart) may never be acknowledged:
 * a peer that only sends never needs to. It is therefore let go as soon as it stands at the
 * front, with no fate told to anyone; otherwise a receiver's ACKs would fill the ring for ever.
 *
 * What has left the front keeps its slot until the array comes round, so that a lost packet that is
 * acknowledged after all can be told (loss.c); nothing is reserved for that.
 *
 * Called by send.c and loss.c. RFC 9002 §A.1, RFC 9000 §21.4. */
#include "core/sent.h"

#include <assert.h>
#include <string.h>

/* Rings never need more: 2^26 packets are 100 GB in flight. */
enum {
    SENT_CAP_MAX = 1 << 26
};

void sent_init(struct sent_ring *ring)
{
    memset(ring, 0, sizeof *ring);
    ring->largest_acked = UINT64_MAX;
    ring->loss_time_us = AQ_NEVER;
    ring->skipped = UINT64_MAX;
    ring->lost = UINT64_MAX;
}

/* The smallest capacity, twice the present one or the most that fits the smallest block, that
 * holds need. 0: too many. */
static uint32_t cap_for(uint32_t cap, uint32_t unit, uint64_t need)
{
    if (cap == 0)
        for (cap = 1; cap * 2 * unit <= ARENA_BLOCK;)
            cap *= 2;
    while (cap < need)
        if ((cap *= 2) > SENT_CAP_MAX)
            return 0;
    return cap;
}

static bool packets_grow(struct sent_ring *ring, struct quota *quota, uint64_t need)
{
    uint32_t cap = cap_for(ring->cap, sizeof *ring->v, need);
    struct sent *v = cap ? quota_take(quota, cap * sizeof *v) : NULL;
    if (!v)
        return false;
    for (uint64_t number = ring->first; number < ring->next; number++)
        v[number & (cap - 1)] = ring->v[number & (ring->cap - 1)];
    ring->kept = ring->first; /* what had left the ring stays behind */
    if (ring->cap)
        quota_give(quota, ring->v, ring->cap * sizeof *v);
    ring->v = v;
    ring->cap = cap;
    return true;
}

static bool records_grow(struct sent_ring *ring, struct quota *quota, uint64_t need)
{
    uint32_t cap = cap_for(ring->record_cap, sizeof *ring->r, need);
    struct record *r = cap ? quota_take(quota, cap * sizeof *r) : NULL;
    if (!r)
        return false;
    for (uint32_t i = ring->record_first; i != ring->record_next; i++)
        r[i & (cap - 1)] = ring->r[i & (ring->record_cap - 1)];
    if (ring->record_cap)
        quota_give(quota, ring->r, ring->record_cap * sizeof *r);
    ring->r = r;
    ring->record_cap = cap;
    return true;
}

/* Advances the front over what needs no place any more. */
static void front_advance(struct sent_ring *ring)
{
    while (ring->first < ring->next) {
        const struct sent *sent = &ring->v[ring->first & (ring->cap - 1)];
        if (sent->state == SENT_OUTSTANDING && sent->flags & SENT_IN_FLIGHT)
            break;
        ring->first++;
    }
    ring->record_first = ring->first < ring->next ? ring->v[ring->first & (ring->cap - 1)].record
                                                  : ring->record_begin;
}

static void memory_give(struct sent_ring *ring, struct quota *quota)
{
    if (ring->cap)
        quota_give(quota, ring->v, ring->cap * sizeof *ring->v);
    if (ring->record_cap)
        quota_give(quota, ring->r, ring->record_cap * sizeof *ring->r);
    ring->v = NULL;
    ring->r = NULL;
    ring->cap = ring->record_cap = 0;
    ring->kept = ring->next;
    ring->lost = UINT64_MAX;
}

int sent_reserve(struct sent_ring *ring, struct quota *quota, unsigned packets, unsigned records)
{
    /* One place more: a number may be skipped before the first. */
    if (ring->next - ring->first + packets + 1 > ring->cap
        || ring->record_next - ring->record_first + records > ring->record_cap)
        front_advance(ring);
    uint64_t packets_need = ring->next - ring->first + packets + 1;
    uint64_t records_need = (uint64_t)(ring->record_next - ring->record_first) + records;
    if ((packets_need > ring->cap && !packets_grow(ring, quota, packets_need))
        || (records_need > ring->record_cap && !records_grow(ring, quota, records_need))) {
        sent_trim(ring, quota); /* one of two blocks may have been taken for an empty ring */
        return AQ_FULL;
    }
    return AQ_OK;
}

struct record *sent_record(struct sent_ring *ring, enum record_kind kind)
{
    assert(ring->record_next - ring->record_first < ring->record_cap);
    assert(sent_open_records(ring) < UINT8_MAX);
    struct record *record = &ring->r[ring->record_next++ & (ring->record_cap - 1)];
    *record = (struct record){.kind = (uint8_t)kind};
    return record;
}

unsigned sent_open_records(const struct sent_ring *ring)
{
    return ring->record_next - ring->record_begin;
}

void sent_rollback(struct sent_ring *ring)
{
    ring->record_next = ring->record_begin;
}

struct sent *sent_commit(struct sent_ring *ring, const struct sent *sent)
{
    assert(ring->next - ring->first < ring->cap);
    assert(!(sent->flags & SENT_ELICITING) || sent->flags & SENT_IN_FLIGHT);
    struct sent *slot = &ring->v[ring->next++ & (ring->cap - 1)];
    *slot = *sent;
    slot->state = SENT_OUTSTANDING;
    slot->record = ring->record_begin;
    slot->records = (uint8_t)sent_open_records(ring);
    slot->reserved = 0;
    ring->record_begin = ring->record_next;
    if (sent->flags & SENT_ELICITING) {
        ring->eliciting_in_flight++;
        ring->last_eliciting_us = sent->time_us;
    }
    return slot;
}

void sent_skip(struct sent_ring *ring)
{
    /* RFC 9000 §21.4: a number that was never sent; whoever acknowledges it did not wait for it. */
    assert(ring->next - ring->first < ring->cap);
    ring->skipped = ring->next;
    ring->v[ring->next++ & (ring->cap - 1)] =
        (struct sent){.state = SENT_SKIPPED, .record = ring->record_begin};
}

void sent_trim(struct sent_ring *ring, struct quota *quota)
{
    front_advance(ring);
    if (ring->first == ring->next && sent_open_records(ring) == 0)
        memory_give(ring, quota);
}

void sent_clear(struct sent_ring *ring, struct quota *quota)
{
    ring->first = ring->next;
    ring->record_first = ring->record_begin = ring->record_next;
    ring->eliciting_in_flight = 0;
    ring->loss_time_us = AQ_NEVER;
    memory_give(ring, quota);
}

void sent_path_gone(struct sent_ring *ring, uint8_t path, uint8_t gone)
{
    for (uint32_t i = 0; i < ring->cap; i++) {
        if (ring->v[i].path == path)
            ring->v[i].path = gone;
    }
}
