/* sendq.h -- a stream's bytes on their way out: written, sent, acknowledged, lost.
 *
 * Copied bytes lie in one power-of-two ring that grows in the connection's quota; referenced bytes
 * (AQ_REF) stay with the application, as segments in offset order. One queue may hold both: each
 * segment says where its bytes are. The ring numbers copied bytes only, so that references between
 * them take no room in it: byte o lies at (o - shift) & (cap - 1), shift the referenced bytes
 * written before it. What was lost is a range set, resent before new bytes. If a range set is full,
 * acknowledged ranges are forgotten and sent again: never wrong, only wasteful. */
#ifndef AQ_SENDQ_H
#define AQ_SENDQ_H

#include "core/antq.h"
#include "core/arena.h"
#include "core/range.h"

enum {
    SENDQ_RANGES = 1024,   /* ranges in `acked` and in `lost` at most */
    SENDQ_SEGMENTS = 1024, /* segments at most; more references wait */
};

struct sendq {
    uint64_t base;       /* all below is acknowledged */
    uint64_t sent;       /* all below was sent at least once */
    uint64_t end;        /* all below was written */
    uint64_t referenced; /* of the bytes ever written, those by reference */
    uint8_t *ring;       /* copied bytes, NULL none */
    uint32_t ring_cap;
    uint16_t seg_count, seg_max;
    struct sendq_segment *segs; /* quota block, NULL while all of [base, end) are copied bytes */
    struct range_set acked;     /* above base */
    struct range_set lost;      /* disjoint from acked, in [base, sent) */
    struct range acked_first,
        lost_first; /* the sets' storage until they need more, from the quota */
    bool fin, fin_sent, fin_acked, fin_lost;
    bool spares; /* takes no memory for bytes from the quota's reserve; stream.c sets it */
};

void sendq_init(struct sendq *q);
/* Appends; returns bytes taken (fewer when max_bytes not yet acknowledged are held, or the quota is
 * full). */
uint64_t sendq_write(struct sendq *q, struct quota *quota, const struct aq_iov *iov, unsigned n,
                     bool by_reference, uint64_t max_bytes);
void sendq_finish(struct sendq *q); /* the end is at q->end */

/* Whether something is there to send: lost bytes, new bytes within credit, or a FIN alone. credit:
 * new bytes allowed. */
bool sendq_wants(const struct sendq *q, uint64_t credit);
static inline bool sendq_has_lost(const struct sendq *q)
{
    return q->lost.count > 0 || q->fin_lost;
}
/* The next piece, lost ones first: at most max bytes, contiguous in stream offsets; new bytes
 * limited by credit. *fin: it reaches the end and carries FIN. Returns its size; 0 with *fin false:
 * nothing. *is_new: how many of its bytes are new. */
uint32_t sendq_next(const struct sendq *q, uint32_t max, uint64_t credit, uint64_t *offset,
                    bool *fin, uint64_t *is_new);
/* Copies [offset, offset + size) out (the one copy on the sending side). */
void sendq_copy(const struct sendq *q, uint64_t offset, uint8_t *out, uint32_t size);
/* Where the written bytes from offset on stand, and how many of them in one piece; good until the
 * queue changes. */
const uint8_t *sendq_span(const struct sendq *q, uint64_t offset, uint64_t *size);
/* A packet with it was committed. */
void sendq_on_sent(struct sendq *q, uint64_t offset, uint32_t size, bool fin);
/* Fate of a sent piece. Acked: memory below base is let go. */
void sendq_on_acked(struct sendq *q, struct quota *quota, uint64_t offset, uint32_t size, bool fin);
void sendq_on_lost(struct sendq *q, struct quota *quota, uint64_t offset, uint32_t size, bool fin);
/* Bytes lost at and above offset, and a lost FIN, are not sent again. */
void sendq_forget_lost(struct sendq *q, struct quota *quota, uint64_t offset);
/* 0-RTT was rejected: nothing of it was sent; nothing can have been acknowledged. */
void sendq_rewind(struct sendq *q, struct quota *quota);
bool sendq_is_done(const struct sendq *q); /* all and FIN acknowledged */
/* Whether a write could take at least one byte without waiting for an acknowledgement of memory. */
bool sendq_has_memory(const struct sendq *q, struct quota *quota);
/* Drops everything (reset, close). Nothing is referenced any more: base = end. sent stays: it is
 * the final size. Of all calls only sendq_clear may follow. */
void sendq_clear(struct sendq *q, struct quota *quota);

#endif
