/* cc_bbr.c -- BBR (draft-ietf-ccwg-bbr): the window and the pacing rate from a model of the path.
 *
 *     Startup -> Drain -> ProbeBW: DOWN -> CRUISE -> REFILL -> UP -> DOWN ...
 *                          any of them -> ProbeRTT -> CRUISE (or Startup), every 5 s unless idle
 *
 * The model is the most the path delivered (max_bw, over two probing cycles), its least round-trip
 * time (min_rtt, over 10 s), and what losses say of both: inflight_long, the most that was in
 * flight without too many of them, and bw_short and inflight_short, which follow losses down
 * between two probes and are forgotten at the next. Functions bear the draft's names, as far as
 * they have an equal there. Integers only: gains are in percent.
 *
 * Where this departs from the draft: its packets are our aggregates (rate.h), and the losses of one
 * report are one lost aggregate; chance comes from a hash of what was measured, because the core's
 * generator is not for controllers; what a path loses by itself, while we cruise without a
 * queue, does not count as congestion (bbr_model.c); after persistent congestion the window grows
 * from the minimum by what is acknowledged (RFC 9002 §7.6.2), and is not what it was before at
 * once.
 *
 * The state takes a block of the connection's memory (ARENA_BLOCK), and a ring of 4 KiB while
 * something is in flight. Called through cc_ops. */
#include "core/bbr.h"
#include "core/num.h"

#include <assert.h>
#include <string.h>

/* ---- steps between states -------------------------------------------------------------------- */

/* Chance for PickProbeWait: two flows of one bottleneck do not deliver the same bytes at the same
 * time, so they do not probe together for long. */
static uint64_t mixed(const struct cc_bbr *b, uint64_t now)
{
    uint64_t x = now * UINT64_C(0x9e3779b97f4a7c15) + b->rate.delivered;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9) + b->min_rtt_us;
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void start_down(struct cc_bbr *b, uint64_t now)
{
    uint64_t chance = mixed(b, now);
    bbr_reset_congestion_signals(b);
    b->up_acked_per_step = UNBOUND;
    b->rounds_since_up = chance & 1;
    b->probe_wait_us = 2 * SECOND_US + (chance >> 1) % SECOND_US;
    b->cycle_us = now;
    b->ack_phase = ACKS_PROBE_STOPPING;
    bbr_start_round(b);
    b->state = BBR_DOWN;
}

static void start_refill(struct cc_bbr *b)
{
    bbr_reset_short_term(b);
    b->up_rounds = 0;
    b->up_acked = 0;
    b->prev_precautionary = false;
    b->ack_phase = ACKS_REFILLING;
    bbr_start_round(b);
    b->state = BBR_REFILL;
}

static void raise_inflight_slope(struct cc *cc)
{
    struct cc_bbr *b = cc->bbr;
    uint64_t step = cc->cwnd_bytes >> b->up_rounds;
    if (b->up_rounds < 30)
        b->up_rounds++;
    b->up_acked_per_step = max_u64(step, cc->mtu);
}

static void start_up(struct cc *cc, uint64_t bw)
{
    struct cc_bbr *b = cc->bbr;
    b->ack_phase = ACKS_PROBE_STARTING;
    bbr_start_round(b);
    bbr_reset_full_bw(b, bw);
    b->state = BBR_UP;
    raise_inflight_slope(cc);
}

static void save_cwnd(struct cc *cc)
{
    struct cc_bbr *b = cc->bbr;
    b->prior_cwnd = !b->recovering && b->state != BBR_PROBE_RTT
                        ? cc->cwnd_bytes
                        : max_u64(b->prior_cwnd, cc->cwnd_bytes);
}

static void restore_cwnd(struct cc *cc)
{
    cc->cwnd_bytes = max_u64(cc->cwnd_bytes, cc->bbr->prior_cwnd);
}

/* ---- losses ---------------------------------------------------------------------------------- */

static void note_loss(struct cc *cc)
{
    struct cc_bbr *b = cc->bbr;
    if (!b->loss_in_round) {
        b->loss_round_end = b->rate.delivered;
        save_cwnd(cc);
        b->undo_state = BBR_STATES;
        b->undo_bw_short = b->bw_short;
        b->undo_inflight_short = b->inflight_short;
        b->undo_inflight_long = b->inflight_long;
    }
    b->loss_in_round = true;
}

static void on_inflight_too_high(struct cc *cc, const struct rate_sample *s, uint64_t now)
{
    struct cc_bbr *b = cc->bbr;
    b->prev_too_high = true;
    b->probe_sample = false; /* one reaction for each probe */
    if (!s->app_limited)
        b->inflight_long =
            max_u64(s->in_flight_bytes, bbr_target_inflight(cc) * BETA_PERCENT / 100);
    if (b->state == BBR_UP) {
        b->undo_state = BBR_UP;
        start_down(b, now);
    }
}

