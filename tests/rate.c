/* rate.c -- tests of core/rate.c: delivery rate samples against the draft's formulas, by hand. */
#include "core/rate.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    MS = 1000,
    SECOND = 1000000,
    ARENA_BYTES = 1 << 16
};

struct world {
    struct arena arena;
    struct quota quota;
    struct rate rate;
    struct rate_sample sample;
    uint64_t in_flight;
    void *mem;
};

static struct world *world_new(void)
{
    size_t size = (arena_size(ARENA_BYTES) + 63) / 64 * 64;
    struct world *w = calloc(1, sizeof *w);
    cr_assert_not_null(w);
    w->mem = aligned_alloc(64, size);
    cr_assert_not_null(w->mem);
    memset(w->mem, 0, size);
    arena_init(&w->arena, w->mem, ARENA_BYTES);
    w->quota = (struct quota){.arena = &w->arena, .max_bytes = UINT64_MAX};
    rate_init(&w->rate, &w->quota);
    return w;
}

static void world_end(struct world *w)
{
    rate_idle(&w->rate);
    cr_expect_eq(w->quota.used_bytes, 0);
    free(w->mem);
    free(w);
}

static void sent(struct world *w, uint64_t bytes, uint64_t now)
{
    w->in_flight += bytes;
    rate_on_sent(&w->rate, bytes, w->in_flight, 0, now);
}

static void acked(struct world *w, uint64_t bytes, uint64_t sent_us, uint64_t now)
{
    w->in_flight -= bytes;
    rate_on_acked(&w->rate, bytes, sent_us, 0, &w->sample, now);
}

/* Ten packets of 1,000 bytes, one a millisecond, arrive one every two: the ACKs are the slower of
 * the two, so 500,000 bytes a second. */
Test(rate, slower_acks)
{
    struct world *w = world_new();
    for (unsigned i = 0; i < 10; i++)
        sent(w, 1000, SECOND + i * MS);
    for (unsigned i = 0; i < 10; i++)
        acked(w, 1000, SECOND + i * MS, SECOND + 100 * MS + i * 2 * MS);
    /* the last: sent in the flight's first round, so from its beginning: 10,000 in 118 ms */
    cr_expect_eq(w->sample.delivered, 10000);
    cr_expect_eq(w->sample.bytes_per_s, UINT64_C(10000) * SECOND / (118 * MS));
    cr_expect_eq(w->sample.in_flight_bytes, 10000);

    /* A second round, sent as the first came in: 2 ms apart. */
    struct world *v = world_new();
    for (unsigned i = 0; i < 50; i++)
        sent(v, 1000, SECOND + i * 2 * MS);
    for (unsigned i = 0; i < 50; i++) {
        acked(v, 1000, SECOND + i * 2 * MS, SECOND + 100 * MS + i * 2 * MS);
        sent(v, 1000, SECOND + 100 * MS + i * 2 * MS);
    }
    acked(v, 1000, SECOND + 100 * MS, SECOND + 200 * MS);
    cr_expect_eq(v->sample.prior_delivered, 1000);
    cr_expect_eq(v->sample.delivered, 50000);
    cr_expect_eq(v->sample.bytes_per_s, 500000);
    world_end(w);
    world_end(v);
}

/* ACKs that were held up and come at once: the sending was the slower, so no burst looks like
 * bandwidth. */
Test(rate, compressed_acks)
{
    struct world *w = world_new();
    for (unsigned i = 0; i < 50; i++)
        sent(w, 1000, SECOND + i * 2 * MS);
    acked(w, 1000, SECOND, SECOND + 100 * MS);
    sent(w, 1000, SECOND + 100 * MS);
    for (unsigned i = 1; i < 50; i++)
        acked(w, 1000, SECOND + i * 2 * MS, SECOND + 101 * MS);
    acked(w, 1000, SECOND + 100 * MS, SECOND + 101 * MS);
    /* 50,000 bytes since packet 0 was acknowledged; sent over 100 ms, acknowledged in 1 ms */
    cr_expect_eq(w->sample.delivered, 50000);
    cr_expect_eq(w->sample.bytes_per_s, 500000);
    world_end(w);
}

/* An interval below the least RTT is no sample; nor is what was delivered at the moment of sending.
 */
Test(rate, too_short)
{
    struct world *w = world_new();
    sent(w, 1000, SECOND);
    rate_on_acked(&w->rate, 1000, SECOND, 10 * MS, &w->sample, SECOND + 9 * MS);
    cr_expect(w->sample.valid);
    cr_expect_eq(w->sample.bytes_per_s, 0);
    cr_expect_eq(w->sample.delivered, 1000);
    w->in_flight = 0;
    sent(w, 1000, 2 * SECOND);
    rate_on_acked(&w->rate, 1000, 2 * SECOND, 10 * MS, &w->sample, 2 * SECOND + 10 * MS);
    cr_expect_eq(w->sample.bytes_per_s, 100000);
    w->in_flight = 0;
    sent(w, 1000, 3 * SECOND);
    acked(w, 1000, 3 * SECOND, 3 * SECOND);
    cr_expect_eq(w->sample.bytes_per_s, 0);
    world_end(w);
}

/* Samples are app-limited from the moment the application ran dry until what was in flight then,
 * and one byte more, has been acknowledged. */
