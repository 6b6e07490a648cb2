/* loss.c -- tests of core/loss.c: the formulas of RFC 9002 §5.3, the thresholds of
 * RFC 9002 §6.1, persistent congestion, hostile ACKs. tests/loss_model.c compares it with the RFC's
 * pseudocode. */
#include "core/loss.h"
#include "tests/loss_world.h"

/* ---- RFC 9002 §5 ---------------------------------------------------------------------------- */

/* RFC 9002 §5.3, RFC 9002 §6.2.2: 333 ms before there is a sample; a PTO of about one second
 * (RFC 9002 §6.2.1). */
Test(loss, rtt_initial)
{
    struct rtt rtt;
    rtt_init(&rtt);
    cr_expect_eq(rtt.smoothed_us, 333000);
    cr_expect_eq(rtt.var_us, 166500);
    cr_expect_eq(rtt.first_sample_us, AQ_NEVER);
    cr_expect_eq(rtt_pto(&rtt), 333000 + 4 * 166500);
}

/* RFC 9002 §5.2, RFC 9002 §5.3 */
Test(loss, rtt_formulas)
{
    struct rtt rtt;
    rtt_init(&rtt);
    rtt_sample(&rtt, 80000, 50000, 1234); /* the first takes no delay off */
    cr_expect_eq(rtt.latest_us, 80000);
    cr_expect_eq(rtt.smoothed_us, 80000);
    cr_expect_eq(rtt.var_us, 40000);
    cr_expect_eq(rtt.min_us, 80000);
    cr_expect_eq(rtt.first_sample_us, 1234);
    rtt_sample(&rtt, 120000, 16000, 2000); /* adjusted 104,000 */
    cr_expect_eq(rtt.latest_us, 120000);
    cr_expect_eq(rtt.var_us, (3 * 40000 + 24000) / 4);
    cr_expect_eq(rtt.smoothed_us, (7 * 80000 + 104000) / 8);
    cr_expect_eq(rtt.min_us, 80000);
    cr_expect_eq(rtt.first_sample_us, 1234);
    rtt_sample(&rtt, 60000, 0, 3000);
    cr_expect_eq(rtt.min_us, 60000);
}

/* RFC 9002 §5.3: never below the minimum: at the bound the delay counts, one beyond it does not. */
Test(loss, rtt_delay_bound)
{
    struct rtt a, b;
    rtt_init(&a);
    rtt_sample(&a, 80000, 0, 1);
    b = a;
    rtt_sample(&a, 100000, 20000, 2);
    cr_expect_eq(a.smoothed_us, 80000);
    rtt_sample(&b, 100000, 20001, 2);
    cr_expect_eq(b.smoothed_us, (7 * 80000 + 100000) / 8);
    /* SECURITY.md row 24 */
    rtt_sample(&a, 100000, UINT64_MAX, 2);
    cr_expect_eq(a.smoothed_us, (7 * 80000 + 100000) / 8);
}

/* SECURITY.md row 24: a clock that jumps gives a large estimate, not nonsense; a sample of 0
 * counts as 1. */
Test(loss, rtt_extremes)
{
    struct rtt rtt;
    rtt_init(&rtt);
    for (unsigned i = 0; i < 100; i++) {
        rtt_sample(&rtt, UINT64_MAX - i, UINT64_MAX, UINT64_MAX);
        cr_expect_leq(rtt.smoothed_us, 60 * SECOND);
        cr_expect_leq(rtt_pto(&rtt), 5 * 60 * (uint64_t)SECOND);
    }
    for (unsigned i = 0; i < 300; i++)
        rtt_sample(&rtt, 0, 0, i);
    cr_expect_eq(rtt.min_us, 1);
    cr_expect_leq(rtt.smoothed_us, 8);
    cr_expect_geq(rtt.smoothed_us, 1);
    cr_expect_geq(rtt_pto(&rtt), LOSS_GRANULARITY_US); /* RFC 9002 §6.2.1 */
}

