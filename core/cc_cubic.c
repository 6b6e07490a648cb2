/* cc_cubic.c -- CUBIC (RFC 9438) with windows in bytes, times in microseconds, and integers
 * only.
 *
 *     W_cubic(t) = C * (t - K)^3 + W_max      C = 0.4 segments per cubic second
 *
 * No floating point: the same seed must give the same trace under every compiler. One function,
 * cube_bytes, computes C * d^3 in bytes; K is found by bisection with the same function, so
 * W_cubic(0) meets the window that the epoch began with as closely as integers can.
 *
 * The epoch's clock must stand still while the window is not updated because the application
 * sends too little (RFC 9438 §4.2, §5.8), else one ACK after a pause would open the window wide.
 * Two cases move the epoch's start forward: an ACK of an app-limited packet, by the time since
 * the report before; and a flight that ran empty, by the time until something was sent again.
 *
 * The flight before a loss is taken to be the window (RFC 9438 §4.6 allows that where an idle
 * window does not grow: cc.c sees to it). The minimum window is RFC 9002's, for loss and CE alike.
 *
 * Slow start is Reno's with HyStart++ (RFC 9438 §4.10, RFC 9406): when round-trip times grow, the
 * queue does, and a slower growth (conservative slow start) finds out whether it stays. So the
 * first slow start mostly ends without filling the queue and losing a window's worth at once. A
 * round ends when something that was sent since it began is acknowledged: times stand for the
 * packet numbers of RFC 9406 §4.2. */
#include "core/cc.h"

#include <assert.h>
#include <string.h>

enum {
    BETA_NUM = 7,
    BETA_DEN = 10, /* RFC 9438 §4.6 */
    ALPHA_NUM = 9,
    ALPHA_DEN = 17,          /* RFC 9438 §4.3: 3 * (1 - 0.7) / (1 + 0.7) */
    CUBE_MAX_US = 100000000, /* 100 s from K the cube is 400,000 segments, and grows no more */
};

enum { /* RFC 9406 §4.3; its limit L is for senders that do not pace */
    HYSTART_RTT_MIN_US = 4000,
    HYSTART_RTT_MAX_US = 16000,
    HYSTART_RTT_DIVISOR = 8,
    HYSTART_SAMPLES = 8,
    CSS_GROWTH_DIVISOR = 4,
    CSS_ROUNDS = 5
};

/* 0.4 * mtu * (d seconds)^3 bytes. d^3 is kept in millionths of a cubic second: two steps, each
 * within 64 bits for d up to CUBE_MAX_US. */
static uint64_t cube_bytes(uint64_t d_us, uint32_t mtu)
{
    if (d_us > CUBE_MAX_US)
        d_us = CUBE_MAX_US;
    uint64_t cube = d_us * d_us / 1000000 * d_us / 1000000;
    return cube * mtu * 4 / 10000000;
}

/* RFC 9438 §4.2: K = cubic root of (W_max - cwnd_epoch) / C: the least time whose cube is at
 * least delta. */
static uint32_t cube_root_us(uint64_t delta_bytes, uint32_t mtu)
{
    uint64_t lo = 0, hi = CUBE_MAX_US;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (cube_bytes(mid, mtu) >= delta_bytes)
            hi = mid;
        else
            lo = mid + 1;
    }
    return (uint32_t)lo;
}

/* RFC 9438 §4.2: W_cubic(t). */
static uint64_t w_cubic(const struct cc *cc, uint64_t t_us)
{
    const struct cc_cubic *cubic = &cc->cubic;
    if (t_us >= cubic->k_us)
        return cubic->w_max + cube_bytes(t_us - cubic->k_us, cc->mtu);
    uint64_t below = cube_bytes(cubic->k_us - t_us, cc->mtu);
    return below < cubic->w_max ? cubic->w_max - below : 0;
}

static void cubic_init(struct cc *cc, uint64_t now)
{
    memset(&cc->cubic, 0, sizeof cc->cubic);
    cc->acked_carry = 0;
    cc->cubic.epoch_start_us = AQ_NEVER;
    cc->cubic.report_us = now;
    cc->cubic.empty_us = AQ_NEVER;
    cc->cubic.rtt_last_us = cc->cubic.rtt_now_us = UINT32_MAX;
}

