/* ack.h -- the receiving side of one packet number space: what has come, and when to say so (RFC
 * 9000 §13.2).
 *
 * At most ACK_RANGES ranges are kept (SECURITY.md row 11): the lowest is forgotten first, and
 * packets below it are treated as duplicates. A few lie in the struct; more, while there are more,
 * in a block of the connection's memory; without one the few are the bound. Decides immediate or
 * delayed; conn.c owns the timer.
 */
#ifndef AQ_ACK_H
#define AQ_ACK_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/frame.h"
#include "core/range.h"

enum {
    ACK_FIRST = 2,
    ACK_RANGES = 32
};

struct ack {
    struct range *ranges; /* ascending; first, or a block of quota's */
    uint16_t range_count, range_max;
    uint16_t eliciting;       /* ack-eliciting packets since the last ACK we sent */
    uint16_t threshold;       /* more of them do not wait; ACK_FREQUENCY's, 1 by default */
    uint16_t reordering;      /* ACK_FREQUENCY's Reordering Threshold, 1 by default, 0 none */
    uint32_t delay_us;        /* ACK_FREQUENCY's Requested Max Ack Delay */
    bool now;                 /* an ACK is due at once */
    bool any;                 /* something came since the last ACK we wrote, eliciting or not */
    bool gap;                 /* a gap opened since the last eliciting packet */
    bool ce_before;           /* the newest packet bore a CE mark */
    uint64_t next_seq;        /* of ACK_FREQUENCY: smaller ones are ignored; 0: none came */
    uint64_t said;            /* one above the largest that an ACK of ours named; 0: none did */
    uint64_t floor;           /* numbers below are forgotten: treated as received */
    uint64_t largest_time_us; /* when the largest came */
    uint64_t due_us;          /* when a delayed ACK is due; UINT64_MAX none */
    uint64_t ect0, ect1, ce;
    struct quota *quota;
    struct range first[ACK_FIRST];
};

/* Stays where it is from here on; quota must outlive it. */
void ack_init(struct ack *ack, struct quota *quota);
/* Forgets all ranges and gives their memory back. */
void ack_clear(struct ack *ack);

/* Whether number was received before (or is too old to tell): drop it, it is a duplicate (RFC 9000
 * §12.3). */
bool ack_is_duplicate(const struct ack *ack, uint64_t number);

/* One packet came and was processed. ecn: enum aq_ecn. now-or-later (§13.2.1, §13.2.2): at once for
 * every second eliciting packet, or as ACK_FREQUENCY asked, by the batch rule below, for reordered
 * ones, for CE marks; else within max_delay_us. immediate: Initial and Handshake spaces acknowledge
 * at once. The caller calls ack_batch_end once after a batch, so that one batch gives one ACK. */
void ack_on_packet(struct ack *ack, uint64_t number, bool eliciting, uint8_t ecn, uint64_t now);
void ack_batch_end(struct ack *ack, bool immediate, uint64_t max_delay_us, uint64_t now);

/* The peer's ACK_FREQUENCY frame, its delay checked against our min_ack_delay: from now on it
 * decides (draft-ietf-quic-ack-frequency §6), unless a newer one came before. Counts beyond 65,535
 * are taken as that: no ACK is kept back longer. */
void ack_on_frequency(struct ack *ack, const struct frame *f);
/* How long an ACK may wait: what the peer asked for, otherwise our own max_ack_delay. */
uint64_t ack_delay_asked(const struct ack *ack, uint64_t own_us);

/* The largest received; UINT64_MAX none. */
uint64_t ack_largest(const struct ack *ack);

/* Whether an ACK frame must go now, or may ride along with other frames. */
bool ack_is_due(const struct ack *ack, uint64_t now);
bool ack_is_worth(
    const struct ack *ack); /* eliciting packets not yet acknowledged, whatever the timer says */

/* Writes an ACK (or ACK_ECN when any mark was seen) frame with as many ranges as fit, newest first.
 * Returns the largest acknowledged, or UINT64_MAX when nothing was written (nothing ever came, or
 * not even one range fits). It repeats what an ACK before has said: the caller asks ack_is_due or
 * ack_is_worth first. delay_exponent: ours. */
uint64_t ack_write(struct ack *ack, struct writer *w, uint8_t delay_exponent, uint64_t now);

/* The peer has our ACK with this largest: forget what lies at or below it (§13.2.4), keeping the
 * newest range. */
void ack_on_acked(struct ack *ack, uint64_t largest);

#endif