/* RFC 9002 §5.2: the minimum starts again after persistent congestion. */
Test(loss, rtt_after_persistent)
{
    struct rtt rtt;
    rtt_init(&rtt);
    rtt_sample(&rtt, 10000, 0, 1);
    rtt_sample(&rtt, 90000, 0, 2);
    cr_expect_eq(rtt.min_us, 10000);
    rtt_on_persistent(&rtt);
    cr_expect_eq(rtt.min_us, 90000);
}

/* ---- one ACK -------------------------------------------------------------------------------- */

/* RFC 9002 §5.1: a sample needs the largest newly acknowledged, and something eliciting. */
Test(loss, samples)
{
    struct world *w = world_new();
    for (unsigned i = 0; i < 4; i++)
        send(w, 100 * i);
    cr_assert_eq(ack_range(w, 0, 2, 1000), AQ_OK);
    cr_expect(w->result.has_sample);
    cr_expect_eq(w->result.sample_us, 1000 - 200);
    cr_expect_eq(w->result.sample_path, 0);
    cr_expect(w->result.eliciting_acked);
    cr_expect_eq(w->result.path[0].acked_bytes, 3000);
    cr_expect_eq(w->result.path[0].acked_packets, 3);
    cr_expect_eq(w->result.path[0].acked_newest_sent_us, 200);
    cr_expect_eq(w->ring.eliciting_in_flight, 1);
    cr_assert_eq(ack_range(w, 0, 2, 2000), AQ_OK);
    cr_expect(!w->result.any_acked && !w->result.has_sample, "the same again says nothing");
    send_on(w, 0, 0, 500);
    send_on(w, 0, 0, 600);
    cr_assert_eq(ack_range(w, 4, 4, 3000), AQ_OK);
    cr_expect(w->result.any_acked);
    cr_expect(!w->result.has_sample && !w->result.eliciting_acked, "nothing eliciting");
    cr_expect_eq(w->result.path[0].acked_bytes, 0, "it was not in flight");
    cr_assert_eq(ack_range(w, 3, 4, 3100), AQ_OK);
    cr_expect(w->result.eliciting_acked && !w->result.has_sample, "the largest is not new");
    send_on(w, 3, FLIGHT, 4000);
    cr_assert_eq(ack_range(w, 5, 6, 3900), AQ_OK);
    cr_expect(w->result.has_sample);
    cr_expect_eq(w->result.sample_path, 3);
    cr_expect_eq(w->result.sample_us, 0, "a clock that went back");
    world_end(w);
}

/* RFC 9000 §13.1, RFC 9000 §21.4, SECURITY.md row 1: an ACK of what was not sent, or was
 * skipped, changes nothing. */
Test(loss, optimistic_acks)
{
    struct world *w = world_new();
    cr_expect_eq(ack_range(w, 0, 0, 1), AQ_PROTOCOL_VIOLATION, "nothing sent yet");
    send_many(w, 3, 10); /* 0 1 2 */
    sent_reserve(&w->ring, &w->quota, 1, 1);
    sent_skip(&w->ring); /* 3 */
    send_many(w, 3, 10); /* 4 5 6 */
    cr_expect_eq(ack_range(w, 0, 7, 20), AQ_PROTOCOL_VIOLATION);
    cr_expect_eq(ack_range(w, 0, VARINT_MAX, 20), AQ_PROTOCOL_VIOLATION);
    cr_expect_eq(ack_range(w, 0, 6, 20), AQ_PROTOCOL_VIOLATION);
    cr_expect_eq(ack_range(w, 3, 3, 20), AQ_PROTOCOL_VIOLATION);
    bool named[7] = {true, false, false, true, false, true, true};
    cr_expect_eq(ack_named(w, named, 7, 20), AQ_PROTOCOL_VIOLATION, "in a later range");
    cr_expect_eq(w->acked + w->lost, 0);
    cr_expect_eq(w->ring.largest_acked, UINT64_MAX);
    cr_expect_eq(w->ring.eliciting_in_flight, 6);
    cr_expect_eq(ack_range(w, 4, 6, 20), AQ_OK);
    cr_expect_eq(ack_range(w, 0, 2, 20), AQ_OK);
    cr_expect_eq(w->acked, 6);
    /* out of the ring, still not forgotten */
    detect(w, 0, 20);
    cr_expect_eq(w->ring.first, 7);
    cr_expect_eq(ack_range(w, 0, 6, 30), AQ_PROTOCOL_VIOLATION);
    cr_expect_eq(ack_range(w, 0, 2, 30), AQ_OK);
    /* two skipped in the ring: the older one is caught too */
    send(w, 40); /* 7 */
    sent_reserve(&w->ring, &w->quota, 1, 1);
    sent_skip(&w->ring); /* 8 */
    send(w, 40);         /* 9 */
    sent_reserve(&w->ring, &w->quota, 1, 1);
    sent_skip(&w->ring); /* 10 */
    send(w, 40);         /* 11 */
    cr_expect_eq(ack_range(w, 7, 9, 50), AQ_PROTOCOL_VIOLATION);
    cr_expect_eq(ack_range(w, 7, 7, 50), AQ_OK);
    cr_expect_eq(ack_range(w, 9, 9, 50), AQ_OK);
    cr_expect_eq(ack_range(w, 11, 11, 50), AQ_OK);
    world_end(w);
}

