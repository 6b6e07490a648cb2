/* sent.c -- tests of core/sent.c: positions survive growth, memory comes and goes, and running
 * dry is told. */
#include "core/sent.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    ARENA_BYTES = 1 << 20
};

struct world {
    struct arena arena;
    struct quota quota;
    struct sent_ring ring;
    void *mem;
};

static struct world world_make(uint64_t max_bytes)
{
    struct world w;
    size_t size = (arena_size(ARENA_BYTES) + 63) / 64 * 64;
    memset(&w, 0, sizeof w);
    w.mem = aligned_alloc(64, size);
    cr_assert_not_null(w.mem);
    memset(w.mem, 0, size);
    arena_init(&w.arena, w.mem, ARENA_BYTES);
    w.quota.max_bytes = max_bytes;
    sent_init(&w.ring);
    return w;
}

/* The struct moved when it was returned; the quota names the arena where it lies now. */
static void world_ready(struct world *w)
{
    w->quota.arena = &w->arena;
}

static void world_end(struct world *w)
{
    cr_expect_eq(w->quota.used_bytes, 0);
    cr_expect_eq(w->arena.used_bytes, 0);
    free(w->mem);
}

/* One packet in flight with some records whose values tell packet and place. */
static int send(struct world *w, unsigned records, uint8_t flags)
{
    int error = sent_reserve(&w->ring, &w->quota, 1, records);
    if (error)
        return error;
    for (unsigned i = 0; i < records; i++)
        sent_record(&w->ring, RECORD_STREAM)->value = w->ring.next * 1000 + i;
    struct sent sent = {.time_us = 7 * w->ring.next, .size = 1200, .flags = flags};
    uint64_t number = w->ring.next;
    const struct sent *slot = sent_commit(&w->ring, &sent);
    cr_assert_eq(slot, sent_at(&w->ring, number));
    return AQ_OK;
}

static void check_all(const struct world *w)
{
    for (uint64_t number = w->ring.first; number < w->ring.next; number++) {
        const struct sent *sent = sent_at(&w->ring, number);
        if (sent->state == SENT_SKIPPED)
            continue;
        cr_assert_eq(sent->time_us, 7 * number);
        for (uint32_t i = 0; i < sent->records; i++)
            cr_assert_eq(sent_record_at(&w->ring, sent->record + i)->value, number * 1000 + i);
    }
}

static const uint8_t FLIGHT = SENT_ELICITING | SENT_IN_FLIGHT;

/* RFC 9002 §A.1: each packet is found by number, until it is finished and let go. */
Test(sent, empty_takes_nothing)
{
    struct world w = world_make(UINT64_MAX);
    world_ready(&w);
    cr_expect_null(sent_at(&w.ring, 0));
    sent_trim(&w.ring, &w.quota);
    cr_expect_eq(w.quota.used_bytes, 0);
    cr_assert_eq(sent_reserve(&w.ring, &w.quota, 1, 24), AQ_OK);
    cr_expect_eq(w.quota.used_bytes, 2 * ARENA_BLOCK, "the smallest block for each ring");
    cr_assert_eq(send(&w, 3, FLIGHT), AQ_OK);
    cr_expect_eq(w.ring.eliciting_in_flight, 1);
    cr_expect_not_null(sent_at(&w.ring, 0));
    cr_expect_null(sent_at(&w.ring, 1));
    sent_trim(&w.ring, &w.quota);
    cr_expect_eq(w.ring.first, 0, "outstanding: it stays");
    sent_at(&w.ring, 0)->state = SENT_ACKED;
    sent_trim(&w.ring, &w.quota);
    cr_expect_null(sent_at(&w.ring, 0));
    cr_expect_eq(w.ring.next, 1);
    world_end(&w);
}

Test(sent, growth_keeps_positions)
{
    struct world w = world_make(UINT64_MAX);
    world_ready(&w);
    /* the front is not at a multiple of anything, and positions have gone round 32 bits */
    w.ring.first = w.ring.next = 1000003;
    w.ring.record_first = w.ring.record_begin = w.ring.record_next = UINT32_MAX - 100;
    for (unsigned i = 0; i < 2000; i++) {
        cr_assert_eq(send(&w, i % 5, FLIGHT), AQ_OK);
        check_all(&w);
        if (i % 3 == 0) {
            sent_at(&w.ring, w.ring.first)->state = i % 2 ? SENT_ACKED : SENT_LOST;
            sent_trim(&w.ring, &w.quota);
        }
    }
    cr_expect_gt(w.ring.cap, 1000);
    cr_expect_lt(w.ring.record_next, 10000, "it did wrap");
    sent_clear(&w.ring, &w.quota);
    cr_expect_eq(w.ring.first, w.ring.next);
    cr_expect_eq(w.ring.next, 1000003 + 2000);
    cr_expect_eq(w.ring.eliciting_in_flight, 0);
    world_end(&w);
}

