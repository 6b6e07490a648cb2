/* pace.h -- pacing that keeps trains (RFC 9002 §7.7): a token bucket of about a millisecond of the
 * rate.
 *
 * The rate is the controller's own, or N * cwnd / smoothed_rtt, N 2 in slow start and 1.25 after;
 * the bucket holds the larger of 10 packets and about 1 ms of the rate, at most a train unless one
 * turn of the host needs more, so that GSO trains stay whole. At a controller's own rate a train is
 * at least 2 packets, and the bucket holds two trains. */
#ifndef AQ_PACE_H
#define AQ_PACE_H

#include "core/cc.h"

struct pace {
    uint64_t tokens_bytes, updated_us;
    uint64_t rate_bytes_per_s;
    uint32_t burst_bytes; /* the bucket */
    uint32_t train_bytes; /* what is waited for, at most */
    uint32_t carry;       /* millionths of a byte */
};

void pace_init(struct pace *pace, uint64_t now);
/* Recomputes rate and bucket from the controller, refills. The bucket is full after the first call;
 * called at least once before the others, and before each turn's pace_room. */
void pace_update(struct pace *pace, const struct cc *cc, const struct rtt *rtt, uint64_t now);
/* Bytes that may be sent now. */
uint64_t pace_room(const struct pace *pace);
void pace_on_sent(struct pace *pace, uint64_t bytes);
/* When at least want bytes (at most a train) may be sent. */
uint64_t pace_next(const struct pace *pace, uint64_t want_bytes, uint64_t now);

#endif