/* HandleLostPacket. */
static void on_lost(struct cc *cc, const struct loss_path *sum, uint64_t now)
{
    struct cc_bbr *b = cc->bbr;
    struct rate_sample s = {0};
    rate_on_lost(&b->rate, sum->lost_bytes, sum->lost_newest_sent_us, &s);
    note_loss(cc);
    if (b->loss_events < UINT8_MAX)
        b->loss_events++;
    if (!b->probe_sample || !bbr_is_inflight_too_high(cc, &s))
        return;
    s.in_flight_bytes = bbr_inflight_at_loss(&s, sum->lost_bytes);
    on_inflight_too_high(cc, &s, now);
}

/* CheckStartupHighLoss, EnterDrain and CheckDrainDone. */
static void check_startup_and_drain(struct cc *cc, const struct bbr_report *r)
{
    struct cc_bbr *b = cc->bbr;
    if (b->state == BBR_STARTUP && b->loss_round_start && b->loss_events >= STARTUP_LOSS_EVENTS
        && bbr_is_inflight_too_high(cc, &r->sample)) {
        b->undo_state = BBR_STARTUP;
        b->full_bw_reached = true;
        b->inflight_long = max_u64(bbr_bdp_multiple(b, bbr_max_bw(b), 100), b->inflight_latest);
    }
    if (b->loss_round_start)
        b->loss_events = 0;
    if (b->state == BBR_STARTUP && b->full_bw_reached) {
        b->state = BBR_DRAIN;
        b->drain_round = b->rounds;
    }
    if (b->state == BBR_DRAIN
        && (cc->in_flight_bytes <= bbr_inflight_at(cc, b->bw, 100)
            || b->rounds > b->drain_round + DRAIN_ROUNDS))
        start_down(b, r->now);
}

static void probe_inflight_upward(struct cc *cc, const struct bbr_report *r)
{
    struct cc_bbr *b = cc->bbr;
    if (!bbr_is_cwnd_limited(b) || cc->cwnd_bytes < b->inflight_long)
        return;
    b->up_acked += r->acked;
    if (b->up_acked >= b->up_acked_per_step) {
        uint64_t steps = b->up_acked / b->up_acked_per_step;
        b->up_acked -= steps * b->up_acked_per_step;
        b->inflight_long += steps * cc->mtu;
    }
    if (b->round_start)
        raise_inflight_slope(cc);
}

/* AdaptLongTermModel. True: it has chosen the next state. */
static bool adapt_long_term(struct cc *cc, const struct bbr_report *r)
{
    struct cc_bbr *b = cc->bbr;
    if (b->ack_phase == ACKS_PROBE_STARTING && b->round_start)
        b->ack_phase = ACKS_PROBE_FEEDBACK;
    if (b->ack_phase == ACKS_PROBE_STOPPING && b->round_start) {
        b->probe_sample = false;
        b->ack_phase = ACKS_INIT;
        if (bbr_in_probe_bw(b) && !r->sample.app_limited && b->max_bw[1]) {
            b->max_bw[0] = b->max_bw[1]; /* AdvanceMaxBwFilter */
            b->max_bw[1] = 0;
        }
        if (bbr_in_probe_bw(b) && b->prev_precautionary && !b->prev_too_high) {
            start_refill(b);
            return true;
        }
    }
    if (bbr_is_inflight_too_high(cc, &r->sample) || b->inflight_long == UNBOUND)
        return false;
    b->inflight_long = max_u64(b->inflight_long, r->sample.in_flight_bytes);
    if (b->state == BBR_UP)
        probe_inflight_upward(cc, r);
    return false;
}

static bool is_time_to_probe(const struct cc *cc, uint64_t now)
{
    const struct cc_bbr *b = cc->bbr;
    return now > b->cycle_us + b->probe_wait_us
           || b->rounds_since_up >= min_u64(bbr_target_inflight(cc) / cc->mtu, RENO_ROUNDS);
}

static bool is_time_to_go_down(struct cc *cc, const struct bbr_report *r)
{
    struct cc_bbr *b = cc->bbr;
    if (b->prev_too_high && cc->in_flight_bytes >= b->inflight_long) {
        b->prev_precautionary = true;
        return true;
    }
    if (bbr_is_cwnd_limited(b) && cc->cwnd_bytes >= b->inflight_long)
        bbr_reset_full_bw(b, r->sample.bytes_per_s); /* the bound limits, not the path */
    else if (b->full_bw_now)
        return true;
    return false;
}

