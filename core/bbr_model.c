/* bbr_model.c -- BBR's model of the path: how much it delivers, how long it is, how much may be in
 * flight; and the pacing rate and the window that follow from it (draft-ietf-ccwg-bbr, "Updating
 * Network Path Model Parameters" and "Updating Control Parameters").
 *
 * Nothing here changes the state: cc_bbr.c, which calls it, does. */
#include "core/bbr.h"
#include "core/num.h"

const struct bbr_gain bbr_gains[BBR_STATES] = {
    [BBR_STARTUP] = {277, 200},  [BBR_DRAIN] = {50, 200},   [BBR_DOWN] = {90, 200},
    [BBR_CRUISE] = {100, 200},   [BBR_REFILL] = {100, 200}, [BBR_UP] = {125, 225},
    [BBR_PROBE_RTT] = {100, 50},
};

/* ---- volumes --------------------------------------------------------------------------------- */

uint64_t bbr_min_pipe(const struct cc *cc)
{
    return MIN_PIPE_PACKETS * (uint64_t)cc->mtu;
}

uint64_t bbr_max_bw(const struct cc_bbr *b)
{
    return max_u64(b->max_bw[0], b->max_bw[1]);
}

uint64_t bbr_bdp_multiple(const struct cc_bbr *b, uint64_t bw, unsigned gain)
{
    if (!b->has_rtt || bw == 0)
        return b->initial_cwnd;
    return min_u64(bw * b->min_rtt_us / SECOND_US, CC_WINDOW_MAX) * gain / 100;
}

/* SetSendQuantum: what a train may hold, about 1 ms of the rate; and its budget in flight. */
static uint64_t send_quantum(const struct cc *cc)
{
    uint64_t quantum = min_u64(cc->bbr->pacing_rate / 1000, QUANTUM_PACKETS * (uint64_t)cc->mtu);
    return max_u64(quantum, 2 * (uint64_t)cc->mtu);
}

static uint64_t quantization_budget(const struct cc *cc, uint64_t inflight)
{
    inflight = max_u64(max_u64(inflight, send_quantum(cc)), bbr_min_pipe(cc));
    return cc->bbr->state == BBR_UP ? inflight + 2 * (uint64_t)cc->mtu : inflight;
}

uint64_t bbr_inflight_at(const struct cc *cc, uint64_t bw, unsigned gain)
{
    return quantization_budget(cc, bbr_bdp_multiple(cc->bbr, bw, gain));
}

uint64_t bbr_inflight_with_headroom(const struct cc *cc)
{
    const struct cc_bbr *b = cc->bbr;
    if (b->inflight_long == UNBOUND)
        return UNBOUND;
    uint64_t headroom = max_u64(cc->mtu, b->inflight_long * HEADROOM_PERCENT / 100);
    return max_u64(b->inflight_long > headroom ? b->inflight_long - headroom : 0, bbr_min_pipe(cc));
}

uint64_t bbr_target_inflight(const struct cc *cc)
{
    return min_u64(bbr_bdp_multiple(cc->bbr, cc->bbr->bw, 100), cc->cwnd_bytes);
}

uint64_t bbr_probe_rtt_cwnd(const struct cc *cc)
{
    return max_u64(bbr_bdp_multiple(cc->bbr, cc->bbr->bw, bbr_gains[BBR_PROBE_RTT].cwnd),
                   bbr_min_pipe(cc));
}

/* How much of `bytes` the path may have lost by itself: twice its mean, and a packet. */
static uint64_t own_losses(const struct cc *cc, uint64_t bytes)
{
    uint64_t base = cc->bbr->loss_base / LOSS_BASE_ROUNDS;
    return base ? min_u64(bytes, CC_WINDOW_MAX) * 2 * base / 10000 + cc->mtu : 0;
}

bool bbr_is_inflight_too_high(const struct cc *cc, const struct rate_sample *s)
{
    return s->valid
           && s->lost
                  > s->in_flight_bytes * LOSS_PERCENT / 100 + own_losses(cc, s->in_flight_bytes);
}

