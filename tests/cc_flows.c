/* cc_flows.c -- congestion control on whole connections: long flows over one simulated bottleneck.
 *
 * Each row says what must come of it: how much of the link is used, how evenly it is shared, how
 * long the queue is. Payload is at most 95.9 % of a link's bytes here (headers, tags, UDP and IP).
 */
#include "tests/sim/flows.h"

#include <criterion/criterion.h>

#define MS(n)      ((uint64_t)(n)*1000)
#define SECONDS(n) ((uint64_t)(n)*1000000)
#define MBIT(n)    ((uint64_t)(n)*125000)

enum {
    SEEDS = 3
};

/* rtt and a queue of so many hundredths of a BDP; loss_ppm on the way of the data. */
static struct flows flows_make(uint64_t rate, uint64_t rtt_us, unsigned queue_percent,
                               uint32_t loss_ppm, const char *cc0, const char *cc1)
{
    struct flows f = {.count = cc1 ? 2 : 1, .cc = {cc0, cc1}};
    f.link[0] =
        (struct sim_link){.delay_us = rtt_us / 2,
                          .rate_bytes = rate,
                          .loss_ppm = loss_ppm,
                          .queue_bytes = (uint32_t)(rate * rtt_us / 1000000 * queue_percent / 100)};
    f.link[1] = (struct sim_link){.delay_us = rtt_us / 2};
    f.begin_us[1] = SECONDS(1);
    f.measure_us = SECONDS(2);
    f.total_us = SECONDS(22);
    return f;
}

static struct flows_outcome played(struct flows *f, uint64_t seed)
{
    struct flows_outcome outcome;
    f->seed = seed;
    flows_run(f, &outcome);
    cr_expect(outcome.ok, "%s", outcome.why);
    return outcome;
}

static const char *const controllers[] = {"newreno", "cubic", "bbr"};

/* 10 Mbit/s, 30 ms, a queue of one BDP. */
Test(cc_flows, one_uses_the_link)
{
    for (unsigned i = 0; i < 3; i++) {
        struct flows f = flows_make(MBIT(10), MS(30), 100, 0, controllers[i], NULL);
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            struct flows_outcome o = played(&f, seed);
            cr_expect_gt(o.utilisation, 0.9, "%s: %.3f", controllers[i], o.utilisation);
        }
    }
}

/* 100 Mbit/s, 50 ms. Of its bytes 96.2 % can be a stream's: 1,423 of 1,480 in a packet, which takes
 * 118 of 118.4 us there. */
static const double goodput = 0.962;

static struct flows fast_make(uint32_t loss_ppm, const char *cc0, const char *cc1)
{
    return flows_make(MBIT(100), MS(50), 100, loss_ppm, cc0, cc1);
}

/* Within 10 s, slow start included but for its first 2 s, 95 % of the goodput is reached. */
Test(cc_flows, one_uses_a_fast_link)
{
    for (unsigned i = 1; i < 3; i++) {
        struct flows f = fast_make(0, controllers[i], NULL);
        f.total_us = SECONDS(10);
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            double of = played(&f, seed).utilisation / goodput;
            cr_expect_gt(of, 0.95, "%s: %.3f", controllers[i], of);
        }
    }
}

/* With 1 % random loss BBR still reaches 80 % of it. */
Test(cc_flows, bbr_uses_a_fast_lossy_link)
{
    struct flows f = fast_make(10000, "bbr", NULL);
    f.total_us = SECONDS(10);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        double of = played(&f, seed).utilisation / goodput;
        cr_expect_gt(of, 0.8, "%.3f", of);
    }
}

/* Two CUBIC flows that begin together share it evenly. */
Test(cc_flows, two_share_a_fast_link)
{
    struct flows f = fast_make(0, "cubic", "cubic");
    f.begin_us[1] = 0;
    f.total_us = SECONDS(32);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct flows_outcome o = played(&f, seed);
        cr_expect_gt(o.fairness, 0.95, "%.3f", o.fairness);
        cr_expect_gt(o.utilisation / goodput, 0.95, "%.3f", o.utilisation / goodput);
    }
}

/* Random loss: BBR keeps most of the link where CUBIC takes each for congestion. */
Test(cc_flows, random_loss)
{
    for (unsigned percent = 1; percent <= 5; percent++) {
        struct flows bbr = flows_make(MBIT(10), MS(30), 100, percent * 10000, "bbr", NULL);
        struct flows cubic = flows_make(MBIT(10), MS(30), 100, percent * 10000, "cubic", NULL);
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            struct flows_outcome b = played(&bbr, seed), c = played(&cubic, seed);
            cr_expect_gt(b.utilisation, percent < 4 ? 0.85 : 0.75, "%u %%: %.3f", percent,
                         b.utilisation);
            cr_expect_lt(c.utilisation, 0.6, "%u %%: %.3f", percent, c.utilisation);
        }
    }
}

/* Two of a kind share. */
Test(cc_flows, two_share)
{
    for (unsigned i = 0; i < 3; i++) {
        struct flows f = flows_make(MBIT(10), MS(30), 100, 0, controllers[i], controllers[i]);
        f.total_us = SECONDS(42);
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            struct flows_outcome o = played(&f, seed);
            cr_expect_gt(o.fairness, 0.95, "%s: %.3f", controllers[i], o.fairness);
            cr_expect_gt(o.utilisation, 0.9, "%s: %.3f", controllers[i], o.utilisation);
        }
    }
}