/* UpdateProbeBWCyclePhase. */
static void update_cycle(struct cc *cc, const struct bbr_report *r)
{
    struct cc_bbr *b = cc->bbr;
    if (!b->full_bw_reached || adapt_long_term(cc, r))
        return;
    switch ((enum bbr_state)b->state) {
    case BBR_DOWN:
    case BBR_CRUISE:
        if (is_time_to_probe(cc, r->now))
            start_refill(b);
        else if (cc->in_flight_bytes <= bbr_inflight_with_headroom(cc)
                 && cc->in_flight_bytes <= bbr_inflight_at(cc, bbr_max_bw(b), 100))
            b->state = BBR_CRUISE;
        break;
    case BBR_REFILL:
        if (b->round_start) {
            b->probe_sample = true;
            start_up(cc, r->sample.bytes_per_s);
        }
        break;
    case BBR_UP:
        if (is_time_to_go_down(cc, r)) {
            b->prev_too_high = false;
            start_down(b, r->now);
        }
        break;
    case BBR_STARTUP:
    case BBR_DRAIN:
    case BBR_PROBE_RTT:
    case BBR_STATES: break;
    }
}

/* ---- ProbeRTT -------------------------------------------------------------------------------- */

static void check_probe_rtt_done(struct cc *cc, uint64_t now)
{
    struct cc_bbr *b = cc->bbr;
    if (!b->probe_rtt_done_us || now <= b->probe_rtt_done_us)
        return;
    b->probe_rtt_min_at_us = now;
    restore_cwnd(cc);
    bbr_reset_short_term(b);
    if (b->full_bw_reached) {
        start_down(b, now);
        b->state = BBR_CRUISE;
    } else {
        b->state = BBR_STARTUP;
    }
}

static void check_probe_rtt(struct cc *cc, const struct bbr_report *r)
{
    struct cc_bbr *b = cc->bbr;
    if (b->state != BBR_PROBE_RTT && b->probe_rtt_expired && !b->idle_restart) {
        save_cwnd(cc);
        b->state = BBR_PROBE_RTT;
        b->probe_rtt_done_us = 0;
        b->ack_phase = ACKS_PROBE_STOPPING;
        bbr_start_round(b);
    }
    if (b->state == BBR_PROBE_RTT) {
        rate_on_limited(&b->rate, cc->in_flight_bytes); /* low rates on purpose say nothing */
        if (!b->probe_rtt_done_us && cc->in_flight_bytes <= bbr_probe_rtt_cwnd(cc)) {
            b->probe_rtt_done_us = r->now + PROBE_RTT_US;
            b->probe_rtt_round_done = false;
            bbr_start_round(b);
        } else if (b->probe_rtt_done_us) {
            b->probe_rtt_round_done |= b->round_start;
            if (b->probe_rtt_round_done)
                check_probe_rtt_done(cc, r->now);
        }
    }
    if (r->sample.delivered > 0)
        b->idle_restart = false;
}

/* InitPacingRate, once the round-trip time is known. */
static void first_rtt(struct cc_bbr *b, uint64_t rtt_us, uint64_t now)
{
    b->has_rtt = true;
    b->min_rtt_us = b->probe_rtt_min_us = rtt_us;
    b->min_rtt_at_us = b->probe_rtt_min_at_us = now;
    b->pacing_rate = b->initial_cwnd * SECOND_US / rtt_us * bbr_gains[BBR_STARTUP].pacing / 100;
    b->pacing_rate = max_u64(b->pacing_rate, 1);
}

/* ---- the row --------------------------------------------------------------------------------- */

static void bbr_init(struct cc *cc, uint64_t now)
{
    (void)now;
    cc->bbr = NULL;
}

static bool bbr_attach(struct cc *cc, struct quota *quota, uint64_t now)
{
    struct cc_bbr *b = quota_take(quota, sizeof *b);
    if (!b)
        return false;
    memset(b, 0, sizeof *b);
    rate_init(&b->rate, quota);
    b->quota = quota;
    b->initial_cwnd = cc->cwnd_bytes;
    b->undo_state = BBR_STATES;
    b->min_rtt_us = b->probe_rtt_min_us = UNBOUND;
    b->min_rtt_at_us = b->probe_rtt_min_at_us = b->extra_since_us = now;
    b->inflight_long = b->up_acked_per_step = UNBOUND;
    bbr_reset_short_term(b);
    cc->bbr = b;
    return true;
}

static void bbr_detach(struct cc *cc)
{
    if (!cc->bbr)
        return;
    rate_idle(&cc->bbr->rate);
    quota_give(cc->bbr->quota, cc->bbr, sizeof *cc->bbr);
    cc->bbr = NULL;
}

static void bbr_on_congestion(struct cc *cc, uint64_t sent_us, uint64_t now)
{
    (void)sent_us;
    (void)now;
    if (!cc->bbr)
        return;
    note_loss(cc);
    cc->bbr->recovering = true;
}

static void bbr_on_persistent(struct cc *cc, uint64_t now)
{
    (void)now;
    if (!cc->bbr)
        return;
    cc->bbr->prior_cwnd = 0; /* nothing to come back to */
    cc->bbr->recovering = false;
}