/* A congestion avoidance stage begins with the first ACK that may grow the window. */
static void epoch_start(struct cc *cc, uint64_t now)
{
    struct cc_cubic *cubic = &cc->cubic;
    cubic->epoch_start_us = now;
    cubic->w_est = (uint32_t)cc->cwnd_bytes;
    cubic->acked_carry = cc->acked_carry = 0;
    if (cubic->w_max > cc->cwnd_bytes) {
        cubic->k_us = cube_root_us(cubic->w_max - cc->cwnd_bytes, cc->mtu);
    } else {
        /* RFC 9438 §4.8, §4.10: after a timeout, or with no event before. */
        cubic->w_max = (uint32_t)cc->cwnd_bytes;
        cubic->k_us = 0;
    }
}

/* Moves the epoch's start past the time in which the window stood still for want of data. */
static void epoch_pause(struct cc *cc, const struct loss_path *sum, uint64_t now)
{
    struct cc_cubic *cubic = &cc->cubic;
    uint64_t since = cubic->report_us, empty = cubic->empty_us;
    cubic->report_us = now;
    cubic->empty_us = cc->in_flight_bytes == 0 ? now : AQ_NEVER;
    if (cubic->epoch_start_us == AQ_NEVER)
        return;
    uint64_t paused = 0;
    if (sum->app_limited)
        paused = now > since ? now - since : 0;
    else if (empty != AQ_NEVER && sum->acked_newest_sent_us > empty)
        paused = sum->acked_newest_sent_us - empty;
    cubic->epoch_start_us += paused;
    if (cubic->epoch_start_us > now)
        cubic->epoch_start_us = now;
}

/* RFC 9438 §4.3: W_est grows by alpha segments per window acknowledged; alpha is 1 once it has
 * reached cwnd_prior. */
static void w_est_grow(struct cc *cc, uint64_t acked_bytes)
{
    struct cc_cubic *cubic = &cc->cubic;
    unsigned alpha = cubic->w_est < cubic->cwnd_prior ? ALPHA_NUM : ALPHA_DEN;
    uint64_t step = cc->cwnd_bytes * ALPHA_DEN;
    uint64_t part = (cc->acked_carry + acked_bytes * alpha) * cc->mtu;
    uint64_t w_est = cubic->w_est + part / step;
    cubic->w_est = (uint32_t)(w_est < CC_WINDOW_MAX ? w_est : CC_WINDOW_MAX);
    cc->acked_carry = part % step / cc->mtu; /* in ALPHA_DEN-ths of a byte */
}

static void avoid(struct cc *cc, uint64_t acked_bytes, const struct rtt *rtt, uint64_t now)
{
    struct cc_cubic *cubic = &cc->cubic;
    uint64_t cwnd = cc->cwnd_bytes;
    uint64_t t_us = now > cubic->epoch_start_us ? now - cubic->epoch_start_us : 0;
    w_est_grow(cc, acked_bytes);
    if (w_cubic(cc, t_us) < cubic->w_est) {
        if (cubic->w_est > cwnd)
            cc->cwnd_bytes = cubic->w_est;
        return;
    }
    /* RFC 9438 §4.2: the target is the cubic window one round trip ahead, within [cwnd, 1.5
     * cwnd]. */
    uint64_t target = w_cubic(cc, t_us + rtt->smoothed_us);
    if (target < cwnd)
        target = cwnd;
    else if (target > cwnd + cwnd / 2)
        target = cwnd + cwnd / 2;
    /* RFC 9438 §4.4, §4.5: by (target - cwnd) / cwnd for each segment acknowledged. */
    uint64_t part = cubic->acked_carry + (target - cwnd) * acked_bytes;
    cc->cwnd_bytes += part / cwnd;
    cubic->acked_carry = part % cwnd;
}

/* RFC 9406 §4.2: the round is over; in CSS it is one of the few that CSS lasts. */
static void hystart_round(struct cc *cc, uint64_t now)
{
    struct cc_cubic *cubic = &cc->cubic;
    cubic->round_us = now;
    cubic->rtt_last_us = cubic->rtt_now_us;
    cubic->rtt_now_us = UINT32_MAX;
    cubic->samples = 0;
    if (cubic->rtt_css_us && ++cubic->css_rounds >= CSS_ROUNDS)
        cc->ssthresh_bytes = cc->cwnd_bytes; /* the queue stays: congestion avoidance */
}

/* RFC 9406 §4.2: enters CSS when this round's least RTT is well above the last one's, and leaves it
 * when it falls below that again: then the growth was noise. */
