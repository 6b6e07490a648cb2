/* cc.c -- tests of core/cc.c, core/cc_newreno.c and core/cc_cubic.c: windows by the numbers of
 * RFC 9002 §7 and RFC 9438.
 *
 * Expected values are worked out by hand from the RFCs' formulas and stand in the tests as
 * numbers. */
#include "core/cc.h"

#include <criterion/criterion.h>

enum {
    MTU = 1200,
    MS = 1000,
    SECOND = 1000000
};

static const struct cc_ops *const controllers[] = {&cc_newreno, &cc_cubic};

static struct rtt rtt_make(uint64_t smoothed_us)
{
    return (struct rtt){.latest_us = smoothed_us,
                        .smoothed_us = smoothed_us,
                        .var_us = 0,
                        .min_us = smoothed_us,
                        .first_sample_us = 0};
}

static struct cc cc_make(const struct cc_ops *ops, uint64_t cwnd)
{
    struct cc cc;
    cc_init(&cc, ops, MTU, 0);
    cc.cwnd_bytes = cwnd;
    return cc;
}

/* bytes sent at sent_us are acknowledged now; the rest of the window stays in flight. */
static void acked(struct cc *cc, uint64_t bytes, uint64_t sent_us, const struct rtt *rtt,
                  uint64_t now)
{
    struct loss_path sum = {
        .acked_bytes = bytes, .acked_packets = 1, .acked_newest_sent_us = sent_us};
    cc->in_flight_bytes = cc->cwnd_bytes + bytes;
    cc_on_result(cc, &sum, rtt, now);
}

static void acked_limited(struct cc *cc, uint64_t bytes, uint64_t sent_us, const struct rtt *rtt,
                          uint64_t now)
{
    struct loss_path sum = {.acked_bytes = bytes,
                            .acked_packets = 1,
                            .acked_newest_sent_us = sent_us,
                            .app_limited = true};
    cc->in_flight_bytes = 2 * bytes;
    cc_on_result(cc, &sum, rtt, now);
}

static void lost(struct cc *cc, uint64_t bytes, uint64_t sent_us, const struct rtt *rtt,
                 uint64_t now)
{
    struct loss_path sum = {.lost_bytes = bytes, .lost_packets = 1, .lost_newest_sent_us = sent_us};
    cc->in_flight_bytes = cc->cwnd_bytes;
    cc_on_result(cc, &sum, rtt, now);
}

/* ---- common --------------------------------------------------------------------------------- */

Test(cc, by_name)
{
    cr_expect_eq(cc_find("cubic"), &cc_cubic);
    cr_expect_eq(cc_find("newreno"), &cc_newreno);
    cr_expect_eq(cc_find("bbr"), &cc_bbr);
    cr_expect_eq(cc_find(NULL), &cc_cubic);
    cr_expect_null(cc_find(""));
    cr_expect_null(cc_find("cubi"));
    cr_expect_null(cc_find("cubicc"));
    cr_expect_null(cc_find("CUBIC"));
}

/* RFC 9002 §7.2: ten datagrams, at most the larger of 14,720 bytes and two datagrams. */
Test(cc, initial_window)
{
    const struct {
        uint32_t mtu, window;
    } rows[] = {{1200, 12000}, {1452, 14520}, {1472, 14720}, {1473, 14720},
                {7360, 14720}, {7361, 14722}, {9000, 18000}, {65527, 131054}};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cc cc;
        cc_init(&cc, &cc_newreno, rows[i].mtu, 0);
        cr_expect_eq(cc.cwnd_bytes, rows[i].window, "mtu %u", rows[i].mtu);
        cr_expect_eq(cc.ssthresh_bytes, UINT64_MAX);
        cr_expect_eq(cc_room(&cc), rows[i].window);
    }
}

/* RFC 9002 §7.2: the initial window follows the datagram size; a later one only keeps to its
 * minimum. */