Test(rate, app_limited)
{
    struct world *w = world_new();
    sent(w, 1000, SECOND);
    sent(w, 1000, SECOND + 1);
    rate_on_limited(&w->rate, w->in_flight);
    sent(w, 1000, SECOND + 2);
    acked(w, 1000, SECOND, SECOND + 100 * MS);
    cr_expect(!w->sample.app_limited);
    sent(w, 1000, SECOND + 100 * MS);
    acked(w, 1000, SECOND + 1, SECOND + 101 * MS);
    cr_expect(!w->sample.app_limited);
    acked(w, 1000, SECOND + 2, SECOND + 102 * MS);
    cr_expect(w->sample.app_limited, "sent after the application ran dry");
    cr_expect_eq(w->rate.app_limited, 0);
    acked(w, 1000, SECOND + 100 * MS, SECOND + 200 * MS);
    cr_expect(w->sample.app_limited, "the bubble was still out when it was sent");
    sent(w, 1000, SECOND + 200 * MS);
    acked(w, 1000, SECOND + 200 * MS, SECOND + 300 * MS);
    cr_expect(!w->sample.app_limited);
    rate_on_limited(&w->rate, 0);
    cr_expect_neq(w->rate.app_limited, 0);
    world_end(w);
}

/* After idleness an interval begins with the first packet sent, not with the last ACK before. */
Test(rate, idle)
{
    struct world *w = world_new();
    sent(w, 1000, SECOND);
    acked(w, 1000, SECOND, SECOND + 10 * MS);
    rate_idle(&w->rate);
    cr_expect_eq(w->quota.used_bytes, 0, "nothing in flight costs nothing");
    sent(w, 1000, 60 * SECOND);
    acked(w, 1000, 60 * SECOND, 60 * SECOND + 10 * MS);
    cr_expect_eq(w->sample.bytes_per_s, 100000);
    world_end(w);
}

/* Losses since a packet was sent. */
Test(rate, losses)
{
    struct world *w = world_new();
    struct rate_sample s = {0};
    for (unsigned i = 0; i < 10; i++)
        sent(w, 1000, SECOND + i * MS);
    rate_on_lost(&w->rate, 2000, SECOND + 3 * MS, &s);
    cr_expect(s.valid);
    cr_expect_eq(s.lost, 2000);
    cr_expect_eq(s.in_flight_bytes, 4000);
    w->in_flight -= 2000;
    sent(w, 1000, SECOND + 50 * MS);
    rate_on_lost(&w->rate, 1000, SECOND + 50 * MS, &s);
    cr_expect_eq(s.lost, 1000);
    cr_expect_eq(s.in_flight_bytes, 9000);
    acked(w, 1000, SECOND + 9 * MS, SECOND + 100 * MS);
    cr_expect_eq(w->sample.lost, 3000);
    world_end(w);
}

/* One snapshot for what is sent within the grain; a packet finds its aggregate by its time. */
Test(rate, grain)
{
    struct world *w = world_new();
    for (unsigned i = 0; i < 40; i++) {
        w->in_flight += 1000;
        rate_on_sent(&w->rate, 1000, w->in_flight, 10 * MS, SECOND + i * MS);
    }
    cr_expect_eq(w->rate.count, 4);
    acked(w, 1000, SECOND + 25 * MS, SECOND + 100 * MS);
    cr_expect_eq(w->sample.in_flight_bytes, 30000);
    acked(w, 1000, SECOND + 19 * MS, SECOND + 100 * MS);
    cr_expect_eq(w->sample.in_flight_bytes, 20000);
    acked(w, 1000, SECOND + 20 * MS, SECOND + 100 * MS);
    cr_expect_eq(w->sample.in_flight_bytes, 30000);
    acked(w, 1000, SECOND + 39 * MS, SECOND + 100 * MS);
    cr_expect_eq(w->sample.in_flight_bytes, 40000);
    world_end(w);
}

/* More sends than the ring holds: the oldest packets use the oldest snapshot that is left. */
Test(rate, overrun)
{
    struct world *w = world_new();
    for (unsigned i = 0; i < 1000; i++)
        sent(w, 1000, SECOND + i * MS);
    uint32_t kept = w->rate.count;
    cr_expect_gt(kept, 64);
    acked(w, 1000, SECOND, SECOND + SECOND);
    cr_expect(w->sample.valid);
    cr_expect_eq(w->sample.in_flight_bytes, (1000 - kept + 1) * 1000);
    acked(w, 1000, SECOND + 999 * MS, SECOND + SECOND);
    cr_expect_eq(w->sample.in_flight_bytes, 1000000);
    world_end(w);
}

/* Without memory there are no samples, and that is all. */
Test(rate, no_memory)
{
    struct world *w = world_new();
    w->quota.max_bytes = 0;
    sent(w, 1000, SECOND);
    acked(w, 1000, SECOND, SECOND + MS);
    cr_expect(!w->sample.valid);
    cr_expect_eq(w->sample.bytes_per_s, 0);
    cr_expect_eq(w->rate.delivered, 1000);
    struct rate_sample s = {.valid = true};
    rate_on_lost(&w->rate, 1000, SECOND, &s);
    cr_expect(!s.valid);
    world_end(w);
}