Test(loss, sums_per_path)
{
    struct world *w = world_new();
    send_on(w, 1, FLIGHT | SENT_ECT, 10);
    send_on(w, 2, FLIGHT | SENT_APP_LIMITED, 20);
    send_on(w, 1, SENT_IN_FLIGHT | SENT_ECT, 30); /* padding only */
    send_on(w, 1, FLIGHT | SENT_APP_LIMITED, 40);
    cr_assert_eq(ack_range(w, 0, 2, 100), AQ_OK);
    cr_expect_eq(w->result.path[1].acked_bytes, 2000);
    cr_expect_eq(w->result.path[2].acked_bytes, 1000);
    cr_expect_eq(w->result.path[0].acked_bytes, 0);
    cr_expect_eq(w->result.path[1].acked_newest_sent_us, 30);
    cr_expect(!w->result.path[1].app_limited, "the newest decides");
    cr_expect(w->result.path[2].app_limited);
    cr_expect_eq(w->result.ect_acked, 2);
    cr_expect_eq(w->result.sample_path, 1);
    cr_expect_eq(w->ring.eliciting_in_flight, 1);
    world_end(w);
}

/* ---- RFC 9002 §6.1 -------------------------------------------------------------------------- */

/* RFC 9002 §6.1.1: three sent later are enough, two are not. RFC 9002 §6.1: and never what was
 * sent last. */
Test(loss, packet_threshold)
{
    struct world *w = world_new();
    rtt_sample(&w->rtt[0], 100 * MS, 0, 0);
    send_many(w, 5, 1000);
    cr_assert_eq(ack_range(w, 2, 2, 2000), AQ_OK);
    detect(w, 0, 2000);
    cr_expect_eq(w->lost, 0);
    cr_expect_eq(w->ring.loss_time_us, 1000 + 112500, "9/8 of the round trip");
    cr_assert_eq(ack_range(w, 3, 3, 2000), AQ_OK);
    detect(w, 0, 2000);
    cr_expect_eq(w->lost, 1);
    cr_expect_eq(w->fate[0], SENT_LOST);
    cr_expect_eq(w->result.path[0].lost_bytes, 1000);
    cr_expect_eq(w->result.path[0].lost_packets, 1);
    cr_expect_eq(w->result.path[0].lost_newest_sent_us, 1000);
    cr_expect_eq(w->ring.first, 1);
    memset(&w->result, 0, sizeof w->result);
    detect(w, 0, 10 * SECOND);
    cr_expect_eq(w->fate[1], SENT_LOST, "by time");
    cr_expect_eq(w->fate[4], SENT_NONE, "nothing sent later has arrived");
    cr_expect_eq(w->ring.loss_time_us, AQ_NEVER);
    cr_expect_eq(w->ring.eliciting_in_flight, 1);
    world_end(w);
}

