/* pace.c -- how much may leave now: a token bucket that is filled at a little more than the
 * window per round trip.
 *
 * The bucket's size decides how long trains are. A host wakes at best every 50 to 100 us, so a
 * bucket that held less than the rate yields in two such turns would make the timer, not the
 * network, the limit; and a train needs 64 packets at once to pay. The bucket is therefore the
 * largest of
 *
 *     10 packets                            a burst of the initial window (RFC 9002 §7.7)
 *     1 ms of the rate, at most 64 packets  one whole train
 *     250 us of the rate                    what a turn of the host needs at any rate
 *     128 KiB, if the RTT is below 1 ms     there the window alone limits
 *
 * and never more than the window. A controller that knows the rate (BBR) names it; its trains are
 * its send quantum, at least two packets instead of ten, and its bucket holds two of them: a host
 * that wakes late must not lose what a rate without any reserve had given. Else the rate is N *
 * cwnd / smoothed_rtt: N is 2 in slow start, so that the window can double in a round trip,
 * and 1.25 after. All products fit in 64 bits because cwnd is at most CC_WINDOW_MAX.
 *
 * Called by send.c, one struct per path. */
#include "core/pace.h"
#include "core/num.h"

#include <assert.h>

enum {
    SECOND_US = 1000000,
    TURN_US = 250,
    TRAIN_PACKETS = 64,
    BURST_PACKETS = 10,
    QUANTUM_PACKETS = 2,
    SMALL_RTT_BYTES = 128 * 1024
};

void pace_init(struct pace *pace, uint64_t now)
{
    *pace = (struct pace){.updated_us = now};
}

/* Adds what the rate has given since the last time. The part of a byte is kept, else slow paths
 * would starve when they are looked at often. */
static void refill(struct pace *pace, uint64_t now)
{
    uint64_t elapsed = now > pace->updated_us ? now - pace->updated_us : 0;
    pace->updated_us = now;
    if (pace->tokens_bytes >= pace->burst_bytes)
        return;
    uint64_t missing = pace->burst_bytes - pace->tokens_bytes;
    if (elapsed > missing * SECOND_US / pace->rate_bytes_per_s) {
        pace->tokens_bytes = pace->burst_bytes;
        pace->carry = 0;
        return;
    }
    uint64_t part = pace->carry + elapsed * pace->rate_bytes_per_s;
    pace->tokens_bytes += part / SECOND_US;
    pace->carry = (uint32_t)(part % SECOND_US);
}

static uint32_t burst_of(uint64_t rate, unsigned least_packets, const struct cc *cc,
                         const struct rtt *rtt)
{
    uint64_t burst = min_u64(rate / 1000, (uint64_t)TRAIN_PACKETS * cc->mtu);
    burst = max_u64(burst, rate * TURN_US / SECOND_US);
    if (rtt->smoothed_us < LOSS_GRANULARITY_US)
        burst = max_u64(burst, SMALL_RTT_BYTES);
    burst = min_u64(burst, cc->cwnd_bytes);
    return (uint32_t)max_u64(min_u64(burst, CC_WINDOW_MAX), least_packets * (uint64_t)cc->mtu);
}

void pace_update(struct pace *pace, const struct cc *cc, const struct rtt *rtt, uint64_t now)
{
    bool first = pace->rate_bytes_per_s == 0;
    if (!first)
        refill(pace, now); /* at the rate that was */
    uint64_t rate = cc->ops->rate ? cc->ops->rate(cc) : 0;
    if (rate) {
        pace->rate_bytes_per_s = rate;
        pace->train_bytes = burst_of(rate, QUANTUM_PACKETS, cc, rtt);
        pace->burst_bytes = 2 * pace->train_bytes;
    } else {
        uint64_t n4 = cc->cwnd_bytes < cc->ssthresh_bytes ? 8 : 5;
        uint64_t cwnd = min_u64(cc->cwnd_bytes, CC_WINDOW_MAX);
        /* RFC 9002 §7.7 */
        rate = max_u64(cwnd * n4 * (SECOND_US / 4) / max_u64(rtt->smoothed_us, 1), 1);
        pace->rate_bytes_per_s = rate;
        pace->train_bytes = pace->burst_bytes = burst_of(rate, BURST_PACKETS, cc, rtt);
    }
    if (first) {
        pace->updated_us = now;
        pace->tokens_bytes = pace->burst_bytes;
    }
    pace->tokens_bytes = min_u64(pace->tokens_bytes, pace->burst_bytes);
}

uint64_t pace_room(const struct pace *pace)
{
    return pace->tokens_bytes;
}

void pace_on_sent(struct pace *pace, uint64_t bytes)
{
    /* Probes go out unasked (RFC 9002 §7.5); the bucket is then empty, not in debt. */
    pace->tokens_bytes -= min_u64(pace->tokens_bytes, bytes);
}

uint64_t pace_next(const struct pace *pace, uint64_t want_bytes, uint64_t now)
{
    uint64_t want = min_u64(want_bytes, pace->train_bytes);
    if (want <= pace->tokens_bytes)
        return now;
    assert(pace->rate_bytes_per_s > 0);
    uint64_t part = (want - pace->tokens_bytes) * SECOND_US - pace->carry;
    uint64_t wait = (part + pace->rate_bytes_per_s - 1) / pace->rate_bytes_per_s;
    return max_u64(pace->updated_us + wait, now);
}
