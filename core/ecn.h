/* ecn.h -- whether a path carries ECN marks, and what the peer reports of them (RFC 9000 §13.4.2).
 *
 *     OFF    TESTING --10 packets--> UNKNOWN --ACK with fitting counts--> CAPABLE
 *               |         (not marked)  |                                    |
 *               +----- counts that do not fit, all marked ones lost or CE ---+--> FAILED
 *
 * Packets are marked ECT(0) while a path is TESTING or CAPABLE. Counts are reported for a packet
 * number space, not for a path; so what was seen of them lies beside the space, and the active path
 * answers for what they say. Only 1-RTT packets are marked. */
#ifndef AQ_ECN_H
#define AQ_ECN_H

#include "core/antq.h"
#include "core/frame.h"

enum ecn_state {
    ECN_OFF = AQ_ECN_STATE_OFF,
    ECN_TESTING = AQ_ECN_STATE_TESTING,
    ECN_UNKNOWN = AQ_ECN_STATE_UNKNOWN,
    ECN_CAPABLE = AQ_ECN_STATE_CAPABLE,
    ECN_FAILED = AQ_ECN_STATE_FAILED
};
enum {
    ECN_TEST_PACKETS = 10 /* RFC 9000 §13.4.2 */
};

/* A path's. */
struct ecn {
    uint8_t state;           /* enum ecn_state */
    uint8_t tested;          /* marked packets sent while testing */
    uint8_t tested_lost;     /* of them, up to the first that was acknowledged */
    uint8_t tested_mute : 7; /* of them ACKs alone, of which nobody will tell */
    bool any_acked      : 1; /* a marked packet was */
};

/* What the newest ACK reported, and how many packets were marked; of a connection's 1-RTT space. */
struct ecn_counts {
    uint64_t ect0, ce, sent;
};

void ecn_init(struct ecn *ecn, bool wanted);
static inline bool ecn_marks(const struct ecn *ecn)
{
    return ecn->state == ECN_TESTING || ecn->state == ECN_CAPABLE;
}
/* How many of n packets may be marked: n, or what is left of the test. */
unsigned ecn_may_mark(const struct ecn *ecn, unsigned n);
/* n packets were sent with ECT(0), mute of them elicit no ACK. */
void ecn_on_sent(struct ecn *ecn, struct ecn_counts *counts, unsigned n, unsigned mute);
/* A marked packet of this path was declared lost. */
void ecn_on_lost(struct ecn *ecn);
/* A PTO fired. */
void ecn_on_pto(struct ecn *ecn);
/* An ACK that raised the largest acknowledged number, which newly acknowledges so many marked
 * packets. Returns how many more of them met congestion (CE) than were known to have; 0 when the
 * counts cannot be trusted, and then the path has FAILED. */
uint64_t ecn_on_ack(struct ecn *ecn, struct ecn_counts *counts, const struct frame_ack *ack,
                    uint64_t marked);

#endif