/* InflightAtLoss: at what flight the losses crossed the threshold, somewhere in the lost bytes. */
uint64_t bbr_inflight_at_loss(const struct rate_sample *s, uint64_t bytes)
{
    uint64_t before = s->in_flight_bytes > bytes ? s->in_flight_bytes - bytes : 0;
    uint64_t lost_before = s->lost > bytes ? s->lost - bytes : 0;
    uint64_t bound = before * LOSS_PERCENT / 100;
    return before + (bound > lost_before ? (bound - lost_before) * 100 / (100 - LOSS_PERCENT) : 0);
}

/* ---- the model ------------------------------------------------------------------------------- */

/* Not of the draft, which gives up most of the rate where a path loses more than 2 % by itself:
 * what is lost while cruising, with headroom below what the path has carried and without a queue,
 * is not of our making; slowing down does not help, and so it must not count. Where there is a
 * queue it is forgotten, and the draft's thresholds are all there is. */
static void update_loss_base(struct cc_bbr *b)
{
    uint64_t lost = b->rate.lost - b->round_lost;
    uint64_t all = b->rate.delivered - b->round_delivered + lost;
    if (b->round_cruised && b->state == BBR_CRUISE && all > 0) {
        bool queue = b->round_rtt_us > b->min_rtt_us + b->min_rtt_us / 8 + 1000;
        uint64_t sample = queue ? 0 : min_u64(lost * 10000 / all, LOSS_BASE_MAX);
        b->loss_base += (uint32_t)sample;
        b->loss_base -= b->loss_base / LOSS_BASE_ROUNDS;
    }
    b->round_cruised = b->state == BBR_CRUISE;
    b->round_lost = b->rate.lost;
    b->round_delivered = b->rate.delivered;
    b->round_rtt_us = UNBOUND;
}

static void update_round(struct cc_bbr *b, const struct bbr_report *r)
{
    b->round_start = r->sample.valid && r->sample.prior_delivered >= b->round_end;
    b->round_rtt_us = r->rtt_us ? min_u64(b->round_rtt_us, r->rtt_us) : b->round_rtt_us;
    if (!b->round_start)
        return;
    update_loss_base(b);
    bbr_start_round(b);
    b->rounds++;
    b->rounds_since_up++;
}

/* UpdateLatestDeliverySignals, UpdateMaxBw and AdaptLowerBoundsFromCongestion. */
void bbr_update_signals(struct cc *cc, const struct bbr_report *r)
{
    struct cc_bbr *b = cc->bbr;
    const struct rate_sample *s = &r->sample;
    b->bw_latest = max_u64(b->bw_latest, s->bytes_per_s);
    b->inflight_latest = max_u64(b->inflight_latest, s->delivered);
    b->loss_round_start = s->valid && s->prior_delivered >= b->loss_round_end;
    if (b->loss_round_start)
        b->loss_round_end = b->rate.delivered;
    update_round(b, r);
    if (s->bytes_per_s >= bbr_max_bw(b) || !s->app_limited)
        b->max_bw[1] = max_u64(b->max_bw[1], min_u64(s->bytes_per_s, RATE_MAX));
    if (!b->loss_round_start)
        return;
    uint64_t lost = b->rate.lost - b->loss_round_lost;
    uint64_t own = own_losses(cc, b->rate.delivered - b->loss_round_delivered);
    if (b->loss_in_round && lost > own && !bbr_is_probing_bw(b)) {
        if (b->bw_short == UNBOUND)
            b->bw_short = bbr_max_bw(b);
        if (b->inflight_short == UNBOUND)
            b->inflight_short = cc->cwnd_bytes;
        b->bw_short = max_u64(b->bw_latest, b->bw_short * BETA_PERCENT / 100);
        b->inflight_short = max_u64(b->inflight_latest, b->inflight_short * BETA_PERCENT / 100);
    }
    b->loss_in_round = false;
    b->loss_round_lost = b->rate.lost;
    b->loss_round_delivered = b->rate.delivered;
}

