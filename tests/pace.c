/* pace.c -- tests of core/pace.c: the rate of RFC 9002 §7.7, a bucket that keeps trains whole,
 * and no limit where the round trip is shorter than a host's turn. */
#include "core/pace.h"

#include <criterion/criterion.h>

enum {
    MTU = 1452,
    MS = 1000,
    SECOND = 1000000
};

struct world {
    struct pace pace;
    struct cc cc;
    struct rtt rtt;
};

static struct world world_make(uint64_t cwnd, uint64_t smoothed_us, bool slow_start, uint64_t now)
{
    struct world w;
    cc_init(&w.cc, &cc_newreno, MTU, now);
    w.cc.cwnd_bytes = cwnd;
    w.cc.ssthresh_bytes = slow_start ? UINT64_MAX : cwnd;
    w.rtt =
        (struct rtt){.smoothed_us = smoothed_us, .latest_us = smoothed_us, .min_us = smoothed_us};
    pace_init(&w.pace, now);
    pace_update(&w.pace, &w.cc, &w.rtt, now);
    return w;
}

static void update(struct world *w, uint64_t now)
{
    pace_update(&w->pace, &w->cc, &w->rtt, now);
}

/* RFC 9002 §7.7: N is 2 in slow start and 1.25 after. */
Test(pace, rate)
{
    struct world w = world_make(100000, 100 * MS, true, 0);
    cr_expect_eq(w.pace.rate_bytes_per_s, 2000000);
    w = world_make(100000, 100 * MS, false, 0);
    cr_expect_eq(w.pace.rate_bytes_per_s, 1250000);
}

/* RFC 9002 §7.7: a burst of the initial window leaves at once, and then the rate holds. */
Test(pace, initial_burst)
{
    struct world w;
    cc_init(&w.cc, &cc_newreno, MTU, 0);
    rtt_init(&w.rtt);
    pace_init(&w.pace, 5);
    pace_update(&w.pace, &w.cc, &w.rtt, 1000);
    cr_expect_eq(w.pace.rate_bytes_per_s, 87207); /* 2 * 14,520 / 0.333 */
    cr_expect_eq(pace_room(&w.pace), 10 * MTU);
    cr_expect_eq(pace_next(&w.pace, 10 * MTU, 1000), 1000);
    pace_on_sent(&w.pace, 10 * MTU);
    cr_expect_eq(pace_room(&w.pace), 0);
    uint64_t next = pace_next(&w.pace, MTU, 1000);
    cr_expect_eq(next, 1000 + 16651); /* 1,452 / 87,207 s, rounded up */
    update(&w, next - 1);
    cr_expect_lt(pace_room(&w.pace), MTU);
    cr_expect_eq(pace_next(&w.pace, MTU, next - 1), next);
    update(&w, next);
    cr_expect_geq(pace_room(&w.pace), MTU);
    cr_expect_eq(pace_next(&w.pace, MTU, next), next);
}

/* Looking often gives the same as looking once. */
Test(pace, no_byte_is_lost)
{
    struct world a = world_make(14520, 300 * MS, false, 0), b;
    pace_on_sent(&a.pace, pace_room(&a.pace));
    b = a;
    for (uint64_t now = 1; now <= 100 * MS; now++)
        update(&a, now);
    update(&b, 100 * MS);
    cr_expect_eq(pace_room(&a.pace), pace_room(&b.pace));
    cr_expect_eq(pace_room(&a.pace), 14520 * 5 / 4 / 3);
    update(&a, SECOND);
    cr_expect_eq(pace_room(&a.pace), 14520, "no more than the bucket");
    update(&a, 100 * (uint64_t)SECOND);
    cr_expect_eq(pace_room(&a.pace), 14520);
}

/* The bucket: 10 packets; 1 ms of the rate; a train; 250 us of the rate. Never more than the
 * window. */
Test(pace, bucket)
{
    struct world w = world_make(100000, 100 * MS, false, 0);
    cr_expect_eq(w.pace.burst_bytes, 10 * MTU);
    w = world_make(1000000, 20 * MS, false, 0); /* 62.5 MB/s */
    cr_expect_eq(w.pace.burst_bytes, 62500);
    w = world_make(2000000, 20 * MS, false, 0); /* 125 MB/s */
    cr_expect_eq(w.pace.burst_bytes, 64 * MTU);
    cr_expect_geq(w.pace.burst_bytes, 65535, "a whole train");
    w = world_make(16000000, 20 * MS, false, 0); /* 1 GB/s */
    cr_expect_eq(w.pace.burst_bytes, 250000);
    w = world_make(20000, 5 * MS, true, 0);
    cr_expect_eq(w.pace.burst_bytes, 10 * MTU);
    w = world_make(30000, 100, true, 0);
    cr_expect_eq(w.pace.burst_bytes, 30000);
    w = world_make(2 * MTU, 100, true, 0); /* RFC 9002 §7.7: at least the initial window */
    cr_expect_eq(w.pace.burst_bytes, 10 * MTU);
}