/* HandleSpuriousLossDetection. */
static void bbr_on_spurious(struct cc *cc, uint64_t now)
{
    struct cc_bbr *b = cc->bbr;
    (void)now;
    if (!b)
        return;
    restore_cwnd(cc);
    b->recovering = b->loss_in_round = false;
    bbr_reset_full_bw(b, 0);
    b->bw_short = max_u64(b->bw_short, b->undo_bw_short);
    b->inflight_short = max_u64(b->inflight_short, b->undo_inflight_short);
    b->inflight_long = max_u64(b->inflight_long, b->undo_inflight_long);
    if (b->undo_state == BBR_STARTUP && b->state != BBR_STARTUP) {
        b->full_bw_reached = false;
        if (b->state != BBR_PROBE_RTT)
            b->state = BBR_STARTUP;
    } else if (b->undo_state == BBR_UP && b->state != BBR_UP && b->state != BBR_PROBE_RTT) {
        start_refill(b);
    }
    b->undo_state = BBR_STATES;
}

static void bbr_on_sent(struct cc *cc, uint64_t bytes, uint64_t now)
{
    struct cc_bbr *b = cc->bbr;
    if (!b)
        return;
    if (cc->in_flight_bytes <= bytes && b->rate.app_limited) { /* HandleRestartFromIdle */
        b->idle_restart = true;
        b->extra_since_us = now;
        if (bbr_in_probe_bw(b))
            bbr_set_pacing_rate(b, 100);
        else if (b->state == BBR_PROBE_RTT)
            check_probe_rtt_done(cc, now);
    }
    if (cc->in_flight_bytes + cc->mtu > cc->cwnd_bytes)
        b->limited_round = b->rounds;
    rate_on_sent(&b->rate, bytes, cc->in_flight_bytes, b->has_rtt ? b->min_rtt_us / GRAIN : 0, now);
}

static void bbr_on_limited(struct cc *cc)
{
    if (cc->bbr && cc->in_flight_bytes < cc->cwnd_bytes)
        rate_on_limited(&cc->bbr->rate, cc->in_flight_bytes);
}

/* The rounds of the draft's UpdateOnACK, in its order. */
static void bbr_on_report(struct cc *cc, const struct loss_path *sum, const struct rtt *rtt,
                          uint64_t now)
{
    struct cc_bbr *b = cc->bbr;
    struct bbr_report r = {.acked = sum->acked_bytes, .lost = sum->lost_bytes, .now = now};
    if (!b)
        return;
    if (sum->acked_packets) {
        rate_on_acked(&b->rate, sum->acked_bytes, sum->acked_newest_sent_us, rtt->min_us, &r.sample,
                      now);
        if (now > sum->acked_newest_sent_us)
            r.rtt_us = now - sum->acked_newest_sent_us;
        if (r.rtt_us && !b->has_rtt)
            first_rtt(b, r.rtt_us, now);
        if (b->recovering && sum->acked_newest_sent_us > cc->recovery_start_us) {
            b->recovering = false;
            restore_cwnd(cc);
        }
    }
    if (sum->lost_packets) {
        on_lost(cc, sum, now);
        if (r.sample.valid)
            r.sample.lost += sum->lost_bytes;
    }
    if (sum->acked_packets) {
        bbr_update_signals(cc, &r);
        bbr_update_aggregation(cc, &r);
        bbr_check_full_bw(b, &r.sample);
        check_startup_and_drain(cc, &r);
        update_cycle(cc, &r);
        bbr_update_min_rtt(b, &r);
        check_probe_rtt(cc, &r);
        if (b->loss_round_start) {
            b->bw_latest = r.sample.bytes_per_s;
            b->inflight_latest = r.sample.delivered;
        }
        b->bw = min_u64(bbr_max_bw(b), b->bw_short);
    }
    if (cc->in_flight_bytes == 0)
        rate_idle(&b->rate);
    if (sum->persistent)
        return; /* the window stays at its minimum until something more is acknowledged */
    bbr_set_pacing_rate(b, bbr_gains[b->state].pacing);
    bbr_set_cwnd(cc, &r);
}

static uint64_t bbr_rate(const struct cc *cc)
{
    return cc->bbr ? cc->bbr->pacing_rate : 0;
}

const struct cc_ops cc_bbr = {
    .name = "bbr",
    .init = bbr_init,
    .attach = bbr_attach,
    .detach = bbr_detach,
    .on_congestion = bbr_on_congestion,
    .on_persistent = bbr_on_persistent,
    .on_spurious = bbr_on_spurious,
    .on_report = bbr_on_report,
    .on_sent = bbr_on_sent,
    .on_limited = bbr_on_limited,
    .rate = bbr_rate,
};
