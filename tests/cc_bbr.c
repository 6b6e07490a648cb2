/* cc_bbr.c -- tests of core/cc_bbr.c and core/bbr_model.c: a path in miniature, whose rate, length,
 * queue and losses the test sets, and the states and bounds that must follow (draft-ietf-ccwg-bbr).
 *
 * What whole connections do with it is in cc_flows.c. */
#include "core/bbr.h"
#include "core/pace.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    MTU = 1250,
    MS = 1000,
    SECOND = 1000000,
    ARENA_BYTES = 1 << 18,
    FLIGHT_MAX = 1 << 14
};

/* One bottleneck: packets of MTU bytes leave it one every MTU / rate. */
struct path_model {
    struct arena arena;
    struct quota quota;
    struct cc cc;
    struct rtt rtt;
    struct pace pace;
    uint64_t now, rate, delay_us, queue_max, busy_until;
    uint64_t sent_us[FLIGHT_MAX], arrives_us[FLIGHT_MAX]; /* arrives 0: lost */
    uint64_t first, next;
    uint64_t delivered, lost, lose_every, limited_after;
    uint64_t seen; /* bits of states that were seen */
    void *mem;
};

static struct path_model *path_new(uint64_t rate, uint64_t delay_us, uint64_t queue_max)
{
    size_t size = (arena_size(ARENA_BYTES) + 63) / 64 * 64;
    struct path_model *p = calloc(1, sizeof *p);
    cr_assert_not_null(p);
    p->mem = aligned_alloc(64, size);
    cr_assert_not_null(p->mem);
    memset(p->mem, 0, size);
    arena_init(&p->arena, p->mem, ARENA_BYTES);
    p->quota = (struct quota){.arena = &p->arena, .max_bytes = UINT64_MAX};
    p->now = SECOND;
    p->rate = rate, p->delay_us = delay_us, p->queue_max = queue_max;
    p->limited_after = UINT64_MAX;
    cc_init(&p->cc, &cc_bbr, MTU, p->now);
    cc_attach(&p->cc, &p->quota, p->now);
    cr_assert_eq(p->cc.ops, &cc_bbr);
    rtt_init(&p->rtt);
    pace_init(&p->pace, p->now);
    return p;
}

static void path_end(struct path_model *p)
{
    cc_detach(&p->cc);
    cr_expect_eq(p->quota.used_bytes, 0);
    free(p->mem);
    free(p);
}

static void send_one(struct path_model *p)
{
    uint64_t service_us = MTU * (uint64_t)SECOND / p->rate;
    uint64_t begin = p->busy_until > p->now ? p->busy_until : p->now;
    uint64_t slot = p->next++ % FLIGHT_MAX;
    cr_assert_lt(p->next - p->first, FLIGHT_MAX);
    p->sent_us[slot] = p->now;
    p->arrives_us[slot] = 0;
    bool drop = (begin - p->now) / service_us * MTU > p->queue_max
                || (p->lose_every && p->next % p->lose_every == 0);
    if (!drop) {
        p->busy_until = begin + service_us;
        p->arrives_us[slot] = p->busy_until + p->delay_us;
    }
    cc_on_sent(&p->cc, MTU, p->now);
    pace_on_sent(&p->pace, MTU);
}

/* What has arrived by now is acknowledged in one ACK; what is three behind it is lost. */
static void ack_what_arrived(struct path_model *p)
{
    struct loss_path sum = {0};
    uint64_t newest = p->first;
    for (uint64_t n = p->first; n < p->next; n++) {
        uint64_t slot = n % FLIGHT_MAX;
        if (p->arrives_us[slot] == 0 || p->arrives_us[slot] > p->now)
            continue;
        sum.acked_packets++;
        sum.acked_bytes += MTU;
        sum.acked_newest_sent_us = p->sent_us[slot];
        p->arrives_us[slot] = UINT64_MAX;
        newest = n;
    }
    if (!sum.acked_packets)
        return;
    rtt_sample(&p->rtt, p->now - sum.acked_newest_sent_us, 0, p->now);
    for (; p->first < p->next; p->first++) {
        uint64_t slot = p->first % FLIGHT_MAX;
        if (p->arrives_us[slot] == 0 && p->first + 3 <= newest) {
            sum.lost_packets++;
            sum.lost_bytes += MTU;
            sum.lost_newest_sent_us = p->sent_us[slot];
        } else if (p->arrives_us[slot] != UINT64_MAX) {
            break;
        }
    }
    p->delivered += sum.acked_bytes;
    p->lost += sum.lost_bytes;
    cc_on_result(&p->cc, &sum, &p->rtt, p->now);
    p->seen |= UINT64_C(1) << p->cc.bbr->state;
}