/* A loopback round trip: after a turn of 50 us the bucket is full again, whatever the window. */
Test(pace, no_limit_on_short_paths)
{
    for (uint64_t cwnd = 20000; cwnd < 16000000; cwnd *= 2) {
        struct world w = world_make(cwnd, 50, false, 0);
        cr_expect_geq(w.pace.burst_bytes, cwnd < 128 * 1024 ? cwnd : 128 * 1024);
        pace_on_sent(&w.pace, w.pace.burst_bytes);
        update(&w, 50);
        cr_expect_geq(pace_room(&w.pace), cwnd, "the window alone limits");
    }
    struct world w = world_make(1000000, 999, false, 0);
    cr_expect_geq(w.pace.burst_bytes, 128 * 1024);
}

/* At every rate, sending whatever the bucket holds every 200 us reaches the rate. */
Test(pace, reaches_the_rate)
{
    for (uint64_t cwnd = 50000; cwnd < 100000000; cwnd *= 3) {
        struct world w = world_make(cwnd, 20 * MS, false, 0);
        uint64_t sent = 0;
        pace_on_sent(&w.pace, pace_room(&w.pace));
        for (uint64_t now = 200; now <= SECOND; now += 200) {
            update(&w, now);
            sent += pace_room(&w.pace);
            pace_on_sent(&w.pace, pace_room(&w.pace));
        }
        cr_expect_geq(sent, w.pace.rate_bytes_per_s * 99 / 100);
        cr_expect_leq(sent, w.pace.rate_bytes_per_s);
    }
}

/* A change of rate counts from the change on; a smaller bucket spills. */
Test(pace, change_of_rate)
{
    struct world w = world_make(2000000, 20 * MS, false, 0); /* 125 bytes a microsecond */
    pace_on_sent(&w.pace, pace_room(&w.pace));
    w.cc.cwnd_bytes = 20000;
    update(&w, 100);
    cr_expect_eq(pace_room(&w.pace), 12500, "what was earned at the old rate");
    w.cc.cwnd_bytes = 2000000;
    update(&w, 100);
    update(&w, SECOND);
    cr_expect_eq(pace_room(&w.pace), 64 * MTU);
    w.cc.cwnd_bytes = 20000;
    update(&w, SECOND);
    cr_expect_eq(pace_room(&w.pace), 10 * MTU);
}

/* RFC 9002 §7.5: probes go out whatever the bucket says, and leave no debt. */
Test(pace, probes)
{
    struct world w = world_make(100000, 100 * MS, false, 0);
    pace_on_sent(&w.pace, 10 * MTU - 1);
    pace_on_sent(&w.pace, 2 * MTU);
    cr_expect_eq(pace_room(&w.pace), 0);
    cr_expect_eq(pace_next(&w.pace, 1, 0), 1); /* 1.25 bytes a microsecond */
}

/* More than the bucket holds is never waited for. */
Test(pace, want_more_than_the_bucket)
{
    struct world w = world_make(100000, 100 * MS, false, 0);
    cr_expect_eq(pace_next(&w.pace, UINT64_MAX, 0), 0);
    pace_on_sent(&w.pace, 10 * MTU);
    uint64_t full = pace_next(&w.pace, UINT64_MAX, 0);
    cr_expect_eq(full, 11616); /* 14,520 bytes at 1.25 a microsecond */
    update(&w, full);
    cr_expect_eq(pace_room(&w.pace), 10 * MTU);
}

/* SECURITY.md row 24: clocks that jump and windows at their bound do no harm. */
Test(pace, extremes)
{
    struct world w = world_make(CC_WINDOW_MAX, 1, true, 0);
    cr_expect_eq(w.pace.rate_bytes_per_s, UINT64_C(2) * CC_WINDOW_MAX * SECOND);
    cr_expect_eq(w.pace.burst_bytes, CC_WINDOW_MAX);
    pace_on_sent(&w.pace, UINT64_MAX);
    update(&w, UINT64_MAX);
    cr_expect_eq(pace_room(&w.pace), CC_WINDOW_MAX);
    pace_on_sent(&w.pace, CC_WINDOW_MAX / 2);
    update(&w, 5); /* backwards: nothing is earned, nothing lost */
    cr_expect_eq(pace_room(&w.pace), CC_WINDOW_MAX / 2);
    update(&w, 6);
    cr_expect_eq(pace_room(&w.pace), CC_WINDOW_MAX);
    w = world_make(2904, 60 * SECOND, false, 0);
    cr_expect_eq(w.pace.rate_bytes_per_s, 60);
    w = world_make(2904, 0, false, 0);
    cr_expect_gt(w.pace.rate_bytes_per_s, 0);
}