Test(cc, mtu_changes)
{
    struct rtt rtt = rtt_make(100 * MS);
    struct cc cc;
    cc_init(&cc, &cc_cubic, 1200, 0);
    cc_set_mtu(&cc, 1452);
    cr_expect_eq(cc.cwnd_bytes, 14520);
    cc_set_mtu(&cc, 1200);
    cr_expect_eq(cc.cwnd_bytes, 12000);
    acked(&cc, 1200, 1, &rtt, 2);
    cc_set_mtu(&cc, 1452);
    cr_expect_eq(cc.cwnd_bytes, 13200);
    cc.cwnd_bytes = 2 * 1452;
    cc_set_mtu(&cc, 2000);
    cr_expect_eq(cc.cwnd_bytes, 4000);
}

Test(cc, flight)
{
    struct cc cc = cc_make(&cc_newreno, 12000);
    cc_on_sent(&cc, 11000, 0);
    cr_expect_eq(cc_room(&cc), 1000);
    cc_on_sent(&cc, 1000, 0);
    cr_expect_eq(cc_room(&cc), 0);
    cc_on_sent(&cc, 1000, 0); /* a probe: RFC 9002 §7.5 */
    cr_expect_eq(cc_room(&cc), 0);
    cc_on_left(&cc, 12000);
    cr_expect_eq(cc.in_flight_bytes, 1000);
    cc_on_left(&cc, 5000);
    cr_expect_eq(cc.in_flight_bytes, 0);
    cr_expect_eq(cc.cwnd_bytes, 12000, "leaving says nothing about the window");
}

/* RFC 9002 §7.3.1, RFC 9438 §4.10: slow start grows by what was acknowledged. RFC 9002 §7.8: not
 * when app-limited. */
Test(cc, slow_start)
{
    struct rtt rtt = rtt_make(100 * MS);
    for (unsigned i = 0; i < 2; i++) {
        struct cc cc = cc_make(controllers[i], 12000);
        acked(&cc, 5000, 1, &rtt, 100);
        cr_expect_eq(cc.cwnd_bytes, 17000);
        acked_limited(&cc, 5000, 1, &rtt, 100);
        cr_expect_eq(cc.cwnd_bytes, 17000);
        cr_expect_eq(cc.in_flight_bytes, 5000, "though it left the flight");
    }
}

/* RFC 9002 §7.3.2, RFC 9438 §4.6: one reduction a round trip, and no growth from before it. RFC
 * 9000 §13.3: what is lost has its effect. */
Test(cc, recovery_period)
{
    struct rtt rtt = rtt_make(100 * MS);
    for (unsigned i = 0; i < 2; i++) {
        struct cc cc = cc_make(controllers[i], 100000);
        lost(&cc, MTU, 400, &rtt, 1000);
        uint64_t reduced = i == 0 ? 50000 : 70000;
        cr_expect_eq(cc.cwnd_bytes, reduced);
        cr_expect_eq(cc.ssthresh_bytes, reduced);
        cr_expect_eq(cc.in_flight_bytes, 100000 - MTU);
        cr_expect_eq(cc.events, 1);
        lost(&cc, MTU, 1000, &rtt, 2000);
        cc_on_ce(&cc, 1000, 2000);
        acked(&cc, 1000000, 1000, &rtt, 2000);
        cr_expect_eq(cc.cwnd_bytes, reduced, "sent before the period began");
        cr_expect_eq(cc.events, 1);
        acked(&cc, 70000, 1001, &rtt, 200000);
        cr_expect_gt(cc.cwnd_bytes, reduced);
        lost(&cc, MTU, 1001, &rtt, 210000);
        cr_expect_lt(cc.cwnd_bytes, reduced);
        cr_expect_eq(cc.events, 2);
    }
}

/* RFC 9002 §7.1: a CE mark is a congestion event like a loss. */
Test(cc, ce_mark)
{
    for (unsigned i = 0; i < 2; i++) {
        struct cc cc = cc_make(controllers[i], 100000);
        cc_on_ce(&cc, 5, 10);
        cr_expect_eq(cc.cwnd_bytes, i == 0 ? 50000 : 70000);
        cc_on_ce(&cc, 10, 20);
        cr_expect_eq(cc.events, 1);
        cc_on_ce(&cc, 11, 20);
        cr_expect_eq(cc.events, 2);
    }
}

