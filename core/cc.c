/* cc.c -- what every congestion controller shares: the flight, the recovery period, the order of
 * one report's parts.
 *
 * A controller decides only by how much a window grows or shrinks; when it may, is decided here,
 * once: at most one congestion event per round trip (RFC 9002 §7.3.2), no growth from packets
 * sent before the recovery period began, none while the window is not used (RFC 9002 §7.8),
 * never below the minimum window (RFC 9002 §7.2).
 *
 * A controller that works from a model (BBR) is told everything and decides by itself; the flight,
 * the recovery period and persistent congestion are the same for it.
 *
 * An event whose lost packets all arrive after all was reordering: what it took is given back
 * (RFC 9438 §4.9), unless a mark of the network or persistent congestion has confirmed it.
 *
 * Called by apply.c and send.c, one struct per path. RFC 9002 §7, §B. */
#include "core/cc.h"

#include <assert.h>
#include <string.h>

const struct cc_ops *cc_find(const char *name)
{
    static const struct cc_ops *const all[] = {&cc_cubic, &cc_newreno, &cc_bbr};
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

void cc_attach(struct cc *cc, struct quota *quota, uint64_t now)
{
    if (!cc->ops->attach || cc->ops->attach(cc, quota, now))
        return;
    cc->ops = &cc_cubic;
    cc_cubic.init(cc, now);
}

void cc_detach(struct cc *cc)
{
    if (cc->ops->detach)
        cc->ops->detach(cc);
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

static uint32_t saturated(uint64_t value)
{
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

static void congestion_event(struct cc *cc, uint64_t sent_us, bool certain, uint64_t now)
{
    if (certain)
        cc->undo.armed = false;
    if (cc_in_recovery(cc, sent_us))
        return; /* RFC 9002 §7.3.2: once per round trip */
    cc->undo = (struct cc_undo){.after_us = cc->recovery_start_us,
                                .cwnd = saturated(cc->cwnd_bytes),
                                .ssthresh = saturated(cc->ssthresh_bytes),
                                .armed = !certain};
    cc->recovery_start_us = now;
    cc->events++;
    cc->ops->on_congestion(cc, sent_us, now);
    assert(cc->cwnd_bytes >= cc_minimum(cc));
}

/* RFC 9438 §4.9: when the last packet of an event has arrived, the event is taken back. Packets of
 * an older event do not count; those of a report that mixes both count as lost, so that an event
 * is rather kept than taken back wrongly. */
static void undo_on_report(struct cc *cc, const struct loss_path *sum, uint64_t now)
{
    struct cc_undo *undo = &cc->undo;
    if (sum->lost_packets && sum->lost_newest_sent_us > undo->after_us)
        undo->lost += (uint32_t)sum->lost_packets;
    if (!sum->spurious_packets || sum->spurious_oldest_sent_us <= undo->after_us)
        return;
    undo->lost -= sum->spurious_packets < undo->lost ? (uint32_t)sum->spurious_packets : undo->lost;
    if (undo->lost > 0 || !undo->armed)
        return;
    undo->armed = false;
    cc->recovery_start_us = 0;
    if (cc->cwnd_bytes < undo->cwnd)
        cc->cwnd_bytes = undo->cwnd;
    cc->ssthresh_bytes = undo->ssthresh == UINT32_MAX ? UINT64_MAX : undo->ssthresh;
    if (cc->ops->on_spurious)
        cc->ops->on_spurious(cc, now);
}

void cc_on_result(struct cc *cc, const struct loss_path *sum, const struct rtt *rtt, uint64_t now)
{
    cc_on_left(cc, sum->acked_bytes + sum->lost_bytes);
    /* RFC 9002 §B.8: the event sets the threshold, persistent congestion then collapses the
     * window and ends the recovery period, and what was acknowledged grows it from there. */
    if (sum->lost_packets > 0)
        congestion_event(cc, sum->lost_newest_sent_us, false, now);
    if (sum->lost_packets + sum->spurious_packets > 0)
        undo_on_report(cc, sum, now);
    if (sum->persistent) {
        cc->cwnd_bytes = cc_minimum(cc); /* RFC 9002 §7.6.2 */
        cc->recovery_start_us = 0;
        cc->undo.armed = false;
        cc->ops->on_persistent(cc, now);
    }
    if (cc->ops->on_report) {
        cc->ops->on_report(cc, sum, rtt, now);
    } else if (sum->acked_packets > 0 && !cc_in_recovery(cc, sum->acked_newest_sent_us)) {
        struct loss_path growth = *sum;
        if (sum->app_limited)
            growth.acked_bytes = 0; /* RFC 9002 §7.8 */
        cc->ops->on_acked(cc, &growth, rtt, now);
    }
    if (cc->cwnd_bytes > CC_WINDOW_MAX)
        cc->cwnd_bytes = CC_WINDOW_MAX;
}

void cc_on_ce(struct cc *cc, uint64_t sent_us, uint64_t now)
{
    congestion_event(cc, sent_us, true, now); /* RFC 9002 §7.1 */
}