/* UpdateACKAggregation: what came beyond the expected, the most of the last rounds. */
void bbr_update_aggregation(struct cc *cc, const struct bbr_report *r)
{
    struct cc_bbr *b = cc->bbr;
    uint64_t elapsed = min_u64(r->now - b->extra_since_us, SECOND_US * 100);
    uint64_t expected = min_u64(b->bw, RATE_MAX) * elapsed / SECOND_US;
    if (b->extra_delivered <= expected) {
        b->extra_delivered = 0;
        b->extra_since_us = r->now;
        expected = 0;
    }
    b->extra_delivered += r->acked;
    uint64_t extra = min_u64(b->extra_delivered - expected, cc->cwnd_bytes);
    uint64_t window = b->full_bw_reached ? EXTRA_ACKED_ROUNDS : 1;
    if (b->round_start && b->rounds - b->extra_round >= window) {
        b->extra_round = b->rounds;
        b->extra_acked[0] = b->extra_acked[1];
        b->extra_acked[1] = 0;
    }
    b->extra_acked[1] = max_u64(b->extra_acked[1], extra);
}

void bbr_check_full_bw(struct cc_bbr *b, const struct rate_sample *s)
{
    if (b->full_bw_now || !b->round_start || s->app_limited)
        return;
    if (s->bytes_per_s * 100 >= b->full_bw * 125) {
        bbr_reset_full_bw(b, s->bytes_per_s);
        return;
    }
    b->full_bw_now = ++b->full_bw_count >= FULL_BW_ROUNDS;
    if (b->full_bw_now)
        b->full_bw_reached = true;
}

void bbr_update_min_rtt(struct cc_bbr *b, const struct bbr_report *r)
{
    b->probe_rtt_expired = r->now > b->probe_rtt_min_at_us + PROBE_RTT_INTERVAL_US;
    if (r->rtt_us && (r->rtt_us < b->probe_rtt_min_us || b->probe_rtt_expired)) {
        b->probe_rtt_min_us = r->rtt_us;
        b->probe_rtt_min_at_us = r->now;
    }
    if (b->probe_rtt_min_us < b->min_rtt_us || r->now > b->min_rtt_at_us + MIN_RTT_US) {
        b->min_rtt_us = b->probe_rtt_min_us;
        b->min_rtt_at_us = b->probe_rtt_min_at_us;
    }
}

/* ---- what comes out: rate and window --------------------------------------------------------- */

void bbr_set_pacing_rate(struct cc_bbr *b, unsigned gain)
{
    uint64_t rate = min_u64(b->bw, RATE_MAX) * gain / 100 * (100 - MARGIN_PERCENT) / 100;
    if (b->full_bw_reached || rate > b->pacing_rate)
        b->pacing_rate = max_u64(rate, 1);
}

static void bound_cwnd(struct cc *cc)
{
    struct cc_bbr *b = cc->bbr;
    uint64_t cap = UNBOUND;
    if (bbr_in_probe_bw(b) && b->state != BBR_CRUISE)
        cap = b->inflight_long;
    else if (b->state == BBR_PROBE_RTT || b->state == BBR_CRUISE)
        cap = bbr_inflight_with_headroom(cc);
    cap = max_u64(min_u64(cap, b->inflight_short), bbr_min_pipe(cc));
    cc->cwnd_bytes = min_u64(cc->cwnd_bytes, cap);
}

void bbr_set_cwnd(struct cc *cc, const struct bbr_report *r)
{
    struct cc_bbr *b = cc->bbr;
    uint64_t extra = max_u64(b->extra_acked[0], b->extra_acked[1]);
    b->max_inflight =
        quantization_budget(cc, bbr_bdp_multiple(b, b->bw, bbr_gains[b->state].cwnd) + extra);
    if (b->full_bw_reached)
        cc->cwnd_bytes = min_u64(cc->cwnd_bytes + r->acked, b->max_inflight);
    else if (cc->cwnd_bytes < b->max_inflight || b->rate.delivered < b->initial_cwnd)
        cc->cwnd_bytes += r->acked;
    cc->cwnd_bytes = max_u64(cc->cwnd_bytes, bbr_min_pipe(cc));
    if (b->state == BBR_PROBE_RTT)
        cc->cwnd_bytes = min_u64(cc->cwnd_bytes, bbr_probe_rtt_cwnd(cc));
    bound_cwnd(cc);
}
