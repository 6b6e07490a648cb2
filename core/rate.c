/* rate.c -- delivery rate samples (draft-ietf-ccwg-bbr, "Detailed Delivery Rate Sampling
 * Algorithm").
 *
 * The draft keeps five values with each packet, and recommends to keep them once for what is sent
 * together. So they are kept once per aggregate here, in a ring of RATE_SENDS snapshots:
 *
 *     v: time_us   t0 .. t1 .. t2 ......... t(next-1)      ascending, at index % RATE_SENDS
 *
 * A packet's snapshot is the newest one that is not younger than the packet. An aggregate spans
 * grain_us, a small part of a round trip, so the ring covers more than two round trips; packets
 * that stay out longer use the oldest snapshot there is. Both ends of a sample come from the same
 * snapshot, so a coarse one makes a sample longer, never wrong.
 *
 * Called by cc_bbr.c. */
#include "core/rate.h"

#include <assert.h>
#include <string.h>

enum {
    RATE_BYTES = 4096,
    RATE_SENDS = RATE_BYTES / sizeof(struct rate_sent),
    SECOND_US = 1000000
};

static uint64_t sat_sub(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

void rate_init(struct rate *rate, struct quota *quota)
{
    memset(rate, 0, sizeof *rate);
    rate->quota = quota;
}

void rate_idle(struct rate *rate)
{
    quota_give(rate->quota, rate->v, RATE_BYTES);
    rate->v = NULL;
    rate->next = rate->count = 0;
}

static struct rate_sent *snapshot_at(const struct rate *rate, uint32_t back)
{
    assert(back < rate->count);
    return &rate->v[(rate->next - 1 - back) % RATE_SENDS];
}

/* The aggregate that holds a packet, by binary search; NULL where nothing is remembered. */
static const struct rate_sent *snapshot_find(const struct rate *rate, uint64_t sent_us)
{
    uint32_t lo = 0, hi = rate->count; /* back from the newest: it lies in [lo, hi) */
    if (hi == 0)
        return NULL;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo - 1) / 2;
        if (snapshot_at(rate, mid)->time_us <= sent_us)
            hi = mid + 1;
        else
            lo = mid + 1;
    }
    return snapshot_at(rate, lo);
}

void rate_on_sent(struct rate *rate, uint64_t bytes, uint64_t in_flight_bytes, uint64_t grain_us,
                  uint64_t now)
{
    bool first = in_flight_bytes <= bytes;
    if (first)
        rate->first_sent_us = rate->delivered_us = now; /* nothing was in flight */
    if (!rate->v) {
        rate->v = quota_take(rate->quota, RATE_BYTES);
        rate->next = rate->count = 0;
        if (!rate->v)
            return;
    }
    struct rate_sent *newest = rate->count ? snapshot_at(rate, 0) : NULL;
    if (!newest || first || now - newest->time_us >= grain_us) {
        newest = &rate->v[rate->next++ % RATE_SENDS];
        rate->count += rate->count < RATE_SENDS;
        *newest = (struct rate_sent){.time_us = now,
                                     .delivered = rate->delivered,
                                     .lost = rate->lost,
                                     .delivered_us = rate->delivered_us,
                                     .first_sent_us = rate->first_sent_us,
                                     .app_limited = rate->app_limited != 0};
    }
    newest->in_flight_bytes = in_flight_bytes < UINT32_MAX ? (uint32_t)in_flight_bytes : UINT32_MAX;
}

void rate_on_limited(struct rate *rate, uint64_t in_flight_bytes)
{
    uint64_t until = rate->delivered + in_flight_bytes;
    rate->app_limited = until ? until : 1;
}

void rate_on_acked(struct rate *rate, uint64_t bytes, uint64_t newest_sent_us, uint64_t min_rtt_us,
                   struct rate_sample *sample, uint64_t now)
{
    const struct rate_sent *p = snapshot_find(rate, newest_sent_us);
    memset(sample, 0, sizeof *sample);
    rate->delivered += bytes;
    rate->delivered_us = now;
    if (rate->app_limited && rate->delivered > rate->app_limited)
        rate->app_limited = 0; /* the bubble has been acknowledged */
    if (p) {
        /* The slower of what was sent and what was acknowledged: a queue before or after the
         * bottleneck must not look like bandwidth. */
        uint64_t sent_us = sat_sub(newest_sent_us, p->first_sent_us);
        uint64_t acked_us = sat_sub(now, p->delivered_us);
        uint64_t interval_us = sent_us > acked_us ? sent_us : acked_us;
        sample->valid = true;
        sample->app_limited = p->app_limited;
        sample->prior_delivered = p->delivered;
        sample->delivered = rate->delivered - p->delivered;
        sample->in_flight_bytes = p->in_flight_bytes;
        sample->lost = rate->lost - p->lost;
        if (interval_us > 0 && interval_us >= min_rtt_us)
            sample->bytes_per_s = sample->delivered * SECOND_US / interval_us;
    }
    rate->first_sent_us = newest_sent_us;
}

void rate_on_lost(struct rate *rate, uint64_t bytes, uint64_t newest_sent_us,
                  struct rate_sample *sample)
{
    const struct rate_sent *p = snapshot_find(rate, newest_sent_us);
    rate->lost += bytes;
    sample->valid = p != NULL;
    if (!p)
        return;
    sample->in_flight_bytes = p->in_flight_bytes;
    sample->lost = rate->lost - p->lost;
    sample->app_limited = p->app_limited;
}
