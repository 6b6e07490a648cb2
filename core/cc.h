/* cc.h -- congestion control behind one small interface (RFC 9002 §7, RFC 9438).
 *
 * One struct per path. A controller is a row: init and three reports. The window is compared with
 * in_flight by cc_room; pacing is pace.h's. */
#ifndef AQ_CC_H
#define AQ_CC_H

#include "core/loss.h"

struct cc;

/* No window grows beyond: 1 GiB is 10 Gbit/s over 800 ms, and keeps every product within 64 bits.
 */
enum {
    CC_WINDOW_MAX = 1 << 30
};

struct cc_ops {
    const char *name;
    void (*init)(struct cc *cc, uint64_t now);
    /* one ACK's sums, newest packet sent after the last event: bytes newly acknowledged, 0 while
     * app-limited; rtt of the path; in_flight_bytes is already without them */
    void (*on_acked)(struct cc *cc, const struct loss_path *sum, const struct rtt *rtt,
                     uint64_t now);
    /* a congestion event: loss (or CE) of a packet sent after the last event's start: at most one
     * per round trip. Sets the window and the threshold, at least to cc_minimum */
    void (*on_congestion)(struct cc *cc, uint64_t sent_us, uint64_t now);
    /* persistent congestion: the window has been set to the minimum (RFC 9002 §7.6.2); for the
     * controller's own state */
    void (*on_persistent)(struct cc *cc, uint64_t now);
};

struct cc_cubic { /* RFC 9438: windows in bytes */
    uint64_t w_max, epoch_start_us, w_epoch, cwnd_prior;
    uint64_t w_est, k_us;
    uint64_t acked_carry; /* what is left towards the next byte of the window */
    uint64_t report_us;   /* the last ACK's time: app-limited time is taken out of the epoch */
    uint64_t empty_us;    /* since when nothing is in flight, AQ_NEVER: something is */
};

struct cc {
    const struct cc_ops *ops;
    uint64_t cwnd_bytes, ssthresh_bytes, in_flight_bytes;
    uint64_t recovery_start_us; /* 0: none yet */
    uint64_t acked_carry; /* newreno: bytes acknowledged towards the next datagram; cubic: towards
                             w_est's next byte */
    uint32_t mtu;         /* max_datagram_size of the path */
    uint32_t events;
    struct cc_cubic cubic;
};

extern const struct cc_ops cc_newreno, cc_cubic;
/* By name, NULL: no such. "cubic" is the default for NULL. */
const struct cc_ops *cc_find(const char *name);

void cc_init(struct cc *cc, const struct cc_ops *ops, uint32_t mtu, uint64_t now);
void cc_set_mtu(struct cc *cc, uint32_t mtu);
static inline uint64_t cc_room(const struct cc *cc)
{
    return cc->cwnd_bytes > cc->in_flight_bytes ? cc->cwnd_bytes - cc->in_flight_bytes : 0;
}
/* The least the window can be: RFC 9002 §7.2. */
static inline uint64_t cc_minimum(const struct cc *cc)
{
    return 2 * (uint64_t)cc->mtu;
}
/* Whether a packet sent then belongs to the recovery period or to the time before it (RFC 9002
 * §7.3.2). */
bool cc_in_recovery(const struct cc *cc, uint64_t sent_us);
void cc_on_sent(struct cc *cc, uint64_t bytes);
void cc_on_left(struct cc *cc,
                uint64_t bytes); /* left the flight with no verdict: keys discarded */
/* One ACK's or one timeout's sums for this path: in_flight, congestion, persistent, growth, in the
 * RFC's order. When sum->persistent the caller also calls rtt_on_persistent. */
void cc_on_result(struct cc *cc, const struct loss_path *sum, const struct rtt *rtt, uint64_t now);
/* A CE mark reported for a packet sent at sent_us (RFC 9002 §7.1). */
void cc_on_ce(struct cc *cc, uint64_t sent_us, uint64_t now);

#endif