static void hystart_sample(struct cc *cc, uint64_t rtt_us)
{
    struct cc_cubic *cubic = &cc->cubic;
    if (rtt_us < cubic->rtt_now_us)
        cubic->rtt_now_us = (uint32_t)rtt_us;
    if (cubic->samples < HYSTART_SAMPLES)
        cubic->samples++;
    if (cubic->samples < HYSTART_SAMPLES)
        return;
    if (cubic->rtt_css_us) {
        if (cubic->rtt_now_us < cubic->rtt_css_us)
            cubic->rtt_css_us = 0;
        return;
    }
    if (cubic->rtt_last_us == UINT32_MAX)
        return;
    uint32_t more_us = cubic->rtt_last_us / HYSTART_RTT_DIVISOR;
    if (more_us < HYSTART_RTT_MIN_US)
        more_us = HYSTART_RTT_MIN_US;
    else if (more_us > HYSTART_RTT_MAX_US)
        more_us = HYSTART_RTT_MAX_US;
    if (cubic->rtt_now_us >= cubic->rtt_last_us + more_us) {
        cubic->rtt_css_us = cubic->rtt_now_us;
        cubic->css_rounds = 0;
    }
}

static void slow_start(struct cc *cc, const struct loss_path *sum, uint64_t now)
{
    bool css = cc->cubic.rtt_css_us != 0;
    cc->cwnd_bytes += css ? sum->acked_bytes / CSS_GROWTH_DIVISOR : sum->acked_bytes;
    if (cc->ssthresh_bytes != UINT64_MAX)
        return; /* RFC 9406 §4.3: for the first slow start */
    uint64_t sent_us = sum->acked_newest_sent_us;
    if (sent_us >= cc->cubic.round_us)
        hystart_round(cc, now);
    if (now > sent_us && now - sent_us < UINT32_MAX)
        hystart_sample(cc, now - sent_us);
}

static void cubic_on_acked(struct cc *cc, const struct loss_path *sum, const struct rtt *rtt,
                           uint64_t now)
{
    epoch_pause(cc, sum, now);
    if (sum->acked_bytes == 0)
        return;
    if (cc->cwnd_bytes < cc->ssthresh_bytes) {
        slow_start(cc, sum, now); /* RFC 9438 §4.10 */
        return;
    }
    if (cc->cubic.epoch_start_us == AQ_NEVER)
        epoch_start(cc, now);
    avoid(cc, sum->acked_bytes, rtt, now);
}

static void cubic_on_congestion(struct cc *cc, uint64_t sent_us, uint64_t now)
{
    (void)sent_us;
    (void)now;
    struct cc_cubic *cubic = &cc->cubic;
    uint64_t cwnd = cc->cwnd_bytes;
    cubic->undo_w_max = cubic->w_max;
    cubic->undo_prior = cubic->cwnd_prior;
    /* RFC 9438 §4.7: fast convergence: below the last peak, so somebody else needs room. */
    if (cwnd < cubic->w_max)
        cubic->w_max = (uint32_t)(cwnd * (BETA_DEN + BETA_NUM) / (2 * BETA_DEN));
    else
        cubic->w_max = (uint32_t)cwnd;
    cubic->cwnd_prior = (uint32_t)cwnd;
    cwnd = cwnd * BETA_NUM / BETA_DEN; /* RFC 9438 §4.6 */
    cc->cwnd_bytes = cwnd < cc_minimum(cc) ? cc_minimum(cc) : cwnd;
    cc->ssthresh_bytes = cc->cwnd_bytes;
    cubic->epoch_start_us = AQ_NEVER;
    cubic->rtt_css_us = 0;
}

static void cubic_on_persistent(struct cc *cc, uint64_t now)
{
    (void)now;
    /* RFC 9438 §4.8: the next congestion avoidance stage begins with K 0 and W_max its own
     * window. */
    cc->cubic.w_max = 0;
    cc->cubic.epoch_start_us = AQ_NEVER;
}

/* RFC 9438 §4.9: cc.c has restored window and threshold. K and W_est are not kept: a new epoch from
 * the old window towards the old W_max is the same curve, entered where it was left. */
static void cubic_on_spurious(struct cc *cc, uint64_t now)
{
    (void)now;
    struct cc_cubic *cubic = &cc->cubic;
    cubic->w_max = cubic->undo_w_max;
    cubic->cwnd_prior = cubic->undo_prior;
    cubic->epoch_start_us = AQ_NEVER;
}

const struct cc_ops cc_cubic = {
    .name = "cubic",
    .init = cubic_init,
    .on_acked = cubic_on_acked,
    .on_congestion = cubic_on_congestion,
    .on_persistent = cubic_on_persistent,
    .on_spurious = cubic_on_spurious,
};