/* A turn every millisecond. */
static void run(struct path_model *p, uint64_t duration_us)
{
    for (uint64_t end = p->now + duration_us; p->now < end; p->now += MS) {
        ack_what_arrived(p);
        pace_update(&p->pace, &p->cc, &p->rtt, p->now);
        while (p->now < p->limited_after && cc_room(&p->cc) >= MTU && pace_room(&p->pace) >= MTU)
            send_one(p);
        if (p->now >= p->limited_after)
            cc_on_limited(&p->cc);
    }
}

/* Draft, "Startup" and "Drain": the rate is found within some round trips, then the queue goes. */
Test(cc_bbr, startup_finds_the_rate)
{
    struct path_model *p = path_new(1250000, 40 * MS, 1000000); /* 50,000 bytes of BDP */
    const struct cc_bbr *b = p->cc.bbr;
    cr_expect_eq(b->state, BBR_STARTUP);
    run(p, SECOND);
    cr_expect(b->full_bw_reached);
    cr_expect_eq(p->lost, 0, "a plateau ended it, not a loss");
    cr_expect(bbr_in_probe_bw(b), "state %u", b->state);
    cr_expect(p->seen >> BBR_DRAIN & 1);
    cr_expect_gt(bbr_max_bw(b), 1200000);
    cr_expect_lt(bbr_max_bw(b), 1320000);
    cr_expect_leq(b->min_rtt_us, 43 * MS);
    cr_expect_geq(b->min_rtt_us, 41 * MS);
    path_end(p);
}

/* Draft, "ProbeBW" and "ProbeRTT": all states come in turn, the link stays used and the queue
 * short. */
Test(cc_bbr, cycle)
{
    struct path_model *p = path_new(1250000, 40 * MS, 1000000);
    run(p, 2 * SECOND);
    p->seen = 0;
    uint64_t before = p->delivered, rtt = 0;
    for (unsigned i = 0; i < 200; i++) {
        run(p, 50 * MS);
        rtt += p->rtt.smoothed_us;
    }
    cr_expect_eq(p->seen, 1 << BBR_DOWN | 1 << BBR_CRUISE | 1 << BBR_REFILL | 1 << BBR_UP
                              | 1 << BBR_PROBE_RTT);
    cr_expect_gt(p->delivered - before, 11500000, "92 %% of 12.5 MB");
    cr_expect_lt(rtt / 200, 50 * MS);
    path_end(p);
}

/* Draft, "ProbeRTT": every 5 s the flight falls to half of the BDP, 200 ms long; what was is
 * restored. */
Test(cc_bbr, probe_rtt)
{
    struct path_model *p = path_new(1250000, 40 * MS, 1000000);
    unsigned turns = 0;
    uint64_t cwnd = 0;
    run(p, SECOND);
    for (unsigned i = 0; i < 12000 && turns < 1000; i++) {
        uint8_t before = p->cc.bbr->state;
        uint64_t cwnd_before = p->cc.cwnd_bytes;
        run(p, MS);
        if (p->cc.bbr->state == BBR_PROBE_RTT) {
            if (before != BBR_PROBE_RTT)
                cwnd = cwnd_before;
            turns++;
            cr_expect_leq(p->cc.cwnd_bytes, 30000);
        } else if (turns) {
            break;
        }
    }
    cr_expect_geq(turns, 200);
    cr_expect_leq(turns, 400);
    cr_expect_eq(p->cc.bbr->state, BBR_CRUISE);
    run(p, 200 * MS);
    cr_expect_geq(p->cc.cwnd_bytes, cwnd * 8 / 10);
    path_end(p);
}