/* RFC 9000 §14.4: an MTU probe that was lost only leaves the flight. */
Test(cc, lost_probe)
{
    struct rtt rtt = rtt_make(100 * MS);
    struct cc cc = cc_make(&cc_cubic, 100000);
    cc_on_sent(&cc, 3000, 0);
    cc_on_result(&cc, &(struct loss_path){.lost_bytes = 1400}, &rtt, 10);
    cr_expect_eq(cc.in_flight_bytes, 1600);
    cr_expect_eq(cc.cwnd_bytes, 100000);
    cr_expect_eq(cc.events, 0);
}

/* RFC 9002 §7.2: never below two datagrams. */
Test(cc, minimum)
{
    struct rtt rtt = rtt_make(100 * MS);
    for (unsigned i = 0; i < 2; i++) {
        struct cc cc = cc_make(controllers[i], 12000);
        for (uint64_t t = 1; t < 40; t++)
            lost(&cc, MTU, t * SECOND, &rtt, t * SECOND + 10);
        cr_expect_eq(cc.cwnd_bytes, 2 * MTU);
        cr_expect_eq(cc.events, 39);
        acked(&cc, 2 * MTU, 100 * SECOND, &rtt, 101 * SECOND);
        acked(&cc, 2 * MTU, 101 * SECOND, &rtt, 102 * SECOND);
        cr_expect_gt(cc.cwnd_bytes, 2 * MTU, "and it grows from there");
    }
}

/* RFC 9002 §7.6.2, RFC 9002 §B.8: the window collapses, the threshold is that of the loss, and
 * slow start follows. */
Test(cc, persistent_congestion)
{
    struct rtt rtt = rtt_make(100 * MS);
    for (unsigned i = 0; i < 2; i++) {
        struct cc cc = cc_make(controllers[i], 100000);
        cc_on_sent(&cc, 50000, 0);
        struct loss_path sum = {.acked_bytes = 1000,
                                .acked_packets = 1,
                                .acked_newest_sent_us = 900,
                                .lost_bytes = 40000,
                                .lost_packets = 40,
                                .lost_newest_sent_us = 800,
                                .persistent = true};
        cc_on_result(&cc, &sum, &rtt, 1000);
        cr_expect_eq(cc.in_flight_bytes, 9000);
        cr_expect_eq(cc.ssthresh_bytes, i == 0 ? 50000 : 70000);
        cr_expect_eq(cc.cwnd_bytes, 2 * MTU + 1000, "no recovery period holds the growth back");
        acked(&cc, 2000, 950, &rtt, 1100);
        cr_expect_eq(cc.cwnd_bytes, 2 * MTU + 3000);
    }
}

/* ---- NewReno -------------------------------------------------------------------------------- */

/* RFC 9002 §7.3, RFC 9002 §7.3.3, RFC 9002 §B.5: one datagram for each window acknowledged,
 * however it is cut up. */
Test(cc, newreno_avoidance)
{
    struct rtt rtt = rtt_make(100 * MS);
    struct cc cc = cc_make(&cc_newreno, 24000);
    lost(&cc, MTU, 1, &rtt, 2); /* RFC 9002 §B.6 */
    cr_expect_eq(cc.cwnd_bytes, 12000);
    acked(&cc, 11999, 3, &rtt, 4);
    cr_expect_eq(cc.cwnd_bytes, 12000);
    acked(&cc, 1, 3, &rtt, 4);
    cr_expect_eq(cc.cwnd_bytes, 13200);
    for (unsigned i = 0; i < 13200; i++)
        acked(&cc, 1, 3, &rtt, 4);
    cr_expect_eq(cc.cwnd_bytes, 14400);
    acked(&cc, 14400 + 15600 + 5, 3, &rtt, 4);
    cr_expect_eq(cc.cwnd_bytes, 16800, "two windows in one ACK");
    acked_limited(&cc, 100000, 3, &rtt, 4);
    cr_expect_eq(cc.cwnd_bytes, 16800);
}

/* ---- CUBIC ---------------------------------------------------------------------------------- */

