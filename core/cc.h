/* cc.h -- congestion control behind one small interface (RFC 9002 §7, RFC 9438, BBR).
 *
 * One struct per path. A controller is a row: init and its reports. The window is compared with
 * in_flight by cc_room; pacing is pace.h's, at the rate that the window gives, or the controller's
 * own. */
#ifndef AQ_CC_H
#define AQ_CC_H

#include "core/loss.h"

struct cc;
struct cc_bbr;

/* No window grows beyond: 1 GiB is 10 Gbit/s over 800 ms, and keeps every product within 64 bits.
 */
enum {
    CC_WINDOW_MAX = 1 << 30
};

struct cc_ops {
    const char *name;
    void (*init)(struct cc *cc, uint64_t now);
    /* what it needs beyond struct cc; false: the memory is at its limit. NULL: nothing */
    bool (*attach)(struct cc *cc, struct quota *quota, uint64_t now);
    void (*detach)(struct cc *cc);
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
    /* every packet of the last event has arrived after all: the window and the threshold are those
     * from before it again; for the controller's own state. NULL: it has none to restore */
    void (*on_spurious)(struct cc *cc, uint64_t now);

    /* A controller that works from a model has these, instead of on_acked; else NULL. */
    /* the whole sum: app-limited or not, in recovery or not; after congestion and persistence */
    void (*on_report)(struct cc *cc, const struct loss_path *sum, const struct rtt *rtt,
                      uint64_t now);
    /* bytes have been added to in_flight_bytes */
    void (*on_sent)(struct cc *cc, uint64_t bytes, uint64_t now);
    /* the application has no more to send */
    void (*on_limited)(struct cc *cc);
    /* bytes a second; 0: not known yet */
    uint64_t (*rate)(const struct cc *cc);
};

struct cc_cubic { /* RFC 9438: windows in bytes, below 2^32 (CC_WINDOW_MAX) */
    uint64_t epoch_start_us;
    uint64_t acked_carry; /* what is left towards the next byte of the window */
    uint64_t report_us;   /* the last ACK's time: app-limited time is taken out of the epoch */
    uint64_t empty_us;    /* since when nothing is in flight, AQ_NEVER: something is */
    uint32_t w_max, cwnd_prior, w_est;
    uint32_t k_us;                   /* at most 100 s */
    uint32_t undo_w_max, undo_prior; /* RFC 9438 §4.9: before the last event */
    /* HyStart++ (RFC 9406), of the first slow start; round-trip times are at most 60 s */
    uint64_t round_us;    /* the round ends when something sent since is acknowledged */
    uint32_t rtt_last_us, /* least of the last round, UINT32_MAX: none */
        rtt_now_us,       /* and of this one */
        rtt_css_us;       /* and of the round that brought CSS; 0: not in CSS */
    uint8_t samples, css_rounds;
};

/* What an event took, while it may yet prove to be none (RFC 9438 §4.9). Windows are below 2^32;
 * an unset threshold is UINT32_MAX. */
struct cc_undo {
    uint64_t after_us; /* packets sent before belong to an older event */
    uint32_t cwnd, ssthresh;
    uint32_t lost; /* packets of this event that have not arrived yet */
    bool armed;    /* false: no event, or one that is certain */
};

struct cc {
    const struct cc_ops *ops;
    uint64_t cwnd_bytes, ssthresh_bytes, in_flight_bytes;
    uint64_t recovery_start_us; /* 0: none yet */
    uint64_t acked_carry; /* newreno: bytes acknowledged towards the next datagram; cubic: towards
                             w_est's next byte */
    uint32_t mtu;         /* max_datagram_size of the path */
    uint32_t events;
    struct cc_undo undo;
    union {
        struct cc_cubic cubic;
        struct cc_bbr *bbr; /* owned: a block of the connection's quota */
    };
};

extern const struct cc_ops cc_newreno, cc_cubic, cc_bbr;
/* By name, NULL: no such. "cubic" is the default for NULL. */
const struct cc_ops *cc_find(const char *name);

void cc_init(struct cc *cc, const struct cc_ops *ops, uint32_t mtu, uint64_t now);
/* Takes what the controller needs from the connection's memory; where there is none left the
 * controller is CUBIC, which needs nothing. cc_detach gives it back. */
void cc_attach(struct cc *cc, struct quota *quota, uint64_t now);
void cc_detach(struct cc *cc);
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
static inline void cc_on_sent(struct cc *cc, uint64_t bytes, uint64_t now)
{
    cc->in_flight_bytes += bytes;
    if (__builtin_expect(cc->ops->on_sent != NULL, 0))
        cc->ops->on_sent(cc, bytes, now);
}
/* The application has no more to send. */
static inline void cc_on_limited(struct cc *cc)
{
    if (cc->ops->on_limited)
        cc->ops->on_limited(cc);
}
/* Left the flight with no verdict: keys discarded. */
void cc_on_left(struct cc *cc, uint64_t bytes);
/* One ACK's or one timeout's sums for this path: in_flight, congestion, persistent, growth, in the
 * RFC's order. When sum->persistent the caller also calls rtt_on_persistent. */
void cc_on_result(struct cc *cc, const struct loss_path *sum, const struct rtt *rtt, uint64_t now);
/* A CE mark reported for a packet sent at sent_us (RFC 9002 §7.1). */
void cc_on_ce(struct cc *cc, uint64_t sent_us, uint64_t now);

#endif