/* Draft, "Exiting Startup Based on Packet Loss": a queue too short for a plateau to be seen first.
 */
Test(cc_bbr, startup_ends_on_loss)
{
    struct path_model *p = path_new(1250000, 40 * MS, 5000);
    run(p, SECOND);
    const struct cc_bbr *b = p->cc.bbr;
    cr_expect(b->full_bw_reached);
    cr_expect_neq(b->inflight_long, UINT64_MAX);
    cr_expect_leq(b->inflight_long, 110000);
    cr_expect_gt(bbr_max_bw(b), 1100000);
    path_end(p);
}

/* Draft, "Updating the Model Upon Packet Loss": losses that the queue makes bound what is in
 * flight, so that later ones are few. */
Test(cc_bbr, losses_bound_the_flight)
{
    struct path_model *p = path_new(1250000, 40 * MS, 10000);
    run(p, 5 * SECOND);
    uint64_t delivered = p->delivered, lost = p->lost;
    run(p, 10 * SECOND);
    delivered = p->delivered - delivered;
    lost = p->lost - lost;
    cr_expect_gt(delivered, 10600000, "85 %% of 12.5 MB: %llu", (unsigned long long)delivered);
    cr_expect_lt(lost, delivered / 50, "%llu", (unsigned long long)lost);
    path_end(p);
}

/* The path becomes faster, then slower: max_bw follows within some probes. */
Test(cc_bbr, rate_changes)
{
    struct path_model *p = path_new(1250000, 20 * MS, 200000);
    run(p, 3 * SECOND);
    p->rate = 5000000;
    run(p, 12 * SECOND);
    cr_expect_gt(bbr_max_bw(p->cc.bbr), 4500000);
    p->rate = 625000;
    run(p, 12 * SECOND);
    cr_expect_lt(bbr_max_bw(p->cc.bbr), 800000);
    cr_expect_gt(bbr_max_bw(p->cc.bbr), 500000);
    path_end(p);
}

/* Draft, "Application-limited": samples of an application that sends little do not pull the rate
 * down, and a pause costs no probing of the round-trip time. */
Test(cc_bbr, app_limited)
{
    struct path_model *p = path_new(1250000, 40 * MS, 1000000);
    run(p, 2 * SECOND);
    uint64_t bw = bbr_max_bw(p->cc.bbr), pacing = p->pace.rate_bytes_per_s;
    p->limited_after = p->now;
    run(p, 30 * SECOND);
    cr_expect_eq(p->cc.in_flight_bytes, 0);
    cr_expect_eq(p->quota.used_bytes, arena_round(sizeof(struct cc_bbr)),
                 "the ring was given back");
    p->limited_after = p->now + 2 * MS; /* a packet or two */
    p->seen = 0;
    run(p, 100 * MS);
    cr_expect(!(p->seen >> BBR_PROBE_RTT & 1), "idleness has refreshed min_rtt");
    cr_expect_geq(bbr_max_bw(p->cc.bbr), bw * 9 / 10);
    cr_expect_geq(p->pace.rate_bytes_per_s, pacing * 7 / 10);
    path_end(p);
}

/* Draft, "Summary of Control Behavior": each state's pacing is its gain times bw, less a hundredth.
 */
Test(cc_bbr, gains)
{
    static const unsigned percent[BBR_STATES] = {277, 50, 90, 100, 100, 125, 100};
    struct path_model *p = path_new(1250000, 40 * MS, 1000000);
    const struct cc_bbr *b = p->cc.bbr;
    uint64_t seen = 0;
    for (unsigned i = 0; i < 8000; i++) {
        run(p, MS);
        if (!b->full_bw_reached)
            continue; /* in Startup the rate only grows */
        seen |= UINT64_C(1) << b->state;
        cr_assert_eq(b->pacing_rate, b->bw * percent[b->state] / 100 * 99 / 100, "state %u",
                     b->state);
        cr_assert_leq(b->bw, bbr_max_bw(b));
        if (bbr_in_probe_bw(b))
            cr_assert_leq(p->cc.cwnd_bytes, b->max_inflight);
    }
    cr_expect_eq(seen, (1 << BBR_STATES) - 1 - (1 << BBR_STARTUP));
    path_end(p);
}

