/* cc_hystart.c -- tests of core/cc_cubic.c for HyStart++ (RFC 9406), and of core/cc.c for events
 * that are taken back (RFC 9438 §4.9). */
#include "core/cc.h"

#include <criterion/criterion.h>

enum {
    MTU = 1200,
    MS = 1000,
    SECOND = 1000000
};

struct start {
    struct cc cc;
    struct rtt rtt;
    uint64_t now;
};

static void start_init(struct start *s, uint64_t now)
{
    *s = (struct start){.now = now};
    cc_init(&s->cc, &cc_cubic, MTU, now);
    s->rtt = (struct rtt){.latest_us = 50 * MS, .smoothed_us = 50 * MS, .min_us = 50 * MS};
}

/* One round: `acks` ACKs of one packet each, all sent when the round before ended. */
static void round_of(struct start *s, unsigned acks, uint64_t rtt_us)
{
    uint64_t sent_us = s->now;
    for (unsigned i = 0; i < acks; i++) {
        s->now = sent_us + rtt_us + i;
        struct loss_path sum = {
            .acked_bytes = MTU, .acked_packets = 1, .acked_newest_sent_us = sent_us + i};
        s->cc.in_flight_bytes = s->cc.cwnd_bytes;
        cc_on_result(&s->cc, &sum, &s->rtt, s->now);
    }
    s->now++;
}

/* RFC 9406 §4.2: without a longer RTT slow start is what it was; 4 ms more than 50 are too few, for
 * an eighth is 6.25 ms. */
Test(cc_hystart, steady)
{
    struct start s;
    start_init(&s, SECOND);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t before = s.cc.cwnd_bytes;
        round_of(&s, 10, i % 2 ? 54 * MS : 50 * MS);
        cr_expect_eq(s.cc.cwnd_bytes, before + 10 * MTU);
    }
    cr_expect_eq(s.cc.ssthresh_bytes, UINT64_MAX);
}

/* RFC 9406 §4.2: eight samples well above the last round's least: growth is a quarter from the ACK
 * after the eighth. RFC 9406 §4.3: after five rounds of that slow start ends. */
Test(cc_hystart, css_to_avoidance)
{
    struct start s;
    start_init(&s, SECOND);
    round_of(&s, 10, 50 * MS);
    uint64_t before = s.cc.cwnd_bytes;
    round_of(&s, 10, 57 * MS);
    cr_expect_eq(s.cc.cwnd_bytes, before + 8 * MTU + 2 * (MTU / 4));
    for (unsigned i = 0; i < 4; i++) {
        cr_expect_eq(s.cc.ssthresh_bytes, UINT64_MAX, "round %u", i);
        before = s.cc.cwnd_bytes;
        round_of(&s, 10, 57 * MS);
        cr_expect_eq(s.cc.cwnd_bytes, before + 10 * (MTU / 4));
    }
    round_of(&s, 1, 57 * MS);
    cr_expect_eq(s.cc.ssthresh_bytes, s.cc.cwnd_bytes, "the fifth round is over");
    before = s.cc.cwnd_bytes;
    round_of(&s, 1, 57 * MS);
    cr_expect_lt(s.cc.cwnd_bytes, before + MTU / 4, "congestion avoidance");
}

/* RFC 9406 §4.2: fewer than eight samples decide nothing. */
Test(cc_hystart, few_samples)
{
    struct start s;
    start_init(&s, SECOND);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t before = s.cc.cwnd_bytes;
        round_of(&s, 7, (50 + 20 * i) * MS);
        cr_expect_eq(s.cc.cwnd_bytes, before + 7 * MTU);
    }
}

/* RFC 9406 §4.2: a round below the one that brought CSS: it was noise, slow start goes on. */
Test(cc_hystart, noise)
{
    struct start s;
    start_init(&s, SECOND);
    round_of(&s, 10, 50 * MS);
    round_of(&s, 10, 70 * MS);
    cr_expect_neq(s.cc.cubic.rtt_css_us, 0);
    round_of(&s, 10, 60 * MS);
    cr_expect_eq(s.cc.cubic.rtt_css_us, 0);
    uint64_t before = s.cc.cwnd_bytes;
    round_of(&s, 10, 60 * MS);
    cr_expect_eq(s.cc.cwnd_bytes, before + 10 * MTU);
    cr_expect_eq(s.cc.ssthresh_bytes, UINT64_MAX);
}

/* RFC 9406 §4.3: the margin is an eighth of the RTT, at least 4 ms and at most 16. */
Test(cc_hystart, margins)
{
    const struct {
        uint64_t rtt_us, more_us;
    } rows[] = {{1 * MS, 4 * MS}, {20 * MS, 4 * MS}, {64 * MS, 8 * MS}, {400 * MS, 16 * MS}};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (unsigned enough = 0; enough < 2; enough++) {
            struct start s;
            start_init(&s, SECOND);
            round_of(&s, 8, rows[i].rtt_us);
            round_of(&s, 8, rows[i].rtt_us + rows[i].more_us - 1 + enough);
            cr_expect_eq(s.cc.cubic.rtt_css_us != 0, enough == 1, "row %u", i);
        }
    }
}

/* ---- events taken back ---------------------------------------------------------------------- */