Test(sent, only_the_front_is_let_go)
{
    struct world w = world_make(UINT64_MAX);
    world_ready(&w);
    for (unsigned i = 0; i < 6; i++)
        cr_assert_eq(send(&w, 2, FLIGHT), AQ_OK);
    for (uint64_t n = 1; n < 5; n++)
        sent_at(&w.ring, n)->state = SENT_ACKED;
    sent_trim(&w.ring, &w.quota);
    cr_expect_eq(w.ring.first, 0);
    cr_expect_eq(w.ring.record_first, 0);
    sent_at(&w.ring, 0)->state = SENT_LOST;
    sent_trim(&w.ring, &w.quota);
    cr_expect_eq(w.ring.first, 5);
    cr_expect_eq(w.ring.record_first, 10, "the tail of the records follows");
    check_all(&w);
    sent_at(&w.ring, 5)->state = SENT_ACKED;
    sent_trim(&w.ring, &w.quota);
    world_end(&w);
}

Test(sent, building_and_rolling_back)
{
    struct world w = world_make(UINT64_MAX);
    world_ready(&w);
    cr_assert_eq(sent_reserve(&w.ring, &w.quota, 1, 24), AQ_OK);
    sent_record(&w.ring, RECORD_ACK)->value = 5;
    sent_record(&w.ring, RECORD_PING);
    cr_expect_eq(sent_open_records(&w.ring), 2);
    sent_trim(&w.ring, &w.quota); /* a packet is being built: its records' memory stays */
    cr_expect_not_null(w.ring.r);
    sent_rollback(&w.ring);
    cr_expect_eq(sent_open_records(&w.ring), 0);
    cr_expect_eq(sent_record(&w.ring, RECORD_CRYPTO)->kind, RECORD_CRYPTO);
    struct sent sent = {.time_us = 3, .size = 50, .flags = FLIGHT, .path = 2, .phase = 1};
    sent_commit(&w.ring, &sent);
    const struct sent *slot = sent_at(&w.ring, 0);
    cr_expect_eq(slot->records, 1);
    cr_expect_eq(slot->state, SENT_OUTSTANDING);
    cr_expect_eq(slot->path, 2);
    cr_expect_eq(slot->phase, 1);
    cr_expect_eq(w.ring.last_eliciting_us, 3);
    sent_clear(&w.ring, &w.quota);
    world_end(&w);
}

/* RFC 9000 §21.4: a skipped number takes a place and is let go like any other; a reservation
 * covers both. RFC 9000 §12.3: numbers rise by one at least. */
Test(sent, skipping)
{
    struct world w = world_make(UINT64_MAX);
    world_ready(&w);
    for (unsigned i = 0; i < 200; i++) {
        cr_assert_eq(sent_reserve(&w.ring, &w.quota, 1, 1), AQ_OK);
        sent_skip(&w.ring);
        cr_expect_eq(w.ring.skipped, 2 * i);
        sent_record(&w.ring, RECORD_STREAM)->value = w.ring.next * 1000;
        sent_commit(&w.ring, &(struct sent){.time_us = 7 * w.ring.next, .flags = FLIGHT});
        check_all(&w);
        if (i == 0)
            cr_expect_eq(sent_at(&w.ring, 0)->state, SENT_SKIPPED);
    }
    sent_trim(&w.ring, &w.quota);
    cr_expect_eq(w.ring.first, 1);
    sent_clear(&w.ring, &w.quota);
    world_end(&w);
}

/* A receiver's packets hold ACKs only and are never acknowledged: they must not pile up. */
Test(sent, packets_not_in_flight_do_not_pile_up)
{
    struct world w = world_make(2 * ARENA_BLOCK);
    world_ready(&w);
    for (unsigned i = 0; i < 10000; i++)
        cr_assert_eq(send(&w, 1, 0), AQ_OK, "packet %u", i);
    cr_expect_eq(w.ring.eliciting_in_flight, 0);
    sent_trim(&w.ring, &w.quota);
    world_end(&w);
}

Test(sent, runs_dry)
{
    struct world w = world_make(4 * ARENA_BLOCK);
    world_ready(&w);
    unsigned sent = 0;
    while (send(&w, 1, FLIGHT) == AQ_OK)
        cr_assert_lt(++sent, 1000);
    cr_expect_gt(sent, 30);
    check_all(&w);
    cr_expect_eq(send(&w, 1, FLIGHT), AQ_FULL);
    cr_expect_eq(w.ring.next, sent, "nothing was used up");
    /* one acknowledged packet at the front makes room again */
    for (uint64_t n = 0; n < 3; n++)
        sent_at(&w.ring, n)->state = SENT_ACKED;
    cr_expect_eq(send(&w, 1, FLIGHT), AQ_OK);
    check_all(&w);
    sent_clear(&w.ring, &w.quota);
    cr_expect_eq(send(&w, 1, FLIGHT), AQ_OK);
    sent_clear(&w.ring, &w.quota);
    world_end(&w);
}

/* With memory for one ring only, a failed reservation of an empty pair keeps nothing. */
Test(sent, half_a_reservation_is_given_back)
{
    struct world w = world_make(ARENA_BLOCK);
    world_ready(&w);
    cr_expect_eq(sent_reserve(&w.ring, &w.quota, 1, 24), AQ_FULL);
    cr_expect_eq(w.quota.used_bytes, 0);
    world_end(&w);
}
