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
 * window does not grow: cc.c sees to it). Slow start is Reno's (RFC 9438 §4.10). The minimum
 * window is RFC 9002's, for loss and CE alike. */
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
static uint64_t cube_root_us(uint64_t delta_bytes, uint32_t mtu)
{
    uint64_t lo = 0, hi = CUBE_MAX_US;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (cube_bytes(mid, mtu) >= delta_bytes)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
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
}

/* A congestion avoidance stage begins with the first ACK that may grow the window. */
static void epoch_start(struct cc *cc, uint64_t now)
{
    struct cc_cubic *cubic = &cc->cubic;
    cubic->epoch_start_us = now;
    cubic->w_epoch = cubic->w_est = cc->cwnd_bytes;
    cubic->acked_carry = cc->acked_carry = 0;
    if (cubic->w_max > cc->cwnd_bytes) {
        cubic->k_us = cube_root_us(cubic->w_max - cc->cwnd_bytes, cc->mtu);
    } else {
        /* RFC 9438 §4.8, §4.10: after a timeout, or with no event before. */
        cubic->w_max = cc->cwnd_bytes;
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
    cubic->w_est += part / step;
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

static void cubic_on_acked(struct cc *cc, const struct loss_path *sum, const struct rtt *rtt,
                           uint64_t now)
{
    epoch_pause(cc, sum, now);
    if (sum->acked_bytes == 0)
        return;
    if (cc->cwnd_bytes < cc->ssthresh_bytes) {
        cc->cwnd_bytes += sum->acked_bytes; /* RFC 9438 §4.10 */
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
    /* RFC 9438 §4.7: fast convergence: below the last peak, so somebody else needs room. */
    if (cwnd < cubic->w_max)
        cubic->w_max = cwnd * (BETA_DEN + BETA_NUM) / (2 * BETA_DEN);
    else
        cubic->w_max = cwnd;
    cubic->cwnd_prior = cwnd;
    cwnd = cwnd * BETA_NUM / BETA_DEN; /* RFC 9438 §4.6 */
    cc->cwnd_bytes = cwnd < cc_minimum(cc) ? cc_minimum(cc) : cwnd;
    cc->ssthresh_bytes = cc->cwnd_bytes;
    cubic->epoch_start_us = AQ_NEVER;
}

static void cubic_on_persistent(struct cc *cc, uint64_t now)
{
    (void)now;
    /* RFC 9438 §4.8: the next congestion avoidance stage begins with K 0 and W_max its own
     * window. */
    cc->cubic.w_max = 0;
    cc->cubic.epoch_start_us = AQ_NEVER;
}

const struct cc_ops cc_cubic = {
    .name = "cubic",
    .init = cubic_init,
    .on_acked = cubic_on_acked,
    .on_congestion = cubic_on_congestion,
    .on_persistent = cubic_on_persistent,
};