/* A number we skipped does not count as a packet sent later (RFC 9002 §A.10). */
Test(loss, skipped_number_and_threshold)
{
    struct world *w = world_new();
    rtt_sample(&w->rtt[0], 100 * MS, 0, 0);
    send(w, 1000); /* 0 */
    sent_reserve(&w->ring, &w->quota, 1, 1);
    sent_skip(&w->ring);   /* 1 */
    send_many(w, 3, 1000); /* 2 3 4 */
    cr_assert_eq(ack_range(w, 3, 3, 2000), AQ_OK);
    detect(w, 0, 2000);
    cr_expect_eq(w->lost, 0);
    cr_assert_eq(ack_range(w, 4, 4, 2000), AQ_OK);
    detect(w, 0, 2000);
    cr_expect_eq(w->lost, 1);
    world_end(w);
}

/* RFC 9002 §6.1.2: at the threshold it is lost, one microsecond before it is not; at least 1 ms. */
Test(loss, time_threshold)
{
    struct world *w = world_new();
    rtt_sample(&w->rtt[0], 80 * MS, 0, 0);
    w->rtt[0].latest_us = 160 * MS; /* the larger of the two counts */
    send_many(w, 2, 1000);
    cr_assert_eq(ack_range(w, 1, 1, 2000), AQ_OK);
    detect(w, 0, 2000);
    cr_expect_eq(w->ring.loss_time_us, 1000 + 180 * MS);
    detect(w, 0, 1000 + 180 * MS - 1);
    cr_expect_eq(w->lost, 0);
    detect(w, 0, 1000 + 180 * MS);
    cr_expect_eq(w->lost, 1);
    rtt_init(&w->rtt[0]);
    rtt_sample(&w->rtt[0], 50, 0, 0); /* a loopback round trip */
    send_many(w, 2, SECOND);
    cr_assert_eq(ack_range(w, 3, 3, SECOND + 50), AQ_OK);
    detect(w, 0, SECOND + 50);
    cr_expect_eq(w->ring.loss_time_us, SECOND + LOSS_GRANULARITY_US);
    detect(w, 0, SECOND + LOSS_GRANULARITY_US);
    cr_expect_eq(w->lost, 2);
    world_end(w);
}

/* Paths have their own thresholds, and a path that is gone takes the first that is left. */
Test(loss, thresholds_per_path)
{
    struct world *w = world_new();
    rtt_sample(&w->rtt[0], 800 * MS, 0, 0);
    rtt_sample(&w->rtt[1], 8 * MS, 0, 0);
    send_on(w, 0, FLIGHT, 1000);
    send_on(w, 1, FLIGHT, 1000);
    send_on(w, 1, FLIGHT, 1000);
    cr_assert_eq(ack_range(w, 2, 2, 2000), AQ_OK);
    detect(w, 0, 2000);
    cr_expect_eq(w->ring.loss_time_us, 1000 + 9 * MS, "the younger is due first");
    detect(w, 0, 1000 + 9 * MS);
    cr_expect_eq(w->fate[1], SENT_LOST);
    cr_expect_eq(w->fate[0], SENT_NONE);
    cr_expect_eq(w->ring.loss_time_us, 1000 + 900 * MS);
    w->rtts[0] = NULL;
    detect(w, 0, 1000 + 9 * MS);
    cr_expect_eq(w->fate[0], SENT_LOST, "path 1 speaks for it");
    world_end(w);
}

/* RFC 9000 §14.4: a lost MTU probe leaves the flight, is told, and is no congestion. */
Test(loss, mtu_probe)
{
    struct world *w = world_new();
    rtt_sample(&w->rtt[0], 10 * MS, 0, 0);
    send_on(w, 0, FLIGHT | SENT_MTU_PROBE, 1000);
    send_many(w, 3, 1000);
    cr_assert_eq(ack_range(w, 1, 3, 2000), AQ_OK);
    detect(w, 0, 2000);
    cr_expect_eq(w->fate[0], SENT_LOST);
    cr_expect_eq(w->result.path[0].lost_bytes, 1000);
    cr_expect_eq(w->result.path[0].lost_packets, 0);
    cr_expect_eq(w->result.path[0].lost_newest_sent_us, 0);
    world_end(w);
}