/* A window of 100 segments, lost at 1 s: W_max 100, cwnd 70, K = cbrt(30 / 0.4) = 4.217163 s.
 * The epoch begins with the ACK at 2 s. */
static struct cc cubic_at_epoch(const struct rtt *rtt)
{
    struct cc cc = cc_make(&cc_cubic, 100 * MTU);
    lost(&cc, MTU, SECOND - 1, rtt, SECOND);
    cr_assert_eq(cc.cwnd_bytes, 70 * MTU);
    acked(&cc, MTU, SECOND + 1, rtt, 2 * SECOND);
    return cc;
}

/* RFC 9438 §4.2, RFC 9438 §4.6 */
Test(cc, cubic_k)
{
    struct rtt rtt = rtt_make(100 * MS);
    struct cc cc = cubic_at_epoch(&rtt);
    cr_expect_eq(cc.cubic.w_max, 120000);
    cr_expect_eq(cc.cubic.cwnd_prior, 120000);
    cr_expect_eq(cc.cubic.epoch_start_us, 2 * SECOND);
    cr_expect_geq(cc.cubic.k_us, 4217160);
    cr_expect_leq(cc.cubic.k_us, 4217170);
    /* W_cubic(0) is 70 segments, less than W_est = 70 + 9/17 * 1/70: RFC 9438 §4.3 */
    cr_expect_eq(cc.cubic.w_est, 84009);
    cr_expect_eq(cc.cwnd_bytes, 84009);
}

/* RFC 9438 §4.4: one segment acknowledged at t = 0.5 s: the target is W_cubic(0.6) = 0.4 * (0.6
 * - 4.217163)^3 + 100 = 81.069 segments = 97,283 bytes; the window grows by (97,283 - 84,009) *
 * 1,200 / 84,009. */
Test(cc, cubic_concave_step)
{
    struct rtt rtt = rtt_make(100 * MS);
    struct cc cc = cubic_at_epoch(&rtt);
    acked(&cc, MTU, 2 * SECOND, &rtt, 2 * SECOND + 500 * MS);
    cr_expect_geq(cc.cwnd_bytes, 84009 + 189);
    cr_expect_leq(cc.cwnd_bytes, 84009 + 190);
}

/* Acknowledges a window each round trip from the epoch's start at 2 s until t_us into it. */
static void cubic_run(struct cc *cc, const struct rtt *rtt, uint64_t from_us, uint64_t to_us)
{
    for (uint64_t t = from_us; t < to_us; t += rtt->smoothed_us / 20) {
        uint64_t now = 2 * SECOND + t;
        acked(cc, cc->cwnd_bytes / 20, now - rtt->smoothed_us, rtt, now);
    }
}

/* RFC 9438 §4.2, RFC 9438 §4.4, RFC 9438 §4.5: with a window acknowledged every round trip the
 * window follows the larger of two curves. W_cubic(2) = 100 - 0.4 * 2.217163^3 = 95.640,
 * W_cubic(K) = 100, W_cubic(K + 5) = 150. At K + 3 W_cubic is 110.8, but Reno has passed it:
 * W_est reaches cwnd_prior, 100, after 30 / (9/17) = 56.7 windows, and grows by one in each of
 * the 15.5 that follow. The window lags its target by less than a round trip's step. */
Test(cc, cubic_follows_the_curve)
{
    struct rtt rtt = rtt_make(100 * MS);
    struct cc cc = cubic_at_epoch(&rtt);
    const struct {
        uint64_t t_us, bytes;
    } rows[] = {{2000000, 114768}, {4217163, 120000}, {7217163, 138600}, {9217163, 180000}};
    uint64_t from = 50 * MS;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cubic_run(&cc, &rtt, from, rows[i].t_us);
        from = rows[i].t_us;
        cr_expect_geq(cc.cwnd_bytes, rows[i].bytes * 985 / 1000, "row %u: %d", i,
                      (int)cc.cwnd_bytes);
        cr_expect_leq(cc.cwnd_bytes, rows[i].bytes * 1025 / 1000, "row %u: %d", i,
                      (int)cc.cwnd_bytes);
    }
}

