/* cc.c -- what every congestion controller shares: the flight, the recovery period, the order of
 * one report's parts.
 *
 * A controller decides only by how much a window grows or shrinks; when it may, is decided here,
 * once: at most one congestion event per round trip (RFC 9002 §7.3.2), no growth from packets
 * sent before the recovery period began, none while the window is not used (RFC 9002 §7.8),
 * never below the minimum window (RFC 9002 §7.2).
 *
 * Called by conn.c, recv.c and send.c, one struct per path. RFC 9002 §7, §B. */
#include "core/cc.h"

#include <assert.h>
#include <string.h>

const struct cc_ops *cc_find(const char *name)
{
    static const struct cc_ops *const all[] = {&cc_cubic, &cc_newreno};
    if (!name)
        return &cc_cubic;
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        const char *a = all[i]->name, *b = name;
        while (*a && *a == *b)
            a++, b++;
        if (*a == *b)
            return all[i];
    }
    return NULL;
}

/* RFC 9002 §7.2: ten datagrams, at most the larger of 14,720 bytes and two datagrams. */
static uint64_t window_initial(uint64_t mtu)
{
    uint64_t limit = 2 * mtu > 14720 ? 2 * mtu : 14720;
    return 10 * mtu < limit ? 10 * mtu : limit;
}

void cc_init(struct cc *cc, const struct cc_ops *ops, uint32_t mtu, uint64_t now)
{
    assert(ops && mtu > 0 && mtu <= UINT16_MAX);
    memset(cc, 0, sizeof *cc);
    cc->ops = ops;
    cc->mtu = mtu;
    cc->cwnd_bytes = window_initial(mtu);
    cc->ssthresh_bytes = UINT64_MAX;
    ops->init(cc, now);
}

void cc_set_mtu(struct cc *cc, uint32_t mtu)
{
    assert(mtu > 0 && mtu <= UINT16_MAX);
    /* RFC 9002 §7.2: the initial window follows the datagram size, as long as it is the initial
     * one. */
    if (cc->events == 0 && cc->cwnd_bytes == window_initial(cc->mtu))
        cc->cwnd_bytes = window_initial(mtu);
    cc->mtu = mtu;
    if (cc->cwnd_bytes < cc_minimum(cc))
        cc->cwnd_bytes = cc_minimum(cc);
}

void cc_on_sent(struct cc *cc, uint64_t bytes)
{
    cc->in_flight_bytes += bytes;
}

void cc_on_left(struct cc *cc, uint64_t bytes)
{
    /* Saturates: a path's place may have been given to a new path while packets of the old one
     * were in flight. */
    cc->in_flight_bytes = bytes < cc->in_flight_bytes ? cc->in_flight_bytes - bytes : 0;
}

bool cc_in_recovery(const struct cc *cc, uint64_t sent_us)
{
    return cc->recovery_start_us != 0 && sent_us <= cc->recovery_start_us;
}

static void congestion_event(struct cc *cc, uint64_t sent_us, uint64_t now)
{
    if (cc_in_recovery(cc, sent_us))
        return; /* RFC 9002 §7.3.2: once per round trip */
    cc->recovery_start_us = now;
    cc->events++;
    cc->ops->on_congestion(cc, sent_us, now);
    assert(cc->cwnd_bytes >= cc_minimum(cc));
}

void cc_on_result(struct cc *cc, const struct loss_path *sum, const struct rtt *rtt, uint64_t now)
{
    cc_on_left(cc, sum->acked_bytes + sum->lost_bytes);
    /* RFC 9002 §B.8: the event sets the threshold, persistent congestion then collapses the
     * window and ends the recovery period, and what was acknowledged grows it from there. */
    if (sum->lost_packets > 0)
        congestion_event(cc, sum->lost_newest_sent_us, now);
    if (sum->persistent) {
        cc->cwnd_bytes = cc_minimum(cc); /* RFC 9002 §7.6.2 */
        cc->recovery_start_us = 0;
        cc->ops->on_persistent(cc, now);
    }
    if (sum->acked_packets == 0 || cc_in_recovery(cc, sum->acked_newest_sent_us))
        return;
    struct loss_path growth = *sum;
    if (sum->app_limited)
        growth.acked_bytes = 0; /* RFC 9002 §7.8 */
    cc->ops->on_acked(cc, &growth, rtt, now);
    if (cc->cwnd_bytes > CC_WINDOW_MAX)
        cc->cwnd_bytes = CC_WINDOW_MAX;
}

void cc_on_ce(struct cc *cc, uint64_t sent_us, uint64_t now)
{
    congestion_event(cc, sent_us, now); /* RFC 9002 §7.1 */
}