/* Draft, "ProbeBW_CRUISE": 15 % below inflight_long, at least a packet below it, at least four
 * packets. */
Test(cc_bbr, headroom)
{
    struct path_model *p = path_new(1250000, 40 * MS, 1000000);
    struct cc_bbr *b = p->cc.bbr;
    cr_expect_eq(bbr_inflight_with_headroom(&p->cc), UINT64_MAX);
    b->inflight_long = 100000;
    cr_expect_eq(bbr_inflight_with_headroom(&p->cc), 85000);
    b->inflight_long = 6 * MTU;
    cr_expect_eq(bbr_inflight_with_headroom(&p->cc), 5 * MTU);
    b->inflight_long = 0;
    cr_expect_eq(bbr_inflight_with_headroom(&p->cc), 4 * MTU);
    b->inflight_long = UINT64_MAX;
    run(p, 2 * SECOND);
    for (unsigned i = 0; i < 3000 && b->state != BBR_DOWN; i++)
        run(p, MS);
    for (unsigned i = 0; i < 3000 && b->state != BBR_CRUISE; i++)
        run(p, MS);
    b->inflight_long = 40000;
    run(p, 3 * MS);
    cr_expect_eq(b->state, BBR_CRUISE, "%u", b->state);
    cr_expect_leq(p->cc.cwnd_bytes, b->inflight_long * 85 / 100 + 1);
    path_end(p);
}

/* RFC 9002 §7.6.2: persistent congestion leaves the minimum; the window then grows by what is
 * acknowledged, not at once to what it was. */
Test(cc_bbr, persistent_congestion)
{
    struct path_model *p = path_new(1250000, 40 * MS, 1000000);
    run(p, 2 * SECOND);
    uint64_t flight = p->cc.in_flight_bytes;
    struct loss_path sum = {.lost_packets = flight / MTU,
                            .lost_bytes = flight,
                            .lost_newest_sent_us = p->now - MS,
                            .persistent = true};
    cc_on_result(&p->cc, &sum, &p->rtt, p->now);
    cr_expect_eq(p->cc.cwnd_bytes, 2 * MTU);
    cc_on_sent(&p->cc, MTU, p->now + 1);
    struct loss_path one = {
        .acked_packets = 1, .acked_bytes = MTU, .acked_newest_sent_us = p->now + 1};
    cc_on_result(&p->cc, &one, &p->rtt, p->now + 41 * MS);
    cr_expect_leq(p->cc.cwnd_bytes, 4 * MTU);
    path_end(p);
}

/* Draft, "Handling a Spurious Loss Recovery": Startup goes on where losses that were none ended it.
 */
Test(cc_bbr, spurious)
{
    struct path_model *p = path_new(12500000, 40 * MS, 1000000);
    run(p, 150 * MS);
    struct cc_bbr *b = p->cc.bbr;
    cr_assert_eq(b->state, BBR_STARTUP);
    uint64_t cwnd = p->cc.cwnd_bytes, sent_us = p->now - 20 * MS;
    struct loss_path sum = {
        .lost_packets = 3, .lost_bytes = 3 * MTU, .lost_newest_sent_us = sent_us};
    cc_on_result(&p->cc, &sum, &p->rtt, p->now);
    cr_expect(b->loss_in_round);
    b->full_bw_reached = true; /* as bbr's check of high losses does */
    b->undo_state = BBR_STARTUP;
    b->state = BBR_DRAIN;
    b->inflight_long = 50000;
    struct loss_path late = {.spurious_packets = 3, .spurious_oldest_sent_us = sent_us};
    cc_on_result(&p->cc, &late, &p->rtt, p->now);
    cr_expect_eq(b->state, BBR_STARTUP);
    cr_expect(!b->full_bw_reached);
    cr_expect_eq(b->inflight_long, UINT64_MAX);
    cr_expect_geq(p->cc.cwnd_bytes, cwnd);
    path_end(p);
}