/* BBR beside CUBIC: neither starves. */
Test(cc_flows, bbr_beside_cubic)
{
    for (unsigned queue = 50; queue <= 400; queue *= 2) {
        struct flows f = flows_make(MBIT(10), MS(30), queue, 0, "bbr", "cubic");
        f.total_us = SECONDS(42);
        struct flows_outcome o = played(&f, 1);
        cr_expect_gt(o.fairness, 0.8, "queue %u %%: %.3f", queue, o.fairness);
    }
}

/* A queue of ten BDPs: CUBIC fills it, BBR leaves it nearly empty. */
Test(cc_flows, bufferbloat)
{
    struct flows bbr = flows_make(MBIT(10), MS(30), 1000, 0, "bbr", NULL);
    struct flows cubic = flows_make(MBIT(10), MS(30), 1000, 0, "cubic", NULL);
    bbr.total_us = cubic.total_us = SECONDS(32);
    struct flows_outcome b = played(&bbr, 1), c = played(&cubic, 1);
    cr_expect_gt(b.utilisation, 0.9, "%.3f", b.utilisation);
    cr_expect_lt(b.flow[0].rtt_us, MS(40), "%llu", (unsigned long long)b.flow[0].rtt_us);
    cr_expect_gt(c.flow[0].rtt_us, MS(80), "%llu", (unsigned long long)c.flow[0].rtt_us);
}

/* A queue of a quarter of a BDP: BBR's own losses stay few. */
Test(cc_flows, short_queue)
{
    struct flows f = flows_make(MBIT(10), MS(30), 25, 0, "bbr", NULL);
    struct flows_outcome o = played(&f, 1);
    cr_expect_gt(o.utilisation, 0.9, "%.3f", o.utilisation);
    cr_expect_lt(o.flow[0].stats.lost_packets * 50, o.flow[0].stats.sent_packets, "2 %%");
}

static void link_changes(struct sim *sim, uint64_t elapsed_us)
{
    uint64_t rate = elapsed_us < SECONDS(10)   ? MBIT(10)
                    : elapsed_us < SECONDS(20) ? MBIT(40)
                                               : MBIT(5);
    sim->line[0][1].link.rate_bytes = rate;
    sim->line[0][1].link.queue_bytes = (uint32_t)(rate * 30 / 1000);
}

/* The link becomes four times as fast, then eight times slower: BBR follows. */
Test(cc_flows, link_changes)
{
    const struct {
        uint64_t from, to, rate;
    } rows[] = {{2, 10, 10}, {13, 20, 40}, {24, 32, 5}};
    for (unsigned i = 0; i < 3; i++) {
        struct flows f = flows_make(MBIT(10), MS(30), 100, 0, "bbr", NULL);
        f.change = link_changes;
        f.measure_us = SECONDS(rows[i].from);
        f.total_us = SECONDS(rows[i].to);
        struct flows_outcome o = played(&f, 1);
        double rate = (double)o.bytes / (double)(rows[i].to - rows[i].from);
        cr_expect_gt(rate, 0.8 * (double)MBIT(rows[i].rate), "row %u: %.0f", i, rate);
    }
}

/* RFC 9002 §7.8: an application that sends 20,000 bytes every 100 ms gets its 1.6 Mbit/s, and BBR's
 * estimate is not taken for the path's rate: its later rush is fast at once. */
Test(cc_flows, app_limited)
{
    for (unsigned i = 0; i < 3; i++) {
        struct flows f = flows_make(MBIT(10), MS(30), 100, 0, controllers[i], NULL);
        f.pause_us = MS(100);
        f.pause_bytes = 20000;
        struct flows_outcome o = played(&f, 1);
        cr_expect_geq(o.bytes, 200 * 19900, "%s: %llu", controllers[i],
                      (unsigned long long)o.bytes);
        cr_expect_lt(o.flow[0].rtt_max_us, MS(50), "%s", controllers[i]);
    }
}

/* RFC 9002 §6.1.1, RFC 9002 §6.1.2: where packets come late by more than three, the thresholds
 * rise, so that few of them are sent twice: without that they are 480 to 560. */
Test(cc_flows, reordering_is_learnt)
{
    for (unsigned i = 0; i < 3; i++) {
        struct flows f = flows_make(MBIT(10), MS(30), 100, 0, controllers[i], NULL);
        f.link[0].reorder_ppm = 30000;
        f.link[0].reorder_us = MS(25);
        struct flows_outcome o = played(&f, 1);
        cr_expect_gt(o.utilisation, 0.9, "%s: %.3f", controllers[i], o.utilisation);
        cr_expect_lt(o.flow[0].stats.lost_packets, 250, "%s: %llu", controllers[i],
                     (unsigned long long)o.flow[0].stats.lost_packets);
        cr_expect_gt(o.flow[0].stats.spurious_packets, 0);
        cr_expect_leq(o.flow[0].stats.spurious_packets, o.flow[0].stats.lost_packets);
    }
}

/* RFC 9438 §4.9: rarer reordering is not learnt, but undone: NewReno would reach 80 %. */
Test(cc_flows, reordering_is_undone)
{
    struct flows f = flows_make(MBIT(50), MS(60), 100, 0, "newreno", NULL);
    f.link[0].reorder_ppm = 5000;
    f.link[0].reorder_us = MS(20);
    struct flows_outcome o = played(&f, 1);
    cr_expect_gt(o.utilisation, 0.88, "%.3f", o.utilisation);
}

/* The same seed, the same bytes. */
Test(cc_flows, repeatable)
{
    struct flows f = flows_make(MBIT(10), MS(30), 50, 10000, "bbr", "bbr");
    f.total_us = SECONDS(8);
    struct flows_outcome a = played(&f, 7), b = played(&f, 7);
    cr_expect_eq(a.flow[0].bytes, b.flow[0].bytes);
    cr_expect_eq(a.flow[1].bytes, b.flow[1].bytes);
}