/* Packets of ACKs only are never lost and never hold the front back. */
Test(loss, not_in_flight)
{
    struct world *w = world_new();
    rtt_sample(&w->rtt[0], 10 * MS, 0, 0);
    send_on(w, 0, 0, 1000);
    send_on(w, 0, 0, 1000);
    send_many(w, 4, 1000);
    cr_assert_eq(ack_range(w, 5, 5, 2000), AQ_OK);
    detect(w, 0, 2000);
    cr_expect_eq(w->fate[0], SENT_NONE);
    cr_expect_eq(w->fate[2], SENT_LOST);
    cr_expect_eq(w->ring.first, 3);
    world_end(w);
}

/* ---- RFC 9002 §7.6 -------------------------------------------------------------------------- */

/* RTT such that smoothed + max(4 var, granularity) + max_ack_delay is 2 s with a max_ack_delay
 * of 0.5 s. */
static void rtt_for_example(struct rtt *rtt, uint64_t first_sample_us)
{
    *rtt = (struct rtt){.latest_us = 500 * MS,
                        .smoothed_us = 500 * MS,
                        .var_us = 250 * MS,
                        .min_us = 500 * MS,
                        .first_sample_us = first_sample_us};
}

/* RFC 9002 §7.6.3: the example: packets 2 to 8 lost over 7 s, the duration is 6 s
 * (RFC 9002 §7.6.1). */
Test(loss, persistent_example)
{
    struct world *w = world_new();
    const uint64_t tenths[] = {0,  0,  10, 20, 30,
                               40, 50, 60, 80, 120}; /* packet 0 starts the numbers */
    for (unsigned i = 0; i < 10; i++) {
        send(w, tenths[i] * 100 * MS);
        if (i == 2) {
            cr_assert_eq(ack_range(w, 0, 1, 1200 * MS), AQ_OK);
            /* "a prior RTT sample existed": in the example the first sample is older than packet
             * 2 */
            rtt_for_example(&w->rtt[0], 900 * MS);
        }
    }
    cr_assert_eq(ack_range(w, 9, 9, 12200 * MS), AQ_OK);
    detect(w, 500 * MS, 12200 * MS);
    for (unsigned i = 2; i <= 8; i++)
        cr_expect_eq(w->fate[i], SENT_LOST, "packet %u", i);
    cr_expect_eq(w->result.path[0].lost_packets, 7);
    cr_expect(w->result.path[0].persistent);
    world_end(w);
}

struct persistent_row {
    const char *name;
    uint64_t gap_us;          /* between the first lost packet and the last */
    uint64_t first_sample_us; /* the first is sent at 1 s */
    uint8_t first_flags, last_flags;
    bool between_acked, other_path_acked;
    bool expect;
};

/* RFC 9002 §7.6.2: each condition, and one step beside it. The duration is 6 s. */
Test(loss, persistent_conditions)
{
    const uint64_t exact = 6 * (uint64_t)SECOND;
    const struct persistent_row rows[] = {
        {"longer", exact + 1, 0, FLIGHT, FLIGHT, false, false, true},
        {"exactly as long", exact, 0, FLIGHT, FLIGHT, false, false, false},
        {"one acknowledged between", exact + 1, 0, FLIGHT, FLIGHT, true, false, false},
        {"one acknowledged on another path", exact + 1, 0, FLIGHT, FLIGHT, false, true, true},
        {"no sample before", exact + 1, SECOND, FLIGHT, FLIGHT, false, false, false},
        {"a sample just before", exact + 1, SECOND - 1, FLIGHT, FLIGHT, false, false, true},
        {"never a sample", exact + 1, AQ_NEVER, FLIGHT, FLIGHT, false, false, false},
        {"first not eliciting", exact + 1, 0, SENT_IN_FLIGHT, FLIGHT, false, false, false},
        {"last not eliciting", exact + 1, 0, FLIGHT, SENT_IN_FLIGHT, false, false, false},
        {"MTU probe", exact + 1, 0, FLIGHT | SENT_MTU_PROBE, FLIGHT, false, false, false},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct persistent_row *row = &rows[i];
        struct world *w = world_new();
        rtt_for_example(&w->rtt[0], row->first_sample_us);
        rtt_for_example(&w->rtt[1], 0);
        uint64_t end = SECOND + row->gap_us;
        bool named[7] = {[6] = true, [2] = row->between_acked, [3] = row->other_path_acked};
        send_on(w, 0, row->first_flags, SECOND);
        send_on(w, 0, SENT_IN_FLIGHT, SECOND);
        send_on(w, 0, FLIGHT, SECOND + row->gap_us / 2);
        send_on(w, 1, FLIGHT, SECOND + row->gap_us / 2);
        send_on(w, 0, FLIGHT, SECOND + row->gap_us / 2);
        send_on(w, 0, row->last_flags, end);
        send_on(w, 0, FLIGHT, end + 10 * SECOND);
        cr_assert_eq(ack_named(w, named, 7, end + 11 * SECOND), AQ_OK);
        detect(w, 500 * MS, end + 11 * SECOND);
        cr_expect_eq(w->fate[5], SENT_LOST);
        cr_expect_eq(w->result.path[0].persistent, row->expect, "%s", row->name);
        cr_expect(!w->result.path[1].persistent);
        world_end(w);
    }
}