static void lost_and_late(struct cc *cc, struct rtt *rtt, unsigned lost, unsigned late,
                          uint64_t sent_us, uint64_t now)
{
    struct loss_path sum = {.lost_packets = lost,
                            .lost_bytes = lost * MTU,
                            .lost_newest_sent_us = sent_us,
                            .spurious_packets = late,
                            .spurious_oldest_sent_us = sent_us};
    cc->in_flight_bytes = cc->cwnd_bytes;
    cc_on_result(cc, &sum, rtt, now);
}

static struct cc cc_at(const struct cc_ops *ops, uint64_t cwnd)
{
    struct cc cc;
    cc_init(&cc, ops, MTU, 0);
    cc.cwnd_bytes = cwnd;
    return cc;
}

/* RFC 9438 §4.9: when all packets of an event have arrived, window and threshold are restored. */
Test(cc_undo, all_arrived)
{
    static const struct cc_ops *const controllers[] = {&cc_newreno, &cc_cubic};
    struct rtt rtt = {.smoothed_us = 50 * MS};
    for (unsigned i = 0; i < 2; i++) {
        struct cc cc = cc_at(controllers[i], 100000);
        lost_and_late(&cc, &rtt, 2, 0, 10, 100);
        lost_and_late(&cc, &rtt, 1, 0, 20, 110);
        cr_expect_eq(cc.cwnd_bytes, i == 0 ? 50000 : 70000);
        cr_expect(cc_in_recovery(&cc, 50));
        lost_and_late(&cc, &rtt, 0, 2, 10, 120);
        cr_expect_eq(cc.cwnd_bytes, i == 0 ? 50000 : 70000, "one is still missing");
        lost_and_late(&cc, &rtt, 0, 1, 20, 130);
        cr_expect_eq(cc.cwnd_bytes, 100000);
        cr_expect_eq(cc.ssthresh_bytes, UINT64_MAX);
        cr_expect(!cc_in_recovery(&cc, 50));
    }
}

/* RFC 9438 §4.9: CUBIC's W_max and cwnd_prior too, so that the curve is the old one. */
Test(cc_undo, cubic_state)
{
    struct rtt rtt = {.smoothed_us = 50 * MS};
    struct cc cc = cc_at(&cc_cubic, 100000);
    lost_and_late(&cc, &rtt, 1, 0, 10, 100);
    struct cc before = cc;
    lost_and_late(&cc, &rtt, 1, 0, 200, 300);
    cr_expect_eq(cc.cwnd_bytes, 49000);
    cr_expect_eq(cc.cubic.w_max, 59500);
    lost_and_late(&cc, &rtt, 0, 1, 200, 310);
    cr_expect_eq(cc.cwnd_bytes, before.cwnd_bytes);
    cr_expect_eq(cc.ssthresh_bytes, before.ssthresh_bytes);
    cr_expect_eq(cc.cubic.w_max, before.cubic.w_max);
    cr_expect_eq(cc.cubic.cwnd_prior, before.cubic.cwnd_prior);
}

/* A late packet of an older event does not take back a newer one; nor is an event taken back twice,
 * or one that a mark or persistent congestion has confirmed. */
Test(cc_undo, not_this_one)
{
    struct rtt rtt = {.smoothed_us = 50 * MS};
    struct cc cc = cc_at(&cc_newreno, 100000);
    lost_and_late(&cc, &rtt, 1, 0, 10, 100);
    lost_and_late(&cc, &rtt, 1, 0, 200, 300);
    cr_expect_eq(cc.cwnd_bytes, 25000);
    lost_and_late(&cc, &rtt, 0, 1, 10, 310);
    cr_expect_eq(cc.cwnd_bytes, 25000);
    lost_and_late(&cc, &rtt, 0, 1, 200, 320);
    cr_expect_eq(cc.cwnd_bytes, 50000);
    cc.cwnd_bytes = 30000;
    lost_and_late(&cc, &rtt, 0, 1, 200, 330);
    cr_expect_eq(cc.cwnd_bytes, 30000);

    cc = cc_at(&cc_newreno, 100000);
    lost_and_late(&cc, &rtt, 1, 0, 10, 100);
    cc_on_ce(&cc, 11, 101); /* RFC 9002 §7.1 */
    lost_and_late(&cc, &rtt, 0, 1, 10, 110);
    cr_expect_eq(cc.cwnd_bytes, 50000);

    cc = cc_at(&cc_newreno, 100000);
    cc_on_ce(&cc, 11, 101);
    lost_and_late(&cc, &rtt, 1, 0, 10, 105);
    lost_and_late(&cc, &rtt, 0, 1, 10, 110);
    cr_expect_eq(cc.cwnd_bytes, 50000);

    cc = cc_at(&cc_newreno, 100000);
    struct loss_path sum = {
        .lost_packets = 2, .lost_bytes = 2 * MTU, .lost_newest_sent_us = 10, .persistent = true};
    cc_on_result(&cc, &sum, &rtt, 100); /* RFC 9002 §7.6.2 */
    lost_and_late(&cc, &rtt, 0, 2, 10, 110);
    cr_expect_eq(cc.cwnd_bytes, 2 * MTU);
}