/* RFC 9438 §4.2: the target is at most 1.5 windows, so an ACK adds at most half of what it
 * acknowledges. */
Test(cc, cubic_target_bound)
{
    struct rtt rtt = rtt_make(100 * MS);
    struct cc cc = cubic_at_epoch(&rtt);
    uint64_t before = cc.cwnd_bytes;
    acked(&cc, MTU, 40 * SECOND, &rtt, 42 * SECOND);
    cr_expect_geq(cc.cwnd_bytes, before + MTU / 2 - 1);
    cr_expect_leq(cc.cwnd_bytes, before + MTU / 2);
}

/* RFC 9438 §4.3: at a short round trip the window is Reno's: 9/17 segment a window, one whole
 * once it has reached cwnd_prior. From 7 segments to 10 takes 3 / (9/17) = 5.7 windows, each
 * later window one segment. */
Test(cc, cubic_reno_friendly)
{
    struct rtt rtt = rtt_make(2 * MS);
    struct cc cc = cc_make(&cc_cubic, 10 * MTU);
    lost(&cc, MTU, SECOND - 1, &rtt, SECOND);
    cr_expect_eq(cc.cwnd_bytes, 7 * MTU);
    uint64_t now = SECOND + 2 * MS;
    unsigned windows = 0;
    while (cc.cwnd_bytes < 10 * MTU) {
        uint64_t before = cc.cwnd_bytes;
        for (unsigned i = 0; i < 4; i++, now += rtt.smoothed_us / 4)
            acked(&cc, before / 4, now - rtt.smoothed_us + MS, &rtt, now);
        cr_expect_leq(cc.cwnd_bytes - before, MTU * 9 / 17 + 1);
        cr_expect_geq(cc.cwnd_bytes - before, MTU * 9 / 17 - 40);
        windows++;
    }
    cr_expect_eq(windows, 6);
    uint64_t before = cc.cwnd_bytes;
    for (unsigned i = 0; i < 4; i++, now += rtt.smoothed_us / 4)
        acked(&cc, before / 4, now - MS, &rtt, now);
    cr_expect_leq(cc.cwnd_bytes - before, MTU);
    cr_expect_geq(cc.cwnd_bytes - before, MTU - 60);
}

/* RFC 9438 §4.7: a window lost below the last peak gives up more: W_max = cwnd * (1 + 0.7) / 2. */
Test(cc, cubic_fast_convergence)
{
    struct rtt rtt = rtt_make(100 * MS);
    struct cc cc = cubic_at_epoch(&rtt);
    cc.cwnd_bytes = 100000;
    lost(&cc, MTU, 3 * SECOND, &rtt, 3 * SECOND + 1);
    cr_expect_eq(cc.cubic.w_max, 85000);
    cr_expect_eq(cc.cubic.cwnd_prior, 100000);
    cr_expect_eq(cc.cwnd_bytes, 70000);
    cc.cwnd_bytes = 85000; /* at the peak: no less */
    lost(&cc, MTU, 4 * SECOND, &rtt, 4 * SECOND + 1);
    cr_expect_eq(cc.cubic.w_max, 85000);
}

/* RFC 9438 §4.8: after persistent congestion the next stage begins at its own window, with K 0. */
Test(cc, cubic_after_timeout)
{
    struct rtt rtt = rtt_make(100 * MS);
    struct cc cc = cc_make(&cc_cubic, 100 * MTU);
    struct loss_path sum = {
        .lost_bytes = MTU, .lost_packets = 2, .lost_newest_sent_us = 10, .persistent = true};
    cc.in_flight_bytes = 100 * MTU;
    cc_on_result(&cc, &sum, &rtt, 20);
    cr_expect_eq(cc.cwnd_bytes, 2 * MTU);
    acked(&cc, 68 * MTU, 30, &rtt, 40);
    cr_expect_eq(cc.cwnd_bytes, 70 * MTU, "slow start up to the threshold");
    acked(&cc, MTU, 50, &rtt, SECOND);
    cr_expect_eq(cc.cubic.k_us, 0);
    cr_expect_eq(cc.cubic.w_max, 70 * MTU);
    cr_expect_eq(cc.cubic.epoch_start_us, SECOND);
}