/* SECURITY.md row 24: extremes of clock and delay neither overflow nor declare anything. */
Test(loss, extremes)
{
    struct world *w = world_new();
    rtt_sample(&w->rtt[0], UINT64_MAX, UINT64_MAX, 5);
    send_many(w, 2, UINT64_MAX - 5);
    send(w, 1); /* a clock that went back */
    cr_assert_eq(ack_range(w, 2, 2, UINT64_MAX), AQ_OK);
    detect(w, UINT64_MAX, UINT64_MAX - 1);
    cr_expect_eq(w->lost, 0);
    cr_expect_eq(w->ring.loss_time_us, AQ_NEVER);
    cr_expect(!w->result.path[0].persistent);
    world_end(w);
}

/* ---- forgetting ----------------------------------------------------------------------------- */

/* RFC 9002 §6.4, RFC 9002 §B.9, RFC 9002 §A.11: keys discarded; RFC 9002 §6.3: Retry sends again
 * what was sent. */
Test(loss, forget)
{
    for (unsigned resend = 0; resend < 2; resend++) {
        struct world *w = world_new();
        uint64_t bytes[PATHS_MAX];
        send_many(w, 3, 10);
        send_on(w, 2, FLIGHT, 20);
        send_on(w, 0, 0, 20);
        cr_assert_eq(ack_range(w, 1, 1, 30), AQ_OK);
        loss_forget(&w->ring, &w->quota, resend, &sink, w, bytes);
        cr_expect_eq(bytes[0], 2000);
        cr_expect_eq(bytes[1], 0);
        cr_expect_eq(bytes[2], 1000);
        cr_expect_eq(w->lost, resend ? 3 : 0);
        cr_expect_eq(w->quota.used_bytes, 0);
        cr_expect_eq(w->ring.next, 5, "numbers are never used twice");
        cr_expect_eq(w->ring.eliciting_in_flight, 0);
        cr_expect_eq(w->ring.last_eliciting_us, 0);
        cr_expect_eq(w->ring.loss_time_us, AQ_NEVER);
        cr_expect_eq(ack_range(w, 0, 4, 40), AQ_OK, "late, and of no effect");
        cr_expect(!w->result.any_acked);
        world_end(w);
    }
}

/* ---- work ----------------------------------------------------------------------------------- */

/* SECURITY.md row 11: after an ACK, what a later one can name again is a handful of packets. */
Test(loss, work_is_bounded)
{
    struct world *w = world_new();
    rtt_sample(&w->rtt[0], 100 * SECOND, 0, 0);
    bool named[3000];
    for (unsigned i = 0; i < 3000; i++) {
        send(w, 1000);
        named[i] = i % 2;
    }
    for (uint64_t below = 100; below <= 3000; below += 100) {
        cr_assert_eq(ack_named(w, named, below, 2000), AQ_OK);
        detect(w, 0, 2000);
        cr_expect_geq(w->ring.first, below - 3);
    }
    world_end(w);
}
