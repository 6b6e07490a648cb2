/* cc_newreno.c -- the controller of RFC 9002 §7: slow start, then one datagram per window
 * acknowledged.
 *
 * The simplest row of cc_ops, and the yardstick for the other. Growth in congestion avoidance
 * counts acknowledged bytes (as section 2.1 of RFC 3465 does), so no rounding is lost however small
 * the ACKs are. RFC 9002 §7.3, §B.5, §B.6. */
#include "core/cc.h"

static void newreno_init(struct cc *cc, uint64_t now)
{
    (void)now;
    cc->acked_carry = 0;
}

static void newreno_on_acked(struct cc *cc, const struct loss_path *sum, const struct rtt *rtt,
                             uint64_t now)
{
    (void)rtt;
    (void)now;
    if (cc->cwnd_bytes < cc->ssthresh_bytes) {
        cc->cwnd_bytes += sum->acked_bytes; /* RFC 9002 §7.3.1 */
        return;
    }
    /* RFC 9002 §7.3.3: at most one datagram for each window acknowledged. */
    cc->acked_carry += sum->acked_bytes;
    while (cc->acked_carry >= cc->cwnd_bytes) {
        cc->acked_carry -= cc->cwnd_bytes;
        cc->cwnd_bytes += cc->mtu;
    }
}

static void newreno_on_congestion(struct cc *cc, uint64_t sent_us, uint64_t now)
{
    (void)sent_us;
    (void)now;
    /* RFC 9002 §7.3.2: half the window, at once. */
    cc->cwnd_bytes /= 2;
    if (cc->cwnd_bytes < cc_minimum(cc))
        cc->cwnd_bytes = cc_minimum(cc);
    cc->ssthresh_bytes = cc->cwnd_bytes;
    cc->acked_carry = 0;
}

static void newreno_on_persistent(struct cc *cc, uint64_t now)
{
    (void)now;
    cc->acked_carry = 0;
}

const struct cc_ops cc_newreno = {
    .name = "newreno",
    .init = newreno_init,
    .on_acked = newreno_on_acked,
    .on_congestion = newreno_on_congestion,
    .on_persistent = newreno_on_persistent,
};