/* Draft, "Send Quantum": a train is about a millisecond of the rate, at least two packets. */
Test(cc_bbr, quantum)
{
    struct path_model *p = path_new(1250000, 40 * MS, 1000000);
    run(p, 3 * SECOND);
    cr_expect_geq(p->pace.train_bytes, 2 * MTU);
    cr_expect_leq(p->pace.train_bytes, 2 * MTU + p->pace.rate_bytes_per_s / 1000);
    cr_expect_eq(p->pace.burst_bytes, 2 * p->pace.train_bytes, "a late host catches up");
    path_end(p);
    p = path_new(125000000, 10 * MS, 10000000);
    run(p, 2 * SECOND);
    cr_expect_geq(p->pace.train_bytes, 32 * MTU);
    cr_expect_leq(p->pace.train_bytes, 64 * MTU);
    path_end(p);
}

/* Without memory for its state the path has CUBIC. */
Test(cc_bbr, no_memory)
{
    struct path_model *p = path_new(1250000, 40 * MS, 1000000);
    struct cc cc;
    struct quota none = {.arena = &p->arena, .max_bytes = 0};
    cc_init(&cc, &cc_bbr, MTU, 5);
    cc_attach(&cc, &none, 5);
    cr_expect_eq(cc.ops, &cc_cubic);
    cr_expect_eq(cc.cubic.epoch_start_us, AQ_NEVER);
    cc_detach(&cc);
    path_end(p);
}

/* Whatever is reported, also by a clock that jumps, the window and the rate stay within bounds. */
Test(cc_bbr, random_reports)
{
    uint64_t x = 88172645463325252;
    for (unsigned round = 0; round < 20; round++) {
        struct path_model *p = path_new(1250000, 40 * MS, 1000000);
        p->quota.max_bytes = round % 5 ? UINT64_MAX : p->quota.used_bytes;
        for (unsigned i = 0; i < 5000; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            unsigned dice = (unsigned)(x >> 20) % 1000;
            p->now += x % (dice < 2 ? UINT64_C(1) << 50 : 50 * MS);
            for (unsigned n = dice % 50; n > 0 && cc_room(&p->cc) >= MTU; n--)
                cc_on_sent(&p->cc, MTU, p->now);
            struct loss_path sum = {.acked_bytes = x % (p->cc.in_flight_bytes + 1),
                                    .acked_packets = dice % 10 != 0,
                                    .acked_newest_sent_us = p->now - x % (100 * MS)};
            if (!sum.acked_packets)
                sum.acked_bytes = 0;
            if (dice % 7 == 0) {
                sum.lost_packets = 1 + dice % 5;
                sum.lost_bytes = sum.lost_packets * MTU;
                sum.lost_newest_sent_us = p->now - x % (200 * MS);
                sum.persistent = dice % 49 == 0;
            } else if (dice % 11 == 0) {
                sum.spurious_packets = 1;
                sum.spurious_oldest_sent_us = p->now - x % (200 * MS);
            }
            if (dice % 13 == 0)
                cc_on_limited(&p->cc);
            rtt_sample(&p->rtt, 1 + x % (dice % 3 ? 100 * MS : 70 * SECOND), 0, p->now);
            cc_on_result(&p->cc, &sum, &p->rtt, p->now);
            pace_update(&p->pace, &p->cc, &p->rtt, p->now);
            cr_assert_geq(p->cc.cwnd_bytes, 2 * MTU);
            cr_assert_leq(p->cc.cwnd_bytes, CC_WINDOW_MAX);
            cr_assert_gt(p->pace.rate_bytes_per_s, 0);
            cr_assert_lt(p->cc.bbr->state, BBR_STATES);
        }
        p->quota.max_bytes = UINT64_MAX;
        path_end(p);
    }
}
