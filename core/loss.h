/* loss.h -- loss detection and round-trip times (RFC 9002 §5, §6).
 *
 * Pure functions over one space's ring and one path's RTT. An ACK frame goes in; for each record of
 * each newly acknowledged or lost packet the sink is called once; sums for congestion control come
 * out per path. */
#ifndef AQ_LOSS_H
#define AQ_LOSS_H

#include "core/frame.h"
#include "core/sent.h"

enum {
    PATHS = 4,         /* of a connection at once */
    PATH_GONE = PATHS, /* what was sent on a path that is no more */
    PATHS_MAX = PATHS + 1,
    LOSS_PACKET_THRESHOLD = 3,
    LOSS_PACKET_THRESHOLD_MAX = 24,
    LOSS_TIME_EIGHTHS = 9,
    LOSS_TIME_EIGHTHS_MAX = 16,
    LOSS_GRANULARITY_US = 1000,
    LOSS_RTT_INITIAL_US = 333000
};

struct rtt {
    uint64_t latest_us, smoothed_us, var_us, min_us;
    uint64_t first_sample_us; /* when; UINT64_MAX: no sample yet */
    /* What reordering has added to the thresholds: packets, eighths of a round trip; and reports of
     * losses since that were none of its making. */
    uint8_t reorder_packets, reorder_eighths, calm;
};
void rtt_init(struct rtt *rtt);
/* Before the first sample: about so long it seems to be. */
void rtt_guess(struct rtt *rtt, uint64_t guess_us);
/* §5.3. ack_delay_us already limited to the peer's max_ack_delay where that applies. */
void rtt_sample(struct rtt *rtt, uint64_t latest_us, uint64_t ack_delay_us, uint64_t now);
/* §5.2: after persistent congestion the minimum starts again from the newest sample. */
void rtt_on_persistent(struct rtt *rtt);
/* §6.1.1, §6.1.2: packets that were lost and came late raise the thresholds, real losses without
 * any such lower them again. */
struct loss_path;
void rtt_adapt(struct rtt *rtt, const struct loss_path *sum);
/* §6.2.1: smoothed + max(4 * var, granularity), without max_ack_delay. */
uint64_t rtt_pto(const struct rtt *rtt);

struct loss_sink {
    void (*acked)(void *arg, const struct record *record);
    void (*lost)(void *arg, const struct record *record);
    /* a packet as a whole, before its records: bookkeeping such as key phases, MTU probes and
     * traces; never for the loss of one that is not in flight. None of the three may add to or take
     * from the ring. */
    void (*packet)(void *arg, const struct sent *sent, uint64_t number, bool lost);
};

/* What one call did, per path, for congestion control. */
struct loss_path {
    uint64_t acked_bytes, lost_bytes; /* of packets in flight: what leaves the flight */
    uint64_t acked_packets,
        lost_packets; /* lost MTU probes are not counted (RFC 9000 §14.4), only their bytes are */
    uint64_t acked_newest_sent_us; /* sending time of the newest acked one in flight */
    uint64_t lost_newest_sent_us; /* and of the newest lost one that is no MTU probe (lost_packets >
                                     0) */
    uint64_t spurious_packets;    /* lost ones that have arrived after all: RFC 9002 §6.1 */
    uint64_t spurious_oldest_sent_us; /* sending time of the oldest of them */
    uint64_t spurious_distance;       /* most packets by which one came late, */
    uint64_t spurious_late_us;        /* and the longest way */
    uint16_t acked_largest, lost_largest; /* size of a packet, of the lost no MTU probe's; 0: none */
    bool app_limited;                 /* the newest acked packet was sent app-limited */
    bool persistent;                  /* persistent congestion, RFC 9002 §7.6 */
};
struct loss_result {
    struct loss_path path[PATHS_MAX];
    bool any_acked;       /* something newly acknowledged */
    bool eliciting_acked; /* of it, something ack-eliciting */
    bool has_sample;    /* the largest was newly acknowledged and something eliciting was: §5.1 */
    uint64_t sample_us; /* now - its sending time, on path sample_path */
    uint8_t sample_path;
    uint64_t ect_acked; /* newly acknowledged packets that were sent with ECT: for ECN validation */
};

/* One ACK; also of packets that were given up as lost, while the ring still shows them. AQ_OK, or
 * PROTOCOL_VIOLATION: a number never sent, or skipped (RFC 9000 §13.1, SECURITY.md row 1), checked
 * before anything is changed. Overwrites result. Does not sample the RTT and does not look for
 * losses: the caller samples, then calls loss_detect. */
int loss_on_ack(struct sent_ring *ring, const struct frame_ack *ack, const struct loss_sink *sink,
                void *arg, struct loss_result *result, uint64_t now);

/* §6.1: declares lost what is, by number or by time, and sets ring->loss_time_us. Adds to result,
 * which loss_on_ack or the caller has filled. The caller then calls sent_trim, which keeps the work
 * of the next ACK small. rtt: per path array of PATHS_MAX pointers (NULL: path gone; its packets
 * use the first that is left). max_ack_delay_us for persistent congestion. first_sample: packets
 * sent before the first RTT sample never count for persistent congestion. */
void loss_detect(struct sent_ring *ring, const struct rtt *const rtt[PATHS_MAX],
                 uint64_t max_ack_delay_us, const struct loss_sink *sink, void *arg,
                 struct loss_result *result, uint64_t now);

/* Everything outstanding is forgotten without a fate for congestion control: keys discarded (§6.4),
 * or Retry (§6.3). When resend is true sink->lost is called for each record, not sink->packet. All
 * memory is given back. bytes[] gets what left the flight per path. */
void loss_forget(struct sent_ring *ring, struct quota *quota, bool resend,
                 const struct loss_sink *sink, void *arg, uint64_t bytes[PATHS_MAX]);

#endif