/* RFC 9438 §5.8: app-limited time is not time: the window after a pause is that without it. */
Test(cc, cubic_app_limited_clock)
{
    struct rtt rtt = rtt_make(100 * MS);
    struct cc a = cubic_at_epoch(&rtt), b = a;
    cubic_run(&a, &rtt, 50 * MS, SECOND);
    b = a;
    cubic_run(&a, &rtt, SECOND, 2 * SECOND);
    /* 50 s of small requests, acknowledged one by one */
    uint64_t window = b.cwnd_bytes;
    for (uint64_t t = SECOND; t <= 51 * SECOND; t += 200 * MS)
        acked_limited(&b, MTU, 2 * SECOND + t - 100 * MS, &rtt, 2 * SECOND + t);
    cr_expect_eq(b.cwnd_bytes, window);
    cubic_run(&b, &rtt, 51 * SECOND, 52 * SECOND);
    cr_expect_geq(b.cwnd_bytes, a.cwnd_bytes * 99 / 100);
    cr_expect_leq(b.cwnd_bytes, a.cwnd_bytes * 101 / 100);
}

/* RFC 9438 §5.8: nor is the time in which nothing was in flight at all. */
Test(cc, cubic_idle_clock)
{
    struct rtt rtt = rtt_make(100 * MS);
    struct cc a = cubic_at_epoch(&rtt), b;
    cubic_run(&a, &rtt, 50 * MS, SECOND);
    b = a;
    cubic_run(&a, &rtt, SECOND, 2 * SECOND);
    struct loss_path last = {
        .acked_bytes = MTU, .acked_packets = 1, .acked_newest_sent_us = 3 * SECOND - 100 * MS};
    b.in_flight_bytes = MTU;
    cc_on_result(&b, &last, &rtt, 3 * SECOND);
    cr_expect_eq(b.in_flight_bytes, 0);
    /* 60 s later a full window goes out again */
    cubic_run(&b, &rtt, 61 * SECOND + 100 * MS, 62 * SECOND + 100 * MS);
    cr_expect_geq(b.cwnd_bytes, a.cwnd_bytes * 98 / 100);
    cr_expect_leq(b.cwnd_bytes, a.cwnd_bytes * 102 / 100);
}

/* ---- bounds --------------------------------------------------------------------------------- */

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Whatever is reported, the window stays between its bounds, and app-limited ACKs never grow it
 * (RFC 9002 §7.8). */
Test(cc, random_reports)
{
    uint64_t state = 88172645463325252;
    for (unsigned round = 0; round < 40; round++) {
        struct cc cc;
        uint64_t now = round % 4 ? 0 : UINT64_MAX - 400 * (uint64_t)SECOND;
        cc_init(&cc, controllers[round % 2], round % 3 ? 1452 : 65527, now);
        for (unsigned i = 0; i < 5000; i++) {
            uint64_t dice = random_next(&state) % 1000;
            struct rtt rtt = rtt_make(1 + random_next(&state) % (dice % 3 ? 1000 : 60000000));
            uint64_t before = cc.cwnd_bytes;
            now += random_next(&state) % 50000;
            cc_on_sent(&cc, cc_room(&cc), now);
            struct loss_path sum = {.acked_bytes = random_next(&state) % (cc.in_flight_bytes + 1),
                                    .acked_packets = 1,
                                    .acked_newest_sent_us = now - random_next(&state) % 100,
                                    .app_limited = dice % 5 == 0};
            if (dice < 3) {
                sum.lost_bytes = 1200;
                sum.lost_packets = 1;
                sum.lost_newest_sent_us = now - 1;
                sum.persistent = dice == 0;
            }
            cc_on_result(&cc, &sum, &rtt, now);
            cr_assert_geq(cc.cwnd_bytes, 2 * cc.mtu);
            cr_assert_leq(cc.cwnd_bytes, CC_WINDOW_MAX);
            cr_assert(!sum.app_limited || cc.cwnd_bytes <= before);
        }
    }
}
